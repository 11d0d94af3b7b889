//! How long a session and its tokens live: the one place that ties these times together.

use model::Now;
use protocol::wire::access_token::LEEWAY;

use crate::Settings;
use crate::clock_watch::AHEAD;

/// When a session ends: at `ends_at`, or when it is not refreshed for the idle time.
pub(crate) fn session_end(ends_at: Now, rotated_at: Now, settings: &Settings) -> Now {
    ends_at.min(rotated_at.plus(settings.refresh_ttl))
}

/// The latest time at which a session may have been created that is valid at `now`. One that lies further
/// ahead was created by a wrong clock, and would outlive every other one once the clock is right.
pub(crate) fn latest_creation(now: Now) -> Now {
    now.plus(AHEAD)
}

/// The `exp` of an access token that is issued at `now`: never after the end of its session.
pub(crate) fn access_token_end(session_end: Now, now: Now, settings: &Settings) -> Now {
    session_end.min(now.plus(settings.access_ttl))
}

/// After this, no server accepts an access token of a session that was opened, refreshed or replayed at
/// `now`. It includes those that a replay within the grace time issues. The row of the session holds the
/// latest one, so that a revocation is kept long enough whatever settings and clocks do meanwhile.
pub(crate) fn tokens_end(session_end: Now, now: Now, settings: &Settings) -> Now {
    access_token_end(session_end, now.plus(settings.refresh_grace), settings).plus(LEEWAY * 2)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn a_token_ends_with_its_session_and_a_revocation_outlives_both() {
        let settings = Settings::default();
        let start = Now::from_seconds(1_000_000_000);
        let end = session_end(start.plus(90 * DAY), start, &settings);
        assert_eq!(end, start.plus(30 * DAY), "idle");
        assert_eq!(session_end(start.plus(SECOND), start, &settings), start.plus(SECOND));

        for at in [start, start.plus(29 * DAY), end.minus(SECOND), end] {
            let token = access_token_end(end, at, &settings);
            assert!(token <= end && token <= at.plus(settings.access_ttl));
            assert!(tokens_end(end, at, &settings) >= token.plus(LEEWAY));
            let replayed = access_token_end(end, at.plus(settings.refresh_grace), &settings);
            assert!(tokens_end(end, at, &settings) >= replayed.plus(LEEWAY));
        }
    }
}
