//! Where the password of a connection comes from, in libpq's order: the URL, `PGPASSWORD`, and the password
//! file that `passfile` in the URL, `PGPASSFILE` or the home directory names (PostgreSQL's manual, 34.15 and
//! 34.16).

use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use model::Secret;

use super::address::refused;
use crate::Error;

/// What the environment of the process says about passwords and users.
#[derive(Clone, Debug, Default)]
pub struct PostgresEnvironment {
    /// `PGPASSWORD`.
    pub password: Option<Secret<String>>,
    /// `PGPASSFILE`.
    pub password_file: Option<PathBuf>,
    /// The home directory, which may have a `.pgpass`.
    pub home: Option<PathBuf>,
    /// The name of the system's user: the database user where the URL names none.
    pub user: Option<String>,
}

/// The lines of a password file.
#[derive(Debug, Default)]
pub(super) struct Passwords {
    lines: Vec<Line>,
    /// Why a file is not used, for the message of a connection without a password.
    pub(super) ignored: Option<String>,
}

/// One line: `host:port:database:user:password`.
#[derive(Debug)]
struct Line {
    fields: [String; 4],
    password: Secret<String>,
}

impl Passwords {
    /// Reads the password file; `named` is `passfile` of the URL. As in libpq, one that is not there has no
    /// lines, and one that others can access is not used.
    ///
    /// # Errors
    /// [`Error::Refused`] for a file that was named and cannot be read.
    pub(super) fn read(named: Option<&Path>, environment: &PostgresEnvironment) -> Result<Self, Error> {
        let by_name = named.or(environment.password_file.as_deref());
        let in_home = environment.home.as_ref().map(|home| home.join(".pgpass"));
        let Some(path) = by_name.or(in_home.as_deref()) else { return Ok(Self::default()) };
        let shown = path.display();

        let text = match text_of(path) {
            Ok(text) => text,
            Err(Unused::Io(error)) if error.kind() == ErrorKind::NotFound => {
                let ignored = by_name.map(|_| format!("the password file {shown} is not there"));
                return Ok(Self { ignored, ..Self::default() });
            }
            // A file that was named is to be readable; that of the home directory may be another user's.
            Err(Unused::Io(error)) if by_name.is_some() => {
                return Err(refused(&format!("the password file {shown} cannot be read: {error}")));
            }
            Err(why) => {
                let ignored = match why {
                    Unused::Io(error) => format!("the password file {shown} cannot be read: {error}"),
                    Unused::Kind => format!("{shown} is not a plain file, so it is not used for passwords"),
                    Unused::Open(mode) => format!(
                        "the password file {shown} is not used, because others can access it (mode \
                         {mode:04o}): `chmod 600` it"
                    ),
                };
                return Ok(Self { ignored: Some(ignored), ..Self::default() });
            }
        };
        Ok(Self { lines: text.expose().lines().filter_map(Line::parse).collect(), ignored: None })
    }

    /// The password of the first line that fits. Where the host is a Unix socket in the default folder,
    /// `localhost` fits.
    pub(super) fn of(&self, host: &str, port: u16, database: &str, user: &str) -> Option<&Secret<String>> {
        let port = port.to_string();
        let wanted = [host, port.as_str(), database, user];
        let fits = |line: &&Line| {
            line.fields.iter().zip(wanted).all(|(field, wanted)| field == "*" || unescaped(field) == wanted)
        };
        self.lines.iter().find(fits).map(|line| &line.password)
    }
}

/// Why a password file is not read.
enum Unused {
    Io(io::Error),
    /// It has no content of its own.
    Kind,
    /// Others can access it; its permission bits.
    Open(u32),
}

fn text_of(path: &Path) -> Result<Secret<String>, Unused> {
    let about = path.metadata().map_err(Unused::Io)?;
    let mode = about.permissions().mode() & 0o777;
    if !about.is_file() {
        return Err(Unused::Kind);
    }
    if mode & 0o077 != 0 {
        return Err(Unused::Open(mode));
    }
    std::fs::read_to_string(path).map(Secret::new).map_err(Unused::Io)
}

