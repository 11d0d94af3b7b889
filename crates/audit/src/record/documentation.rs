//! The page about events, generated from their definitions.

use std::fmt::Write as _;

use model::event::{Documented, LoginMethod, Member, Notice, Outcome, Reason};
use model::{Actor, Channel, Event, Now, RequestId, UserUuid};
use uuid::Uuid;

use super::{Detail, Line, VERSION};

/// The members of every record: name, shape, meaning. A test compares them with written records.
const OF_EVERY_RECORD: [(&str, &str, &str); 9] = [
    ("v", "number", "The version of this layout: 2."),
    ("at", "time (RFC 3339)", "Time of the event, in UTC."),
    ("kind", "word", "The kind of the event: one of the kinds below."),
    ("via", "word", "The channel of the event: one of the words below."),
    ("actor", "object", "The actor, as far as it is proven: see below."),
    (
        "request_id",
        "text",
        "The request id, as in the response and the log; absent where there is no request.",
    ),
    ("trace_id", "text", "The W3C trace id of the request; absent where there is none."),
    (
        "intent",
        "number",
        "The number of the intent that was written before COMMIT; absent where no row changes.",
    ),
    ("settled", "true", "The outcome was determined by a later process after a kill; absent otherwise."),
];

/// The member with the encrypted personal data.
const DETAIL: (&str, [(&str, &str, &str); 2]) = (
    "detail",
    [
        ("key", "16 hexadecimal digits", "The id of the user's detail key."),
        ("sealed", "Base64", "The members below as JSON, encrypted with that key."),
    ],
);

/// The values of `via`.
const CHANNELS: [(&str, &str); 5] = [
    ("http", "A request."),
    ("cli", "A command of the command line."),
    ("job", "A job of the server."),
    ("server", "The server itself: its start, stop and configuration."),
    ("journal", "The journal, about itself."),
];

/// The kinds of actors, each with its other members.
const ACTORS: [(&str, &str, &str); 7] = [
    ("anonymous", "", "An unauthenticated request."),
    ("user", "`user`: UUID", "A user, authenticated by a token or password."),
    ("operator", "`user`: UUID", "An administrator who acts on other accounts."),
    ("client", "`client`: text", "A client, authenticated by its credentials."),
    ("job", "`job`: text", "A job, by its name."),
    (
        "command_line",
        "`uid`: number, `name`: text, `sudo_uid`: number",
        "A command: the user id of its process, that id's name in the password database of the machine, and \
         `SUDO_UID`; the last two are absent where there is none.",
    ),
    ("server", "", "The server itself."),
];

/// The encrypted members of a detail.
const SEALED: [(&str, &str, &str); 3] = [
    ("address", "text", "The client's address, after trusted proxies."),
    (
        "user_agent",
        "text",
        "The client's `User-Agent`, truncated to 256 characters, with control characters replaced.",
    ),
    ("client_request_id", "text", "The request id that the client sent; unverified."),
];

/// The page: the members of every record, and every kind with its members.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Events\n\n\
         Generated from the list of events in the code: `cargo xtask gen`. One record of the audit trail is\n\
         one JSON object. It identifies a user by UUID and contains no password, token, email or username.\n\
         Other personal data is in `detail`, which becomes unreadable when the account is erased.\n\n\
         ## Every record\n\n\
         These names are reserved: no event uses them for something else.\n\n",
    );

    members(&mut page, OF_EVERY_RECORD);
    let (name, parts) = DETAIL;
    let _ = writeln!(page, "\nWhere there is personal data, `{name}` is an object:\n");
    members(&mut page, parts);
    page.push_str("\nIts encrypted members, each absent where it is not known:\n\n");
    members(&mut page, SEALED);
    page.push_str("\n`via` is one of these words:\n\n| word | meaning |\n|---|---|\n");
    for (word, meaning) in CHANNELS {
        let _ = writeln!(page, "| `{word}` | {meaning} |");
    }

    page.push_str("\n`actor` has a `type` and, depending on it, other members:\n\n");
    page.push_str("| type | members | meaning |\n|---|---|---|\n");
    for (kind, members, meaning) in ACTORS {
        let _ = writeln!(page, "| `{kind}` | {members} | {meaning} |");
    }
    page.push_str(
        "\n`audit tail` and `audit export` decrypt a detail while its key exists, and add two \
         members:\n`journal`, the id of the journal, and `sequence`, the record's number in it.\n\n\
         For example:\n\n```json\n",
    );

    page.push_str(&example(false));
    page.push_str("\n```\n\n## Classes\n\n| class | meaning |\n|---|---|\n");
    for outcome in Outcome::ALL {
        let _ = writeln!(page, "| {} | {} |", outcome.as_str(), outcome.meaning());
    }
    page.push_str("\n## Kinds\n\n| kind | class | names a user | meaning |\n|---|---|---|---|\n");
    for event in Event::DOCUMENTED.iter().chain(Notice::DOCUMENTED) {
        let Documented { kind, about, outcome, .. } = event;
        let names = if event.names_user() { "yes" } else { "no" };
        let _ = writeln!(page, "| [`{kind}`](#{kind}) | {} | {names} | {about} |", outcome.as_str());
    }

    page.push_str("\n## Members of each kind\n\nIn addition to those of every record.\n");
    for event in Event::DOCUMENTED {
        section(&mut page, event);
    }
    page.push_str("\n## Notices of the journal\n\nWith `via` = `journal`, and without a request.\n");
    for notice in Notice::DOCUMENTED {
        section(&mut page, notice);
    }
    page
}

