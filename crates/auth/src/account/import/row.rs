//! Parses and validates one row.

use model::profile::{FieldError, Profile};
use model::{Email, Now, UserId, UserUuid, Username};
use protocol::wire::password_hash::{FirebaseProject, Rules, StoredHash, keycloak};
use serde_json::{Map, Value};
use store::queries::transfer::{Identity, Imported};
use store::queries::user::State;
use uuid::Uuid;

use super::super::register::parse_profile;
use super::super::{BASIC_USER, ROLES};
use crate::OpContext;

/// Attributes that may be members of the row itself, as in a table with a column for each.
const ATTRIBUTES: [&str; 3] = ["country", "annual_income", "timezone"];

/// A validated row.
pub(super) struct Ready {
    /// The user to insert.
    pub(super) user: Imported,
    /// Whether the row has a `uuid`.
    named: bool,
    /// The hash to store.
    pub(super) hash: Option<String>,
}

impl Ready {
    pub(super) fn identity(&self) -> Identity<'_> {
        Identity {
            id: self.user.id,
            uuid: Some(self.user.uuid).filter(|_| self.named),
            email: self.user.email.as_ref(),
            username: self.user.username.as_ref(),
        }
    }
}

/// The members of a row that are not parsed yet; collects errors.
struct Members {
    left: Map<String, Value>,
    errors: Vec<String>,
}

/// Validates a row; returns also the names of ignored members.
///
/// # Errors
/// All errors, in one sentence.
pub(super) fn read(
    ctx: &OpContext<'_>,
    mut row: Map<String, Value>,
    firebase: Option<&FirebaseProject>,
) -> Result<(Ready, Vec<String>), String> {
    // An empty cell of a table means `null`.
    row.retain(|_, value| !value.is_null() && value.as_str() != Some(""));
    let mut members = Members { left: row, errors: Vec::new() };
    let id = members.read("id", number);
    let uuid = members
        .read("uuid", |value| value.as_str().and_then(|text| Uuid::parse_str(text).ok()).map(UserUuid));
    let email = members.field("email", |text| Email::parse(text).map_err(FieldError::from));
    let username = members.field("username", |text| Username::parse(text).map_err(FieldError::from));
    let role = members.role();
    let state = members.state();
    let hash = members.hash(firebase);
    let created_at = members.read("created_at", moment).unwrap_or(ctx.now);
    let updated_at = members.read("updated_at", moment).unwrap_or(created_at);
    let email_verified_at = members.verified(updated_at);
    let (profile, mut ignored) = members.profile(ctx);
    if members.left.remove("password").is_some() {
        members.errors.push("password: plain passwords are not accepted, only password_hash".to_owned());
    }

    if state == State::Erased {
        if id.is_none() {
            members.errors.push("id: a tombstone requires it".to_owned());
        }
        if email.is_some() || username.is_some() || hash.is_some() || profile != Profile::default() {
            members
                .errors
                .push("state: an erased account has no email, username, hash or profile".to_owned());
        }
    } else if email.is_none() && !members.errors.iter().any(|error| error.starts_with("email: ")) {
        members.errors.push("email: an account requires one".to_owned());
    }
    if !members.errors.is_empty() {
        return Err(members.errors.join("; "));
    }
    ignored.extend(members.left.into_iter().map(|(name, _)| name.chars().take(64).collect()));
    let user = Imported {
        id,
        uuid: uuid.unwrap_or_else(|| UserUuid::generate(ctx.now, &ctx.services.rng)),
        email,
        email_verified_at,
        username,
        role,
        state,
        profile: serde_json::to_string(&profile).unwrap_or_else(|_| "{}".to_owned()),
        created_at,
        updated_at,
    };
    Ok((Ready { user, named: uuid.is_some(), hash }, ignored))
}

impl Members {
    fn wrong(&mut self, name: &str, why: impl std::fmt::Display) {
        self.errors.push(format!("{name}: {why}"));
    }

