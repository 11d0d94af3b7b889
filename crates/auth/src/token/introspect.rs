//! Introspection (RFC 7662): the state of a token, always from the database.

use model::Secret;
use protocol::wire::access_token::{AccessClaims, LEEWAY, TYPS};
use protocol::wire::jwt;
use protocol::wire::refresh_token::RefreshToken;
use store::queries::session::{self, Session};

use super::caller::find_with_epoch;
use crate::OpContext;
use crate::session::ActiveSession;

/// The result of an introspection.
#[derive(Clone, Debug)]
pub enum Introspection {
    /// An active access token.
    Access(Box<AccessClaims>),
    /// An active refresh token: its session.
    Refresh(Box<Session>),
    /// Anything else, without the reason (RFC 7662 §2.2).
    Inactive,
}

/// Introspects an access token or a refresh token.
///
/// # Errors
/// When the database did not answer: caches are not used here.
pub async fn introspect(
    ctx: &mut OpContext<'_>,
    token: &Secret<String>,
) -> Result<Introspection, store::Error> {
    if let Ok(token) = RefreshToken::decode(token.expose(), &ctx.services.macs) {
        let found = ctx.lease.read().await?.one(session::find(token.session)).await?;
        let live = found.filter(|found| is_live(ctx, found) && found.generation == token.generation);
        return Ok(live.map_or(Introspection::Inactive, |found| Introspection::Refresh(Box::new(found))));
    }

    let keys = ctx.services.keys();
    let settings = &ctx.services.settings;
    let claims: Option<AccessClaims> =
        jwt::verify(token.expose(), &TYPS, |kid| keys.verifying.get(kid).cloned()).ok().filter(
            |claims: &AccessClaims| {
                claims.check(ctx.now, &settings.issuer, settings.audience.as_deref(), LEEWAY).is_ok()
            },
        );

    let Some(claims) = claims else { return Ok(Introspection::Inactive) };
    let found = find_with_epoch(ctx, claims.sid).await?;
    Ok(match found {
        Some(found)
            if is_of(&claims, &found) && is_live(ctx, &found) && ctx.services.epoch.accepts(claims.epoch) =>
        {
            // The role and its scopes are the user's current ones, not those of the token.
            let scope = settings.granted(&found.role, &claims.scope);
            Introspection::Access(Box::new(AccessClaims { role: found.role, scope, ..claims }))
        }
        _ => Introspection::Inactive,
    })
}

/// Whether the token and the session name the same user, by uuid and by the number if the token has it.
fn is_of(claims: &AccessClaims, found: &Session) -> bool {
    let names_uuid = claims.sub == claims.uuid.to_string();
    found.user.uuid == claims.uuid && (names_uuid || claims.sub == found.user.id.to_string())
}

fn is_live(ctx: &OpContext<'_>, found: &Session) -> bool {
    ActiveSession::of(found, ctx.now, &ctx.services.settings).is_some()
}
