//! How fast this process writes to a shard that is at its limit.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::chance::Chance;

/// Bytes that weigh as much as a record: a shard takes 1,000 records and 1 MiB a second.
const BYTES_OF_A_RECORD: f64 = 1_048.576;

/// A shard is at its limit once it refused so many entries in a second. Fewer may be chance.
const MANY: usize = 20;

/// It is no more when for so long it was written to and refused nothing.
const OVER: Duration = Duration::from_secs(10);

/// Nor when nobody wrote to it for so long.
pub(super) const FORGOTTEN: Duration = Duration::from_secs(600);

/// When it accepts nothing for so long, its limit is not the matter. One process of many may get nothing for a while.
const STARVED: Duration = Duration::from_secs(60);

/// The rate changes once in so long, and with so many entries' answers; with fewer after `LATELY`.
const EPOCH: Duration = Duration::from_secs(1);
const ANSWERS: usize = 10;

/// How long what was accepted counts.
const LATELY: Duration = Duration::from_secs(4);

/// Answers within this time are remembered as one.
const GRAIN: Duration = Duration::from_millis(100);

/// How much the rate rises in a second, in roots of itself.
const STEP: f64 = 0.5;

/// After so long without a refusal the rate rises by a part of itself that doubles with every further second, at most by
/// itself: others stopped writing, or the shard takes more.
const QUIET: Duration = Duration::from_secs(2);
const FASTER: f64 = 0.01;

/// Entries a second that are sent however few are accepted. With less, a process among many would get no share, and a
/// shard of records that nearly fill a second would miss its chance.
const LEAST: f64 = 2.0;

/// The least that any shard takes in a second, of all who write to it.
const SHARD_TAKES: f64 = 1_000.0;

/// The rate rises only while at least this part of it is used: beyond that it would say nothing of the shard.
const USED: f64 = 0.5;

/// For so long at most the line is closed for an entry that weighs more than its place.
const DEBT: f64 = 2.0;

/// Of a second's worth: what has one place in the line at most, and what may be saved up while nobody writes.
const PORTION: f64 = 0.1;
const SAVED: f64 = 0.5;

/// What an entry of so many bytes weighs: a record, or more where the shard's limit of bytes counts.
pub(super) fn weight(bytes: usize) -> f64 {
    (bytes as f64 / BYTES_OF_A_RECORD).max(1.0)
}

/// What became of entries in one answer or more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// The weight of those accepted.
    pub(super) accepted: f64,
    /// The weight of those refused.
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

/// The rate at which all entries go to one shard, first tries and further ones, once the shard is at its limit; until
/// then, and when it no more is, they don't wait.
///
/// **The rate.** It begins with what the shard accepted lately. From then on it falls once a second by the part of the
/// weight that was refused, so that it comes down to the shard's limit wherever it was, and rises by half its root:
/// it settles where a few percent are refused, which shows that the shard takes no more. It never falls below what was
/// accepted lately, so that answers to what was sent before it fell don't count twice. Only refusals lower it: when little
/// is written it stays. What it begins with may be far too little, if others had just filled the shard: until the first
/// refusal it doubles, as far as every shard's limit allows. Processes that share a shard and don't know of each other see about the same part refused; as the
/// rise is the greater part of a rate the smaller that is, their rates draw nearer to each other.
///
/// **The line.** Places are given away in order. What could have been sent since the beginning is the clock, and
/// each place says at which reading its entries may go: that of the place before it, and their weight. So those who wait
/// feel a change of the rate at once, and nobody is passed. What wasn't used is added to the clock, what was used beyond
/// a place is taken off, within bounds. A shard that comes to its limit once more has a new line: who still has a place in
/// an earlier one was let go when the shard was set free.
#[derive(Debug)]
pub(super) struct Rate {
    /// The shard is at its limit.
    at_limit: bool,
    per_second: f64,
    /// What an entry weighs on average.
    entry_weight: f64,
    /// What could have been sent, until `filled`.
    clock: f64,
    filled: Instant,
    /// The last place in the line.
    promised: f64,
    /// How many lines there were before.
    line: u64,
    /// Nothing was refused since the rate began.
    untried: bool,
    /// What was answered since `epoch` began with its first answer.
    answered: Counts,
    epoch: Option<Instant>,
    /// How long nothing was refused, while there were answers.
    quiet: Duration,
    /// What was accepted lately, how much that is, and since when.
    recent: VecDeque<(Instant, f64)>,
    accepted: f64,
    since: Instant,
    last_answer: Instant,
    last_accepted: Option<Instant>,
    /// Since when nothing but refusals came.
    starving: Option<Instant>,
    /// The second in which refusals are counted.
    counted: Instant,
    refusals: usize,
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
            chance: Chance::default(),
        }
    }

    /// Whether entries wait for their place.
    pub(super) fn is_limited(&self, now: Instant) -> bool {
        let starved = self.starving.is_some_and(|since| now - since >= STARVED);
        self.at_limit && !starved && self.is_needed(now)
    }

    /// Whether what is known of the shard may still be true.
    pub(super) fn is_needed(&self, now: Instant) -> bool {
        now - self.last_answer < FORGOTTEN
    }

    /// The shard takes what it gets, or isn't there any more.
    pub(super) fn set_free(&mut self) {
        self.at_limit = false;
        self.refusals = 0;
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
                (self.counted, self.refusals) = (now, 0);
            }
            self.refusals += counts.refusals;
            let takes = self.last_accepted.is_some_and(|at| now - at < STARVED);
            if takes && counts.refusals > 0 && self.refusals >= MANY && !self.chance.is_free(now) {
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
        // What was sent before is still answered, and the shard may have spent its second.
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
            self.quiet += lasted.min(LATELY);
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

    /// What this rate rises to within so many seconds.
    fn risen(&self, rate: f64, seconds: f64) -> f64 {
        let mut risen = rate + STEP * rate.sqrt() * seconds;
        if self.quiet > QUIET {
            risen += risen * (FASTER * self.quiet.as_secs_f64().exp2()).min(1.0) * seconds;
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
            // Nothing was sent for a while, so that the time until now says nothing of what the shard takes.
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

    /// What the shard accepts at least: it may have taken a second's worth at once.
    fn accepted_per_second(&self, now: Instant) -> f64 {
        let span = (now - self.since).min(LATELY) + Duration::from_secs(1);
        self.accepted / span.as_secs_f64()
    }

    fn fill(&mut self, now: Instant) {
        self.clock += (now - self.filled).as_secs_f64() * self.per_second;
        self.filled = self.filled.max(now);
    }

    /// A place in the line for entries of this weight, or as many of them as have one: how much they may weigh, and when
    /// they may go.
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

    /// How much longer those with this turn have to wait: at most so long that a change of the rate is felt. None if they
    /// may go.
    pub(super) fn wait(&mut self, turn: Turn, now: Instant) -> Option<Duration> {
        if turn.line != self.line || !self.is_limited(now) {
            return None;
        }
        self.fill(now);
        let left = (turn.at - self.clock) / self.per_second;
        (left > 0.0).then(|| Duration::from_secs_f64(left.clamp(0.002, 0.25)))
    }

    /// Those with this turn used less than they might, or more if this is below zero.
    pub(super) fn settle(&mut self, turn: Turn, unused: f64) {
        if turn.line == self.line {
            self.clock += unused.max(-DEBT * self.per_second);
        }
    }
}

/// When those with a place in a line may go: at which reading of that line's clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Turn {
    line: u64,
    at: f64,
}

#[cfg(test)]
mod tests;
