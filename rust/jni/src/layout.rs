//! Numbers and memory layouts shared with Java: status codes, log levels, and the layout of batches and rows.
//!
//! `include/sparkkinesis.h` is this file and the error kinds as a C header. A test fails when it is out of date, and
//! `UPDATE_HEADER=1 cargo test -p spark-kinesis-jni --lib layout` writes it. Another test compares the constants of
//! the Java classes with this file. Every change here changes the ABI: see [`ABI_VERSION`].

/// Changes with every change of the native methods or of what they mean. The Java side has the same number, and refuses
/// a library with another one.
pub const ABI_VERSION: i32 = 10;

/// What a native method that waits answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i32)]
pub enum Status {
    /// Not done yet: call again with the same arguments.
    #[default]
    Again = 0,
    /// Done, with a result where the operation has one.
    Done = 1,
    /// Done, and there is no result: the batch's end, nothing new, no report.
    None = 2,
}

impl Status {
    /// `Done` if there is an answer, else `Again`.
    pub fn of<T>(answer: &Option<T>) -> Self {
        match answer {
            Some(_) => Self::Done,
            None => Self::Again,
        }
    }
}

/// A column of a batch, in Arrow's layout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct NativeColumn {
    /// The address of the validity bitmap, 0 where no row is null.
    pub validity: i64,
    /// The first row's bit in it.
    pub first_bit: i64,
    /// The address of the numbers or of the texts' offsets, 0 where every row is null.
    pub values: i64,
    /// The address of the texts' bytes.
    pub bytes: i64,
}

/// What `readerNext` fills its array of 64-bit numbers with. The columns follow, each a `NativeColumn`, in the order of
/// `readerColumns` and without `streamName`, whose value is that of `readerStreamName` in every row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct NativeBatch {
    /// How many rows the batch has.
    pub rows: i64,
}

/// How a row begins in the buffer of `writerWrite`, all of it little-endian: how many bytes each of its values has. The
/// bytes follow in the same order, and then the next row.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct RowLengths {
    /// Of the partition key, or `NO_VALUE`.
    pub partition_key: i32,
    /// Of the data, which every row has.
    pub data: i32,
    /// Of the explicit hash key, or `NO_VALUE`.
    pub explicit_hash_key: i32,
    /// Of the stream's name, or `NO_VALUE`.
    pub stream_name: i32,
}

/// The length of a value that a row doesn't have.
pub const NO_VALUE: i32 = -1;

/// The levels of the log: nothing is logged.
pub const LOG_OFF: i32 = 0;
/// Errors are logged.
pub const LOG_ERROR: i32 = 1;
/// Warnings, too.
pub const LOG_WARN: i32 = 2;
/// What happens, too.
pub const LOG_INFO: i32 = 3;
/// Details, too.
pub const LOG_DEBUG: i32 = 4;
/// Everything.
pub const LOG_TRACE: i32 = 5;

impl NativeColumn {
    /// The fields in the order of Java's array.
    pub fn numbers(self) -> [i64; size_of::<Self>() / size_of::<i64>()] {
        // SAFETY: in C's layout the struct is a sequence of i64 fields without padding; the compiler checks that the
        // sizes match.
        unsafe { std::mem::transmute(self) }
    }
}

