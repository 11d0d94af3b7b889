//! Converts between the text of a setting and its value.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use auth::limits::Rule;
use ipnet::IpNet;
use model::Secret;
use serde_json::Value as Json;

/// The value of a setting as its source gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RawValue {
    /// One value, as text: an environment variable, a flag, or a TOML string, number, boolean or date.
    Text(String),
    /// A TOML array of values.
    List(Vec<String>),
    /// A TOML table of values and lists.
    Table(BTreeMap<String, Vec<String>>),
    /// A TOML value that no setting accepts.
    Other(&'static str),
}

/// A type of settings.
pub(crate) trait Value: Sized {
    /// What the setting accepts, in words with the unit.
    const EXPECTED: &'static str;
    /// Whether the text is hidden in messages and printouts.
    const SECRET: bool = false;

    /// Reads a value. The error says what is wrong, and never repeats a secret.
    fn read(given: &RawValue) -> Result<Self, String> {
        match given {
            RawValue::Text(text) => Self::parse(text),
            RawValue::List(_) => Err("one value is expected, not a list".to_owned()),
            RawValue::Table(_) => Err("one value is expected, not a table".to_owned()),
            RawValue::Other(what) => Err(format!("{what} is not accepted here")),
        }
    }

    /// Parses a value.
    fn parse(text: &str) -> Result<Self, String>;

    /// The text that [`Value::parse`] reads as this value, secrets included.
    fn text(&self) -> String;

    /// The text for people: secrets are hidden.
    fn shown(&self) -> String {
        self.text()
    }

    /// The value in TOML, secrets hidden.
    fn toml(&self) -> String {
        quoted(&self.shown())
    }

    /// The value for programs, secrets hidden.
    fn json(&self) -> Json {
        Json::String(self.shown())
    }

    /// What a number with a unit is in the unit that programs count in: `seconds` or `bytes`.
    fn measure(&self) -> Option<(&'static str, Json)> {
        None
    }
}

/// `text` as a TOML basic string.
pub(crate) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

impl Value for String {
    const EXPECTED: &'static str = "text";

    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn text(&self) -> String {
        self.clone()
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("the path is empty".to_owned()) } else { Ok(Self::from(text)) }
    }

    fn text(&self) -> String {
        self.display().to_string()
    }
}

impl Value for bool {
    const EXPECTED: &'static str = "`true` or `false` (`on` and `off` are accepted too)";

    fn parse(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "on" | "yes" | "1" => Ok(true),
            "false" | "off" | "no" | "0" => Ok(false),
            _ => Err("neither true nor false".to_owned()),
        }
    }

    fn text(&self) -> String {
        self.to_string()
    }

    fn toml(&self) -> String {
        self.to_string()
    }

    fn json(&self) -> Json {
        Json::Bool(*self)
    }
}

impl Value for u32 {
    const EXPECTED: &'static str = "a whole number";

    fn parse(text: &str) -> Result<Self, String> {
        text.trim()
            .replace('_', "")
            .parse()
            .map_err(|_| format!("not a whole number from 0 to {}", Self::MAX))
    }

    fn text(&self) -> String {
        self.to_string()
    }

    fn toml(&self) -> String {
        self.to_string()
    }

    fn json(&self) -> Json {
        Json::from(*self)
    }
}

impl Value for usize {
    const EXPECTED: &'static str = u32::EXPECTED;

    fn parse(text: &str) -> Result<Self, String> {
        u32::parse(text).map(|number| number as Self)
    }

    fn text(&self) -> String {
        self.to_string()
    }

    fn toml(&self) -> String {
        self.to_string()
    }

    fn json(&self) -> Json {
        Json::from(*self)
    }
}

impl Value for SocketAddr {
    const EXPECTED: &'static str = "an IP address and a port, such as `0.0.0.0:8080` or `[::]:8080`";

