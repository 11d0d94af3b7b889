//! How many connections there are, who holds them, and which idle one is closed to make room.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::Limits;
use super::peer::{Peer, Proxies};
use super::proxy_protocol::HeaderError;
use super::watch::Watch;

/// How long a peer holds more than half of its share before the log says so, and how often that is looked at.
const CROWDED: (Duration, Duration) = (Duration::from_mins(1), Duration::from_secs(5));
/// How long a connection that was told to close may take before another one is chosen.
const LEAVING: Duration = Duration::from_millis(50);
/// How often at most the log names a proxy whose connections have no valid header.
const REFUSED: Duration = Duration::from_mins(1);

/// How many connections were closed so that others find room. Clones share the numbers.
#[derive(Clone, Debug, Default)]
pub struct Closed(Arc<(AtomicU64, AtomicU64)>);

impl Closed {
    /// Idle connections that were closed for a new one.
    pub fn idle(&self) -> u64 {
        self.0.0.load(Ordering::Relaxed)
    }

    /// New connections that were closed, because their peer had its share and none of them was idle.
    pub fn refused(&self) -> u64 {
        self.0.1.load(Ordering::Relaxed)
    }
}

/// Addresses whose connections are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Group {
    /// An IPv4 address, or an IPv6 network of 64 bits: a client.
    Client(IpAddr),
    /// An IPv6 network of 48 bits: what a provider gives to one site.
    Site(u128),
}

impl Group {
    /// The groups to which an address belongs; none without one.
    fn all(address: Option<IpAddr>) -> impl Iterator<Item = Self> {
        let (client, site) = match address.map(|address| address.to_canonical()) {
            None => (None, None),
            Some(v4 @ IpAddr::V4(_)) => (Some(Self::Client(v4)), None),
            Some(IpAddr::V6(v6)) => {
                let prefix = |host_bits| v6.to_bits() >> host_bits << host_bits;
                (
                    Some(Self::Client(IpAddr::V6(Ipv6Addr::from_bits(prefix(64))))),
                    Some(Self::Site(prefix(80))),
                )
            }
        };
        client.into_iter().chain(site)
    }

    /// How many of `connections` the group may hold: an eighth, or a quarter for a site; at least one.
    fn share(self, connections: usize) -> usize {
        let parts = match self {
            Self::Client(_) => 8,
            Self::Site(_) => 4,
        };
        (connections / parts).max(1)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(IpAddr::V4(address)) => address.fmt(f),
            Self::Client(IpAddr::V6(address)) => write!(f, "{address}/64"),
            Self::Site(bits) => write!(f, "{}/48", Ipv6Addr::from_bits(*bits)),
        }
    }
}

/// What the room and the task of one connection share.
struct Seat {
    watch: Watch,
    address: Option<IpAddr>,
    /// Tells the task to close the connection.
    leave: Notify,
}

/// The connections of one group.
#[derive(Default)]
struct Holder {
    seats: HashMap<u64, Arc<Seat>>,
    /// Since when it has held more than half of its share, and whether the log has said so.
    crowded: Option<(Instant, bool)>,
}

struct State {
    /// The most connections.
    connections: usize,
    holders: HashMap<Group, Holder>,
    /// The number of the newest connection.
    newest: u64,
    /// How many connections were told to close and are still open.
    leaving: usize,
    /// When the log has last named a proxy whose connection has no valid header.
    refused: Option<Instant>,
    closed: Closed,
}

/// The connections of one listener.
pub(super) struct Room {
    permits: Arc<Semaphore>,
    proxies: Proxies,
    state: Mutex<State>,
}

/// A place for one connection. Dropping it makes room for another.
pub(super) struct Place {
    room: Arc<Room>,
    seat: Arc<Seat>,
    id: u64,
    _permit: OwnedSemaphorePermit,
}

impl Room {
    pub(super) fn new(limits: &Limits, proxies: Proxies, closed: Closed) -> Arc<Self> {
        let connections = limits.connections as usize;
        let state =
            State { connections, holders: HashMap::new(), newest: 0, leaving: 0, refused: None, closed };
        Arc::new(Self { permits: Arc::new(Semaphore::new(connections)), proxies, state: Mutex::new(state) })
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives a new connection of `peer` a place, and waits for one while there is none. When the peer has its
    /// share, its connection that has been idle for longest is closed; when there is no place, that of the
    /// peer with the most connections. `None`: the peer has its share, and none of it is idle.
    pub(super) async fn enter(self: &Arc<Self>, peer: Peer, watch: Watch) -> Option<Place> {
        let address = self.proxies.counted(peer);
        if !self.with(|state| state.admits(address)) {
            return None;
        }
        let permit = self.permit().await?;
        let seat = Arc::new(Seat { watch, address, leave: Notify::new() });
        let id = self.with(|state| state.sit(&seat));
        Some(Place { room: Arc::clone(self), seat, id, _permit: permit })
    }

    /// Waits for a permit. Each time that none comes free soon, an idle connection is told to close.
    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Some(permit);
        }
        let mut is_coming = self.with(|state| state.leaving > 0);
        loop {
            if !is_coming {
                self.with(State::close_one_of_the_largest);
            }
            is_coming = false;
            let permit = Arc::clone(&self.permits).acquire_owned();
            if let Ok(permit) = tokio::time::timeout(LEAVING, permit).await {
                // The semaphore is never closed.
                return permit.ok();
            }
        }
    }

    /// Waits until every connection has ended. None may enter any more.
    pub(super) async fn empty(&self) {
        let all = self.with(|state| u32::try_from(state.connections)).unwrap_or(u32::MAX);
        let _ = self.permits.acquire_many(all).await;
    }

    /// Warns of peers that have held more than half of their share for a minute: once, and again when it
    /// begins anew. It never returns.
    pub(super) async fn watch(&self) {
        loop {
            tokio::time::sleep(CROWDED.1).await;
            for (peer, connections, share) in self.with(|state| state.crowded(Instant::now())) {
                tracing::warn!(
                    %peer,
                    connections,
                    share,
                    "one peer has held more than half of its share of the connections for a minute; if it is \
                     a proxy, {}",
                    self.proxies.advice
                );
            }
        }
    }
}

