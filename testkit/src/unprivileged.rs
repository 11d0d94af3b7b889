//! PostgreSQL refuses to run as root, as continuous integration often does. Its programs therefore run as
//! another user.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The user that servers run as when the tests run as root.
#[derive(Clone, Copy, Debug)]
pub struct User {
    /// The user id.
    pub uid: u32,
    gid: u32,
}

impl User {
    /// The user to drop to: none unless root; `postgres` where it exists, else `nobody`.
    pub fn to_drop_to() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let accounts = std::fs::read_to_string("/etc/passwd").expect("/etc/passwd is readable");
        let user = find(&accounts, "postgres").or_else(|| find(&accounts, "nobody"));
        Some(user.expect("running as root, and neither the user postgres nor nobody exists"))
    }
}

/// The uid under which files of the servers are kept.
pub(crate) fn owner(user: Option<User>) -> u32 {
    user.map_or_else(|| rustix::process::geteuid().as_raw(), |user| user.uid)
}

/// Makes `command` run as `user`.
pub(crate) fn run_as(command: &mut Command, user: Option<User>) {
    if let Some(User { uid, gid }) = user {
        command.uid(uid).gid(gid);
    }
}

/// Gives `path` to `user`.
pub fn give(path: &Path, user: Option<User>) {
    if let Some(User { uid, gid }) = user {
        chown(path, Some(uid), Some(gid))
            .unwrap_or_else(|error| panic!("cannot give {} to uid {uid}: {error}", path.display()));
    }
}

fn find(accounts: &str, name: &str) -> Option<User> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(User { uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let accounts =
            "root:x:0:0::/r:/bin/sh\npostgresql:x:7:7::/:/bin/sh\npostgres:x:101:104:a,,:/v:/bin/bash\n";
        let user = find(accounts, "postgres").unwrap();
        assert_eq!((user.uid, user.gid), (101, 104));
        assert!(find(accounts, "nobody").is_none());
    }
}
