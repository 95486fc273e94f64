//! A laboratory of network namespaces: nodes, a client, cables and faults on one machine.
pub mod cable;
pub mod client;
pub mod error;
pub mod init;
pub mod namespace;
pub mod permission;
pub mod process;
pub mod record;
pub mod serve;
pub mod wait;
