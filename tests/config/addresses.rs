//! What `latido.toml` says of addresses beyond where they are.
use super::*;
use latido::config::{Address, Kind};
use std::net::IpAddr;

const ADDRESS: &str = "{ address = \"192.168.0.20/24\", interface = \"eth0\" }";

/// TOML with further keys of the group and of its address.
fn with(group: &str, address: &str) -> Loaded {
    let text = TOML.replacen("failback = \"auto\"", &format!("failback = \"auto\"\n{group}"), 1);
    assert!(text.contains(ADDRESS), "{text}");
    let written = format!("{} , {address} }}", ADDRESS.trim_end_matches(" }"));
    let written = if address.is_empty() { ADDRESS.to_owned() } else { written };
    Dir::toml(&text.replacen(ADDRESS, &written, 1)).1
}

fn address(loaded: &Loaded) -> Address {
    match &good(loaded).groups[0].resources[0].kind {
        Kind::Address(address) => address.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_address_is_announced_every_minute_and_the_gateway_is_asked() {
    let usual = address(&with("", "")).announcing;
    assert_eq!((usual.every, usual.check), (Duration::from_secs(60), true));
    assert!(usual.neighbours.is_empty());
}

#[test]
fn what_the_group_says_holds_unless_the_address_says_something_else() {
    let group = "reannounce = \"5m\"\nneighbours = [\"192.168.0.7\"]\nannounce_check = false\n";
    let found = address(&with(group, "")).announcing;
    assert_eq!((found.every, found.check), (Duration::from_secs(300), false));
    assert_eq!(found.neighbours, [std::net::Ipv4Addr::new(192, 168, 0, 7)]);
    let found = address(&with(group, "reannounce = 0, announce_check = true")).announcing;
    assert_eq!((found.every, found.check), (Duration::ZERO, true));
    assert_eq!(found.neighbours.len(), 1);
    let found = address(&with(group, "reannounce = false, neighbours = []")).announcing;
    assert_eq!((found.every, found.neighbours.len()), (Duration::ZERO, 0));
}

#[test]
fn wrong_ones_are_named_with_the_cure() {
    for (group, address, message, cure) in [
        ("reannounce = \"10ms\"", "", "`reannounce` cannot be kept", "0 for never"),
        ("reannounce = 60", "", "`reannounce = 60` is not a time", "60s"),
        ("", "reannounce = true", "`reannounce` is true or false", "time"),
        ("neighbours = [\"router\"]", "", "`router` is no IPv4 address", "192.168.0.1"),
        ("", "virtual_mac = \"02:00:00:00:00:01\"", "`virtual_mac` is a text", "true or false"),
        ("", "virtual_mac = true, label = \"eth0:0\"", "a label names the interface", "remove"),
        ("virtual_mac = true", "", "[[group]] has no key `virtual_mac`", ""),
    ] {
        let said = said(&with(group, address));
        assert!(said.contains(message) && said.contains(cure), "{group}{address}: {said}");
    }
    let v6 = TOML.replacen("192.168.0.20/24", "2001:db8::20/64", 1);
    let v6 = v6.replacen("interface = \"eth0\" }", "neighbours = [\"10.0.0.1\"] }", 1);
    let said = said(&Dir::toml(&v6).1);
    assert!(said.contains("`neighbours` means nothing for an IPv6 address"), "{said}");
    let service = TOML.replacen("service = \"vsftpd\"", "service = \"x\", virtual_mac = true", 1);
    let said = super::said(&Dir::toml(&service).1);
    assert!(said.contains("`virtual_mac` means nothing for a service"), "{said}");
}

#[test]
fn a_virtual_mac_is_the_same_on_both_nodes_and_they_agree_that_there_is_one() {
    let (one, other) = (with("", "virtual_mac = true"), with("", "virtual_mac = true"));
    let mac = address(&one).virtual_mac.expect("one");
    assert_eq!(address(&other).virtual_mac, Some(mac));
    assert_eq!(mac[0], 2, "locally administered");
    assert_eq!(address(&with("", "virtual_mac = false")).virtual_mac, None);
    let without = with("", "");
    assert_ne!(good(&one).digest(), good(&without).digest());
    // How often it is announced is each node's own.
    assert_eq!(good(&with("reannounce = 0", "")).digest(), good(&without).digest());
    assert!(matches!(address(&one).address, IpAddr::V4(_)));
}
