//! How fast what a shard refused is put again: a little faster than the shard takes records from this process.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::stream::ShardId;

/// So much more is sent than was accepted lately: what the shard could take beside that shows in it, and what it
/// refuses stays bounded.
const HEADROOM: f64 = 1.25;

/// Entries a second that are sent however few are accepted. With less, a process among many would get no share.
const LEAST: f64 = 2.0;

/// How long accepted entries count. Some shards take a second's worth at the second's beginning.
const LATELY: Duration = Duration::from_secs(4);

/// Answers within this time are remembered as one.
const GRAIN: Duration = Duration::from_millis(100);

/// Of a second's worth: what goes at once, and what may be saved up. A shard of large records takes one or two a
/// second: what waited for more would miss its share of some of them.
const PORTION: f64 = 0.25;
const SAVED: f64 = 0.5;
const FEWEST: f64 = 1.0;

/// A shard is at its limit once it refused so many entries in a second. Fewer may be chance.
const MANY: usize = 20;

/// It is no more when it refused nothing for so long.
const OVER: Duration = Duration::from_secs(10);

/// When it accepts nothing for so long, its limit is not the matter. One process of many may get nothing for a while.
const STARVED: Duration = Duration::from_secs(60);

/// After so long without a refusal the rate doubles with every further second: others stopped writing, or the shard takes
/// more.
const QUIET: Duration = Duration::from_secs(2);

/// Gates that nobody needed for so long are forgotten.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// The shards of a stream as they answer all writers of this process.
#[derive(Debug, Default)]
pub(crate) struct Gates(Mutex<HashMap<ShardId, Arc<Gate>>>);

/// What became of the entries of one answer, shard by shard.
#[derive(Debug, Default)]
pub(super) struct Tally {
    shards: HashMap<ShardId, Counts>,
    accepted: usize,
}

#[derive(Debug, Default)]
struct Counts {
    accepted: usize,
    refused: usize,
}

impl Tally {
    pub(super) fn accepted(&mut self, shard: &ShardId) {
        self.accepted += 1;
        match self.shards.get_mut(shard) {
            Some(counts) => counts.accepted += 1,
            None => self.of(shard.clone()).accepted += 1,
        }
    }

    /// An entry was throttled with this message. Answers which shard it was, as far as the message says.
    pub(super) fn throttled(&mut self, message: &str) -> ShardId {
        let shard = named_in(message);
        self.of(shard.clone()).refused += 1;
        shard
    }

    fn of(&mut self, shard: ShardId) -> &mut Counts {
        self.shards.entry(shard).or_default()
    }
}

/// The shard of "Rate exceeded for shard shardId-000000000000 in stream …". Empty where none is named.
fn named_in(message: &str) -> ShardId {
    let named = message
        .split_ascii_whitespace()
        .find(|word| word.starts_with("shardId-"));
    ShardId::from(named.unwrap_or_default())
}

fn is_named(shard: &ShardId) -> bool {
    *shard != ShardId::from("")
}

impl Gates {
    /// Takes in what became of an answer's entries.
    pub(super) fn learn(&self, tally: &Tally) {
        let now = Instant::now();
        for (shard, counts) in &tally.shards {
            if is_named(shard) {
                self.of(shard).lock().learn(counts.accepted, counts.refused, now);
            }
        }
        // Entries whose shard isn't named are accepted by any.
        let nameless = ShardId::from("");
        let refused = tally.shards.get(&nameless).map_or(0, |counts| counts.refused);
        let known = self.lock().contains_key(&nameless);
        if known || refused > 0 {
            self.of(&nameless).lock().learn(tally.accepted, refused, now);
        }
    }

    /// The gate of a shard.
    pub(super) fn of(&self, shard: &ShardId) -> Arc<Gate> {
        let mut gates = self.lock();
        if let Some(gate) = gates.get(shard) {
            return Arc::clone(gate);
        }
        let now = Instant::now();
        gates.retain(|_, gate| Arc::strong_count(gate) > 1 || gate.lock().is_needed(now));
        let gate = Arc::new(Gate::new(shard.clone(), now));
        gates.insert(shard.clone(), Arc::clone(&gate));
        gate
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ShardId, Arc<Gate>>> {
        self.0.lock()
    }
}

/// Lets entries through to one shard, those who wait one after the other.
#[derive(Debug)]
pub(super) struct Gate {
    shard: ShardId,
    rate: Mutex<Rate>,
    /// Held by the first in the line.
    turn: tokio::sync::Mutex<()>,
}

impl Gate {
    fn new(shard: ShardId, now: Instant) -> Self {
        Self {
            shard,
            rate: Mutex::new(Rate::new(now)),
            turn: tokio::sync::Mutex::new(()),
        }
    }

