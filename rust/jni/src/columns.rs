//! The columns of a batch while Java reads them in place.

use arrow_array::types::ByteArrayType;
use arrow_array::{Array, GenericByteArray, PrimitiveArray};
use jni::sys::jlong;
use kinesis_connector::Result;
use kinesis_connector::batch::{Column, ExtraValues, RecordBatch};

use crate::errors::internal;
use crate::layout::{NativeBatch, NativeColumn};

/// Byte that overwrites freed memory in poison mode.
const POISON: u8 = 0xDD;

/// A batch that Java reads, with its memory.
pub(crate) enum Columns {
    /// The batch itself, not a copy.
    Shared(Box<RecordBatch>),
    /// A copy, which may be overwritten. Arrow's own buffers can have other owners.
    Copied(Box<Copy>),
}

/// A copied batch, the only owner of its buffers.
pub(crate) struct Copy {
    rows: usize,
    columns: Vec<OwnBuffers>,
}

/// Kind of a column's values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One text per row.
    Texts,
    /// One text for all rows.
    Same,
    /// One number per row.
    Numbers,
    /// No values: every row is null.
    Nulls,
}

/// A column in Arrow's layout. Buffers that its kind doesn't need are empty.
#[derive(Clone, Copy)]
struct Buffers<'b> {
    kind: Kind,
    /// One bit per row, the lowest bit of a byte first; empty if no row is null.
    validity: &'b [u8],
    /// Index of the first row's bit in `validity`.
    first_bit: usize,
    offsets: &'b [i32],
    bytes: &'b [u8],
    numbers: &'b [i64],
}

struct OwnBuffers {
    kind: Kind,
    validity: Vec<u8>,
    first_bit: usize,
    offsets: Vec<i32>,
    bytes: Vec<u8>,
    numbers: Vec<i64>,
}

impl Columns {
    /// Shares the batch without a copy.
    pub(crate) fn shared(batch: RecordBatch) -> Self {
        Self::Shared(Box::new(batch))
    }

    /// Copies these columns of the batch, for poison mode.
    pub(crate) fn copied(batch: &RecordBatch, asked: &[Column]) -> Result<Self> {
        Ok(Self::Copied(Box::new(Copy {
            rows: batch.rows(),
            columns: buffers(batch, asked)?.into_iter().map(OwnBuffers::from).collect(),
        })))
    }

    /// The batch's numbers for Java: a [`NativeBatch`], then a [`NativeColumn`] for each column asked for. Java trusts
    /// them, so they are checked here.
    pub(crate) fn addresses(&self, asked: &[Column]) -> Result<Vec<jlong>> {
        let (rows, columns) = match self {
            Self::Shared(batch) => (batch.rows(), buffers(batch, asked)?),
            Self::Copied(copy) => (copy.rows, copy.columns.iter().map(OwnBuffers::borrow).collect()),
        };
        if i32::try_from(rows).is_err() {
            return Err(internal("a batch has too many rows"));
        }
        let batch = NativeBatch { rows: rows as jlong };
        let mut numbers = batch.numbers().to_vec();
        for column in columns {
            column.check(rows)?;
            numbers.extend(column.native().numbers());
        }
        Ok(numbers)
    }

    /// Overwrites the memory of a copy. Returns false for a shared batch, which stays as it is.
    pub(crate) fn poison(&mut self) -> bool {
        let Self::Copied(copy) = self else { return false };
        for column in &mut copy.columns {
            column.validity.fill(POISON);
            column.offsets.fill(i32::from_ne_bytes([POISON; 4]));
            column.bytes.fill(POISON);
            column.numbers.fill(i64::from_ne_bytes([POISON; 8]));
        }
        // Nothing reads what was just written; without this the compiler could omit it.
        std::hint::black_box(copy);
        true
    }
}

/// The columns asked for, in this order. Fails if one is missing, or holds nulls but must not.
fn buffers<'b>(batch: &'b RecordBatch, asked: &[Column]) -> Result<Vec<Buffers<'b>>> {
    let mut extra = batch.extra.iter();
    let mut columns = Vec::with_capacity(asked.len());
    for column in asked {
        columns.push(match column {
            // Java has the name already.
            Column::StreamName => continue,
            Column::Data => Buffers::texts(without_nulls(present(batch.data.as_ref())?)?),
            Column::PartitionKey => Buffers::texts(present(batch.partition_key.as_ref())?),
            Column::SequenceNumber => Buffers::texts(without_nulls(&batch.sequence_number)?),
            Column::Arrival => Buffers::numbers(without_nulls(present(batch.arrival.as_ref())?)?),
            Column::Extra(_) => Buffers::extra(present(extra.next())?)?,
        });
    }
    if extra.next().is_some() {
        return Err(internal("a batch has more extra columns than were asked for"));
    }
    Ok(columns)
}