impl Line {
    /// Fields end with `:`; `\:` and `\\` stand for the characters.
    fn parse(line: &str) -> Option<Self> {
        if line.starts_with('#') {
            return None;
        }
        let mut fields = [const { String::new() }; 4];
        let mut rest = line.chars();
        for field in &mut fields {
            loop {
                match rest.next()? {
                    ':' => break,
                    '\\' => field.extend(['\\', rest.next()?]),
                    other => field.push(other),
                }
            }
        }
        let password = unescaped(rest.as_str());
        (!password.is_empty()).then(|| Self { fields, password: Secret::new(password) })
    }
}

fn unescaped(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut characters = field.chars();
    while let Some(character) = characters.next() {
        text.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    fn write(path: &Path, text: &str, mode: u32) {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn found(passwords: &Passwords, host: &str, port: u16, database: &str, user: &str) -> Option<String> {
        passwords.of(host, port, database, user).map(|password| password.expose().clone())
    }

    #[test]
    fn the_first_line_that_fits_has_the_password() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pgpass");
        let text = "# hosts\n\nshort:line\nh:5432:d:u:one\n\
                    *:*:*:colon\\:back\\\\slash:a\\:b:c\n*:5433:*:*:any\n\
                    ::1:1:d:u:never\n\\:\\:1:1:d:u:six\nh:5432:d:u:two\n";
        write(&path, text, 0o600);
        let passwords = Passwords::read(Some(&path), &PostgresEnvironment::default()).unwrap();
        assert_eq!(found(&passwords, "h", 5432, "d", "u").as_deref(), Some("one"));
        assert_eq!(found(&passwords, "x", 1, "y", "colon:back\\slash").as_deref(), Some("a:b:c"));
        assert_eq!(found(&passwords, "h", 5433, "d", "u").as_deref(), Some("any"));
        assert_eq!(found(&passwords, "::1", 1, "d", "u").as_deref(), Some("six"));
        assert_eq!(found(&passwords, "h", 5432, "other", "u"), None);
        assert!(!format!("{passwords:?}").contains("a:b:c"));
    }

    #[test]
    fn a_file_that_others_can_access_is_not_used_and_a_named_one_that_is_unreadable_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pgpass");
        write(&path, "*:*:*:*:hunter2\n", 0o640);
        let none = PostgresEnvironment::default();
        let ignored = |named: &Path| Passwords::read(Some(named), &none).unwrap().ignored.unwrap();
        assert!(ignored(&path).contains("0640") && ignored(&path).contains("chmod 600"));
        assert!(ignored(&folder.path().join("gone")).contains("is not there"));
        assert!(ignored(folder.path()).contains("plain file"));
        assert!(Passwords::read(Some(&path.join("below")), &none).is_err());
        let home = PostgresEnvironment { home: Some(path.clone()), ..none.clone() };
        assert!(Passwords::read(None, &home).unwrap().ignored.is_some());
        assert!(Passwords::read(None, &none).unwrap().ignored.is_none());
    }

    #[test]
    fn the_url_names_the_file_before_the_environment_and_that_before_the_home_directory() {
        let folder = tempfile::tempdir().unwrap();
        let [by_url, by_variable] = ["url", "variable"].map(|name| folder.path().join(name));
        write(&by_url, "*:*:*:*:url\n", 0o600);
        write(&by_variable, "*:*:*:*:variable\n", 0o600);
        write(&folder.path().join(".pgpass"), "*:*:*:*:home\n", 0o600);
        let mut environment = PostgresEnvironment {
            home: Some(folder.path().to_owned()),
            password_file: Some(by_variable),
            ..PostgresEnvironment::default()
        };
        let any = |named: Option<&Path>, environment: &PostgresEnvironment| {
            found(&Passwords::read(named, environment).unwrap(), "h", 1, "d", "u").unwrap()
        };
        assert_eq!(any(Some(&by_url), &environment), "url");
        assert_eq!(any(None, &environment), "variable");
        environment.password_file = None;
        assert_eq!(any(None, &environment), "home");
    }
}
