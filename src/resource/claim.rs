//! Hears when somebody else says to have an address of ours (RFC 5227, section 2.4; RFC 4861).
use super::address::Plan;
use crate::config::Rule;
use crate::platform::neighbour::{
    self, ADVERTISEMENT, ARP_SENDER_AT, ETHERTYPE_ARP, ETHERTYPE_IPV6, Holder, TARGET_END_AT,
};
use crate::platform::packet;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

/// RFC 5227: an address is defended at most once in ten seconds. In microseconds.
pub(super) const DEFEND_INTERVAL: u64 = 10_000_000;
/// For so long nothing is listened to after a claim: a flood of them costs next to nothing.
const DEAF: u64 = 50_000;
/// Frames taken at once.
const FRAMES_PER_TURN: usize = 64;
const FRAME_MAX: usize = 128;

/// Listens on the LAN of one address.
pub(super) struct Ears {
    socket: Arc<packet::Socket>,
    deaf_until: u64,
    /// When a claim was answered last; how many there were since, and whose the last one was.
    defended: Option<u64>,
    unsaid: u32,
    claimant: [u8; 6],
}

/// Somebody else's claim that is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// The Ethernet address that the claimant says the address lives at.
    pub(super) mac: [u8; 6],
    /// Claims since the last one that was answered.
    pub(super) more: u32,
}

impl Ears {
    /// # Errors
    /// The packet socket's.
    pub(super) fn open(plan: &Plan) -> io::Result<Ears> {
        let (ethertype, also, at, value) = match plan.address.address {
            IpAddr::V4(v4) => (ETHERTYPE_ARP, &[][..], ARP_SENDER_AT, u32::from(v4)),
            IpAddr::V6(v6) => {
                let end = (u128::from(v6) & u128::from(u32::MAX)) as u32;
                (ETHERTYPE_IPV6, &ADVERTISEMENT[..], TARGET_END_AT, end)
            }
        };
        let socket = packet::Socket::sender()?;
        // The filter first: nothing else ever comes in.
        socket.only(also, at, &[value])?;
        socket.listen(plan.lan.index, ethertype)?;
        Ok(Ears {
            socket: Arc::new(socket),
            deaf_until: 0,
            defended: None,
            unsaid: 0,
            claimant: [0; 6],
        })
    }

    /// What to wait for, unless it is not listened to now.
    pub(super) fn socket(&self, now: u64) -> Option<Arc<packet::Socket>> {
        (now >= self.deaf_until).then(|| Arc::clone(&self.socket))
    }

    /// When it is listened again, if it is not now, or a claim is answered that had to wait.
    pub(super) fn next(&self, now: u64) -> u64 {
        let waiting = if self.unsaid > 0 { self.defend_at() } else { u64::MAX };
        if now < self.deaf_until { self.deaf_until.min(waiting) } else { waiting }
    }

    fn defend_at(&self) -> u64 {
        self.defended.map_or(0, |last| last.saturating_add(DEFEND_INTERVAL))
    }

    /// A claim that is to be answered now. `ours`: whether an Ethernet address is one of this
    /// machine's.
    pub(super) fn hear(
        &mut self,
        plan: &Plan,
        now: u64,
        mut ours: impl FnMut([u8; 6]) -> bool,
    ) -> Option<Claim> {
        if now >= self.deaf_until {
            self.read(plan, now, &mut ours);
        }
        // What came too soon after the last one is answered later: it has misled neighbours.
        if self.unsaid == 0 || now < self.defend_at() {
            return None;
        }
        self.defended = Some(now);
        let more = std::mem::take(&mut self.unsaid) - 1;
        Some(Claim { mac: self.claimant, more })
    }

    fn read(&mut self, plan: &Plan, now: u64, mut ours: impl FnMut([u8; 6]) -> bool) {
        let mut buffer = [0; FRAME_MAX];
        for _ in 0..FRAMES_PER_TURN {
            // An error tells of an interface that was switched off; what comes later counts.
            let Ok(Some(frame)) = self.socket.receive(&mut buffer) else { break };
            if let Some(holder) = neighbour::holder(frame)
                && is_claim(holder, plan, &mut ours)
            {
                self.unsaid = self.unsaid.saturating_add(1);
                self.claimant = holder.mac;
                self.deaf_until = now + DEAF;
            }
        }
    }
}

/// What this machine sends through its interfaces does not come back, except over a bridge of its
/// own or a switch with a loop: then it is not the claim of another. A virtual MAC is that of the
/// other node as well, and what arrives with it was sent by that.
fn is_claim(holder: Holder, plan: &Plan, mut ours: impl FnMut([u8; 6]) -> bool) -> bool {
    let virtual_mac = plan.wanted.virtual_mac;
    let mut own = |mac: [u8; 6]| Some(mac) != virtual_mac && ours(mac);
    holder.address == plan.address.address && !own(holder.mac) && !own(holder.sender)
}

/// What such a claim means, for people.
pub(super) fn meaning(claim: Claim, plan: &Plan, rule: Rule) -> String {
    let [a, b, c, d, e, f] = claim.mac;
    let mac = format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
    let again = match claim.more {
        0 => String::new(),
        more => format!(" (and {more} times or more since the last such line)"),
    };
    let means = match rule {
        _ if Some(claim.mac) == plan.wanted.virtual_mac => {
            "that is its virtual MAC, so the other node has it, too, and both are in service"
        }
        Rule::AssumeDead => {
            "either a stranger has the same address, or the other node owns the group as well, \
             because every heartbeat path between the nodes is cut: the rule assume-dead cannot \
             tell; find the machine with that Ethernet address"
        }
        Rule::Fencing | Rule::Majority => {
            "by the rule of the quorum no other node owns the group now, so we are right: it is a \
             stranger's machine, or one whose address was not taken off; find it"
        }
    };
    let (address, name) = (plan.address.address, &plan.lan.name);
    format!("{mac} on {name} says that it has {address}{again}: {means}; announced again")
}
