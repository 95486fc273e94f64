//! What only Linux can do: clock, netlink, packet sockets, scheduling, processes.
pub mod calendar;
pub mod signal;
pub mod words;
