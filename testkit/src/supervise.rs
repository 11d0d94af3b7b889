//! A child process that never outlives the test: by `Drop`, and by a watchdog when the test is killed.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::{process_tree, wait};

/// Reads pids from a pipe whose other end only the test process holds. If the pipe ends without `done`, the
/// test was killed: the watchdog then kills the last pid and its children, and removes the folder.
///
/// Not the parent-death signal of Linux: that one fires when the *thread* that started the child ends.
const WATCHDOG: &str = r#"
trap '' INT TERM HUP
pid=
while read -r line; do
    [ "$line" = done ] && exit 0
    pid=$line
done
alive() { grep -q '^State:[[:space:]]*[^XZ]' "/proc/$pid/status"; }
children() { grep -l "^PPid:[[:space:]]*$pid\$" /proc/[0-9]*/status | tr -dc '0-9\n'; }
if [ -n "$pid" ]; then
    family="$pid $(children)"
    kill -CONT $family
    kill -QUIT "$pid"
    left=20
    while [ "$left" -gt 0 ] && alive; do
        left=$((left - 1))
        sleep 0.1
    done
    kill -KILL $family
fi
# Others may write to it until their own watchdogs have ended them.
left=100
while [ -n "$1" ] && [ -e "$1" ] && [ "$left" -gt 0 ]; do
    rm -rf -- "$1" || sleep 0.1
    left=$((left - 1))
done
"#;

/// One server process at a time, with its watchdog.
#[derive(Debug)]
pub(crate) struct Supervised {
    child: Option<Child>,
    watchdog: Child,
    pipe: ChildStdin,
}

impl Supervised {
    /// Starts the watchdog, which removes `folder` if the test is killed.
    pub(crate) fn new(folder: Option<&Path>) -> Self {
        let mut watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(folder.map_or_else(|| Path::new("").as_os_str(), Path::as_os_str))
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh starts");
        let pipe = watchdog.stdin.take().expect("the watchdog's standard input is a pipe");
        Self { child: None, watchdog, pipe }
    }

    /// Starts `command` in its own process group, so that a signal from the terminal does not reach it first.
    pub(crate) fn spawn(&mut self, command: &mut Command) -> &mut Child {
        assert!(self.child.is_none(), "the process is already running");
        let child = command.process_group(0).spawn();
        let child =
            child.unwrap_or_else(|error| panic!("cannot start {}: {error}", command.get_program().display()));
        self.tell(&child.id().to_string());
        self.child.insert(child)
    }

    pub(crate) fn is_running(&self) -> bool {
        self.child.is_some()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("the process is running").id()
    }

    /// The exit status, once the process has ended by itself.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().expect("a child can be waited for")?;
        self.forget();
        Some(status)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        process_tree::signal(self.pid(), signal);
    }

    pub(crate) fn pause(&self) {
        process_tree::pause(self.pid());
    }

    pub(crate) fn resume(&self) {
        process_tree::resume(self.pid());
    }

    /// Sends SIGKILL to the process and its children; returns when all have ended, with the status if it was
    /// running.
    pub(crate) fn kill(&mut self) -> Option<ExitStatus> {
        let mut child = self.child.take()?;
        let pid = child.id();
        // A stopped process can neither start another child nor signal its children.
        process_tree::signal(pid, Signal::STOP);
        let children = process_tree::children(pid);
        process_tree::signal(pid, Signal::KILL);
        for &child in &children {
            process_tree::signal(child, Signal::KILL);
        }
        let status = child.wait();
        process_tree::wait_until_gone(&children);
        self.forget();
        status.ok()
    }

    /// Sends `signal` and waits for the end; `None` if the process still runs after `limit`.
    pub(crate) fn stop(&mut self, signal: Signal, limit: Duration) -> Option<ExitStatus> {
        self.child.as_ref()?;
        self.resume();
        self.signal(signal);
        wait::until(limit, || self.ended())
    }

    fn forget(&mut self) {
        self.child = None;
        self.tell("");
    }

    fn tell(&mut self, line: &str) {
        // If the watchdog has ended, `Drop` still ends the process.
        drop(writeln!(self.pipe, "{line}"));
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        let _status = self.kill();
        self.tell("done");
        drop(self.watchdog.wait());
    }
}
