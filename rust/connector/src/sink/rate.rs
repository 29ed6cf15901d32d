//! The rate at which this process writes to a shard at its limit, and the queue of those who write to it.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::chance::Chance;

/// Bytes with the weight of one record. A shard takes 1,000 records and 1 MiB a second.
const BYTES_OF_A_RECORD: f64 = 1_048.576;

/// Number of entries refused in one second at which a shard counts as being at its limit. Fewer may be chance.
const MANY: usize = 20;

/// Weight refused in one second at which a shard counts as being at its limit, too: a fifth of what it takes. Of
/// aggregates, [`MANY`] would be all that a shard takes in a second, and their rows would be thousands.
const HEAVY: f64 = 200.0;

/// Time with answers but no refusal after which a shard no longer counts as being at its limit.
const OVER: Duration = Duration::from_secs(10);

/// Time without answers after which what was learnt about a shard or stream is outdated.
pub(super) const FORGOTTEN: Duration = Duration::from_secs(600);

/// Time with refusals only after which a shard's limit is not their cause. It is long because one process of many may
/// get nothing for a while.
const STARVED: Duration = Duration::from_secs(60);

/// Minimum time between two changes of the rate.
const EPOCH: Duration = Duration::from_secs(1);

/// Answered entries required for a change of the rate before [`LATELY`] has passed.
const ANSWERS: usize = 10;

/// Age up to which accepted entries count as recent.
const LATELY: Duration = Duration::from_secs(4);

/// Resolution of the recent answers: those within this time are stored as one.
const GRAIN: Duration = Duration::from_millis(100);

/// Rise of the rate in a second, as a multiple of its square root.
const STEP: f64 = 0.5;

/// Quiet time, without a refusal, after which the rate rises faster: other writers have stopped, or the shard takes
/// more.
const QUIET: Duration = Duration::from_secs(2);

/// Fraction by which the rate also rises in a second after [`QUIET`], doubled for every further quiet second, up to 1.
/// It begins low: a shard that was spared for a moment takes up to a second's worth above its limit before it refuses
/// any.
const FASTER: f64 = 0.01;

/// Minimum part of a time without refusals that counts as quiet: however large the entries are, the rate has to rise
/// in less than a minute where the shard takes more.
const LEAST_QUIET: f64 = 0.25;

/// Minimum rate in entries a second, however few are accepted. At a lower rate, a process among many would get no
/// share, and a shard whose records each nearly fill a second would idle when it could take one.
const LEAST: f64 = 2.0;

/// Minimum weight that any shard takes in a second, from all its writers together.
const SHARD_TAKES: f64 = 1_000.0;

/// Minimum used fraction of the rate for it to rise. A rate that isn't used is no evidence of what the shard takes.
const USED: f64 = 0.5;

/// Maximum delay in seconds of the whole queue by an entry that weighs more than its place.
const DEBT: f64 = 2.0;

/// Maximum weight of one place in the queue, as a fraction of what the rate allows in a second.
const PORTION: f64 = 0.1;

/// Maximum weight saved up while nobody writes, as a fraction of what the rate allows in a second.
const SAVED: f64 = 0.5;

/// Weight of an entry of `bytes` bytes: 1, as a record, or its thousandths of the shard's byte limit if they are more.
pub(super) fn weight(bytes: usize) -> f64 {
    (bytes as f64 / BYTES_OF_A_RECORD).max(1.0)
}

/// Numbers and weights of accepted and refused entries, from one or more answers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Weight of the accepted entries.
    pub(super) accepted: f64,
    /// Weight of the refused entries.
    pub(super) refused: f64,
    pub(super) entries: usize,
    pub(super) refusals: usize,
}

impl Counts {
    pub(super) fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.entries += other.entries;
        self.refusals += other.refusals;
    }

    fn entry_weight(&self) -> f64 {
        (self.accepted + self.refused) / self.entries.max(1) as f64
    }
}

