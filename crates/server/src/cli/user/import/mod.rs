//! `gatewright user import`

mod check;
mod document;
mod input;
mod prepare;
mod records;
mod report;
mod table;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use auth::OpContext;
use auth::account::systems::{self, System};
use auth::account::{ImportOptions, Importer, Survey};
use clap::Args;
use model::Secret;
use protocol::wire::password_hash::FirebaseProject;

use self::input::Input;
use self::prepare::Preparation;
use self::records::{Fault, Format, Layout, Record, Records};
use self::report::{Report, Tally};
use self::table::Dialect;
use super::super::command_context::CommandContext;
use super::super::progress::Progress;
use super::super::secret::known_password;
use super::super::{Failure, Global, Output};
use crate::app::bootstrap::IfMissing;
use crate::app::file_owner::as_operator;
use crate::config::Config;

/// Longest file of Firebase hash parameters that is read, in bytes.
const PROJECT_BYTES: u64 = 4096;
/// Names of members that hold the rows of a document.
const WRAPPERS: [&str; 9] =
    ["users", "user", "accounts", "rows", "records", "items", "data", "identities", "documents"];

#[derive(Args, Debug)]
pub(in crate::cli) struct Import {
    /// The file, or `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    names: Names,
    #[command(flatten)]
    rules: Rules,
    /// Validates every row, shows what would happen, and writes nothing
    #[arg(long)]
    dry_run: bool,
    /// Writes the result of each row into this new file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// How the file is read.
#[derive(Args, Debug)]
#[command(next_help_heading = "How the file is read")]
struct Shape {
    /// The format; without it, the extension of the file's name decides
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// What separates the cells of CSV: one character, or `tab`
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    delimiter: Option<u8>,
    /// A text that means "no value", such as `NULL` or `\N`; may be repeated
    #[arg(long, value_name = "TEXT")]
    null: Vec<String>,
    /// Allows cells of CSV that go on over a line end and hold delimiters
    ///
    /// Without it such a cell stops the import: it is what a forgotten quote makes of the rows after it.
    #[arg(long)]
    multiline: bool,
    /// Imports the rows before the first place that cannot be read, instead of nothing
    #[arg(long)]
    until_fault: bool,
}

/// What the members are.
#[derive(Args, Debug)]
#[command(next_help_heading = "What the members are")]
struct Names {
    /// Says which member a name of the file is; may be repeated
    #[arg(long, value_name = "OLD=NEW", value_parser = super::super::pair)]
    map: Vec<(String, String)>,
    /// A name of the file, or an attribute as `profile.NAME`, that may be lost; may be repeated
    #[arg(long, value_name = "NAME")]
    ignore: Vec<String>,
    /// The system whose own export the file is
    #[arg(long, value_name = "SYSTEM", value_parser = system_names())]
    from: Option<String>,
    /// A file with another table of the system, such as its second factors; may be repeated
    #[arg(long, value_name = "TABLE=FILE", value_parser = super::super::pair, requires = "from")]
    table: Vec<(String, String)>,
    /// Gives every account a new number; the one in the file is kept as `external_id`
    #[arg(long)]
    new_numbers: bool,
    /// Says what a role of the file is here: `basic_user` or `admin`; may be repeated
    #[arg(long, value_name = "OLD=NEW", value_parser = role_pair)]
    map_role: Vec<(String, String)>,
    /// The JSON file with the hash parameters of a Firebase project, for hashes from there
    ///
    /// Its members are those that the Firebase console shows: `base64_signer_key`, `base64_salt_separator`,
    /// `rounds` and `mem_cost`. The signer key is not stored.
    #[arg(long, value_name = "FILE")]
    firebase_project: Option<PathBuf>,
}

/// What is done with rows.
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
#[command(next_help_heading = "What is done with rows")]
struct Rules {
    /// Gives existing accounts what they lack, and hashes that the origin has changed since
    ///
    /// A password that was changed here stays. An account that is inactive in the file is deactivated; none
    /// is activated.
    #[arg(long)]
    update: bool,
    /// Leaves out an optional member that is invalid, with a warning in the report, instead of refusing the
    /// row
    #[arg(long)]
    lenient: bool,
    /// Imports people again whose account was erased here
    #[arg(long)]
    restore_erased: bool,
    /// Accepts hashes of broken kinds, such as MD5; the first login replaces them
    #[arg(long)]
    allow_weak: bool,
    /// The file whose first line is the secret that the system appended to every password before bcrypt
    ///
    /// It becomes a part of each stored hash, until the first login replaces that.
    #[arg(long, value_name = "FILE")]
    pepper_file: Option<PathBuf>,
    /// Before anything is written, checks the known password of this person against the file
    #[arg(long, value_name = "EMAIL")]
    check: Option<String>,
    /// The file whose first line is that password, or `-` for standard input; without it, a prompt
    #[arg(long, value_name = "FILE", requires = "check")]
    check_password_file: Option<PathBuf>,
}

impl Import {
    pub(in crate::cli) async fn run(
        self,
        global: &Global,
        config: Config,
        out: &mut Output,
    ) -> Result<(), Failure> {
        let layout = self.layout()?;
        let mut options = self.options()?;
        let mut preparation = Preparation::new(&self.shape.null, &self.names.map, &self.names.ignore)?;
        options.ignored_attributes.clone_from(&preparation.ignored_attributes);
        preparation.system = self.system();
        preparation.has_new_numbers = self.names.new_numbers;
        let input = Input::open(&self.file)?;
        self.read_tables(&mut preparation)?;
        let survey = self.survey(global, &input, &layout, &mut preparation)?;
        let known = self.known_password(global)?;

        let missing = if self.dry_run { IfMissing::Fail } else { IfMissing::Create };
        let command = CommandContext::open(global, config, missing).await?;
        if !self.dry_run {
            command.ensure_auditable().await?;
        }
        let mut lease = command.lease();
        let ctx = &mut command.op_context(&mut lease);
        if let Some((email, password)) = known {
            let row = row_of(&email, (&input, &layout), &mut preparation)?;
            check::check((ctx, out), row, &options, (&email, &password)).await?;
        }
        let report = self.report.as_deref().map(Report::create).transpose()?;
        let mut work = Work {
            importer: Importer::new(options),
            tally: Tally::default(),
            report,
            progress: Progress::begin(Some(input.size)),
        };

        let ended = self.import(global, (&input, &layout), &mut preparation, ctx, &mut work).await;
        let Work { importer, tally, progress, .. } = work;
        drop(progress);
        tally.tell(&importer, survey.roles(), self.dry_run, out)?;
        ended?;
        match tally.refused {
            0 => Ok(()),
            refused => Err(Failure::failed(format!("{refused} of {} rows were refused", tally.rows()))),
        }
    }

