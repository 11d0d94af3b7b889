//! Access tokens: JWTs of the RFC 9068 profile.

use std::time::Duration;

use model::{Now, SessionId, UserUuid};
use serde::{Deserialize, Deserializer, Serialize};

use crate::wire::jwt::Invalid;
use crate::wire::scope::Scope;
use crate::wire::strict_json::numeric_date;

/// The `typ` of an access token (RFC 9068 §2.1).
pub const TYP: &str = "at+jwt";
/// The `typ` for verifiers that refuse [`TYP`] (RFC 7519 §5.1): our keys sign no other kind of JWT.
pub const PLAIN_TYP: &str = "JWT";
/// What is accepted, so that tokens of before a change of the setting stay valid.
pub const TYPS: [&str; 2] = [TYP, PLAIN_TYP];
/// The `client_id` of tokens issued to the password form.
pub const FIRST_PARTY: &str = "first-party";
/// The tolerated clock skew between machines.
pub const LEEWAY: Duration = Duration::from_mins(1);

/// The claims of an access token (RFC 9068 §2.2). Unknown members are ignored on parsing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessClaims {
    /// The issuer.
    pub iss: String,
    /// The user: id or uuid as a string, as `tokens.subject` says.
    pub sub: String,
    /// The user's uuid.
    pub uuid: UserUuid,
    /// The audience; left out if `tokens.audience` is empty.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    pub aud: Option<Audience>,
    /// The client that requested it.
    pub client_id: String,
    /// The expiry, in seconds since 1970.
    #[serde(deserialize_with = "numeric_date")]
    pub exp: i64,
    /// When it was issued, in seconds since 1970.
    #[serde(deserialize_with = "numeric_date")]
    pub iat: i64,
    /// The start of its validity, in seconds since 1970; never written here.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional_date")]
    pub nbf: Option<i64>,
    /// When the user last entered a password, in seconds since 1970.
    #[serde(deserialize_with = "numeric_date")]
    pub auth_time: i64,
    /// The token's own id.
    pub jti: String,
    /// The session.
    pub sid: SessionId,
    /// The user's role when the token was issued. Applications may read it; Gatewright reads the user's row
    /// instead.
    pub role: String,
    /// The granted scope; left out if it is empty, which no text of a scope can say (RFC 6749 §3.3).
    #[serde(default, skip_serializing_if = "Scope::is_empty")]
    pub scope: Scope,
    /// The realm's epoch: a private claim (RFC 7519 §4.3), left out until the database was recovered from an
    /// older state. Tokens of an older epoch are refused.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epoch: i64,
}

/// The recipients of a token (RFC 7519 §4.1.3): one string, or an array of strings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// One recipient, the form that is written here.
    One(String),
    /// Any number of them.
    Many(Vec<String>),
}

impl Audience {
    /// Whether `recipient` is among them, compared byte by byte.
    pub fn contains(&self, recipient: &str) -> bool {
        match self {
            Self::One(one) => one == recipient,
            Self::Many(many) => many.iter().any(|one| one == recipient),
        }
    }
}

impl From<&str> for Audience {
    fn from(recipient: &str) -> Self {
        Self::One(recipient.to_owned())
    }
}

impl AccessClaims {
    /// Checks times, issuer and audience. Without a required audience the token must have none either: a
    /// recipient that does not identify itself with an audience refuses a token that has one (RFC 7519
    /// §4.1.3).
    ///
    /// # Errors
    /// [`Invalid::Issuer`], [`Invalid::Audience`], [`Invalid::NotYetValid`] or [`Invalid::Expired`].
    pub fn check(
        &self,
        now: Now,
        issuer: &str,
        audience: Option<&str>,
        leeway: Duration,
    ) -> Result<(), Invalid> {
        self.check_even_if_expired(now, issuer, audience, leeway)?;
        if now >= Now::from_seconds(self.exp).plus(leeway) { Err(Invalid::Expired) } else { Ok(()) }
    }

