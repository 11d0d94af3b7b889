//! Time, passed in: microseconds since the Unix epoch, UTC.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize, Serializer};

/// A point in time: the clock's value when a request, a job or a command began. Rules take it as a parameter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(transparent)]
pub struct Now(i64);

impl Now {
    /// The moment `micros` microseconds after the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// The moment `seconds` seconds after the Unix epoch, as JWT dates count (RFC 7519 §2).
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Parses a date and time (RFC 3339); UTC if there is no offset. Fractions below a microsecond are
    /// truncated.
    pub fn parse(text: &str) -> Option<Self> {
        let at = text.parse::<jiff::Timestamp>().ok().or_else(|| {
            let local = text.parse::<jiff::civil::DateTime>().ok()?;
            local.to_zoned_datetime(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
        });
        at.map(|at| Self(at.as_microsecond()))
    }

    /// The moment for an answer: RFC 3339, UTC, with exactly three digits of a second, because some clients
    /// read no other number of them. What is below a millisecond is left out.
    pub fn in_millis(self) -> String {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(at) => format!("{at:.3}"),
            Err(_) => format!("{}us", self.0),
        }
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This moment and `span`, saturating.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(micros(span)))
    }

    /// `span` before this moment, saturating.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(micros(span)))
    }

    /// The duration since `earlier`; zero if it is in the future.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// RFC 3339 with `Z`, whole seconds when there is no fraction.
