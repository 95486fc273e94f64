//! UDP links: broadcast, multicast, unicast; IPv4 and IPv6; always bound to one interface.
use super::{Loss, Obstacle, Received, Sent, Tally};
use crate::config::{self, Medium};
use crate::core::limits::FRAME_MAX;
use crate::platform::filter::{Cast, HeaderFilter};
use crate::platform::local;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, netdevice, sockopt};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs};

/// Bytes that may wait in the kernel while the engine is held up: hundreds of heartbeats.
pub(super) const RECEIVE_BUFFER: usize = 1 << 20;
/// DSCP CS6, network control (RFC 4594 §3.2); Wi-Fi makes its best access category of it.
const TRAFFIC_CLASS: u32 = 0xC0;
/// `SO_PRIORITY` of the queue on our own interface; 7 would need CAP_NET_ADMIN.
pub(super) const PRIORITY: u32 = 6;

/// An open UDP link.
#[derive(Debug)]
pub(super) struct Udp {
    socket: Socket,
    interface: String,
    index: u32,
    /// Where every frame goes.
    to: Vec<SocketAddr>,
    /// Where the last one came from.
    from: Option<SocketAddr>,
}

/// What the names of a unicast link's peers stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Resolved {
    /// Addresses of peers, this machine's own left out.
    pub(super) peers: Vec<IpAddr>,
    /// Names without an address at the moment.
    pub(super) unknown: Vec<String>,
    /// Some address of the list, perhaps our own, is IPv4.
    v4: bool,
    /// Some address of the list, perhaps our own, is IPv6.
    v6: bool,
}

impl Resolved {
    /// What the peers of `link` stand for now; empty unless it is a unicast link.
    pub(super) fn of(link: &config::Link) -> Self {
        match &link.medium {
            Medium::Unicast { interface, peers, .. } => resolve(interface, peers),
            Medium::Broadcast { .. }
            | Medium::Multicast { .. }
            | Medium::Ethernet { .. }
            | Medium::Serial { .. } => Self::default(),
        }
    }

    /// While a name is unknown, what stood for it `before` goes on counting: a name server that is
    /// down must not take a link with it.
    pub(super) fn keep_known(&mut self, before: &Self) {
        if self.unknown.is_empty() {
            return;
        }
        for &peer in &before.peers {
            if !self.peers.contains(&peer) {
                self.peers.push(peer);
            }
        }
        self.v4 |= before.v4;
        self.v6 |= before.v6;
        self.peers.sort();
    }
}

/// Looks `peers` up. Blocks for seconds when a name server does not answer.
///
/// Of a name with addresses of both families, IPv4 counts, as in Heartbeat. `interface` decides
/// whether a loopback address is this machine's own.
fn resolve(interface: &str, peers: &[String]) -> Resolved {
    // Without the list no address is skipped; frames to ourselves are harmless.
    let own = local::addresses().unwrap_or_default();
    let mut resolved = Resolved::default();
    for peer in peers {
        let mut found = lookup(peer);
        found.sort_by_key(|address| address.is_ipv6());
        let Some(&address) = found.first() else {
            resolved.unknown.push(peer.clone());
            continue;
        };
        resolved.v4 |= address.is_ipv4();
        resolved.v6 |= address.is_ipv6();
        let mine = own.contains(&address) || (address.is_loopback() && interface != "lo");
        if !mine && !resolved.peers.contains(&address) {
            resolved.peers.push(address);
        }
    }
    // A stable order, so that the same addresses compare equal.
    resolved.peers.sort();
    resolved
}

/// The addresses of `peer`: an address, one with a zone (`fe80::1%eth0`; the zone is the link's
/// interface anyway), or a name.
fn lookup(peer: &str) -> Vec<IpAddr> {
    let plain = peer.split('%').next().unwrap_or(peer);
    match plain.parse() {
        Ok(address) => vec![address],
        Err(_) => match (peer, 0).to_socket_addrs() {
            Ok(found) => found.map(|socket| socket.ip()).collect(),
            Err(_) => Vec::new(),
        },
    }
}

impl Udp {
    /// To everybody on the interface's network. Bound to 255.255.255.255 and not to the network's
    /// own broadcast address, so that it works whatever the interface's addresses are.
    pub(super) fn broadcast(
        interface: &str,
        port: u16,
        filter: &HeaderFilter,
    ) -> Result<Self, Obstacle> {
        let to = SocketAddr::from((Ipv4Addr::BROADCAST, port));
        let udp = Self::begin(interface, Domain::IPV4, vec![to])?;
        let set = || {
            udp.socket.set_broadcast(true)?;
            filter.attach(&udp.socket, Cast::Many)?;
            udp.socket.bind(&to.into())
        };
        set().map_err(|error| udp.obstacle(&error, port))?;
        Ok(udp)
    }

