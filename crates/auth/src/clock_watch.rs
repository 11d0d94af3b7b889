//! Whether this node's clock can be believed: nothing is deleted by age while it cannot.
//!
//! A clock that is wrong for a few seconds would delete every session and the trail. So times are compared
//! with the newest one that a believed clock has stored, with monotonic time, and with the database's clock.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::{Clock, Now};
use store::queries::revocation::{self, Heads};

use crate::OpContext;

/// The name of the component in readiness.
pub const CLOCK: &str = "clock";
/// How far a clock may be behind the newest stored time, and how far two clocks may drift apart between two
/// looks.
const BEHIND: Duration = Duration::from_mins(1);
/// How far a clock may be ahead of the newest stored time when the process starts; a session that was created
/// further ahead is not valid.
pub(crate) const AHEAD: Duration = Duration::from_hours(7 * 24);
/// How long a doubted clock must agree before it is believed.
const PROBATION: Duration = Duration::from_hours(1);

/// What this node knows of its clock.
#[derive(Debug, Default)]
pub struct ClockWatch(Mutex<Watch>);

#[derive(Clone, Copy, Debug, Default)]
struct Watch {
    last: Option<Look>,
    /// Since when it agrees, by monotonic time; none while it is believed.
    doubted: Option<Duration>,
}

/// One look at the clocks.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// The time in use, by the database's clock where that is followed.
    now: Now,
    /// The machine's own time.
    wall: Now,
    monotonic: Duration,
    newest: Option<Now>,
}

/// Why a clock is doubted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Doubt {
    #[error("it is behind the newest stored time")]
    Behind,
    #[error("it is more than 7 days ahead of the newest stored time")]
    Ahead,
    #[error("it has jumped")]
    Jumped,
    #[error("the database's clock differs")]
    Database,
}

impl ClockWatch {
    /// Whether the last look has found no doubt, for people: what goes by a time asks
    /// [`OpContext::believes_time`].
    pub fn is_believed(&self) -> bool {
        self.watch().doubted.is_none()
    }

    /// Whether this time is believed: the last look has found no doubt, and the clock has not jumped since.
    fn believes(&self, now: Now, clock: &Clock) -> bool {
        let watch = self.watch();
        let agrees = |last: Look| {
            let passed = clock.monotonic().saturating_sub(last.monotonic);
            let expected = last.now.plus(passed);
            now.since(expected).max(expected.since(now)) <= BEHIND
        };
        watch.doubted.is_none() && watch.last.is_some_and(agrees)
    }

    /// Looks at the clock. `newest` is the newest stored time; `is_near_database` is false when the
    /// database's clock differs by too much to be followed.
    pub fn look(&self, clock: &Clock, newest: Option<Now>, is_near_database: bool) {
        let (now, wall) = (clock.now(), clock.unadjusted());
        let look = Look { now, wall, monotonic: clock.monotonic(), newest };
        let mut watch = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let doubt = if is_near_database { doubt(watch.last, look) } else { Some(Doubt::Database) };
        watch.last = Some(look);

        match (doubt, watch.doubted) {
            (Some(why), before) => {
                watch.doubted = Some(look.monotonic);
                if before.is_none() {
                    tracing::error!(
                        %now,
                        newest = newest.map(tracing::field::display),
                        %why,
                        "the clock is doubted; nothing is deleted by age until it has agreed for an hour"
                    );
                }
            }
            (None, Some(since)) if look.monotonic.saturating_sub(since) >= PROBATION => {
                watch.doubted = None;
                tracing::info!(%now, "the clock has agreed for an hour and is believed again");
            }
            (None, _) => {}
        }
    }

    /// The newest stored time that the last look has found.
    pub fn newest(&self) -> Option<Now> {
        self.watch().last?.newest
    }

