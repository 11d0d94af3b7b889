//! `gatewright config …`

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::explain_address::ExplainAddress;
use super::{Failure, Global, Output};
use crate::app::start_error::StartError;
use crate::config::{Config, Loaded, default_toml, environment, secret_file};

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
            Self::Default => Ok(out.text(&default_toml())?),
            Self::Check => check(global, out),
            Self::ExplainAddress(explain) => explain.run(global, out),
            Self::Print => {
                let loaded = global.load()?;
                if out.is_json() {
                    let all = Config::settings().into_iter().map(|setting| {
                        let value = json!({
                            "value": loaded.config.shown(setting.key),
                            "source": loaded.source(setting.key).to_string(),
                        });
                        (setting.key.to_owned(), value)
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
        return Ok(out.value(&json!({
            "key": key,
            "about": setting.doc,
            "value": loaded.config.shown(key),
            "source": loaded.source(key).to_string(),
            "default": Config::default().shown(key),
            "takes": setting.expected,
            "example": setting.example,
            "environment": setting.variable(),
            "reload": setting.reload,
        }))?);
    }
    Ok(out.text(&text)?)
}

fn check(global: &Global, out: &mut Output) -> Result<(), Failure> {
    let loaded = match Config::load(&global.args(), environment()) {
        Ok(loaded) => loaded,
        Err(errors) => {
            let all: Vec<_> = errors.all().iter().map(ToString::to_string).collect();
            out.value(&json!({ "ok": false, "errors": all }))?;
            return Err(if out.is_json() { Failure::usage("") } else { Failure::configuration(errors) });
        }
    };
    if let Err(error) = files(&loaded.config) {
        out.value(&json!({ "ok": false, "errors": [error.to_string()] }))?;
        return Err(if out.is_json() { Failure::usage("") } else { error.into() });
    }
    out.value(&json!({ "ok": true, "warnings": loaded.warnings }))?;
    for warning in &loaded.warnings {
        out.line(&format!("warning: {warning}"))?;
    }
    let from = loaded.file.as_ref().map_or_else(String::new, |file| format!(" ({})", file.display()));
    Ok(out.line(&format!("the configuration{from} is good"))?)
}

/// Reads the files that settings name, as `serve` does.
fn files(config: &Config) -> Result<(), StartError> {
    config.auth(&config.server.public_url())?;
    config.tokens.shared_secret()?;
    if let (Some(cert), Some(key)) = (&config.server.tls_cert_file, &config.server.tls_key_file) {
        listener::Tls::load(cert, key, secret_file::read_key).map_err(StartError::Tls)?;
    }
    Ok(())
}
