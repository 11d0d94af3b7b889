//! Notifications for the service manager that started the process: systemd, or another with `sd_notify(3)`.
//! Without one nothing is sent.

use std::convert::Infallible;

use sd_notify::NotifyState;

use crate::app::lifecycle::{Stage, Tasks};

/// The listeners are up, or a reload has ended.
pub(crate) fn ready() {
    send(&[NotifyState::Ready]);
}

/// A reload begins; [`ready`] ends it.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        // systemd distinguishes this reload from an earlier one by the time.
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(why) => tracing::warn!(%why, "the service manager is not notified of the reload"),
    }
}

/// Sends `STOPPING` when the shutdown begins, and `WATCHDOG` at half of the watchdog's interval, if there is
/// one.
pub(crate) fn watch(tasks: &Tasks) {
    let stop = tasks.stop().clone();
    let draining = stop.draining;
    tasks.spawner(Stage::Serving).spawn("service manager", async move {
        draining.cancelled().await;
        send(&[NotifyState::Stopping]);
    });

    let half = sd_notify::watchdog_enabled().map(|interval| interval / 2);
    let Some(half) = half.filter(|half| !half.is_zero()) else { return };
    tasks.restartable(Stage::Working, "watchdog", move || {
        let stop = stop.working.clone();
        async move {
            let mut ticks = tokio::time::interval(half);
            while stop.run_until_cancelled(ticks.tick()).await.is_some() {
                send(&[NotifyState::Watchdog]);
            }
            Ok::<_, Infallible>(())
        }
    });
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(why) = sd_notify::notify(states) {
        tracing::warn!(%why, "the service manager cannot be notified");
    }
}
