use super::*;

fn counts(accepted: usize, refused: usize) -> Counts {
    Counts {
        accepted: accepted as f64,
        refused: refused as f64,
        entries: accepted + refused,
        refusals: refused,
    }
}

/// Rate after a first answer with these numbers of accepted and refused entries.
fn rate(accepted: usize, refused: usize) -> Rate {
    let mut rate = Rate::new(Instant::now());
    rate.learn(counts(accepted, refused), Instant::now());
    rate.epoch = None;
    rate
}

/// Advances by a second, in which the shard accepts and refuses these numbers of entries.
async fn second(rate: &mut Rate, accepted: usize, refused: usize) {
    rate.learn(counts(0, 0), Instant::now());
    tokio::time::advance(Duration::from_secs(1)).await;
    rate.learn(counts(accepted, refused), Instant::now());
}

/// As [`counts`], with entries of this weight.
fn heavy(weight: f64, accepted: usize, refused: usize) -> Counts {
    let counts = counts(accepted, refused);
    Counts {
        accepted: counts.accepted * weight,
        refused: counts.refused * weight,
        ..counts
    }
}

/// A shard that accepts some aggregates of 50 KiB a second, and refuses one in each second of which `refuses` says
/// so. Returns the rate after `seconds` seconds.
async fn aggregates(accepted: usize, seconds: usize, refuses: fn(usize) -> bool) -> Rate {
    let mut rate = Rate::new(Instant::now());
    rate.learn(heavy(49.0, accepted, MANY), Instant::now());
    tokio::time::advance(EPOCH).await;
    for number in 0..seconds {
        rate.learn(Counts::default(), Instant::now());
        tokio::time::advance(Duration::from_secs(1)).await;
        let refused = usize::from(refuses(number));
        rate.learn(heavy(49.0, accepted - refused, refused), Instant::now());
    }
    rate
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
    // Refusals don't lower the rate below what the shard accepts.
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
    // These are too few refusals to stop the rise, and too many to set the shard free.
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

/// Of 20 aggregates a second, two in six seconds are about the part that a settled rate brings to be refused.
#[tokio::test(start_paused = true)]
async fn seconds_without_a_refusal_are_no_sign_where_entries_are_few() {
    let rate = aggregates(20, 120, |second| second % 6 < 2).await;
    assert!(is_limited(&rate));
    assert!((800.0..1_100.0).contains(&rate.per_second), "{}", rate.per_second);
}

#[tokio::test(start_paused = true)]
async fn it_rises_fast_for_large_entries_too() {
    let rate = aggregates(5, 30, |second| second == 0).await;
    assert!(rate.per_second > 2.0 * 5.0 * 49.0 * 0.9, "{}", rate.per_second);
}

#[tokio::test(start_paused = true)]
async fn a_few_large_entries_refused_show_the_limit() {
    for (refused, limited) in [(4, false), (5, true)] {
        let mut rate = Rate::new(Instant::now());
        rate.learn(heavy(49.0, 20, refused), Instant::now());
        assert_eq!(is_limited(&rate), limited, "{refused}");
    }
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
    // Weight left unused in an earlier queue doesn't count in the new one.
    let clock = rate.clock;
    rate.settle(turn, 50.0);
    assert_eq!(rate.clock, clock);
}

/// Two processes share a shard, and the late one gets its share.
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
    // At most half a second's worth is saved up.
    rate.per_second = 1_000.0;
    tokio::time::advance(Duration::from_secs(60)).await;
    let now = Instant::now();
    let free = (0..100).take_while(|_| {
        let (_, turn) = rate.place(100.0, now);
        rate.wait(turn, now).is_none()
    });
    assert_eq!(free.count(), 5);
}
