//! One witness for two clusters on one LAN.
use crate::scene::{WITNESS, machine, network, port, text, udp};
use crate::world::{PROGRAM, Scene};
use latido::lab::plan::{Machine, Plan};
use std::net::IpAddr;
use std::time::Instant;

const CLUSTERS: [(&str, [&str; 2]); 2] = [("ftp", ["pi", "laptop"]), ("mail", ["east", "west"])];

fn address(cluster: usize) -> IpAddr {
    IpAddr::from([10, 77, 0, if cluster == 0 { 100 } else { 200 }])
}

#[test]
fn one_witness_serves_two_clusters() {
    let names = CLUSTERS.iter().flat_map(|(_, nodes)| nodes.iter().copied());
    let on_lan = |(number, name): (u8, &str)| -> Machine {
        machine(name, vec![port("lan", "eth0", [10, 77, 0, number])])
    };
    let scene = Scene::new(&Plan {
        program: PROGRAM.into(),
        networks: vec![network("lan")],
        trunks: Vec::new(),
        nodes: (1..).zip(names.chain([WITNESS])).map(on_lan).collect(),
        clients: Vec::new(),
        cables: Vec::new(),
    });
    let key = |cluster: usize| format!("use 1\n1 {}\n", ["5a", "6b"][cluster].repeat(32));
    let mut file = format!("name = \"{WITNESS}\"\n{}", udp("eth0"));
    for (index, (cluster, nodes)) in CLUSTERS.into_iter().enumerate() {
        for node in nodes {
            scene.write(
                node,
                "latido.toml",
                &text(cluster, nodes, cluster, address(index), &udp("eth0")),
            );
            scene.write(node, "keys", &key(index));
        }
        scene.write(WITNESS, &format!("{cluster}/keys"), &key(index));
        file.push_str(&format!("[[cluster]]\nname = \"{cluster}\"\nkeys = \"{cluster}/keys\"\n"));
    }
    scene.write(WITNESS, "witness.toml", &file);
    let path = scene.lab.node(WITNESS).dir().join("witness.toml").display().to_string();
    let command = [PROGRAM, "witness", "-v", "--config", &path];
    scene.lab.node(WITNESS).spawn("daemon", command).unwrap();
    for (_, nodes) in CLUSTERS {
        nodes.iter().for_each(|node| scene.start(node));
    }
    for (index, (cluster, nodes)) in CLUSTERS.into_iter().enumerate() {
        scene.logged(WITNESS, 0, &[&format!("cluster {cluster}: node"), "has the vote"]);
        scene.wait(format!("{cluster} to be owned"), || {
            (scene.holders(address(index)) == [nodes[0]]).then_some(())
        });
    }
    // Both owners at once: each cluster is saved by the same vote.
    for (_, nodes) in CLUSTERS {
        scene.lab.node(nodes[0]).power_cut().unwrap();
    }
    for (index, (cluster, nodes)) in CLUSTERS.into_iter().enumerate() {
        scene.wait(format!("{cluster} to be taken over"), || {
            (scene.holders(address(index)) == [nodes[1]]).then_some(())
        });
        let held = scene.lab.ownership().held(address(index), scene.begun, Instant::now());
        assert_eq!(held.both, std::time::Duration::ZERO, "{held:?}");
    }
}
