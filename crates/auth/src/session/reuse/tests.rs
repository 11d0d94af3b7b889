//! The decision itself, and random histories of honest clients and thieves against it.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::{prop_assert, prop_assert_eq};

use super::*;

const GRACE: Duration = Duration::from_secs(10);
const START: Now = Now::from_seconds(1_767_225_600);
/// Generations that a session remembers.
const KEPT: usize = 8;

fn reuse(behind: i64, same_client: bool, same_agent: bool, age: i64) -> Reuse {
    let repeated = Repeated {
        rotated_at: Now::from_micros(START.micros() - age * 1_000_000),
        is_same_client: same_client,
        is_same_agent: same_agent,
    };
    Reuse {
        generation: 20,
        newest: 20 + behind,
        repeated: Some(repeated),
        late_generation: 0,
        late_replays: 0,
        shared_generation: 0,
        now: START,
    }
}

fn decided(reuse: &Reuse) -> Decision {
    decide(reuse, RefreshReuse::RevokeOtherClients, GRACE)
}

#[test]
fn every_case_of_the_contract_is_decided() {
    for behind in [1, 2, 7] {
        for age in [0, 9, -9] {
            assert_eq!(decided(&reuse(behind, true, true, age)), Decision::Again);
            assert_eq!(decided(&reuse(behind, false, true, age)), Decision::Again, "another address");
            assert_eq!(decided(&reuse(behind, false, false, age)), Decision::Counted { replays: 1 });
        }
    }
    for age in [10, 11, 100_000, -10, -100_000] {
        assert_eq!(decided(&reuse(1, true, true, age)), Decision::Shared { is_first: true });
        assert_eq!(decided(&reuse(1, false, true, age)), Decision::Counted { replays: 1 });
        assert_eq!(decided(&reuse(2, true, true, age)), Decision::Superseded);
        assert_eq!(decided(&reuse(2, false, true, age)), Decision::Theft);
        for (same, behind) in [(true, 1), (true, 2), (false, 1), (false, 2)] {
            let case = reuse(behind, same, same, age);
            assert_eq!(decide(&case, RefreshReuse::Revoke, GRACE), Decision::Theft);
        }
    }
    let noted = Reuse { shared_generation: 20, ..reuse(1, true, true, 60) };
    assert_eq!(decided(&noted), Decision::Shared { is_first: false });
    let forgotten = |behind| Reuse { repeated: None, ..reuse(behind, true, true, 60) };
    assert_eq!(decided(&forgotten(9)), Decision::Theft);
    assert_eq!(decided(&forgotten(1)), Decision::Superseded);
}

#[test]
fn three_successive_generations_of_another_client_are_theft_and_a_gap_begins_anew() {
    let count = |late_generation, late_replays| {
        decided(&Reuse { late_generation, late_replays, ..reuse(1, false, false, 60) })
    };
    assert_eq!(count(19, 1), Decision::Counted { replays: 2 });
    assert_eq!(count(20, 2), Decision::Counted { replays: 2 }, "one generation counts once");
    assert_eq!(count(19, 2), Decision::Theft);
    assert_eq!(count(18, 2), Decision::Counted { replays: 1 });
}

/// A session as the server keeps it.
struct Server {
    newest: i64,
    entries: VecDeque<(i64, Now, Client)>,
    late: (i64, i64),
    shared: i64,
    ended: bool,
}

/// Network and user agent.
type Client = (u8, u8);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Token(i64),
    Superseded,
    Refused,
}

impl Server {
    fn new() -> Self {
        Self { newest: 1, entries: VecDeque::new(), late: (0, 0), shared: 0, ended: false }
    }

    /// A refresh with the token of a generation, at a node with this time.
    fn refresh(&mut self, generation: i64, client: Client, now: Now) -> Answer {
        if self.ended || generation > self.newest {
            return Answer::Refused;
        }
        if generation == self.newest {
            self.entries.push_front((generation, now, client));
            self.entries.truncate(KEPT);
            self.newest += 1;
            return Answer::Token(self.newest);
        }

        let entry = self.entries.iter().find(|entry| entry.0 == generation);
        let reuse = Reuse {
            generation,
            newest: self.newest,
            repeated: entry.map(|(_, rotated_at, by)| Repeated {
                rotated_at: *rotated_at,
                is_same_client: *by == client,
                is_same_agent: by.1 == client.1,
            }),
            late_generation: self.late.0,
            late_replays: self.late.1,
            shared_generation: self.shared,
            now,
        };
        match decided(&reuse) {
            Decision::Again => {}
            Decision::Shared { is_first } => {
                assert_eq!(is_first, self.shared < generation);
                self.shared = self.shared.max(generation);
            }
            Decision::Counted { replays } => self.late = (generation, replays),
            Decision::Superseded => return Answer::Superseded,
            Decision::Theft => {
                self.ended = true;
                return Answer::Refused;
            }
        }
        Answer::Token(generation + 1)
    }
}

/// One step of a history.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A process refreshes at a node. It may lose the answer, and it may use the token in its memory or read
    /// the store that all processes share.
    Refresh { process: usize, node: usize, loses_answer: bool, reads_store: bool },
    /// Time goes by.
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let refresh = (0..3_usize, 0..3_usize, any::<bool>(), any::<bool>()).prop_map(
        |(process, node, loses_answer, reads_store)| Step::Refresh {
            process,
            node,
            loses_answer,
            reads_store,
        },
    );
    let seconds = prop_oneof![Just(0_u64), 1..12_u64, 12..90_u64, 90..100_000_u64];
    prop_oneof![3 => refresh, 2 => seconds.prop_map(Step::Wait)]
}

