//! What a running node does after a recovery, and what a recovery makes of old journals.

use std::time::Duration;

use axum::body::Body;
use fixtures::{Answer, Engine, Options, START, TestApp, TestDatabase};
use http::{Request, header};
use model::{Journaled, JournaledUser, Now, Place};
use protocol::sealed::keyring::Keyring;
use serde_json::json;
use store::queries::session;
use store::queries::user::State;
use testkit::postgres::rows;

use crate::api_calls::{Pair, V1, find, log_in, me, member, refresh, register, try_refresh};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);

/// Applications with one clock each on a database of which the sessions can be restored.
struct Realm {
    database: TestDatabase,
    engine: Engine,
    key: String,
}

impl Realm {
    fn new(engine: Engine) -> Self {
        let key = fixtures::new_keyring().to_text().expose().clone();
        Self { database: TestDatabase::new(engine), engine, key }
    }

    async fn node(&self, start: Now) -> TestApp {
        let keyring = Some(Keyring::parse(&self.key).unwrap());
        TestApp::on(self.database.clone(), Options { start, keyring, ..Options::default() }).await
    }

    fn file(&self) -> &str {
        self.database.url.strip_prefix("sqlite:").unwrap()
    }

    /// Backs the sessions up; no application has the database open.
    fn back_up(&self) {
        match self.engine {
            Engine::Sqlite => drop(std::fs::copy(self.file(), format!("{}.backup", self.file())).unwrap()),
            Engine::Postgres => {
                let sql = "CREATE TABLE public.saved AS SELECT * FROM gatewright.sessions";
                rows(&self.database.url, sql).unwrap();
            }
        }
    }

    fn restore(&self) {
        match self.engine {
            Engine::Sqlite => drop(std::fs::copy(format!("{}.backup", self.file()), self.file()).unwrap()),
            Engine::Postgres => {
                let sql = "DELETE FROM gatewright.sessions; \
                           INSERT INTO gatewright.sessions SELECT * FROM public.saved";
                rows(&self.database.url, sql).unwrap();
            }
        }
    }
}

/// Recovers the database, without a journal, as the command does.
async fn recover(app: &TestApp) {
    app.operate(async |ctx| {
        let plan = auth::recover::plan(ctx, &[]).await.unwrap();
        auth::recover::recover(ctx, &plan, false).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_newer_refresh_token_is_accepted_for_24_hours_after_a_recovery() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        // Given two sessions that were refreshed after a backup.
        let realm = Realm::new(engine);
        let app = realm.node(START).await;
        let (early, late) = (member(&app, "early").await, member(&app, "late").await);
        app.close().await;
        realm.back_up();
        let app = realm.node(START).await;
        let early = refresh(&app, &refresh(&app, &early.refresh).await.refresh).await;
        let late = refresh(&app, &refresh(&app, &late.refresh).await.refresh).await;
        app.close().await;
        realm.restore();

        // When it is recovered, then a token is accepted until shortly before the end of the 24 hours.
        let app = realm.node(START).await;
        recover(&app).await;
        app.settle("poll_revocations").await;
        app.clock.advance(Duration::from_secs(86_399));
        let next = refresh(&app, &early.refresh).await;
        assert_eq!(refresh(&app, &early.refresh).await.refresh, next.refresh, "a lost answer is repeated");

        // And none from then on, which ends no session and is no theft.
        app.events();
        app.clock.advance(SECOND);
        try_refresh(&app, &late.refresh).await.expect_problem(401, "refresh_refused");
        assert_eq!(app.event_kinds(), ["refresh_failed"]);
        let next = refresh(&app, &next.refresh).await;
        me(&app, &next.access).await.expect(200);
        app.close().await;

        // A node that starts later knows no better.
        let app = realm.node(START.plus(DAY)).await;
        try_refresh(&app, &late.refresh).await.expect_problem(401, "refresh_refused");
        app.close().await;
    }
}

#[tokio::test]
async fn a_node_that_runs_sees_the_new_epoch_with_its_next_poll() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        // Given two nodes, and a user that both know.
        let realm = Realm::new(engine);
        let [left, right] = [realm.node(START).await, realm.node(START).await];
        let before = member(&left, "alice").await;
        me(&right, &before.access).await.expect(200);

        // When the database is recovered beside them, twice in one second.
        for _ in 0..2 {
            let before: Pair = log_in(&left, "alice").await;
            me(&right, &before.access).await.expect(200);
            recover(&left).await;
            left.settle("poll_revocations").await;
            let after = refresh(&left, &before.refresh).await;

            // Then a token of the new epoch is accepted at once, and the one of before until the poll.
            me(&right, &after.access).await.expect(200);
            right.settle("poll_revocations").await;
            for app in [&left, &right] {
                me(app, &before.access).await.expect_problem(401, "token_invalid");
                me(app, &after.access).await.expect(200);
            }
        }
        refresh(&right, &before.refresh).await;
        left.close().await;
        right.close().await;
    }
}

