//! Starts, stops and probes resources, outside the engine's thread.
