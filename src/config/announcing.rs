//! How neighbours learn where an address lives, and the Ethernet address that moves with one.
use sha2::{Digest, Sha256};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Between two announcements of an address that stays where it is, unless written.
const REANNOUNCE: Duration = Duration::from_secs(60);
/// Neighbours of one address that are asked.
pub(super) const NEIGHBOURS_MAX: usize = 16;

/// How neighbours are told where an address lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcing {
    /// Between two announcements while it stays where it is; zero: none.
    pub every: Duration,
    /// After a takeover the gateway and the neighbours are asked whether they have learnt where it
    /// is, and told until they have (IPv4).
    pub check: bool,
    /// Who is asked besides the gateway.
    pub neighbours: Vec<Ipv4Addr>,
}

impl Default for Announcing {
    fn default() -> Self {
        Announcing { every: REANNOUNCE, check: true, neighbours: Vec::new() }
    }
}

/// The Ethernet address that moves with an IP address: the same on every node, and of nobody else.
/// Locally administered (`02`); 40 bits of SHA-256.
pub(super) fn virtual_mac(cluster: &str, group: &str, address: IpAddr) -> [u8; 6] {
    let mut hash = Sha256::new();
    for part in ["virtual mac", cluster, group, &address.to_string()] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let sum = hash.finalize();
    [0x02, sum[0], sum[1], sum[2], sum[3], sum[4]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_mac_depends_on_everything_that_it_is_for() {
        let address = IpAddr::from([192, 168, 0, 20]);
        let one = virtual_mac("ftp", "web", address);
        assert_eq!(one, virtual_mac("ftp", "web", address));
        assert_eq!(one[0], 0x02, "locally administered, of one interface");
        let others = [
            virtual_mac("ftpw", "eb", address),
            virtual_mac("mail", "web", address),
            virtual_mac("ftp", "mail", address),
            virtual_mac("ftp", "web", IpAddr::from([192, 168, 0, 21])),
        ];
        assert!(others.iter().all(|other| *other != one), "{others:x?}");
    }
}
