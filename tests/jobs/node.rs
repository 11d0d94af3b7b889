//! A node whose jobs the tests step.

use std::ops::Deref;
use std::sync::Arc;

use auth::OpContext;
use auth::account::{self, Candidate};
use fixtures::{Engine, Options, TestApp, spawner};
use jobs::Runner;
use model::{Event, Secret, SessionId};
use store::Lease;
use store::audit_db::Audit;

/// An application, its audit trail in the database, and a folder for the files of a test.
pub(crate) struct Node {
    app: TestApp,
    pub(crate) audit_db: Audit,
    pub(crate) folder: tempfile::TempDir,
}

impl Deref for Node {
    type Target = TestApp;

    fn deref(&self) -> &TestApp {
        &self.app
    }
}

/// A node on the embedded database.
pub(crate) async fn node() -> Node {
    node_with(Engine::Sqlite, Options::default()).await
}

pub(crate) async fn node_with(engine: Engine, options: Options) -> Node {
    Node::of(TestApp::with(engine, options).await)
}

impl Node {
    pub(crate) fn of(app: TestApp) -> Self {
        let audit_db = audit_of(&app);
        Self { app, audit_db, folder: tempfile::tempdir().unwrap() }
    }

    /// Opens the audit trail again, as after a restart.
    pub(crate) fn open_audit(&self) -> Audit {
        audit_of(&self.app)
    }

    /// Another runner on the same database.
    pub(crate) fn second_runner(&self, report: jobs::Report) -> Runner {
        let (background, services) = (Arc::clone(&self.background), Arc::clone(&self.services));
        Runner::new(background, services, self.audit.clone(), self.clock.clone(), report)
    }

    pub(crate) fn lease(&self) -> Lease {
        self.background.lease(self.audit.clone())
    }

    pub(crate) fn ctx<'a>(&'a self, lease: &'a mut Lease) -> OpContext<'a> {
        OpContext { services: &self.services, lease, audit: &self.audit, now: self.clock.now() }
    }

    /// Registers a user and returns the first session.
    pub(crate) async fn register(&self, email: &str) -> SessionId {
        let mut lease = self.lease();
        let mut ctx = self.ctx(&mut lease);
        let password = Secret::new("a password of some length".to_owned());
        let candidate = Candidate::parse(&ctx, email, None, &password, serde_json::Map::new());
        account::register(&mut ctx, candidate.unwrap(), true).await.unwrap();
        match self.events().last().map(|entry| &entry.event) {
            Some(Event::UserRegistered { session: Some(session), .. }) => *session,
            other => panic!("{other:?}"),
        }
    }

    /// Deactivates a user on this node.
    pub(crate) async fn deactivate(&self, email: &str) {
        let mut lease = self.lease();
        let mut ctx = self.ctx(&mut lease);
        let user = account::find(&mut ctx, email).await.unwrap();
        account::set_state(&mut ctx, &user, false).await.unwrap();
    }
}

fn audit_of(app: &TestApp) -> Audit {
    Audit::open(&store::Settings::from(&app.config.database), &spawner()).unwrap()
}
