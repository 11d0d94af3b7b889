//! `[accounts]`

use std::path::{Path, PathBuf};

use auth::account::ProfileSchema;
use protocol::wire::scope::Scope;

use super::error::SettingError;
use super::section;
use crate::config::check::Report;
use crate::config::value::RoleScopes;

section! {
    /// Accounts.
    pub struct AccountsConfig in "accounts." {
        /// The file of a JSON Schema for profile attributes in addition to `country`, `annual_income` and
        /// `timezone`.
        attributes_schema_file: Option<PathBuf> = None, example: "/etc/gatewright/attributes.schema.json";
        /// The scopes that users of each role can be granted.
        scopes: RoleScopes = RoleScopes::default(),
            example: "admin=users:read users:write,basic_user=profile";
    }
}

impl AccountsConfig {
    pub(super) fn apply_to(&self, settings: &mut auth::Settings) -> Result<(), SettingError> {
        let Self { attributes_schema_file, scopes } = self;
        if let Some(path) = attributes_schema_file {
            settings.attributes = attributes(path)?;
        }

        let scope = |(role, words): (&String, &Vec<String>)| {
            let scope = Scope::parse(&words.join(" ")).map_err(|_| {
                let why = format!("the scopes of `{role}` are too many, or one is not a scope");
                SettingError::new("accounts.scopes", why)
            })?;
            Ok((role.clone(), scope))
        };
        settings.scopes = scopes.0.iter().map(scope).collect::<Result<_, _>>()?;
        Ok(())
    }

    pub(crate) fn check(&self, report: &mut Report<'_>) {
        let RoleScopes(scopes) = &self.scopes;
        for role in scopes.keys().filter(|role| !matches!(role.as_str(), "basic_user" | "admin")) {
            report.warn(format!(
                "accounts.scopes names the role `{role}`, which is neither `basic_user` nor `admin`"
            ));
        }
    }
}

/// Reads the additional profile attributes.
fn attributes(path: &Path) -> Result<ProfileSchema, SettingError> {
    const KEY: &str = "accounts.attributes_schema_file";
    let text = std::fs::read_to_string(path).map_err(|why| SettingError::unreadable(KEY, path, &why))?;
    let schema = serde_json::from_str(&text).map_err(|why| why.to_string());
    let schema = schema.and_then(|schema| ProfileSchema::new(&schema));
    schema.map_err(|why| SettingError::file(KEY, path, why))
}
