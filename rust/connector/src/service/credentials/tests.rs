//! Cached credentials under a clock that the tests set.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

type Give = dyn Fn(u64, SystemTime) -> Result + Send + Sync;

/// A provider scripted by the test; the script receives the number of the load, from 0.
struct Fake {
    loads: AtomicU64,
    clock: ServiceClock,
    give: Box<Give>,
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fake")
    }
}

#[derive(Clone, Debug)]
struct Shared(Arc<Fake>);

impl ProvideCredentials for Shared {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let load = self.0.loads.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(100)).await;
            (self.0.give)(load, self.0.clock.now())
        })
    }
}

struct World {
    clock: ServiceClock,
    fake: Arc<Fake>,
    kept: KeptCredentials,
}

impl World {
    fn of(give: impl Fn(u64, SystemTime) -> Result + Send + Sync + 'static) -> Self {
        let clock = ServiceClock::default();
        let fake = Arc::new(Fake {
            loads: AtomicU64::new(0),
            clock: clock.clone(),
            give: Box::new(give),
        });
        let kept = KeptCredentials::of(Shared(fake.clone()), clock.clone());
        Self { clock, fake, kept }
    }

    fn loads(&self) -> u64 {
        self.fake.loads.load(Ordering::Relaxed)
    }

    /// The key in use, or why there is none, after parallel renewals have ended.
    async fn key(&self) -> std::result::Result<String, LoadFailure> {
        let got = self.kept.provide_credentials().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        got.map(|credentials| credentials.access_key_id().to_owned())
            .map_err(|error| LoadFailure::in_error(&error).expect("a failure"))
    }

    /// Sets the clock to this many seconds after the start.
    fn at(&self, seconds: i64) {
        self.clock.set_ahead(seconds * 1_000);
    }
}

fn credentials(key: &str, end: Option<SystemTime>) -> Credentials {
    Credentials::new(key, "secret", None, end, "test")
}

fn session(load: u64, now: SystemTime, seconds: u64) -> Credentials {
    credentials(&format!("key-{load}"), Some(now + Duration::from_secs(seconds)))
}

fn unavailable() -> CredentialsError {
    CredentialsError::provider_error("503")
}

#[tokio::test(start_paused = true)]
async fn credentials_are_renewed_ahead_beside_the_requests() {
    let world = World::of(|load, now| Ok(session(load, now, 3_600)));
    assert_eq!(world.key().await.unwrap(), "key-0");
    world.at(3_290);
    assert_eq!((world.key().await.unwrap(), world.loads()), ("key-0".into(), 1));
    world.at(3_310);
    assert_eq!((world.key().await.unwrap(), world.loads()), ("key-0".into(), 2));
    assert_eq!(world.key().await.unwrap(), "key-1");
}

#[tokio::test(start_paused = true)]
async fn good_credentials_are_used_until_they_expire_while_renewals_fail() {
    let world = World::of(|load, now| match load {
        0 | 4.. => Ok(session(load, now, 900)),
        _ => Err(unavailable()),
    });
    assert_eq!(world.key().await.unwrap(), "key-0");
    for (seconds, loads) in [(610, 2), (611, 2), (625, 3), (898, 4)] {
        world.at(seconds);
        assert_eq!(
            (world.key().await.unwrap(), world.loads()),
            ("key-0".into(), loads),
            "{seconds}"
        );
    }
    world.at(901);
    assert_eq!(world.key().await.unwrap(), "key-4");
}

#[tokio::test(start_paused = true)]
async fn expired_credentials_are_not_used() {
    let world = World::of(|load, now| match load {
        0 => Ok(session(load, now, 900)),
        1 => Ok(session(load, now - Duration::from_secs(900), 900)),
        _ => Err(unavailable()),
    });
    assert_eq!(world.key().await.unwrap(), "key-0");
    world.at(901);
    for _ in 0..2 {
        assert!(world.key().await.unwrap_err().passes);
    }
    assert_eq!(world.loads(), 3);
}