    /// Imports the rows in batches. Where the file cannot be read to its end, the rows before that are
    /// imported.
    async fn import(
        &self,
        global: &Global,
        (input, layout): (&Input, &Layout),
        preparation: &mut Preparation,
        ctx: &mut OpContext<'_>,
        work: &mut Work,
    ) -> Result<(), Failure> {
        let mut records = records(input, layout)?;
        loop {
            if let Err(stopped) = global.interrupt.check() {
                work.flush(ctx, records.bytes()).await?;
                return Err(stopped.and("run the import again, and it goes on with the other rows"));
            }
            let record = match records.next() {
                Ok(Some(record)) => record,
                Ok(None) => return work.flush(ctx, records.bytes()).await,

                Err(fault) => {
                    work.flush(ctx, records.bytes()).await?;
                    let name = &input.name;
                    return Err(Failure::failed(format!("{name} cannot be read any further: {fault}")));
                }
            };
            let line = record.line;
            let row = match record.row.map(|row| preparation.row(record.table.as_deref(), row, false)) {
                Ok(Ok(prepared)) => {
                    work.tally.factors_lost += u64::from(prepared.loses_factor);
                    Ok(prepared.row)
                }
                Ok(Err(_)) => continue,
                Err(why) => Err(why),
            };
            if work.importer.add(ctx, line, row) {
                work.flush(ctx, records.bytes()).await?;
            }
        }
    }

