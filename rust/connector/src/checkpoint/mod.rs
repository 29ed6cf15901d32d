//! Where claims are kept: for each (source, batch, shard) the end, written once by whoever is first.

pub mod hadoop;
