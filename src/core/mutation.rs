//! Deliberate mistakes, one at a time: the simulator must catch each (feature `_mutate`).
//!
//! Without the feature every question is answered `false` at compile time.

/// A rule left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutation {
    /// Rule 1: an overtaken frame counts like a new one.
    NewestOnly = 1,
    /// Rule 2: grants for a former claim count, and survive its end.
    ClaimNumbered,
    /// Rule 3: the owner counts from the receipt of the grant.
    CountsFromReceipt,
    /// Rule 4: a voter without memory grants at once.
    GrantsBlindly,
    /// Rule 4: grants read back do not bind.
    ForgetsGrants,
    /// Rule 5: nothing is subtracted for drift.
    NoDrift,
    /// Rule 6: a claimant takes its own vote although it is bound.
    OwnVoteTwice,
    /// Rule 7: a grant passes on to any later incarnation.
    AnySuccessor,
    /// Rule 8: stopping starts when the lease ends.
    NoStopBudget,
    /// Rule 9: silence is taken for a proof.
    SilenceIsProof,
    /// Rule 9: a goodbye counts for other incarnations too.
    AnyGoodbye,
    /// Half of the voters are taken for a majority.
    HalfIsEnough,
    /// An adopted group counts on a whole lease of its own.
    AdoptsAfresh,
    /// What runs is vouched for beyond the lease.
    VouchesLonger,
    /// A new ownership takes the old one's term.
    TermReused,
    /// Any echo is fresh.
    StaleEcho,
    /// Rule 9: a proof is kept when the node has come back.
    KeepsProof,
    /// Rule 9: a fence confirmed late strikes off whoever has come back meanwhile.
    LateFence,
    /// A witness counts as two voters.
    WitnessTwice,
    /// The watchdog is petted until the lease's end.
    PetsToTheEnd,
    /// Rule 4: what could not be written down is granted all the same.
    GrantsUnsaved,
    /// Rule 4: the longest lease is forgotten with the memory.
    ForgetsLeases,
}

impl Mutation {
    /// Every one.
    pub const ALL: [Mutation; 22] = [
        Mutation::NewestOnly,
        Mutation::ClaimNumbered,
        Mutation::CountsFromReceipt,
        Mutation::GrantsBlindly,
        Mutation::ForgetsGrants,
        Mutation::NoDrift,
        Mutation::OwnVoteTwice,
        Mutation::AnySuccessor,
        Mutation::NoStopBudget,
        Mutation::SilenceIsProof,
        Mutation::AnyGoodbye,
        Mutation::HalfIsEnough,
        Mutation::AdoptsAfresh,
        Mutation::VouchesLonger,
        Mutation::TermReused,
        Mutation::StaleEcho,
        Mutation::KeepsProof,
        Mutation::LateFence,
        Mutation::WitnessTwice,
        Mutation::PetsToTheEnd,
        Mutation::GrantsUnsaved,
        Mutation::ForgetsLeases,
    ];
}

#[cfg(feature = "_mutate")]
mod chosen {
    use ::core::sync::atomic::{AtomicU8, Ordering};

    static CHOSEN: AtomicU8 = AtomicU8::new(0);

    /// From now on the core makes this mistake, in the whole process; `None`: none.
    pub fn choose(mutation: Option<super::Mutation>) {
        let number = mutation.map_or(0, |mutation| mutation as u8); // cast: its number
        CHOSEN.store(number, Ordering::Relaxed);
    }

    pub(crate) fn on(mutation: super::Mutation) -> bool {
        CHOSEN.load(Ordering::Relaxed) == mutation as u8 // cast: its number
    }
}

#[cfg(not(feature = "_mutate"))]
mod chosen {
    pub(crate) const fn on(_: super::Mutation) -> bool {
        false
    }
}

#[cfg(feature = "_mutate")]
pub use chosen::choose;
pub(super) use chosen::on;
