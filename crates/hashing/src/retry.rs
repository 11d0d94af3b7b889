//! The `Retry-After` of refused requests.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use protocol::wire::forwarded::network;
use tokio::time::Instant;

use crate::queue::{Priority, SITE_SHARE};

/// Bounds of a `Retry-After`.
const MIN: Duration = Duration::from_secs(1);
const MAX: Duration = Duration::from_mins(2);
/// Most networks and sites that have a line of their own.
const NETWORKS: usize = 10_000;

/// Spreads the returns of refused requests, so that clients that obey find capacity.
///
/// Networks stand in one line, each once: the slot of a network is one job after that of the previous one.
/// Further requests of a network follow in a line of its own, so that a client that floods the queue sends
/// only itself away. An IPv6 site, whose holder has 65,536 networks, moves the common line [`SITE_SHARE`]
/// times.
#[derive(Debug, Default)]
pub(crate) struct RetryLines {
    lines: HashMap<Priority, Line>,
}

#[derive(Debug, Default)]
struct Line {
    /// The latest slot that a network has got.
    last: Option<Instant>,
    /// The latest slot of each network.
    networks: HashMap<Option<IpAddr>, Instant>,
    /// How often each IPv6 site has moved the line.
    sites: HashMap<IpAddr, u32>,
    /// When slots in the past were last removed.
    tidied: Option<Instant>,
}

impl RetryLines {
    /// Begins anew once there is capacity: refused requests have returned by now or will not.
    pub(crate) fn forget(&mut self) {
        self.lines.clear();
    }

    /// When a request that is refused now may return: 1 s to 120 s. `first` is when there will be capacity,
    /// `step` the time that one job takes, and `jitter` between 0 and 1 s.
    pub(crate) fn retry_after(
        &mut self,
        priority: Priority,
        address: Option<IpAddr>,
        first: Duration,
        step: Duration,
        jitter: Duration,
    ) -> Duration {
        let now = Instant::now();
        let slot = self.lines.entry(priority).or_default().slot(address, now, first.min(MAX), step.min(MAX));
        let after = slot.saturating_duration_since(now) + jitter;
        Duration::from_secs_f64(after.as_secs_f64().ceil()).clamp(MIN, MAX)
    }
}

impl Line {
    fn slot(&mut self, address: Option<IpAddr>, now: Instant, first: Duration, step: Duration) -> Instant {
        let own = address.map(|address| network(address, 64));
        if self.networks.len() >= NETWORKS && self.tidied.is_none_or(|at| at + MIN < now) {
            self.tidied = Some(now);
            self.networks.retain(|_, slot| *slot > now);
            self.sites.clear();
        }

        let (first, end) = (now + first, now + MAX);
        let own_previous = self.networks.get(&own).copied();
        let slot = later(own_previous.or(self.last), first, step).min(end);
        if own_previous.is_none() && self.moves_for(address) {
            self.last = Some(slot);
        }

        if self.networks.len() < NETWORKS || self.networks.contains_key(&own) {
            self.networks.insert(own, slot);
        }
        slot
    }

    /// Whether a network that has no slot yet moves the common line.
    fn moves_for(&mut self, address: Option<IpAddr>) -> bool {
        if self.networks.len() >= NETWORKS {
            return false;
        }
        let Some(address) = address.map(|address| address.to_canonical()).filter(IpAddr::is_ipv6) else {
            return true;
        };
        let moves = self.sites.entry(network(address, 48)).or_default();
        *moves += 1;
        *moves <= SITE_SHARE
    }
}

/// The slot after `previous`, not before `first`.
fn later(previous: Option<Instant>, first: Instant, step: Duration) -> Instant {
    previous.map_or(first, |previous| previous.max(first)) + step
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn after(lines: &mut RetryLines, address: Option<&str>) -> u64 {
        let address = address.map(|address| address.parse().unwrap());
        let step = SECOND / 10;
        lines.retry_after(Priority::Login, address, 5 * SECOND / 2, step, Duration::ZERO).as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn each_refused_network_gets_a_later_slot_within_bounds() {
        let mut lines = RetryLines::default();
        let slots: Vec<_> =
            (0..5000).map(|n| after(&mut lines, Some(&format!("10.0.{}.{}", n / 250, n % 250)))).collect();
        assert_eq!((slots[0], slots[10], slots[29], slots[4999]), (3, 4, 6, 120), "{slots:?}");
        let idle =
            lines.retry_after(Priority::Registration, None, Duration::ZERO, Duration::ZERO, Duration::ZERO);
        assert_eq!(idle, SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_floods_the_queue_sends_only_itself_away() {
        let mut lines = RetryLines::default();
        let flood: Vec<_> = (0..5000).map(|_| after(&mut lines, Some("203.0.113.1"))).collect();
        assert_eq!(flood.last(), Some(&120));
        assert_eq!(after(&mut lines, Some("198.51.100.1")), 3);
        assert_eq!(after(&mut lines, None), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_networks_of_one_ipv6_site_send_no_other_client_away() {
        let mut lines = RetryLines::default();
        for number in 0..5000 {
            after(&mut lines, Some(&format!("2001:db8:1:{number:x}::1")));
        }
        assert_eq!(after(&mut lines, Some("2001:db8:2::1")), 5);
        assert_eq!(after(&mut lines, Some("198.51.100.1")), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_from_more_networks_than_are_kept_has_bounded_memory() {
        let mut lines = RetryLines::default();
        for number in 0..3 * NETWORKS {
            let bytes = u32::try_from(number).unwrap().to_be_bytes();
            after(&mut lines, Some(&format!("10.{}.{}.{}", bytes[1], bytes[2], bytes[3])));
        }
        assert_eq!(lines.lines[&Priority::Login].networks.len(), NETWORKS);
    }

    #[tokio::test(start_paused = true)]
    async fn retry_slots_are_never_in_the_past() {
        let mut lines = RetryLines::default();
        assert_eq!([after(&mut lines, None), after(&mut lines, None)], [3, 3]);
        tokio::time::advance(60 * SECOND).await;
        let half = SECOND / 2;
        assert_eq!(lines.retry_after(Priority::Login, None, 2 * SECOND, SECOND, half), 4 * SECOND);
    }
}