    fn parse(text: &str) -> Result<Self, String> {
        let hint = |_| match text.strip_prefix(':').map(str::parse::<u16>) {
            Some(Ok(port)) => format!("the address is missing: write `0.0.0.0:{port}` for every interface"),
            _ if text.starts_with("localhost:") => {
                "a host name is not accepted: write `127.0.0.1`".to_owned()
            }
            _ => "not an IP address and a port".to_owned(),
        };
        text.trim().parse().map_err(hint)
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Value for IpNet {
    const EXPECTED: &'static str = "a network such as `10.0.0.0/8`, or an address";

    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let network = match text.parse::<std::net::IpAddr>() {
            // A socket that accepts both shows an IPv4 address as IPv6; connections are compared as IPv4.
            Ok(address) => Self::from(address.to_canonical()),
            Err(_) => text.parse::<Self>().map_err(|_| format!("`{text}` is not a network or an address"))?,
        };
        Ok(network.trunc())
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Value for jiff::civil::Date {
    const EXPECTED: &'static str = "a date such as `2027-06-30`";

    fn parse(text: &str) -> Result<Self, String> {
        text.trim().parse().map_err(|_| "not a date".to_owned())
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

/// Units of duration, longest first. `text` uses the first that divides evenly.
const SPANS: [(&str, u128); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// `text` cut where its number ends: the number and the unit.
fn number_and_unit(text: &str) -> Result<(u64, &str), String> {
    let text = text.trim();
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let number =
        number.replace('_', "").parse().map_err(|_| "it does not begin with a whole number".to_owned())?;
    Ok((number, unit.trim()))
}

impl Value for Duration {
    const EXPECTED: &'static str = "a duration with its unit: `250ms`, `10s`, `30m`, `12h` or `90d`";

    fn parse(text: &str) -> Result<Self, String> {
        let (number, unit) = number_and_unit(text)?;
        let Some((_, millis)) = SPANS.iter().find(|(name, _)| *name == unit) else {
            return Err(match unit {
                "" => format!("the unit is missing: `{number}s`?"),
                other => format!("`{other}` is not a unit of time"),
            });
        };
        let millis = u64::try_from(*millis).unwrap_or(u64::MAX).checked_mul(number);
        millis.map(Self::from_millis).ok_or_else(|| "too long".to_owned())
    }

    fn text(&self) -> String {
        let millis = self.as_millis();
        match SPANS.iter().find(|(_, unit)| millis >= *unit && millis.is_multiple_of(*unit)) {
            Some((name, unit)) => format!("{}{name}", millis / unit),
            None => "0s".to_owned(),
        }
    }

    fn measure(&self) -> Option<(&'static str, Json)> {
        let whole = self.subsec_nanos() == 0;
        let seconds = if whole { Json::from(self.as_secs()) } else { Json::from(self.as_secs_f64()) };
        Some(("seconds", seconds))
    }
}

/// Lengths of time that a rate names by a word.
const PERIODS: [(&str, Duration); 4] = [
    ("second", Duration::from_secs(1)),
    ("minute", Duration::from_mins(1)),
    ("hour", Duration::from_hours(1)),
    ("day", Duration::from_hours(24)),
];

impl Value for Option<Rule> {
    const EXPECTED: &'static str =
        "a number in a time, such as `5/minute`, `100/hour` or `10/15m`; or `off` for no limit";

    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("off") {
            return Ok(None);
        }
        let (most, window) = text.split_once('/').ok_or("it is neither a rate nor `off`: `5/minute`?")?;
        let most = u32::parse(most)?;
        if most == 0 {
            return Err("a limit of 0 refuses every request".to_owned());
        }
        let window = match PERIODS.iter().find(|(name, _)| *name == window.trim()) {
            Some((_, window)) => *window,
            None => Duration::parse(window)?,
        };
        if window < Duration::from_millis(100) || window > auth::limits::LONGEST {
            return Err("the time is not from 100ms to 20d".to_owned());
        }
        Ok(Some(Rule { most, window }))
    }

    fn text(&self) -> String {
        let Some(Rule { most, window }) = self else { return "off".to_owned() };
        match PERIODS.iter().find(|(_, period)| period == window) {
            Some((name, _)) => format!("{most}/{name}"),
            None => format!("{most}/{}", window.text()),
        }
    }
}

/// A size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

const SIZES: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
    ("B", 1),
];

impl Value for ByteSize {
    const EXPECTED: &'static str = "a size with its unit: `512B`, `64KiB`, `19MiB` or `1GiB`";

    fn parse(text: &str) -> Result<Self, String> {
        let (number, unit) = number_and_unit(text)?;
        let Some((_, bytes)) = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) else {
            return Err(match unit {
                "" => format!("the unit is missing: `{number}KiB`?"),
                other => format!("`{other}` is not a unit of size"),
            });
        };
        number.checked_mul(*bytes).map(Self).ok_or_else(|| "too large".to_owned())
    }

    fn text(&self) -> String {
        let binary = SIZES.iter().filter(|(name, _)| name.ends_with("iB"));
        match binary.clone().find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit)) {
            Some((name, unit)) => format!("{}{name}", self.0 / unit),
            None => format!("{}B", self.0),
        }
    }

    fn measure(&self) -> Option<(&'static str, Json)> {
        Some(("bytes", Json::from(self.0)))
    }
}

impl<T: Value> Value for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    const SECRET: bool = T::SECRET;

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(None) } else { T::parse(text).map(Some) }
    }

    fn text(&self) -> String {
        self.as_ref().map_or_else(String::new, Value::text)
    }

    fn shown(&self) -> String {
        self.as_ref().map_or_else(String::new, Value::shown)
    }

    fn toml(&self) -> String {
        self.as_ref().map_or_else(|| "\"\"".to_owned(), Value::toml)
    }

    fn json(&self) -> Json {
        self.as_ref().map_or(Json::Null, Value::json)
    }

    fn measure(&self) -> Option<(&'static str, Json)> {
        self.as_ref().and_then(Value::measure)
    }
}

