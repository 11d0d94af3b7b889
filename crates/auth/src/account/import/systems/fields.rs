//! The members of a row of another system, found by names without regard to case and separators, and the
//! account that is made of them.

use std::collections::BTreeMap;

use data_encoding::BASE32_NOPAD;
use model::UserId;
use protocol::wire::strict_json;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::members::folded;
use super::Is;

/// The members that are left of a row: name and value, by the folded name.
pub struct Fields(BTreeMap<String, (String, Value)>);

impl Fields {
    pub(super) fn new(row: Map<String, Value>) -> Self {
        Self(row.into_iter().map(|(name, value)| (folded(&name), (name, value))).collect())
    }

    /// The value of a member.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(&folded(name)).map(|(_, value)| value)
    }

    /// Takes a member out.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        let (_, value) = self.0.remove(&folded(name))?;
        Some(value).filter(|value| !value.is_null() && value.as_str() != Some(""))
    }

    /// A member as text: a number is written out.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        text(self.get(name)?)
    }

    /// Takes a member that is an object, or the JSON of one.
    pub(super) fn take_object(&mut self, name: &str) -> Option<Map<String, Value>> {
        object(self.take(name)?)
    }

    /// Takes a member that is a list, or the JSON of one.
    pub(super) fn take_list(&mut self, name: &str) -> Vec<Value> {
        match self.take(name).map(opened) {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        }
    }

    /// Puts back what is not understood, so that the survey sees it.
    pub(super) fn put_back(&mut self, name: &str, value: Value) {
        self.0.insert(folded(name), (name.to_owned(), value));
    }

    /// Whether a member says yes.
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(is_true)
    }

    pub(super) fn into_rest(self) -> Map<String, Value> {
        self.0.into_values().collect()
    }
}

/// An account, in members of the import.
#[derive(Default)]
pub struct Account {
    members: Map<String, Value>,
    roles: Vec<Value>,
    factors: Vec<Value>,
    profile: Map<String, Value>,
}

impl Account {
    /// Sets a member, unless it is set.
    pub(super) fn set(&mut self, member: &str, value: impl Into<Value>) {
        self.members.entry(member).or_insert(value.into());
    }

    /// Whether a member is set.
    pub(super) fn has(&self, member: &str) -> bool {
        self.members.contains_key(member)
    }

    /// The user may not log in.
    pub(super) fn bar(&mut self) {
        self.members.insert("is_inactive".to_owned(), json!(true));
    }

    pub(super) fn role(&mut self, name: impl Into<String>) {
        self.roles.push(Value::String(name.into()));
    }

    /// Sets an attribute of the profile.
    pub(super) fn attribute(&mut self, name: impl Into<String>, value: Value) {
        self.profile.insert(name.into(), value);
    }

    /// Keeps a second factor.
    pub(super) fn factor(&mut self, members: Value) {
        self.factors.push(members);
    }

    /// Keeps a secret of one-time passwords that is Base32 or an `otpauth` URL; whether it is one.
    pub(super) fn totp(&mut self, secret: &str) -> bool {
        let letters = secret.chars().filter(|c| !matches!(c, ' ' | '-' | '='));
        let is_base32 = letters.clone().count() >= 16
            && letters.clone().all(|c| c.is_ascii_alphabetic() || ('2'..='7').contains(&c));
        let is_secret = is_base32 || secret.starts_with("otpauth://totp/");
        if is_secret {
            self.factor(json!({"kind": "totp", "secret": secret}));
        }
        is_secret
    }

    /// Whether there is a second factor.
    pub(super) fn has_factor(&self) -> bool {
        !self.factors.is_empty()
    }

    pub(super) fn put(&mut self, is: Is, value: Value) {
        match is {
            Is::Member(member) => self.set(member, value),
            Is::Id => self.id(&value),
            Is::Role(name) if is_true(&value) => self.role(name),
            Is::Roles => self.roles_of(value),
            Is::Attributes => {
                for (name, value) in object(value).into_iter().flatten() {
                    self.attribute(name, value);
                }
            }
            Is::Role(_) | Is::Nothing => {}
        }
    }

    fn id(&mut self, value: &Value) {
        let oid = value.get("$oid").unwrap_or(value);
        let Some(text) = text(oid) else { return };
        let number = text.parse::<i64>().ok().filter(|number| number.to_string() == text);
        if let Some(number) = number.filter(|number| (1..=UserId::LARGEST.0).contains(number)) {
            self.set("id", number);
        }
        if Uuid::parse_str(&text).is_ok() {
            self.set("uuid", text.clone());
        }
        self.set("external_id", text);
    }

    fn roles_of(&mut self, value: Value) {
        match opened(value) {
            Value::Array(items) => {
                for item in items {
                    let name = item.get("name").or_else(|| item.get(0)).unwrap_or(&item);
                    self.roles.extend(text(name).map(Value::String));
                }
            }
            Value::String(names) => {
                let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
                self.roles.extend(names.map(|name| Value::String(name.to_owned())));
            }
            _ => {}
        }
    }

    /// The row for the import: the account, and what is left of the other system's.
    pub(super) fn into_row(mut self, left: Fields) -> Map<String, Value> {
        let mut row = left.into_rest();
        // Names that mean something else here than there.
        for name in ["id", "uuid", "role", "roles", "state", "profile", "attributes", "password"] {
            if let Some(value) = row.remove(name) {
                row.insert(format!("{name} (theirs)"), value);
            }
        }
        for (name, list) in [("roles", self.roles), ("second_factors", self.factors)] {
            if !list.is_empty() {
                self.members.insert(name.to_owned(), Value::Array(list));
            }
        }
        if !self.profile.is_empty() {
            self.members.insert("profile".to_owned(), Value::Object(self.profile));
        }
        row.extend(self.members);
        row
    }
}

/// Base32 of bytes, as authenticator apps show secrets.
pub(super) fn base32(bytes: &[u8]) -> String {
    BASE32_NOPAD.encode(bytes)
}

pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() == Some(1.0),
        Value::String(text) => {
            let text = text.trim().to_ascii_lowercase();
            ["true", "t", "1", "yes", "y", "on", "\u{1}", "b'1'"].contains(&text.as_str())
        }
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

/// A value, or what its text holds as JSON.
pub(super) fn opened(value: Value) -> Value {
    match &value {
        Value::String(text) if text.trim_start().starts_with(['{', '[']) => {
            strict_json::parse(text.as_bytes()).unwrap_or(value)
        }
        _ => value,
    }
}

pub(super) fn object(value: Value) -> Option<Map<String, Value>> {
    match opened(value) {
        Value::Object(members) => Some(members),
        _ => None,
    }
}
