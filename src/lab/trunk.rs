//! Cables between switches, and any cable of a switch cut so that no carrier tells of it.
use super::error::{Doing, Error, Result};
use super::network::{Hub, Network};
use super::plan;
use crate::platform::bpf::{Direction, Map, Program, SharedWords};
use crate::platform::netlink::LinkKind;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Mutex, PoisonError};

/// A cable of a switch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wire {
    /// A machine's, in a network. It is whole again after the machine's next start.
    Port {
        /// The machine.
        machine: String,
        /// The network.
        network: String,
    },
    /// Between two switches; its name.
    Trunk(String),
}

/// One of a cable's two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// From the machine, or from the network that the trunk names first.
    There,
    /// The other.
    Back,
}

impl Way {
    /// Both.
    pub const BOTH: [Way; 2] = [Way::There, Way::Back];
}

/// A cable between the kernel's bridges of two networks, which thereby are one.
#[derive(Debug)]
pub(super) struct Trunk {
    name: String,
    /// Its end at the first of the two.
    index: u32,
}

impl Trunk {
    pub(super) fn new(
        hub: &Hub,
        number: usize,
        plan: &plan::Trunk,
        ends: [&Network; 2],
    ) -> Result<Trunk> {
        let doing = || format!("the cable {} between two switches", plan.name);
        let bridges = [ends[0].bridge()?, ends[1].bridge()?];
        let names = [format!("trunk{number}a"), format!("trunk{number}b")];
        let mut netlink = hub.netlink();
        let kind = LinkKind::Veth { peer: &names[1], peer_namespace: None };
        let index = netlink.0.add_link(&names[0], kind).doing(doing())?;
        for (name, bridge) in names.iter().zip(bridges) {
            let end = netlink.0.link(name).doing(doing())?;
            let end = end.ok_or_else(|| Error::new(format!("{}: it has no {name}", doing())))?;
            netlink.0.set_master(end.index, Some(bridge)).doing(doing())?;
            netlink.0.set_up(end.index, true).doing(doing())?;
        }
        Ok(Trunk { name: plan.name.clone(), index })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its end's interface, and the side of it where the frames of this direction pass.
    pub(super) fn end(&self, way: Way) -> (u32, Direction) {
        let side = match way {
            Way::There => Direction::Egress,
            Way::Back => Direction::Ingress,
        };
        (self.index, side)
    }
}

/// The same for a machine's port.
pub(super) fn port_end(network: &Network, machine: &str, way: Way) -> Result<(u32, Direction)> {
    let side = match way {
        Way::There => Direction::Ingress,
        Way::Back => Direction::Egress,
    };
    Ok((network.port(machine)?, side))
}

/// Ends of cables that can be cut in one laboratory; each of a machine's starts makes new ones.
const ENDS_MAX: usize = 1024;

/// Loses the frames that pass at the ends of cables. Everything that takes time is done before the
/// first cut of an end: to cut or mend is to store a word that the kernel's program looks at.
pub(super) struct Scissors {
    map: Map,
    words: SharedWords,
    /// The word of each end.
    known: Mutex<BTreeMap<(u32, bool), usize>>,
}

impl std::fmt::Debug for Scissors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scissors")
    }
}

impl Scissors {
    pub(super) fn new() -> Result<Scissors> {
        let map = Map::shared("lab_cuts", u32::try_from(ENDS_MAX * 4).unwrap_or(u32::MAX));
        let map = map.doing("cutting cables needs eBPF")?;
        let words = map.words(ENDS_MAX).doing("cutting cables")?;
        Ok(Scissors { map, words, known: Mutex::default() })
    }

    /// Cuts there, or mends.
    ///
    /// # Errors
    /// The kernel's, when an end is cut for the first time; it must be Linux 6.6 or newer.
    pub(super) fn set(&self, hub: &Hub, end: (u32, Direction), cut: bool) -> Result<()> {
        let key = (end.0, end.1 == Direction::Ingress);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let word = match known.get(&key) {
            Some(word) => *word,
            None => {
                let word = known.len();
                self.put(hub, end, word)?;
                known.insert(key, word);
                word
            }
        };
        self.words.set(word, u32::from(cut));
        Ok(())
    }

    fn put(&self, hub: &Hub, end: (u32, Direction), word: usize) -> Result<()> {
        let offset = i32::try_from(word * 4).ok().filter(|_| word < ENDS_MAX);
        let offset = offset.ok_or_else(|| Error::new("too many ends of cables were cut"))?;
        let code = code(self.map.as_fd().as_raw_fd(), offset);
        let program = Program::load("lab_cut", &code, c"MIT")
            .map_err(|why| Error::new(format!("cutting a cable: {}: {}", why.error, why.log)))?;
        hub.run(move || program.attach(end.0, end.1, None))
            .doing("cutting a cable (Linux 6.6 or newer is needed)")
    }
}

/// Frames are lost while the word at `offset` of the map's value is not 0 (RFC 9669).
fn code(map: i32, offset: i32) -> [[u8; 8]; 7] {
    let instruction = |code: u8, to: u8, from: u8, jump: i16, number: i32| {
        let registers =
            if cfg!(target_endian = "little") { to | from << 4 } else { to << 4 | from };
        let (jump, number) = (jump.to_ne_bytes(), number.to_ne_bytes());
        [code, registers, jump[0], jump[1], number[0], number[1], number[2], number[3]]
    };
    [
        instruction(0x18, 1, 2, 0, map), // r1 = the value of the map,
        instruction(0, 0, 0, 0, offset), //      at this offset
        instruction(0x61, 0, 1, 0, 0),   // r0 = the word there
        instruction(0x15, 0, 0, 1, 0),   // if it is not 0:
        instruction(0xb7, 0, 0, 0, 3),   // r0 = TCX_DROP + 1
        instruction(0x07, 0, 0, 0, -1),  // r0 -= 1: TCX_DROP, or TCX_NEXT
        instruction(0x95, 0, 0, 0, 0),   // return r0
    ]
}