/// Limits the weight per second that this process sends to a shard at its limit, in first tries and retries alike.
/// For a shard that isn't at its limit, no entry waits.
///
/// # How the rate is learnt
///
/// - It starts at what the shard accepted lately. That may be far too low, if other writers had just filled the
///   shard, so it doubles every second until the first refusal, up to what every shard takes.
/// - Once a second it falls by the refused fraction of the weight. This brings it down to the shard's limit from any
///   height.
/// - While it is used, it rises by half its square root a second. It settles where a few percent of the weight are
///   refused, which shows that the shard takes no more.
/// - It never falls below what the shard accepted lately, so that answers to entries sent before a fall don't lower
///   it twice.
/// - Only refusals lower it: while little is written, it stays.
/// - Processes that share a shard converge without any contact. All of them see about the same fraction refused, and
///   the rise is a greater part of a smaller rate.
///
/// # The queue
///
/// - Places in the queue, called `line` in the code, are granted in order. The queue's clock is the weight that could
///   have been sent since the queue began. The entries of a place may go when the clock reaches the place's turn: the
///   turn of the place before it, plus their weight. A change of the rate thus affects all who wait at once, and no
///   place overtakes another.
/// - Weight that a place leaves unused is added to the clock. Weight used beyond a place is subtracted, within
///   bounds.
/// - A shard that reaches its limit again gets a new queue. Places in an earlier queue don't count: their entries
///   were let go when the shard was set free.
#[derive(Debug)]
pub(super) struct Rate {
    at_limit: bool,
    per_second: f64,
    /// Average weight of an entry.
    entry_weight: f64,
    /// Weight that could have been sent from the queue's start to `filled`.
    clock: f64,
    filled: Instant,
    /// Turn of the last place in the queue.
    promised: f64,
    /// Number of the queue. Every time that the shard reaches its limit starts a new one.
    line: u64,
    /// True until the first refusal after the rate's start.
    untried: bool,
    /// Answers since `epoch`.
    answered: Counts,
    /// Time of the first answer after the last change of the rate. After the rate's start, end of the second whose
    /// answers don't count.
    epoch: Option<Instant>,
    /// Quiet time since the last refusal, without the writers' pauses.
    quiet: Duration,
    /// Weight accepted lately, by the time of the answer.
    recent: VecDeque<(Instant, f64)>,
    /// Sum of the weights in `recent`.
    accepted: f64,
    /// Start of the time that `recent` covers.
    since: Instant,
    last_answer: Instant,
    last_accepted: Option<Instant>,
    /// Time of the first answer with refusals only since an entry was accepted last.
    starving: Option<Instant>,
    /// Start of the second in which refusals and their weight are counted.
    counted: Instant,
    refusals: usize,
    refused: f64,
    chance: Chance,
}

