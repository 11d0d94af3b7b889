//! `gatewright config …`

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::explain_address::ExplainAddress;
use super::{Failure, Global, Output};
use crate::app::check_files;
use crate::config::{Config, Loaded, default_toml, environment};

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Reports every error in the configuration
    Check,
    /// Explains one setting, or all: meaning, value, and where the value comes from
    Explain(Explain),
    /// Prints the configuration in effect, and where each value comes from
    Print,
    /// Explains step by step how the client's address is found; reads a request from standard input
    ExplainAddress(ExplainAddress),
    /// Prints a configuration file with every setting and its default
    Default,
}

#[derive(Args, Debug)]
pub(super) struct Explain {
    /// The setting, such as `server.listen`
    key: Option<String>,
}

impl ConfigCommand {
    pub(super) fn run(self, global: &Global, out: &mut Output) -> Result<(), Failure> {
        match self {
            Self::Default if out.is_json() => {
                let defaults = Config::default();
                let all = Config::settings().into_iter().map(|setting| {
                    (setting.key.to_owned(), Value::from(defaults.json(setting.key).unwrap_or_default()))
                });
                Ok(out.value(&Value::Object(all.collect()))?)
            }
            Self::Default => Ok(out.text(&default_toml())?),
            Self::Check => check(global, out),
            Self::ExplainAddress(explain) => explain.run(global, out),
            Self::Print => {
                let loaded = global.load()?;
                if out.is_json() {
                    let all = Config::settings().into_iter().map(|setting| {
                        let mut members = loaded.config.json(setting.key).unwrap_or_default();
                        members.insert("source".to_owned(), loaded.source(setting.key).to_string().into());
                        (setting.key.to_owned(), Value::Object(members))
                    });
                    return Ok(out.value(&Value::Object(all.collect()))?);
                }
                Ok(out.text(&loaded.print())?)
            }

            Self::Explain(Explain { key }) => {
                let loaded = global.load()?;
                match key {
                    Some(key) => explain(&loaded, &key, out),
                    None => {
                        Config::settings().iter().try_for_each(|setting| explain(&loaded, setting.key, out))
                    }
                }
            }
        }
    }
}

fn explain(loaded: &Loaded, key: &str, out: &mut Output) -> Result<(), Failure> {
    let (Some(text), Some(setting)) = (loaded.explain(key), Config::setting(key)) else {
        return Err(Failure::usage(format!("there is no setting `{key}`; `config print` lists them")));
    };
    if out.is_json() {
        let default = Config::default().json(key).and_then(|mut members| members.remove("value"));
        let mut members = loaded.config.json(key).unwrap_or_default();
        members.extend([
            ("key".to_owned(), json!(key)),
            ("about".to_owned(), json!(setting.doc)),
            ("source".to_owned(), json!(loaded.source(key).to_string())),
            ("default".to_owned(), json!(default)),
            ("takes".to_owned(), json!(setting.expected)),
            ("example".to_owned(), json!(setting.example)),
            ("environment".to_owned(), json!(setting.variable())),
            ("reload".to_owned(), json!(setting.reload)),
        ]);
        return Ok(out.value(&Value::Object(members))?);
    }
    Ok(out.text(&text)?)
}

fn check(global: &Global, out: &mut Output) -> Result<(), Failure> {
    let loaded = match Config::load(&global.args(), environment()) {
        Ok(loaded) => loaded,
        Err(errors) => {
            let all: Vec<_> = errors.all().iter().map(ToString::to_string).collect();
            out.value(&json!({ "ok": false, "errors": all }))?;
            return Err(Failure::configuration(errors));
        }
    };
    if let Err(error) = check_files(&loaded.config) {
        out.value(&json!({ "ok": false, "errors": [error.to_string()] }))?;
        return Err(error.into());
    }
    out.value(&json!({ "ok": true, "warnings": loaded.warnings }))?;
    for warning in &loaded.warnings {
        out.line(&format!("warning: {warning}"))?;
    }
    let from = loaded.file.as_ref().map_or_else(String::new, |file| format!(" ({})", file.display()));
    Ok(out.line(&format!("the configuration{from} is good"))?)
}
