use super::*;

#[test]
fn rows_come_back_as_they_went_in() {
    let mut columns = RecordColumns::with_capacity(2, 8);
    columns.push(b"one", "k1", "10", 1_700_000_000_123).expect("fits");
    columns.push(b"", "ключ", "11", 5).expect("fits");
    assert_eq!(
        (columns.data(0), columns.partition_key(1)),
        (b"one".as_slice(), Some("ключ"))
    );
    assert_eq!(
        (columns.sequence_number(1), columns.arrival_millis(0)),
        ("11", 1_700_000_000_123)
    );
    let batch = columns.into_batch().expect("columns");
    assert_eq!(batch.rows(), 2);
    let data = batch.data.expect("payloads");
    assert_eq!(
        (data.value(0), data.value(1)),
        (b"one".as_slice(), b"".as_slice())
    );
    let keys = batch.partition_key.expect("keys");
    assert_eq!((keys.value(1), batch.sequence_number.value(1)), ("ключ", "11"));
    assert_eq!(batch.arrival.expect("times").value(0), 1_700_000_000_123_000);
}

#[test]
fn a_batch_holds_the_columns_that_it_is_made_of() {
    let mut columns = RecordColumns::with_capacity(2, 8);
    columns.push_with(b"one", None, "10", 1).expect("fits");
    columns.push(b"two", "k", "11", 2).expect("fits");
    let of = |held| columns.clone().into_batch_of(held).expect("columns");
    let none = Held {
        data: false,
        partition_key: false,
        arrival: false,
    };
    let batch = of(none);
    assert_eq!((batch.rows(), batch.sequence_number.value(1)), (2, "11"));
    assert!(batch.data.is_none() && batch.partition_key.is_none() && batch.arrival.is_none());
    let batch = of(Held {
        partition_key: true,
        ..none
    });
    let keys = batch.partition_key.expect("keys");
    assert_eq!(keys.iter().collect::<Vec<_>>(), [None, Some("k")]);
    assert!(batch.data.is_none() && batch.arrival.is_none());
    let batch = of(Held {
        data: true,
        arrival: true,
        ..none
    });
    assert_eq!(batch.data.expect("payloads").value(1), b"two");
    assert_eq!(batch.arrival.expect("times").value(1), 2_000);
    assert!(batch.partition_key.is_none());
}

#[test]
fn a_record_without_a_partition_key_has_a_null() {
    let mut columns = RecordColumns::with_capacity(5, 0);
    let keys = [Some("a"), None, Some(""), None, Some("e")];
    for (row, key) in keys.into_iter().enumerate() {
        columns.push_with(b"", key, &row.to_string(), 0).expect("fits");
    }
    let read = |columns: &RecordColumns| {
        let keys = (0..columns.len()).map(|row| columns.partition_key(row).map(str::to_owned));
        keys.collect::<Vec<_>>()
    };
    let expected = keys.map(|key| key.map(str::to_owned));
    assert_eq!(read(&columns), expected);
    assert_eq!(read(&columns.tail(1).expect("fits")), expected[1..]);
    let batch = columns.clone().into_batch().expect("columns");
    let in_arrow = |batch: &RecordBatch| {
        let keys = batch.partition_key.as_ref().expect("keys").iter();
        keys.map(|key| key.map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(in_arrow(&batch), expected);
    assert_eq!(in_arrow(&batch.slice(2, 3)), expected[2..]);
    columns.remove_first(2);
    columns.push(b"", "f", "9", 0).expect("fits");
    let batch = columns.into_batch().expect("columns");
    let expected = [Some(""), None, Some("e"), Some("f")].map(|key| key.map(str::to_owned));
    assert_eq!(in_arrow(&batch), expected);
}

#[test]
fn an_encryption_type_belongs_to_its_record() {
    let mut columns = RecordColumns::with_capacity(4, 0);
    columns.set_encryption(Encryption::Kms);
    let encryptions = [None, Some(Encryption::Kms), Some(Encryption::None), None];
    for (row, encryption) in encryptions.into_iter().enumerate() {
        columns.push(b"", "k", &row.to_string(), 0).expect("fits");
        encryption
            .into_iter()
            .for_each(|encryption| columns.set_encryption(encryption));
    }
    assert_eq!([0, 1, 2, 3].map(|row| columns.encryption(row)), encryptions);
    let tail = columns.tail(1).expect("fits");
    assert_eq!([0, 1, 2].map(|row| tail.encryption(row)), encryptions[1..]);
    columns.remove_first(2);
    assert_eq!([0, 1].map(|row| columns.encryption(row)), encryptions[2..]);
    columns.remove_first(2);
    columns.push(b"", "k", "9", 0).expect("fits");
    columns.set_encryption(Encryption::Kms);
    assert_eq!(columns.encryption(0), Some(Encryption::Kms));
}

#[test]
fn the_first_rows_can_be_removed() {
    let mut columns = RecordColumns::with_capacity(3, 8);
    for (row, data) in ["one", "", "three"].iter().enumerate() {
        let (key, number) = (format!("k{row}"), format!("1{row}"));
        columns
            .push(data.as_bytes(), &key, &number, row as i64)
            .expect("fits");
    }
    columns.remove_first(0);
    columns.remove_first(2);
    assert_eq!(columns.len(), 1);
    assert_eq!(
        (
            columns.data(0),
            columns.partition_key(0),
            columns.sequence_number(0),
            columns.arrival_millis(0)
        ),
        (b"three".as_slice(), Some("k2"), "12", 2)
    );
    columns.push(b"four", "k3", "13", 3).expect("fits");
    let batch = columns.clone().into_batch().expect("columns");
    assert_eq!(
        (batch.rows(), batch.data.expect("payloads").value(1)),
        (2, b"four".as_slice())
    );
    columns.remove_first(9);
    assert!(columns.is_empty());
}

#[test]
fn no_rows_are_columns_too() {
    assert_eq!(
        RecordColumns::with_capacity(0, 0)
            .into_batch()
            .expect("columns")
            .rows(),
        0
    );
}
