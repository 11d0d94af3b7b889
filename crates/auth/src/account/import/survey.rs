//! What a file holds, seen before anything of it is imported.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::members::{MEMBERS, Suspicion, looks_like_hash, suspicion};

/// Texts that databases and programs write for "no value".
const WORDS: [&str; 8] = ["NULL", "null", "\\N", "None", "nil", "(null)", "<null>", "undefined"];
/// The largest number of unknown members that are told apart.
const UNKNOWN: usize = 200;

/// What the rows of a file have that an import would lose or misread.
#[derive(Debug, Default)]
pub struct Survey {
    rows: u64,
    unknown: BTreeMap<String, Unknown>,
    /// How often a word for "no value" stands in a member.
    words: BTreeMap<(String, &'static str), u64>,
    /// How often each role occurs.
    roles: BTreeMap<String, u64>,
    /// Rows that name a person, or are tombstones.
    named: u64,
    /// Tables that are not understood, and how many rows each has.
    tables: BTreeMap<String, u64>,
    /// Rows in which `password` holds a hash.
    hashes_as_passwords: u64,
}

#[derive(Debug, Default)]
struct Unknown {
    rows: u64,
    suspicious: BTreeMap<Suspicion, (u64, u64)>,
}

impl Survey {
    /// Looks at a row of a line.
    pub fn add(&mut self, line: u64, row: &Map<String, Value>) {
        self.rows += 1;
        let is_named = ["email", "username"]
            .iter()
            .any(|name| row.get(*name).is_some_and(|name| !name.is_null() && name.as_str() != Some("")));
        self.named += u64::from(is_named || row.get("state").and_then(Value::as_str) == Some("erased"));
        for role in ["role", "roles"].into_iter().filter_map(|name| row.get(name)) {
            let one = std::slice::from_ref(role);
            for name in role.as_array().map_or(one, Vec::as_slice).iter().filter_map(Value::as_str) {
                if !name.is_empty() && (self.roles.len() < UNKNOWN || self.roles.contains_key(name)) {
                    *self.roles.entry(name.to_owned()).or_default() += 1;
                }
            }
        }

        for (name, value) in row {
            if let Some(word) = value.as_str().and_then(|text| WORDS.iter().find(|word| **word == text)) {
                *self.words.entry((name.clone(), word)).or_default() += 1;
            } else if name == "password" {
                self.hashes_as_passwords += u64::from(value.as_str().is_some_and(looks_like_hash));
            } else if !MEMBERS.contains(&name.as_str()) {
                self.unknown(line, name, value);
            } else if name == "profile" || name == "attributes" {
                for (inner, value) in value.as_object().into_iter().flatten() {
                    self.suspect(line, &format!("profile.{inner}"), inner, value);
                }
            }
        }
    }

    /// Looks at a row of a table that is not understood.
    pub fn add_other(&mut self, table: &str) {
        if self.tables.len() < UNKNOWN || self.tables.contains_key(table) {
            *self.tables.entry(table.to_owned()).or_default() += 1;
        }
    }

    fn unknown(&mut self, line: u64, name: &str, value: &Value) {
        if value.is_null() || value.as_str() == Some("") {
            return;
        }
        if self.unknown.len() < UNKNOWN {
            self.unknown.entry(name.to_owned()).or_default().rows += 1;
        }
        self.suspect(line, name, name, value);
    }

    fn suspect(&mut self, line: u64, name: &str, own_name: &str, value: &Value) {
        if let Some(what) = suspicion(own_name, value) {
            let unknown = self.unknown.entry(name.to_owned()).or_default();
            unknown.suspicious.entry(what).or_insert((0, line)).0 += 1;
        }
    }

    /// The roles of the file, and how often each occurs.
    pub fn roles(&self) -> &BTreeMap<String, u64> {
        &self.roles
    }

