//! Where the gate's programs are: on every Ethernet-like interface, beside other people's.
//!
//! Two ways, of which neither needs a process or a file to hold the program. *tcx* (Linux 6.6):
//! a list of programs on each side of an interface; ours is put first. *clsact* before that: a
//! `bpf` filter with a handle of its own, as the first one if the place is free. A `clsact` that
//! we had to add is named so in our filter, and goes again when nothing else is in it.
//!
//! Ports of a bridge, bond or Open vSwitch are left alone: what is for this machine passes the
//! master as well, and what a bridge only carries for others is not our business.
use crate::platform::bpf::{self, Direction, Program};
use crate::platform::netlink::{Filter, Hook, Link, Socket};
use rustix::thread::CapabilitySet;
use std::fmt;
use std::io;

/// Names of our filter in a `clsact` that was there, and in one that we added.
const GUEST: &str = "latido";
const OWNER: &str = "latido+clsact";
/// What our programs' names begin with.
const PREFIX: &str = "latido_";
/// Where a place for our filter is looked for.
const PRIORITIES: std::ops::RangeInclusive<u16> = 1..=1000;

/// How programs are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Linux 6.6 and newer.
    Tcx,
    /// Older kernels.
    Clsact,
}

impl Way {
    /// The best one that this kernel has. Which of the programs in a tcx list is ours takes
    /// CAP_SYS_ADMIN to find out; without it the filters of clsact do, which have names.
    pub(super) fn of_this_kernel() -> Way {
        const LOOPBACK: u32 = 1;
        let set = rustix::thread::capabilities(None).map(|sets| sets.effective);
        let may_look = set.is_ok_and(|set| set.contains(CapabilitySet::SYS_ADMIN));
        if may_look && bpf::attached(LOOPBACK, Direction::Ingress).is_ok() {
            Way::Tcx
        } else {
            Way::Clsact
        }
    }
}

/// Whose programs: those of one runtime directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(u32);

impl Tag {
    /// The tag that belongs to a name; the same name always has the same one.
    pub fn of(name: &[u8]) -> Tag {
        // FNV-1a, 32 bits. Handles of filters are positive.
        let hash = name.iter().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
        });
        Tag((hash & 0x7fff_ffff).max(1))
    }

    /// The tag of those who work on this (runtime) directory.
    pub fn of_directory(path: &std::path::Path) -> Tag {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        Tag::of(path.as_os_str().as_encoded_bytes())
    }

    /// The programs' name.
    pub(super) fn program_name(self) -> String {
        format!("{self}")
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{:08x}", self.0)
    }
}

/// Puts the programs where they belong, and keeps them there.
pub(super) struct Attacher {
    pub(super) tag: Tag,
    pub(super) way: Way,
    pub(super) ingress: Program,
    pub(super) egress: Program,
    pub(super) socket: Socket,
}

impl Attacher {
    fn program(&self, direction: Direction) -> &Program {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }

    /// Makes it so on all interfaces of this namespace; says what did not work, and where.
    pub(super) fn attach(&mut self) -> Vec<String> {
        let links = match self.socket.links() {
            Ok(links) => links,
            Err(error) => return vec![error.to_string()],
        };
        let mut trouble = Vec::new();
        for link in &links {
            let done = if is_gated(link, &links) {
                self.attach_to(link.index)
            } else {
                take_off(&mut self.socket, self.tag, link.index)
            };
            if let Err(error) = done
                && self.socket.link_by_index(link.index).is_ok_and(|link| link.is_some())
            {
                trouble.push(format!("{}: {error}", link.name));
            }
        }
        trouble
    }

    fn attach_to(&mut self, index: u32) -> io::Result<()> {
        match self.way {
            Way::Tcx => {
                for direction in Direction::BOTH {
                    self.attach_tcx(index, direction)?;
                }
                Ok(())
            }
            Way::Clsact => self.attach_clsact(index),
        }
    }

    fn attach_tcx(&self, index: u32, direction: Direction) -> io::Result<()> {
        let program = self.program(direction);
        let present = bpf::attached(index, direction)?;
        if present.contains(&program.id()?) {
            return Ok(());
        }
        let old = named(&present, self.tag)?;
        program.attach(index, direction, old.as_ref())
    }

    fn attach_clsact(&mut self, index: u32) -> io::Result<()> {
        let hooks = [false, true].map(|egress| Hook { index, egress });
        let mut present = [self.socket.filters(hooks[0])?, self.socket.filters(hooks[1])?];
        let ours = |filters: &[Filter]| filters.iter().find(|f| is_ours(f, self.tag)).cloned();
        let old = [ours(&present[0]), ours(&present[1])];
        let ids = [self.ingress.id()?, self.egress.id()?];
        if old.iter().zip(ids).all(|(f, id)| f.as_ref().is_some_and(|f| f.program == Some(id))) {
            return Ok(());
        }
        let inherited = old.iter().flatten().any(|filter| filter.name == OWNER);
        let added = self.socket.add_clsact(index)?;
        if added {
            present = Default::default();
        }
        let name = if added || inherited { OWNER } else { GUEST };
        for (side, hook) in hooks.into_iter().enumerate() {
            let priority = match &old[side] {
                Some(filter) if !added => filter.priority,
                _ => free_priority(&present[side])?,
            };
            let program = if hook.egress { &self.egress } else { &self.ingress };
            self.socket.put_filter(hook, (priority, self.tag.0), name, program)?;
        }
        Ok(())
    }
}

