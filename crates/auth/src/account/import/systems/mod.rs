//! Other systems whose own exports are read: a table of names for each, and what a table cannot say.

mod aspnet;
mod auth0;
mod better_auth;
mod devise;
mod django;
mod fastapi_users;
mod fields;
mod firebase;
mod keycloak;
mod kratos;
mod laravel;
mod pocketbase;
mod spring;
mod supabase;
mod wordpress;

use std::collections::HashMap;

use serde_json::{Map, Value};

pub(super) use self::fields::{Account, Fields};
use super::members::folded;

/// A system whose own exports are read.
pub trait System: Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// What its names are. A name that is not among them stays, so that the survey sees it.
    fn names(&self) -> &'static [(&'static str, Is)];

    /// The members of its documents that hold rows.
    fn wrappers(&self) -> &'static [&'static str] {
        &[]
    }

    /// The columns of its tables, if their first row does not name them.
    fn columns(&self) -> Option<&'static [&'static str]> {
        None
    }

    /// The tables that belong to accounts: each with the member that names the account.
    fn sides(&self) -> &'static [Side] {
        &[]
    }

    /// Whether the rows of a table of this folded name are accounts.
    fn is_account_table(&self, name: &str) -> bool {
        const ACCOUNTS: [&str; 7] = ["", "user", "items", "data", "identities", "records", "rows"];
        ACCOUNTS.contains(&name) || name.ends_with("users")
    }

    /// The table that a row belongs to, and its members; by default those of the row itself.
    fn place(&self, table: Option<&str>, row: Map<String, Value>) -> (Option<String>, Map<String, Value>) {
        (table.map(str::to_owned), row)
    }

    /// Whether a row is not of a person, such as the account of a service.
    fn is_no_person(&self, fields: &Fields) -> bool {
        let _ = fields;
        false
    }

    /// What the table of names cannot say.
    fn rest(&self, fields: &mut Fields, account: &mut Account) {
        let _ = (fields, account);
    }

    /// Takes a row of a table that belongs to the account.
    fn side(&self, table: &str, fields: &mut Fields, account: &mut Account) {
        let _ = (table, fields, account);
    }
}

/// What a name of another system is.
#[derive(Clone, Copy, Debug)]
pub enum Is {
    /// This member, as it stands.
    Member(&'static str),
    /// The identifier: a number is kept as the account's, a UUID too, and any text is kept to find the
    /// account by.
    Id,
    /// A role of this name, if the value is true.
    Role(&'static str),
    /// A list of roles, or roles with commas between them.
    Roles,
    /// An object of attributes, or its JSON.
    Attributes,
    /// Nothing that an account keeps.
    Nothing,
}

/// A table whose rows belong to accounts.
#[derive(Clone, Copy, Debug)]
pub struct Side {
    /// Names of the table, folded.
    pub tables: &'static [&'static str],
    /// The member that names the account.
    pub key: &'static str,
    /// The member of the account that it names.
    pub of: &'static str,
}

/// Every system.
pub const SYSTEMS: [&dyn System; 14] = [
    &django::Django,
    &keycloak::Keycloak,
    &firebase::Firebase,
    &auth0::Auth0,
    &supabase::Supabase,
    &wordpress::WordPress,
    &laravel::Laravel,
    &devise::Devise,
    &aspnet::AspNet,
    &spring::Spring,
    &kratos::Kratos,
    &better_auth::BetterAuth,
    &pocketbase::PocketBase,
    &fastapi_users::FastApiUsers,
];

/// Rows of tables that belong to accounts, by table and account.
#[derive(Debug, Default)]
pub struct Sides(HashMap<(usize, String), Vec<SideRow>>);

/// The name of a table, folded, and one of its rows.
type SideRow = (String, Map<String, Value>);

/// What a row is.
pub enum Placed {
    /// An account, with the members that it has here.
    Account(Map<String, Value>),
    /// A row that belongs to an account, or to none.
    Other {
        /// The table, if it has a name and its rows are not understood.
        unknown: Option<String>,
    },
}

impl Sides {
    /// Reads a row. The first time through a file, rows that belong to accounts are collected; the second
    /// time, the accounts get them.
    pub fn place(
        &mut self,
        system: &dyn System,
        table: Option<&str>,
        row: Map<String, Value>,
        first: bool,
    ) -> Placed {
        let (table, row) = system.place(table, row);
        let name = table.as_deref().map(folded).unwrap_or_default();
        let sides = system.sides();
        // An account is in a table without a name, or in the one that no other is.
        let side = position(sides, &name);
        let mut fields = Fields::new(row);
        if let Some(at) = side {
            if let (true, Some(key)) = (first, sides.get(at).and_then(|side| fields.text(side.key))) {
                self.0.entry((at, key)).or_default().push((name, fields.into_rest()));
            }
            return Placed::Other { unknown: None };
        }
        if !system.is_account_table(&name) {
            return Placed::Other { unknown: table };
        }

        if system.is_no_person(&fields) {
            return Placed::Other { unknown: None };
        }
        let mut account = Account::default();
        for (at, side) in sides.iter().enumerate() {
            let Some(key) = fields.text(side.of) else { continue };
            for (table, row) in self.0.get(&(at, key)).into_iter().flatten() {
                system.side(table, &mut Fields::new(row.clone()), &mut account);
            }
        }
        system.rest(&mut fields, &mut account);
        for (name, is) in system.names() {
            if let Some(value) = fields.take(name) {
                account.put(*is, value);
            }
        }
        Placed::Account(account.into_row(fields))
    }

    /// Collects the rows of a table that is in a file of its own; returns whether the system knows the table.
    pub fn add(&mut self, system: &dyn System, table: &str, row: Map<String, Value>) -> bool {
        let name = folded(table);
        let sides = system.sides();
        let Some(at) = position(sides, &name) else { return false };
        let fields = Fields::new(row);
        if let Some(key) = sides.get(at).and_then(|side| fields.text(side.key)) {
            self.0.entry((at, key)).or_default().push((name, fields.into_rest()));
        }
        true
    }
}

/// The place of the table of this folded name, which may have a prefix.
fn position(sides: &[Side], name: &str) -> Option<usize> {
    sides.iter().position(|side| side.tables.iter().any(|table| name.ends_with(table)))
}

/// The system whose export a row seems to be of: the one that knows most of its names, and most of whose
/// names it has.
pub fn recognise(row: &Map<String, Value>) -> Option<&'static str> {
    // An object of `dumpdata`, of whatever model.
    if ["model", "fields"].iter().all(|name| row.contains_key(*name)) {
        return Some(django::Django.name());
    }
    let known = |system: &dyn System| {
        let fields = Fields::new(system.place(None, row.clone()).1);
        system.names().iter().filter(|(name, _)| fields.get(name).is_some()).count()
    };
    let mut found: Vec<(usize, &dyn System)> =
        SYSTEMS.into_iter().map(|system| (known(system), system)).collect();
    found.sort_by_key(|(known, _)| std::cmp::Reverse(*known));
    match found.as_slice() {
        [(best, system), (next, _), ..] if best > next && *best >= 4 && best * 2 > system.names().len() => {
            Some(system.name())
        }
        _ => None,
    }
}

/// The system of this name.
pub fn find(name: &str) -> Option<&'static dyn System> {
    SYSTEMS.into_iter().find(|system| system.name() == name)
}
