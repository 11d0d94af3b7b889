//! What happens when a refresh token is used again: one pure decision.
//!
//! Honest clients use a token again when an answer was lost, when two of their processes share one store, and
//! when requests race. A thief does so from another network or with another user agent. RFC 9700 §4.14.2
//! makes every reuse theft; the default here does so only where two clients are involved.

use std::time::Duration;

use model::Now;

/// What a reuse after the grace time means: `tokens.refresh_reuse`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RefreshReuse {
    /// Reuse by another client is theft; the client of the rotation itself is not signed out.
    #[default]
    RevokeOtherClients,
    /// Every reuse is theft (RFC 9700 §4.14.2).
    Revoke,
}

/// Successive generations used again by another client that count as theft.
const OTHER_CLIENTS: i64 = 3;

/// The rotation that a token is used to repeat.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repeated {
    /// When it was.
    pub(super) rotated_at: Now,
    /// Whether the client of this request made it, by network and present user agent.
    pub(super) is_same_client: bool,
    /// Whether the user agent of this request made it.
    pub(super) is_same_agent: bool,
}

/// A token that is not the newest of its session, and what the session knows of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reuse {
    /// The generation of the token.
    pub(super) generation: i64,
    /// The generation of the newest token of the session, which is higher.
    pub(super) newest: i64,
    /// The rotation that is repeated; none when the session does not remember it any more.
    pub(super) repeated: Option<Repeated>,
    /// The newest generation that counted as used by another client.
    pub(super) late_generation: i64,
    /// The number of successive generations that counted so.
    pub(super) late_replays: i64,
    /// The newest generation that the same client used again after the grace time.
    pub(super) shared_generation: i64,
    /// The time of the request.
    pub(super) now: Now,
}

/// The outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The same successor: it is within the grace time.
    Again,
    /// The same successor: the same client, and the successor is unused. `is_first` in its generation.
    Shared { is_first: bool },
    /// The same successor, and it counts: perhaps another client.
    Counted { replays: i64 },
    /// No token, and the session lives: the client itself has used the successor.
    Superseded,
    /// The session ends: two clients have the token.
    Theft,
}

/// Decides what the reuse of a refresh token means.
pub(super) fn decide(reuse: &Reuse, rule: RefreshReuse, grace: Duration) -> Decision {
    let is_unused = reuse.generation == reuse.newest.saturating_sub(1);
    let Some(repeated) = &reuse.repeated else {
        // A forgotten generation counts as another client's.
        return if is_unused { Decision::Superseded } else { Decision::Theft };
    };

    match (is_near(repeated.rotated_at, reuse.now, grace), rule) {
        (true, _) if repeated.is_same_agent => Decision::Again,
        (true, _) => count(reuse),
        (false, RefreshReuse::Revoke) => Decision::Theft,
        (false, RefreshReuse::RevokeOtherClients) => match (is_unused, repeated.is_same_client) {
            (true, true) => Decision::Shared { is_first: reuse.shared_generation < reuse.generation },
            (true, false) => count(reuse),
            (false, true) => Decision::Superseded,
            (false, false) => Decision::Theft,
        },
    }
}

/// Whether two times differ by less than the grace time. A time far in the future is not near: the clock has
/// been put back.
fn is_near(rotated_at: Now, now: Now, grace: Duration) -> bool {
    now.since(rotated_at) < grace && rotated_at.since(now) < grace
}

fn count(reuse: &Reuse) -> Decision {
    let replays = match reuse.generation.saturating_sub(reuse.late_generation) {
        0 => reuse.late_replays,
        1 => reuse.late_replays.saturating_add(1),
        _ => 1,
    };
    if replays >= OTHER_CLIENTS { Decision::Theft } else { Decision::Counted { replays } }
}

#[cfg(test)]
mod tests;
