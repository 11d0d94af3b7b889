//! Parses and validates one row.

use model::foreign_time::{self, ForeignTime};
use model::profile::{FieldError, Profile};
use model::{Email, Now, UserId, UserUuid, Username};
use protocol::wire::password_hash::{Rules, StoredHash};
use protocol::wire::strict_json;
use serde_json::{Map, Value};
use store::queries::transfer::{Identity, Imported};
use store::queries::user::State;
use uuid::Uuid;

use super::super::register::parse_profile;
use super::super::{ADMIN, BASIC_USER, ROLES};
use super::hash;
use super::options::ImportOptions;
use super::second_factors::{SecondFactor, second_factors};
use crate::OpContext;

/// Attributes that may be members of the row itself, as in a table with a column for each.
const ATTRIBUTES: [&str; 3] = ["country", "annual_income", "timezone"];
/// Longest identifier of another system, in characters.
const EXTERNAL_ID_CHARS: usize = 255;
/// Longest text of a cell that a report repeats, in characters.
const SHOWN_CHARS: usize = 320;

/// A validated row.
pub(super) struct Ready {
    /// The user to insert.
    pub(super) user: Imported,
    /// Whether the row has a `uuid`.
    named: bool,
    /// The hash to store.
    pub(super) hash: Option<StoredHash>,
    /// The second factors to keep.
    pub(super) second_factors: Vec<SecondFactor>,
    /// What was left out.
    pub(super) warnings: Vec<String>,
    /// Names of ignored members.
    pub(super) ignored: Vec<String>,
}

impl Ready {
    pub(super) fn identity(&self) -> Identity<'_> {
        Identity {
            id: self.user.id,
            uuid: Some(self.user.uuid).filter(|_| self.named),
            email: self.user.email.as_ref(),
            username: self.user.username.as_ref(),
            external_id: self.user.external_id.as_deref(),
        }
    }
}

/// By what a report names a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// The email, as the row has it.
    pub email: Option<String>,
    /// The username, as the row has it.
    pub username: Option<String>,
    /// The identifier in the system that the row comes from.
    pub old_id: Option<String>,
}

impl Label {
    pub(super) fn of(row: &Map<String, Value>) -> Self {
        let text = |name: &str| {
            let text = match row.get(name)? {
                Value::String(text) => text.trim().to_owned(),
                value @ (Value::Number(_) | Value::Bool(_)) => value.to_string(),
                Value::Null | Value::Array(_) | Value::Object(_) => return None,
            };
            Some(text.chars().take(SHOWN_CHARS).collect::<String>()).filter(|text| !text.is_empty())
        };
        let old_id = ["external_id", "id", "uuid"].into_iter().find_map(text);
        Self { email: text("email"), username: text("username"), old_id }
    }
}

/// The members of a row that are not parsed yet; collects errors.
struct Members<'a> {
    left: Map<String, Value>,
    options: &'a ImportOptions,
    errors: Vec<String>,
    warnings: Vec<String>,
}

/// Validates a row.
///
/// # Errors
/// All errors, in one sentence.
pub(super) fn read(
    ctx: &OpContext<'_>,
    mut row: Map<String, Value>,
    options: &ImportOptions,
) -> Result<Ready, String> {
    row.retain(|_, value| !is_empty(value));
    for value in row.values_mut() {
        // A list of one value stands for the value.
        if let Value::Array(items) = value
            && let [one @ (Value::String(_) | Value::Number(_) | Value::Bool(_))] = items.as_slice()
        {
            *value = one.clone();
        }
    }
    let mut members = Members { left: row, options, errors: Vec::new(), warnings: Vec::new() };

    let id = members.read("id", number);
    let uuid = members.read("uuid", uuid);
    let external_id = members.external_id();
    let email = members.field("email", |text| Email::parse(text).map_err(FieldError::from));
    let username = members.username(email.as_ref());
    let role = members.role();
    let state = members.state(ctx.now);
    let hash = members.hash();
    let second_factors = members.second_factors();
    let created_at = members.moment("created_at").unwrap_or(ctx.now);
    let updated_at = members.moment("updated_at").unwrap_or(created_at);
    let email_verified_at = members.verified(updated_at);
    let (profile, mut ignored) = members.profile(ctx);
    members.plain_password();

    let has_name = email.is_some() || username.is_some();
    if state == State::Erased {
        members.check_tombstone(id, has_name || hash.is_some() || profile != Profile::default());
    } else if !has_name && !members.errors.iter().any(|error| error.starts_with("email: ")) {
        members.errors.push("email: an account requires one, or a username".to_owned());
    }
    if !members.errors.is_empty() {
        return Err(members.errors.join("; "));
    }

    ignored.extend(members.left.into_iter().map(|(name, _)| name.chars().take(64).collect()));
    let user = Imported {
        id,
        uuid: uuid.unwrap_or_else(|| UserUuid::generate(ctx.now, &ctx.services.rng)),
        external_id,
        // Without an address there is nothing that could be verified.
        email_verified_at: email_verified_at.filter(|_| email.is_some()),
        email,
        username,
        role,
        state,
        profile: serde_json::to_string(&profile).unwrap_or_else(|_| "{}".to_owned()),
        created_at,
        updated_at,
    };
    Ok(Ready { user, named: uuid.is_some(), hash, second_factors, warnings: members.warnings, ignored })
}

