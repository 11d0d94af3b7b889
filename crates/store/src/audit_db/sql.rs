//! The statements of the trail.

use uuid::Uuid;

use super::{Cursor, Filter};
use crate::statement::{RawCall, Stmt};
use crate::value::Value;
use model::Now;

macro_rules! events {
    ($name:literal, $rest:literal) => {
        Stmt::new(
            $name,
            concat!(
                "SELECT at, journal, sequence, kind, user_uuid, request_id, record_kind, payload, hash \
                 FROM gw.audit_events WHERE ",
                $rest
            ),
        )
    };
}

macro_rules! statements {
    ($($name:ident = $stmt:expr;)*) => {
        $(pub(super) static $name: Stmt = $stmt;)*
        static ALL: &[&Stmt] = &[$(&$name),*];
    };
}

statements! {
    PAGE = events!(
        "audit.page",
        "(at, journal, sequence) > ($1, $2, $3) AND at < $4 AND kind <> $6 \
         ORDER BY at, journal, sequence LIMIT $5"
    );
    PAGE_OF_USER = events!(
        "audit.page_of_user",
        "user_uuid = $7 AND (at, journal, sequence) > ($1, $2, $3) AND at >= $1 AND at < $4 AND kind <> $6 \
         ORDER BY at, journal, sequence LIMIT $5"
    );
    PAGE_OF_KIND = events!(
        "audit.page_of_kind",
        "kind = $7 AND (at, journal, sequence) > ($1, $2, $3) AND at >= $1 AND at < $4 AND kind <> $6 \
         ORDER BY at, journal, sequence LIMIT $5"
    );
    PAGE_OF_BOTH = events!(
        "audit.page_of_both",
        "user_uuid = $7 AND kind = $8 AND (at, journal, sequence) > ($1, $2, $3) AND at >= $1 AND at < $4 \
         AND kind <> $6 ORDER BY at, journal, sequence LIMIT $5"
    );
    LATEST = events!(
        "audit.latest",
        "at >= $1 AND at < $2 AND kind <> $4 ORDER BY at DESC, journal DESC, sequence DESC LIMIT $3"
    );
    LATEST_OF_USER = events!(
        "audit.latest_of_user",
        "user_uuid = $5 AND at >= $1 AND at < $2 AND kind <> $4 \
         ORDER BY at DESC, journal DESC, sequence DESC LIMIT $3"
    );
    LATEST_OF_KIND = events!(
        "audit.latest_of_kind",
        "kind = $5 AND at >= $1 AND at < $2 AND kind <> $4 \
         ORDER BY at DESC, journal DESC, sequence DESC LIMIT $3"
    );
    LATEST_OF_BOTH = events!(
        "audit.latest_of_both",
        "user_uuid = $5 AND kind = $6 AND at >= $1 AND at < $2 AND kind <> $4 \
         ORDER BY at DESC, journal DESC, sequence DESC LIMIT $3"
    );
    CHAIN = events!(
        "audit.chain",
        "journal = $1 AND (sequence, at) > ($2, $3) ORDER BY sequence, at LIMIT $4"
    );
    HEADS = Stmt::new(
        "audit.heads",
        "SELECT journal, sequence, hash, checkpoint, at FROM gw.audit_heads \
         WHERE journal = $1 AND sequence > $2 ORDER BY sequence LIMIT $3",
    );
    JOURNAL = Stmt::new(
        "audit.journal",
        "SELECT id, node, first_seen, shipped_sequence, shipped_hash, kept_sequence, kept_hash, \
         kept_proof FROM gw.audit_journals WHERE id = $1",
    );
    JOURNALS = Stmt::new(
        "audit.journals",
        "SELECT id, node, first_seen, shipped_sequence, shipped_hash, kept_sequence, kept_hash, \
         kept_proof FROM gw.audit_journals ORDER BY first_seen, id",
    )
    .scanning("all of it is wanted, and a node has one row");
    MOVE = Stmt::new(
        "audit.move",
        "INSERT INTO gw.audit_journals \
         (id, node, first_seen, shipped_sequence, shipped_hash, kept_sequence, kept_hash, kept_proof) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $10) \
         ON CONFLICT (id) DO UPDATE SET node = excluded.node, shipped_sequence = excluded.shipped_sequence, \
         shipped_hash = excluded.shipped_hash \
         WHERE audit_journals.shipped_sequence = $8 AND audit_journals.shipped_hash = $9 RETURNING id",
    );
    INSERT_HEAD = Stmt::new(
        "audit.insert_head",
        "INSERT INTO gw.audit_heads (journal, sequence, hash, checkpoint, at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (journal, sequence) DO NOTHING RETURNING 1",
    );
    OLDEST = Stmt::new(
        "audit.oldest",
        "SELECT at, journal, sequence, hash FROM gw.audit_events WHERE at < $1 \
         ORDER BY at, journal, sequence LIMIT $2",
    );
    KEEP_AFTER = Stmt::new(
        "audit.keep_after",
        "UPDATE gw.audit_journals SET kept_sequence = $2, kept_hash = $3, kept_proof = $4 \
         WHERE id = $1 AND kept_sequence < $2 RETURNING 1",
    );
    DELETE_EVENTS = Stmt::new(
        "audit.delete_events",
        "DELETE FROM gw.audit_events WHERE at <= $1 AND (at, journal, sequence) <= ($1, $2, $3) RETURNING 1",
    );
    DELETE_HEADS = Stmt::new(
        "audit.delete_heads",
        "DELETE FROM gw.audit_heads WHERE (journal, sequence) IN (SELECT o.journal, o.sequence FROM \
         (SELECT h.journal, h.sequence FROM gw.audit_heads h WHERE h.at < $1 ORDER BY h.at LIMIT 1000) o) \
         RETURNING 1",
    );
}

