//! Mints tokens: the only place that reaches the signer.

use model::Secret;
use protocol::wire::access_token::{AccessClaims, Audience, FIRST_PARTY, PLAIN_TYP, TYP};
use protocol::wire::jwt::KeyError;
use protocol::wire::refresh_token::RefreshToken;

use crate::OpContext;
use crate::session::{ActiveSession, access_token_end};

/// A pair of tokens for a client (RFC 6749 §5.1).
#[derive(Debug)]
pub struct Tokens {
    /// The access token, a JWT (RFC 9068).
    pub access_token: Secret<String>,
    /// The refresh token, opaque.
    pub refresh_token: Secret<String>,
    /// Lifetime of the access token, in seconds.
    pub expires_in: u64,
    /// Scopes of the access token.
    pub scope: String,
}

/// Why no token was issued.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// No signing key is loaded.
    #[error("no signing key is loaded")]
    NoKey,
    /// The signer failed.
    #[error(transparent)]
    Key(KeyError),
}

/// Issues tokens for an active session. [`ActiveSession`] is the proof, and only this function consumes it.
pub(crate) fn mint(
    ctx: &OpContext<'_>,
    live: &ActiveSession,
    refresh: &RefreshToken,
) -> Result<Tokens, MintError> {
    let settings = &ctx.services.settings;
    let keys = ctx.services.keys();
    let signer = keys.signing.as_ref().ok_or(MintError::NoKey)?;
    let ends = access_token_end(live.ends, ctx.now, settings);
    let claims = AccessClaims {
        iss: settings.issuer.clone(),
        sub: if settings.subject_is_uuid { live.user.uuid.to_string() } else { live.user.id.to_string() },
        uuid: live.user.uuid,
        aud: settings.audience.as_deref().map(Audience::from),
        client_id: FIRST_PARTY.to_owned(),
        exp: ends.seconds(),
        iat: ctx.now.minus(settings.backdate).seconds(),
        nbf: None,
        auth_time: live.auth_time.minus(settings.backdate).seconds(),
        jti: model::id::uuid_v7(ctx.now, &ctx.services.rng).to_string(),
        sid: live.session,
        role: live.role.clone(),
        scope: live.scope.clone(),
        epoch: ctx.services.epoch.current(),
    };

    let typ = if settings.plain_typ { PLAIN_TYP } else { TYP };
    let access_token = Secret::new(signer.sign(typ, &claims).map_err(MintError::Key)?);
    let mac = ctx.services.macs.first().ok_or(MintError::NoKey)?;
    Ok(Tokens {
        access_token,
        refresh_token: refresh.encode(mac),
        expires_in: u64::try_from(ends.seconds() - ctx.now.seconds()).unwrap_or(0),
        scope: live.scope.to_string(),
    })
}
