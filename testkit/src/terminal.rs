//! A pseudo-terminal with a command in the foreground, as a person has it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use crate::supervise::Supervised;
use crate::wait;

const LIMIT: Duration = Duration::from_mins(1);

/// A terminal and the shell that runs in it. Both end when it is dropped.
#[derive(Debug)]
pub struct Terminal {
    process: Supervised,
    keyboard: File,
    /// The side of the command, held open so that its modes can be read after the command's end.
    screen: File,
    shown: Arc<Mutex<String>>,
    status: Option<ExitStatus>,
}

impl Terminal {
    /// Runs `script` in a shell with job control; `program` is its `$0`.
    pub fn run(program: &std::path::Path, script: &str, folder: &std::path::Path) -> Self {
        let main = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal can be opened");
        grantpt(&main).expect("it is granted");
        unlockpt(&main).expect("it is unlocked");
        let name = ptsname(&main, Vec::new()).expect("it has a name");
        let path = PathBuf::from(name.into_string().expect("its name is ASCII"));
        let screen = File::options().read(true).write(true).open(path).expect("the other side opens");

        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait", "sh", "-mc", script]).arg(program).current_dir(folder);
        for name in std::env::vars_os().map(|(name, _)| name).filter(crate::process::ours) {
            command.env_remove(name);
        }
        let side = || Stdio::from(OwnedFd::from(screen.try_clone().expect("it can be shared")));
        command.stdin(side()).stdout(side()).stderr(side());
        let mut process = Supervised::new(None);
        process.spawn(&mut command);

        let keyboard = File::from(main);
        let shown = Arc::<Mutex<String>>::default();
        let (mut output, seen) = (keyboard.try_clone().expect("it can be shared"), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut bytes = [0; 1024];
            while let Ok(read) = output.read(&mut bytes) {
                if read == 0 {
                    break;
                }
                let text = String::from_utf8_lossy(bytes.get(..read).unwrap_or_default()).into_owned();
                seen.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        });
        Self { process, keyboard, screen, shown, status: None }
    }

    /// All that was shown so far.
    pub fn text(&self) -> String {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until `text` is shown.
    pub fn wait_for(&mut self, text: &str) {
        let shown = wait::until(LIMIT, || self.text().contains(text).then_some(()));
        assert!(shown.is_some(), "{text:?} was not shown:\n{}", self.text());
    }

    /// Types keys; `\x03` is Ctrl-C.
    pub fn type_keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Whether typed characters are shown.
    pub fn echoes(&self) -> bool {
        tcgetattr(&self.screen).expect("the terminal has modes").local_modes.contains(LocalModes::ECHO)
    }

    /// Waits until typed characters are shown, or not.
    pub fn wait_for_echo(&self, on: bool) {
        let reached = wait::until(LIMIT, || (self.echoes() == on).then_some(()));
        assert!(reached.is_some(), "the echo does not become {on}:\n{}", self.text());
    }

    /// Waits for the end of the script.
    pub fn wait(&mut self) -> ExitStatus {
        let status = wait::until(LIMIT, || {
            self.status = self.status.or_else(|| self.process.ended());
            self.status
        });
        status.unwrap_or_else(|| panic!("no end within {LIMIT:?}:\n{}", self.text()))
    }
}
