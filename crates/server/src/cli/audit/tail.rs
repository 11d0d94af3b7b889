//! `gatewright audit tail`

use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value};
use store::audit::{Cursor, Filter};

use super::details::Details;
use super::{Failure, Output, PAGE, Trail, Which};
use crate::config::Config;

/// How often it looks for more.
const LOOK: Duration = Duration::from_secs(1);
/// How far back it looks for events of other nodes that came late.
const LATE: Duration = Duration::from_secs(30);

#[derive(Args, Debug)]
pub(in crate::cli) struct Tail {
    /// How many events
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
    lines: u32,
    /// Goes on with what comes, until it is interrupted
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    which: Which,
}

impl Tail {
    pub(super) async fn run(self, config: &Config, out: &mut Output) -> Result<(), Failure> {
        let trail = Trail::open(config).await?;
        let mut details = Details::open(config, &trail.spawner()).await?;
        let filter = self.which.filter();
        let last = trail.audit.latest(&filter, self.lines.into()).await?;
        let mut shown: Vec<Cursor> = last.iter().map(store::audit::Record::cursor).collect();
        for record in &last {
            line(out, &details.event(record).await?)?;
        }
        if !self.follow {
            return Ok(());
        }
        let begin = shown.last().map_or(filter.from, |last| last.at);
        loop {
            tokio::time::sleep(LOOK).await;
            // What comes is not in the order of time: each node ships for itself.
            let newest = shown.iter().map(|cursor| cursor.at).max().unwrap_or(begin);
            let from = Filter { from: newest.minus(LATE).max(begin), ..filter.clone() };
            let mut after = Cursor::before(from.from);
            loop {
                let page = trail.audit.page(&from, after, PAGE).await?;
                let Some(last) = page.last() else { break };
                after = last.cursor();
                for record in page.iter().filter(|record| !shown.contains(&record.cursor())) {
                    line(out, &details.event(record).await?)?;
                }
                shown.extend(page.iter().map(store::audit::Record::cursor));
            }
            let kept = shown.iter().map(|cursor| cursor.at).max().unwrap_or(begin).minus(LATE);
            shown.retain(|cursor| cursor.at >= kept);
            shown.sort_unstable_by_key(|cursor| (cursor.at, cursor.journal, cursor.sequence));
            shown.dedup();
        }
    }
}

/// One line: an object for programs; for people when, what and who first.
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
    let hidden = ["v", "journal", "sequence", "detail"];
    let others = event.iter().filter(|(name, value)| {
        !first.contains(&name.as_str()) && !hidden.contains(&name.as_str()) && !value.is_null()
    });
    words.extend(others.map(|(name, value)| format!("{name}={}", word(value))));
    if let Some(Value::Object(detail)) = event.get("detail").filter(|detail| detail.get("sealed").is_none()) {
        words.extend(detail.iter().map(|(name, value)| format!("{name}={}", word(value))));
    }
    Ok(out.line(&words.join("  "))?)
}
