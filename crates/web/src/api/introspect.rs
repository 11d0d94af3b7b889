//! Introspection (RFC 7662), for clients with credentials.

use auth::client;
use auth::token::{Introspection, introspect as look};
use axum::Json as Answer;
use model::Secret;
use protocol::access_token::FIRST_PARTY;
use protocol::authorization::Authorization;
use serde_json::{Value, json};

use super::body::IntrospectInput;
use crate::gate::cx::{Cx, Presented};
use crate::gate::input::Form;
use crate::problem::Problem;

pub(crate) async fn introspect(
    mut cx: Cx<Form<IntrospectInput>, Presented>,
) -> Result<Answer<Value>, Problem> {
    let (Form(input), presented, mut visit) = cx.enter();
    let (id, secret) = credentials(presented, input)?;
    client::authenticate(&mut visit, &id, &secret).await?;
    let found = look(&mut visit, &input.token).await?;
    Ok(Answer(body(&found, visit.rooms)))
}

/// One way of authentication, and only one (RFC 6749 §2.3).
fn credentials(presented: &Presented, input: &IntrospectInput) -> Result<(String, Secret<String>), Problem> {
    match (&presented.0, &input.client_id, &input.client_secret) {
        (Some(Authorization::Basic { id, secret }), None, None) | (None, Some(id), Some(secret)) => {
            Ok((id.clone(), Secret::clone(secret)))
        }
        (Some(Authorization::Basic { .. }), ..) => Err(Problem::MalformedBody),
        _ => Err(Problem::ClientInvalid),
    }
}

fn body(found: &Introspection, rooms: &auth::Rooms) -> Value {
    match found {
        Introspection::Inactive => json!({ "active": false }),
        Introspection::Access(claims) => {
            let mut body = json!(claims);
            if let Some(members) = body.as_object_mut() {
                members.insert("active".to_owned(), true.into());
                members.insert("token_type".to_owned(), "Bearer".into());
            }
            body
        }
        Introspection::Refresh(session) => {
            let uuid = session.user_uuid.to_string();
            let sub = if rooms.settings.subject_is_uuid { uuid.clone() } else { session.user.to_string() };
            json!({
                "active": true,
                "token_type": "refresh_token",
                "client_id": FIRST_PARTY,
                "iss": rooms.settings.issuer,
                "sub": sub,
                "uuid": uuid,
                "sid": session.id,
                "scope": session.scope,
                "iat": session.rotated_at.seconds(),
                "exp": session.ends_at.min(session.rotated_at.plus(rooms.settings.refresh_ttl)).seconds(),
            })
        }
    }
}
