//! Network interfaces: `RTM_*LINK`.
use super::codec::{Request, attributes, text, u32_at};
use super::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, Result, Socket};
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;

pub(super) const RTM_NEWLINK: u16 = 16;
pub(super) const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
pub(super) const IFF_UP: u32 = 0x1;
const IFF_LOOPBACK: u32 = 0x8;
const IFF_NOARP: u32 = 0x80;
pub(super) const IFF_LOWER_UP: u32 = 0x1_0000;
const IFLA_ADDRESS: u16 = 1;
pub(super) const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_INET_CONF: u16 = 1;
const IFLA_NET_NS_PID: u16 = 19;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const VETH_INFO_PEER: u16 = 1;
const IFLA_MACVLAN_MODE: u16 = 1;
const MACVLAN_MODE_BRIDGE: u32 = 4;
/// Bytes of `struct ifinfomsg`.
pub(super) const IFINFOMSG: usize = 16;
/// Longest name of an interface, without the NUL.
pub(super) const NAME_MAX: usize = 15;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index, unique in its network namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its Ethernet address; `None` if it has none of six bytes.
    pub mac: Option<[u8; 6]>,
    /// Switched on (`IFF_UP`).
    pub up: bool,
    /// Has a carrier (`IFF_LOWER_UP`): the cable is plugged in and the other end is alive. Never
    /// true while it is switched off.
    pub carrier: bool,
    /// Its operational state (RFC 2863).
    pub oper_state: OperState,
    /// The loopback interface.
    pub loopback: bool,
    /// Does no ARP (`IFF_NOARP`): a tunnel, a point-to-point line.
    pub no_arp: bool,
    /// Largest packet, in bytes.
    pub mtu: u32,
    /// Index of the bridge or bond that it is a port of.
    pub master: Option<u32>,
    /// What the kernel calls its kind (`veth`, `bridge`, …); `None` for plain hardware.
    pub kind: Option<String>,
    /// Index of the interface that it stands on (macvlan, VLAN), or of its other end (veth).
    pub parent: Option<u32>,
    /// What somebody has noted about it.
    pub alias: Option<String>,
}

/// A setting of an interface for IPv4 (`/proc/sys/net/ipv4/conf`), by the number that the kernel's
/// `linux/ip.h` gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Ipv4Setting {
    /// Packets whose sender is not reached by the interface: 0 pass, 1 dropped, 2 dropped if the
    /// sender is not reached at all.
    RpFilter = 8,
    /// The sender's address of ARP requests: 0 any, 2 the best of the interface itself.
    ArpAnnounce = 18,
    /// ARP requests are answered for: 0 any address of this machine, 1 those of the interface.
    ArpIgnore = 19,
}

/// Operational state of an interface (RFC 2863; `IF_OPER_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OperState {
    /// The driver does not say.
    #[default]
    Unknown,
    /// The hardware is missing.
    NotPresent,
    /// Down.
    Down,
    /// An interface below it is down.
    LowerLayerDown,
    /// Being tested.
    Testing,
    /// Waits for something outside (802.1X).
    Dormant,
    /// Works.
    Up,
}

/// What kind of virtual interface to make.
#[derive(Clone, Copy, Debug)]
pub enum LinkKind<'a> {
    /// A bridge.
    Bridge,
    /// An interface that swallows everything.
    Dummy,
    /// A cable with two ends.
    Veth {
        /// Name of the other end.
        peer: &'a str,
        /// Where the other end goes; `None`: it stays here.
        peer_namespace: Option<Namespace<'a>>,
    },
    /// A further Ethernet address on another interface (bridge mode).
    Macvlan {
        /// Index of that interface.
        parent: u32,
    },
}

/// A network namespace.
#[derive(Clone, Copy, Debug)]
pub enum Namespace<'a> {
    /// By an open `/proc/PID/ns/net` or bind mount of one.
    Fd(BorrowedFd<'a>),
    /// That of a process.
    Pid(u32),
}

impl Socket {
    /// Every interface.
    ///
    /// # Errors
    /// The kernel's.
    pub fn links(&mut self) -> Result<Vec<Link>> {
        self.dump(RTM_GETLINK, &header(0, 0, 0), "list the network interfaces", parse)
    }

