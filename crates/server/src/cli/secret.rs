//! Secrets, read from a prompt without echo, a file or standard input; never from an argument, because every
//! user of the machine can read those.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use model::Secret;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::Failure;
use super::failure::Code;
use super::interrupt::Interrupt;
use crate::app::file_owner::as_operator;

/// Longest input that is read, in bytes; no password is longer.
const MOST_BYTES: u64 = 64 * 1024;

/// Where a password comes from.
#[derive(Args, Debug)]
pub(super) struct PasswordArgs {
    /// The file whose first line is the password, or `-` for standard input; without it, a prompt
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl PasswordArgs {
    /// Whether it will be asked for.
    pub(super) fn is_asked(&self) -> bool {
        self.password_file.is_none()
    }

    /// The new password of `user`; a typed one is asked for twice.
    pub(super) fn read(&self, interrupt: &Interrupt, user: &str) -> Result<Secret<String>, Failure> {
        if let Some(path) = &self.password_file {
            return secret_of(interrupt, path);
        }
        let mut terminal = Terminal::open(interrupt, "give --password-file FILE, or - for standard input")?;
        let first = terminal.ask_secret(&format!("New password of {user}: "))?;
        let again = terminal.ask_secret("Repeat the password: ")?;
        if first.expose() == again.expose() {
            Ok(first)
        } else {
            Err(Failure::failed("the two passwords differ; nothing was changed"))
        }
    }
}

/// Where the password of an account comes from that exists already.
#[derive(Args, Debug)]
pub(super) struct KnownPassword {
    /// The file whose first line is the password, or `-` for standard input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl KnownPassword {
    /// The password of `user`: from the file, else from the environment variable, else from a prompt.
    pub(super) fn read(
        &self,
        interrupt: &Interrupt,
        user: &str,
        variable: &str,
    ) -> Result<Secret<String>, Failure> {
        if let Some(path) = &self.password_file {
            return secret_of(interrupt, path);
        }
        let mut variables = crate::config::environment().into_iter();
        if let Some((_, password)) = variables.find(|(name, value)| name == variable && !value.is_empty()) {
            return Ok(Secret::new(password));
        }
        let mut terminal = Terminal::open(interrupt, "give --password-file FILE, or - for standard input")?;
        terminal.ask_secret(&format!("Password of {user}: "))
    }
}

/// The password that `user` is known to have, to be checked: from a file, or from a prompt.
pub(super) fn known_password(
    interrupt: &Interrupt,
    file: Option<&Path>,
    user: &str,
) -> Result<Secret<String>, Failure> {
    if let Some(path) = file {
        return secret_of(interrupt, path);
    }
    let instead = "give --check-password-file FILE, or - for standard input";
    let mut terminal = Terminal::open(interrupt, instead)?;
    terminal.ask_secret(&format!("Password of {user}: "))
}

/// The first line of a file, or of standard input for `-`.
pub(super) fn secret_of(interrupt: &Interrupt, path: &Path) -> Result<Secret<String>, Failure> {
    let path = path.to_owned();
    interrupt.reading(move || {
        if path == Path::new("-") {
            return first_line(io::stdin().lock(), "standard input");
        }
        let name = path.display().to_string();
        let file = as_operator(|| File::open(path)).map_err(|why| unreadable(&name, &why))?;
        first_line(BufReader::new(file), &name)
    })
}

/// Asks for confirmation.
pub(super) fn confirm(interrupt: &Interrupt, question: &str) -> Result<(), Failure> {
    let mut terminal = Terminal::open(interrupt, "give --yes to confirm")?;
    let answer = terminal.ask(&format!("{question} Type `yes` to continue: "))?;
    if answer.trim() == "yes" {
        Ok(())
    } else {
        Err(Failure::failed("nothing was changed").code(Code::NotConfirmed))
    }
}

fn unreadable(name: &str, why: &io::Error) -> Failure {
    Failure::unreadable(name, why)
}

pub(super) fn first_line(from: impl io::BufRead, name: &str) -> Result<Secret<String>, Failure> {
    let mut bytes = Vec::new();
    let read = from.take(MOST_BYTES).read_until(b'\n', &mut bytes);
    let line = Secret::new(bytes);
    read.map_err(|why| unreadable(name, &why))?;
    let text = std::str::from_utf8(line.expose());
    let text = text.map_err(|_| Failure::failed(format!("{name} is not UTF-8")))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(Failure::failed(format!("{name} has no password in its first line")));
    }
    Ok(Secret::new(text.to_owned()))
}

