//! What a firewall does to a link, and what it does not.
use crate::scene::{Bare, GROUP, link};
use crate::world::SOON;
use latido::lab::Exit;

fn nft(bare: &Bare, node: &str, rules: &str) {
    match bare.node(node).run(["nft", rules], SOON) {
        Ok((Exit::Code(0), _)) => {}
        other => panic!("nft {rules} on {node}: {other:?}"),
    }
}

#[test]
fn rules_for_ip_stop_udp_and_no_raw_ethernet() {
    let links = ["udp = \"broadcast\"\ninterface = \"eth1\"", "ethernet = \"eth1\""];
    let tagged = "ethernet = \"eth1\"\nvlan = 42";
    let serial = "serial = \"{serial}\"\nbaud = 115200";
    let links: String = links.into_iter().chain([tagged, serial]).map(link).collect();
    let bare = Bare::new(&links);
    for (node, number) in [("pi", 1), ("laptop", 2)] {
        bare.ip(node, &format!("addr add 10.78.0.{number}/24 brd + dev eth1"));
    }
    bare.start_all();
    bare.met();
    bare.settled(GROUP, "pi");
    let seen = |states: [&str; 4]| {
        for (place, state) in states.into_iter().enumerate() {
            bare.wait_link("laptop", "pi", place, state);
        }
    };
    seen(["up"; 4]);

    for node in ["pi", "laptop"] {
        for hook in ["input", "output", "forward"] {
            let hooked = format!("type filter hook {hook} priority 0; policy drop;");
            nft(&bare, node, &format!("table inet shut {{ chain {hook} {{ {hooked} }}; }}"));
        }
    }
    seen(["down", "up", "up", "up"]);

    // A filter of the interface itself stands below IP; a tagged link listens before it.
    let hooked = "type filter hook ingress device eth1 priority 0; policy drop;";
    for node in ["pi", "laptop"] {
        nft(&bare, node, &format!("table netdev shut {{ chain ingress {{ {hooked} }}; }}"));
    }
    seen(["down", "down", "up", "up"]);
    bare.settled(GROUP, "pi");
}