impl fmt::Display for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(at) => at.fmt(f),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Now {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How far the database's clock may differ to be followed.
const FOLLOWED: i64 = 120_000_000;
/// A round trip that takes longer says too little about the time.
const PROMPT: i64 = 100_000;
/// The part of a difference that one reading corrects.
const SMOOTHING: i64 = 8;

/// The source of [`Now`]: the system's clock, or a test clock that the test advances. Clones share it.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System {
        /// Microseconds that the database's clock is ahead; `i64::MIN` before it is known.
        offset: Arc<AtomicI64>,
    },
    Test {
        wall: Arc<AtomicI64>,
        monotonic: Arc<AtomicI64>,
    },
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(Source::System { offset: Arc::new(AtomicI64::new(i64::MIN)) })
    }

    /// A clock that stands still at `start` until [`Clock::advance`] or [`Clock::jump_to`] moves it.
    pub fn test(start: Now) -> Self {
        Self(Source::Test { wall: Arc::new(AtomicI64::new(start.micros())), monotonic: Arc::default() })
    }

    /// The current time, by the database's clock once that is known.
    pub fn now(&self) -> Now {
        match &self.0 {
            Source::System { offset } => {
                let offset = Some(offset.load(Ordering::Relaxed)).filter(|offset| *offset != i64::MIN);
                Now(self.unadjusted().0.saturating_add(offset.unwrap_or(0)))
            }
            Source::Test { .. } => self.unadjusted(),
        }
    }

    /// The current time by the machine's own clock.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system's clock")]
    pub fn unadjusted(&self) -> Now {
        match &self.0 {
            Source::System { .. } => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
                Now::from_micros(micros(since))
            }
            Source::Test { wall, .. } => Now::from_micros(wall.load(Ordering::SeqCst)),
        }
    }

    /// Time that has passed since some moment before, and that no change of the wall clock moves.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system's monotonic clock")]
    pub fn monotonic(&self) -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        match &self.0 {
            Source::System { .. } => START.get_or_init(Instant::now).elapsed(),
            Source::Test { monotonic, .. } => {
                Duration::from_micros(monotonic.load(Ordering::SeqCst).unsigned_abs())
            }
        }
    }

    /// Follows the database's clock, which showed `database` between `asked` and `answered`, times of
    /// [`Clock::unadjusted`]: at once the first time, then by small steps. Returns false, and follows no
    /// further, when it differs by more than two minutes. A test clock follows none.
    pub fn follow(&self, database: Now, asked: Now, answered: Now) -> bool {
        let Source::System { offset } = &self.0 else { return true };
        let trip = answered.0.saturating_sub(asked.0);
        let ahead = database.0.saturating_sub(asked.0.saturating_add(trip / 2));
        if ahead.saturating_abs() > FOLLOWED {
            return false;
        }
        let known = offset.load(Ordering::Relaxed);
        if known == i64::MIN {
            offset.store(ahead, Ordering::Relaxed);
        } else if (0..PROMPT).contains(&trip) {
            offset.store(known.saturating_add((ahead - known) / SMOOTHING), Ordering::Relaxed);
        }
        true
    }

    /// Advances a test clock by `span`, and its monotonic time too; has no effect on the system's clock.
    pub fn advance(&self, span: Duration) {
        if let Source::Test { wall, monotonic } = &self.0 {
            wall.fetch_add(micros(span), Ordering::SeqCst);
            monotonic.fetch_add(micros(span), Ordering::SeqCst);
        }
    }

    /// Sets a test clock as a wrong correction of the time does: monotonic time does not move.
    pub fn jump_to(&self, at: Now) {
        if let Source::Test { wall, .. } = &self.0 {
            wall.store(at.micros(), Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_rfc_3339() {
        assert_eq!(Now::from_seconds(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Now::from_micros(1_700_000_000_250_000).to_string(), "2023-11-14T22:13:20.25Z");
    }

    #[test]
    fn a_displayed_time_is_read_back() {
        let at = Now::from_micros(1_700_000_000_123_456);
        assert_eq!(Now::parse(&at.to_string()), Some(at));
        assert_eq!(Now::parse("2023-11-14T23:13:20.123456789+01:00"), Some(at));
        assert_eq!(Now::parse("2023-11-14 22:13:20.123456"), Some(at));
        assert_eq!(Now::parse("2023-11-14"), Some(Now::from_seconds(1_699_920_000)));
        for text in ["", "yesterday", "2023-13-01T00:00:00Z", "1700000000", "99999-01-01T00:00:00Z"] {
            assert_eq!(Now::parse(text), None, "{text}");
        }
    }

    #[test]
    fn arithmetic_saturates() {
        let end = Now::from_micros(i64::MAX);
        assert_eq!(end.plus(Duration::from_secs(1)), end);
        assert_eq!(Now::from_seconds(5).since(Now::from_seconds(9)), Duration::ZERO);
    }

    #[test]
    fn a_test_clock_moves_only_when_told() {
        let clock = Clock::test(Now::from_seconds(10));
        assert_eq!(clock.now(), clock.now());
        clock.advance(Duration::from_secs(5));
        assert_eq!(clock.now(), Now::from_seconds(15));
        assert_eq!(clock.monotonic(), Duration::from_secs(5));
        clock.jump_to(Now::from_seconds(20));
        assert_eq!((clock.now(), clock.monotonic()), (Now::from_seconds(20), Duration::from_secs(5)));
    }

    #[test]
    fn the_system_clock_follows_the_databases_clock_within_two_minutes() {
        let clock = Clock::system();
        let (asked, span) = (clock.unadjusted(), Duration::from_millis);
        let answered = asked.plus(span(10));
        let ahead = |clock: &Clock| clock.now().since(clock.unadjusted());

        assert!(clock.follow(asked.plus(span(15_005)), asked, answered), "at once");
        assert!(ahead(&clock) >= span(14_900) && ahead(&clock) <= span(15_000));
        assert!(clock.follow(asked.plus(span(23_005)), asked, answered), "then by an eighth");
        assert!(ahead(&clock) >= span(15_900) && ahead(&clock) <= span(16_000));
        assert!(clock.follow(asked.plus(span(90_000)), asked, asked.plus(span(500))), "a slow answer");
        assert!(ahead(&clock) <= span(16_000));
        assert!(!clock.follow(asked.plus(span(130_000)), asked, answered), "too far");
        assert!(ahead(&clock) <= span(16_000));
        assert!(Clock::test(asked).follow(Now::from_seconds(0), asked, answered));
    }
}
