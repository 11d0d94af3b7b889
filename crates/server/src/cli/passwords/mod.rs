//! `gatewright passwords …`

mod lines;

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};

use auth::password::pepper::{self, Place};
use auth::password::{BREACH_BITS, BREACH_KIND};
use breach_filter::{Merge, Sorter, WriteError, Writer};
use clap::{Args, Subcommand};
use serde_json::json;

use self::lines::{Lines, Meter};
use super::command_context::{CommandContext, configure};
use super::interrupt::Interrupt;
use super::{Failure, Global, Output};
use crate::app::bootstrap::IfMissing;

/// Hashes sorted in memory at once: 256 MiB.
const IN_MEMORY: usize = 1 << 25;

#[derive(Debug, Subcommand)]
pub(super) enum PasswordsCommand {
    /// Creates a filter of passwords that appeared in breaches (setting `passwords.breach_filter`)
    ///
    /// An input is a list of SHA-1 hashes as Have I Been Pwned publishes it: 40 hexadecimal digits a line,
    /// optionally followed by `:` and a count; or, with --words, a list of passwords. Sorted lists of hashes
    /// are streamed and need almost no memory. Unsorted input needs 256 MiB of memory, and eight bytes a line
    /// of disk space beside the filter while it is created. A running server continues with the filter that
    /// it has opened; restart it to use the new one.
    Filter(Filter),
    /// Removes the pepper's encryption from stored password hashes, after `passwords.pepper` was turned off
    /// on every node
    ///
    /// Otherwise they stay encrypted until each user's password changes or is hashed again, and continue to
    /// work. The command can be repeated.
    Unseal,
}

#[derive(Args, Debug)]
pub(super) struct Filter {
    /// Where the filter is written; an existing filter is replaced when the new one is complete
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The inputs are passwords, one a line, in UTF-8
    #[arg(long)]
    words: bool,
    /// The lists; `-` is standard input
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
}

impl PasswordsCommand {
    pub(super) async fn run(self, global: &Global, out: &mut Output) -> Result<(), Failure> {
        match self {
            Self::Filter(filter) => filter.run(&global.interrupt, out),
            Self::Unseal => unseal(global, out).await,
        }
    }
}

async fn unseal(global: &Global, out: &mut Output) -> Result<(), Failure> {
    let command = CommandContext::open(global, configure(global)?, IfMissing::Fail).await?;
    command.ensure_auditable().await?;
    let mut lease = command.lease();
    let ctx = &mut command.op_context(&mut lease);
    let mut next = Some(Place::default());
    while let Some(place) = next {
        global.interrupt.check()?;
        next = pepper::unseal(ctx, place).await?;
    }
    Ok(out.tell(
        "every sealed password hash that could be opened is now unsealed",
        &json!({ "unsealed": true }),
    )?)
}

impl Filter {
    fn run(self, interrupt: &Interrupt, out: &mut Output) -> Result<(), Failure> {
        let part = self.out.with_added_extension("part");
        let _unfinished = interrupt.unfinished(&part);
        let made = self.make(&part).and_then(|(passwords, lines)| {
            std::fs::rename(&part, &self.out).map_err(|why| unwritable(&self.out, &why))?;
            Ok((passwords, lines))
        });
        if made.is_err() {
            // The file may not exist.
            let _ = std::fs::remove_file(&part);
        }
        let (passwords, lines) = made?;
        let bytes = self.out.metadata().map_err(|why| unwritable(&self.out, &why))?.len();
        let file = self.out.display().to_string();
        let text = format!("{passwords} passwords of {lines} lines are in {file}, in {bytes} bytes");
        Ok(out
            .tell(&text, &json!({ "passwords": passwords, "lines": lines, "bytes": bytes, "file": file }))?)
    }

    /// Writes the filter to `part`; returns the number of passwords in it, and the number of lines.
    fn make(&self, part: &Path) -> Result<(u64, u64), Failure> {
        let is_sorted = !self.words && self.inputs.iter().all(|input| input.as_os_str() != "-");
        if is_sorted && let Some(made) = self.merge(part)? {
            return Ok(made);
        }
        self.sort(part)
    }

    /// Merges the inputs if they are sorted; None when one of them is not.
    fn merge(&self, part: &Path) -> Result<Option<(u64, u64)>, Failure> {
        let meter = Meter::of(&self.inputs);
        let inputs: Result<Vec<_>, Failure> =
            self.inputs.iter().map(|input| self.lines(input, &meter)).collect();
        let mut writer = writer(part)?;
        for hash in Merge::new(inputs?)? {
            match writer.push(hash?) {
                Ok(()) => {}
                Err(WriteError::Order) => return Ok(None),
                Err(error) => return Err(unwritable(part, &error)),
            }
        }
        Ok(Some((finish(writer, part)?, meter.lines())))
    }

    fn sort(&self, part: &Path) -> Result<(u64, u64), Failure> {
        let meter = Meter::of(&self.inputs);
        let folder = part.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut writer = writer(part)?;
        let mut sorter = Sorter::new(folder, IN_MEMORY);
        for input in &self.inputs {
            for hash in self.lines(input, &meter)? {
                sorter.push(hash?).map_err(|why| unwritable(folder, &why))?;
            }
        }
        for hash in sorter.finish().map_err(|why| unwritable(folder, &why))? {
            let hash = hash.map_err(|why| unwritable(folder, &why))?;
            writer.push(hash).map_err(|why| unwritable(part, &why))?;
        }
        Ok((finish(writer, part)?, meter.lines()))
    }

    fn lines<'a>(&self, input: &Path, meter: &'a Meter) -> Result<Lines<'a>, Failure> {
        let from: Box<dyn std::io::Read> = if input.as_os_str() == "-" {
            Box::new(std::io::stdin())
        } else {
            let file = File::open(input);
            Box::new(
                file.map_err(|why| Failure::failed(format!("{} cannot be read: {why}", input.display())))?,
            )
        };
        let from = BufReader::with_capacity(1 << 18, from);
        Ok(Lines::new(input.display().to_string(), Box::new(from), self.words, meter))
    }
}

type ToFile = Writer<BufWriter<File>>;

fn writer(part: &Path) -> Result<ToFile, Failure> {
    let file = File::create(part).map_err(|why| unwritable(part, &why))?;
    let to = BufWriter::with_capacity(1 << 18, file);
    Writer::new(to, BREACH_KIND, BREACH_BITS).map_err(|why| unwritable(part, &why))
}

fn finish(writer: ToFile, part: &Path) -> Result<u64, Failure> {
    let (count, to) = writer.finish().map_err(|why| unwritable(part, &why))?;
    to.get_ref().sync_all().map_err(|why| unwritable(part, &why))?;
    Ok(count)
}

fn unwritable(path: &Path, why: &dyn std::fmt::Display) -> Failure {
    Failure::failed(format!("{} cannot be written: {why}", path.display()))
}
