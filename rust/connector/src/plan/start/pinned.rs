//! Warnings about a starting position that has no effect because the query has started before.

use chrono::{DateTime, SecondsFormat};

use crate::options::StartingPosition;
use crate::stream::Position;

/// The warning if the options give another start than the query's. LATEST was pinned as a time, so any pinned time
/// counts as LATEST.
pub(in crate::plan) fn unused(given: StartingPosition, pinned: &Position) -> Option<String> {
    match (given, pinned) {
        (StartingPosition::TrimHorizon, Position::TrimHorizon)
        | (StartingPosition::Latest, Position::AtTimestamp(_)) => return None,
        (StartingPosition::AtTimestamp { millis }, Position::AtTimestamp(at)) if millis == *at => {
            return None;
        }
        _ => {}
    }
    let given = match given {
        StartingPosition::Latest => "LATEST".to_owned(),
        StartingPosition::TrimHorizon => "TRIM_HORIZON".to_owned(),
        StartingPosition::AtTimestamp { millis } => at(millis),
    };
    Some(format!(
        "kinesis.startingPosition is {given}, but the query of this checkpointLocation started at {} once, and \
         goes on from there: a starting position is for a new query. To start anew, give it a new checkpointLocation",
        counts(pinned)
    ))
}

/// The warning if an option gives positions of single shards to a query that started with one position for all.
pub(in crate::plan) fn unused_option(key: &str, pinned: &Position) -> String {
    format!(
        "{key} has no effect: the query of this checkpointLocation started at {} once, and goes on from there. The \
         option is for a new query: to start anew, give it a new checkpointLocation",
        counts(pinned)
    )
}

fn counts(pinned: &Position) -> String {
    match pinned {
        Position::AtTimestamp(millis) => at(*millis),
        other => other.to_string(),
    }
}

fn at(millis: i64) -> String {
    match DateTime::from_timestamp_millis(millis) {
        Some(time) => format!(
            "AT_TIMESTAMP {}",
            time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
        ),
        None => Position::AtTimestamp(millis).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_start_than_the_pinned_one_is_warned_of_with_the_one_that_counts() {
        use StartingPosition::{AtTimestamp, Latest, TrimHorizon};
        let time = 1_788_116_405_000;
        for (given, pinned) in [
            (TrimHorizon, Position::TrimHorizon),
            (Latest, Position::AtTimestamp(time)),
            (AtTimestamp { millis: time }, Position::AtTimestamp(time)),
        ] {
            assert_eq!(unused(given, &pinned), None);
        }
        for (given, pinned, parts) in [
            (
                TrimHorizon,
                Position::AtTimestamp(time),
                [
                    "is TRIM_HORIZON, but",
                    "started at AT_TIMESTAMP 2026-08-30T19:00:05Z once",
                ],
            ),
            (
                Latest,
                Position::TrimHorizon,
                ["is LATEST, but", "started at TRIM_HORIZON once"],
            ),
            (
                AtTimestamp { millis: time + 1 },
                Position::AtTimestamp(time),
                [
                    "is AT_TIMESTAMP 2026-08-30T19:00:05.001Z, but",
                    "started at AT_TIMESTAMP 2026-08-30T19:00:05Z once",
                ],
            ),
        ] {
            let warning = unused(given, &pinned).expect("a warning");
            assert!(parts.iter().all(|part| warning.contains(part)), "{warning}");
        }
    }

    #[test]
    fn positions_of_single_shards_are_warned_of_where_one_for_all_counts() {
        let warning = unused_option("kinesis.importCheckpoint", &Position::TrimHorizon);
        let parts = [
            "kinesis.importCheckpoint has no effect",
            "started at TRIM_HORIZON once",
        ];
        assert!(parts.iter().all(|part| warning.contains(part)), "{warning}");
    }
}