    /// As [`AccessClaims::check`], but accepts an expired token: for logout, where the token only names the
    /// session to end.
    ///
    /// # Errors
    /// [`Invalid::Issuer`], [`Invalid::Audience`] or [`Invalid::NotYetValid`].
    pub fn check_even_if_expired(
        &self,
        now: Now,
        issuer: &str,
        audience: Option<&str>,
        leeway: Duration,
    ) -> Result<(), Invalid> {
        if self.iss != issuer {
            return Err(Invalid::Issuer);
        }
        let meant = match (&self.aud, audience) {
            (None, None) => true,
            (Some(found), Some(wanted)) => found.contains(wanted),
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !meant {
            return Err(Invalid::Audience);
        }
        let begins = Now::from_seconds(self.nbf.unwrap_or(self.iat).max(self.iat));
        if now.plus(leeway) < begins { Err(Invalid::NotYetValid) } else { Ok(()) }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(epoch: &i64) -> bool {
    *epoch == 0
}

/// A member that may be absent but not `null`.
fn some<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

fn optional_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    numeric_date(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;

    const ISSUER: &str = "https://auth.example.com";

    fn claims() -> AccessClaims {
        AccessClaims {
            iss: ISSUER.to_owned(),
            sub: "1".to_owned(),
            uuid: UserUuid(Uuid::nil()),
            aud: Some("app".into()),
            client_id: FIRST_PARTY.to_owned(),
            exp: 3_000,
            iat: 1_200,
            nbf: None,
            auth_time: 1_200,
            jti: "j".to_owned(),
            sid: SessionId(Uuid::nil()),
            role: "basic_user".to_owned(),
            scope: Scope::parse("read write").unwrap(),
            epoch: 0,
        }
    }

    fn at(claims: &AccessClaims, seconds: i64) -> Result<(), Invalid> {
        claims.check(Now::from_seconds(seconds), ISSUER, Some("app"), LEEWAY)
    }

    fn read(change: impl FnOnce(&mut Value)) -> Result<AccessClaims, ()> {
        let mut value = serde_json::to_value(claims()).unwrap();
        change(&mut value);
        // As `jwt::verify` reads: from text, through the strict reader.
        let value = crate::wire::strict_json::parse(value.to_string().as_bytes()).unwrap();
        AccessClaims::deserialize(value).map_err(|_| ())
    }

    #[test]
    fn writes_the_members_of_rfc_9068() {
        let nil = Uuid::nil().to_string();
        assert_eq!(
            serde_json::to_value(claims()).unwrap(),
            json!({
                "iss": ISSUER, "sub": "1", "uuid": nil, "aud": "app", "client_id": "first-party",
                "exp": 3000, "iat": 1200, "auth_time": 1200, "jti": "j", "sid": nil,
                "role": "basic_user", "scope": "read write",
            })
        );
        assert_eq!(read(|_| ()), Ok(claims()));
        let later = AccessClaims { epoch: 7, ..claims() };
        assert_eq!(serde_json::to_value(&later).unwrap()["epoch"], 7);
        assert_eq!(read(|claims| claims["epoch"] = json!(7)), Ok(later));
        let without = AccessClaims { aud: None, scope: Scope::default(), ..claims() };
        let written = serde_json::to_value(&without).unwrap();
        assert!(written.get("aud").is_none() && written.get("scope").is_none());
        assert_eq!(AccessClaims::deserialize(written).unwrap(), without);
        assert_eq!(without.check(Now::from_seconds(1_300), ISSUER, None, LEEWAY), Ok(()));
    }

    #[test]
    fn validity_times_are_checked_to_the_second() {
        assert_eq!(at(&claims(), 3_059), Ok(()));
        assert_eq!(at(&claims(), 3_060), Err(Invalid::Expired));
        assert_eq!(at(&claims(), 1_140), Ok(()));
        assert_eq!(at(&claims(), 1_139), Err(Invalid::NotYetValid));
        let later = AccessClaims { nbf: Some(1_300), ..claims() };
        assert_eq!(at(&later, 1_240), Ok(()));
        assert_eq!(at(&later, 1_239), Err(Invalid::NotYetValid));
        let now = Now::from_seconds(9_000_000);
        assert_eq!(claims().check_even_if_expired(now, ISSUER, Some("app"), LEEWAY), Ok(()));
        assert_eq!(claims().check(now, ISSUER, Some("app"), LEEWAY), Err(Invalid::Expired));
        let micros = Now::from_micros(3_060_000_000 - 1);
        assert_eq!(claims().check(micros, ISSUER, Some("app"), LEEWAY), Ok(()));
    }

    #[test]
    fn dates_that_are_not_whole_seconds_before_the_year_10000_are_refused() {
        let bad = [
            json!("3000"),
            json!(3000.0),
            json!(3000.5),
            json!(1e300),
            json!(-1),
            json!(null),
            json!([3000]),
            json!(true),
            json!(i64::MAX),
            json!(u64::MAX),
            json!(253_402_300_800_i64),
        ];

        for member in ["exp", "iat", "nbf", "auth_time"] {
            for value in &bad {
                assert_eq!(read(|claims| claims[member] = value.clone()), Err(()), "{member} {value}");
            }
        }
        assert!(read(|claims| claims["exp"] = json!(253_402_300_799_i64)).is_ok());
        for member in ["iss", "sub", "uuid", "client_id", "exp", "iat", "auth_time", "jti", "sid", "role"] {
            let missing = read(|claims| drop(claims.as_object_mut().unwrap().remove(member)));
            assert_eq!(missing, Err(()), "{member}");
        }
        for (member, value) in
            [("sub", json!(1)), ("iss", json!(["x"])), ("sid", json!("x")), ("scope", json!([]))]
        {
            assert_eq!(read(|claims| claims[member] = value.clone()), Err(()), "{member}");
        }
        // Out of range: JSON text that no number type can hold.
        let text = serde_json::to_string(&claims()).unwrap().replace("3000", "99999999999999999999999");
        assert!(
            AccessClaims::deserialize(crate::wire::strict_json::parse(text.as_bytes()).unwrap()).is_err()
        );
    }

    #[test]
    fn issuer_and_audience_are_compared_exactly() {
        for issuer in ["", "https://auth.example.com/", "https://AUTH.example.com", "http://auth.example.com"]
        {
            let result = claims().check(Now::from_seconds(1_300), issuer, Some("app"), LEEWAY);
            assert_eq!(result, Err(Invalid::Issuer));
        }
        let many = read(|claims| claims["aud"] = json!(["other", "app"])).unwrap();
        assert_eq!(at(&many, 1_300), Ok(()));
        for aud in [json!([]), json!(["App"]), json!(""), json!("app ")] {
            let other = read(|claims| claims["aud"] = aud).unwrap();
            assert_eq!(at(&other, 1_300), Err(Invalid::Audience));
        }
        for aud in [json!(null), json!(1), json!([1]), json!({})] {
            assert_eq!(read(|claims| claims["aud"] = aud), Err(()));
        }
        let without = AccessClaims { aud: None, ..claims() };
        assert_eq!(at(&without, 1_300), Err(Invalid::Audience));
        assert_eq!(claims().check(Now::from_seconds(1_300), ISSUER, None, LEEWAY), Err(Invalid::Audience));
    }

    proptest! {
        #[test]
        fn checking_claims_never_panics(times in any::<(i64, i64, Option<i64>, i64)>()) {
            let (exp, iat, nbf, now) = times;
            let claims = AccessClaims { exp, iat, nbf, ..claims() };
            let _ = claims.check(Now::from_micros(now), ISSUER, Some("app"), LEEWAY);
        }
    }
}
