//! The code that every record passes between the service and Spark. `scripts/bench decode` runs it and shows a table.
//!
//! Throughput counts the bytes of the users' payloads, not those of their encoding, so that encodings can be compared.

// Helpers fail as tests do.
#![allow(clippy::expect_used)]

mod aggregates;
mod answers;
mod puts;
mod rows;
mod samples;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().without_plots().configure_from_args();
    aggregates::measure(&mut criterion);
    answers::measure(&mut criterion);
    rows::measure(&mut criterion);
    puts::measure(&mut criterion);
    criterion.final_summary();
}
