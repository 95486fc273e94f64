//! Exhaustive search of small clusters, over the real core: docs/proof.md says what is searched
//! and how. `LATIDO_SEARCH_FAULTS=2` searches with so many faults of any kind, which takes long.
// Under a mistake nothing of this holds.
#[cfg(not(feature = "_mutate"))]
mod bounds;
mod machine;
#[cfg_attr(feature = "_mutate", allow(dead_code))]
mod model;
#[cfg_attr(feature = "_mutate", allow(dead_code))]
mod setup;
#[cfg(feature = "_mutate")]
mod teeth;
mod world;
