//! What is done with a row before it is validated: words for "no value", names of members.

use std::collections::BTreeSet;

use auth::account::systems::{Placed, Sides, System};
use auth::account::{IMPORT_MEMBERS, Suspicion, folded_name, suspicion};
use serde_json::{Map, Value};

use super::super::super::Failure;

/// How members are renamed and left out.
#[derive(Default)]
pub(super) struct Preparation {
    /// Texts that mean "no value".
    pub(super) nulls: Vec<String>,
    /// Names in the file, folded, and the members that they are.
    renamed: Vec<(String, String)>,
    /// Names in the file, folded, that are left out.
    ignored: BTreeSet<String>,
    /// Attributes of the profile that may be lost.
    pub(super) ignored_attributes: Vec<String>,
    /// Names that no row has had so far.
    unseen: BTreeSet<String>,
    /// The system whose names the file has.
    pub(super) system: Option<&'static dyn System>,
    /// The rows of other tables that belong to accounts.
    pub(super) sides: Sides,
    /// Whether every account gets a new number.
    pub(super) has_new_numbers: bool,
}

/// A row as it is validated.
pub(super) struct Prepared {
    pub(super) row: Map<String, Value>,
    /// Whether a second factor was left out.
    pub(super) loses_factor: bool,
}

impl Preparation {
    /// # Errors
    /// When a name is not one.
    pub(super) fn new(
        nulls: &[String],
        map: &[(String, String)],
        ignore: &[String],
    ) -> Result<Self, Failure> {
        let is_attribute = |name: &&String| *name == "profile" || name.starts_with("profile.");
        let (attributes, ignored): (Vec<&String>, Vec<&String>) = ignore.iter().partition(is_attribute);
        for (_, ours) in map {
            let is_known = IMPORT_MEMBERS.contains(&ours.as_str()) || ours.starts_with("profile.");
            if !is_known {
                return Err(Failure::usage(format!(
                    "--map: {ours:?} is no member of a row; it has to be one of {}, or profile.NAME",
                    IMPORT_MEMBERS.join(", ")
                )));
            }
        }
        let renamed: Vec<_> = map.iter().map(|(theirs, ours)| (folded_name(theirs), ours.clone())).collect();
        let ignored: BTreeSet<String> = ignored.into_iter().map(|name| folded_name(name)).collect();
        let unseen =
            renamed.iter().map(|(theirs, _)| theirs.clone()).chain(ignored.iter().cloned()).collect();
        let ignored_attributes = attributes.into_iter().cloned().collect();
        let nulls = nulls.to_vec();
        Ok(Self { nulls, renamed, ignored, ignored_attributes, unseen, ..Self::default() })
    }

    /// A row with the members that it has here; none if it is not of an account. `is_first` the first time
    /// that the file is read.
    pub(super) fn row(
        &mut self,
        table: Option<&str>,
        row: Map<String, Value>,
        is_first: bool,
    ) -> Result<Prepared, Option<String>> {
        let (left, mut prepared) = self.take(row);
        let mut row = match self.system {
            None => left,
            Some(system) => match self.sides.place(system, table, left, is_first) {
                Placed::Account(row) => row,
                Placed::Other { unknown } => {
                    let key = unknown.as_deref().map(folded_name).unwrap_or_default();
                    self.unseen.remove(&key);
                    return Err(unknown.filter(|_| !self.ignored.contains(&key)));
                }
            },
        };

        row.extend(std::mem::take(&mut prepared.row));
        if self.has_new_numbers
            && let Some(id) = row.remove("id")
        {
            row.entry("external_id").or_insert(id);
        }
        // Also members that an adapter has made.
        for name in IMPORT_MEMBERS {
            let key = folded_name(name);
            if self.ignored.contains(&key) && row.remove(name).is_some() {
                self.unseen.remove(&key);
            }
        }
        Ok(Prepared { row, ..prepared })
    }

    /// Takes out what means nothing and what is ignored, and the members that have another name here.
    fn take(&mut self, row: Map<String, Value>) -> (Map<String, Value>, Prepared) {
        let mut left = Map::new();
        let mut taken = Prepared { row: Map::new(), loses_factor: false };

        for (name, value) in row {
            let key = folded_name(&name);
            // The tables of a system belong together by its identifier.
            let is_needed = key == "id" && self.system.is_some();
            if self.ignored.contains(&key) && !is_needed {
                self.unseen.remove(&key);
                taken.loses_factor |= suspicion(&name, &value) == Some(Suspicion::SecondFactor);
                continue;
            }
            let renamed = self.renamed.iter().find(|(theirs, _)| *theirs == key);
            if renamed.is_some() {
                self.unseen.remove(&key);
            }
            if value.as_str().is_some_and(|text| self.nulls.iter().any(|null| null == text)) {
                continue;
            }
            match renamed.map(|(_, ours)| ours.split_once('.').ok_or(ours)) {
                None => drop(left.insert(name, value)),
                Some(Err(ours)) => drop(taken.row.insert(ours.clone(), value)),
                Some(Ok((_, attribute))) => {
                    let profile = taken.row.entry("profile").or_insert_with(|| Value::Object(Map::new()));
                    if let Value::Object(members) = profile {
                        members.insert(attribute.to_owned(), value);
                    }
                }
            }
        }
        (left, taken)
    }

    /// Names of `--map` and `--ignore` that no row had.
    pub(super) fn unseen(&self) -> impl Iterator<Item = &str> {
        self.unseen.iter().map(String::as_str)
    }
}
