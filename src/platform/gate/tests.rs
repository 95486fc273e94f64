//! Against the real kernel: the program on frames made by hand, and the gate in namespaces of its
//! own. As root.
use super::*;
use crate::platform::namespace::new_network;
use rustix::fd::AsFd;

mod frames;
mod living;

const V4: &str = "192.0.2.20";
const V6: &str = "2001:db8::20";

fn groups() -> Vec<Vec<IpAddr>> {
    let ip = |text: &str| text.parse().expect("an address");
    vec![vec![ip("198.51.100.1")], vec![ip(V4), ip(V6)]]
}

fn in_micros(micros: u64) -> Instant {
    Instant::from_micros(clock::now().micros() + micros)
}
