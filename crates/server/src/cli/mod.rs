//! The command line: one file per command group.

mod audit;
mod client;
mod command_context;
mod completions;
mod config;
mod explain_address;
mod failure;
mod interrupt;
mod keys;
mod looking;
mod migrate;
mod output;
mod passwords;
mod probe;
mod progress;
mod recover;
mod secret;
mod serve;
mod time_arg;
mod user;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
#[cfg(target_os = "linux")]
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::process::{Resource, Rlimit, setrlimit};

use self::failure::Failure;
use self::interrupt::Interrupt;
use self::output::Output;
use crate::app::background_writer::{BackgroundWriter, LAST_LINES};
use crate::app::lifecycle::{block_sent_faults, survive_file_size_limit};
use crate::app::logging;
use crate::config::{Config, LoadArgs, Loaded, environment};

/// An authentication server: accounts, sessions and tokens, in one binary.
#[derive(Debug, Parser)]
#[command(name = "gatewright", version, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    options: GlobalOptions,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Options of every command")]
struct GlobalOptions {
    /// The configuration file; without it, `gatewright.toml` in the working directory, if it exists
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Overrides one setting of the file and the environment; may be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// The data directory, same as `--set data_dir=DIR`
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Prints JSON, for programs; an error is one line of JSON on standard error, with a `code`
    #[arg(long, global = true)]
    json: bool,
}

/// What every command is given.
struct Global {
    options: GlobalOptions,
    /// For the log.
    standard_error: BackgroundWriter,
    /// The signals that end a command.
    interrupt: Interrupt,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the server until it receives SIGTERM or SIGINT
    ///
    /// Without any configuration it keeps all data in `./gatewright-data` and listens on 127.0.0.1:8080.
    /// SIGTERM and SIGINT shut it down in order, a second one at once; SIGHUP reloads the configuration.
    Serve,
    /// Migrates the database to the schema of this version
    Migrate(migrate::Migrate),
    /// Manages accounts
    #[command(subcommand)]
    User(user::UserCommand),
    /// Manages clients: programs with their own credentials
    #[command(subcommand)]
    Client(client::ClientCommand),
    /// Manages the master key file and the keys that sign tokens
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Builds the breached-password filter; removes the pepper from stored hashes
    #[command(subcommand)]
    Passwords(passwords::PasswordsCommand),
    /// Reads and verifies the audit trail
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    Recover(recover::Recover),
    /// Tries how a server treats its clients: this one, or another
    #[command(subcommand)]
    Probe(probe::ProbeCommand),
    /// Checks, explains and prints the configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Prints completions for a shell
    Completions(completions::Completions),
    /// Prints the manual page, or writes the pages of all commands into a directory
    Man(completions::Man),
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it has no `=` between key and value")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

impl Global {
    fn args(&self) -> LoadArgs {
        let options = &self.options;
        let mut set = options.set.clone();
        set.extend(options.data_dir.iter().map(|dir| ("data_dir".to_owned(), dir.display().to_string())));
        LoadArgs { config: options.config.clone(), directory: PathBuf::new(), set }
    }

    fn load(&self) -> Result<Loaded, Failure> {
        Config::load(&self.args(), environment()).map_err(Failure::configuration)
    }
}

/// The definition of the command line, with names and texts as `--help` shows them.
pub fn command() -> clap::Command {
    Cli::command()
}

pub use completions::markdown;

/// Runs the command line; the first argument is the program's name. Exit status: 0 done, 1 failed, 2 the
/// arguments or the configuration are wrong.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let json = args.iter().take_while(|argument| *argument != "--").any(|argument| argument == "--json");
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) if json && error.use_stderr() => {
            let text = error.render().to_string();
            return Failure::usage(text.trim_end().trim_start_matches("error: "))
                .tell(json, std::io::stderr());
        }
        Err(error) => {
            // A failure to print has no other place to be reported.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    protect_memory();
    // Before any other thread is there.
    block_sent_faults();
    let mut standard_error = match logging::standard_error() {
        Ok(writer) => writer,
        Err(why) => {
            let text = format!("no thread can be started: {why}");
            return Failure::failed(text).tell(json, std::io::stderr());
        }
    };

    let mut builder = match cli.command {
        Command::Serve => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let ended = match builder.enable_all().build() {
        Ok(runtime) => {
            let ended = runtime.block_on(cli.run(standard_error.clone()));
            // Every task was told to stop, and those that did not were logged.
            runtime.shutdown_background();
            ended
        }
        Err(why) => Err(Failure::failed(format!("the runtime cannot be started: {why}"))),
    };

    let status = ended.map_or_else(|failure| failure.tell(json, &mut standard_error), |()| ExitCode::SUCCESS);
    standard_error.finish(LAST_LINES);
    status
}

/// Keeps passwords and keys out of core dumps, and out of reach of debuggers of the same user, as far as the
/// system allows.
fn protect_memory() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    // Without the limit or the attribute the process works all the same.
    let _ = setrlimit(Resource::Core, none);
    #[cfg(target_os = "linux")]
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

impl Cli {
    async fn run(self, standard_error: BackgroundWriter) -> Result<(), Failure> {
        let no_handler = |why| Failure::failed(format!("no signal handler can be installed: {why}"));
        let Self { options, command } = self;
        survive_file_size_limit().map_err(no_handler)?;
        // The server has its own way to end.
        let interrupt = match &command {
            Command::Serve => Interrupt::default(),
            _ => Interrupt::watch().map_err(no_handler)?,
        };
        let global = Global { options, standard_error, interrupt: interrupt.clone() };
        interrupt.run(Box::pin(command.run(&global))).await
    }
}

impl Command {
    async fn run(self, global: &Global) -> Result<(), Failure> {
        let mut out = Output::standard(global.options.json);
        match self {
            Self::Serve => serve::run(global).await,
            Self::Migrate(migrate) => migrate.run(global, &mut out).await,
            Self::User(user) => Box::pin(user.run(global, &mut out)).await,
            Self::Client(client) => client.run(global, &mut out).await,
            Self::Keys(keys) => keys.run(global, &mut out).await,
            Self::Passwords(passwords) => passwords.run(global, &mut out).await,
            Self::Audit(audit) => Box::pin(audit.run(global, &mut out)).await,
            Self::Recover(recover) => recover.run(global, &mut out).await,
            Self::Probe(probe) => probe.run(global, &mut out).await,
            Self::Config(config) => config.run(global, &mut out),
            Self::Completions(completions) => completions.run(&mut out),
            Self::Man(man) => man.run(&mut out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_definition_is_valid() {
        command().debug_assert();
    }

    #[test]
    fn nothing_secret_is_an_argument() {
        fn arguments(command: &clap::Command) -> Vec<String> {
            let with_value = command.get_arguments().filter(|arg| arg.get_action().takes_values());
            let own = with_value.map(|arg| arg.get_id().to_string());
            own.chain(command.get_subcommands().flat_map(arguments)).collect()
        }
        let secret = |name: &String| {
            ["password", "secret", "token"].iter().any(|word| name.contains(word)) && !name.ends_with("_file")
        };
        let found: Vec<_> = arguments(&command()).into_iter().filter(secret).collect();
        assert!(found.is_empty(), "{found:?} would be visible to every user of the machine");
    }
}
