//! The bodies of the targets, which `cargo test --test fuzz` runs as well.
#[path = "../../tests/fuzz/bodies/mod.rs"]
mod bodies;

/// Any bytes as Heartbeat's `authkeys`.
pub fn authkeys(data: &[u8]) {
    bodies::authkeys(data)
}

/// Any life of a node.
pub fn cluster(data: &[u8]) {
    bodies::cluster(data);
}

/// Any bytes as a frame.
pub fn frame(data: &[u8]) {
    bodies::frame(data)
}

/// Any bytes as Heartbeat's `ha.cf`.
pub fn ha_cf(data: &[u8]) {
    bodies::ha_cf(data)
}

/// Any bytes as Heartbeat's `haresources`.
pub fn haresources(data: &[u8]) {
    bodies::haresources(data)
}

/// Any bytes as a key file.
pub fn key_file(data: &[u8]) {
    bodies::key_file(data)
}

/// Any bytes as `latido.toml`.
pub fn latido_toml(data: &[u8]) {
    bodies::latido_toml(data)
}

/// Any bytes on a serial line.
pub fn line(data: &[u8]) {
    bodies::line(data)
}

/// Any life of a witness.
pub fn witness(data: &[u8]) {
    bodies::witness(data);
}
