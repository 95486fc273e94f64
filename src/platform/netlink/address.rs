//! IP addresses of interfaces: `RTM_*ADDR`.
use super::codec::{Request, attributes, text, u32_at};
use super::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Result, Socket};
use rustix::io::Errno;
use std::fmt;
use std::net::IpAddr;

pub(super) const RTM_NEWADDR: u16 = 20;
pub(super) const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const IFA_BROADCAST: u16 = 4;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;
/// Bytes of `struct ifaddrmsg`.
pub(super) const IFADDRMSG: usize = 8;

/// An IP address on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Index of the interface.
    pub index: u32,
    /// The address.
    pub address: IpAddr,
    /// Prefix length.
    pub prefix: u8,
    /// Broadcast address (IPv4).
    pub broadcast: Option<IpAddr>,
    /// Label (IPv4): the interface's name, or that with a colon and more; at most 15 bytes.
    pub label: Option<String>,
    /// How far it is valid.
    pub scope: Scope,
    /// `IFA_F_*`.
    pub flags: Flags,
    /// How long it is valid.
    pub lifetime: Lifetime,
}

/// Scope of an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Everywhere.
    #[default]
    Global,
    /// On this link.
    Link,
    /// On this machine.
    Host,
}

/// Flags of an address (`IFA_F_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    /// None.
    pub const NONE: Flags = Flags(0);
    /// IPv4: another address of the same network on the same interface is preferred.
    pub const SECONDARY: Flags = Flags(0x01);
    /// IPv6: usable at once, without duplicate address detection.
    pub const NODAD: Flags = Flags(0x02);
    /// IPv6: somebody else has it.
    pub const DADFAILED: Flags = Flags(0x08);
    /// Its preferred lifetime is over.
    pub const DEPRECATED: Flags = Flags(0x20);
    /// IPv6: not proven unique yet, and not usable.
    pub const TENTATIVE: Flags = Flags(0x40);
    /// It has no lifetime.
    pub const PERMANENT: Flags = Flags(0x80);

    /// Whether all of `other`'s are set.
    pub fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Lifetimes of an address in seconds, from when it was set (in a request) or left (in a list).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// For so long it may be chosen as a source address; at most `valid`.
    pub preferred: u32,
    /// Then the kernel removes it. Not 0.
    pub valid: u32,
}

impl Lifetime {
    /// No end.
    pub const FOREVER: Lifetime = Lifetime { preferred: u32::MAX, valid: u32::MAX };
}

impl Address {
    /// An address of global scope without an end.
    pub fn new(index: u32, address: IpAddr, prefix: u8) -> Self {
        Address {
            index,
            address,
            prefix,
            broadcast: None,
            label: None,
            scope: Scope::Global,
            flags: Flags::NONE,
            lifetime: Lifetime::FOREVER,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} on interface {}", self.address, self.prefix, self.index)
    }
}