/// Whether a value is none: an empty cell of a table means `null`.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

impl Members<'_> {
    fn wrong(&mut self, name: &str, why: impl std::fmt::Display) {
        self.errors.push(format!("{name}: {why}"));
    }

    /// An optional member is wrong: the row is refused, or the member left out.
    fn wrong_optional(&mut self, why: String) {
        if self.options.lenient {
            self.warnings.push(format!("left out: {why}"));
        } else {
            self.errors.push(why);
        }
    }

    /// Takes a member and parses it; reports an error when that fails.
    fn read<T>(&mut self, name: &'static str, read: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        let value = self.left.remove(name)?;
        let found = read(&value);
        if found.is_none() {
            self.wrong(name, format_args!("this has to be {}", expected(name, &value)));
        }
        found
    }

    /// Takes an optional date.
    fn moment(&mut self, name: &'static str) -> Option<Now> {
        match self.date(name)? {
            ForeignTime::At(at) => Some(at),
            ForeignTime::Never | ForeignTime::Forever => None,
        }
    }

    fn date(&mut self, name: &'static str) -> Option<ForeignTime> {
        let value = self.left.remove(name)?;
        let read = foreign_time::read(&value);
        if read.is_none() {
            self.wrong_optional(format!("{name}: this has to be {}", expected(name, &value)));
        }
        read
    }

    /// Parses a text member.
    fn field<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, FieldError>,
    ) -> Option<T> {
        let value = self.left.remove(name)?;
        let parsed = value.as_str().ok_or_else(|| FieldError::not_a_string(name)).and_then(parse);
        parsed.map_err(|error| self.errors.push(error.to_string())).ok()
    }

    /// The username. One that is the account's email is left out: a login with it finds the email.
    fn username(&mut self, email: Option<&Email>) -> Option<Username> {
        let value = self.left.remove("username")?;
        let text = match &value {
            Value::String(text) if text.trim().is_empty() => return None,
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => {
                self.wrong_optional(FieldError::not_a_string("username").to_string());
                return None;
            }
        };

        let is_email =
            Email::parse(&text).is_ok_and(|name| email.is_some_and(|email| email.key() == name.key()));
        if is_email {
            self.warnings.push("left out: username: it is the email".to_owned());
            return None;
        }
        match Username::parse(&text) {
            Ok(username) => Some(username),
            Err(why) => {
                self.wrong_optional(FieldError::from(why).to_string());
                None
            }
        }
    }

    /// The identifier in the system that the row comes from.
    fn external_id(&mut self) -> Option<String> {
        let text = match self.left.remove("external_id")? {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            _ => String::new(),
        };
        let is_good =
            (1..=EXTERNAL_ID_CHARS).contains(&text.chars().count()) && !text.contains(char::is_control);
        if !is_good {
            self.wrong(
                "external_id",
                format_args!("this has to be a text of 1 to {EXTERNAL_ID_CHARS} characters"),
            );
        }
        Some(text).filter(|_| is_good)
    }

    /// `role`, or `roles`: `admin` if one of them is.
    fn role(&mut self) -> String {
        let given = ["role", "roles"].into_iter().filter_map(|name| self.left.remove(name));
        let names: Vec<Value> = given.flat_map(names_of).collect();
        let is_foreign = self.options.has_foreign_roles;
        let mut ours: Vec<&str> = Vec::new();
        for name in &names {
            let name = name.as_str().unwrap_or_default();
            let mapped = self.options.roles.get(name).map(String::as_str);
            // A role of another system is not ours because it has the same name.
            let own = ROLES.into_iter().find(|role| *role == name && !is_foreign);
            match mapped.or(own) {
                Some(role) if !ours.contains(&role) => ours.push(role),
                Some(_) => {}
                None if is_foreign => {}
                None => {
                    let why =
                        format!("this has to be one of {}; --map-role translates others", ROLES.join(", "));
                    self.wrong("role", why);
                    return String::new();
                }
            }
        }

        let is_one = ours.len() < 2 || is_foreign || !self.options.roles.is_empty();
        let role = if ours.contains(&ADMIN) { ADMIN } else { BASIC_USER };
        if !is_one {
            self.wrong("role", format_args!("this has to be one of {}", ROLES.join(", ")));
        }
        role.to_owned()
    }

    /// `state`, or one of the members that say whether the user may log in.
    fn state(&mut self, now: Now) -> State {
        let active = self.read("is_active", truth);
        let inactive = self.read("is_inactive", truth);
        let since = self.state_date("inactive_since");
        let until = self.state_date("inactive_until");
        let is_barred = inactive == Some(true)
            || matches!(since, Some(ForeignTime::At(_) | ForeignTime::Forever))
            || until.is_some_and(|until| match until {
                ForeignTime::At(until) => until > now,
                ForeignTime::Forever => true,
                ForeignTime::Never => false,
            });
        let stated = active.or(Some(true).filter(|_| inactive == Some(false)));
        let active = if is_barred { Some(false) } else { stated };

        let found = active.map(|active| if active { State::Active } else { State::Inactive });
        let all = [State::Active, State::Inactive, State::Erased];
        let state = match self.left.remove("state") {
            None => return found.unwrap_or(State::Active),
            Some(word) => all.into_iter().find(|state| Some(state.as_str()) == word.as_str()),
        };
        match state {
            None => self.wrong("state", "this has to be active, inactive or erased"),
            Some(state) if active.is_some_and(|is_active| is_active != (state == State::Active)) => {
                self.wrong("state", "it contradicts is_active");
            }
            Some(_) => {}
        }
        state.unwrap_or(State::Active)
    }

    /// A date on which it depends whether the user may log in: never left out.
    fn state_date(&mut self, name: &'static str) -> Option<ForeignTime> {
        let value = self.left.remove(name)?;
        // Some systems keep a truth value in a column that is named like a date.
        let read = foreign_time::read(&value).or_else(|| {
            truth(&value).map(|is_set| if is_set { ForeignTime::Forever } else { ForeignTime::Never })
        });
        if read.is_none() {
            self.wrong(name, format_args!("this has to be {}", expected(name, &value)));
        }
        read
    }

    /// `email_verified_at`, or `email_verified` as of the last change.
    fn verified(&mut self, updated_at: Now) -> Option<Now> {
        let verified = self.left.remove("email_verified").and_then(|value| {
            let read = truth(&value).map(Err::<Now, bool>);
            let read = read.or_else(|| Some(foreign_time::read(&value)?.moment().ok_or(false)));
            if read.is_none() {
                self.wrong_optional(format!(
                    "email_verified: this has to be {}",
                    expected("email_verified", &value)
                ));
            }
            read
        });
        let at = self.moment("email_verified_at");
        match verified {
            Some(Err(false)) if at.is_some() => {
                self.wrong("email_verified", "it contradicts email_verified_at");
                None
            }
            Some(Err(true)) => at.or(Some(updated_at)),
            Some(Ok(since)) => at.or(Some(since)),
            Some(Err(false)) | None => at,
        }
    }

    /// The hash to store, from `password_hash`, `hashed_password` or `hash`. A text that its origin writes
    /// for "no password" is none.
    fn hash(&mut self) -> Option<StoredHash> {
        let rules = match self.left.remove("password_rules") {
            None => Rules::Imported,
            Some(word) => word.as_str().and_then(Rules::parse).unwrap_or_else(|| {
                self.wrong("password_rules", "this has to be gatewright or imported");
                Rules::Imported
            }),
        };
        let mut given = ["password_hash", "hashed_password", "hash"]
            .into_iter()
            .filter_map(|name| self.left.remove(name));
        let (first, second) = (given.next(), given.next());
        drop(given);
        if second.is_some() {
            self.wrong("password_hash", "it is given twice");
        }
        match hash::read(first?, rules, self.options) {
            Ok(hash) => hash,
            Err(why) => {
                self.wrong("password_hash", why);
                None
            }
        }
    }

    fn second_factors(&mut self) -> Vec<SecondFactor> {
        let Some(value) = self.left.remove("second_factors") else { return Vec::new() };
        match second_factors(value) {
            Ok(factors) => factors,
            Err(why) => {
                self.wrong("second_factors", why);
                Vec::new()
            }
        }
    }

    fn plain_password(&mut self) {
        let Some(value) = self.left.remove("password") else { return };
        let is_hash = value.as_str().is_some_and(super::members::looks_like_hash);
        let why = if is_hash {
            "it holds a hash: give --map password=password_hash"
        } else {
            "plain passwords are not accepted, only password_hash"
        };
        self.wrong("password", why);
    }

    fn check_tombstone(&mut self, id: Option<UserId>, has_data: bool) {
        if id.is_none() {
            self.errors.push("id: a tombstone requires it".to_owned());
        }
        if has_data {
            self.errors.push("state: an erased account has no email, username, hash or profile".to_owned());
        }
    }

    /// `profile` or `attributes`, and attributes in the row itself; returns also the names of ignored
    /// members.
    fn profile(&mut self, ctx: &OpContext<'_>) -> (Profile, Vec<String>) {
        let mut all = Map::new();
        for name in ["profile", "attributes"] {
            let value = match self.left.remove(name) {
                // A table's cell contains JSON.
                Some(Value::String(text)) => strict_json::parse(text.as_bytes()),
                other => Some(other.unwrap_or_default()),
            };
            match value {
                Some(Value::Null) => {}
                Some(Value::Object(members)) => all.extend(members),
                _ => self.wrong(name, "this has to be an object"),
            }
        }

        all.extend(ATTRIBUTES.iter().filter_map(|name| self.left.remove_entry(*name)));
        all.retain(|_, value| !value.is_null());
        let mut kept = all.clone();
        ctx.services.settings.attributes.select(&mut kept);
        let mut ignored = Vec::new();
        for name in all.keys().filter(|name| !kept.contains_key(*name)) {
            let name = format!("profile.{}", name.chars().take(64).collect::<String>());
            let may_be_lost = |ignored: &String| *ignored == name || ignored == "profile";
            if !self.options.ignored_attributes.iter().any(may_be_lost) {
                self.errors.push(format!(
                    "{name}: the configuration defines no such attribute \
                     (accounts.attributes_schema_file), and it \
                     would be lost; --ignore {name} leaves it out"
                ));
            }
            ignored.push(name);
        }
        (self.parse_profile(ctx, kept), ignored)
    }

    fn parse_profile(&mut self, ctx: &OpContext<'_>, members: Map<String, Value>) -> Profile {
        let settings = &ctx.services.settings;
        let mut errors = Vec::new();
        let parsed = parse_profile(settings, Profile::default(), members.clone(), &mut errors);
        if !self.options.lenient || errors.is_empty() {
            self.errors.extend(errors.iter().map(ToString::to_string));
            return parsed.unwrap_or_default();
        }
        // Each attribute by itself, so that one that is invalid takes no other with it.
        let mut profile = Profile::default();
        for (name, value) in members {
            let mut errors = Vec::new();
            let one = Map::from_iter([(name, value)]);
            match parse_profile(settings, profile.clone(), one, &mut errors) {
                Some(with) => profile = with,
                None => self.warnings.extend(errors.iter().map(|error| format!("left out: {error}"))),
            }
        }
        profile
    }
}