#[tokio::test]
async fn a_change_that_is_older_than_the_row_takes_rights_away_and_gives_none() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        // Given rows that were changed after what the journals that are left say.
        let app = TestApp::with(engine, Options::default()).await;
        let mut users = Vec::new();
        for name in ["plain", "inactive", "manager", "active"] {
            register(&app, name).await;
            users.push(find(&app, name).await);
        }
        app.clock.advance(SECOND);
        app.operate(async |ctx| {
            auth::account::set_state(ctx, &users[1], false).await.unwrap();
            auth::account::set_role(ctx, &users[2], "admin").await.unwrap();
            for (user, role) in [(&users[0], "admin"), (&users[3], "basic_user")] {
                auth::account::set_role(ctx, user, role).await.unwrap();
            }
        })
        .await;
        let plain = find(&app, "plain").await;
        app.operate(async |ctx| auth::account::set_role(ctx, &plain, "basic_user").await.unwrap()).await;
        let journaled = |at: Now| {
            let user = |role: &str, active: bool| JournaledUser {
                role: Some((Place { sequence: 1, at }, role.to_owned())),
                active: Some((Place { sequence: 1, at }, active)),
                ..JournaledUser::default()
            };
            let told = [user("admin", true), user("basic_user", true), user("basic_user", true)];
            let told = told.into_iter().chain([user("basic_user", false)]);
            Journaled {
                users: users.iter().map(|user| user.uuid).zip(told).collect(),
                ..Journaled::default()
            }
        };
        let plan = async |at: Now| {
            app.operate(async |ctx| auth::recover::plan(ctx, &[journaled(at)]).await.unwrap()).await
        };

        // When they are compared, then only what takes rights away is planned.
        let older = plan(START).await;
        assert_eq!(older.roles, [(users[2].key(), "basic_user".to_owned())]);
        assert_eq!(older.states, [(users[3].key(), State::Inactive)]);

        // What is newer than the rows is planned whole.
        let newer = plan(app.clock.now()).await;
        assert_eq!((newer.roles.len(), newer.states.len()), (2, 2));
        app.close().await;
    }
}