impl<T: Value> Value for Vec<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn read(given: &RawValue) -> Result<Self, String> {
        match given {
            RawValue::Text(text) => Self::parse(text),
            RawValue::List(items) => items.iter().map(|item| T::parse(item)).collect(),
            RawValue::Table(_) => Err("a list is expected, not a table".to_owned()),
            RawValue::Other(what) => Err(format!("{what} is not accepted here")),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(T::parse).collect()
    }

    fn text(&self) -> String {
        self.iter().map(Value::text).collect::<Vec<_>>().join(",")
    }

    fn toml(&self) -> String {
        format!("[{}]", self.iter().map(Value::toml).collect::<Vec<_>>().join(", "))
    }

    fn json(&self) -> Json {
        self.iter().map(Value::json).collect()
    }
}

/// The scopes that users of each role can be granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleScopes(pub BTreeMap<String, Vec<String>>);

impl RoleScopes {
    fn checked(table: BTreeMap<String, Vec<String>>) -> Result<Self, String> {
        for (role, scopes) in &table {
            if role.is_empty() || !role.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b)) {
                return Err(format!("`{role}` is not the name of a role"));
            }
            // RFC 6749 §3.3: visible ASCII without `"` and `\`
            let is_token = |s: &&String| {
                !s.is_empty() && s.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\".contains(&b))
            };
            if let Some(bad) = scopes.iter().find(|s| !is_token(s)) {
                return Err(format!("`{bad}` is not a scope"));
            }
        }
        Ok(Self(table))
    }
}

impl Value for RoleScopes {
    const EXPECTED: &'static str =
        "a table of roles with lists of scopes; as text `admin=users:read users:write,basic_user=profile`";

    fn read(given: &RawValue) -> Result<Self, String> {
        match given {
            RawValue::Text(text) => Self::parse(text),
            RawValue::List(_) => Err("a table is expected, not a list".to_owned()),
            RawValue::Table(table) => Self::checked(table.clone()),
            RawValue::Other(what) => Err(format!("{what} is not accepted here")),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut table = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let Some((role, scopes)) = part.split_once('=') else {
                return Err(format!("`{part}` has no `=` between role and scopes"));
            };
            table.insert(role.trim().to_owned(), scopes.split_whitespace().map(str::to_owned).collect());
        }
        Self::checked(table)
    }

    fn text(&self) -> String {
        self.0
            .iter()
            .map(|(role, scopes)| format!("{role}={}", scopes.join(" ")))
            .collect::<Vec<_>>()
            .join(",")
    }

    fn toml(&self) -> String {
        let rows = self.0.iter().map(|(role, scopes)| format!("{} = {}", quoted(role), scopes.toml()));
        let rows = rows.collect::<Vec<_>>().join(", ");
        if rows.is_empty() { "{}".to_owned() } else { format!("{{ {rows} }}") }
    }

    fn json(&self) -> Json {
        self.0.iter().map(|(role, scopes)| (role.clone(), scopes.json())).collect()
    }
}

/// Defines an enum of a setting: what it accepts, and the word of each variant.
macro_rules! words {
    (
        $(#[$meta:meta])*
        pub enum $name:ident, $expected:literal { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// The word in the configuration.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl $crate::config::value::Value for $name {
            const EXPECTED: &'static str = $expected;

            fn parse(text: &str) -> Result<Self, String> {
                $(if text.trim().eq_ignore_ascii_case($word) { return Ok(Self::$variant); })+
                Err("not one of the allowed words".to_owned())
            }

            fn text(&self) -> String {
                self.as_str().to_owned()
            }
        }
    };
}
pub(crate) use words;

/// A secret of a setting, and the text that may be shown for it.
#[derive(Clone, Debug)]
pub(crate) struct Veiled {
    pub(crate) whole: Secret<String>,
    pub(crate) shown: String,
}

#[cfg(test)]
mod tests;
