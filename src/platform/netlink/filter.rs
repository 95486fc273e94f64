//! Programs on an interface's way in and out: `clsact` and its `bpf` filters (tc-bpf(8)).
//!
//! For kernels without tcx (before Linux 6.6). A filter belongs to the interface: it stays when
//! the process that put it there ends.
use super::codec::{Request, attributes, text, u32_at};
use super::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, Result, Socket};
use rustix::fd::{AsFd, AsRawFd};
use rustix::io::Errno;

const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;
const RTM_GETTFILTER: u16 = 46;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_ID: u16 = 11;
const TCA_BPF_FLAG_ACT_DIRECT: u32 = 1;
const TC_H_CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const ETH_P_ALL: u16 = 3;
/// Bytes of `struct tcmsg`.
const TCMSG: usize = 20;

/// One side of an interface that has a `clsact`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Index of the interface.
    pub index: u32,
    /// The way out; else the way in.
    pub egress: bool,
}

/// A filter on a [`Hook`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Lower ones run first.
    pub priority: u16,
    /// It sees every protocol.
    pub all_protocols: bool,
    /// `bpf`, `flower`, …
    pub kind: String,
    /// Its number among those of the same priority.
    pub handle: u32,
    /// The program's name in the filter.
    pub name: String,
    /// The program's number.
    pub program: Option<u32>,
}

impl Hook {
    fn parent(self) -> u32 {
        if self.egress { 0xffff_fff3 } else { 0xffff_fff2 }
    }

    fn name(self) -> String {
        format!("{} of interface {}", if self.egress { "egress" } else { "ingress" }, self.index)
    }
}

impl Socket {
    /// Gives an interface a `clsact`; false if it has one.
    ///
    /// # Errors
    /// The kernel's: `NOENT` or `NOTSUP` without `CONFIG_NET_SCH_INGRESS`.
    pub fn add_clsact(&mut self, index: u32) -> Result<bool> {
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        let mut request = Request::new(RTM_NEWQDISC, flags);
        request.put(&header(index, CLSACT_HANDLE, TC_H_CLSACT, 0));
        request.text(TCA_KIND, "clsact");
        match self.exchange(&mut request, |_, _| ()) {
            Ok(_) => Ok(true),
            Err(failure) if failure.errno == Errno::EXIST => Ok(false),
            Err(failure) => Err(failure.of(format!("give interface {index} a clsact"))),
        }
    }

    /// Takes the `clsact` of an interface away, with everything in it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn delete_clsact(&mut self, index: u32) -> Result<()> {
        let mut request = Request::new(RTM_DELQDISC, NLM_F_ACK);
        request.put(&header(index, CLSACT_HANDLE, TC_H_CLSACT, 0));
        request.text(TCA_KIND, "clsact");
        self.command(request, || format!("take the clsact of interface {index} away"))
    }

    /// The filters on a hook, in the order in which they run; none if there is no `clsact`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn filters(&mut self, hook: Hook) -> Result<Vec<Filter>> {
        let what = "list the filters of an interface";
        let header = header(hook.index, 0, hook.parent(), 0);
        let mut found = match self.dump(RTM_GETTFILTER, &header, what, parse) {
            Err(error) if matches!(error.errno(), Errno::INVAL | Errno::NODEV) => Vec::new(),
            found => found?,
        };
        // Each priority begins with an entry for itself.
        found.retain(|filter| filter.handle != 0);
        Ok(found)
    }

    /// Puts a program on a hook, or in the place of the one that has this priority and handle, in
    /// one step.
    ///
    /// # Errors
    /// The kernel's: `INVAL` or `NOENT` if the priority is taken by another kind of filter.
    pub fn put_filter(
        &mut self,
        hook: Hook,
        (priority, handle): (u16, u32),
        name: &str,
        program: impl AsFd,
    ) -> Result<()> {
        let mut request = Request::new(RTM_NEWTFILTER, NLM_F_ACK | NLM_F_CREATE);
        request.put(&header(hook.index, handle, hook.parent(), info(priority)));
        request.text(TCA_KIND, "bpf");
        let options = request.nest(TCA_OPTIONS);
        request.number(TCA_BPF_FD, program.as_fd().as_raw_fd() as u32); // never negative
        request.text(TCA_BPF_NAME, name);
        request.number(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
        request.end(options);
        self.command(request, || format!("put a program on the {}", hook.name()))
    }

    /// Takes a `bpf` filter off. That it is not there is no error.
    ///
    /// # Errors
    /// The kernel's.
    pub fn delete_filter(&mut self, hook: Hook, priority: u16, handle: u32) -> Result<()> {
        let mut request = Request::new(RTM_DELTFILTER, NLM_F_ACK);
        request.put(&header(hook.index, handle, hook.parent(), info(priority)));
        request.text(TCA_KIND, "bpf");
        match self.exchange(&mut request, |_, _| ()) {
            Err(failure) if !matches!(failure.errno, Errno::NOENT | Errno::NODEV) => {
                Err(failure.of(format!("take a program off the {}", hook.name())))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// `tcm_info` of a filter for all protocols.
fn info(priority: u16) -> u32 {
    u32::from(priority) << 16 | u32::from(ETH_P_ALL.to_be())
}

/// A `struct tcmsg`.
fn header(index: u32, handle: u32, parent: u32, info: u32) -> [u8; TCMSG] {
    let mut bytes = [0; TCMSG];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&handle.to_ne_bytes());
    bytes[12..16].copy_from_slice(&parent.to_ne_bytes());
    bytes[16..20].copy_from_slice(&info.to_ne_bytes());
    bytes
}

fn parse(kind: u16, payload: &[u8]) -> Option<Filter> {
    if kind != RTM_NEWTFILTER {
        return None;
    }
    let info = u32_at(payload, 16)?;
    let mut filter = Filter {
        priority: (info >> 16) as u16, // the upper half
        all_protocols: info as u16 == ETH_P_ALL.to_be(),
        kind: String::new(),
        handle: u32_at(payload, 8)?,
        name: String::new(),
        program: None,
    };
    for (kind, value) in attributes(payload.get(TCMSG..)?) {
        match kind {
            TCA_KIND => filter.kind = text(value),
            TCA_OPTIONS if filter.kind == "bpf" => {
                for (kind, value) in attributes(value) {
                    match kind {
                        TCA_BPF_NAME => filter.name = text(value),
                        TCA_BPF_ID => filter.program = u32_at(value, 0),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Some(filter)
}
