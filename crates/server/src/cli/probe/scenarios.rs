//! The scenarios, as data: what the clients of one session do, and what they must be answered.

/// Which program sends a request: each has a user agent of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// The user's: one app, also with several tabs or processes.
    App,
    /// Another one, elsewhere.
    Thief,
}

/// A token that a program holds in memory, or that several programs share in a store.
pub(super) type Place = &'static str;

/// The answer that a request must get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// New tokens.
    Tokens,
    /// Anything: what counts is what happens afterwards.
    Anything,
    /// A refusal (400, 401, 403).
    Refusal,
}

/// One step of a scenario.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// A program sends the token of a place, and keeps an answered one in a place, unless it is lost.
    Sends { program: Program, from: Place, to: Option<Place>, expected: Expected },
    /// Two tabs send the token of a place at once. Both must get tokens; the one that comes last stays.
    TwoTabs { place: Place },
    /// A process sends the token that it has in memory; if that is refused, it reads the shared store and
    /// sends that one, which must be answered. It keeps the answer in both.
    Process { memory: Place, store: Place },
    /// Two seconds pass, as between processes that start one after the other.
    Pause,
    /// The time passes in which the server may answer a used token again.
    OutliveGrace,
}

/// A history of one session, from its login.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) play: Play,
}

/// What a scenario takes.
pub(super) enum Play {
    /// These steps, through the URL.
    Steps(Vec<Step>),
    /// Control over the server's machine: a test of the server itself.
    NeedsControl,
}

/// The place of the token of the login.
pub(super) const LOGIN: Place = "the token of the login";
const STORE: Place = "the token of the store";
const NEXT: Place = "the second token";
const NEWEST: Place = "the newest token";
/// The memory of processes with a shared store.
const PROCESSES: [Place; 5] = [
    "the token of process 1",
    "the token of process 2",
    "the token of process 3",
    "the token of process 4",
    "the token of process 5",
];

fn sends(from: Place, to: Place, expected: Expected) -> Step {
    Step::Sends { program: Program::App, from, to: Some(to), expected }
}

fn loses(from: Place) -> Step {
    Step::Sends { program: Program::App, from, to: None, expected: Expected::Tokens }
}

fn thief(from: Place, to: Option<Place>, expected: Expected) -> Step {
    Step::Sends { program: Program::Thief, from, to, expected }
}

/// Every scenario, in the order of the report.
pub(super) fn all() -> Vec<Scenario> {
    let control = |name, about| Scenario { name, about, play: Play::NeedsControl };
    let controlled = [
        control("clock-skew", "the clocks of two nodes differ by a minute"),
        control("several-nodes", "tabs refresh at once at different nodes"),
        control("restored-database", "the database is restored to a state before the last refresh"),
    ];
    honest().into_iter().chain(thefts()).chain(controlled).collect()
}

fn steps(name: &'static str, about: &'static str, steps: Vec<Step>) -> Scenario {
    Scenario { name, about, play: Play::Steps(steps) }
}

fn goes_on(place: Place) -> Step {
    sends(place, place, Expected::Tokens)
}

/// Histories that must not end the session.
fn honest() -> Vec<Scenario> {
    use Expected::{Anything, Tokens};

    vec![
        steps(
            "two-tabs",
            "two tabs refresh at once, five times",
            [vec![Step::TwoTabs { place: LOGIN }; 5], vec![goes_on(LOGIN)]].concat(),
        ),
        steps(
            "lost-answer",
            "an answer is lost, and the client sends the token again",
            vec![loses(LOGIN), goes_on(LOGIN), goes_on(LOGIN)],
        ),
        steps(
            "three-lost-answers",
            "three answers are lost, one after the other",
            vec![loses(LOGIN), loses(LOGIN), loses(LOGIN), goes_on(LOGIN), goes_on(LOGIN)],
        ),
        steps(
            "late-retry",
            "an answer is lost, and the client comes back after the grace time",
            vec![loses(LOGIN), Step::OutliveGrace, goes_on(LOGIN), goes_on(LOGIN)],
        ),
        steps(
            "suspended-phone",
            "a suspended task wakes up and sends a token that the app has exchanged twice meanwhile",
            vec![
                sends(LOGIN, NEWEST, Tokens),
                goes_on(NEWEST),
                Step::OutliveGrace,
                Step::Sends { program: Program::App, from: LOGIN, to: None, expected: Anything },
                goes_on(NEWEST),
            ],
        ),
        steps(
            "shared-store-2",
            "two processes share a store and refresh some seconds apart",
            shared_store(2),
        ),
        steps("shared-store-3", "three processes do", shared_store(3)),
        steps("shared-store-4", "four processes do", shared_store(4)),
        steps("shared-store-5", "five processes do", shared_store(5)),
    ]
}

/// Histories that must end it.
fn thefts() -> Vec<Scenario> {
    use Expected::{Refusal, Tokens};

    vec![
        steps(
            "theft-of-a-used-token",
            "a thief sends a token that the user has exchanged twice: refused, and the session ends",
            vec![
                sends(LOGIN, NEWEST, Tokens),
                goes_on(NEWEST),
                Step::OutliveGrace,
                thief(LOGIN, None, Refusal),
                sends(NEWEST, NEWEST, Refusal),
            ],
        ),
        steps(
            "theft-of-the-newest-token",
            "a thief is faster than the user: the user's own token ends the session of both",
            vec![
                thief(LOGIN, Some(NEXT), Tokens),
                thief(NEXT, Some(NEXT), Tokens),
                Step::OutliveGrace,
                sends(LOGIN, NEWEST, Refusal),
                thief(NEXT, None, Refusal),
            ],
        ),
    ]
}

/// Processes that have all read the login's token begin one after the other; the first one refreshes between
/// the others. At the end each of them refreshes once more.
fn shared_store(count: usize) -> Vec<Step> {
    let process = |memory| Step::Process { memory, store: STORE };
    let places = PROCESSES.iter().copied().take(count);
    let mut steps = Vec::new();
    for memory in places.clone() {
        steps.extend([process(PROCESSES[0]), Step::Pause, process(memory), Step::Pause]);
    }
    steps.extend(places.map(process));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_a_name_of_its_own_and_begins_with_a_token_that_is_there() {
        let all = all();
        for (at, scenario) in all.iter().enumerate() {
            assert!(all[..at].iter().all(|other| other.name != scenario.name), "{}", scenario.name);
            assert!(!scenario.about.ends_with('.'), "{}", scenario.about);
        }
    }
}
