//! Routes: `RTM_*ROUTE`.
use super::address::ip;
use super::codec::{Request, attributes, u32_at};
use super::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, Result, Socket};
use rustix::io::Errno;
use std::net::IpAddr;

const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PREFSRC: u16 = 7;
const RTA_MULTIPATH: u16 = 9;
const RTM_F_FIB_MATCH: u32 = 0x2000;
const RTPROT_STATIC: u8 = 4;
/// Bytes of `struct rtmsg` and of `struct rtnexthop`.
const RTMSG: usize = 12;
const RTNEXTHOP: usize = 8;

/// The route that the kernel takes to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Index of the interface; the first one of several.
    pub index: u32,
    /// Prefix length of the route; 0 is the default route. Kernels before 4.17 (IPv4) give that
    /// of the address itself.
    pub prefix: u8,
    /// The next router; `None`: the address is on the link itself.
    pub gateway: Option<IpAddr>,
    /// The source address that the route prefers.
    pub source: Option<IpAddr>,
    /// The address is one of this machine's own.
    pub local: bool,
}

impl Socket {
    /// The route to `address`, leaving through interface `through` if that is given; `None` if
    /// there is none.
    ///
    /// # Errors
    /// The kernel's.
    pub fn route_to(&mut self, address: IpAddr, through: Option<u32>) -> Result<Option<Route>> {
        let mut request = Request::new(RTM_GETROUTE, NLM_F_ACK);
        let bits = if address.is_ipv4() { 32 } else { 128 };
        request.put(&header(address, bits, 0, 0, 0, RTM_F_FIB_MATCH));
        put_ip(&mut request, RTA_DST, address);
        if let Some(index) = through {
            request.number(RTA_OIF, index);
        }
        let mut found = None;
        match self.exchange(&mut request, |kind, payload| found = parse(kind, payload)) {
            Ok(_) => Ok(found),
            Err(failure)
                if matches!(
                    failure.errno,
                    Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::ACCESS | Errno::SRCH
                ) =>
            {
                Ok(None)
            }
            Err(failure) => Err(failure.of(format!("look up the route to {address}"))),
        }
    }

    /// Adds a route to `destination` (address, prefix length): over `gateway`, or on the link.
    ///
    /// # Errors
    /// The kernel's: `EXIST` if it is there, `NETUNREACH` for a gateway that is not on the link.
    pub fn add_route(
        &mut self,
        destination: (IpAddr, u8),
        gateway: Option<IpAddr>,
        index: u32,
    ) -> Result<()> {
        let (address, prefix) = destination;
        let scope = if gateway.is_none() && address.is_ipv4() {
            libc::RT_SCOPE_LINK
        } else {
            libc::RT_SCOPE_UNIVERSE
        };
        let mut request = Request::new(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
        request.put(&header(address, prefix, libc::RT_TABLE_MAIN, RTPROT_STATIC, scope, 0));
        if prefix > 0 {
            put_ip(&mut request, RTA_DST, address);
        }
        if let Some(gateway) = gateway {
            put_ip(&mut request, RTA_GATEWAY, gateway);
        }
        request.number(RTA_OIF, index);
        self.command(request, || format!("add the route to {address}/{prefix}"))
    }

    /// Adds the default route of the gateway's address family.
    ///
    /// # Errors
    /// As [`add_route`](Self::add_route).
    pub fn add_default_route(&mut self, gateway: IpAddr, index: u32) -> Result<()> {
        let any: IpAddr = match gateway {
            IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
        };
        self.add_route((any, 0), Some(gateway), index)
    }
}

/// A `struct rtmsg`.
fn header(
    address: IpAddr,
    prefix: u8,
    table: u8,
    protocol: u8,
    scope: u8,
    flags: u32,
) -> [u8; RTMSG] {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 } as u8;
    let kind = if table == 0 { 0 } else { libc::RTN_UNICAST };
    let mut bytes = [family, prefix, 0, 0, table, protocol, scope, kind, 0, 0, 0, 0];
    bytes[8..].copy_from_slice(&flags.to_ne_bytes());
    bytes
}

fn put_ip(request: &mut Request, kind: u16, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => request.attribute(kind, &v4.octets()),
        IpAddr::V6(v6) => request.attribute(kind, &v6.octets()),
    }
}

fn parse(kind: u16, payload: &[u8]) -> Option<Route> {
    if kind != RTM_NEWROUTE {
        return None;
    }
    let mut route = Route {
        index: 0,
        prefix: *payload.get(1)?,
        gateway: None,
        source: None,
        local: *payload.get(7)? == libc::RTN_LOCAL,
    };
    for (kind, value) in attributes(payload.get(RTMSG..)?) {
        match kind {
            RTA_OIF => route.index = u32_at(value, 0)?,
            RTA_GATEWAY => route.gateway = ip(value),
            RTA_PREFSRC => route.source = ip(value),
            RTA_MULTIPATH if route.index == 0 => {
                route.index = u32_at(value, 4)?;
                route.gateway = attributes(value.get(RTNEXTHOP..)?)
                    .find(|(kind, _)| *kind == RTA_GATEWAY)
                    .and_then(|(_, gateway)| ip(gateway));
            }
            _ => {}
        }
    }
    (route.index != 0).then_some(route)
}