impl Rate {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            at_limit: false,
            per_second: LEAST,
            entry_weight: 1.0,
            clock: 0.0,
            filled: now,
            promised: 0.0,
            line: 0,
            untried: false,
            answered: Counts::default(),
            epoch: None,
            quiet: Duration::ZERO,
            recent: VecDeque::new(),
            accepted: 0.0,
            since: now,
            last_answer: now,
            last_accepted: None,
            starving: None,
            counted: now,
            refusals: 0,
            refused: 0.0,
            chance: Chance::default(),
        }
    }

    /// True if entries have to wait for their turn.
    pub(super) fn is_limited(&self, now: Instant) -> bool {
        let starved = self.starving.is_some_and(|since| now - since >= STARVED);
        self.at_limit && !starved && self.is_needed(now)
    }

    /// True unless what was learnt about the shard is outdated.
    pub(super) fn is_needed(&self, now: Instant) -> bool {
        now - self.last_answer < FORGOTTEN
    }

    /// Lets all entries go: the shard takes what it gets, or it was closed.
    pub(super) fn set_free(&mut self) {
        self.at_limit = false;
        (self.refusals, self.refused) = (0, 0.0);
    }

    pub(super) fn learn(&mut self, counts: Counts, now: Instant) {
        if !self.is_needed(now) {
            self.set_free();
        }
        self.last_answer = now;
        self.remember(counts.accepted, now);
        match counts.accepted > 0.0 {
            true => (self.starving, self.last_accepted) = (None, Some(now)),
            false if counts.refusals > 0 => drop(self.starving.get_or_insert(now)),
            false => {}
        }
        if !self.at_limit {
            if now - self.counted >= Duration::from_secs(1) {
                (self.counted, self.refusals, self.refused) = (now, 0, 0.0);
            }
            self.refusals += counts.refusals;
            self.refused += counts.refused;
            let is_many = self.refusals >= MANY || self.refused >= HEAVY;
            let takes = self.last_accepted.is_some_and(|at| now - at < STARVED);
            if takes && counts.refusals > 0 && is_many && !self.chance.is_free(now) {
                self.begin(counts, now);
            }
            return;
        }
        let epoch = *self.epoch.get_or_insert(now);
        if epoch > now {
            return;
        }
        self.answered.add(counts);
        let lasted = now - epoch;
        let few = self.answered.entries < ANSWERS && (!self.untried || self.answered.refusals > 0);
        if lasted >= EPOCH && (!few || lasted >= LATELY) {
            self.adjust(lasted, now);
        }
    }

    fn begin(&mut self, counts: Counts, now: Instant) {
        self.at_limit = true;
        self.entry_weight = counts.entry_weight();
        self.per_second = self.least(now);
        (self.clock, self.promised, self.filled) = (0.0, 0.0, now);
        self.line += 1;
        self.untried = true;
        // Answers within this time are to entries sent before, and the shard may have spent its second's allowance.
        self.epoch = Some(now + EPOCH);
        (self.answered, self.quiet) = (Counts::default(), Duration::ZERO);
        self.chance.begin(self.per_second);
    }

    fn adjust(&mut self, lasted: Duration, now: Instant) {
        self.fill(now);
        let answered = std::mem::take(&mut self.answered);
        self.epoch = None;
        self.entry_weight = answered.entry_weight();
        let (seconds, mut rate) = (lasted.min(LATELY).as_secs_f64(), self.per_second);
        let sent = answered.accepted + answered.refused;
        let used = sent / lasted.as_secs_f64();
        let is_used = used >= USED * self.per_second;
        if !is_used {
            self.chance.interrupt();
        } else if self.chance.explains(answered, lasted, now) {
            self.set_free();
            return;
        }
        if answered.refused > 0.0 {
            rate *= 1.0 - (answered.refused / sent).min(0.5);
            self.quiet = Duration::ZERO;
            self.untried = false;
        } else {
            self.quiet += lasted.min(LATELY).mul_f64(self.quiet_part(answered, lasted));
        }
        if self.quiet >= OVER {
            self.set_free();
            return;
        }
        if is_used {
            rate = self.risen(rate, seconds);
        }
        self.per_second = rate.max(self.least(now)).max(self.chance.floor());
    }

    /// The part of a time without refusals that counts as quiet. At a settled rate, `STEP / per_second.sqrt()` of the
    /// entries are refused. If these are few but large, such as aggregates, that is one entry in some seconds, and a
    /// second without any is no sign that the shard takes more.
    fn quiet_part(&self, answered: Counts, lasted: Duration) -> f64 {
        let refusals = answered.entries as f64 * STEP / self.per_second.sqrt();
        (refusals / lasted.as_secs_f64()).clamp(LEAST_QUIET, 1.0)
    }

    /// The rate after `seconds` seconds of rise.
    fn risen(&self, rate: f64, seconds: f64) -> f64 {
        let mut risen = rate + STEP * rate.sqrt() * seconds;
        if self.quiet > QUIET {
            let further = (self.quiet - QUIET).as_secs_f64();
            risen += risen * (FASTER * further.exp2()).min(1.0) * seconds;
        }
        if self.untried {
            risen = risen.max((rate * seconds.exp2()).min(SHARD_TAKES));
        }
        risen
    }

    fn least(&self, now: Instant) -> f64 {
        self.accepted_per_second(now).max(LEAST * self.entry_weight)
    }

    fn remember(&mut self, accepted: f64, now: Instant) {
        while let Some((at, weight)) = self.recent.front()
            && now - *at > LATELY
        {
            self.accepted -= weight;
            self.recent.pop_front();
        }
        if self.recent.is_empty() {
            // Nothing was accepted for a while, maybe as nothing was sent: that time is no evidence of the limit.
            (self.since, self.accepted) = (now, 0.0);
        }
        if accepted > 0.0 {
            self.accepted += accepted;
            match self.recent.back_mut().filter(|(at, _)| now - *at < GRAIN) {
                Some((_, weight)) => *weight += accepted,
                None => self.recent.push_back((now, accepted)),
            }
        }
    }

    /// Lower bound of the weight that the shard accepts in a second. It may have taken a second's worth at once, so a
    /// second is added to the time.
    fn accepted_per_second(&self, now: Instant) -> f64 {
        let span = (now - self.since).min(LATELY) + Duration::from_secs(1);
        self.accepted / span.as_secs_f64()
    }

    fn fill(&mut self, now: Instant) {
        self.clock += (now - self.filled).as_secs_f64() * self.per_second;
        self.filled = self.filled.max(now);
    }

    /// Grants a place in the queue to entries of this weight, or to the part that fits into one place. Returns the
    /// weight granted and its turn.
    pub(super) fn place(&mut self, weight: f64, now: Instant) -> (f64, Turn) {
        self.fill(now);
        let weight = weight.min((self.per_second * PORTION).max(1.0));
        let idle = self.clock - self.per_second * SAVED;
        self.promised = self.promised.max(idle) + weight;
        let turn = Turn {
            line: self.line,
            at: self.promised,
        };
        (weight, turn)
    }

    /// Time until the next check of this turn, at most 250 ms so that a change of the rate takes effect soon. `None`
    /// if its entries may go.
    pub(super) fn wait(&mut self, turn: Turn, now: Instant) -> Option<Duration> {
        if turn.line != self.line || !self.is_limited(now) {
            return None;
        }
        self.fill(now);
        let left = (turn.at - self.clock) / self.per_second;
        (left > 0.0).then(|| Duration::from_secs_f64(left.clamp(0.002, 0.25)))
    }

    /// Corrects the clock by the weight that the place with this turn left unused, negative if it used more.
    pub(super) fn settle(&mut self, turn: Turn, unused: f64) {
        if turn.line == self.line {
            self.clock += unused.max(-DEBT * self.per_second);
        }
    }
}

/// Reading of a queue's clock at which the entries of a place may go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Turn {
    line: u64,
    at: f64,
}

#[cfg(test)]
mod tests;
