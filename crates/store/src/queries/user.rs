//! Users. A row is never deleted: erasure leaves a tombstone with the user's id and uuid.

use model::{Email, Now, UserId, UserKey, UserUuid, Username};

use crate::Error;
use crate::statement::{Call, Stmt, statements};
use crate::value::{Row, Value};

statements! {
    HIGHEST = Stmt::new("user.highest", "SELECT max(id) FROM gw.users");
    INSERT = Stmt::new(
        "user.insert",
        "INSERT INTO gw.users (uuid, email, email_key, username, username_key, role, state, profile, \
         created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, 'active', $7, $8, $8) \
         ON CONFLICT DO NOTHING RETURNING id",
    );
    TAKEN = Stmt::new(
        "user.taken",
        "SELECT (SELECT count(*) FROM gw.users WHERE email_key = $1) > 0, \
         (SELECT count(*) FROM gw.users WHERE username_key = $2) > 0",
    );
    FIND = Stmt::new(
        "user.find",
        "SELECT u.id, u.uuid, u.email, u.username, u.role, u.state, u.profile, u.created_at, u.updated_at \
         FROM gw.users u WHERE u.id = $1 AND u.uuid = $2",
    );
    LOCK = Stmt::per_engine(
        "user.lock",
        "SELECT u.id, u.uuid, u.email, u.username, u.role, u.state, u.profile, u.created_at, u.updated_at \
         FROM gw.users u WHERE u.id = $1 AND u.uuid = $2 FOR NO KEY UPDATE",
        "SELECT u.id, u.uuid, u.email, u.username, u.role, u.state, u.profile, u.created_at, u.updated_at \
         FROM gw.users u WHERE u.id = $1 AND u.uuid = $2",
    );
    FIND_BY_NUMBER = Stmt::new(
        "user.find_by_number",
        "SELECT u.id, u.uuid, u.email, u.username, u.role, u.state, u.profile, u.created_at, u.updated_at \
         FROM gw.users u WHERE u.id = $1",
    );
    FIND_BY_UUID = Stmt::new(
        "user.find_by_uuid",
        "SELECT u.id, u.uuid, u.email, u.username, u.role, u.state, u.profile, u.created_at, u.updated_at \
         FROM gw.users u WHERE u.uuid = $1",
    );
    TRACE = Stmt::new("user.trace", "SELECT u.id, u.role, u.updated_at FROM gw.users u WHERE u.uuid = $1");
    FIND_BY_EMAIL = Stmt::new(
        "user.find_by_email",
        "SELECT u.id, u.uuid, u.email, u.username, u.role, u.state, u.profile, u.created_at, u.updated_at \
         FROM gw.users u WHERE u.email_key = $1",
    );
    FIND_BY_USERNAME = Stmt::new(
        "user.find_by_username",
        "SELECT u.id, u.uuid, u.email, u.username, u.role, u.state, u.profile, u.created_at, u.updated_at \
         FROM gw.users u WHERE u.username_key = $1",
    );
    FIND_BY_EXTERNAL_ID = Stmt::new(
        "user.find_by_external_id",
        "SELECT u.id, u.uuid, u.email, u.username, u.role, u.state, u.profile, u.created_at, u.updated_at \
         FROM gw.users u WHERE u.external_id = $1",
    );
    EXTERNAL_ID = Stmt::new("user.external_id", "SELECT u.external_id FROM gw.users u WHERE u.id = $1");
    PAGE = Stmt::new(
        "user.page",
        "SELECT u.id, u.uuid, u.email, u.username, u.role, u.state, u.profile, u.created_at, u.updated_at \
         FROM gw.users u WHERE u.id > $1 ORDER BY u.id LIMIT $2",
    );
    LIST = Stmt::new(
        "user.list",
        "SELECT u.id, u.uuid, u.email, u.username, u.role, u.state, u.profile, u.created_at, u.updated_at \
         FROM gw.users u WHERE u.id > $1 \
         AND (u.state = $3 OR ($3 = '' AND u.state <> 'erased') OR $3 = 'any') \
         AND (u.role = $4 OR $4 = '') AND u.created_at >= $5 AND u.created_at < $6 \
         AND ($7 = '' OR u.email_key LIKE $7 ESCAPE '!' OR u.username_key LIKE $7 ESCAPE '!') \
         AND (NOT $8 OR NOT EXISTS (SELECT 1 FROM gw.credentials c \
         WHERE c.user_id = u.id AND c.kind = 'password')) \
         AND (NOT $9 OR u.email_verified_at IS NULL) ORDER BY u.id LIMIT $2",
    )
    .scanning("an operator searches, page by page");
    SET_PROFILE = Stmt::new(
        "user.set_profile",
        "UPDATE gw.users AS u SET username = $3, username_key = $4, profile = $5, updated_at = $6 \
         WHERE u.id = $1 AND u.uuid = $2 AND u.state = 'active' AND u.profile = $8 \
         AND u.username IS NOT DISTINCT FROM $9 \
         AND NOT EXISTS (SELECT 1 FROM gw.users o WHERE o.username_key = $7 AND o.id <> $1) RETURNING id",
    );
    SET_ROLE = Stmt::new(
        "user.set_role",
        "UPDATE gw.users SET role = $3, updated_at = $4 \
         WHERE id = $1 AND uuid = $2 AND state <> 'erased' RETURNING id",
    );
    SET_STATE = Stmt::new(
        "user.set_state",
        "UPDATE gw.users SET state = $3, updated_at = $4 \
         WHERE id = $1 AND uuid = $2 AND state <> 'erased' RETURNING id",
    );
    TOUCH = Stmt::new(
        "user.touch",
        "UPDATE gw.users SET updated_at = $3 WHERE id = $1 AND uuid = $2 AND state <> 'erased' RETURNING id",
    );
    ERASE = Stmt::new(
        "user.erase",
        "UPDATE gw.users SET state = 'erased', email = NULL, email_key = NULL, email_verified_at = NULL, \
         username = NULL, username_key = NULL, external_id = NULL, profile = '{}', updated_at = $3 \
         WHERE id = $1 AND uuid = $2 AND state <> 'erased' RETURNING id",
    );
}

