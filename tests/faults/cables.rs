//! cables
