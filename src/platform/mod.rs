//! What only Linux can do: clock, netlink, packet sockets, scheduling, processes.

pub mod filter;
pub mod local;
pub mod sched;
pub mod tty;
