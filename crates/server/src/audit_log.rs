//! The audit trail as log lines: one an entry, with the target `audit`.

use model::trail::{Entry, Recorder};
use serde_json::Value;

/// Writes every entry to the log.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuditLog;

impl Recorder for AuditLog {
    fn record(&self, entry: Entry) {
        let kind = entry.event.kind();
        let json = serde_json::to_value(&entry).unwrap_or_default();
        let text = |name: &str| json.get(name).and_then(Value::as_str);
        tracing::info!(
            target: "audit",
            kind,
            user = text("user"),
            via = text("via"),
            request_id = text("request_id"),
            address = text("address"),
            entry = %json,
            "{kind}"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use model::{Clock, Event, Now, Origin, RequestId, Trail, UserUuid};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_entry_is_one_line_that_says_who_and_from_where() {
        let memory = Memory::default();
        let writer = memory.clone();
        let lines = tracing_subscriber::fmt::layer().json().flatten_event(true);
        let lines = lines.with_writer(move || writer.clone());
        let user = UserUuid(model::id::uuid_v7(Now::from_seconds(1), &model::Rng::seeded(1)));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            let origin = Origin {
                via: "http",
                request_id: Some(RequestId("r-1".to_owned())),
                address: Some([192, 0, 2, 1].into()),
                ..Origin::default()
            };
            let trail = Trail::new(Arc::new(AuditLog), Clock::test(Now::from_seconds(0)), origin);
            trail.note(Event::ProfileChanged { user });
        });
        let text = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
        let line: Value = serde_json::from_str(&text).unwrap();
        let is = |name: &str, value: &str| assert_eq!(line[name], value, "{text}");
        is("target", "audit");
        is("kind", "profile_changed");
        is("user", &user.to_string());
        is("request_id", "r-1");
        is("address", "192.0.2.1");
        let entry: Value = serde_json::from_str(line["entry"].as_str().unwrap()).unwrap();
        assert_eq!(entry["kind"], "profile_changed");
        assert_eq!(entry["at"], "1970-01-01T00:00:00Z");
    }
}
