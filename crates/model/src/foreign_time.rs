//! Dates and times as other systems export them.

use serde_json::Value;

use crate::Now;

/// What a date of another system says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignTime {
    /// Nothing: an empty text, zero, or a date that stands for "never was".
    Never,
    /// This moment.
    At(Now),
    /// PostgreSQL's `infinity`: later than every moment.
    Forever,
}

impl ForeignTime {
    /// The moment, if there is one.
    pub fn moment(self) -> Option<Now> {
        match self {
            Self::At(at) => Some(at),
            Self::Never | Self::Forever => None,
        }
    }
}

/// Formats with an offset, beside RFC 3339, and formats without one, which are UTC (`jiff::fmt::strtime`).
const WITH_OFFSET: [&str; 8] = [
    "%Y-%m-%d %H:%M:%S%.f %z",
    "%Y-%m-%d %H:%M:%S%.f%z",
    "%Y-%m-%dT%H:%M:%S%.f%z",
    "%Y-%m-%d %H:%M:%S%.f %:z",
    "%a, %d %b %Y %H:%M:%S %z",
    "%a %b %d %Y %H:%M:%S GMT%z",
    "%a %b %d %H:%M:%S %z %Y",
    "%Y%m%d%H%M%S%z",
];
const WITHOUT_OFFSET: [&str; 5] = [
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y/%m/%d %H:%M:%S%.f",
    "%Y%m%d%H%M%S",
    "%a, %d %b %Y %H:%M:%S",
];
/// Words and dates that stand for "never was": the zero values of MySQL, Go, .NET and Windows.
const NEVER: [&str; 4] = ["0000-00-00", "0001-01-01", "1601-01-01", "-infinity"];

/// Reads a date of another system: RFC 3339 with variations, a count since 1970 in seconds, milliseconds,
/// microseconds or nanoseconds (by its size), `{"$date": …}`, or `{"seconds": …}`. `None` for anything else.
pub fn read(value: &Value) -> Option<ForeignTime> {
    match value {
        Value::Null => Some(ForeignTime::Never),
        Value::Number(number) => count(number.as_f64()?, number.as_i64()),
        Value::String(text) => parse(text),
        Value::Object(members) => {
            let member = |names: [&str; 3]| names.into_iter().find_map(|name| members.get(name));
            if let Some(seconds) = member(["seconds", "_seconds", "seconds"]) {
                return count(seconds.as_f64()?, seconds.as_i64());
            }
            read(member(["$date", "$numberLong", "$numberDouble"])?)
        }
        Value::Array(items) => match items.as_slice() {
            [one] if !one.is_array() => read(one),
            _ => None,
        },
        Value::Bool(_) => None,
    }
}

/// Reads a text; see [`read`].
pub fn parse(text: &str) -> Option<ForeignTime> {
    let text = text.trim();
    let day = text.get(..10).unwrap_or(text);
    if text.is_empty() || text == "0" || NEVER.contains(&day) || NEVER.contains(&text) {
        return Some(ForeignTime::Never);
    }
    if text == "infinity" {
        return Some(ForeignTime::Forever);
    }
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && !is_compact(text) {
        return count(text.parse().ok()?, text.parse().ok());
    }
    if let Some(millis) = text.strip_prefix("/Date(").and_then(|text| text.strip_suffix(")/")) {
        return count(millis.parse().ok()?, millis.parse().ok());
    }
    written(text).map(ForeignTime::At)
}

/// Whether digits are a date without separators, such as `20220101120000`.
fn is_compact(text: &str) -> bool {
    text.len() == 14 && (text.starts_with("19") || text.starts_with("20"))
}

/// A moment since 1970, in the unit that its size shows.
fn count(number: f64, whole: Option<i64>) -> Option<ForeignTime> {
    if number == 0.0 {
        return Some(ForeignTime::Never);
    }
    // Seconds reach the year 5138 below the first bound; milliseconds begin in 1973 above it.
    let per_second = match number {
        _ if !(0.0..1e20).contains(&number) => return None,
        _ if number < 1e11 => 1,
        _ if number < 1e14 => 1_000,
        _ if number < 1e17 => 1_000_000,
        _ => 1_000_000_000_i64,
    };
    let micros = match whole {
        Some(whole) if per_second <= 1_000_000 => whole.checked_mul(1_000_000 / per_second)?,
        Some(whole) => whole / (per_second / 1_000_000),
        None => {
            let scaled = number / f64_of(per_second) * 1e6;
            format!("{scaled:.0}").parse().ok()?
        }
    };
    Some(ForeignTime::At(Now::from_micros(micros)))
}