    /// The interface of this name; `None` if there is none.
    ///
    /// # Errors
    /// The kernel's.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>> {
        let mut request = Request::new(RTM_GETLINK, NLM_F_ACK);
        request.put(&header(0, 0, 0));
        request.text(IFLA_IFNAME, name);
        self.one_link(request, || format!("look up the interface {name}"))
    }

    /// The interface of this index; `None` if there is none.
    ///
    /// # Errors
    /// The kernel's.
    pub fn link_by_index(&mut self, index: u32) -> Result<Option<Link>> {
        let mut request = Request::new(RTM_GETLINK, NLM_F_ACK);
        request.put(&header(index, 0, 0));
        self.one_link(request, || format!("look up the interface with index {index}"))
    }

    fn one_link(
        &mut self,
        mut request: Request,
        what: impl FnOnce() -> String,
    ) -> Result<Option<Link>> {
        let mut found = None;
        match self.exchange(&mut request, |kind, payload| found = parse(kind, payload)) {
            Ok(_) => Ok(found),
            // A name longer than any interface can have: there is none of that name.
            Err(failure) if matches!(failure.errno, Errno::NODEV | Errno::RANGE) => Ok(None),
            Err(failure) => Err(failure.of(what())),
        }
    }

    /// Switches an interface on or off.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_up(&mut self, index: u32, up: bool) -> Result<()> {
        let mut request = Request::new(RTM_NEWLINK, NLM_F_ACK);
        request.put(&header(index, if up { IFF_UP } else { 0 }, IFF_UP));
        self.command(request, || {
            format!("switch interface {index} {}", if up { "on" } else { "off" })
        })
    }

    /// Renames an interface; older kernels want it switched off.
    ///
    /// # Errors
    /// The kernel's; names have 1 to 15 bytes.
    pub fn rename(&mut self, index: u32, name: &str) -> Result<()> {
        let mut request = change(index);
        request.text(IFLA_IFNAME, name);
        self.command(request, || format!("rename interface {index} to {name}"))
    }

    /// Gives an interface another Ethernet address.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_mac(&mut self, index: u32, mac: [u8; 6]) -> Result<()> {
        let mut request = change(index);
        request.attribute(IFLA_ADDRESS, &mac);
        self.command(request, || format!("set the Ethernet address of interface {index}"))
    }

    /// Notes something about an interface; an empty text takes the note away.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_alias(&mut self, index: u32, alias: &str) -> Result<()> {
        let mut request = change(index);
        request.attribute(IFLA_IFALIAS, alias.as_bytes());
        self.command(request, || format!("note something about interface {index}"))
    }

    /// How an interface is set for IPv4; `None` without IPv4.
    ///
    /// # Errors
    /// The kernel's; `NODEV` without the interface.
    pub fn ipv4_setting(&mut self, index: u32, setting: Ipv4Setting) -> Result<Option<u32>> {
        let mut request = Request::new(RTM_GETLINK, NLM_F_ACK);
        request.put(&header(index, 0, 0));
        let mut found = None;
        let read = |kind: u16, payload: &[u8]| {
            if kind == RTM_NEWLINK {
                found = ipv4_setting(payload, setting);
            }
        };
        match self.exchange(&mut request, read) {
            Ok(_) => Ok(found),
            Err(failure) => Err(failure.of(format!("look up the settings of interface {index}"))),
        }
    }

    /// Sets an interface for IPv4.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_ipv4(&mut self, index: u32, settings: &[(Ipv4Setting, u32)]) -> Result<()> {
        let mut request = change(index);
        let families = request.nest(IFLA_AF_SPEC);
        let family = request.nest(libc::AF_INET as u16);
        let values = request.nest(IFLA_INET_CONF);
        for (setting, value) in settings {
            request.number(*setting as u16, *value);
        }
        request.end(values);
        request.end(family);
        request.end(families);
        self.command(request, || format!("set interface {index} for IPv4: {settings:?}"))
    }

    /// Moves an interface to another network namespace, where it arrives switched off and may get
    /// another index.
    ///
    /// # Errors
    /// The kernel's.
    pub fn move_to(&mut self, index: u32, namespace: Namespace<'_>) -> Result<()> {
        let mut request = change(index);
        put_namespace(&mut request, namespace);
        self.command(request, || format!("move interface {index} to {namespace:?}"))
    }

    /// Makes a virtual interface (switched off) and returns its index.
    ///
    /// # Errors
    /// The kernel's: `EXIST` for a name that is taken, `NOTSUP` for a kind it does not know.
    pub fn add_link(&mut self, name: &str, kind: LinkKind<'_>) -> Result<u32> {
        let what = || format!("make the interface {name} ({kind:?})");
        let mut request = Request::new(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
        request.put(&header(0, 0, 0));
        request.text(IFLA_IFNAME, name);
        if let LinkKind::Macvlan { parent } = kind {
            request.number(IFLA_LINK, parent);
        }
        let info = request.nest(IFLA_LINKINFO);
        match kind {
            LinkKind::Bridge => request.text(IFLA_INFO_KIND, "bridge"),
            LinkKind::Dummy => request.text(IFLA_INFO_KIND, "dummy"),
            LinkKind::Veth { peer, peer_namespace } => {
                request.text(IFLA_INFO_KIND, "veth");
                let data = request.nest(IFLA_INFO_DATA);
                let other = request.nest(VETH_INFO_PEER);
                request.put(&header(0, 0, 0));
                request.text(IFLA_IFNAME, peer);
                if let Some(namespace) = peer_namespace {
                    put_namespace(&mut request, namespace);
                }
                request.end(other);
                request.end(data);
            }
            LinkKind::Macvlan { .. } => {
                request.text(IFLA_INFO_KIND, "macvlan");
                let data = request.nest(IFLA_INFO_DATA);
                request.number(IFLA_MACVLAN_MODE, MACVLAN_MODE_BRIDGE);
                request.end(data);
            }
        }
        request.end(info);
        self.command(request, what)?;
        match self.link(name)? {
            Some(link) => Ok(link.index),
            None => Err(super::Failure::from(Errno::NODEV).of(what())),
        }
    }

    /// Makes an interface a port of a bridge, or of nothing.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_master(&mut self, index: u32, master: Option<u32>) -> Result<()> {
        let mut request = change(index);
        request.number(IFLA_MASTER, master.unwrap_or(0));
        self.command(request, || format!("put interface {index} under {master:?}"))
    }

    /// Isolates a bridge's port: it exchanges nothing with other isolated ports.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_isolated(&mut self, index: u32, isolated: bool) -> Result<()> {
        let mut request = change(index);
        let info = request.nest(IFLA_LINKINFO);
        request.text(IFLA_INFO_SLAVE_KIND, "bridge");
        let data = request.nest(IFLA_INFO_SLAVE_DATA);
        request.attribute(IFLA_BRPORT_ISOLATED, &[u8::from(isolated)]);
        request.end(data);
        request.end(info);
        self.command(request, || format!("isolate the bridge port {index}"))
    }

    /// Deletes a virtual interface; a veth's other end goes with it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn delete_link(&mut self, index: u32) -> Result<()> {
        let mut request = Request::new(RTM_DELLINK, NLM_F_ACK);
        request.put(&header(index, 0, 0));
        self.command(request, || format!("delete interface {index}"))
    }
}