    /// An entry that waited here was answered by this shard. If that is another, the gate's own was split or merged, and
    /// nobody needs to wait here any longer.
    pub(super) fn answered_by(&self, shard: &ShardId) {
        if *shard != self.shard && is_named(shard) && is_named(&self.shard) {
            self.lock().at_limit = false;
        }
    }

    /// Whether the shard is at its limit, so that entries have to wait here.
    pub(super) fn is_limited(&self) -> bool {
        self.lock().is_limited(Instant::now())
    }

    /// Waits for its turn, and answers how many of so many entries may go now: at least one.
    pub(super) async fn admit(&self, wanted: usize) -> usize {
        let _turn = self.turn.lock().await;
        loop {
            let wait = match self.lock().take(wanted, Instant::now()) {
                Ok(admitted) => return admitted,
                Err(wait) => wait,
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// How many of so many entries may go without waiting.
    pub(super) fn admit_now(&self, wanted: usize) -> usize {
        match self.turn.try_lock() {
            Ok(_turn) => self.lock().take(wanted, Instant::now()).unwrap_or(0),
            Err(_) => 0,
        }
    }

    /// So many entries didn't go after all.
    pub(super) fn give_back(&self, entries: usize) {
        self.lock().tokens += entries as f64;
    }

    fn lock(&self) -> MutexGuard<'_, Rate> {
        self.rate.lock()
    }
}

/// A token bucket, filled by what is accepted.
#[derive(Debug)]
struct Rate {
    since: Instant,
    /// What was accepted lately, and how much that is.
    recent: VecDeque<(Instant, usize)>,
    accepted: usize,
    last_accepted: Option<Instant>,
    last_refused: Instant,
    /// The second in which refused entries are counted.
    counted: Instant,
    refused: usize,
    /// Many were refused in a second.
    at_limit: bool,
    tokens: f64,
    filled: Instant,
}

impl Rate {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            recent: VecDeque::new(),
            accepted: 0,
            last_accepted: None,
            last_refused: now,
            counted: now,
            refused: 0,
            at_limit: false,
            tokens: 0.0,
            filled: now,
        }
    }

    fn learn(&mut self, accepted: usize, refused: usize, now: Instant) {
        self.forget_before(now);
        if self.recent.is_empty() {
            // Nothing was sent for a while, so that the time until now says nothing of what the shard takes.
            self.since = now;
        }
        if accepted > 0 {
            self.last_accepted = Some(now);
            self.accepted += accepted;
            match self.recent.back_mut().filter(|(at, _)| now - *at < GRAIN) {
                Some((_, count)) => *count += accepted,
                None => self.recent.push_back((now, accepted)),
            }
        }
        if refused == 0 {
            return;
        }
        if !self.is_limited(now) {
            // What was saved up in better times is not to be spent now.
            (self.tokens, self.filled) = (0.0, now);
            self.at_limit = false;
        }
        if now - self.counted >= Duration::from_secs(1) {
            (self.counted, self.refused) = (now, 0);
        }
        self.refused += refused;
        self.last_refused = now;
        if self.refused >= MANY {
            self.at_limit = true;
        }
    }

    fn is_limited(&self, now: Instant) -> bool {
        let takes = self.last_accepted.is_some_and(|at| now - at < STARVED);
        self.at_limit && takes && now - self.last_refused < OVER
    }

    fn is_needed(&self, now: Instant) -> bool {
        now - self.last_accepted.unwrap_or(self.last_refused) < FORGOTTEN
    }

    fn forget_before(&mut self, now: Instant) {
        while let Some((at, count)) = self.recent.front()
            && now - *at > LATELY
        {
            self.accepted -= count;
            self.recent.pop_front();
        }
    }

    /// Entries a second.
    fn per_second(&mut self, now: Instant) -> f64 {
        self.forget_before(now);
        // At least a second: a shard may take its second's worth at once.
        let span = (now - self.since + Duration::from_secs(1)).min(LATELY);
        let quiet = (now - self.last_refused).saturating_sub(QUIET).as_secs_f64();
        let rate = self.accepted as f64 / span.as_secs_f64() * HEADROOM * quiet.exp2();
        rate.max(LEAST)
    }

