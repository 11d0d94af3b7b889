//! Renders the table of settings: a page of documentation, a default file, an explanation of one setting.

use std::fmt::Write as _;

use super::settings::{Config, Section, Setting};
use super::{Loaded, Source};

/// The default of a setting; in words where it depends on other settings.
fn default_of(setting: &Setting, section: &dyn Section) -> String {
    match (setting.derived, section.toml(setting.name)) {
        (Some(words), _) => words.to_owned(),
        (None, Some(toml)) if toml == "\"\"" => "none".to_owned(),
        (None, Some(toml)) => format!("`{toml}`"),
        (None, None) => String::new(),
    }
}

fn sections(config: &Config) -> impl Iterator<Item = (&'static str, &dyn Section)> {
    Config::SECTIONS.iter().filter_map(|name| Some((*name, config.section(name)?)))
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = out.write_fmt(text);
    out.push('\n');
}

/// The page `docs/generated/configuration.md`.
pub fn markdown() -> String {
    let defaults = Config::default();
    let mut out = String::from(
        "# Configuration\n\n\
         Generated from the table of settings. One TOML file (`gatewright.toml` in the working directory,\n\
         or `--config`), then the environment, then `--set`; later sources override earlier ones. Unknown\n\
         names are errors. `DATABASE_URL`, `REDIS_URL`, `DB_POOL_MIN_CONN` and `DB_POOL_MAX_CONN` are read\n\
         too; `GATEWRIGHT_` names override them. SIGHUP applies the settings marked so, and logs which\n\
         others need a restart. In the environment the items of a list are separated by commas.\n",
    );

    for (name, section) in sections(&defaults) {
        let title = if name.is_empty() { "Top level".to_owned() } else { format!("`[{name}]`") };
        line(&mut out, format_args!("\n## {title}\n\n{}", section.about()));
        for setting in section.settings() {
            line(&mut out, format_args!("\n### `{}`\n\n{}\n", setting.key, setting.doc));
            line(&mut out, format_args!("- default: {}", default_of(setting, section)));
            line(&mut out, format_args!("- takes: {}", setting.expected));
            line(&mut out, format_args!("- example: `{}`", setting.example));
            line(&mut out, format_args!("- environment: `{}`", setting.variable()));
            line(
                &mut out,
                format_args!("- SIGHUP: {}", if setting.reload { "applies it" } else { "no, restart" }),
            );
        }
    }

    out
}

/// A configuration file with every setting, commented out.
pub fn default_toml() -> String {
    let defaults = Config::default();
    let mut out =
        String::from("# Every setting of Gatewright with its default. Remove the `#` to change one.\n");
    for (name, section) in sections(&defaults) {
        if !name.is_empty() {
            line(&mut out, format_args!("\n# {}\n[{name}]", section.about()));
        }
        for setting in section.settings() {
            line(&mut out, format_args!("\n# {}", setting.doc));
            if let Some(words) = setting.derived {
                line(&mut out, format_args!("# default: {words}"));
            }
            line(
                &mut out,
                format_args!("#{} = {}", setting.name, section.toml(setting.name).unwrap_or_default()),
            );
        }
    }
    out
}

impl Loaded {
    /// Where the value of `key` came from.
    pub fn source(&self, key: &str) -> &Source {
        self.sources.get(key).unwrap_or(&Source::Default)
    }

    /// The configuration in effect as TOML, each value with its source; passwords are hidden.
    pub fn print(&self) -> String {
        let mut out = String::new();
        for (name, section) in sections(&self.config) {
            if !name.is_empty() {
                line(&mut out, format_args!("\n[{name}]"));
            }
            for setting in section.settings() {
                let value = section.toml(setting.name).unwrap_or_default();
                line(&mut out, format_args!("{} = {value} # {}", setting.name, self.source(setting.key)));
            }
        }
        out
    }

    /// One setting: meaning, default, value and its source.
    pub fn explain(&self, key: &str) -> Option<String> {
        let setting = Config::setting(key)?;
        let defaults = Config::default();
        let section = key.split_once('.').map_or("", |(section, _)| section);
        let default = default_of(setting, defaults.section(section)?);
        let now = self.config.toml(key)?;
        let reload = if setting.reload { "SIGHUP applies it" } else { "a restart" };
        let source = self.source(key);
        Some(format!(
            "{key}\n  {}\n  now:         {now} ({source})\n  default:     {default}\n  takes:       {}\n  \
             example:     {}\n  environment: {}\n  change by:   {reload}\n",
            setting.doc,
            setting.expected,
            setting.example,
            setting.variable(),
        ))
    }
}
