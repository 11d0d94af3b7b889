//! The months of the partitions.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use model::Now;

/// Prefix of every partition's name.
const PREFIX: &str = "audit_events_";

/// One month in UTC, stored as its first day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Month(Date);

impl Month {
    /// The month of a moment; `None` outside the range of the calendar.
    pub(super) fn of(at: Now) -> Option<Self> {
        let moment = Timestamp::from_microsecond(at.micros()).ok()?;
        let first = Self(moment.to_zoned_datetime(TimeZone::UTC).date().first_of_month());
        first.end().map(|_| first)
    }

    /// The month of the partition with this name.
    pub(super) fn of_partition(name: &str) -> Option<Self> {
        let (year, month) = name.strip_prefix(PREFIX)?.split_once('_')?;
        Date::new(year.parse().ok()?, month.parse().ok()?, 1).ok().map(Self)
    }

    pub(super) fn partition(self) -> String {
        format!("{PREFIX}{:04}_{:02}", self.0.year(), self.0.month())
    }

    /// Its first microsecond since the Unix epoch.
    pub(super) fn start(self) -> Option<i64> {
        Some(self.0.to_zoned_datetime(TimeZone::UTC).ok()?.timestamp().as_microsecond())
    }

    /// The first microsecond after it, since the Unix epoch.
    pub(super) fn end(self) -> Option<i64> {
        Self(self.0.checked_add(1.month()).ok()?).start()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_begins_and_ends_at_its_calendar_bounds() {
        let moment: Timestamp = "2026-12-31T23:59:59.999999Z".parse().unwrap();
        let month = Month::of(Now::from_micros(moment.as_microsecond())).unwrap();
        assert_eq!(month.partition(), "audit_events_2026_12");
        assert_eq!(Month::of_partition("audit_events_2026_12"), Some(month));
        assert_eq!(month.end(), Some(moment.as_microsecond() + 1));
        let next = Month::of(Now::from_micros(moment.as_microsecond() + 1)).unwrap();
        assert_eq!((next.partition().as_str(), next.start()), ("audit_events_2027_01", month.end()));
        for name in ["audit_events", "audit_events_2026_13", "audit_events_old_1", "users"] {
            assert_eq!(Month::of_partition(name), None, "{name}");
        }
        assert_eq!(Month::of(Now::from_micros(i64::MAX)), None);
    }
}