fn present<T>(column: Option<&T>) -> Result<&T> {
    column.ok_or_else(|| internal("a batch lacks a column"))
}

fn without_nulls<A: Array>(column: &A) -> Result<&A> {
    match column.null_count() {
        0 => Ok(column),
        _ => Err(internal("a column of a batch holds a null")),
    }
}

impl<'b> Buffers<'b> {
    const NULLS: Self = Self {
        kind: Kind::Nulls,
        validity: &[],
        first_bit: 0,
        offsets: &[],
        bytes: &[],
        numbers: &[],
    };

    fn texts<T: ByteArrayType<Offset = i32>>(array: &'b GenericByteArray<T>) -> Self {
        Self {
            kind: Kind::Texts,
            validity: array.nulls().map_or(&[], |nulls| nulls.validity()),
            first_bit: array.nulls().map_or(0, |nulls| nulls.offset()),
            offsets: array.value_offsets(),
            bytes: array.value_data(),
            ..Self::NULLS
        }
    }

    fn extra(values: &'b ExtraValues) -> Result<Self> {
        Ok(match values {
            ExtraValues::Same(text) => Self {
                kind: Kind::Same,
                ..Self::texts(without_nulls(text)?)
            },
            ExtraValues::Numbers(numbers) => Self::numbers(without_nulls(numbers)?),
            ExtraValues::Texts(texts) => Self::texts(texts),
            ExtraValues::Nulls => Self::NULLS,
        })
    }

    fn numbers<T: arrow_array::ArrowPrimitiveType<Native = i64>>(array: &'b PrimitiveArray<T>) -> Self {
        Self {
            kind: Kind::Numbers,
            numbers: array.values(),
            ..Self::NULLS
        }
    }

    fn check(&self, rows: usize) -> Result<()> {
        let fits = match self.kind {
            Kind::Texts => self.offsets.len() == rows + 1,
            Kind::Same => self.offsets.len() == 2,
            Kind::Numbers => self.numbers.len() == rows,
            Kind::Nulls => true,
        };
        let valid = self.validity.is_empty() || self.validity.len() * 8 >= self.first_bit + rows;
        if fits && valid {
            Ok(())
        } else {
            Err(internal("the columns of a batch differ in length"))
        }
    }

    fn native(&self) -> NativeColumn {
        let validity = if self.validity.is_empty() {
            0
        } else {
            address(self.validity)
        };
        let (values, bytes) = match self.kind {
            Kind::Texts | Kind::Same => (address(self.offsets), address(self.bytes)),
            Kind::Numbers => (address(self.numbers), 0),
            Kind::Nulls => (0, 0),
        };
        NativeColumn {
            validity,
            first_bit: self.first_bit as jlong,
            values,
            bytes,
        }
    }
}

impl From<Buffers<'_>> for OwnBuffers {
    fn from(column: Buffers<'_>) -> Self {
        Self {
            kind: column.kind,
            validity: column.validity.to_vec(),
            first_bit: column.first_bit,
            offsets: column.offsets.to_vec(),
            bytes: column.bytes.to_vec(),
            numbers: column.numbers.to_vec(),
        }
    }
}

impl OwnBuffers {
    fn borrow(&self) -> Buffers<'_> {
        Buffers {
            kind: self.kind,
            validity: &self.validity,
            first_bit: self.first_bit,
            offsets: &self.offsets,
            bytes: &self.bytes,
            numbers: &self.numbers,
        }
    }
}