    /// Rows seen.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Why the import must not begin, a sentence each; empty if it may.
    pub fn objections(&self) -> Vec<String> {
        let mut all = Vec::new();
        if self.rows > 0 && self.named == 0 {
            let names: Vec<&str> = self.unknown.keys().take(20).map(String::as_str).collect();
            all.push(format!(
                "no row has an email or a username; give --map OLD=email for one of {}",
                names.join(", ")
            ));
        }
        for ((name, word), times) in &self.words {
            if times * 2 > self.rows {
                all.push(format!(
                    "{name:?} is {word:?} in {times} of {} rows: give --null '{word}' if that means no value",
                    self.rows
                ));
            }
        }

        for (name, unknown) in &self.unknown {
            for (what, (times, line)) in &unknown.suspicious {
                all.push(format!(
                    "{name:?} {} in {times} of {} rows (line {line} is the first), and would be lost: \
                     give --map \
                     {name}={}, or --ignore {name}",
                    what.describe(),
                    self.rows,
                    Self::target(*what, name),
                ));
            }
        }
        for (table, rows) in &self.tables {
            if suspicion(table, &Value::Bool(true)) == Some(Suspicion::SecondFactor) {
                all.push(format!(
                    "{rows} rows of {table:?} look like second factors, and would be lost: give \
                     --ignore {table}"
                ));
            }
        }
        if self.hashes_as_passwords > 0 {
            all.push(format!(
                "\"password\" holds a hash in {} of {} rows: give --map password=password_hash",
                self.hashes_as_passwords, self.rows
            ));
        }
        all
    }

    /// The member that a suspicious one probably is.
    fn target(what: Suspicion, name: &str) -> &'static str {
        let name = name.to_lowercase();
        let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
        match what {
            Suspicion::Hash => "password_hash",
            Suspicion::SecondFactor => "second_factors",
            Suspicion::State if ends(&["_at", "edat", "date"]) => "inactive_since",
            Suspicion::State if ends(&["until", "end", "expires"]) => "inactive_until",
            Suspicion::State
                if ["enabled", "active", "approved", "non"].iter().any(|part| name.contains(part)) =>
            {
                "is_active"
            }
            Suspicion::State => "is_inactive",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn objections(rows: &[Value]) -> Vec<String> {
        let mut survey = Survey::default();
        for (line, row) in (1..).zip(rows) {
            survey.add(line, row.as_object().unwrap());
        }
        survey.objections()
    }

    #[test]
    fn what_would_be_lost_stops_an_import_and_says_what_to_give() {
        let email = "a@example.org";
        for (rows, wanted) in [
            (vec![json!({"mail": email})], "give --map OLD=email for one of mail"),
            (
                vec![json!({"email": email, "encrypted_password": "x"})],
                "--map encrypted_password=password_hash",
            ),
            (
                vec![json!({"email": email}), json!({"email": email, "deleted_at": "2022-01-01"})],
                "(line 2 is the first), and would be lost: give --map deleted_at=inactive_since",
            ),
            (vec![json!({"email": email, "enabled": "false"})], "--map enabled=is_active"),
            (
                vec![json!({"email": email, "banned_until": "2090-01-01"})],
                "--map banned_until=inactive_until",
            ),
            (vec![json!({"email": email, "profile": {"totp_secret": "x"}})], "--ignore profile.totp_secret"),
            (vec![json!({"email": email, "password": "$2b$12$abcdefghijklmnop"})], "password=password_hash"),
            (
                vec![json!({"username": "NULL"}), json!({"username": "NULL"}), json!({"username": "b"})],
                "\"username\" is \"NULL\" in 2 of 3 rows: give --null 'NULL'",
            ),
        ] {
            let found = objections(&rows);
            assert!(found.len() == 1 && found[0].contains(wanted), "{rows:?}: {found:?}");
        }

        let fine = [
            json!({"email": email, "shoe size": "38", "username": "NULL"}),
            json!({"email": email}),
            json!({"state": "erased"}),
        ];
        assert!(objections(&fine).is_empty());
    }
}
