//! Records as OpenTelemetry logs: OTLP over HTTP, in its JSON encoding (protocol version 1).
//!
//! In that encoding, 64-bit integers are strings, and a trace id is hexadecimal digits.

use journal::JournalId;
use model::Event;
use model::event::{Notice, Outcome};
use runtime::Parked;
use serde::Serialize;
use serde_json::Value;
use store::audit_db::{Record, Shipment};

use super::sink::SinkError;
use super::{Carried, json_lines, judge};
use crate::dead_letters::SET_ASIDE;
use crate::record::row::Members;
use outbound::Endpoint;

/// Severity numbers and texts of the log data model.
const INFO: (u8, &str) = (9, "INFO");
const WARN: (u8, &str) = (13, "WARN");

/// Posts to a collector.
#[derive(Debug)]
pub struct Otlp(Endpoint);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    resource_logs: [ResourceLogs<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceLogs<'a> {
    resource: Resource<'a>,
    scope_logs: [ScopeLogs<'a>; 1],
}

#[derive(Serialize)]
struct Resource<'a> {
    attributes: [Attribute<'a>; 3],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ScopeLogs<'a> {
    scope: Scope,
    log_records: Vec<LogRecord<'a>>,
}

#[derive(Serialize)]
struct Scope {
    name: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogRecord<'a> {
    time_unix_nano: String,
    observed_time_unix_nano: String,
    severity_number: u8,
    severity_text: &'static str,
    event_name: &'a str,
    body: AnyValue<'a>,
    attributes: Vec<Attribute<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
}

#[derive(Serialize)]
struct Attribute<'a> {
    key: &'static str,
    value: AnyValue<'a>,
}

#[derive(Serialize)]
enum AnyValue<'a> {
    #[serde(rename = "stringValue")]
    Text(std::borrow::Cow<'a, str>),
    #[serde(rename = "intValue")]
    Number(String),
}

impl Otlp {
    /// Posts to `endpoint`, whose path ends with `/v1/logs`.
    pub fn new(endpoint: Endpoint) -> Self {
        Self(endpoint)
    }

    pub(super) async fn carry(&self, parked: &Parked<'_>, shipment: &Shipment) -> Result<Carried, SinkError> {
        let body =
            serde_json::to_vec(&request(shipment)).map_err(|why| SinkError::outside(why.to_string()))?;
        let answer = self.0.post(parked, "application/json", &[], body).await;
        let answer = answer.map_err(SinkError::outside)?;
        Ok(match judge(&answer)? {
            // A partial success does not name the rejected records: they are found by sending the records one
            // by one.
            Carried::Taken => rejected(&answer.body).map_or(Carried::Taken, Carried::Refused),
            refused @ Carried::Refused(_) => refused,
        })
    }
}

/// The collector's message about records that it has rejected.
fn rejected(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let partial = answer.get("partialSuccess")?;
    let count = partial.get("rejectedLogRecords")?;
    let count = count.as_u64().or_else(|| count.as_str()?.parse().ok()).filter(|count| *count > 0)?;
    let why = partial.get("errorMessage").and_then(Value::as_str).unwrap_or("it does not say why");
    Some(format!("it rejected {count} records: {why}"))
}

fn request(shipment: &Shipment) -> Request<'_> {
    let resource = Resource {
        attributes: [
            text("service.name", "gatewright"),
            text("service.version", env!("CARGO_PKG_VERSION")),
            text("host.name", &shipment.node),
        ],
    };
    let log_records = shipment.records.iter().map(|record| log_record(record, shipment)).collect();
    let scope_logs = [ScopeLogs { scope: Scope { name: "gatewright.audit" }, log_records }];
    Request { resource_logs: [ResourceLogs { resource, scope_logs }] }
}

fn log_record<'a>(record: &'a Record, shipment: &Shipment) -> LogRecord<'a> {
    let (severity_number, severity_text) = severity(&record.kind);
    let line = json_lines::line(record, &shipment.node);
    let is_trace = |id: &&str| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let trace_id = Members::of(&record.payload).trace_id().filter(is_trace).map(str::to_owned);

    let journal = Attribute {
        key: "audit.journal",
        value: AnyValue::Text(JournalId(record.journal).to_string().into()),
    };

    let sequence = Attribute { key: "audit.sequence", value: AnyValue::Number(record.sequence.to_string()) };
    let mut attributes = vec![journal, sequence];
    if let Some(user) = record.user {
        attributes.push(Attribute { key: "user.id", value: AnyValue::Text(user.to_string().into()) });
    }
    attributes.extend(record.request_id.as_deref().map(|id| text("audit.request_id", id)));

    LogRecord {
        time_unix_nano: nanos(record.at.micros()),
        observed_time_unix_nano: nanos(shipment.now.micros()),
        severity_number,
        severity_text,
        event_name: &record.kind,
        body: AnyValue::Text(line.into()),
        attributes,
        trace_id,
    }
}

/// Events that an operator should look at are warnings.
fn severity(kind: &str) -> (u8, &'static str) {
    let known = Event::DOCUMENTED.iter().chain(Notice::DOCUMENTED).find(|known| known.kind == kind);
    match known.map(|known| known.outcome) {
        Some(Outcome::Alarm | Outcome::Unknown) => WARN,
        None if kind == SET_ASIDE => WARN,
        _ => INFO,
    }
}

fn text<'a>(key: &'static str, value: &'a str) -> Attribute<'a> {
    Attribute { key, value: AnyValue::Text(value.into()) }
}

/// Nanoseconds since 1970, which OTLP counts without a sign.
fn nanos(micros: i64) -> String {
    u64::try_from(micros).unwrap_or(0).saturating_mul(1000).to_string()
}
