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
mod tests {
    use super::*;

    fn counts(accepted: usize, refused: usize) -> Counts {
        Counts {
            accepted: accepted as f64,
            refused: refused as f64,
            entries: accepted + refused,
            refusals: refused,
        }
    }

    /// The rate of a shard that accepted and refused so many.
    fn rate(accepted: usize, refused: usize) -> Rate {
        let mut rate = Rate::new(Instant::now());
        rate.learn(counts(accepted, refused), Instant::now());
        rate.epoch = None;
        rate
    }

    /// A second later the shard accepted and refused so many.
    async fn second(rate: &mut Rate, accepted: usize, refused: usize) {
        rate.learn(counts(0, 0), Instant::now());
        tokio::time::advance(Duration::from_secs(1)).await;
        rate.learn(counts(accepted, refused), Instant::now());
    }

    fn is_limited(rate: &Rate) -> bool {
        rate.is_limited(Instant::now())
    }

    #[test]
    fn bytes_weigh_as_records_do() {
        assert_eq!([0, 100, 1_048].map(weight), [1.0; 3]);
        assert_eq!(weight(1 << 20), 1_000.0);
    }

    #[tokio::test(start_paused = true)]
    async fn few_refusals_and_a_shard_that_takes_nothing_are_no_limit() {
        assert!(!is_limited(&rate(100, MANY - 1)));
        assert!(!is_limited(&rate(0, 500)));
        let mut rate = rate(100, MANY);
        assert!(is_limited(&rate));
        for _ in 0..STARVED.as_secs() {
            assert!(is_limited(&rate));
            second(&mut rate, 0, 5).await;
        }
        second(&mut rate, 0, 5).await;
        assert!(!is_limited(&rate));
        second(&mut rate, 5, 5).await;
        assert!(is_limited(&rate), "it takes some again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_shard_is_free_when_it_was_written_to_and_refused_nothing() {
        let mut rate = rate(100, MANY);
        tokio::time::advance(OVER * 2).await;
        assert!(is_limited(&rate), "nobody wrote to it");
        for _ in 0..OVER.as_secs() {
            assert!(is_limited(&rate));
            second(&mut rate, 20, 0).await;
        }
        assert!(!is_limited(&rate));
        let far = Turn {
            line: rate.line,
            at: 1e9,
        };
        assert_eq!(rate.wait(far, Instant::now()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_of_long_ago_says_nothing_of_a_refusal_by_chance() {
        let mut rate = rate(100, 400);
        tokio::time::advance(FORGOTTEN).await;
        assert!(!is_limited(&rate));
        rate.learn(counts(100, 1), Instant::now());
        assert!(!is_limited(&rate));
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_falls_by_what_was_refused_and_not_while_little_is_written() {
        let mut rate = rate(1_000, 1_000);
        assert_eq!(rate.per_second, 1_000.0);
        second(&mut rate, 900, 100).await;
        assert!((900.0..1_000.0).contains(&rate.per_second), "{}", rate.per_second);
        let before = rate.per_second;
        for _ in 0..5 {
            tokio::time::advance(Duration::from_secs(60)).await;
            rate.learn(counts(1, 0), Instant::now());
        }
        assert!(rate.per_second >= before, "{}", rate.per_second);
        // What the shard accepts, it takes.
        for _ in 0..5 {
            second(&mut rate, 800, 800).await;
        }
        assert!(rate.per_second >= 600.0, "{}", rate.per_second);
    }

    #[tokio::test(start_paused = true)]
    async fn it_rises_fast_when_the_shard_takes_more() {
        let mut rate = rate(100, 100);
        for _ in 0..9 {
            second(&mut rate, 100, 0).await;
        }
        assert!(rate.per_second > 200.0, "{}", rate.per_second);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shard_that_refuses_the_same_part_however_little_it_gets_is_not_at_its_limit() {
        const WANTED: f64 = 1_000.0;
        for part in [0.03, 0.05, 0.1, 0.3, 0.5, 0.9] {
            let (mut rate, mut accepted) = (rate(3_000, MANY), 0);
            let mut chance = fastrand::Rng::with_seed(7);
            for number in 0..1_200 {
                let sent = if is_limited(&rate) {
                    rate.per_second.min(WANTED)
                } else {
                    WANTED
                } as usize;
                let refused = (0..sent).filter(|_| chance.f64() < part).count();
                second(&mut rate, sent - refused, refused).await;
                if number >= 600 {
                    accepted += sent - refused;
                }
            }
            let per_second = accepted as f64 / 600.0;
            println!("{part} refused: {per_second:.0}/s");
            assert!(per_second > 0.4 * WANTED * (1.0 - part), "{part}: {per_second}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_of_the_writers_says_nothing_of_the_limit() {
        let mut rate = rate(1_000, 1_000);
        for _ in 0..20 {
            second(&mut rate, 984, 16).await;
        }
        for _ in 0..5 {
            rate.learn(counts(394, 6), Instant::now());
            tokio::time::advance(Duration::from_secs(30)).await;
            rate.learn(counts(49, 1), Instant::now());
            assert!(is_limited(&rate));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_rises_no_further_than_it_is_used() {
        let mut rate = rate(695, MANY);
        // Too few refusals to hold it down, too many for the shard to be free.
        for number in 0..300 {
            second(&mut rate, 695, if number % 8 == 0 { 5 } else { 0 }).await;
            assert!(is_limited(&rate));
        }
        assert!(
            (695.0..10_000.0).contains(&rate.per_second),
            "{}",
            rate.per_second
        );
    }

    #[tokio::test(start_paused = true)]
    async fn until_something_is_refused_it_doubles() {
        let mut rate = rate(1, MANY);
        assert_eq!(rate.per_second, LEAST);
        for _ in 0..6 {
            let sent = rate.per_second as usize;
            second(&mut rate, sent, 0).await;
        }
        assert!(rate.per_second >= 64.0 * LEAST, "{}", rate.per_second);
        let sent = rate.per_second as usize;
        second(&mut rate, sent - sent / 4, sent / 4).await;
        let before = rate.per_second;
        second(&mut rate, before as usize, 0).await;
        assert!(
            (1.0..1.1).contains(&(rate.per_second / before)),
            "{before} {}",
            rate.per_second
        );
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_in_a_line_that_is_no_more() {
        let mut rate = rate(1_000, 1_000);
        for _ in 0..600 {
            second(&mut rate, 950, 50).await;
        }
        let (_, turn) = rate.place(100.0, Instant::now());
        rate.set_free();
        rate.learn(counts(1_000, 1_000), Instant::now());
        assert!(is_limited(&rate));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(rate.wait(turn, Instant::now()), None);
        // What it leaves is not the new line's.
        let clock = rate.clock;
        rate.settle(turn, 50.0);
        assert_eq!(rate.clock, clock);
    }

    /// Two processes share a shard: the one that came late gets its part.
    #[tokio::test(start_paused = true)]
    async fn the_rates_of_processes_draw_nearer() {
        let (mut early, mut late) = (rate(1_000, 1_000), rate(20, 1_000));
        let limit = 1_000.0;
        for _ in 0..400 {
            let wanted = early.per_second + late.per_second;
            let share = (limit / wanted).min(1.0);
            for rate in [&mut early, &mut late] {
                let (sent, now) = (rate.per_second, Instant::now());
                rate.learn(counts(0, 0), now);
                let accepted = (sent * share).round() as usize;
                rate.learn(
                    counts(
                        accepted,
                        sent.round() as usize - accepted.min(sent.round() as usize),
                    ),
                    now + EPOCH,
                );
            }
            tokio::time::advance(EPOCH).await;
        }
        assert!(late.per_second > 0.6 * early.per_second, "{early:?} {late:?}");
        assert!(early.per_second + late.per_second < 1.08 * limit);
    }

    #[tokio::test(start_paused = true)]
    async fn places_come_one_after_the_other() {
        let mut rate = rate(1_000, 1_000);
        let start = Instant::now();
        let places: Vec<_> = (0..4).map(|_| rate.place(100.0, start)).collect();
        assert!(places.iter().all(|(weight, _)| *weight == 100.0));
        let turns: Vec<_> = places.into_iter().map(|(_, turn)| turn).collect();
        let at: Vec<_> = turns.iter().map(|turn| turn.at).collect();
        assert_eq!(at, [100.0, 200.0, 300.0, 400.0]);
        let mut waits = turns
            .iter()
            .map(|turn| rate.wait(*turn, start).unwrap().as_millis());
        assert!(waits.by_ref().take(2).eq([100, 200]));
        assert!(waits.eq([250, 250]), "to look again");
        tokio::time::advance(Duration::from_millis(205)).await;
        let now = Instant::now();
        assert!(rate.wait(turns[1], now).is_none() && rate.wait(turns[2], now).is_some());
        rate.per_second = 100_000.0;
        tokio::time::advance(Duration::from_millis(5)).await;
        assert!(
            rate.wait(turns[3], Instant::now()).is_none(),
            "a new rate counts for all"
        );
        // Half a second's worth is saved up, and no more.
        rate.per_second = 1_000.0;
        tokio::time::advance(Duration::from_secs(60)).await;
        let now = Instant::now();
        let free = (0..100).take_while(|_| {
            let (_, turn) = rate.place(100.0, now);
            rate.wait(turn, now).is_none()
        });
        assert_eq!(free.count(), 5);
    }
}
