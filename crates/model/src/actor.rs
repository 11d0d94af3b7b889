//! The actor of an event, as far as it is proven.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{ClientId, UserUuid};

/// The actor of an event: part of every audit record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Actor {
    /// The server itself: its start, stop and configuration.
    #[default]
    Server,
    /// An unauthenticated request.
    Anonymous,
    /// A user, authenticated by a token or password.
    User {
        /// The user.
        user: UserUuid,
    },
    /// An administrator who acts on other accounts.
    Operator {
        /// The administrator's own account.
        user: UserUuid,
    },
    /// A client, authenticated by its credentials.
    Client {
        /// The client.
        client: ClientId,
    },
    /// A job.
    Job {
        /// Its name.
        job: Cow<'static, str>,
    },
    /// A command on a machine that has the data directory or the database.
    CommandLine {
        /// The user id of the process, by the operating system.
        uid: u32,
        /// The name of that user id in the password database of the machine; absent where it has none.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// `SUDO_UID`: the user id for which `sudo` runs the command. Other programs may set it, too.
        #[serde(skip_serializing_if = "Option::is_none")]
        sudo_uid: Option<u32>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_actor_is_read_back_as_it_was_written() {
        let user = UserUuid(uuid::Uuid::from_u128(1));
        let actors = [
            (Actor::Server, r#"{"type":"server"}"#),
            (Actor::Anonymous, r#"{"type":"anonymous"}"#),
            (Actor::User { user }, r#"{"type":"user","user":"00000000-0000-0000-0000-000000000001"}"#),
            (
                Actor::Operator { user },
                r#"{"type":"operator","user":"00000000-0000-0000-0000-000000000001"}"#,
            ),
            (
                Actor::Client { client: ClientId::parse("app").unwrap() },
                r#"{"type":"client","client":"app"}"#,
            ),
            (Actor::Job { job: "cleanup".into() }, r#"{"type":"job","job":"cleanup"}"#),
            (
                Actor::CommandLine { uid: 0, name: Some("root".to_owned()), sudo_uid: Some(1000) },
                r#"{"type":"command_line","uid":0,"name":"root","sudo_uid":1000}"#,
            ),
            (Actor::CommandLine { uid: 7, name: None, sudo_uid: None }, r#"{"type":"command_line","uid":7}"#),
        ];

        for (actor, text) in actors {
            assert_eq!(serde_json::to_string(&actor).unwrap(), text);
            assert_eq!(serde_json::from_str::<Actor>(text).unwrap(), actor);
        }
    }
}