    /// Reads the whole file, before anything is written.
    fn survey(
        &self,
        global: &Global,
        input: &Input,
        layout: &Layout,
        preparation: &mut Preparation,
    ) -> Result<Survey, Failure> {
        let mut records = records(input, layout)?;
        let mut survey = Survey::default();
        let mut looks_like = None;
        loop {
            global.interrupt.check()?;
            match records.next() {
                Ok(None) => break,
                Ok(Some(Record { line, table, row: Ok(row) })) => {
                    if survey.rows() == 0 && preparation.system.is_none() {
                        looks_like = systems::recognise(&row);
                    }
                    match preparation.row(table.as_deref(), row, true) {
                        Ok(prepared) => survey.add(line, &prepared.row),
                        Err(table) => table.iter().for_each(|table| survey.add_other(table)),
                    }
                }
                Ok(Some(Record { row: Err(_), .. })) => {}
                Err(Fault::Text(..)) if self.shape.until_fault => break,
                Err(fault) => {
                    let hint = "nothing was imported; --until-fault imports the rows before that";
                    return Err(Failure::failed(format!("{}: {fault}\n{hint}", input.name)));
                }
            }
        }

        let mut objections = survey.objections();
        let unseen = preparation.unseen();
        objections.extend(
            unseen
                .map(|name| format!("no row has a member {name:?}, which --map or --ignore names"))
                .filter(|_| survey.rows() > 0),
        );
        if objections.is_empty() {
            return Ok(survey);
        }
        objections
            .extend(looks_like.map(|name| format!("it looks like an export of {name}: try --from {name}")));
        let all: Vec<String> = objections.iter().map(|why| format!("  {why}")).collect();
        Err(Failure::failed(format!("{}: nothing was imported, because\n{}", input.name, all.join("\n"))))
    }

    fn layout(&self) -> Result<Layout, Failure> {
        let format = Format::of(self.shape.format, &self.file).ok_or_else(|| {
            Failure::usage("the file's name does not show the format: give --format json or csv")
        })?;
        let is_tabbed = self.file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tsv"));
        let usual = if is_tabbed { b'\t' } else { b',' };
        let delimiter = self.shape.delimiter.unwrap_or(usual);
        let dialect = Dialect { delimiter, is_multiline: self.shape.multiline };
        let system = self.system();
        let wrappers =
            system.map(System::wrappers).filter(|wrappers| !wrappers.is_empty()).unwrap_or(&WRAPPERS);
        Ok(Layout { format, dialect, columns: system.and_then(System::columns), wrappers })
    }

    fn system(&self) -> Option<&'static dyn System> {
        systems::find(self.names.from.as_deref()?)
    }

    /// Reads the files of other tables.
    fn read_tables(&self, preparation: &mut Preparation) -> Result<(), Failure> {
        let Some(system) = preparation.system else { return Ok(()) };
        for (table, file) in &self.names.table {
            let path = Path::new(file);
            let input = Input::open(path)?;
            let layout = Layout { format: Format::of(None, path).unwrap_or(Format::Csv), ..self.layout()? };
            let mut records = records(&input, &Layout { columns: None, ..layout })?;
            while let Some(record) =
                records.next().map_err(|fault| Failure::failed(format!("{file} cannot be read: {fault}")))?
            {
                let row = record
                    .row
                    .map_err(|why| Failure::failed(format!("{file}: line {}: {why}", record.line)))?;
                if !preparation.sides.add(system, table, row) {
                    let why =
                        format!("--table: {} has no table {table:?} that belongs to accounts", system.name());
                    return Err(Failure::usage(why));
                }
            }
        }
        Ok(())
    }

