//! Moves frames: one socket or serial port for each configured link.
