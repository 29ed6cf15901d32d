//! Detects how far a reader has come in a stretch of a shard without records, from empty answers and their distance
//! to the tip. Keeping that place saves other readers the walk through the same stretch.

use crate::service::Page;

/// Safety margin before the time that an answer proves: the service's clocks may differ, and arrival times are
/// approximate.
const MARGIN_MILLIS: i64 = 60_000;
/// Consecutive answers that must agree before the first of them counts.
const ANSWERS: usize = 3;

/// The last answers of a stretch, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Stretch {
    last: Vec<Answer>,
    /// The time that the stretch's first answer had reached.
    began: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    /// Arrival time that the answer had reached, milliseconds since the epoch.
    reached: i64,
    /// Distance of that time to the tip, in milliseconds.
    behind: i64,
}

impl Stretch {
    /// Records an answer. The stretch ends with an answer that has records or lacks its place in time.
    pub(crate) fn saw(&mut self, page: &Page) {
        let known = page.millis_behind_latest.zip(page.service_millis);
        let (Some((behind, now)), true) = (known, page.records.is_empty()) else {
            *self = Self::default();
            return;
        };
        let answer = Answer {
            reached: now - behind,
            behind,
        };
        self.began.get_or_insert(answer.reached);
        match self.last.last() {
            Some(last) if last.behind == 0 && behind == 0 => return,
            Some(last) if answer.behind < last.behind && answer.reached > last.reached => {}
            _ => self.last.clear(),
        }
        self.last.push(answer);
        if self.last.len() > ANSWERS {
            self.last.remove(0);
        }
    }

    /// Time before which the shard has no record after the stretch's beginning. None if the answers don't prove one
    /// (a single wrong answer proves nothing), or if it isn't later than where they began: that stretch is quickly
    /// read again.
    pub(crate) fn no_record_before(&self) -> Option<i64> {
        let first = self.last.first().filter(|_| self.last.len() == ANSWERS)?;
        let time = first.reached - MARGIN_MILLIS;
        (time > self.began?).then_some(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{RecordColumns, ShardIterator};

    const HOUR: i64 = 3_600_000;

    fn empty(now: i64, behind: i64) -> Page {
        Page {
            records: RecordColumns::with_capacity(0, 0),
            next: Some(ShardIterator("next".into())),
            millis_behind_latest: Some(behind),
            child_shards: Vec::new(),
            request_id: None,
            service_millis: Some(now),
        }
    }

    fn after(answers: impl IntoIterator<Item = (i64, i64)>) -> Option<i64> {
        let mut stretch = Stretch::default();
        for (now, behind) in answers {
            stretch.saw(&empty(now, behind));
        }
        stretch.no_record_before()
    }

    #[test]
    fn the_first_of_three_that_fit_together_is_believed() {
        let now = 100 * HOUR;
        assert_eq!(after([(now, 5 * HOUR), (now, 4 * HOUR)]), None);
        let walked = [(now, 6 * HOUR), (now, 5 * HOUR), (now, 4 * HOUR), (now, 3 * HOUR)];
        assert_eq!(after(walked), Some(95 * HOUR - MARGIN_MILLIS));
        assert_eq!(
            after(walked[1..].iter().copied()),
            None,
            "no farther than it began"
        );
        let at_tip = walked
            .into_iter()
            .chain([(now, 0), (now + 200, 0), (now + 400, 0)]);
        assert_eq!(after(at_tip), Some(96 * HOUR - MARGIN_MILLIS));
    }

    #[test]
    fn answers_that_do_not_fit_together_prove_nothing() {
        let now = 100 * HOUR;
        assert_eq!(after([(now, 1_000); 9]), None, "it doesn't get on");
        assert_eq!(after([(now, 0); 9]), None, "nor at the tip");
        let odd = [(now, 9 * HOUR), (now, 1_000), (now, 8 * HOUR), (now, 7 * HOUR)];
        assert_eq!(after(odd), None, "one is wrong");
        let odd = [
            (now, 9 * HOUR),
            (now + HOUR, 8 * HOUR),
            (now, 7 * HOUR),
            (now, 6 * HOUR),
        ];
        assert_eq!(after(odd), None, "the time of one is wrong");
    }

    #[test]
    fn records_end_a_stretch() {
        let mut stretch = Stretch::default();
        for behind in [6 * HOUR, 5 * HOUR, 4 * HOUR, 3 * HOUR] {
            stretch.saw(&empty(100 * HOUR, behind));
        }
        let mut page = empty(100 * HOUR, HOUR);
        page.records.push(b"r", "key", "7", 99 * HOUR).expect("fits");
        stretch.saw(&page);
        assert_eq!(stretch.no_record_before(), None);
    }
}