impl NativeBatch {
    /// The fields in the order of Java's array.
    pub fn numbers(self) -> [i64; size_of::<Self>() / size_of::<i64>()] {
        // SAFETY: as above.
        unsafe { std::mem::transmute(self) }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;
    use std::path::{Path, PathBuf};

    use super::*;

    /// Index of a field in a structure of 64-bit numbers.
    macro_rules! index_of {
        ($type:ty, $field:ident) => {
            offset_of!($type, $field) / size_of::<i64>()
        };
    }

    fn file(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
    }

    #[test]
    fn the_header_is_up_to_date() {
        let mut config = cbindgen::Config {
            language: cbindgen::Language::C,
            include_guard: Some("SPARKKINESIS_H".to_owned()),
            header: Some(
                "/* What Java and the native library agree on. Made from rust/jni/src/layout.rs and\n \
                 * rust/connector/src/error.rs: UPDATE_HEADER=1 cargo test -p spark-kinesis-jni --lib layout */"
                    .to_owned(),
            ),
            no_includes: true,
            sys_includes: vec!["stdint.h".to_owned()],
            style: cbindgen::Style::Tag,
            ..cbindgen::Config::default()
        };
        config.enumeration.rename_variants = cbindgen::RenameRule::ScreamingSnakeCase;
        config.enumeration.prefix_with_name = true;
        config.export.include = ["Status", "NativeColumn", "NativeBatch", "RowLengths", "ErrorKind"]
            .map(str::to_owned)
            .into();
        let mut header = Vec::new();
        cbindgen::Builder::new()
            .with_config(config)
            .with_src(file("src/layout.rs"))
            .with_src(file("../connector/src/error.rs"))
            .generate()
            .unwrap()
            .write(&mut header);
        let path = file("include/sparkkinesis.h");
        if std::env::var_os("UPDATE_HEADER").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &header).unwrap();
        }
        assert!(
            std::fs::read(&path).unwrap_or_default() == header,
            "rust/jni/include/sparkkinesis.h is not what the layouts say: write it anew with UPDATE_HEADER=1"
        );
    }

    /// The `int` constants of a Java class, with their names.
    fn constants(class: &str) -> Vec<(String, i64)> {
        let path = file("../../jvm/src/main/java/io/sparkkinesis/bridge").join(format!("{class}.java"));
        let source = std::fs::read_to_string(path).unwrap();
        source
            .lines()
            .filter_map(|line| line.trim().strip_suffix(';')?.split_once("static final int "))
            .filter_map(|(_, constant)| constant.split_once(" = "))
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect()
    }

    #[test]
    fn java_has_the_same_numbers() {
        let at = |place: usize| place as i64;
        let expected: [(&str, &[(&str, i64)]); 5] = [
            (
                "NativeBridge",
                &[
                    ("ABI_VERSION", ABI_VERSION.into()),
                    ("AGAIN", Status::Again as i64),
                    ("DONE", Status::Done as i64),
                    ("NONE", Status::None as i64),
                ],
            ),
            (
                "NativeColumn",
                &[
                    ("VALIDITY", at(index_of!(NativeColumn, validity))),
                    ("FIRST_BIT", at(index_of!(NativeColumn, first_bit))),
                    ("VALUES", at(index_of!(NativeColumn, values))),
                    ("BYTES", at(index_of!(NativeColumn, bytes))),
                    ("NUMBERS", at(size_of::<NativeColumn>() / size_of::<i64>())),
                ],
            ),
            (
                "NativeBatch",
                &[
                    ("ROWS", at(index_of!(NativeBatch, rows))),
                    ("COLUMNS", at(size_of::<NativeBatch>() / size_of::<i64>())),
                ],
            ),
            (
                "StreamWriter",
                &[
                    ("PARTITION_KEY_LENGTH", at(offset_of!(RowLengths, partition_key))),
                    ("DATA_LENGTH", at(offset_of!(RowLengths, data))),
                    ("HASH_KEY_LENGTH", at(offset_of!(RowLengths, explicit_hash_key))),
                    ("STREAM_NAME_LENGTH", at(offset_of!(RowLengths, stream_name))),
                    ("LENGTHS_BYTES", at(size_of::<RowLengths>())),
                    ("NO_VALUE", NO_VALUE.into()),
                ],
            ),
            (
                "UpCalls",
                &[
                    ("OFF", LOG_OFF.into()),
                    ("ERROR", LOG_ERROR.into()),
                    ("WARN", LOG_WARN.into()),
                    ("INFO", LOG_INFO.into()),
                    ("DEBUG", LOG_DEBUG.into()),
                    ("TRACE", LOG_TRACE.into()),
                ],
            ),
        ];
        for (class, numbers) in expected {
            let numbers: Vec<_> = numbers
                .iter()
                .map(|(name, number)| ((*name).to_owned(), *number))
                .collect();
            assert_eq!(constants(class), numbers, "{class}.java and layout.rs");
        }
    }

    #[test]
    fn a_library_s_version_is_in_its_table_of_symbols() {
        let name = format!("fn sparkkinesis_abi_{ABI_VERSION}()");
        assert!(include_str!("lib.rs").contains(&name), "no `{name}` in lib.rs");
    }

    #[test]
    fn the_numbers_lie_where_the_fields_do() {
        let numbers = NativeColumn {
            validity: 10,
            first_bit: 11,
            values: 12,
            bytes: 13,
        }
        .numbers();
        assert_eq!(numbers[index_of!(NativeColumn, validity)], 10);
        assert_eq!(numbers[index_of!(NativeColumn, first_bit)], 11);
        assert_eq!(numbers[index_of!(NativeColumn, values)], 12);
        assert_eq!(numbers[index_of!(NativeColumn, bytes)], 13);
        assert_eq!(NativeBatch { rows: 7 }.numbers()[index_of!(NativeBatch, rows)], 7);
    }
}
