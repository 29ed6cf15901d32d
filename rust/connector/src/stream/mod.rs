//! The model of a stream: shards and their lineage, sequence numbers, positions and offsets.

pub(crate) mod awslabs;
mod given;
mod hash_range;
mod lineage;
mod offset;
mod position;

pub use given::GivenPosition;
pub use hash_range::HashRange;
pub use lineage::{Lineage, Shard};
pub use offset::{Offset, offset_home};
pub use position::{Position, SequenceNumber, ShardId};
