//! Who asks too much: attempts at passwords and secrets are slowed down by source and by user, requests by source.
//!
//! Whether an attempt is right is for others to say, and connections are counted in `seats`. What somebody has shown to be
//! right before is asked for without an attempt, so a stranger at the same address keeps nobody out who is in.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{sync::Semaphore, time::Instant};

/// How much a kit takes from those who ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How many connections there are at most; of those that wait for a request the oldest makes room for a new one.
    pub connections: usize,
    /// How many of them from one source: an address, or the 64 bits of one that a network gives away.
    pub per_source: usize,
    /// How long a request's body may take, once its head is there.
    pub body: Duration,
    /// After how many attempts in a row that failed a source, or a user, has to wait; 0 for never.
    pub attempts: u32,
    /// How many requests a second a source has answered at once; those above wait for their turn. 0 for any number.
    pub requests: u32,
}

impl Default for Limits {
    /// For those who are trusted: nobody is kept waiting.
    fn default() -> Self {
        let any = usize::MAX;
        Self { connections: any, per_source: any, body: Duration::from_secs(60), attempts: 0, requests: 0 }
    }
}

impl Limits {
    /// For a server that others can reach.
    pub fn strict() -> Self {
        Self { connections: 500, per_source: 250, body: Duration::from_secs(30), attempts: 5, requests: 0 }
    }
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Source(IpAddr);

impl Source {
    /// What counts as one: of IPv6 addresses, everybody has as many as he likes.
    pub(super) fn of(address: IpAddr) -> Self {
        const NETWORK: u128 = u128::MAX << 64;
        Self(match address.to_canonical() {
            IpAddr::V6(wide) => IpAddr::V6(Ipv6Addr::from_bits(wide.to_bits() & NETWORK)),
            narrow => narrow,
        })
    }
}

/// How long it is counted at the most that somebody failed.
const FORGOTTEN: i64 = 15 * 60;

/// The longest that a source waits, in seconds.
const SOURCE_WAITS: i64 = 600;

/// The same of a user: short, since anybody can make a user wait who knows its name.
const USER_WAITS: i64 = 30;

/// How many sources and users are known at once; who asks for more has others forgotten.
const KNOWN: usize = 10_000;

/// How much of a user's name is kept.
const NAME: usize = 128;

/// How many attempts are looked at side by side: each takes memory and time.
const SIDE_BY_SIDE: usize = 2;

#[derive(Debug, Clone, Copy, Default)]
struct Tried {
    failures: u32,
    last: i64,
    until: i64,
}

impl Tried {
    /// One more that failed; above so many it waits, each time twice as long.
    fn fail(&mut self, now: i64, free: u32, longest: i64) {
        if now - self.last > FORGOTTEN {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.last = now;
        if let Some(above) = self.failures.checked_sub(free) {
            self.until = now + (1_i64 << above.min(20)).min(longest);
        }
    }
}

#[derive(Default)]
struct Book {
    sources: HashMap<Source, Tried>,
    users: HashMap<String, Tried>,
    /// From where users came in: there they wait for nobody who only knows their name.
    homes: HashSet<(String, Source)>,
}

/// Holds back who asks too much.
pub(super) struct Guard {
    limits: Limits,
    book: Mutex<Book>,
    turns: Semaphore,
    paces: Mutex<HashMap<Source, Pace>>,
}

/// How many requests a source has left of this moment, and when that was counted.
#[derive(Clone, Copy)]
struct Pace {
    left: f64,
    counted: Instant,
}

impl Guard {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, book: Mutex::default(), turns: Semaphore::new(SIDE_BY_SIDE), paces: Mutex::default() }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Looks at an attempt to be `user`, unless somebody has to wait; then it is as good as failed. `is_in` says of one that
    /// did not fail whether nothing more is asked for: only then what failed before is forgotten.
    pub(super) async fn attempt<T>(
        &self,
        source: Option<Source>,
        user: &str,
        now: impl Fn() -> Timestamp,
        check: impl Future<Output = Option<T>>,
        is_in: impl FnOnce(&T) -> bool,
    ) -> Option<T> {
        let Some(source) = source.filter(|_| self.limits.attempts > 0) else { return check.await };
        // A name may be as long as a head, and none that is anybody's is.
        let user = &user.chars().take(NAME).collect::<String>();
        // An error is a semaphore that was closed, which nobody does.
        let _turn = self.turns.acquire().await.ok()?;
        if self.waits(source, user, now().as_second()) {
            tracing::warn!(source = %source.0, user, "refused without a look: too many attempts have failed");
            return None;
        }
        let found = check.await;
        let mut book = self.book();
        match &found {
            Some(found) if !is_in(found) => {}
            Some(_) => {
                book.sources.remove(&source);
                book.users.remove(user.as_str());
                make_room(&mut book.homes, HashSet::len, HashSet::clear);
                book.homes.insert((user.to_owned(), source));
            }
            None => {
                let now = now().as_second();
                make_room(&mut book.sources, HashMap::len, |all| all.retain(|_, tried| tried.until > now));
                make_room(&mut book.users, HashMap::len, |all| all.retain(|_, tried| tried.until > now));
                book.sources.entry(source).or_default().fail(now, self.limits.attempts, SOURCE_WAITS);
                book.users.entry(user.to_owned()).or_default().fail(now, self.limits.attempts, USER_WAITS);
            }
        }
        found
    }

