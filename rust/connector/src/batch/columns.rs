//! The columns of a read, and which of them its batches hold.

use crate::options::{ExtraColumn, SourceOptions};

/// A column of a read's schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// The payload.
    Data,
    /// The stream's name. It is the same in every row, so no batch holds it.
    StreamName,
    /// The partition key.
    PartitionKey,
    /// The sequence number.
    SequenceNumber,
    /// The approximate arrival time.
    Arrival,
    /// One of the `kinesis.extraColumns`.
    Extra(ExtraColumn),
}

impl Column {
    /// The columns that every read has, in the schema's order.
    pub const USUAL: [Self; 5] = [
        Self::Data,
        Self::StreamName,
        Self::PartitionKey,
        Self::SequenceNumber,
        Self::Arrival,
    ];

    /// All columns of a read with these options, in the schema's order.
    pub fn all(options: &SourceOptions) -> Vec<Self> {
        let extra = options.extra_columns.iter().copied().map(Self::Extra);
        Self::USUAL.into_iter().chain(extra).collect()
    }

    /// The column's name in the schema.
    pub fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::StreamName => "streamName",
            Self::PartitionKey => "partitionKey",
            Self::SequenceNumber => "sequenceNumber",
            Self::Arrival => "approximateArrivalTimestamp",
            Self::Extra(extra) => extra.name(),
        }
    }
}

/// The columns that a batch holds, besides extra columns and the sequence numbers, which the reader itself needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub data: bool,
    pub partition_key: bool,
    pub arrival: bool,
}

impl Held {
    pub(crate) const ALL: Self = Self {
        data: true,
        partition_key: true,
        arrival: true,
    };

    /// Those among `columns`.
    pub(crate) fn of(columns: &[Column]) -> Self {
        Self {
            data: columns.contains(&Column::Data),
            partition_key: columns.contains(&Column::PartitionKey),
            arrival: columns.contains(&Column::Arrival),
        }
    }
}