    /// Takes a portion or more, or answers how long to wait for it.
    fn take(&mut self, wanted: usize, now: Instant) -> Result<usize, Duration> {
        if !self.is_limited(now) {
            return Ok(wanted);
        }
        let rate = self.per_second(now);
        let gained = (now - self.filled).as_secs_f64() * rate;
        self.tokens = (self.tokens + gained).min((rate * SAVED).max(FEWEST));
        self.filled = now;
        let portion = (rate * PORTION).max(FEWEST).min(wanted as f64);
        if self.tokens >= portion {
            let taken = self.tokens.floor().min(wanted as f64);
            self.tokens -= taken;
            return Ok(taken as usize);
        }
        // Not longer: the rate may rise meanwhile.
        let wait = ((portion - self.tokens) / rate).clamp(0.005, 0.25);
        Err(Duration::from_secs_f64(wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(shard: &str) -> ShardId {
        ShardId::from(shard)
    }

    #[test]
    fn the_shard_is_named_in_the_message() {
        let message = "Rate exceeded for shard shardId-000000000007 in stream s under account 111122223333.";
        assert_eq!(named_in(message), named("shardId-000000000007"));
        assert_eq!(named_in("slow down"), named(""));
    }

    /// A gate whose shard refused and accepted so many.
    fn gate(accepted: usize, refused: usize) -> (Gates, Arc<Gate>) {
        let (gates, mut tally) = (Gates::default(), Tally::default());
        for _ in 0..accepted {
            tally.accepted(&named("shardId-1"));
        }
        for _ in 0..refused {
            tally.throttled("shard shardId-1");
        }
        let gate = gates.of(&named("shardId-1"));
        gates.learn(&tally);
        (gates, gate)
    }

    #[tokio::test(start_paused = true)]
    async fn few_refusals_and_a_shard_that_takes_nothing_are_no_limit() {
        assert!(!gate(100, MANY - 1).1.is_limited());
        assert!(!gate(0, 500).1.is_limited());
        let (_, gate) = gate(100, MANY);
        assert!(gate.is_limited());
        tokio::time::advance(OVER).await;
        assert!(!gate.is_limited());
        assert_eq!(gate.admit(500).await, 500);
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_of_long_ago_says_nothing_of_a_refusal_by_chance() {
        let (gates, gate) = gate(100, 400);
        tokio::time::advance(Duration::from_secs(3_600)).await;
        let mut tally = Tally::default();
        (0..100).for_each(|_| tally.accepted(&named("shardId-1")));
        tally.throttled("shard shardId-1");
        gates.learn(&tally);
        assert!(!gate.is_limited());
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_that_name_no_shard_are_paced_by_what_any_accepts() {
        let (gates, mut tally) = (Gates::default(), Tally::default());
        (0..100).for_each(|_| tally.accepted(&named("shardId-1")));
        (0..100).for_each(|_| drop(tally.throttled("slow down")));
        gates.learn(&tally);
        let gate = gates.of(&named(""));
        for _ in 0..4 {
            tokio::time::advance(Duration::from_secs(1)).await;
            let mut tally = Tally::default();
            (0..100).for_each(|_| tally.accepted(&named("shardId-1")));
            gates.learn(&tally);
        }
        assert!(gate.lock().per_second(Instant::now()) > 100.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_little_more_is_let_through_than_was_accepted() {
        let (_, gate) = gate(100, 400);
        assert_eq!(gate.admit_now(500), 0);
        let start = Instant::now();
        let mut admitted = 0;
        while start.elapsed() < Duration::from_secs(1) {
            admitted += gate.admit(500).await;
        }
        assert!((70..=130).contains(&admitted), "{admitted}");
        gate.give_back(7);
        assert!(gate.admit(7).await >= 7);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_shard_that_was_split() {
        let (_, gate) = gate(100, 400);
        gate.answered_by(&named("shardId-1"));
        gate.answered_by(&named(""));
        assert!(gate.is_limited());
        gate.answered_by(&named("shardId-2"));
        assert!(!gate.is_limited());
    }

    #[tokio::test(start_paused = true)]
    async fn gates_that_nobody_needs_are_forgotten() {
        let (gates, gate) = gate(1, 1);
        drop(gate);
        tokio::time::advance(FORGOTTEN).await;
        gates.of(&named("shardId-2"));
        assert_eq!(gates.lock().len(), 1);
    }
}
