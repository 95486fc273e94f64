//! The bounds of every table. The configuration check enforces them.
//!
//! The exhaustive search copies nodes millions of times: the same code with smaller tables.

const SEARCH: bool = cfg!(feature = "_search");
/// For a microcontroller with one serial line to each of two nodes.
const SMALL: bool = cfg!(feature = "small");

/// Voters of a cluster (nodes and witnesses).
pub const VOTERS_MAX: usize = if SEARCH { 4 } else { 8 };
/// Heartbeat links of a node.
pub const LINKS_MAX: usize = if SEARCH { 2 } else { 8 };
/// Groups of a cluster.
pub const GROUPS_MAX: usize = if SEARCH {
    2
} else if SMALL {
    16
} else {
    32
};
/// Bytes of the largest frame, seal included; fits every Ethernet MTU with UDP and IPv6 headers.
pub const FRAME_MAX: usize = if SMALL { 768 } else { 1280 };