#[tokio::test]
async fn the_sequence_of_a_journal_decides_also_where_a_clock_was_ahead() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        // Given rows that a clock 2 hours ahead has written, also a promotion that was taken back later.
        let app = TestApp::with(engine, Options::default()).await;
        app.clock.jump_to(START.plus(7200 * SECOND));
        let mut users = Vec::new();
        for name in ["changed", "out", "demoted", "steady"] {
            register(&app, name).await;
            log_in(&app, name).await;
            users.push(find(&app, name).await);
        }
        app.operate(async |ctx| auth::account::set_role(ctx, &users[2], "admin").await.unwrap()).await;
        let mut journal = Journaled::default();
        let mut sequence = 0;
        let mut next = |journal: &mut Journaled, at: Now| {
            sequence += 1;
            let place = Place { sequence, at };
            journal.set_back.note(place);
            place
        };
        for user in &users {
            let key = user.key();
            let all = || session::of_user(key, START, START, Now::from_micros(i64::MAX));
            let read = app.operate(async |ctx| ctx.lease.read().await.unwrap().all(all()).await.unwrap());
            for row in read.await {
                let place = next(&mut journal, row.created_at);
                journal.begun.insert(row.id, place);
            }
        }

        // When later records of the same journal, or of another one, were written by the right clock.
        app.clock.jump_to(START);
        let end = next(&mut journal, START);
        let mut other = Journaled::default();
        for (name, told) in [("same", &mut journal.clone()), ("other", &mut other)] {
            told.user(users[0].uuid).passwords.push(end);
            told.user(users[1].uuid).ended = Some(end);
            told.user(users[2].uuid).role = Some((end, "basic_user".to_owned()));
            told.user(users[3].uuid).role = Some((end, "admin".to_owned()));
            let journals =
                if name == "same" { vec![told.clone()] } else { vec![journal.clone(), told.clone()] };
            let plan = app.operate(async |ctx| auth::recover::plan(ctx, &journals).await.unwrap()).await;

            // Then they count, and only where they take rights away.
            assert_eq!(plan.passwords, [users[0].key()], "{name}");
            assert_eq!(plan.roles, [(users[2].key(), "basic_user".to_owned())], "{name}");
            assert_eq!(plan.sessions.len(), 2, "{name}");
        }
        app.close().await;
    }
}

/// Refreshes as a client at one address with this user agent.
async fn refresh_as(app: &TestApp, agent: &str, token: &str) -> Answer {
    let request = Request::post(format!("{V1}/refresh"))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, agent)
        .body(Body::from(json!({"refresh_token": token}).to_string()));
    app.send(request.unwrap()).await
}

#[tokio::test]
async fn an_older_token_of_the_same_client_does_not_end_a_session_that_was_recovered() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        // Given two processes of one client that have refreshed after a backup.
        let realm = Realm::new(engine);
        let app = realm.node(START).await;
        let first = member(&app, "alice").await.refresh;
        app.close().await;
        realm.back_up();
        let app = realm.node(START).await;
        let next =
            async |token: &str| refresh_as(&app, "phone/1", token).await.expect(200).string("refresh_token");
        let older = next(&first).await;
        let newest = next(&older).await;
        app.close().await;
        realm.restore();

        // When it is recovered, and the session goes on from the newest token.
        let app = realm.node(START).await;
        recover(&app).await;
        app.settle("poll_revocations").await;
        let adopted = refresh_as(&app, "phone/1", &newest).await.expect(200).string("refresh_token");

        // Then the other process is late, and another client is a thief.
        refresh_as(&app, "phone/1", &older).await.expect_problem(401, "refresh_superseded");
        let adopted = refresh_as(&app, "phone/1", &adopted).await.expect(200).string("refresh_token");
        refresh_as(&app, "thief/1", &older).await.expect_problem(401, "refresh_refused");
        refresh_as(&app, "phone/1", &adopted).await.expect_problem(401, "refresh_refused");
        app.close().await;
    }
}

#[tokio::test]
async fn an_older_database_that_has_reached_the_same_number_is_read_again() {
    // given a node that has read the end of a session
    let app = TestApp::start(Engine::Postgres).await;
    let (alice, bob) = (member(&app, "alice").await, member(&app, "bob").await);
    let logout = json!({"refresh_token": alice.refresh});
    app.post(&format!("{V1}/logout"), None, logout).await.expect(204);
    app.settle("poll_revocations").await;
    me(&app, &bob.access).await.expect(200);

    // when the database is an older one, in which another session has ended with the same number
    let other = "UPDATE gatewright.revocations SET session_id = \
                 (SELECT s.id FROM gatewright.sessions s WHERE NOT s.revoked)";
    rows(&app.database.url, other).unwrap();
    app.settle("poll_revocations").await;

    // then that one is refused too
    me(&app, &bob.access).await.expect_problem(401, "token_invalid");
    app.close().await;
}
