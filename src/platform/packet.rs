//! Whole Ethernet frames through AF_PACKET.
