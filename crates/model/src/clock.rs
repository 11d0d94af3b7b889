//! Time, passed in: microseconds since the Unix epoch, UTC.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

/// The source of [`Now`]: the system's clock, or a test clock that the test advances.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Test(Arc<AtomicI64>),
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still at `start` until [`Clock::advance`] moves it.
    pub fn test(start: Now) -> Self {
        Self(Source::Test(Arc::new(AtomicI64::new(start.micros()))))
    }

    /// The current time.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system's clock")]
    pub fn now(&self) -> Now {
        match &self.0 {
            Source::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
                Now::from_micros(micros(since))
            }
            Source::Test(at) => Now::from_micros(at.load(Ordering::SeqCst)),
        }
    }

    /// Advances a test clock by `span`; has no effect on the system's clock.
    pub fn advance(&self, span: Duration) {
        if let Source::Test(at) = &self.0 {
            at.fetch_add(micros(span), Ordering::SeqCst);
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
    }
}