fn address<T>(slice: &[T]) -> jlong {
    slice.as_ptr().expose_provenance() as jlong
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{BinaryArray, Int64Array, StringArray, TimestampMicrosecondArray};
    use kinesis_connector::options::ExtraColumn;

    /// All columns, in the schema's order.
    fn all() -> Vec<Column> {
        let extra = ExtraColumn::ALL.map(Column::Extra);
        Column::USUAL.into_iter().chain(extra).collect()
    }

    fn batch() -> RecordBatch {
        RecordBatch {
            data: Some(BinaryArray::from(vec![b"a".as_slice(), b"", b"ccc"])),
            partition_key: Some(StringArray::from(vec!["k", "ö", ""])),
            sequence_number: StringArray::from(vec!["1", "2", "3"]),
            arrival: Some(TimestampMicrosecondArray::from(vec![1, 2, 3])),
            extra: vec![
                ExtraValues::Same(StringArray::from(vec!["shard"])),
                ExtraValues::Numbers(Int64Array::from(vec![4, 5, 6])),
                ExtraValues::Texts(StringArray::from(vec![Some("t"), None, Some("u")])),
                ExtraValues::Nulls,
            ],
        }
    }

    #[test]
    fn a_shared_batch_is_not_copied_and_not_poisoned() {
        let batch = batch();
        let expected = batch.data.as_ref().unwrap().value_data().as_ptr().addr() as jlong;
        let mut columns = Columns::shared(batch);
        let addresses = columns.addresses(&all()).unwrap();
        assert_eq!(
            (addresses.len(), addresses[0], addresses[4]),
            (1 + 8 * 4, 3, expected)
        );
        assert!(!columns.poison());
    }

    #[test]
    fn a_copied_batch_can_be_overwritten() {
        let mut columns = Columns::copied(&batch(), &all()).unwrap();
        assert_eq!(columns.addresses(&all()).unwrap()[0], 3);
        assert!(columns.poison());
        let Columns::Copied(copy) = columns else {
            panic!("it was copied")
        };
        assert_eq!(copy.columns[0].bytes, [0xDD; 4]);
        for numbers in [3, 5] {
            assert_eq!(copy.columns[numbers].numbers[0] as u64, 0xDDDD_DDDD_DDDD_DDDD);
        }
        assert_eq!(copy.columns[4].bytes, [0xDD; 5]);
        let texts = &copy.columns[6];
        assert!(
            texts
                .validity
                .iter()
                .chain(&texts.bytes)
                .all(|byte| *byte == 0xDD)
        );
    }

    #[test]
    fn nulls_cross_as_a_bitmap_that_a_slice_shares() {
        let addresses = Columns::shared(batch().slice(1, 2)).addresses(&all()).unwrap();
        let column = |index: usize| &addresses[1 + 4 * index..5 + 4 * index];
        assert_eq!(column(0)[..2], [0, 0], "no null in data");
        assert_eq!(
            column(4)[..2],
            [0, 0],
            "nor in the text that is the same everywhere"
        );
        assert_ne!(column(6)[0], 0);
        assert_eq!(column(6)[1], 1, "the first row's bit is the second one");
        assert_eq!(column(7), [0; 4], "all are null");
    }

    #[test]
    fn only_the_columns_asked_for_cross_in_their_order() {
        let asked = [
            Column::Extra(ExtraColumn::ShardId),
            Column::StreamName,
            Column::Arrival,
            Column::SequenceNumber,
        ];
        let pruned = || RecordBatch {
            data: None,
            partition_key: None,
            extra: vec![ExtraValues::Same(StringArray::from(vec!["shard"]))],
            ..batch()
        };
        let (shared, copied) = (
            Columns::shared(pruned()),
            Columns::copied(&pruned(), &asked).unwrap(),
        );
        for addresses in [
            shared.addresses(&asked).unwrap(),
            copied.addresses(&asked).unwrap(),
        ] {
            assert_eq!((addresses.len(), addresses[0]), (1 + 4 * 3, 3));
            assert_eq!(addresses[1 + 4 + 3], 0, "numbers have no bytes");
            assert!(
                addresses[1 + 3] != 0 && addresses[1 + 8 + 3] != 0,
                "texts have some"
            );
        }
        let nothing = Columns::shared(RecordBatch {
            extra: Vec::new(),
            ..pruned()
        });
        assert_eq!(nothing.addresses(&[]).unwrap(), [3]);
        // A column that the batch lacks, and one that nobody asked for.
        assert!(nothing.addresses(&[Column::Data]).is_err());
        assert!(nothing.addresses(&asked).is_err());
        assert!(shared.addresses(&[Column::SequenceNumber]).is_err());
    }

    #[test]
    fn a_batch_with_short_columns_or_nulls_never_reaches_java() {
        let short = RecordBatch {
            arrival: Some(TimestampMicrosecondArray::from(vec![1])),
            ..batch()
        };
        assert!(
            Columns::copied(&short, &all())
                .unwrap()
                .addresses(&all())
                .is_err()
        );
        assert!(Columns::shared(short).addresses(&all()).is_err());
        for extra in [
            ExtraValues::Same(StringArray::from(vec!["a", "b", "c"])),
            ExtraValues::Numbers(Int64Array::from(vec![1, 2])),
            ExtraValues::Numbers(Int64Array::from(vec![Some(1), None, Some(3)])),
            ExtraValues::Texts(StringArray::from(vec!["a"])),
        ] {
            let odd = RecordBatch {
                extra: vec![extra],
                ..batch()
            };
            let asked = [Column::Data, Column::Extra(ExtraColumn::ShardId)];
            assert!(Columns::shared(odd).addresses(&asked).is_err());
        }
        let null = RecordBatch {
            sequence_number: StringArray::from(vec![Some("1"), None, Some("3")]),
            ..batch()
        };
        assert!(Columns::shared(null).addresses(&all()).is_err());
        let keyless = RecordBatch {
            partition_key: Some(StringArray::from(vec![Some("a"), None, Some("c")])),
            ..batch()
        };
        assert_ne!(
            Columns::shared(keyless).addresses(&all()).unwrap()[1 + 4],
            0,
            "a partition key may be null"
        );
    }
}