    /// The person whose password is checked, and the password.
    fn known_password(&self, global: &Global) -> Result<Option<(String, Secret<String>)>, Failure> {
        let Some(email) = self.rules.check.clone() else { return Ok(None) };
        let file = self.rules.check_password_file.as_deref();
        let password = known_password(&global.interrupt, file, &email)?;
        Ok(Some((email, password)))
    }

    fn options(&self) -> Result<ImportOptions, Failure> {
        Ok(ImportOptions {
            firebase: self.names.firebase_project.as_deref().map(project).transpose()?,
            dry_run: self.dry_run,
            update: self.rules.update,
            lenient: self.rules.lenient,
            restore_erased: self.rules.restore_erased,
            allow_weak: self.rules.allow_weak,
            pepper: self.rules.pepper_file.as_deref().map(check::pepper).transpose()?,
            has_foreign_roles: self.names.from.is_some(),
            roles: self.names.map_role.iter().cloned().collect::<BTreeMap<_, _>>(),
            ..ImportOptions::default()
        })
    }
}

/// What the import of a file goes along with.
struct Work {
    importer: Importer,
    tally: Tally,
    report: Option<Report>,
    progress: Progress,
}

impl Work {
    /// Imports the batch, and reports its results.
    async fn flush(&mut self, ctx: &mut OpContext<'_>, bytes: u64) -> Result<(), Failure> {
        // Clears the progress line before the log writes to standard error.
        self.progress.hide();
        let outcomes = self.importer.flush(ctx).await?;
        if let Some(report) = &mut self.report {
            report.write(&outcomes)?;
        }
        for outcome in outcomes {
            self.tally.count(outcome);
        }
        self.progress.show(bytes, format!("{} rows", self.tally.rows()));
        Ok(())
    }
}

/// A row with the names that it has here.
fn records(input: &Input, layout: &Layout) -> Result<Records, Failure> {
    let unreadable = |why| Failure::failed(format!("{} cannot be read: {why}", input.name));
    Records::open(input, layout).map_err(unreadable)
}

/// The row of a person.
fn row_of(
    email: &str,
    (input, layout): (&Input, &Layout),
    preparation: &mut Preparation,
) -> Result<serde_json::Map<String, serde_json::Value>, Failure> {
    let mut records = records(input, layout)?;
    while let Ok(Some(record)) = records.next() {
        let row = record.row.ok().and_then(|row| preparation.row(record.table.as_deref(), row, false).ok());
        if let Some(prepared) = row.filter(|prepared| check::is_of(&prepared.row, email)) {
            return Ok(prepared.row);
        }
    }
    Err(Failure::failed(format!("--check: no row of {} is of {email}; nothing was imported", input.name)))
}

fn system_names() -> Vec<&'static str> {
    systems::SYSTEMS.into_iter().map(System::name).collect()
}

fn unreadable(path: &Path, why: &io::Error) -> Failure {
    Failure::failed(format!("{} cannot be read: {why}", path.display()))
}

fn project(path: &Path) -> Result<FirebaseProject, Failure> {
    let mut text = String::new();
    let read =
        as_operator(|| File::open(path)).and_then(|file| file.take(PROJECT_BYTES).read_to_string(&mut text));
    read.map_err(|why| unreadable(path, &why))?;
    FirebaseProject::parse(&text).map_err(|why| Failure::failed(format!("{}: {why}", path.display())))
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !b"\"\r\n".contains(byte) => Ok(*byte),
        b"tab" | b"\\t" => Ok(b'\t'),
        _ => Err("it has to be one character, such as `;`, or `tab`".to_owned()),
    }
}

fn role_pair(text: &str) -> Result<(String, String), String> {
    let (theirs, ours) = super::super::pair(text)?;
    let is_role = auth::account::ROLES.contains(&ours.as_str());
    if is_role { Ok((theirs, ours)) } else { Err("the role here has to be basic_user or admin".to_owned()) }
}
