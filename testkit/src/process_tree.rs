//! Signals to a process and its children, found through `/proc`.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

const LIMIT: Duration = Duration::from_secs(10);

/// Sends `signal`; ignores a process that has ended.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _gone = kill_process(pid, signal);
    }
}

/// The children of `parent`.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc is mounted");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|&pid| stat(pid).is_some_and(|stat| stat.parent == parent)).collect()
}

/// Stops `pid` and then its children, and returns when all of them have stopped.
pub(crate) fn pause(pid: u32) {
    // The parent first: once it is stopped, it starts no further children.
    signal(pid, Signal::STOP);
    wait_until_stopped(pid);
    for child in children(pid) {
        signal(child, Signal::STOP);
        wait_until_stopped(child);
    }
}

/// Lets `pid` and its children continue.
pub(crate) fn resume(pid: u32) {
    for child in children(pid) {
        signal(child, Signal::CONT);
    }
    signal(pid, Signal::CONT);
}

/// Returns when none of `pids` runs any more.
pub(crate) fn wait_until_gone(pids: &[u32]) {
    let gone = wait::until(LIMIT, || pids.iter().all(|&pid| ended(stat(pid))).then_some(()));
    assert!(gone.is_some(), "processes {pids:?} did not end within {LIMIT:?}");
}

fn wait_until_stopped(pid: u32) {
    let stopped = wait::until(LIMIT, || {
        let stat = stat(pid);
        (ended(stat) || stat.is_some_and(|stat| stat.state == 'T')).then_some(())
    });
    assert!(stopped.is_some(), "process {pid} did not stop within {LIMIT:?}");
}

/// A zombie counts as ended: in a container it may never be reaped.
fn ended(stat: Option<Stat>) -> bool {
    stat.is_none_or(|stat| matches!(stat.state, 'Z' | 'X'))
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Stat {
    state: char,
    parent: u32,
}

fn stat(pid: u32) -> Option<Stat> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// `pid (name) state parent …`, where the name may hold spaces and brackets.
fn parse(line: &str) -> Option<Stat> {
    let (_, rest) = line.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    Some(Stat { state: fields.next()?.chars().next()?, parent: fields.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_does_not_confuse_the_parser() {
        let stat = parse("42 (a) S 7 (b) T 1 1 1").unwrap();
        assert_eq!(stat, Stat { state: 'T', parent: 1 });
        assert_eq!(parse("42 (postgres) S 7 42"), Some(Stat { state: 'S', parent: 7 }));
    }
}
