//! Checks docs/options.md against the table of options. `UPDATE_DOCS=1 scripts/test rust=the_page_says` writes the
//! page.

// Helpers fail as tests do.
#![allow(clippy::expect_used)]

use std::path::Path;

const INTRODUCTION: &str = "# Options

Keys and enumerated values are case-insensitive. An unknown `kinesis.*` key, a key of this table without its prefix, and a value that
is not allowed are errors when the query is analysed or started. A read option on a write, or a write option on a read, is a warning, so
that both can share a map of options. Other keys without the prefix are Spark's.

Options whose meaning begins with \"new\" don't exist in the AWS connector (awslabs/spark-sql-kinesis-connector). All others have the same
names as there.

This page is generated from the table in the code: `UPDATE_DOCS=1 scripts/test rust=the_page_says`.

";

#[test]
fn the_page_says_what_the_table_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/options.md");
    let expected = format!("{INTRODUCTION}{}", kinesis_connector::options::markdown());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&page, &expected).expect("the page is written");
    }
    let written = std::fs::read_to_string(&page).unwrap_or_default();
    assert!(
        written == expected,
        "docs/options.md is not what the table says: write it anew with UPDATE_DOCS=1"
    );
}
