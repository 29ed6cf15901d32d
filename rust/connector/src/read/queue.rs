//! The rows between the fetching and the task that consumes them, bounded in bytes.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::budget::{Budget, Reserved};
use crate::batch::RecordBatch;
use crate::checkpoint::protocol::{has_passed, is_before};
use crate::error::{Error, Result};
use crate::stream::{Position, SequenceNumber};

/// A queue for one producer and one consumer.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Notify,
    drained: Notify,
    max_bytes: usize,
    /// What all readers of the process may hold together, by this query's option.
    max_bytes_of_all: usize,
    budget: Budget,
}

#[derive(Debug, Default)]
struct State {
    batches: VecDeque<(RecordBatch, Reserved)>,
    bytes: usize,
    delivered: Option<SequenceNumber>,
    end: Option<Result<(), Error>>,
}

/// What [`Queue::truncate`] took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Truncated {
    pub rows: u64,
    pub bytes: u64,
}

impl Queue {
    pub(super) fn new(max_bytes: usize, max_bytes_of_all: usize, budget: Budget) -> Self {
        Self {
            state: Mutex::default(),
            filled: Notify::new(),
            drained: Notify::new(),
            max_bytes,
            max_bytes_of_all,
            budget,
        }
    }

    /// Appends rows, waiting for room here and in the process. An empty queue takes a batch whatever its size.
    pub(super) async fn push(&self, batch: RecordBatch) {
        let size = batch.bytes();
        loop {
            let own_room = {
                let mut state = self.state();
                let own_room = state.bytes + size <= self.max_bytes;
                let reserved = match state.batches.is_empty() {
                    true => Some(self.budget.reserve_anyway(size)),
                    false if own_room => self.budget.try_reserve(size, self.max_bytes_of_all),
                    false => None,
                };
                if let Some(reserved) = reserved {
                    state.bytes += size;
                    state.batches.push_back((batch, reserved));
                    break;
                }
                own_room
            };
            tokio::select! {
                () = self.drained.notified() => {}
                () = self.budget.wait_for(size, self.max_bytes_of_all), if own_room => {}
            }
        }
        self.filled.notify_one();
    }

    /// Takes the next rows; none after the end. Dropping the future loses nothing.
    pub(super) async fn pop(&self) -> Result<Option<RecordBatch>> {
        loop {
            {
                let mut state = self.state();
                if let Some((batch, _)) = state.batches.pop_front() {
                    state.bytes -= batch.bytes();
                    let last = batch.sequence_number.iter().flatten().last();
                    state.delivered = last.and_then(|number| number.parse().ok());
                    self.drained.notify_one();
                    return Ok(Some(batch));
                }
                match &state.end {
                    Some(Ok(())) => return Ok(None),
                    Some(Err(error)) => return Err(error.clone()),
                    None => {}
                }
            }
            self.filled.notified().await;
        }
    }

    /// No more rows will come. After an error none that wait are delivered either.
    pub(super) fn end(&self, result: Result<()>) {
        {
            let mut state = self.state();
            if result.is_err() {
                state.batches.clear();
                state.bytes = 0;
            }
            state.end = Some(result);
        }
        self.filled.notify_one();
    }