fn f64_of(per_second: i64) -> f64 {
    f64::from(u32::try_from(per_second).unwrap_or(u32::MAX))
}

/// A date and time that is written out.
fn written(text: &str) -> Option<Now> {
    // `2022-01-01 00:00:00 UTC`, `… +0000 UTC`, `… Z`, and the name in brackets of JavaScript.
    let text = text.split_once(" (").map_or(text, |(text, _)| text);
    let bare = ["UTC", "GMT", "Z"].into_iter().find_map(|zone| text.strip_suffix(zone)).map(str::trim_end);
    let bare = bare.unwrap_or(text);
    if let Some(at) = Now::parse(bare).or_else(|| Now::parse(text)) {
        return Some(at);
    }
    // PostgreSQL writes offsets of whole hours without minutes.
    let hours = bare.char_indices().rev().nth(2).filter(|(_, sign)| matches!(sign, '+' | '-'));
    let spelled = if hours.is_some() && bare.len() > 13 { format!("{bare}00") } else { bare.to_owned() };
    let offset = WITH_OFFSET.iter().find_map(|format| jiff::Timestamp::strptime(format, &spelled).ok());
    let at = offset.or_else(|| {
        let local =
            WITHOUT_OFFSET.iter().find_map(|format| jiff::civil::DateTime::strptime(format, bare).ok());
        let day = || jiff::civil::Date::strptime("%Y-%m-%d", bare).ok().map(|day| day.at(0, 0, 0, 0));
        local.or_else(day)?.to_zoned_datetime(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    });
    at.map(|at| Now::from_micros(at.as_microsecond()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dates_of_other_systems_are_read() {
        let noon = "2022-01-02T10:00:00Z";
        for value in [
            json!("2022-01-02T10:00:00Z"),
            json!(" 2022-01-02T10:00:00 "),
            json!("2022-01-02 10:00:00 UTC"),
            json!("2022-01-02 10:00:00+00"),
            json!("2022-01-02 12:00:00+02"),
            json!("2022-01-02 12:00:00.000000+02"),
            json!("2022-01-02 12:00:00 +02:00"),
            json!("2022-01-02T12:00:00+0200"),
            json!("2022-01-02 10:00:00 +0000 UTC"),
            json!("2022-01-02 10:00:00.000Z"),
            json!("2022-01-02 10:00:00"),
            json!("2022/01/02 10:00:00"),
            json!("2022-01-02T10:00:00.0000000+00:00"),
            json!("Sun, 02 Jan 2022 10:00:00 GMT"),
            json!("Sun, 02 Jan 2022 12:00:00 +0200"),
            json!("Sun Jan 02 2022 11:00:00 GMT+0100 (Central European Standard Time)"),
            json!("20220102100000"),
            json!("20220102100000Z"),
            json!("/Date(1641117600000)/"),
            json!(1_641_117_600),
            json!(1_641_117_600.0),
            json!("1641117600"),
            json!(1_641_117_600_000_i64),
            json!("1641117600000"),
            json!("1641117600000000"),
            json!("1641117600000000000"),
            json!({"$date": "2022-01-02T10:00:00Z"}),
            json!({"$date": 1_641_117_600_000_i64}),
            json!({"$date": {"$numberLong": "1641117600000"}}),
            json!({"_seconds": 1_641_117_600, "_nanoseconds": 0}),
            json!(["2022-01-02T10:00:00Z"]),
        ] {
            let found = read(&value).and_then(ForeignTime::moment).map(|at| at.to_string());
            assert_eq!(found.as_deref(), Some(noon), "{value}");
        }

        let day = read(&json!("2022-01-02")).and_then(ForeignTime::moment);
        assert_eq!(day.map(|at| at.to_string()).as_deref(), Some("2022-01-02T00:00:00Z"));
    }

    #[test]
    fn dates_that_never_were_are_none_and_nonsense_is_refused() {
        for value in [
            json!(null),
            json!(""),
            json!("0"),
            json!(0),
            json!("0000-00-00 00:00:00"),
            json!("0000-00-00"),
            json!("0001-01-01T00:00:00Z"),
            json!("-infinity"),
        ] {
            assert_eq!(read(&value), Some(ForeignTime::Never), "{value}");
        }

        assert_eq!(read(&json!("infinity")), Some(ForeignTime::Forever));
        for value in [
            json!("yesterday"),
            json!("01/02/2022"),
            json!(true),
            json!("2022-13-01 00:00:00"),
            json!("NULL"),
            json!(-5),
            json!({"at": 5}),
            json!(["2022-01-02", "2022-01-03"]),
        ] {
            assert_eq!(read(&value), None, "{value}");
        }
    }
}
