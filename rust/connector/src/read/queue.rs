//! Queue of rows between the fetching side and the consuming task, bounded in bytes.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::memory_pool::{MemoryLimits, MemoryReservation};
use super::turns::Waiters;
use crate::batch::RecordBatch;
use crate::claims::protocol::{has_passed, is_before};
use crate::error::{Error, Result};
use crate::stream::{Position, SequenceNumber};

/// A single-consumer queue with one lane per shard. The lanes are emptied one after the other, so every attempt at a
/// task delivers its rows in the same order, whatever the order of its shards' answers.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Notify,
    drained: Notify,
    /// Limits of each lane.
    limits: MemoryLimits,
}

#[derive(Debug, Default)]
struct State {
    lanes: Vec<Lane>,
    end: Option<Result<(), Error>>,
}

/// A shard's rows.
#[derive(Debug, Default)]
struct Lane {
    batches: VecDeque<(RecordBatch, MemoryReservation)>,
    /// Bytes of the waiting rows.
    bytes: usize,
    /// The last row that was delivered.
    delivered: Option<SequenceNumber>,
    /// True if no more rows will come, unless another attempt's claim turns out to be farther.
    done: bool,
}

impl State {
    /// Takes the next rows: the first lane's that has some, unless an earlier lane may still get some.
    fn take(&mut self) -> Option<RecordBatch> {
        for lane in &mut self.lanes {
            if let Some((batch, _)) = lane.batches.pop_front() {
                let last = batch.sequence_number.iter().flatten().last();
                lane.bytes -= batch.bytes();
                lane.delivered = last.and_then(|number| number.parse().ok());
                return Some(batch);
            }
            if !lane.done && self.end.is_none() {
                return None;
            }
        }
        None
    }

    /// True if the consumer waits for this lane: it is empty, and all lanes before it are empty and done.
    fn is_awaited(&self, lane: usize) -> bool {
        self.lanes[lane].batches.is_empty()
            && self.lanes[..lane]
                .iter()
                .all(|before| before.done && before.batches.is_empty())
    }
}

/// What [`Queue::truncate`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Truncated {
    pub rows: u64,
    pub bytes: u64,
}

impl Queue {
    /// A queue with this many lanes.
    pub(super) fn new(lanes: usize, limits: MemoryLimits) -> Self {
        let mut state = State::default();
        state.lanes.resize_with(lanes, Lane::default);
        Self {
            state: Mutex::new(state),
            filled: Notify::new(),
            drained: Notify::new(),
            limits,
        }
    }

    /// Appends a shard's rows, waiting for room in its lane and in the process. An empty lane accepts a batch above
    /// its bound, and a lane that the consumer waits for ignores the process's bound. While `others` wait for this
    /// reader there is no waiting for room, since room may depend on their progress; false if the rows were then
    /// appended without room.
    pub(super) async fn push(&self, lane: usize, batch: RecordBatch, others: &Waiters) -> bool {
        let size = batch.bytes();
        let mut hurried = false;
        loop {
            // Created before the state is checked, so that no notification after the check is missed.
            let drained = self.drained.notified();
            let own_room = {
                let mut state = self.state();
                let used = state.lanes[lane].bytes;
                let own_room = state.lanes[lane].batches.is_empty() || used + size <= self.limits.own;
                let reserved = match hurried || state.is_awaited(lane) {
                    true => Some(self.limits.pool.grow(size)),
                    false if own_room => self.limits.pool.try_reserve(size, self.limits.all),
                    false => None,
                };
                if let Some(reserved) = reserved {
                    let lane = &mut state.lanes[lane];
                    lane.bytes += size;
                    lane.batches.push_back((batch, reserved));
                    break;
                }
                own_room
            };
            tokio::select! {
                () = drained => {}
                () = self.limits.pool.wait_for(size, self.limits.all), if own_room => {}
                () = others.arrive() => hurried = true,
            }
        }
        self.filled.notify_one();
        !hurried
    }

    /// Marks the shard's rows as complete, as far as is known.
    pub(super) fn finish_lane(&self, lane: usize) {
        self.state().lanes[lane].done = true;
        self.filled.notify_one();
        self.drained.notify_waiters();
    }

