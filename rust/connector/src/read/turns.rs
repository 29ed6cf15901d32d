//! Serializes attempts of one process at the same part of a batch (a stream joined with itself, two threads that
//! write one micro-batch): the first reads by its own rule and claims, the others wait for that claim and read up to
//! it. So none of them delivers records that another's claim leaves out. Attempts in other processes meet only in the
//! claim store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, watch};

use crate::claims::ClaimKey;

/// Upper bound for the wait for another attempt's claim. That attempt waits only for services meanwhile, on each of
/// them for a shorter time, and never for its consumer. After the wait, an attempt proceeds as if the other one were
/// in another process.
const LONGEST_WAIT: Duration = Duration::from_secs(900);

/// Parts of batches whose ends attempts of this process are about to decide. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<ClaimKey, Weak<Seat>>>>);

#[derive(Debug)]
struct Seat {
    turn: Arc<AsyncMutex<()>>,
    /// Number of attempts that wait for the turn.
    waiting: watch::Sender<usize>,
}

/// An attempt's registration at a part of a batch.
#[derive(Debug)]
struct Place {
    turns: Turns,
    key: ClaimKey,
    /// None after it was left.
    seat: Option<Arc<Seat>>,
}

/// The right to decide a part's end, until dropped. Its owner first looks for an existing claim in the store.
#[derive(Debug)]
pub(super) struct Turn {
    // Declared first, to be released before the place.
    _guard: OwnedMutexGuard<()>,
    place: Place,
}

/// Shows whether other attempts wait for this one's decision. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiters(Option<watch::Receiver<usize>>);

impl Turns {
    /// Waits until no other attempt of this process is about to decide where this part of the batch ends; none after
    /// [`LONGEST_WAIT`]. Dropping the future gives up the place.
    pub(super) async fn take(&self, key: &ClaimKey) -> Option<Turn> {
        let place = self.place(key);
        let seat = place.seat.clone()?;
        let turn = seat.turn.clone();
        if let Ok(guard) = turn.clone().try_lock_owned() {
            return Some(Turn { _guard: guard, place });
        }
        let _waiter = Waiter::new(&seat);
        match tokio::time::timeout(LONGEST_WAIT, turn.lock_owned()).await {
            Ok(guard) => Some(Turn { _guard: guard, place }),
            Err(_) => {
                tracing::warn!(
                    claim = %key,
                    "another attempt of this process at the same part of a batch has not ended within {} s; going \
                     on without it",
                    LONGEST_WAIT.as_secs()
                );
                None
            }
        }
    }

    fn place(&self, key: &ClaimKey) -> Place {
        let mut seats = self.seats();
        let seat = seats.get(key).and_then(Weak::upgrade).unwrap_or_else(|| {
            let seat = Arc::new(Seat {
                turn: Arc::default(),
                waiting: watch::Sender::new(0),
            });
            seats.insert(key.clone(), Arc::downgrade(&seat));
            seat
        });
        Place {
            turns: self.clone(),
            key: key.clone(),
            seat: Some(seat),
        }
    }

    fn seats(&self) -> MutexGuard<'_, HashMap<ClaimKey, Weak<Seat>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Shows whether others wait for this attempt.
    pub(super) fn waiters(&self) -> Waiters {
        Waiters(self.place.seat.as_ref().map(|seat| seat.waiting.subscribe()))
    }
}

impl Waiters {
    /// Returns once another attempt waits. Nothing may wait for this attempt's consumer then, since the same thread
    /// may consume the other attempt's rows.
    pub(super) async fn arrive(&self) {
        if let Some(mut waiting) = self.0.clone()
            && waiting.wait_for(|waiting| *waiting > 0).await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }
}

struct Waiter<'a>(&'a Seat);

impl<'a> Waiter<'a> {
    fn new(seat: &'a Seat) -> Self {
        seat.waiting.send_modify(|waiting| *waiting += 1);
        Self(seat)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.waiting.send_modify(|waiting| *waiting -= 1);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut seats = self.turns.seats();
        self.seat = None;
        if seats.get(&self.key).is_some_and(|seat| seat.strong_count() == 0) {
            seats.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::{Pin, pin};
    use std::task::Poll;

    use super::*;

    fn key(batch: u64) -> ClaimKey {
        ClaimKey {
            source: "q".into(),
            batch,
            shard: "s".into(),
        }
    }

    /// Polls once.
    async fn is_ready<F: Future>(mut future: Pin<&mut F>) -> bool {
        poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
    }

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_and_nothing_is_left() {
        let turns = Turns::default();
        let first = turns.take(&key(1)).await.expect("free");
        let waiters = first.waiters();
        let _other = turns.take(&key(2)).await.expect("another part");
        assert!(!is_ready(pin!(waiters.arrive())).await);
        let part = key(1);
        let mut second = Box::pin(turns.take(&part));
        let mut third = Box::pin(turns.take(&part));
        assert!(!is_ready(second.as_mut()).await && !is_ready(third.as_mut()).await);
        waiters.arrive().await;
        drop(second);
        waiters.arrive().await;
        drop(first);
        let third = third.await.expect("its turn");
        assert!(!is_ready(pin!(third.waiters().arrive())).await);
        assert_eq!(turns.seats().len(), 2);
        drop(third);
        assert_eq!(turns.seats().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_has_an_end() {
        let turns = Turns::default();
        let _first = turns.take(&key(1)).await.expect("free");
        assert!(turns.take(&key(1)).await.is_none());
        assert_eq!(turns.seats().len(), 1);
    }
}