/// The names in a list of roles, or in its JSON, or one name.
fn names_of(value: Value) -> Vec<Value> {
    let value = match &value {
        Value::String(text) if text.starts_with('[') => strict_json::parse(text.as_bytes()).unwrap_or(value),
        _ => value,
    };
    match value {
        Value::Array(names) => names,
        one => vec![one],
    }
}

/// What a member has to be, in words.
fn expected(name: &str, value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    match name {
        "id" if Uuid::parse_str(text.trim()).is_ok() => {
            "a whole number, and is a UUID: give --map id=uuid".to_owned()
        }
        "id" if !text.is_empty() && text.parse::<f64>().is_err() => {
            "a whole number, and is a text: give --map id=external_id, by which the account is found, \
             too"
            .to_owned()
        }
        "id" => "a whole number from 1 to 2^52: new accounts get numbers above it, and JSON is exact up \
         to 2^53 - 1"
            .to_owned(),
        "uuid" => "a UUID".to_owned(),
        "is_active" | "is_inactive" | "email_verified" => "true or false".to_owned(),
        _ => "a date and time of RFC 3339, such as 2026-01-31T12:00:00Z, or seconds or milliseconds \
        since 1970"
            .to_owned(),
    }
}

fn uuid(value: &Value) -> Option<UserUuid> {
    value.as_str().and_then(|text| Uuid::parse_str(text.trim()).ok()).map(UserUuid)
}

fn number(value: &Value) -> Option<UserId> {
    let number = match value {
        Value::Number(number) => number.as_i64(),
        // Refuses numbers that are not in canonical form, such as `+5` and `05`.
        Value::String(text) => text.parse::<i64>().ok().filter(|number| number.to_string() == *text),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    number.filter(|number| (1..=UserId::LARGEST.0).contains(number)).map(UserId)
}

/// A truth value, also as databases write it in CSV.
fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "t" | "1" | "yes" | "y" | "on" | "b'1'" | "\u{1}" | "0x01" => Some(true),
            "false" | "f" | "0" | "no" | "n" | "off" | "b'0'" | "0x00" => Some(false),
            _ => None,
        },
        Value::Number(number) => match number.as_f64() {
            Some(1.0) => Some(true),
            Some(0.0) => Some(false),
            _ => None,
        },
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
