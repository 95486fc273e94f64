//! What only Linux can do: clock, netlink, packet sockets, scheduling, processes.

pub mod calendar;
pub mod clock;
pub mod netlink;
pub mod packet;
pub mod process;
pub mod signal;
pub mod words;