impl State {
    /// Whether one more connection of `address` is within the shares of its groups. It may be after an idle
    /// one of the group was told to close.
    fn admits(&mut self, address: Option<IpAddr>) -> bool {
        let admitted = Group::all(address).all(|group| {
            let held = self.holders.get(&group).map_or(0, |holder| holder.seats.len());
            held < group.share(self.connections) || self.close_idle(group)
        });
        if !admitted {
            self.closed.0.1.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    /// Counts a connection, and returns its number.
    fn sit(&mut self, seat: &Arc<Seat>) -> u64 {
        self.newest += 1;
        for group in Group::all(seat.address) {
            let holder = self.holders.entry(group).or_default();
            holder.seats.insert(self.newest, Arc::clone(seat));
            if holder.seats.len() * 2 > group.share(self.connections) {
                holder.crowded.get_or_insert((Instant::now(), false));
            }
        }
        self.newest
    }

    /// Counts a connection no more. Returns whether it was counted: it is not once it was told to close.
    fn stand(&mut self, id: u64, seat: &Seat) -> bool {
        let mut was_counted = false;
        for group in Group::all(seat.address) {
            let Some(holder) = self.holders.get_mut(&group) else { continue };
            was_counted |= holder.seats.remove(&id).is_some();
            if holder.seats.len() * 2 <= group.share(self.connections) {
                holder.crowded = None;
            }
            if holder.seats.is_empty() {
                self.holders.remove(&group);
            }
        }
        was_counted
    }

    /// Tells the connection of the group that has been idle for longest to close. Returns whether there was
    /// one.
    fn close_idle(&mut self, group: Group) -> bool {
        while let Some(holder) = self.holders.get(&group) {
            let idle = holder.seats.iter();
            let idle = idle.filter_map(|(id, seat)| Some((seat.watch.idle_since()?, *id, seat)));
            let Some((_, id, seat)) = idle.min_by_key(|(since, id, _)| (*since, *id)) else { return false };

            let seat = Arc::clone(seat);
            // A request may have begun meanwhile: then another one is looked for.
            if seat.watch.retire() {
                self.stand(id, &seat);
                self.leaving += 1;
                self.closed.0.0.fetch_add(1, Ordering::Relaxed);
                seat.leave.notify_one();
                return true;
            }
        }
        false
    }

    /// Tells an idle connection of the peer with the most connections to close; of the next one if it has
    /// none that is idle.
    fn close_one_of_the_largest(&mut self) {
        let clients = self.holders.iter().filter(|(group, _)| matches!(group, Group::Client(_)));
        let mut sizes: Vec<_> =
            clients.map(|(group, holder)| (Reverse(holder.seats.len()), *group)).collect();
        sizes.sort_unstable_by_key(|(size, _)| *size);
        let _ = sizes.into_iter().any(|(_, group)| self.close_idle(group));
    }

    /// The groups of which the log is to say now that they hold more than half of their share, with how many
    /// connections they hold, and their share.
    fn crowded(&mut self, now: Instant) -> Vec<(Group, usize, usize)> {
        let connections = self.connections;
        let due = self.holders.iter_mut().filter_map(|(group, holder)| {
            let (since, said) = holder.crowded.as_mut()?;
            if *said || now.saturating_duration_since(*since) < CROWDED.0 {
                return None;
            }
            *said = true;
            Some((*group, holder.seats.len(), group.share(connections)))
        });
        due.collect()
    }
}

impl Place {
    /// Counts the connection by the peer that its proxy has named. Returns whether that peer may have one
    /// more connection.
    pub(super) fn name(&mut self, peer: Peer) -> bool {
        let address = self.room.proxies.counted(peer);
        let seat = Arc::new(Seat { watch: self.seat.watch.clone(), address, leave: Notify::new() });
        let id = self.room.with(|state| state.admits(address).then(|| state.sit(&seat)));
        let Some(id) = id else { return false };
        self.seat = seat;
        self.id = id;
        true
    }

    /// Whether the peer has no share: it is a proxy, or has opened a Unix socket.
    pub(super) fn is_of_a_proxy(&self) -> bool {
        self.seat.address.is_none()
    }

    /// Warns that a proxy's connection is closed for its header of the PROXY protocol, at most once a minute.
    pub(super) fn refuse(&self, peer: Peer, why: &HeaderError) {
        let now = Instant::now();
        let is_due = self.room.with(|state| {
            let is_due = state.refused.is_none_or(|last| now.saturating_duration_since(last) >= REFUSED);
            if is_due {
                state.refused = Some(now);
            }
            is_due
        });
        if is_due {
            tracing::warn!(%peer, "a connection of a proxy was closed: {why}");
        } else {
            tracing::debug!(%peer, "a connection of a proxy was closed: {why}");
        }
    }

    /// The state of the connection.
    pub(super) fn watch(&self) -> &Watch {
        &self.seat.watch
    }

    /// Waits until the connection is to close, because another one needs its place.
    pub(super) async fn taken(&self) {
        self.seat.leave.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.with(|state| {
            if !state.stand(self.id, &self.seat) && self.seat.address.is_some() {
                state.leaving = state.leaving.saturating_sub(1);
            }
        });
    }
}