impl Socket {
    /// Adds an address.
    ///
    /// # Errors
    /// The kernel's: `EXIST` if it is there already, `NODEV` without the interface.
    pub fn add_address(&mut self, address: &Address) -> Result<()> {
        self.put_address(address, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Adds an address, or sets the lifetime and flags of the one that is there (same interface
    /// and prefix; an IPv4 label stays as it is).
    ///
    /// # Errors
    /// The kernel's.
    pub fn replace_address(&mut self, address: &Address) -> Result<()> {
        self.put_address(address, NLM_F_CREATE | NLM_F_REPLACE)
    }

    fn put_address(&mut self, address: &Address, flags: u16) -> Result<()> {
        let mut request = Request::new(RTM_NEWADDR, NLM_F_ACK | flags);
        put_identity(&mut request, address);
        if let Some(IpAddr::V4(broadcast)) = address.broadcast {
            request.attribute(IFA_BROADCAST, &broadcast.octets());
        }
        if let (Some(label), true) = (&address.label, address.address.is_ipv4()) {
            request.text(IFA_LABEL, label);
        }
        request.number(IFA_FLAGS, address.flags.0);
        if address.lifetime != Lifetime::FOREVER {
            let mut info = [0; 16];
            info[..4].copy_from_slice(&address.lifetime.preferred.to_ne_bytes());
            info[4..8].copy_from_slice(&address.lifetime.valid.to_ne_bytes());
            request.attribute(IFA_CACHEINFO, &info);
        }
        self.command(request, || format!("set the address {address}"))
    }

    /// Removes an address. `Ok(false)`: it was not there (any more), nor was its interface.
    ///
    /// # Errors
    /// The kernel's.
    pub fn delete_address(&mut self, address: &Address) -> Result<bool> {
        let mut request = Request::new(RTM_DELADDR, NLM_F_ACK);
        put_identity(&mut request, address);
        match self.exchange(&mut request, |_, _| ()) {
            Ok(_) => Ok(true),
            Err(failure)
                if matches!(failure.errno, Errno::ADDRNOTAVAIL | Errno::NODEV | Errno::NXIO) =>
            {
                Ok(false)
            }
            Err(failure) => Err(failure.of(format!("remove the address {address}"))),
        }
    }

    /// Every address of every interface.
    ///
    /// # Errors
    /// The kernel's.
    pub fn addresses(&mut self) -> Result<Vec<Address>> {
        self.dump(RTM_GETADDR, &[0; IFADDRMSG], "list the IP addresses", parse)
    }
}

/// The header and the address itself: what both adding and removing need.
fn put_identity(request: &mut Request, address: &Address) {
    let mut octets = [0; 16];
    let (family, octets) = match address.address {
        IpAddr::V4(v4) => {
            octets[..4].copy_from_slice(&v4.octets());
            (libc::AF_INET as u8, &octets[..4])
        }
        IpAddr::V6(v6) => {
            octets = v6.octets();
            (libc::AF_INET6 as u8, &octets[..])
        }
    };
    let scope = match address.scope {
        Scope::Global => libc::RT_SCOPE_UNIVERSE,
        Scope::Link => libc::RT_SCOPE_LINK,
        Scope::Host => libc::RT_SCOPE_HOST,
    };
    let mut header = [family, address.prefix, 0, scope, 0, 0, 0, 0];
    header[4..].copy_from_slice(&address.index.to_ne_bytes());
    request.put(&header);
    request.attribute(IFA_LOCAL, octets);
    request.attribute(IFA_ADDRESS, octets);
}

fn parse(kind: u16, payload: &[u8]) -> Option<Address> {
    if kind != RTM_NEWADDR {
        return None;
    }
    let mut result = Address::new(u32_at(payload, 4)?, identity(payload)?, *payload.get(1)?);
    result.flags = Flags(u32::from(*payload.get(2)?));
    result.scope = match *payload.get(3)? {
        libc::RT_SCOPE_UNIVERSE => Scope::Global,
        libc::RT_SCOPE_LINK => Scope::Link,
        _ => Scope::Host,
    };
    for (kind, value) in attributes(payload.get(IFADDRMSG..)?) {
        match kind {
            IFA_LABEL => result.label = Some(text(value)),
            IFA_BROADCAST => result.broadcast = ip(value),
            IFA_FLAGS => result.flags = Flags(u32_at(value, 0)?),
            IFA_CACHEINFO => {
                result.lifetime =
                    Lifetime { preferred: u32_at(value, 0)?, valid: u32_at(value, 4)? };
            }
            _ => {}
        }
    }
    Some(result)
}

/// The address that a `RTM_NEWADDR` or `RTM_DELADDR` is about. On a point-to-point line
/// `IFA_ADDRESS` is the other end and `IFA_LOCAL` ours; IPv6 usually has only the first.
pub(super) fn identity(payload: &[u8]) -> Option<IpAddr> {
    let (mut local, mut address) = (None, None);
    for (kind, value) in attributes(payload.get(IFADDRMSG..)?) {
        match kind {
            IFA_LOCAL => local = ip(value),
            IFA_ADDRESS => address = ip(value),
            _ => {}
        }
    }
    local.or(address)
}

/// An address of four or sixteen bytes.
pub(super) fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    Some(<[u8; 16]>::try_from(bytes).ok()?.into())
}
