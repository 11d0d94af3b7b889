//! Generated from the definition of the command line: completions, manual pages, a page of documentation.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_complete::Shell;

use super::failure::Code;
use super::{Failure, Output, command};

/// Columns of the help texts in the documentation.
const COLUMNS: usize = 100;

/// The beginning of the page of documentation.
const ABOUT: &str = r#"# Command line

Generated from the definition of the commands. Exit status: 0 done, 1 failed, 2 the arguments or the
configuration are wrong, 128 and the number of a signal that ended it. Secrets are read from a prompt, a file
or standard input, never from an argument.

## Errors

An error is one sentence on standard error. With `--json` it is one line of JSON, the last one there; lines
before it are the log:

```json
{"code":"user_unknown","exit_status":1,"message":"there is no user \"anna\""}
```

`errors` lists several mistakes, of a configuration for example, each with its `message` and, where it has
one, its `key`. Codes stay as they are; new ones may come.

| `code` | meaning |
|---|---|
"#;

#[derive(Args, Debug)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Args, Debug)]
pub(super) struct Man {
    /// Writes one page per command into this directory instead
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Completions {
    pub(super) fn run(self, out: &mut Output) -> Result<(), Failure> {
        refuse_json(out)?;
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command(), "gatewright", &mut script);
        Ok(out.text(&String::from_utf8_lossy(&script))?)
    }
}

impl Man {
    pub(super) fn run(self, out: &mut Output) -> Result<(), Failure> {
        refuse_json(out)?;
        let mut root = command();
        root.build();
        match self.dir {
            None => Ok(out.text(&page(&root)?)?),
            Some(dir) => {
                let failed = |why: std::io::Error| {
                    Failure::failed(format!("{} cannot be written: {why}", dir.display()))
                };
                std::fs::create_dir_all(&dir).map_err(failed)?;
                write_pages(&root, &dir)
            }
        }
    }
}

fn refuse_json(out: &Output) -> Result<(), Failure> {
    if out.is_json() {
        Err(Failure::usage("this command prints no JSON: leave `--json` out"))
    } else {
        Ok(())
    }
}

fn page(command: &Command) -> Result<String, Failure> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn write_pages(command: &Command, dir: &Path) -> Result<(), Failure> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let path = dir.join(format!("{name}.1"));
    std::fs::write(&path, page(command)?)
        .map_err(|why| Failure::failed(format!("{} cannot be written: {why}", path.display())))?;
    command.get_subcommands().filter(|sub| sub.get_name() != "help").try_for_each(|sub| write_pages(sub, dir))
}

/// The page `docs/generated/cli.md`: the help text of every command.
pub fn markdown() -> String {
    let mut root = command().term_width(COLUMNS);
    root.build();
    let mut out = ABOUT.to_owned();
    for (code, meaning) in Code::DOCUMENTED {
        // Writing to a string does not fail.
        let _ = writeln!(out, "| `{}` | {meaning} |", code.as_str());
    }
    section(&root, "gatewright", &mut out);
    out
}

fn section(command: &Command, path: &str, out: &mut String) {
    // The text of `--help`, or the short help where the long one has nothing to add.
    let asked = command.clone().term_width(COLUMNS).try_get_matches_from(["gatewright", "--help"]);
    let help = asked.err().map(|help| help.render().to_string()).unwrap_or_default();
    let help = help.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    // writing to a string does not fail
    let _ = write!(out, "\n## `{path}`\n\n```text\n{}\n```\n", help.trim_end());
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        section(sub, &format!("{path} {}", sub.get_name()), out);
    }
}
