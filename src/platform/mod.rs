//! What only Linux can do: clock, netlink, packet sockets, scheduling, processes.
pub mod namespace;
pub mod tap;
pub mod calendar;
pub mod signal;
pub mod words;

pub mod clock;
pub mod netlink;
pub mod packet;
pub mod process;
