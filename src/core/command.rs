//! What operators want. A refused command changes nothing.
use super::cluster::Cluster;
use super::group::part;
use super::id::{GroupId, GroupSet, NodeId};
use super::io::{Command, Phase, Refusal, Reply};
use super::time::Duration;

/// A request for a group is given up after so long.
const WANTED: Duration = Duration::from_millis(120_000);

impl Cluster {
    /// Carries out a command, or refuses it.
    pub(super) fn command(&mut self, command: Command) -> Reply {
        if command == Command::Shutdown {
            self.shutting_down = true;
            self.urgent = true;
            return Ok(());
        }
        // What decides about life and death waits for nothing.
        match command {
            Command::Fence(node) => return self.fence_by_hand(node),
            Command::ConfirmDead(node) => return self.confirm_dead(node),
            Command::TryKey(key) => return self.try_key(key),
            _ => {}
        }
        if self.shutting_down {
            return Err(Refusal::ShuttingDown);
        }
        if !self.ready {
            return Err(Refusal::Starting);
        }
        if self.config.others().any(|node| self.incomparable(node)) {
            return Err(Refusal::ConfigurationsDiffer);
        }
        let all = GroupSet::first(self.config.groups.len());
        let chosen = |set: GroupSet| GroupSet(set.0 & all.0);
        match command {
            Command::Standby => self.hand_over(all).map(|()| self.standby = true),
            Command::HandOver(groups) => self.hand_over(chosen(groups)).map(|()| {
                for group in chosen(groups).iter() {
                    self.groups[group.index()].declined = true;
                }
            }),
            Command::Takeover(groups) => self.take_over(chosen(groups)),
            Command::Failback(groups) => self.fail_back(chosen(groups)),
            Command::Shutdown
            | Command::Fence(_)
            | Command::ConfirmDead(_)
            | Command::TryKey(_) => Ok(()),
        }?;
        self.dirty = true;
        self.urgent = true;
        Ok(())
    }

    /// Whether these groups, as far as this node has them, have somewhere to go: to a node that
    /// does not stand back itself (it would not take them from us) and is not late.
    fn hand_over(&self, groups: GroupSet) -> Reply {
        for id in groups.iter() {
            let group = &self.groups[id.index()];
            if group.phase == Phase::Blocked {
                return Err(Refusal::Blocked(id));
            }
            if group.claim.is_some() && self.successor_if(id, false, true).is_none() {
                return Err(Refusal::NobodyToTake(id));
            }
        }
        Ok(())
    }

    fn take_over(&mut self, groups: GroupSet) -> Reply {
        for id in groups.iter() {
            let group = &self.groups[id.index()];
            let listed = self.config.prefer(id).contains(&self.config.me);
            if !listed || !group.able || group.phase == Phase::Blocked {
                return Err(Refusal::NotAble(id));
            }
            if self.blocked_elsewhere(id) {
                return Err(Refusal::Blocked(id));
            }
        }
        // Whoever asks for groups no longer stands back.
        self.standby = false;
        for id in groups.iter() {
            self.welcome(id, true);
        }
        Ok(())
    }

    fn fail_back(&mut self, groups: GroupSet) -> Reply {
        for id in groups.iter() {
            let group = &self.groups[id.index()];
            let owned = group.claim.is_some() && group.phase != Phase::Blocked;
            let preferred = self.preferred(id);
            let sound = |node| {
                self.prompt(node) && self.rank_if(id, node, true).is_some_and(|rank| !rank.0)
            };
            if owned && preferred.is_some_and(|node| !sound(node)) {
                return Err(Refusal::PreferredAway(id));
            }
            if self.blocked_elsewhere(id) {
                return Err(Refusal::Blocked(id));
            }
        }
        self.standby = false;
        for id in groups.iter() {
            if self.groups[id.index()].phase == Phase::Blocked {
                // Somebody has stopped it by hand, as the message asked: look at once.
                self.groups[id.index()].retry_at = Some(self.now);
                self.welcome(id, false);
            } else if self.groups[id.index()].claim.is_some() {
                let group = &mut self.groups[id.index()];
                group.pinned = false;
                group.declined = false;
                group.hand_back = true;
            } else {
                self.welcome(id, false);
            }
        }
        Ok(())
    }

    /// Forgets what kept this node from a group, and asks for it if somebody else has it and this
    /// node is to have it: by hand (`pin`), or because it is the preferred one.
    fn welcome(&mut self, id: GroupId, pin: bool) {
        let preferred = self.config.prefer(id).first() == Some(&self.config.me);
        let until = self.now + WANTED;
        let group = &mut self.groups[id.index()];
        group.declined = false;
        group.failed_until = None;
        group.back_off_until = None;
        if group.claim.is_none() && (pin || preferred) {
            group.wanted = Some((until, pin));
        }
    }

    /// The preferred node of a group, if it is not this one.
    fn preferred(&self, id: GroupId) -> Option<NodeId> {
        let first = self.config.prefer(id).first().copied();
        first.filter(|node| *node != self.config.me && self.groups[id.index()].claim.is_some())
    }

    fn blocked_elsewhere(&self, id: GroupId) -> bool {
        self.config.others().any(|node| {
            let peer = &self.peers[node.index()];
            let blocked = part(&peer.body, id).phase == Phase::Blocked;
            blocked && peer.speaks(self.now, self.config.dead)
        })
    }
}