#[tokio::test(start_paused = true)]
async fn refused_credentials_are_loaded_anew_once() {
    let world = World::of(|load, _| Ok(credentials(if load == 0 { "old" } else { "new" }, None)));
    assert_eq!(world.key().await.unwrap(), "old");
    world.kept.refused("other");
    assert_eq!(world.key().await.unwrap(), "old", "not they were refused");
    world.kept.refused("old");
    assert_eq!(world.key().await.unwrap(), "new");
    world.kept.refused("old");
    assert_eq!((world.key().await.unwrap(), world.loads()), ("new".into(), 2));
    for loads in [3, 3] {
        world.kept.refused("new");
        assert_eq!((world.key().await.unwrap(), world.loads()), ("new".into(), loads));
    }
    world.at(60);
    world.kept.refused("new");
    assert_eq!((world.key().await.unwrap(), world.loads()), ("new".into(), 4));
}

#[tokio::test(start_paused = true)]
async fn refused_credentials_stay_where_there_are_no_others() {
    let world = World::of(|load, _| match load {
        0 => Ok(credentials("old", None)),
        _ => Err(unavailable()),
    });
    assert_eq!(world.key().await.unwrap(), "old");
    for loads in [2, 2] {
        world.kept.refused("old");
        assert_eq!((world.key().await.unwrap(), world.loads()), ("old".into(), loads));
    }
}

#[tokio::test(start_paused = true)]
async fn files_are_read_again() {
    let world = World::of(|load, _| Ok(credentials(&format!("key-{load}"), None)));
    assert_eq!(world.key().await.unwrap(), "key-0");
    world.at(901);
    assert_eq!(world.key().await.unwrap(), "key-0");
    assert_eq!(world.key().await.unwrap(), "key-1");
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_a_load_share_its_failure() {
    let world = World::of(|_, _| Err(unavailable()));
    let all = (0..100).map(|_| world.key());
    let all = futures_util::future::join_all(all).await;
    assert!(
        all.iter()
            .all(|key| key.as_ref().is_err_and(|failure| failure.passes))
    );
    assert_eq!(world.loads(), 1);
    assert!(world.key().await.is_err());
    assert_eq!(world.loads(), 2, "whoever comes later tries again");
}

#[tokio::test(start_paused = true)]
async fn a_load_goes_on_when_its_request_is_given_up() {
    let world = World::of(|load, _| Ok(credentials(&format!("key-{load}"), None)));
    let given_up = tokio::time::timeout(Duration::from_millis(50), world.kept.provide_credentials()).await;
    assert!(given_up.is_err());
    assert_eq!((world.key().await.unwrap(), world.loads()), ("key-0".into(), 1));
}

#[tokio::test(start_paused = true)]
async fn a_load_that_never_ends_is_an_outage() {
    #[derive(Debug)]
    struct Never;
    impl ProvideCredentials for Never {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(std::future::pending())
        }
    }
    let kept = KeptCredentials::of(Never, ServiceClock::default());
    let error = kept.provide_credentials().await.unwrap_err();
    let failure = LoadFailure::in_error(&error).expect("a failure");
    assert!(
        failure.passes && failure.to_string().contains("28 seconds"),
        "{failure}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_or_wrong_does_not_pass() {
    for (error, nothing_found) in [
        (CredentialsError::not_loaded("nowhere"), true),
        (CredentialsError::invalid_configuration("a loop"), false),
    ] {
        let failure = LoadFailure::in_error(&error).expect("a failure");
        assert_eq!((failure.passes, failure.nothing_found), (false, nothing_found));
        let again: CredentialsError = failure.clone().into();
        let again = LoadFailure::in_error(&again).expect("a failure");
        assert_eq!(again.to_string(), failure.to_string());
    }
}

/// Sessions of fifteen minutes over six hours, with every third STS call failing.
#[tokio::test(start_paused = true)]
async fn a_role_outlives_an_sts_that_fails_one_time_in_three() {
    let dice = AtomicU64::new(7);
    let world = World::of(move |load, now| {
        let rolled = dice
            .load(Ordering::Relaxed)
            .wrapping_mul(6_364_136_223_846_793_005)
            + 1;
        dice.store(rolled, Ordering::Relaxed);
        match load > 0 && (rolled >> 33).is_multiple_of(3) {
            true => Err(unavailable()),
            false => Ok(session(load, now, 900)),
        }
    });
    for second in (0..6 * 3_600).step_by(15) {
        world.at(second);
        world
            .key()
            .await
            .unwrap_or_else(|failure| panic!("{failure} at {second}"));
    }
    assert!((36..=54).contains(&world.loads()), "{} loads", world.loads());
}