/// The controlling terminal, even when standard input and output are redirected.
struct Terminal<'a> {
    /// What was typed ahead stays in it.
    input: Arc<Mutex<BufReader<File>>>,
    output: File,
    interrupt: &'a Interrupt,
}

impl<'a> Terminal<'a> {
    fn open(interrupt: &'a Interrupt, instead: &str) -> Result<Self, Failure> {
        let open = || {
            let device = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
            let input = Arc::new(Mutex::new(BufReader::new(device.try_clone()?)));
            Ok(Self { output: device, input, interrupt })
        };
        open().map_err(|_: io::Error| Failure::usage(format!("there is no terminal for a prompt; {instead}")))
    }

    fn ask(&mut self, question: &str) -> Result<String, Failure> {
        let asked = self.output.write_all(question.as_bytes()).and_then(|()| self.output.flush());
        asked.map_err(|why| unreadable("the terminal", &why))?;
        let input = Arc::clone(&self.input);
        self.interrupt.reading(move || {
            let mut line = String::new();
            let read = input.lock().unwrap_or_else(PoisonError::into_inner).read_line(&mut line);
            read.map_err(|why| unreadable("the terminal", &why))?;
            Ok(line)
        })
    }

    fn ask_secret(&mut self, question: &str) -> Result<Secret<String>, Failure> {
        let silenced = self.interrupt.silence(&self.output);
        let silenced = silenced.map_err(|why| unreadable("the terminal", &why))?;
        let answer = self.ask(question).map(Secret::new);
        drop(silenced);
        let answer = answer?;
        let text = answer.expose().trim_end_matches(['\n', '\r']);
        if text.is_empty() {
            return Err(Failure::failed("no password was given; nothing was changed"));
        }
        Ok(Secret::new(text.to_owned()))
    }
}

/// Turns off a terminal's echo until it is dropped. Not `rpassword`: it replaces bytes that are not UTF-8 and
/// drops control characters, which changes the password, and leaves the terminal raw after Ctrl-C.
pub(super) struct Silence {
    terminal: File,
    before: Termios,
}

impl Silence {
    pub(super) fn on(terminal: &File) -> io::Result<Self> {
        let terminal = terminal.try_clone()?;
        let before = tcgetattr(&terminal)?;
        let silence = Self { terminal, before };
        silence.begin()?;
        Ok(silence)
    }

    /// Turns the echo off, at first and after the process was stopped.
    ///
    /// # Errors
    /// That of the terminal.
    pub(super) fn begin(&self) -> io::Result<()> {
        let mut silent = self.before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        // The newline is still echoed, so that the next output starts on its own line.
        silent.local_modes.insert(LocalModes::ECHONL);
        Ok(tcsetattr(&self.terminal, OptionalActions::Drain, &silent)?)
    }

    /// Leaves the terminal as it was.
    pub(super) fn end(&self) {
        // A failure to restore the terminal has no other place to be reported.
        let _ = tcsetattr(&self.terminal, OptionalActions::Drain, &self.before);
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_password_and_spaces_belong_to_it() {
        let read = |text: &str| first_line(text.as_bytes(), "it").map(|secret| secret.expose().clone());
        assert_eq!(read(" two words \nmore").unwrap(), " two words ");
        assert_eq!(read("windows\r\n").unwrap(), "windows");
        assert_eq!(read("no end").unwrap(), "no end");
        assert!(read("\nlate").is_err() && read("").is_err());
        assert!(first_line(&b"\xff\n"[..], "it").is_err());
    }
}