    /// To a multicast group. Bound to the group, so that it sees nothing else.
    pub(super) fn multicast(
        interface: &str,
        port: u16,
        group: IpAddr,
        ttl: u8,
        filter: &HeaderFilter,
    ) -> Result<Self, Obstacle> {
        let mut udp = Self::begin(interface, Domain::for_address((group, port).into()), vec![])?;
        let to = udp.socket_address(group, port);
        udp.to.push(to);
        let set = || {
            match group {
                IpAddr::V4(group) => {
                    let index = InterfaceIndexOrAddress::Index(udp.index);
                    udp.socket.set_multicast_all_v4(false)?;
                    udp.socket.set_multicast_loop_v4(false)?;
                    udp.socket.set_multicast_ttl_v4(u32::from(ttl))?;
                    udp.socket.join_multicast_v4_n(&group, &index)?;
                }
                IpAddr::V6(group) => {
                    udp.socket.set_multicast_all_v6(false)?;
                    udp.socket.set_multicast_if_v6(udp.index)?;
                    udp.socket.set_multicast_loop_v6(false)?;
                    udp.socket.set_multicast_hops_v6(u32::from(ttl))?;
                    udp.socket.join_multicast_v6(&group, udp.index)?;
                }
            }
            filter.attach(&udp.socket, Cast::Many)?;
            udp.socket.bind(&to.into())
        };
        set().map_err(|error| udp.obstacle(&error, port))?;
        Ok(udp)
    }

    /// To some peers. It hears everybody who addresses this machine alone.
    pub(super) fn unicast(
        interface: &str,
        port: u16,
        resolved: &Resolved,
        filter: &HeaderFilter,
    ) -> Result<Self, Obstacle> {
        let Resolved { peers, unknown, v4, v6 } = resolved;
        let (v4, v6) = (*v4, *v6);
        if !v4 && !v6 {
            return Err(Obstacle::new(
                format!("no address is known for {}", unknown.join(", ")),
                "write the peer's address instead of its name, or put the name in /etc/hosts",
            ));
        }
        let domain = if v6 { Domain::IPV6 } else { Domain::IPV4 };
        let mut udp = Self::begin(interface, domain, vec![])?;
        for peer in peers {
            let to = match *peer {
                // Peers of both families share a socket that speaks both.
                IpAddr::V4(peer) if v6 => udp.socket_address(peer.to_ipv6_mapped().into(), port),
                IpAddr::V4(_) | IpAddr::V6(_) => udp.socket_address(*peer, port),
            };
            udp.to.push(to);
        }
        let set = || {
            if v6 {
                udp.socket.set_only_v6(!v4)?;
                udp.socket.set_multicast_all_v6(false)?;
            }
            if v4 && v6 {
                udp.socket.set_tos_v4(TRAFFIC_CLASS)?;
            }
            if !v6 {
                udp.socket.set_multicast_all_v4(false)?;
            }
            filter.attach(&udp.socket, Cast::Unicast)?;
            let any: IpAddr =
                if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
            udp.socket.bind(&SocketAddr::from((any, port)).into())
        };
        set().map_err(|error| udp.obstacle(&error, port))?;
        Ok(udp)
    }

