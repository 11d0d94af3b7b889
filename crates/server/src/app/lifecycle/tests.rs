use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::*;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn lifecycle() -> Lifecycle {
    Lifecycle::new(Deadlines { delay: secs(5), serving: secs(20), working: secs(5) })
}

/// A task that takes some time.
async fn busy(span: Duration) {
    let _ = tokio::time::timeout(span, std::future::pending::<()>()).await;
}

fn now() -> Instant {
    Instant::now()
}

#[tokio::test(start_paused = true)]
async fn phases_follow_each_other_and_working_tasks_outlive_serving_ones() {
    let lifecycle = lifecycle();
    let (tasks, (signal, signals), begin) = (lifecycle.tasks(), Signals::channel(), now());
    let (seen, mut order) = mpsc::channel(8);
    for (stage, name, takes) in [(Stage::Serving, "request", 3), (Stage::Working, "journal", 1)] {
        let (stop, seen) = (tasks.stop().of(stage).clone(), seen.clone());
        tasks.spawner(stage).spawn(name, async move {
            stop.cancelled().await;
            busy(secs(takes)).await;
            seen.send((name, begin.elapsed().as_secs())).await.unwrap();
        });
    }

    tasks.health().enter(Phase::Running);
    signal.send(Signal::Stop).await.unwrap();
    let (draining, health) = (tasks.stop().clone(), tasks.health().clone());
    let watch = async {
        draining.draining.cancelled().await;
        assert_eq!(health.phase(), Phase::Draining);
        assert!(!draining.serving.is_cancelled(), "the listener stays open through the delay");
    };

    let (ended, ()) = tokio::join!(lifecycle.run(signals, || ()), watch);
    assert_eq!(ended, Ended { cause: Cause::Signal, forced: false, unfinished: vec![], panics: 0 });
    assert_eq!(order.recv().await, Some(("request", 8)));
    assert_eq!(order.recv().await, Some(("journal", 9)));
    assert_eq!(begin.elapsed().as_secs(), 9);
}

#[tokio::test(start_paused = true)]
async fn tasks_that_do_not_end_in_time_are_named_and_dropped() {
    let lifecycle = lifecycle();
    let (tasks, (signal, signals)) = (lifecycle.tasks(), Signals::channel());
    let (dropped, seen) = oneshot::channel::<()>();
    for _ in 0..2 {
        tasks.spawner(Stage::Serving).spawn("connection", std::future::pending());
    }
    tasks.spawner(Stage::Working).spawn("shipper", async move {
        let _held = dropped;
        std::future::pending::<()>().await;
    });
    signal.send(Signal::Stop).await.unwrap();
    let ended = lifecycle.run(signals, || ()).await;
    assert_eq!(ended.unfinished, [("connection", 2), ("shipper", 1)]);
    assert_eq!(ended.to_string(), "stopped; not finished: 2 connection, 1 shipper");
    assert!(seen.await.is_err(), "the task was dropped");
    assert!(tasks.running().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_stops_at_once_and_a_reload_does_not() {
    let lifecycle = lifecycle();
    let (tasks, (signal, signals), begin) = (lifecycle.tasks(), Signals::channel(), now());
    tasks.spawner(Stage::Serving).spawn("connection", std::future::pending());
    for sent in [Signal::Reload, Signal::Stop, Signal::Reload, Signal::Stop] {
        signal.send(sent).await.unwrap();
    }
    let mut reloads = 0;
    let ended = lifecycle.run(signals, || reloads += 1).await;
    assert!(ended.forced && reloads == 1);
    assert_eq!(ended.unfinished, [("connection", 1)]);
    assert!(begin.elapsed() < secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_critical_task_that_ends_stops_the_process_with_its_name() {
    type Task = fn() -> Result<(), String>;
    let cases: [(Task, &str); 3] = [
        (|| Ok(()), "it ended"),
        (|| Err("no more threads".to_owned()), "no more threads"),
        (|| panic!("out of luck"), "panicked: out of luck"),
    ];
    for (task, why) in cases {
        let lifecycle = lifecycle();
        let (_signal, signals) = Signals::channel();
        lifecycle.tasks().critical(Stage::Working, "hash engine", async move { task() });
        let ended = lifecycle.run(signals, || ()).await;
        assert_eq!(ended.cause, Cause::Failed { name: "hash engine", why: why.to_owned() });
        assert_eq!(ended.panics, u64::from(why.starts_with("panicked")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_critical_task_that_ends_when_told_is_no_failure() {
    let lifecycle = lifecycle();
    let (tasks, (signal, signals)) = (lifecycle.tasks(), Signals::channel());
    let stop = tasks.stop().serving.clone();
    tasks.critical(Stage::Serving, "listener", async move {
        stop.cancelled().await;
        Ok::<(), Infallible>(())
    });
    signal.send(Signal::Stop).await.unwrap();
    assert_eq!(lifecycle.run(signals, || ()).await.cause, Cause::Signal);
}

#[tokio::test(start_paused = true)]
async fn a_restartable_task_restarts_with_growing_delays_and_shows_as_degraded() {
    let lifecycle = lifecycle();
    let (tasks, begin) = (lifecycle.tasks(), now());
    let (started, mut starts) = mpsc::channel(8);
    let count = Arc::new(AtomicU32::new(0));
    tasks.restartable(Stage::Working, "shipper", move || {
        let (started, count) = (started.clone(), Arc::clone(&count));
        async move {
            started.send(begin.elapsed().as_secs()).await.unwrap();
            match count.fetch_add(1, Ordering::SeqCst) {
                0 => Err("no route".to_owned()),
                1 => panic!("poison"),
                2 => Ok(()),
                _ => std::future::pending().await,
            }
        }
    });

    assert_eq!(starts.recv().await, Some(0));
    for at in [1, 3, 7] {
        assert_eq!(starts.recv().await, Some(at));
        assert_eq!(tasks.health().degraded(), ["shipper"]);
    }

    tokio::time::advance(STEADY + secs(1)).await;
    tokio::task::yield_now().await;
    assert!(tasks.health().degraded().is_empty(), "it has run for a while");
    assert_eq!(tasks.panics(), BTreeMap::from([("shipper", 1)]));
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_an_ordinary_task_is_counted_and_stops_nothing() {
    let lifecycle = lifecycle();
    let (tasks, (signal, signals)) = (lifecycle.tasks(), Signals::channel());
    tasks.spawner(Stage::Serving).spawn("request", async { panic!("bug") });
    tokio::task::yield_now().await;
    assert!(tasks.running().is_empty());
    signal.send(Signal::Stop).await.unwrap();
    let ended = lifecycle.run(signals, || ()).await;
    assert_eq!((ended.cause, ended.panics), (Cause::Signal, 1));
}