/// Of an interface's description: the kernel lists the settings in the order of their numbers.
fn ipv4_setting(payload: &[u8], setting: Ipv4Setting) -> Option<u32> {
    let find = |bytes, wanted: u16| {
        attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
    };
    let families = find(payload.get(IFINFOMSG..)?, IFLA_AF_SPEC)?;
    let values = find(find(families, libc::AF_INET as u16)?, IFLA_INET_CONF)?;
    u32_at(values, (usize::from(setting as u16) - 1) * 4)
}

/// A request that changes an existing interface.
fn change(index: u32) -> Request {
    let mut request = Request::new(RTM_NEWLINK, NLM_F_ACK);
    request.put(&header(index, 0, 0));
    request
}

fn put_namespace(request: &mut Request, namespace: Namespace<'_>) {
    match namespace {
        Namespace::Fd(fd) => request.attribute(IFLA_NET_NS_FD, &fd.as_raw_fd().to_ne_bytes()),
        Namespace::Pid(pid) => request.number(IFLA_NET_NS_PID, pid),
    }
}

/// A `struct ifinfomsg`.
fn header(index: u32, flags: u32, mask: u32) -> [u8; IFINFOMSG] {
    let mut bytes = [0; IFINFOMSG];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&mask.to_ne_bytes());
    bytes
}

fn parse(kind: u16, payload: &[u8]) -> Option<Link> {
    if kind != RTM_NEWLINK || *payload.first()? != 0 {
        return None;
    }
    let flags = u32_at(payload, 8)?;
    let mut link = Link {
        index: u32_at(payload, 4)?,
        name: String::new(),
        mac: None,
        up: flags & IFF_UP != 0,
        carrier: flags & IFF_LOWER_UP != 0,
        oper_state: OperState::Unknown,
        loopback: flags & IFF_LOOPBACK != 0,
        no_arp: flags & IFF_NOARP != 0,
        mtu: 0,
        master: None,
        kind: None,
        parent: None,
        alias: None,
    };
    for (kind, value) in attributes(payload.get(IFINFOMSG..)?) {
        match kind {
            IFLA_ADDRESS => link.mac = value.try_into().ok(),
            IFLA_IFNAME => link.name = text(value),
            IFLA_MTU => link.mtu = u32_at(value, 0).unwrap_or(0),
            IFLA_MASTER => link.master = u32_at(value, 0).filter(|index| *index != 0),
            IFLA_OPERSTATE => link.oper_state = oper_state(value.first().copied().unwrap_or(0)),
            IFLA_LINK => link.parent = u32_at(value, 0).filter(|index| *index != 0),
            IFLA_IFALIAS => link.alias = Some(text(value)),
            IFLA_LINKINFO => {
                link.kind = attributes(value)
                    .find(|(kind, _)| *kind == IFLA_INFO_KIND)
                    .map(|(_, name)| text(name));
            }
            _ => {}
        }
    }
    Some(link)
}

fn oper_state(number: u8) -> OperState {
    match number {
        1 => OperState::NotPresent,
        2 => OperState::Down,
        3 => OperState::LowerLayerDown,
        4 => OperState::Testing,
        5 => OperState::Dormant,
        6 => OperState::Up,
        _ => OperState::Unknown,
    }
}