    /// A socket on `interface`, not bound to an address yet: nothing arrives before the filter is
    /// in place.
    fn begin(interface: &str, domain: Domain, to: Vec<SocketAddr>) -> Result<Self, Obstacle> {
        let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))
            .map_err(|error| {
                let family = if domain == Domain::IPV6 { "IPv6" } else { "IPv4" };
                let cure = format!("enable {family} in the kernel or use another kind of link");
                Obstacle::new(format!("no {family} socket: {error}"), cure)
            })?;
        let index = netdevice::name_to_index(&socket, interface).map_err(|_| {
            Obstacle::new(
                format!("there is no interface {interface} now"),
                "check its name with `ip link`; Latido goes on trying",
            )
        })?;
        let udp = Udp { socket, interface: interface.into(), index, to, from: None };
        udp.prepare(domain).map_err(|error| udp.obstacle(&error, 0))?;
        Ok(udp)
    }

    fn prepare(&self, domain: Domain) -> io::Result<()> {
        let socket = &self.socket;
        socket.bind_device(Some(self.interface.as_bytes()))?;
        socket.set_reuse_address(true)?;
        if domain == Domain::IPV6 {
            socket.set_only_v6(true)?;
            socket.set_tclass_v6(TRAFFIC_CLASS)?;
        } else {
            socket.set_tos_v4(TRAFFIC_CLASS)?;
        }
        // After the type of service, which sets a priority of its own.
        socket.set_priority(PRIORITY)?;
        if sockopt::set_socket_recv_buffer_size_force(socket, RECEIVE_BUFFER).is_err() {
            // Without CAP_NET_ADMIN as much as net.core.rmem_max allows.
            socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        }
        Ok(())
    }

    /// `address`, with the interface where the address alone is ambiguous.
    fn socket_address(&self, address: IpAddr, port: u16) -> SocketAddr {
        match address {
            IpAddr::V4(v4) => SocketAddr::from((v4, port)),
            IpAddr::V6(v6) => {
                let octets = v6.octets();
                let local = v6.is_unicast_link_local()
                    || (octets[0] == 0xFF && matches!(octets[1] & 0x0F, 1 | 2));
                let scope = if local { self.index } else { 0 };
                SocketAddrV6::new(v6, port, 0, scope).into()
            }
        }
    }

    /// What an error while opening means.
    fn obstacle(&self, error: &io::Error, port: u16) -> Obstacle {
        let interface = &self.interface;
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::ACCESS | Errno::PERM) => Obstacle::new(
                format!("UDP port {port} on {interface} is not permitted ({error})"),
                "run latido as root, or grant CAP_NET_BIND_SERVICE and CAP_NET_RAW",
            ),
            Some(Errno::ADDRINUSE) => Obstacle::new(
                format!("UDP port {port} on {interface} is taken by another program"),
                format!("find it with `ss -ulnp sport = :{port}`, stop it or choose another port"),
            ),
            Some(Errno::NODEV | Errno::NXIO | Errno::INVAL | Errno::ADDRNOTAVAIL) => Obstacle::new(
                format!("{interface} cannot carry this kind of link now ({error})"),
                format!(
                    "check `ip addr show {interface}`: it must exist, have multicast for a \
                     multicast link, and IPv6 (sysctl disable_ipv6) for an IPv6 link"
                ),
            ),
            Some(Errno::NOBUFS) => Obstacle::new(
                "too many multicast groups on this machine",
                "raise sysctl net.ipv4.igmp_max_memberships",
            ),
            _ => Obstacle::new(
                format!("UDP on {interface}: {error}"),
                format!("check `ip addr show {interface}`; Latido goes on trying"),
            ),
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn receive(&mut self, buffer: &mut [u8; FRAME_MAX], tally: &mut Tally) -> Received {
        // With TRUNC the length is the datagram's own, however small the buffer.
        match rustix::net::recvfrom(&self.socket, &mut buffer[..], RecvFlags::TRUNC) {
            Ok((_, len, from)) if (1..=FRAME_MAX).contains(&len) => {
                self.from = from.and_then(|from| SocketAddr::try_from(from).ok());
                Received::Frame(len)
            }
            // The filter lets none of these through.
            Ok(_) => {
                tally.damaged += 1;
                Received::Nothing
            }
            Err(error) => match loss(error) {
                Some(loss) => Received::Lost(loss),
                None => Received::Nothing,
            },
        }
    }

    pub(super) fn source(&self) -> Option<SocketAddr> {
        self.from
    }

    pub(super) fn send(&mut self, frame: &[u8], tally: &mut Tally) -> Sent {
        let mut done = self.to.is_empty();
        for to in &self.to {
            match rustix::net::sendto(&self.socket, frame, SendFlags::DONTWAIT, to) {
                Ok(_) => done = true,
                Err(error) => {
                    if let Some(loss) = loss(error) {
                        return Sent::Lost(loss);
                    }
                    tally.refusal = Some(error);
                }
            }
        }
        if done {
            tally.sent += 1;
            Sent::Done
        } else if !self.still_valid() {
            // IPv6 calls a vanished interface "network unreachable".
            Sent::Lost(Loss::Interface)
        } else {
            tally.busy += 1;
            Sent::Busy
        }
    }

    pub(super) fn still_valid(&self) -> bool {
        netdevice::name_to_index(&self.socket, &self.interface) == Ok(self.index)
    }
}

/// What an error on an open socket says of the link: only a vanished interface ends it. A peer
/// that is down, a missing route, a firewall or a full queue may pass.
fn loss(error: Errno) -> Option<Loss> {
    match error {
        Errno::NODEV | Errno::NETDOWN | Errno::NXIO => Some(Loss::Interface),
        Errno::BADF | Errno::NOTSOCK => Some(Loss::Failed(error)),
        _ => None,
    }
}

#[cfg(test)]
impl Udp {
    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(peers: &[&str], unknown: &[&str]) -> Resolved {
        let peers: Vec<IpAddr> = peers.iter().map(|peer| peer.parse().expect("address")).collect();
        Resolved {
            v4: peers.iter().any(IpAddr::is_ipv4),
            v6: peers.iter().any(IpAddr::is_ipv6),
            unknown: unknown.iter().map(ToString::to_string).collect(),
            peers,
        }
    }

    #[test]
    fn a_silent_name_server_takes_no_peer_away() {
        let before = resolved(&["10.0.0.1", "fd00::1"], &[]);
        let mut now = resolved(&["10.0.0.9"], &["debian.local"]);
        now.keep_known(&before);
        assert_eq!(now, resolved(&["10.0.0.1", "10.0.0.9", "fd00::1"], &["debian.local"]));

        let mut moved = resolved(&["10.0.0.9"], &[]);
        moved.keep_known(&before);
        assert_eq!(moved, resolved(&["10.0.0.9"], &[]), "an answer replaces what was known");
    }

    #[test]
    fn own_addresses_and_doubles_are_left_out() {
        let peers = ["127.0.0.1", "127.0.1.1", "::1", "192.0.2.7", "192.0.2.7", "fe80::7%eth0"];
        let peers = peers.map(String::from);
        let found = resolve("eth0", &peers);
        assert_eq!(found.peers, resolved(&["192.0.2.7", "fe80::7"], &[]).peers);
        let alone = resolve("eth0", &peers[..1]);
        assert!(alone.peers.is_empty() && alone.v4, "it only listens, but with the right family");
    }
}
