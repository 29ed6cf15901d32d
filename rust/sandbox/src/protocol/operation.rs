//! The service's operations, by the names it uses on the wire.

macro_rules! operations {
    ($($name:ident),* $(,)?) => {
        /// An operation that the sandbox supports.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)]
        pub enum Operation { $($name),* }

        impl Operation {
            /// All operations.
            pub const ALL: &'static [Operation] = &[$(Operation::$name),*];

            /// The name in `X-Amz-Target`.
            pub fn name(self) -> &'static str {
                match self { $(Operation::$name => stringify!($name)),* }
            }
        }
    };
}

operations! {
    CreateStream, DecreaseStreamRetentionPeriod, DeleteStream, DeregisterStreamConsumer, DescribeStream,
    DescribeStreamConsumer, DescribeStreamSummary, GetRecords, GetShardIterator, IncreaseStreamRetentionPeriod,
    ListShards, ListStreamConsumers, ListStreams, MergeShards, PutRecord, PutRecords, RegisterStreamConsumer,
    SplitShard, SubscribeToShard, UpdateMaxRecordSize, UpdateShardCount,
}

impl Operation {
    /// Finds an operation by its name.
    pub fn parse(name: &str) -> Option<Operation> {
        Operation::ALL.iter().copied().find(|op| op.name() == name)
    }
}
