//! What the exhaustive search compares witnesses by; no part of the real thing.
use super::Witness;
use super::table::{Candidate, Grant, Group, Table, Voter};
use ::core::hash::{Hash, Hasher};

impl<const CLUSTERS: usize> Witness<CLUSTERS> {
    /// Feeds everything that what this witness does from now on depends on, as
    /// [`Cluster::identify`](crate::core::Cluster::identify) does.
    pub fn identify(&self, hasher: &mut impl Hasher) {
        let Witness {
            name,
            incarnation,
            started,
            now,
            sent,
            links_up,
            tables,
            // For people.
            notes: _,
            counters: _,
            cloned,
            health: _,
            healthy: _,
        } = self;
        (name, incarnation, started, now, sent, links_up, cloned).hash(hasher);
        tables.iter().for_each(|table| table.identify(hasher));
    }
}

impl Table {
    fn identify(&self, hasher: &mut impl Hasher) {
        // The keys are settings; nobody decides by the count of frames.
        let Table { tag, ciphers: _, voters, candidates, groups, longest, spaced, sent: _ } = self;
        (tag, longest, spaced).hash(hasher);
        (voters.len(), candidates.len(), groups.len()).hash(hasher);
        for voter in voters {
            let Voter {
                node,
                address,
                incarnation,
                sequence,
                heard_at,
                echoed,
                left,
                told,
                due,
                replaced,
            } = voter;
            (node, address, incarnation, sequence, heard_at, echoed).hash(hasher);
            (left, told, due, replaced).hash(hasher);
        }
        for candidate in candidates {
            let Candidate { node, address, incarnation, sequence, at, due } = candidate;
            (node, address, incarnation, sequence, at, due).hash(hasher);
        }
        for group in groups {
            let Group { name, term, grant, rival, listed } = group;
            (name, term, listed).hash(hasher);
            for grant in [grant, rival] {
                let fields = |grant: &Grant| {
                    let Grant { node, incarnation, sequence, until, owns } = *grant;
                    (node, incarnation, sequence, until, owns)
                };
                grant.as_ref().map(fields).hash(hasher);
            }
        }
    }
}