/// Linux answers for its addresses on every interface, whichever they were given to.
fn is_gated(link: &Link, all: &[Link]) -> bool {
    let master = link.master.and_then(|index| all.iter().find(|other| other.index == index));
    // A routing domain (VRF) is the one master whose members are interfaces of their own.
    let port = master.is_some_and(|master| master.kind.as_deref() != Some("vrf"));
    link.mac.is_some() && !link.loopback && !port
}

fn is_ours(filter: &Filter, tag: Tag) -> bool {
    filter.kind == "bpf" && filter.handle == tag.0 && (filter.name == GUEST || filter.name == OWNER)
}

/// The first priority where a `bpf` filter for all protocols may stand. In one that holds such
/// filters already the newest runs first.
fn free_priority(filters: &[Filter]) -> io::Result<u16> {
    let fits = |priority: &u16| {
        let mut there = filters.iter().filter(|filter| filter.priority == *priority);
        there.all(|filter| filter.kind == "bpf" && filter.all_protocols)
    };
    let mut priorities = PRIORITIES;
    priorities.find(fits).ok_or_else(|| io::Error::other("every priority is taken by a filter"))
}

/// The first of these programs that has the tag's name; none if we may not look at them.
fn named(ids: &[u32], tag: Tag) -> io::Result<Option<Program>> {
    for id in ids {
        let program = match Program::find(*id) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
            program => program?,
        };
        if let Some(program) = program
            && program.name()? == tag.program_name()
        {
            return Ok(Some(program));
        }
    }
    Ok(None)
}

/// A program that a predecessor with the same tag left on an interface of this namespace; none
/// without CAP_SYS_ADMIN.
///
/// # Errors
/// The kernel's.
pub(super) fn predecessor(socket: &mut Socket, tag: Tag) -> io::Result<Option<Program>> {
    for link in socket.links()? {
        for direction in Direction::BOTH {
            let mut ids = bpf::attached(link.index, direction).unwrap_or_default();
            let hook = Hook { index: link.index, egress: direction == Direction::Egress };
            let filters = socket.filters(hook)?;
            ids.extend(filters.iter().filter(|f| is_ours(f, tag)).filter_map(|f| f.program));
            if let Some(program) = named(&ids, tag)? {
                return Ok(Some(program));
            }
        }
    }
    Ok(None)
}

/// Programs of other runtime directories' gates: `INTERFACE (NAME)`. None without CAP_SYS_ADMIN.
///
/// # Errors
/// The kernel's.
pub(super) fn strangers(socket: &mut Socket, tag: Tag) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for link in socket.links()? {
        for direction in Direction::BOTH {
            let mut ids = bpf::attached(link.index, direction).unwrap_or_default();
            let hook = Hook { index: link.index, egress: direction == Direction::Egress };
            ids.extend(socket.filters(hook)?.iter().filter_map(|filter| filter.program));
            for id in ids {
                let Ok(Some(program)) = Program::find(id) else { continue };
                let name = program.name()?;
                let place = format!("{} ({name})", link.name);
                if name.starts_with(PREFIX) && name != tag.program_name() && !found.contains(&place)
                {
                    found.push(place);
                }
            }
        }
    }
    Ok(found)
}

/// Takes everything with this tag off all interfaces of this namespace, and the `clsact`s that
/// were added for it and are empty now.
///
/// # Errors
/// The kernel's; the other interfaces are done all the same.
pub(super) fn sweep(socket: &mut Socket, tag: Tag) -> io::Result<()> {
    let mut result = Ok(());
    for link in socket.links()? {
        if let Err(error) = take_off(socket, tag, link.index) {
            result = Err(io::Error::new(error.kind(), format!("{}: {error}", link.name)));
        }
    }
    result
}

fn take_off(socket: &mut Socket, tag: Tag, index: u32) -> io::Result<()> {
    for direction in Direction::BOTH {
        // An older kernel has none.
        let present = bpf::attached(index, direction).unwrap_or_default();
        if let Some(program) = named(&present, tag)? {
            program.detach(index, direction)?;
        }
    }
    let hooks = [false, true].map(|egress| Hook { index, egress });
    let mut added_by_us = false;
    let mut others = false;
    for hook in hooks {
        for filter in socket.filters(hook)? {
            if is_ours(&filter, tag) {
                added_by_us |= filter.name == OWNER;
                socket.delete_filter(hook, filter.priority, filter.handle)?;
            } else {
                others = true;
            }
        }
    }
    if added_by_us && !others {
        socket.delete_clsact(index)?;
    }
    Ok(())
}