fn members<const N: usize>(page: &mut String, rows: [(&str, &str, &str); N]) {
    page.push_str("| member | shape | meaning |\n|---|---|---|\n");
    for (name, shape, about) in rows {
        let _ = writeln!(page, "| `{name}` | {shape} | {about} |");
    }
}

fn section(page: &mut String, event: &Documented) {
    let _ = writeln!(page, "\n### {}\n\n{}", event.kind, event.about);
    if event.fields.is_empty() {
        return;
    }
    page.push_str("\n| member | shape | meaning |\n|---|---|---|\n");
    for Member { name, about, shape, nullable, words, .. } in event.fields {
        let null = if *nullable { " or null" } else { "" };
        let _ = write!(page, "| `{name}` | {shape}{null} | {about}");
        for (word, meaning) in *words {
            let _ = write!(page, "<br>`{word}`: {meaning}");
        }
        page.push_str(" |\n");
    }
}

/// A record as it is written.
fn example(settled: bool) -> String {
    let event = Event::LoginFailed {
        user: Some(UserUuid(Uuid::from_u128(0x019b_7a4c_8f00_7000_8000_0000_0000_0001))),
        identifier: "3f0c1e9a5b7d2f4e6a8c0b1d".to_owned(),
        reason: Reason::WrongPassword,
        method: LoginMethod::Password,
    };
    let request_id = RequestId::parse("019b7a4c-8f10-7000-8000-000000000002");
    let detail = Detail { key: "8b1f0e2d3c4a5968".to_owned(), sealed: "bm90IGEgcmVhbCBvbmU=".to_owned() };
    let line = Line {
        v: VERSION,
        at: Now::from_seconds(1_767_225_600),
        event: &event,
        channel: Channel::Http,
        actor: &Actor::Anonymous,
        request_id: request_id.as_ref(),
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
        detail: Some(detail),
        intent: Some(17),
        settled,
    };
    serde_json::to_string_pretty(&line).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use model::Origin;
    use runtime::audit::Entry;
    use serde_json::Value;

    use super::super::Plain;
    use super::*;

    fn names<const N: usize>(rows: [(&'static str, &'static str, &'static str); N]) -> BTreeSet<String> {
        rows.into_iter().map(|(name, ..)| name.to_owned()).collect()
    }

    fn keys(value: &Value) -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn every_member_of_a_record_is_documented_and_reserved() {
        let record: Value = serde_json::from_str(&example(true)).unwrap();
        let failed = Event::DOCUMENTED.iter().find(|event| event.kind == "login_failed").unwrap();
        let mut documented = names(OF_EVERY_RECORD);
        documented.insert(DETAIL.0.to_owned());
        let reserved: BTreeSet<String> =
            documented.iter().cloned().chain(["journal".to_owned(), "sequence".to_owned()]).collect();
        documented.extend(failed.fields.iter().map(|field| field.name.to_owned()));
        assert_eq!(keys(&record), documented);
        assert_eq!(keys(&record[DETAIL.0]), names(DETAIL.1));
        for event in Event::DOCUMENTED.iter().chain(Notice::DOCUMENTED) {
            for field in event.fields {
                assert!(!reserved.contains(field.name), "{}.{} has a reserved name", event.kind, field.name);
            }
        }

        let origin = Origin {
            address: "192.0.2.1".parse().ok(),
            user_agent: Some("curl".to_owned()),
            client_request_id: Some("theirs".to_owned()),
            ..Origin::default()
        };

        let (at, event) = (Now::from_seconds(0), Event::UsersListed {});
        let entry = Entry { at, event, origin, intent: None };
        let plain = serde_json::to_value(Plain::of(&entry).unwrap()).unwrap();
        assert_eq!(keys(&plain), names(SEALED));
    }

    #[test]
    fn every_kind_and_member_is_on_the_page() {
        let page = markdown();
        for event in Event::DOCUMENTED.iter().chain(Notice::DOCUMENTED) {
            assert!(page.contains(&format!("\n### {}\n\n{}", event.kind, event.about)), "{}", event.kind);
        }
    }
}
