//! The backlog, and the removal of shipped segments and old rows.

use audit::sinks::{JsonLines, RemoteSink, Transport};

use super::*;

#[tokio::test]
async fn the_backlog_is_reported_while_the_database_is_unavailable() {
    let node = node().await;
    let mut journal = open(node.folder.path(), ID, 1 << 20);
    let end = JournalTail::of(&node.folder.path().join("journal"));
    assert_eq!(end.sequence(), 0, "no journal yet");
    append(&mut journal, &node, 1, 5);
    assert_eq!(end.sequence(), 5);

    let whole = Arc::new(ShipStats::default());
    let ready: Arc<dyn Fn() -> u64 + Send + Sync> = Arc::new(move || end.sequence());
    let settings = ShipperSettings { ready, shipping: whole.part(), ..settings(node.folder.path()) };
    let job = Shipper::new(settings, FaultySink::new(node.open_audit()));
    node.runner.settle(&job).await.unwrap();
    assert_eq!((whole.backlog(), whole.shipped()), (0, 5));

    job.sink().away.store(true, Ordering::SeqCst);
    append(&mut journal, &node, 6, 3);
    node.runner.step(&job).await.unwrap_err();
    assert_eq!(whole.backlog(), 3);
    append(&mut journal, &node, 9, 1);
    node.runner.step(&job).await.unwrap_err();
    assert_eq!(whole.backlog(), 4, "updated at each step");
    assert!(whole.last_error().is_some());

    job.sink().away.store(false, Ordering::SeqCst);
    node.runner.settle(&job).await.unwrap();
    assert_eq!((whole.backlog(), whole.shipped(), whole.last_error()), (0, 9, None));
}

#[tokio::test]
async fn only_old_shipped_segments_are_removed() {
    let node = node().await;
    let mut journal = open(node.folder.path(), ID, 1 << 20);
    append(&mut journal, &node, 1, 4);
    node.clock.advance(Duration::from_hours(24 * 6));
    append(&mut journal, &node, 5, 4);
    let forgotten = Arc::new(AtomicU64::new(0));
    let busy = Arc::new(AtomicBool::new(false));
    let (reported, is_busy) = (Arc::clone(&forgotten), Arc::clone(&busy));
    let settings = ShipperSettings {
        forget: Some(Arc::new(move |sequence| {
            let idle = !is_busy.load(Ordering::SeqCst);
            if idle {
                reported.store(sequence, Ordering::SeqCst);
            }
            idle
        })),
        ..settings(node.folder.path())
    };

    let job = Shipper::new(settings, FaultySink::new(node.open_audit()));
    node.runner.settle(&job).await.unwrap();
    assert_eq!(forgotten.load(Ordering::SeqCst), 1, "nothing is older than a week");

    node.clock.advance(Duration::from_hours(24 * 2));
    busy.store(true, Ordering::SeqCst);
    node.runner.settle(&job).await.unwrap();
    assert_eq!(forgotten.load(Ordering::SeqCst), 1, "the journal is being written");

    busy.store(false, Ordering::SeqCst);
    node.clock.advance(Duration::from_mins(1));
    node.runner.settle(&job).await.unwrap();
    assert_eq!(forgotten.load(Ordering::SeqCst), 5);

    job.sink().away.store(true, Ordering::SeqCst);
    append(&mut journal, &node, 9, 2);
    node.clock.advance(Duration::from_hours(24 * 30));
    let _ = node.runner.step(&job).await;
    assert_eq!(forgotten.load(Ordering::SeqCst), 5, "unshipped records stay");
    job.sink().away.store(false, Ordering::SeqCst);
    node.runner.settle(&job).await.unwrap();
    node.clock.advance(Duration::from_hours(1));
    node.runner.settle(&job).await.unwrap();
    assert_eq!(forgotten.load(Ordering::SeqCst), 11);

    node.clock.advance(Duration::from_hours(24 * 400));
    node.runner.settle(&job).await.unwrap();
    assert_eq!(sequences(&node).await, Vec::<i64>::new(), "retention");
    let known = node.audit_db.journal(ID.0).await.unwrap().unwrap();
    assert_eq!((known.kept, known.shipped.sequence), (known.shipped, 10));
}

/// One cleanup removes more than one batch of retention.
#[tokio::test]
async fn retention_removes_several_batches_at_once() {
    let node = node().await;
    let mut journal = open(node.folder.path(), ID, 1 << 20);
    append(&mut journal, &node, 1, 2500);
    let job = shipper(&node);
    node.runner.settle(&job).await.unwrap();
    assert_eq!(sequences(&node).await.len(), 2500);
    node.clock.advance(Duration::from_hours(24 * 401));
    node.runner.settle(&job).await.unwrap();
    assert_eq!(sequences(&node).await.len(), 0);
}

/// Records that the journal has removed before a sink returns are counted, and the sink continues with the
/// oldest.
#[tokio::test]
async fn a_sink_that_was_unavailable_for_too_long_reports_the_missing_records() {
    let node = node().await;
    let folder = node.folder.path().to_owned();
    let mut journal = open(&folder, ID, 1500);
    append(&mut journal, &node, 1, 30);

    let out = folder.join("out");
    let sink = || {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(&out).unwrap();
        let transport = Transport::JsonLines(JsonLines::new(file));
        let settings = ShipperSettings { keys: None, ..settings(&folder) };
        Shipper::new(settings, RemoteSink::new(transport, folder.join("sink"), CancellationToken::new()))
    };

    node.runner.settle(&sink()).await.unwrap();
    append(&mut journal, &node, 31, 30);
    assert!(journal.remove_before(55).unwrap() > 0);
    let oldest = journal.oldest();
    assert!((32..=55).contains(&oldest), "{oldest}");

    let back = sink();
    node.runner.settle(&back).await.unwrap();
    let text = std::fs::read_to_string(&out).unwrap();
    let sequence = |line: &str| serde_json::from_str::<Value>(line).unwrap()["sequence"].as_u64().unwrap();
    let found: Vec<u64> = text.lines().map(sequence).collect();
    assert_eq!(found, (1..=30).chain(oldest..=60).collect::<Vec<_>>());
    assert_eq!((back.shipping().dead(), back.shipping().shipped()), (oldest - 31, 61 - oldest));
    assert_eq!((letters(&node).len(), letters(&node)[0]["shipped"].as_u64()), (1, Some(30)));
}