    fn waits(&self, source: Source, user: &str, now: i64) -> bool {
        let book = self.book();
        let waits = |tried: Option<&Tried>| tried.is_some_and(|tried| tried.until > now);
        let is_home = || book.homes.contains(&(user.to_owned(), source));
        waits(book.sources.get(&source)) || waits(book.users.get(user)) && !is_home()
    }

    /// Counts a request, and says how long it has to wait for its turn.
    pub(super) fn turn(&self, source: Option<Source>, now: Instant) -> Duration {
        let Some(source) = source.filter(|_| self.limits.requests > 0) else { return Duration::ZERO };
        let most = f64::from(self.limits.requests);
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        let refilled = |pace: &Pace| (pace.left + (now - pace.counted).as_secs_f64() * most).min(most);
        make_room(&mut *paces, HashMap::len, |all| all.retain(|_, pace| refilled(pace) < most));
        let pace = paces.entry(source).or_insert(Pace { left: most, counted: now });
        (pace.left, pace.counted) = (refilled(pace) - 1.0, now);
        Duration::from_secs_f64((-pace.left / most).max(0.0))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets what can be forgotten where too much is known, and everything where that is not enough.
fn make_room<C: Default>(all: &mut C, len: impl Fn(&C) -> usize, forget: impl FnOnce(&mut C)) {
    if len(all) >= KNOWN {
        forget(all);
        if len(all) >= KNOWN {
            *all = C::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Option<Source> {
        Some(Source::of(text.parse().unwrap()))
    }

    /// Whether somebody gets in at a second.
    async fn gets_in(guard: &Guard, from: &str, user: &str, second: i64, is_right: bool) -> bool {
        let now = || Timestamp::from_second(second).unwrap();
        let check = async { is_right.then_some(()) };
        guard.attempt(source(from), user, now, check, |()| true).await.is_some()
    }

    #[tokio::test]
    async fn who_fails_often_waits_longer_each_time() {
        let guard = Guard::new(Limits { attempts: 3, ..Limits::strict() });
        for second in 100..103 {
            assert!(!gets_in(&guard, "192.0.2.1", "a@pve", second, false).await);
        }
        // Right now, and one second too early; others come in.
        assert!(!gets_in(&guard, "192.0.2.1", "b@pve", 102, true).await);
        assert!(gets_in(&guard, "192.0.2.2", "b@pve", 102, true).await);
        assert!(gets_in(&guard, "192.0.2.1", "b@pve", 103, true).await);
        for (second, is_right) in [(110, false), (111, false), (112, false), (113, false), (116, true)] {
            assert_eq!(gets_in(&guard, "192.0.2.1", "a@pve", second, is_right).await, is_right, "{second}");
        }
    }

    #[tokio::test]
    async fn a_user_is_kept_out_nowhere_where_it_was_let_in() {
        let guard = Guard::new(Limits { attempts: 2, ..Limits::strict() });
        assert!(gets_in(&guard, "192.0.2.1", "a@pve", 100, true).await);
        for strange in ["192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"] {
            assert!(!gets_in(&guard, strange, "a@pve", 101, false).await);
        }
        assert!(!gets_in(&guard, "192.0.2.6", "a@pve", 101, true).await);
        assert!(gets_in(&guard, "192.0.2.1", "a@pve", 101, true).await);
    }

    #[tokio::test]
    async fn nobody_waits_for_ever_and_not_all_are_remembered() {
        let guard = Guard::new(Limits { attempts: 1, ..Limits::strict() });
        for _ in 0..100 {
            guard.book().sources.entry(source("192.0.2.1").unwrap()).or_default().fail(100, 1, SOURCE_WAITS);
        }
        assert!(!gets_in(&guard, "192.0.2.1", "a@pve", 100 + SOURCE_WAITS - 1, true).await);
        assert!(gets_in(&guard, "192.0.2.1", "a@pve", 100 + SOURCE_WAITS, true).await);
        for number in 0..(KNOWN as u32 + 10) {
            let from = std::net::Ipv4Addr::from_bits(number).to_string();
            assert!(!gets_in(&guard, &from, &from, 100, false).await);
        }
        assert!(guard.book().sources.len() <= KNOWN && guard.book().users.len() <= KNOWN);
    }

    #[test]
    fn a_source_is_a_network_of_ipv6() {
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.2"), source("192.0.2.1"));
    }

    #[tokio::test(start_paused = true)]
    async fn requests_above_the_rate_wait_for_their_turn() {
        let guard = Guard::new(Limits { requests: 10, ..Limits::strict() });
        let now = Instant::now();
        let turns: Vec<_> = (0..12).map(|_| guard.turn(source("192.0.2.1"), now).as_millis()).collect();
        assert_eq!(turns[..10], [0; 10]);
        assert_eq!(turns[10..], [100, 200]);
        assert_eq!(guard.turn(source("192.0.2.2"), now), Duration::ZERO);
        assert_eq!(guard.turn(source("192.0.2.1"), now + Duration::from_secs(2)), Duration::ZERO);
        assert_eq!(Guard::new(Limits::strict()).turn(source("192.0.2.1"), now), Duration::ZERO);
    }
}