    /// Takes a member and parses it; reports an error when that fails.
    fn read<T>(&mut self, name: &'static str, read: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        let value = self.left.remove(name)?;
        let found = read(&value);
        if found.is_none() {
            let expected = match name {
                "id" => {
                    "a whole number from 1 to 2^52: new accounts get numbers above it, and JSON is exact \
                     up to 2^53 - 1"
                }
                "uuid" => "a UUID",
                "is_active" | "email_verified" => "true or false",
                _ => "a date and time of RFC 3339, such as 2026-01-31T12:00:00Z",
            };
            self.wrong(name, format_args!("this has to be {expected}"));
        }
        found
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

    /// `role`, or `roles` with one member.
    fn role(&mut self) -> String {
        let role = self.left.remove("role");
        let roles = self.left.remove("roles").map(|roles| match roles {
            Value::Array(roles) => roles,
            one => vec![one],
        });
        let mut all: Vec<Value> = role.into_iter().chain(roles.into_iter().flatten()).collect();
        all.dedup();
        match all.as_slice() {
            [] => BASIC_USER.to_owned(),
            [Value::String(role)] if ROLES.contains(&role.as_str()) => role.clone(),
            _ => {
                self.wrong("role", format_args!("this has to be one of {}", ROLES.join(", ")));
                String::new()
            }
        }
    }

    /// `state`, or `is_active`.
    fn state(&mut self) -> State {
        let active =
            self.read("is_active", truth).map(|active| if active { State::Active } else { State::Inactive });
        let all = [State::Active, State::Inactive, State::Erased];
        let state = match self.left.remove("state") {
            None => return active.unwrap_or(State::Active),
            Some(word) => all.into_iter().find(|state| Some(state.as_str()) == word.as_str()),
        };
        match state {
            None => self.wrong("state", "this has to be active, inactive or erased"),
            Some(state)
                if active.is_some_and(|active| (active == State::Active) != (state == State::Active)) =>
            {
                self.wrong("state", "it contradicts is_active");
            }
            Some(_) => {}
        }
        state.unwrap_or(State::Active)
    }

    /// `email_verified_at`, or `email_verified` as of the last change.
    fn verified(&mut self, updated_at: Now) -> Option<Now> {
        let verified = self.read("email_verified", truth);
        let at = self.read("email_verified_at", moment);
        if verified == Some(false) && at.is_some() {
            self.wrong("email_verified", "it contradicts email_verified_at");
        }
        at.or_else(|| Some(updated_at).filter(|_| verified == Some(true)))
    }

    /// The hash to store, from `password_hash`, `hashed_password` or `hash`.
    fn hash(&mut self, firebase: Option<&FirebaseProject>) -> Option<String> {
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
        let text = origin_text(first?, firebase).and_then(|text| {
            StoredHash::from_origin(&text, rules).map(|hash| hash.to_string()).map_err(|why| why.to_string())
        });
        text.map_err(|why| self.wrong("password_hash", why)).ok()
    }

    /// `profile` or `attributes`, and attributes in the row itself; returns also the names of ignored
    /// members.
    fn profile(&mut self, ctx: &OpContext<'_>) -> (Profile, Vec<String>) {
        let mut all = Map::new();
        for name in ["profile", "attributes"] {
            let value = match self.left.remove(name) {
                // A table's cell contains JSON.
                Some(Value::String(text)) => protocol::wire::strict_json::parse(text.as_bytes()),
                other => Some(other.unwrap_or_default()),
            };
            match value {
                Some(Value::Null) => {}
                Some(Value::Object(members)) => all.extend(members),
                _ => self.wrong(name, "this has to be an object"),
            }
        }
        all.extend(ATTRIBUTES.iter().filter_map(|name| self.left.remove_entry(*name)));
        let mut kept = all.clone();
        ctx.services.settings.attributes.select(&mut kept);
        let ignored = all.keys().filter(|name| !kept.contains_key(*name));
        let ignored =
            ignored.map(|name| format!("profile.{}", name.chars().take(64).collect::<String>())).collect();
        let mut errors = Vec::new();
        let profile = parse_profile(&ctx.services.settings, Profile::default(), kept, &mut errors);
        self.errors.extend(errors.iter().map(ToString::to_string));
        (profile.unwrap_or_default(), ignored)
    }
}

/// The text form of a hash whose source system keeps it in several members.
fn origin_text(value: Value, firebase: Option<&FirebaseProject>) -> Result<String, String> {
    let value = match value {
        // A table's cell contains JSON.
        Value::String(text) if text.starts_with("{\"") => {
            protocol::wire::strict_json::parse(text.as_bytes()).ok_or("it is not JSON")?
        }
        other => other,
    };

    let members = match value {
        Value::String(text) => return Ok(text),
        Value::Object(members) => members,
        _ => return Err("this has to be a string, or an object of Keycloak or Firebase".to_owned()),
    };

    let text = |name| members.get(name).and_then(Value::as_str);
    match (text("credentialData"), text("secretData"), text("passwordHash"), text("salt")) {
        (Some(credential), Some(secret), ..) => keycloak(credential, secret).map_err(|why| why.to_string()),
        (_, _, Some(hash), Some(salt)) => {
            let project = firebase.ok_or("a Firebase hash requires --firebase-project")?;
            project.text(hash, salt).map_err(|why| why.to_string())
        }
        _ => Err(
            "it has neither credentialData and secretData (Keycloak) nor passwordHash and salt (Firebase)"
                .to_owned(),
        ),
    }
}

fn number(value: &Value) -> Option<UserId> {
    let number = match value {
        Value::Number(number) => number.as_i64(),
        // Refuses numbers that are not in canonical form, such as `+5` and `05`.
        Value::String(text) => text.parse::<i64>().ok().filter(|number| number.to_string() == *text),
        _ => None,
    };
    number.filter(|number| (1..=UserId::LARGEST.0).contains(number)).map(UserId)
}

fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        // The words that databases write for booleans in CSV.
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "1" => Some(true),
            "false" | "f" | "0" => Some(false),
            _ => None,
        },
        Value::Number(number) => match number.as_i64() {
            Some(1) => Some(true),
            Some(0) => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn moment(value: &Value) -> Option<Now> {
    value.as_str().and_then(Now::parse)
}
