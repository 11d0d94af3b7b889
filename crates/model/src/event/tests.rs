//! The documentation of events matches their serialized form.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::{Documented, Event, EventKind, LoginAttack, LoginMethod, Member, Notice, Obstacle, Reason};
use crate::{ClientId, KeyId, Now, SessionId, UserUuid};

/// One event of each kind, by the name of its variant.
pub(super) trait Sampled: Sized {
    fn samples() -> Vec<(&'static str, Self)>;
}

/// Some value of a member's type.
pub(super) trait Sample {
    fn sample() -> Self;
}

macro_rules! samples {
    ($($type:ty: $value:expr,)+) => {
        $(impl Sample for $type {
            fn sample() -> Self {
                $value
            }
        })+
    };
}

samples! {
    Uuid: Uuid::from_u128(1),
    SessionId: SessionId(Uuid::from_u128(2)),
    UserUuid: UserUuid(Uuid::from_u128(3)),
    String: "text".to_owned(),
    &'static str: "text",
    crate::ClientRights: crate::ClientRight::ALL.into_iter().collect(),
    ClientId: ClientId::parse("client").unwrap(),
    KeyId: KeyId("key".to_owned()),
    Vec<KeyId>: vec![KeyId("key".to_owned())],
    u64: 4,
    i64: 5,
    crate::UserId: crate::UserId(6),
    bool: true,
    Now: Now::from_seconds(1_767_225_600),
    Vec<&'static str>: vec!["text"],
    LoginAttack: LoginAttack::PasswordSpraying,
    LoginMethod: LoginMethod::Password,
    Reason: Reason::UnknownUser,
    crate::event::TokenRefusal: crate::event::TokenRefusal::Expired,
    Obstacle: Obstacle::EmailTaken,
    EventKind: EventKind::LoginSucceeded,
}

impl<T: Sample> Sample for Option<T> {
    fn sample() -> Self {
        Some(T::sample())
    }
}

/// `RefreshReplayedLate` as `refresh_replayed_late`.
fn snake(name: &str) -> String {
    let mut text = String::new();
    for (at, c) in name.char_indices() {
        if c.is_ascii_uppercase() && at > 0 {
            text.push('_');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

fn fits(member: &Member, value: &Value) -> bool {
    match member.shape {
        "UUID" => value.as_str().is_some_and(|text| Uuid::try_parse(text).is_ok()),
        "text" => value.is_string(),
        "time (RFC 3339)" => value.as_str().is_some_and(|text| text.ends_with('Z')),
        "number" => value.is_i64() || value.is_u64(),
        "true or false" => value.is_boolean(),
        "list of texts" => value.as_array().is_some_and(|all| all.iter().all(Value::is_string)),
        "kind of event" => value.as_str().and_then(EventKind::parse).is_some(),
        "word" => member.words.iter().any(|(word, _)| value == word),
        other => panic!("{other} is no shape of JSON"),
    }
}

fn is_a_sentence(text: &str) -> bool {
    text.len() > 3 && text.ends_with('.') && text.trim() == text && !text.contains('|')
}

fn check<E: Sampled + Serialize>(documented: &[Documented], kind: fn(&E) -> &'static str) {
    let samples = E::samples();
    assert_eq!(samples.len(), documented.len());
    for (described, (name, sample)) in documented.iter().zip(&samples) {
        let at = described.kind;
        assert_eq!((at, snake(name).as_str()), (kind(sample), at));
        assert!(is_a_sentence(described.about), "{at}: {:?}", described.about);
        let json = serde_json::to_value(sample).unwrap();
        let members = json.as_object().unwrap();
        assert_eq!(members["kind"], at);
        let written: BTreeSet<&str> = members.keys().map(String::as_str).collect();
        let told = described.fields.iter().map(|field| field.name).chain(["kind"]);
        assert_eq!(written, told.collect(), "{at}");
        for field in described.fields {
            assert!(is_a_sentence(field.about), "{at}.{}: {:?}", field.name, field.about);
            assert!(fits(field, &members[field.name]), "{at}.{}: {}", field.name, members[field.name]);
            assert!(field.words.iter().all(|(_, meaning)| is_a_sentence(meaning)), "{at}.{}", field.name);
        }
    }
}

#[test]
fn every_event_is_documented_as_it_is_written() {
    check::<Event>(Event::DOCUMENTED, Event::kind);
    check::<Notice>(Notice::DOCUMENTED, Notice::kind);
    let mut kinds: Vec<_> = Event::DOCUMENTED.iter().chain(Notice::DOCUMENTED).map(|one| one.kind).collect();
    kinds.sort_unstable();
    assert!(kinds.windows(2).all(|pair| pair[0] != pair[1]), "{kinds:?}");
}

#[test]
fn an_event_names_the_user_whom_its_documentation_promises() {
    for (described, (_, sample)) in Event::DOCUMENTED.iter().zip(Event::samples()) {
        assert_eq!(sample.user().is_some(), described.names_user(), "{}", described.kind);
        assert_eq!(sample.outcome(), described.outcome);
    }
    let unknown = Event::LoginFailed {
        user: None,
        identifier: String::new(),
        reason: Reason::UnknownUser,
        method: LoginMethod::Password,
    };
    assert_eq!(unknown.user(), None);
}

#[test]
fn an_event_kind_is_read_back_from_its_word() {
    assert_eq!(EventKind::ALL.len(), Event::DOCUMENTED.len());
    for (&kind, (name, sample)) in EventKind::ALL.iter().zip(Event::samples()) {
        assert_eq!((format!("{kind:?}").as_str(), kind), (name, sample.what()));
        assert_eq!(EventKind::parse(kind.as_str()), Some(kind));
    }
    assert_eq!(EventKind::parse("made_up"), None);
}