/// Whether a user may log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The user may log in.
    Active,
    /// An operator has deactivated the user.
    Inactive,
    /// The user is erased; the row is a tombstone.
    Erased,
}

impl State {
    /// The stored text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Erased => "erased",
        }
    }

    pub(crate) fn read(row: &mut Row) -> Result<Self, Error> {
        match row.next::<String>()?.as_str() {
            "active" => Ok(Self::Active),
            "inactive" => Ok(Self::Inactive),
            "erased" => Ok(Self::Erased),
            other => Err(Error::Corrupt(format!("users.state is {other:?}"))),
        }
    }
}

/// One user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The internal id.
    pub id: UserId,
    /// The public identifier.
    pub uuid: UserUuid,
    /// The email address as entered; none for a tombstone.
    pub email: Option<String>,
    /// The username as entered, if any.
    pub username: Option<String>,
    /// The role.
    pub role: String,
    /// Whether the user may log in.
    pub state: State,
    /// The profile attributes, as JSON.
    pub profile: String,
    /// When the user registered.
    pub created_at: Now,
    /// When the row last changed.
    pub updated_at: Now,
}

impl User {
    /// The number and the public identifier.
    pub fn key(&self) -> UserKey {
        UserKey { id: self.id, uuid: self.uuid }
    }

    pub(crate) fn read(row: &mut Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.next()?,
            uuid: row.next()?,
            email: row.next()?,
            username: row.next()?,
            role: row.next()?,
            state: State::read(row)?,
            profile: row.next()?,
            created_at: row.next()?,
            updated_at: row.next()?,
        })
    }
}

/// A user to insert.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// The public identifier.
    pub uuid: UserUuid,
    /// The email address.
    pub email: Email,
    /// The username, if any.
    pub username: Option<Username>,
    /// The role.
    pub role: String,
    /// The profile attributes, as JSON.
    pub profile: String,
    /// When the user registers.
    pub at: Now,
}

/// Inserts a user; no row when the email or username is taken.
pub fn insert(user: &NewUser) -> Call<UserId> {
    let params = [
        user.uuid.into(),
        user.email.address().into(),
        user.email.key().into(),
        user.username.as_ref().map(Username::name).into(),
        user.username.as_ref().map(Username::key).into(),
        user.role.as_str().into(),
        user.profile.as_str().into(),
        user.at.into(),
    ];
    Call::new(&INSERT, params, id)
}

/// Whether the email, and the username, are taken.
pub fn taken(email: &Email, username: Option<&Username>) -> Call<(bool, bool)> {
    let params: [Value; 2] = [email.key().into(), username.map(Username::key).into()];
    Call::new(&TAKEN, params, |mut row| Ok((row.next()?, row.next()?)))
}

/// Returns the highest number of a user, erased ones included.
pub fn highest() -> Call<Option<i64>> {
    Call::new(&HIGHEST, [], |mut row| row.next())
}

/// Finds the user with this number and public identifier.
pub fn find(user: UserKey) -> Call<User> {
    Call::new(&FIND, [user.id.into(), user.uuid.into()], |mut row| User::read(&mut row))
}

/// Finds the user with this number and public identifier as it is now, and lets other logins and changes of
/// the user wait until the end of the transaction. SQLite has one writer.
pub fn lock(user: UserKey) -> Call<User> {
    Call::new(&LOCK, [user.id.into(), user.uuid.into()], |mut row| User::read(&mut row))
}

/// Finds the user with this number, for an operator: a token names a user by [`UserKey`].
pub fn find_by_number(id: UserId) -> Call<User> {
    Call::new(&FIND_BY_NUMBER, [id.into()], |mut row| User::read(&mut row))
}

/// Reads the columns that show which operations on a user took effect: the number, the role and the time of
/// the last change.
pub fn trace(uuid: UserUuid) -> Call<(UserId, String, Now)> {
    Call::new(&TRACE, [uuid.into()], |mut row| Ok((row.next()?, row.next()?, row.next()?)))
}

