//! An address that should be there, and when what is due with it.
use super::address::Plan;
use super::announce::AGAIN;
use super::claim::Ears;
use super::learn::Check;
use crate::platform::clock;

/// Lifetimes are renewed this often, in microseconds: one may fail before an address vanishes.
pub(super) const REFRESH: u64 = 400_000;
/// A complaint about the same address is not repeated sooner, in microseconds.
const COMPLAIN: u64 = 5_000_000;
pub(super) const NEVER: u64 = u64::MAX;

/// Why an address that should be there is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// Removed because nobody vouched for it.
    Withdrawn,
    /// Removed by somebody else, who did it through the netlink port with this number; 0: the
    /// kernel by itself.
    Taken(u32),
    /// Gone with its interface, or with the one that has its virtual MAC.
    InterfaceGone,
}

/// An address that should be there.
pub(super) struct Held {
    pub(super) plan: Plan,
    /// When its lifetime is renewed.
    pub(super) refresh_at: u64,
    pub(super) missing: Option<Missing>,
    /// Its interface has gone: there may be another of that name, which has to be gated first.
    pub(super) moved: bool,
    /// That it has gone was said.
    pub(super) said_gone: bool,
    /// How often it was put back without a word.
    pub(super) unsaid: u32,
    /// When it is announced again, and which of [`AGAIN`] comes after that.
    pub(super) announce_at: u64,
    announce_from: u64,
    step: usize,
    /// The interface had a carrier, and was on, when it was last heard of.
    pub(super) carrier: bool,
    pub(super) up: bool,
    /// Hears rivals.
    pub(super) ears: Option<Ears>,
    /// When they are opened, if they are not.
    pub(super) listen_at: u64,
    /// The neighbours are asked: now, or as soon as they can be.
    pub(super) check: Option<Check>,
    pub(super) check_wanted: bool,
    complained: u64,
}

impl Held {
    /// An address that was added just now, and was announced (`announced`) or not.
    pub(super) fn new(plan: Plan, announced: bool) -> Self {
        let now = clock::now().micros();
        let (carrier, up) = (plan.lan.carrier, plan.lan.up);
        let mut held = Held {
            plan,
            refresh_at: now + REFRESH,
            missing: None,
            moved: false,
            said_gone: false,
            unsaid: 0,
            announce_at: NEVER,
            announce_from: now,
            step: 0,
            carrier,
            up,
            ears: None,
            listen_at: now,
            check: None,
            check_wanted: false,
            complained: 0,
        };
        if announced {
            held.announce_at = now + AGAIN[0];
            held.step = 1;
        }
        held
    }

    /// Announces it at once and again a few times, as after a takeover.
    pub(super) fn announce_anew(&mut self, now: u64) {
        (self.announce_from, self.announce_at, self.step) = (now, now, 0);
    }

    /// The same, and neighbours are asked whether they have heard: somebody may have told them
    /// something else.
    pub(super) fn teach(&mut self, now: u64) {
        self.announce_anew(now);
        self.check_wanted = true;
    }

    /// Nobody is told of it or asked about it any more. What was heard until now is forgotten: it
    /// may be the voice of a rightful owner.
    pub(super) fn be_silent(&mut self, now: u64) {
        (self.ears, self.listen_at) = (None, now);
        (self.check, self.check_wanted) = (None, false);
    }

    /// It was announced: when is the next time?
    pub(super) fn announced(&mut self, now: u64) {
        let every = self.plan.wanted.announcing.every;
        self.announce_at = match AGAIN.get(self.step) {
            Some(after) => self.announce_from + after,
            None if every.is_zero() => NEVER,
            None => now.saturating_add(u64::try_from(every.as_micros()).unwrap_or(NEVER)),
        };
        self.step = (self.step + 1).min(AGAIN.len() + 1);
    }

    /// When something is to be done about it while it may be here.
    pub(super) fn next(&self, now: u64) -> u64 {
        let listen = match &self.ears {
            Some(ears) => ears.next(now),
            None => self.listen_at,
        };
        let check = self.check.as_ref().map_or(NEVER, Check::next);
        self.refresh_at.min(self.announce_at).min(listen).min(check)
    }

    /// Whether a complaint is due; at most one each [`COMPLAIN`].
    pub(super) fn complain(&mut self, now: u64) -> bool {
        let due = self.complained == 0 || now >= self.complained.saturating_add(COMPLAIN);
        if due {
            self.complained = now;
        }
        due
    }

    /// Nothing that was opened on its former interfaces is of use any more.
    pub(super) fn move_to(&mut self, plan: Plan, now: u64) {
        (self.carrier, self.up) = (plan.lan.carrier, plan.lan.up);
        (self.ears, self.check, self.listen_at) = (None, None, now);
        (self.moved, self.said_gone) = (false, false);
        self.plan = plan;
    }
}

/// No process has a higher number (`PID_MAX_LIMIT`); a process's further sockets do.
const PROCESS_MAX: u32 = 4_194_304;

/// Who did it, as far as that can be found out: a process's first netlink socket has its number.
pub(super) fn culprit(port: u32) -> String {
    if port == 0 {
        return "by the kernel (the interface was switched off, the network's first address was \
                removed, or it was not renewed in time)"
            .into();
    }
    match std::fs::read_to_string(format!("/proc/{port}/comm")) {
        Ok(name) => format!("by {} (process {port})", name.trim_end()),
        Err(_) if port > PROCESS_MAX => "by somebody else (a network manager?)".into(),
        Err(_) => format!("by somebody else (process {port}, which has ended)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_took_it_away_is_named() {
        let me = std::process::id();
        let comm = std::fs::read_to_string("/proc/self/comm").expect("a name");
        assert_eq!(culprit(me), format!("by {} (process {me})", comm.trim_end()));
        assert!(culprit(0).starts_with("by the kernel"));
        assert!(culprit(u32::MAX - 4000).contains("somebody else"));
        assert!(culprit(PROCESS_MAX).contains("which has ended"));
    }
}
