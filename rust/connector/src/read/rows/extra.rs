//! Builds the columns of `kinesis.extraColumns`, alongside the standard ones and only on request.

use arrow_array::builder::StringBuilder;
use arrow_array::{Array, Int64Array, StringArray};

use super::aggregates::Content;
use crate::batch::ExtraValues;
use crate::options::ExtraColumn;
use crate::service::RecordColumns;
use crate::stream::ShardId;

/// The extra columns of one answer while its records are taken.
pub(super) struct ExtraBuilder {
    columns: Vec<Column>,
}

enum Column {
    Shard(ShardId),
    SubSequence(Vec<i64>),
    ExplicitHashKey(StringBuilder),
    Encryption(StringBuilder),
}

impl ExtraBuilder {
    /// Builders for these columns of the shard's records.
    pub(super) fn new(columns: &[ExtraColumn], shard: &ShardId) -> Self {
        let columns = columns
            .iter()
            .map(|column| match column {
                ExtraColumn::ShardId => Column::Shard(shard.clone()),
                ExtraColumn::SubSequenceNumber => Column::SubSequence(Vec::new()),
                ExtraColumn::ExplicitHashKey => Column::ExplicitHashKey(StringBuilder::new()),
                ExtraColumn::EncryptionType => Column::Encryption(StringBuilder::new()),
            })
            .collect();
        Self { columns }
    }

    /// Appends the values of a record's rows.
    pub(super) fn append(&mut self, records: &RecordColumns, row: usize, content: &Content) {
        for column in &mut self.columns {
            match content {
                Content::Plain => column.append_plain(records, row),
                Content::Users(users) => {
                    for user in users {
                        column.append(
                            records,
                            row,
                            i64::from(user.sub_sequence),
                            user.explicit_hash_key.as_deref(),
                        );
                    }
                }
                Content::Skipped(_) => {}
            }
        }
    }

    /// The columns, in the order requested.
    pub(super) fn finish(self) -> Vec<ExtraValues> {
        self.columns.into_iter().map(Column::finish).collect()
    }
}

impl Column {
    fn append_plain(&mut self, records: &RecordColumns, row: usize) {
        self.append(records, row, 0, None);
    }

    fn append(&mut self, records: &RecordColumns, row: usize, sub_sequence: i64, hash_key: Option<&str>) {
        match self {
            Self::Shard(_) => {}
            Self::SubSequence(numbers) => numbers.push(sub_sequence),
            Self::ExplicitHashKey(keys) => keys.append_option(hash_key),
            Self::Encryption(names) => {
                names.append_option(records.encryption(row).map(|encryption| encryption.name()));
            }
        }
    }

    fn finish(self) -> ExtraValues {
        match self {
            Self::Shard(shard) => ExtraValues::Same(StringArray::from(vec![shard.as_str()])),
            Self::SubSequence(numbers) => ExtraValues::Numbers(Int64Array::from(numbers)),
            Self::ExplicitHashKey(mut texts) | Self::Encryption(mut texts) => {
                let texts = texts.finish();
                if texts.null_count() == texts.len() {
                    ExtraValues::Nulls
                } else {
                    ExtraValues::Texts(texts)
                }
            }
        }
    }
}