    fn watch(&self) -> Watch {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpContext<'_> {
    /// Whether the time of this operation is believed: nothing is deleted, refused for good or stored by one
    /// that is not.
    pub fn believes_time(&self) -> bool {
        self.services.clock_watch.believes(self.now, &self.services.clock)
    }
}

/// Reads the counters and the database's clock, keeps the epoch, follows that clock, and looks at this
/// node's.
///
/// # Errors
/// When the database did not answer.
pub async fn heads(ctx: &mut OpContext<'_>) -> Result<Heads, store::Error> {
    let clock = &ctx.services.clock;
    let mut read = ctx.lease.read().await?;
    let asked = clock.unadjusted();
    let rows = read.all(revocation::heads()).await?;
    let answered = clock.unadjusted();

    let heads = Heads::of(&rows);
    ctx.services.epoch.set(heads.epoch);
    let is_near = heads.database.is_none_or(|database| clock.follow(database, asked, answered));
    ctx.services.clock_watch.look(clock, heads.clock, is_near);
    Ok(heads)
}

fn doubt(last: Option<Look>, look: Look) -> Option<Doubt> {
    let is_behind = look.newest.is_some_and(|newest| look.now < newest.minus(BEHIND));
    let Some(last) = last else {
        let is_ahead = look.newest.is_some_and(|newest| look.now > newest.plus(AHEAD));
        return match (is_behind, is_ahead) {
            (true, _) => Some(Doubt::Behind),
            (false, true) => Some(Doubt::Ahead),
            (false, false) => None,
        };
    };

    // A stored time that stays ahead raises one doubt: the clock that stored it may be the wrong one.
    if is_behind && look.newest != last.newest {
        return Some(Doubt::Behind);
    }
    let by_wall = look.wall.micros().saturating_sub(last.wall.micros());
    let passed = look.monotonic.saturating_sub(last.monotonic).as_micros();
    let drift = by_wall.saturating_sub(i64::try_from(passed).unwrap_or(i64::MAX)).unsigned_abs();
    (u128::from(drift) > BEHIND.as_micros()).then_some(Doubt::Jumped)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Now = Now::from_seconds(1_767_225_600);
    const MINUTE: Duration = Duration::from_mins(1);
    const DAY: Duration = Duration::from_hours(24);

    fn started(newest: Option<Now>) -> (ClockWatch, Clock) {
        let (watch, clock) = (ClockWatch::default(), Clock::test(START));
        watch.look(&clock, newest, true);
        (watch, clock)
    }

    #[test]
    fn a_start_is_compared_with_the_newest_stored_time() {
        for (newest, is_believed) in [
            (None, true),
            (Some(START), true),
            (Some(START.minus(6 * DAY)), true),
            (Some(START.minus(8 * DAY)), false),
            (Some(START.plus(MINUTE)), true),
            (Some(START.plus(2 * MINUTE)), false),
        ] {
            assert_eq!(started(newest).0.is_believed(), is_believed, "{newest:?}");
        }
    }

    #[test]
    fn a_doubted_clock_is_believed_after_an_hour_of_agreement() {
        let newest = Some(START.minus(100 * DAY));
        let (watch, clock) = started(newest);
        for _ in 0..59 {
            clock.advance(MINUTE);
            watch.look(&clock, newest, true);
            assert!(!watch.is_believed());
        }
        clock.advance(MINUTE);
        watch.look(&clock, newest, true);
        assert!(watch.is_believed());
    }

    #[test]
    fn a_jump_of_the_running_clock_begins_the_hour_anew() {
        let (watch, clock) = started(Some(START));
        clock.advance(10 * DAY);
        watch.look(&clock, Some(START), true);
        assert!(watch.is_believed(), "monotonic time agrees");
        for jump in [2 * MINUTE, 30 * MINUTE, 5000 * DAY] {
            clock.jump_to(clock.now().plus(jump));
            watch.look(&clock, Some(START), true);
            assert!(!watch.is_believed());
            clock.advance(59 * MINUTE);
            watch.look(&clock, Some(START), true);
            assert!(!watch.is_believed());
        }
        clock.advance(MINUTE);
        watch.look(&clock, Some(START), true);
        assert!(watch.is_believed());
    }

    #[test]
    fn a_time_after_a_jump_is_not_believed_before_the_next_look_either() {
        let (watch, clock) = started(Some(START));
        clock.advance(10 * DAY);
        assert!(watch.believes(clock.now(), &clock), "monotonic time agrees");
        for jump in [clock.now().plus(5000 * DAY), clock.now().minus(2 * MINUTE)] {
            let right = clock.now();
            clock.jump_to(jump);
            assert!(watch.is_believed() && !watch.believes(clock.now(), &clock), "{jump}");
            clock.jump_to(right);
            assert!(watch.believes(clock.now(), &clock));
        }
        assert!(!ClockWatch::default().believes(START, &clock), "without a look");
    }

    #[test]
    fn a_database_with_another_time_and_another_nodes_time_raise_doubts() {
        let (watch, clock) = started(Some(START));
        watch.look(&clock, Some(START), false);
        assert!(!watch.is_believed());

        let (watch, clock) = started(Some(START));
        let later = Some(START.plus(5000 * DAY));
        watch.look(&clock, later, true);
        assert!(!watch.is_believed());
        clock.advance(60 * MINUTE);
        watch.look(&clock, later, true);
        assert!(watch.is_believed(), "the stored time has not moved: it was the wrong one");
    }
}
