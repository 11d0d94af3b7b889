//! Times on the command line.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use model::Now;

/// Parses a day, which means its beginning in UTC, or a time with its offset (RFC 3339).
pub(super) fn parse(text: &str) -> Result<Now, String> {
    let day = || Some(text.parse::<Date>().ok()?.to_zoned_datetime(TimeZone::UTC).ok()?.timestamp());
    let moment = if text.contains(['T', 't', ' ']) { text.parse::<Timestamp>().ok() } else { day() };
    let moment = moment.ok_or("neither a day such as 2026-01-31 nor a time such as 2026-01-31T12:00:00Z")?;
    Ok(Now::from_micros(moment.as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_in_utc_and_a_time_says_its_offset() {
        assert_eq!(parse("1970-01-02").unwrap(), Now::from_seconds(86_400));
        assert_eq!(parse("1970-01-01T01:00:00.5+01:00").unwrap(), Now::from_micros(500_000));
        for bad in ["", "yesterday", "2026-13-01", "2026-01-01T00:00:00", "20260101T00"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
