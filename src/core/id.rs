//! Names of things: newtypes for every index and number, and bit sets of them.
use super::limits::{GROUPS_MAX, LINKS_MAX, VOTERS_MAX};
use serde::{Deserialize, Serialize};

macro_rules! index {
    ($(#[$doc:meta])* $name:ident, $set:ident, $bits:ty, $max:expr) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize,
            Deserialize,
        )]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        #[serde(try_from = "u8", into = "u8")]
        pub struct $name(u8);

        impl TryFrom<u8> for $name {
            type Error = &'static str;
            fn try_from(index: u8) -> Result<Self, Self::Error> {
                Self::new(usize::from(index)).ok_or("index past the end of its table")
            }
        }

        impl From<$name> for u8 {
            fn from(item: $name) -> u8 {
                item.0
            }
        }

        impl $name {
            /// The item at `index`, or `None` past the table's end.
            pub const fn new(index: usize) -> Option<Self> {
                let short = index as u8; // cast: used only below the table's end
                if index < $max { Some($name(short)) } else { None }
            }

            /// Its place in a table; always within the table's bounds.
            pub const fn index(self) -> usize {
                // Always true, but this way the compiler knows it too and leaves no panic behind.
                (self.0 as usize) % $max // lossless: wider
            }

            /// Every possible one, in order.
            pub fn all() -> impl Iterator<Item = Self> {
                (0..$max).filter_map(Self::new)
            }
        }

        /// A set of them, one bit each.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        pub struct $set(pub $bits);

        impl $set {
            /// The empty set.
            pub const EMPTY: Self = $set(0);

            /// The first `count` of them.
            pub fn first(count: usize) -> Self {
                $name::all().take(count).fold(Self::EMPTY, |set, item| set.with(item))
            }

            /// Whether `item` is in it.
            pub const fn contains(self, item: $name) -> bool {
                self.0 & (1 << item.index()) != 0
            }

            /// The set with `item` added.
            #[must_use]
            pub const fn with(self, item: $name) -> Self {
                $set(self.0 | (1 << item.index()))
            }

            /// The set without `item`.
            #[must_use]
            pub const fn without(self, item: $name) -> Self {
                $set(self.0 & !(1 << item.index()))
            }

            /// Adds or removes `item`.
            pub fn set(&mut self, item: $name, present: bool) {
                *self = if present { self.with(item) } else { self.without(item) };
            }

            /// How many.
            pub const fn len(self) -> u32 {
                self.0.count_ones()
            }

            /// Whether there are none.
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }

            /// The items, in order.
            pub fn iter(self) -> impl Iterator<Item = $name> {
                $name::all().filter(move |item| self.contains(*item))
            }
        }
    };
}

index! {
    /// A voter (node or witness): its place in the sorted list of voters, the same on every node.
    NodeId, NodeSet, u8, VOTERS_MAX
}
index! {
    /// A heartbeat link of this node: its place in the configuration.
    LinkId, LinkSet, u8, LINKS_MAX
}
index! {
    /// A resource group: its place in the configuration, the same on every node.
    GroupId, GroupSet, u32, GROUPS_MAX
}

/// A random number that a node draws each time it starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Incarnation(#[serde(with = "postcard::fixint::le")] pub u64);

/// The number of one asynchronous job (start, stop, probe); an answer with another number is void.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct JobId(pub u32);

/// Names one ownership of a group; never repeats with another owner. Ordered by count, then node.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Term {
    /// One more than every count known when the claim was made.
    pub count: u32,
    /// Who made it.
    pub node: NodeId,
}