/// Finds the user with this public identifier.
pub fn find_by_uuid(uuid: UserUuid) -> Call<User> {
    Call::new(&FIND_BY_UUID, [uuid.into()], |mut row| User::read(&mut row))
}

/// Finds the user with this email.
pub fn find_by_email(email: &Email) -> Call<User> {
    Call::new(&FIND_BY_EMAIL, [email.key().into()], |mut row| User::read(&mut row))
}

/// Finds the user with this username.
pub fn find_by_username(username: &Username) -> Call<User> {
    Call::new(&FIND_BY_USERNAME, [username.key().into()], |mut row| User::read(&mut row))
}

/// Finds the user with this identifier of another system.
pub fn find_by_external_id(external_id: &str) -> Call<User> {
    Call::new(&FIND_BY_EXTERNAL_ID, [external_id.into()], |mut row| User::read(&mut row))
}

/// Reads the identifier that a user had in another system, if any.
pub fn external_id(id: UserId) -> Call<Option<String>> {
    Call::new(&EXTERNAL_ID, [id.into()], |mut row| row.next())
}

/// Reads at most `limit` users with ids after `after`, by id.
pub fn page(after: UserId, limit: i64) -> Call<User> {
    Call::new(&PAGE, [after.into(), limit.into()], |mut row| User::read(&mut row))
}

/// Which users are listed.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Only those in this state; otherwise all but erased ones.
    pub state: Option<State>,
    /// Erased ones too.
    pub with_erased: bool,
    /// Only those with this role.
    pub role: Option<String>,
    /// Only those who registered at this time or later.
    pub created_from: Now,
    /// Only those who registered before.
    pub created_before: Now,
    /// Only those whose email or username has this text, in any case.
    pub search: Option<String>,
    /// Only those without a password.
    pub without_password: bool,
    /// Only those whose email is not verified.
    pub unverified: bool,
}

impl Default for Listed {
    fn default() -> Self {
        Self {
            state: None,
            with_erased: false,
            role: None,
            created_from: Now::from_micros(i64::MIN),
            created_before: Now::from_micros(i64::MAX),
            search: None,
            without_password: false,
            unverified: false,
        }
    }
}

impl Listed {
    /// Every user, erased ones too.
    pub fn all() -> Self {
        Self { with_erased: true, ..Self::default() }
    }
}

/// Reads at most `limit` of the listed users with ids after `after`, by id.
pub fn list(listed: &Listed, after: UserId, limit: i64) -> Call<User> {
    let state = match listed.state {
        Some(state) => state.as_str(),
        None if listed.with_erased => "any",
        None => "",
    };
    let search = listed.search.as_deref().map(pattern).unwrap_or_default();
    let params: [Value; 9] = [
        after.into(),
        limit.into(),
        state.into(),
        listed.role.as_deref().unwrap_or_default().into(),
        listed.created_from.into(),
        listed.created_before.into(),
        search.as_str().into(),
        listed.without_password.into(),
        listed.unverified.into(),
    ];
    Call::new(&LIST, params, |mut row| User::read(&mut row))
}

/// What LIKE compares with a key that contains `text`.
fn pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for character in text.to_lowercase().chars() {
        if matches!(character, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(character);
    }
    pattern + "%"
}

/// Sets an active user's username and attributes if they are still those of `old`. No row when they have
/// changed, when another user has the username, or when the user is not active.
pub fn set_profile(old: &User, username: Option<&Username>, profile: &str, at: Now) -> Call<UserId> {
    let key: Value = username.map(Username::key).into();
    let name: Value = username.map(Username::name).into();
    let old_profile = old.profile.as_str().into();
    let old_name = old.username.as_deref().into();
    let (number, uuid) = (old.id.into(), old.uuid.into());
    let params = [number, uuid, name, key.clone(), profile.into(), at.into(), key, old_profile, old_name];
    Call::new(&SET_PROFILE, params, id)
}

/// Sets a role; no row for a tombstone or an unknown user.
pub fn set_role(user: UserKey, role: &str, at: Now) -> Call<UserId> {
    Call::new(&SET_ROLE, [user.id.into(), user.uuid.into(), role.into(), at.into()], id)
}

/// Activates or deactivates a user; no row for a tombstone or an unknown user.
pub fn set_state(user: UserKey, state: State, at: Now) -> Call<UserId> {
    let params = [user.id.into(), user.uuid.into(), state.as_str().into(), at.into()];
    Call::new(&SET_STATE, params, id)
}

/// Notes that something that belongs to a user has changed; no row for a tombstone or an unknown user.
pub fn touch(user: UserKey, at: Now) -> Call<UserId> {
    Call::new(&TOUCH, [user.id.into(), user.uuid.into(), at.into()], id)
}

/// Turns the row into a tombstone; no row when it is one already.
pub fn erase(user: UserKey, at: Now) -> Call<UserId> {
    Call::new(&ERASE, [user.id.into(), user.uuid.into(), at.into()], id)
}

fn id(mut row: Row) -> Result<UserId, Error> {
    row.next()
}
