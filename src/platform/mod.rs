//! What only Linux can do: clock, netlink, packet sockets, scheduling, processes.

pub mod bpf;
pub mod calendar;
pub mod clock;
pub mod filter;
pub mod gate;
pub mod icmp;
pub mod local;
pub mod mailbox;
pub mod modem;
pub mod namespace;
pub mod neighbour;
pub mod netlink;
pub mod output;
pub mod packet;
pub mod prepared;
pub mod process;
pub mod sched;
pub mod signal;
pub mod slew;
pub mod tap;
pub mod tty;
pub mod virtual_mac;
pub mod words;