/// Every statement of the trail, for the tests of query plans.
pub fn statements() -> impl Iterator<Item = &'static Stmt> {
    ALL.iter().copied()
}

pub(super) fn call(stmt: &'static Stmt, params: impl Into<Vec<Value>>) -> RawCall {
    RawCall { stmt, params: params.into() }
}

pub(super) fn page(filter: &Filter, after: Cursor, limit: i64) -> RawCall {
    let Cursor { at, journal, sequence } = after;
    let mut params = vec![at.into(), uuid(journal), sequence.into(), filter.to.into(), Value::from(limit)];
    params.extend(chosen(filter));
    let stmt = match (filter.user, &filter.kind) {
        (None, None) => &PAGE,
        (Some(_), None) => &PAGE_OF_USER,
        (None, Some(_)) => &PAGE_OF_KIND,
        (Some(_), Some(_)) => &PAGE_OF_BOTH,
    };
    call(stmt, params)
}

pub(super) fn latest(filter: &Filter, limit: i64) -> RawCall {
    let mut params = vec![filter.from.into(), filter.to.into(), Value::from(limit)];
    params.extend(chosen(filter));
    let stmt = match (filter.user, &filter.kind) {
        (None, None) => &LATEST,
        (Some(_), None) => &LATEST_OF_USER,
        (None, Some(_)) => &LATEST_OF_KIND,
        (Some(_), Some(_)) => &LATEST_OF_BOTH,
    };
    call(stmt, params)
}

/// The values that the filter compares with: the kind that is left out, where there is none a word that is no
/// kind, then user, then kind.
fn chosen(filter: &Filter) -> impl Iterator<Item = Value> {
    let without = Value::from(filter.without.unwrap_or_default());
    let kind = filter.kind.as_deref().map(Value::from);
    std::iter::once(without).chain(filter.user.map(Value::from)).chain(kind)
}

pub(super) fn chain(journal: [u8; 16], after: (i64, Now), limit: i64) -> RawCall {
    call(&CHAIN, [uuid(journal), after.0.into(), after.1.into(), limit.into()])
}

pub(super) fn heads(journal: [u8; 16], after: i64, limit: i64) -> RawCall {
    call(&HEADS, [uuid(journal), after.into(), limit.into()])
}

pub(super) fn journal(id: [u8; 16]) -> RawCall {
    call(&JOURNAL, [uuid(id)])
}

pub(super) fn journals() -> RawCall {
    call(&JOURNALS, [])
}

/// Moves a journal's position, if the database still has the expected one.
pub(super) fn shift(shipment: &super::Shipment) -> RawCall {
    let known = shipment.known;
    let params = [
        uuid(shipment.journal),
        shipment.node.as_str().into(),
        shipment.now.into(),
        shipment.after.sequence.into(),
        shipment.after.hash.into(),
        shipment.before.sequence.into(),
        shipment.before.hash.into(),
        known.map_or(-1, |place| place.sequence).into(),
        known.map_or([0; 32], |place| place.hash).into(),
        shipment.kept_proof.clone().into(),
    ];
    call(&MOVE, params)
}

pub(super) fn insert_head(head: &super::Head) -> RawCall {
    let (hash, bytes) = (head.hash.into(), head.checkpoint.as_slice().into());
    call(&INSERT_HEAD, [uuid(head.journal), head.sequence.into(), hash, bytes, head.at.into()])
}

pub(super) fn uuid(id: [u8; 16]) -> Value {
    Value::Uuid(Uuid::from_bytes(id))
}