    /// Takes away the rows after `end`; none, with nothing changed, if one of them was delivered already.
    pub(super) fn truncate(&self, end: &Position) -> Option<Truncated> {
        let mut state = self.state();
        if has_passed(state.delivered.as_ref(), end) {
            return None;
        }
        let mut dropped = Truncated::default();
        let waiting = std::mem::take(&mut state.batches);
        state.bytes = 0;
        for (batch, reserved) in waiting {
            let kept = batch
                .sequence_number
                .iter()
                .flatten()
                .take_while(|number| number.parse().is_ok_and(|number| is_before(&number, end)))
                .count();
            let rest = batch.slice(kept, batch.rows() - kept);
            dropped.rows += rest.rows() as u64;
            dropped.bytes += rest.data_bytes() as u64;
            if kept > 0 {
                let batch = batch.slice(0, kept);
                state.bytes += batch.bytes();
                state.batches.push_back((batch, reserved));
            }
        }
        Some(dropped)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::service::RecordColumns;
    use std::sync::Arc;

    fn batch(numbers: &[u64]) -> RecordBatch {
        let mut columns = RecordColumns::with_capacity(numbers.len(), 0);
        for number in numbers {
            columns
                .push(&[0; 100], "key", &number.to_string(), 7)
                .expect("fits");
        }
        columns.into_batch().expect("columns")
    }

    fn after(number: u64) -> Position {
        Position::After(number.to_string().parse().expect("number"))
    }

    fn queue(max_bytes: usize) -> Queue {
        Queue::new(max_bytes, usize::MAX, Budget::default())
    }

    async fn drain(queue: &Queue) -> Vec<String> {
        let mut numbers = Vec::new();
        while let Some(batch) = queue.pop().await.expect("rows") {
            numbers.extend(batch.sequence_number.iter().flatten().map(str::to_owned));
        }
        numbers
    }

    #[tokio::test]
    async fn rows_come_out_in_order_and_then_the_end() {
        let queue = queue(1_000);
        queue.push(batch(&[1, 2])).await;
        queue.push(batch(&[3])).await;
        queue.end(Ok(()));
        assert_eq!(drain(&queue).await, ["1", "2", "3"]);
    }

    #[tokio::test]
    async fn a_full_queue_makes_the_producer_wait() {
        let queue = Arc::new(queue(150));
        queue.push(batch(&[1])).await;
        let producer = queue.clone();
        let second = tokio::spawn(async move { producer.push(batch(&[2])).await });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        assert!(queue.pop().await.expect("rows").is_some());
        second.await.expect("pushed once there was room");
    }

    #[tokio::test]
    async fn the_process_is_full_before_the_queue_is_but_each_queue_holds_one_batch() {
        let budget = Budget::default();
        let queue = || Arc::new(Queue::new(1_000, 150, budget.clone()));
        let (left, right) = (queue(), queue());
        left.push(batch(&[1])).await;
        right.push(batch(&[1])).await;
        assert!(budget.used() > 150, "{}", budget.used());
        let producer = right.clone();
        let second = tokio::spawn(async move { producer.push(batch(&[2])).await });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        assert!(right.pop().await.expect("rows").is_some());
        second.await.expect("an empty queue takes a batch");
        let producer = right.clone();
        let third = tokio::spawn(async move { producer.push(batch(&[])).await });
        tokio::task::yield_now().await;
        assert!(!third.is_finished());
        drop(left);
        third
            .await
            .expect("pushed once another queue gave back its bytes");
        drop(right);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn a_batch_above_the_bound_passes_alone() {
        let queue = queue(10);
        queue.push(batch(&[1])).await;
        assert!(queue.pop().await.expect("rows").is_some());
    }

    #[tokio::test]
    async fn a_failure_hides_the_rows_that_wait() {
        let queue = queue(1_000);
        queue.push(batch(&[1])).await;
        queue.end(Err(Error::new(ErrorKind::Transport, "lost")));
        assert_eq!(
            queue.pop().await.expect_err("failed").kind(),
            ErrorKind::Transport
        );
    }

    #[tokio::test]
    async fn rows_after_a_nearer_claim_are_taken_away() {
        let queue = queue(10_000);
        queue.push(batch(&[1, 2])).await;
        queue.push(batch(&[3, 4])).await;
        queue.pop().await.expect("rows");
        assert_eq!(queue.truncate(&after(1)), None, "2 was delivered");
        assert_eq!(queue.truncate(&after(3)), Some(Truncated { rows: 1, bytes: 100 }));
        queue.end(Ok(()));
        assert_eq!(drain(&queue).await, ["3"]);
    }

    #[tokio::test]
    async fn a_claim_of_nothing_takes_all_away_unless_something_was_delivered() {
        let queue = queue(10_000);
        queue.push(batch(&[1, 2])).await;
        assert_eq!(
            queue.truncate(&Position::TrimHorizon),
            Some(Truncated { rows: 2, bytes: 200 })
        );
        queue.push(batch(&[1])).await;
        queue.pop().await.expect("rows");
        assert_eq!(queue.truncate(&Position::AtTimestamp(5)), None);
    }
}
