//! `gatewright audit tail`

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value};
use store::audit_db::{Audit, Cursor, Filter, Record};

use super::super::looking::Looking;
use super::{Failure, Global, Output, PAGE, Selected, Which};
use crate::config::Config;

/// Interval between queries for new events.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// How far back each query looks for events that arrive late.
const LATE: Duration = Duration::from_secs(30);

#[derive(Args, Debug)]
pub(in crate::cli) struct Tail {
    /// Number of events
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
    lines: u32,
    /// Prints new events as they arrive, until interrupted
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    which: Which,
}

impl Tail {
    pub(super) async fn run(self, given: (&Global, &Config), out: &mut Output) -> Result<(), Failure> {
        let trail = Looking::begin(given.1).await?;
        let Selected { filter, mut details } = self.which.open(given, &trail, self.follow).await?;
        let newest = trail.audit.latest(&filter, 1).await?.first().map(|newest| newest.at);
        let begin = newest.map_or(filter.from, |newest| newest.minus(LATE).max(filter.from));

        // Events that exist now and are not among the last ones are not shown. Events that arrive later are
        // shown, even if they are older.
        let mut shown = BTreeSet::new();
        if self.follow {
            after(&trail.audit, &Filter { from: begin, ..filter.clone() }, async |record| {
                shown.insert(record.cursor());
                Ok(())
            })
            .await?;
        }

        for record in trail.audit.latest(&filter, self.lines.into()).await? {
            line(out, &details.event(&record).await?)?;
            shown.insert(record.cursor());
        }

        if !self.follow {
            return Ok(());
        }

        loop {
            tokio::time::sleep(WATCH_INTERVAL).await;
            // Events do not arrive in the order of their time, because each node ships its own.
            let newest = shown.last().map_or(begin, |last| last.at);
            let from = newest.minus(LATE).max(begin);
            after(&trail.audit, &Filter { from, ..filter.clone() }, async |record| {
                if shown.insert(record.cursor()) {
                    line(out, &details.event(&record).await?)?;
                }
                Ok(())
            })
            .await?;
            shown = shown.split_off(&Cursor::before(from));
        }
    }
}

/// Passes each event that the filter selects to `each`, oldest first.
async fn after(
    audit: &Audit,
    filter: &Filter,
    mut each: impl AsyncFnMut(Record) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut after = Cursor::before(filter.from);
    loop {
        let page = audit.page(filter, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.cursor();
        for record in page {
            each(record).await?;
        }
    }
}

/// One line: for programs a JSON object, for people the time, kind, user and actor first.
fn line(out: &mut Output, event: &Map<String, Value>) -> Result<(), Failure> {
    if out.is_json() {
        return Ok(out.text(&format!("{}\n", Value::Object(event.clone())))?);
    }
    let word = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let first = ["at", "kind", "user"];
    let mut words: Vec<String> =
        ["at", "kind"].iter().filter_map(|name| event.get(*name)).map(word).collect();
    words.extend(event.get("user").map(|user| format!("user={}", word(user))));
    words.extend(event.get("actor").map(|actor| format!("actor={}", short_actor(actor))));
    let hidden = ["v", "actor", "journal", "sequence", "detail"];
    let others = event.iter().filter(|(name, value)| {
        !first.contains(&name.as_str()) && !hidden.contains(&name.as_str()) && !value.is_null()
    });
    words.extend(others.map(|(name, value)| format!("{name}={}", word(value))));
    if let Some(Value::Object(detail)) = event.get("detail").filter(|detail| detail.get("sealed").is_none()) {
        words.extend(detail.iter().map(|(name, value)| format!("{name}={}", word(value))));
    }
    Ok(out.line(&words.join("  "))?)
}

/// An actor as one word: its type and its name.
pub(super) fn short_actor(actor: &Value) -> String {
    let text = |name: &str| match actor.get(name)? {
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let kind = text("type").unwrap_or_default();
    let name = ["user", "client", "job", "name", "uid"].into_iter().find_map(text);
    name.map_or_else(|| kind.clone(), |name| format!("{kind}:{name}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_actor_is_shown_as_one_word() {
        for (actor, word) in [
            (json!({ "type": "server" }), "server"),
            (json!({ "type": "job", "job": "cleanup" }), "job:cleanup"),
            (
                json!({ "type": "command_line", "uid": 0, "name": "root", "sudo_uid": 1000 }),
                "command_line:root",
            ),
            (json!({ "type": "command_line", "uid": 7 }), "command_line:7"),
        ] {
            assert_eq!(short_actor(&actor), word);
        }
    }
}