    /// Takes the next rows; none after the end. Cancel-safe: dropping the future loses nothing.
    pub(super) async fn pop(&self) -> Result<Option<RecordBatch>> {
        loop {
            {
                let mut state = self.state();
                if let Some(batch) = state.take() {
                    self.drained.notify_waiters();
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

    /// Ends the queue. After an error, rows that still wait are discarded.
    pub(super) fn end(&self, result: Result<()>) {
        {
            let mut state = self.state();
            if result.is_err() {
                state.lanes.iter_mut().for_each(|lane| lane.batches.clear());
            }
            state.end = Some(result);
        }
        self.filled.notify_one();
    }

    /// Removes a shard's rows after `end`. None, with nothing changed, if one of them was delivered already.
    pub(super) fn truncate(&self, lane: usize, end: &Position) -> Option<Truncated> {
        let mut state = self.state();
        let lane = &mut state.lanes[lane];
        if has_passed(lane.delivered.as_ref(), end) {
            return None;
        }
        let mut dropped = Truncated::default();
        lane.bytes = 0;
        for (batch, reserved) in std::mem::take(&mut lane.batches) {
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
                lane.bytes += batch.bytes();
                lane.batches.push_back((batch, reserved));
            }
        }
        self.drained.notify_waiters();
        Some(dropped)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory_pool::MemoryPool;
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

    fn limits(own: usize, all: usize, pool: MemoryPool) -> MemoryLimits {
        MemoryLimits { own, all, pool }
    }

    fn queue(max_bytes: usize) -> Queue {
        Queue::new(1, limits(max_bytes, usize::MAX, MemoryPool::default()))
    }

    async fn push(queue: &Queue, lane: usize, batch: RecordBatch) {
        assert!(queue.push(lane, batch, &Waiters::default()).await);
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
        push(&queue, 0, batch(&[1, 2])).await;
        push(&queue, 0, batch(&[3])).await;
        queue.end(Ok(()));
        assert_eq!(drain(&queue).await, ["1", "2", "3"]);
    }

    #[tokio::test]
    async fn a_full_queue_makes_the_producer_wait() {
        let queue = Arc::new(queue(150));
        push(&queue, 0, batch(&[1])).await;
        let producer = queue.clone();
        let second = tokio::spawn(async move { push(&producer, 0, batch(&[2])).await });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        assert!(queue.pop().await.expect("rows").is_some());
        second.await.expect("pushed once there was room");
    }

    #[tokio::test]
    async fn the_process_is_full_before_the_queue_is_but_each_queue_holds_one_batch() {
        let pool = MemoryPool::default();
        let queue = || Arc::new(Queue::new(1, limits(1_000, 150, pool.clone())));
        let (left, right) = (queue(), queue());
        push(&left, 0, batch(&[1])).await;
        push(&right, 0, batch(&[1])).await;
        assert!(pool.used() > 150, "{}", pool.used());
        let producer = right.clone();
        let second = tokio::spawn(async move { push(&producer, 0, batch(&[2])).await });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        assert!(right.pop().await.expect("rows").is_some());
        second.await.expect("an empty queue takes a batch");
        let producer = right.clone();
        let third = tokio::spawn(async move { push(&producer, 0, batch(&[])).await });
        tokio::task::yield_now().await;
        assert!(!third.is_finished());
        drop(left);
        third
            .await
            .expect("pushed once another queue gave back its bytes");
        drop(right);
        assert_eq!(pool.used(), 0);
    }

    #[tokio::test]
    async fn a_batch_above_the_bound_passes_alone() {
        let queue = queue(10);
        push(&queue, 0, batch(&[1])).await;
        assert!(queue.pop().await.expect("rows").is_some());
    }

    #[tokio::test]
    async fn a_failure_hides_the_rows_that_wait() {
        let queue = queue(1_000);
        push(&queue, 0, batch(&[1])).await;
        queue.end(Err(Error::new(ErrorKind::Transport, "lost")));
        assert_eq!(
            queue.pop().await.expect_err("failed").kind(),
            ErrorKind::Transport
        );
    }

    #[tokio::test]
    async fn rows_after_a_nearer_claim_are_taken_away() {
        let queue = queue(10_000);
        push(&queue, 0, batch(&[1, 2])).await;
        push(&queue, 0, batch(&[3, 4])).await;
        queue.pop().await.expect("rows");
        assert_eq!(queue.truncate(0, &after(1)), None, "2 was delivered");
        assert_eq!(
            queue.truncate(0, &after(3)),
            Some(Truncated { rows: 1, bytes: 100 })
        );
        queue.end(Ok(()));
        assert_eq!(drain(&queue).await, ["3"]);
    }

    #[tokio::test]
    async fn a_claim_of_nothing_takes_all_away_unless_something_was_delivered() {
        let queue = queue(10_000);
        push(&queue, 0, batch(&[1, 2])).await;
        assert_eq!(
            queue.truncate(0, &Position::TrimHorizon),
            Some(Truncated { rows: 2, bytes: 200 })
        );
        push(&queue, 0, batch(&[1])).await;
        queue.pop().await.expect("rows");
        assert_eq!(queue.truncate(0, &Position::AtTimestamp(5)), None);
    }

    #[tokio::test]
    async fn lanes_fill_at_once_and_are_emptied_one_after_the_other() {
        let queue = Arc::new(Queue::new(2, limits(150, usize::MAX, MemoryPool::default())));
        push(&queue, 1, batch(&[7, 8])).await;
        let popped = queue.clone();
        let first = tokio::spawn(async move { popped.pop().await });
        tokio::task::yield_now().await;
        assert!(!first.is_finished(), "the first lane is not done");
        push(&queue, 0, batch(&[1])).await;
        assert_eq!(first.await.expect("ran").expect("rows").expect("some").rows(), 1);
        push(&queue, 0, batch(&[2])).await;
        assert_eq!(queue.truncate(0, &Position::TrimHorizon), None, "1 was delivered");
        assert_eq!(
            queue.truncate(1, &after(7)),
            Some(Truncated { rows: 1, bytes: 100 })
        );
        queue.finish_lane(1);
        queue.finish_lane(0);
        assert_eq!(queue.pop().await.expect("rows").expect("some").rows(), 1);
        push(&queue, 0, batch(&[3])).await;
        queue.end(Ok(()));
        assert_eq!(drain(&queue).await, ["3", "7"], "a farther claim brought 3");
    }

    #[tokio::test]
    async fn a_lane_that_is_waited_for_gets_on_when_others_have_filled_the_process() {
        let pool = MemoryPool::default();
        let queue = Arc::new(Queue::new(3, limits(1_000, 150, pool.clone())));
        push(&queue, 1, batch(&[1])).await;
        let other = queue.clone();
        let waits = tokio::spawn(async move { push(&other, 2, batch(&[5])).await });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished(), "nobody waits for it yet");
        push(&queue, 0, batch(&[1])).await;
        queue.finish_lane(0);
        queue.finish_lane(1);
        queue.pop().await.expect("rows");
        queue.pop().await.expect("rows");
        waits.await.expect("pushed");
        queue.end(Ok(()));
        assert_eq!(drain(&queue).await, ["5"]);
        assert_eq!(pool.used(), 0);
    }

    #[tokio::test]
    async fn every_producer_that_waits_is_woken() {
        let queue = Arc::new(Queue::new(2, limits(150, usize::MAX, MemoryPool::default())));
        push(&queue, 0, batch(&[1])).await;
        push(&queue, 1, batch(&[1])).await;
        let producers = [0, 1].map(|lane| {
            let queue = queue.clone();
            tokio::spawn(async move { push(&queue, lane, batch(&[2])).await })
        });
        tokio::task::yield_now().await;
        queue.finish_lane(0);
        queue.pop().await.expect("rows");
        tokio::task::yield_now().await;
        queue.pop().await.expect("rows");
        queue.pop().await.expect("rows");
        for producer in producers {
            producer.await.expect("pushed");
        }
    }
}
