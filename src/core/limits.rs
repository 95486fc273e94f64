//! The bounds of every table. The configuration check enforces them.

/// Voters of a cluster (nodes and witnesses).
pub const VOTERS_MAX: usize = 8;
/// Heartbeat links of a node.
pub const LINKS_MAX: usize = 8;
/// Groups of a cluster.
pub const GROUPS_MAX: usize = 32;
/// Bytes of the largest frame, seal included; fits every Ethernet MTU with UDP and IPv6 headers.
pub const FRAME_MAX: usize = 1280;
