//! Exhaustive search of small clusters, over the real core: docs/proof.md says what is searched
//! and how. `LATIDO_SEARCH_FAULTS=2` searches with so many faults of any kind, which takes long.
#[cfg(not(feature = "_mutate"))]
mod bounds;
mod machine;
mod model;
mod setup;
#[cfg(feature = "_mutate")]
mod teeth;
mod world;