/// Clocks of three nodes, off by up to a minute, in seconds.
fn clocks() -> impl Strategy<Value = [i64; 3]> {
    [-60..=60_i64, -60..=60, -60..=60]
}

fn at(true_time: u64, off: i64) -> Now {
    Now::from_micros(START.micros() + (i64::try_from(true_time).unwrap() + off) * 1_000_000)
}

proptest! {
    /// Processes of one client share a store, lose answers, sleep, and come to nodes with different clocks:
    /// the session never ends, and a process that is told that its token is superseded goes on with the
    /// store's.
    #[test]
    fn no_history_of_honest_processes_of_one_client_ends_the_session(
        steps in proptest::collection::vec(step(), 1..120),
        clocks in clocks(),
    ) {
        let (mut server, mut time) = (Server::new(), 0);
        let mut store = 1;
        let mut memory = [1; 3];
        for step in steps {
            let (process, node, loses_answer, reads_store) = match step {
                Step::Wait(seconds) => {
                    time += seconds;
                    continue;
                }
                Step::Refresh { process, node, loses_answer, reads_store } => {
                    (process, node, loses_answer, reads_store)
                }
            };

            // A token older than the kept generations counts as another client's: the process reads the
            // store.
            let is_forgotten = server.newest - memory[process] > i64::try_from(KEPT).unwrap();
            if reads_store || is_forgotten {
                memory[process] = store;
            }
            let answer = server.refresh(memory[process], (1, 1), at(time, clocks[node]));
            match answer {
                Answer::Token(_) if loses_answer => {}
                Answer::Token(next) => {
                    memory[process] = next;
                    store = store.max(next);
                }
                Answer::Superseded => {
                    prop_assert!(memory[process] < server.newest - 1);
                    memory[process] = store;
                    let again = server.refresh(store, (1, 1), at(time, clocks[node]));
                    prop_assert!(matches!(again, Answer::Token(_)), "the store's is usable: {again:?}");
                    if let Answer::Token(next) = again {
                        memory[process] = next;
                        store = store.max(next);
                    }
                }
                Answer::Refused => prop_assert!(false, "an honest client was signed out"),
            }
        }
    }

    /// A phone whose answers are lost, whatever the node and however long it sleeps, always gets on.
    #[test]
    fn a_client_that_loses_any_answer_gets_on(
        lost in proptest::collection::vec((any::<bool>(), 0..3_usize, 0..100_000_u64), 1..60),
        clocks in clocks(),
    ) {
        let (mut server, mut token, mut time) = (Server::new(), 1, 0);
        for (is_lost, node, seconds) in lost {
            let answer = server.refresh(token, (1, 1), at(time, clocks[node]));
            prop_assert_eq!(answer, Answer::Token(token + 1));
            token += i64::from(!is_lost);
            time += seconds;
        }
    }

    /// A thief with another address, or with another user agent, has copied the newest token. Both sides go
    /// on in any order, later than the grace time: the session ends before either has got far.
    #[test]
    fn a_thief_of_another_client_is_caught(
        warm_up in 0..12_usize,
        order in proptest::collection::vec((any::<bool>(), 0..3_usize, 200..5_000_u64), 40),
        thief in prop_oneof![Just((2_u8, 1_u8)), Just((2, 2)), Just((1, 2))],
        clocks in clocks(),
    ) {
        let (mut server, mut time) = (Server::new(), 0);
        let honest = (1, 1);
        for _ in 0..warm_up {
            let newest = server.newest;
            server.refresh(newest, honest, at(time, 0));
            time += 1_800;
        }

        let mut tokens = [server.newest; 2];
        let mut progress = [0; 2];
        for (is_thief, node, seconds) in order {
            time += seconds;
            let side = usize::from(is_thief);
            let client = if is_thief { thief } else { honest };
            match server.refresh(tokens[side], client, at(time, clocks[node])) {
                Answer::Token(next) => {
                    tokens[side] = next;
                    progress[side] += 1;
                }
                Answer::Superseded | Answer::Refused => break,
            }
            // As long as one side waits, the server sees one client.
            if progress[0].min(progress[1]) > 4 {
                prop_assert!(false, "both went on: {progress:?}");
            }
        }
        let both_used = progress.iter().all(|steps| *steps > 0);
        prop_assert!(server.ended || !both_used || progress[0].min(progress[1]) <= 4);
    }

    /// Once the thief has rotated twice, or the client has, the other one's next use ends the session.
    #[test]
    fn a_token_whose_successor_another_client_used_ends_the_session(
        more in 2..30_usize,
        seconds in 200..100_000_u64,
        is_thief_first: bool,
    ) {
        let (mut server, mut time) = (Server::new(), 0);
        let (first, second) = if is_thief_first { ((2, 2), (1, 1)) } else { ((1, 1), (2, 2)) };
        for _ in 0..more {
            let newest = server.newest;
            server.refresh(newest, first, at(time, 0));
            time += seconds;
        }
        prop_assert_eq!(server.refresh(1, second, at(time, 0)), Answer::Refused);
        prop_assert!(server.ended);
    }

    /// With another user agent, a thief is caught within the grace time as well.
    #[test]
    fn a_thief_that_follows_at_once_with_another_user_agent_is_caught(
        pauses in proptest::collection::vec(0..10_u64, 3),
    ) {
        let (mut server, mut time) = (Server::new(), 0);
        for pause in pauses {
            let newest = server.newest;
            server.refresh(newest, (1, 1), at(time, 0));
            server.refresh(newest, (1, 2), at(time + pause, 0));
            time += 1_800;
        }
        prop_assert!(server.ended);
    }
}
