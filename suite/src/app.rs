//! The application under test.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use auth::password::{Blocklist, PasswordSettings, Scheme};
use auth::{Rooms, Visit};
use axum::Router;
use axum::body::Body;
use futures_util::FutureExt;
use http::{Method, Request, Response, header};
use http_body_util::BodyExt;
use model::trail::{Entry, Promise, Receipt, Recorder};
use model::{Clock, Intent, Now, Origin, Rng, Spawner, Trail};
use protocol::forwarded::TrustedProxies;
use protocol::jwt::Algorithm;
use protocol::seal::Keyring;
use serde_json::Value;
use testkit::postgres::{Database, Postgres, SharedPostgres};
use tower::ServiceExt;

use crate::Answer;

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A file of its own in a temporary folder.
    Sqlite,
    /// A database of its own on the shared throwaway server.
    Postgres,
}

/// What differs from test to test.
pub struct Options {
    /// The rooms' settings.
    pub auth: auth::Settings,
    /// The doors' settings.
    pub web: web::Settings,
    /// Connections for requests.
    pub pool_max: usize,
    /// The clock's start.
    pub start: Now,
    /// The master keys; made anew when absent.
    pub keyring: Option<Keyring>,
    /// Has trips to the database fail on purpose.
    pub faults: Option<store::Faults>,
    /// Takes what is noted besides the test.
    pub recorder: Option<Arc<dyn Recorder>>,
}

/// When the clocks of tests begin: 2026-01-01T00:00:00Z.
pub const START: Now = Now::from_seconds(1_767_225_600);

impl Default for Options {
    fn default() -> Self {
        Self {
            auth: auth::Settings {
                issuer: "https://auth.example".to_owned(),
                audience: Some("https://auth.example".to_owned()),
                subject_is_uuid: false,
                algorithm: Algorithm::Es256,
                access_ttl: Duration::from_mins(30),
                refresh_ttl: Duration::from_hours(30 * 24),
                session_ttl: Duration::from_hours(90 * 24),
                refresh_grace: Duration::from_secs(10),
                refresh_late_replay: true,
                revocation_max_stale: Duration::from_mins(5),
                key_rotation: Duration::from_hours(90 * 24),
                passwords: PasswordSettings {
                    // The cheapest that there is: these tests are not about the cost of a hash.
                    scheme: Scheme::Argon2id { memory_kib: 8, iterations: 1 },
                    threads: 2,
                    processor_share: None,
                    queue_deadline: Duration::from_secs(5),
                    min_length: 8,
                    blocklist: Blocklist::Common,
                    breaches: None,
                    pepper: false,
                    service_names: vec!["gatewright".to_owned(), "auth.example".to_owned()],
                },
                scopes: BTreeMap::new(),
                attributes: auth::account::Attributes::default(),
            },
            web: web::Settings {
                public_url: "https://auth.example".to_owned(),
                trusted_proxies: TrustedProxies::default(),
                cors_allowed_origins: Vec::new(),
                request_timeout: Duration::from_secs(10),
                health_timeout: Duration::from_millis(100),
                legacy_enabled: true,
                legacy_sunset: None,
                max_requests: 4096,
                audit_required: false,
            },
            pool_max: 1,
            start: START,
            keyring: None,
            faults: None,
            recorder: None,
        }
    }
}

/// The whole application, without sockets.
pub struct TestApp {
    /// Where it writes.
    pub database: TestDatabase,
    /// What time it is for the application.
    pub clock: Clock,
    /// Everything that outlives a request.
    pub rooms: Arc<Rooms>,
    /// The door for jobs and commands.
    pub back: store::Back,
    /// Counts the round trips of requests.
    pub meter: store::Meter,
    /// What the store counts.
    pub counts: store::Counts,
    router: Router,
    /// What operators see, on a listener of its own.
    pub operations: Router,
    /// Every route of both listeners.
    pub routes: Vec<web::Route>,
    events: Arc<Events>,
    tasks: Arc<Tasks>,
}

/// Where one application writes; two of them may share it.
#[derive(Clone)]
pub struct TestDatabase {
    /// How to open it.
    pub settings: store::Settings,
    _keeper: Arc<Keeper>,
}

#[expect(dead_code, reason = "held until the last application has gone")]
enum Keeper {
    Folder(tempfile::TempDir),
    Database(Box<(Database, SharedPostgres)>),
}

#[derive(Default)]
struct Tasks {
    running: AtomicUsize,
    panics: Mutex<Vec<String>>,
}

#[derive(Default)]
struct Events(Mutex<Vec<Entry>>, Option<Arc<dyn Recorder>>);

impl Recorder for Events {
    fn record(&self, entry: Entry) -> Option<Receipt> {
        self.0.lock().unwrap().push(entry.clone());
        self.1.as_ref()?.record(entry)
    }

    fn announce(&self, at: Now, intent: &Intent, origin: &Origin) -> Option<Promise> {
        self.1.as_ref()?.announce(at, intent, origin)
    }

    fn withdraw(&self, number: u64) {
        if let Some(beside) = &self.1 {
            beside.withdraw(number);
        }
    }
}

impl TestDatabase {
    /// An empty database, not migrated.
    pub fn new(engine: Engine, pool_max: usize) -> Self {
        let (location, keeper) = match engine {
            Engine::Sqlite => {
                let folder = tempfile::tempdir().expect("a temporary folder");
                let path: PathBuf = folder.path().join("gatewright.db");
                (store::Location::Sqlite(path), Keeper::Folder(folder))
            }
            Engine::Postgres => {
                let server = Postgres::shared();
                let database = server.fresh_database();
                let url = database.url().to_owned();
                let location =
                    store::Location::Postgres { url, schema: "gatewright".to_owned(), tls_ca_file: None };
                (location, Keeper::Database(Box::new((database, server))))
            }
        };
        let settings = store::Settings {
            location,
            pool_min: 1,
            pool_max,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(5),
            forbid_second_acquire: true,
            faults: None,
        };
        Self { settings, _keeper: Arc::new(keeper) }
    }
}

impl TestApp {
    /// The application as it comes.
    pub async fn start(engine: Engine) -> Self {
        Self::with(engine, Options::default()).await
    }

    /// The application with other settings.
    pub async fn with(engine: Engine, options: Options) -> Self {
        let database = TestDatabase::new(engine, options.pool_max);
        Self::on(database, options).await
    }

    /// An application on a database that may have been used before.
    pub async fn on(database: TestDatabase, options: Options) -> Self {
        let clock = Clock::test(options.start);
        let tasks = Arc::<Tasks>::default();
        let spawner = spawner(&tasks);
        store::migrate(&database.settings, clock.now(), &spawner).await.expect("migrations");
        let settings = store::Settings { faults: options.faults, ..database.settings.clone() };
        let store = store::open(&settings, &spawner).await.expect("a store");
        let rng = Rng::seeded(7);
        let keyring = options.keyring.unwrap_or_else(new_keyring);
        let rooms = Arc::new(Rooms::new(options.auth, keyring, rng));
        let events = Arc::new(Events(Mutex::default(), options.recorder));
        let trail = Trail::new(events.clone(), clock.clone(), Origin { via: "test", ..Origin::default() });
        let mut lease = store.back.lease(trail.clone());
        let mut visit = Visit { rooms: &rooms, lease: &mut lease, trail: &trail, now: clock.now() };
        auth::realm::open(&mut visit).await.expect("a realm");
        auth::password::pepper::open(&mut visit).await.expect("a pepper");
        if rooms.settings.algorithm != Algorithm::Hs256 {
            auth::key::step(&mut visit).await.expect("a key");
            auth::key::load(&mut visit).await.expect("keys");
        }
        drop(lease);
        rooms.revocations.seen(tokio::time::Instant::now() + Duration::from_hours(1), clock.now());
        let (meter, counts) = (store.front.meter(), store.counts.clone());
        let doors = web::Doors {
            front: store.front,
            probe: store.probe,
            rooms: rooms.clone(),
            trail,
            auditor: None,
            store_counts: store.counts.clone(),
            jobs: Arc::default(),
            clock: clock.clone(),
            spawner,
            health: Arc::new(web::Condition::default),
            settings: options.web,
        };
        let web::Routers { public: router, operations, public_routes, operations_routes } =
            web::routers(doors);
        let routes = public_routes.into_iter().chain(operations_routes).collect();
        events.0.lock().unwrap().clear();
        Self {
            database,
            clock,
            rooms,
            back: store.back,
            meter,
            counts,
            router,
            operations,
            routes,
            events,
            tasks,
        }
    }

    /// Sends any request.
    pub async fn send(&self, mut request: Request<Body>) -> Answer {
        let peer = request.extensions().get::<SocketAddr>().copied();
        let peer = peer.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 40_000)));
        request.extensions_mut().insert(web::Peer(peer));
        read(self.router.clone().oneshot(request).await.expect("a router is infallible")).await
    }

    /// Sends a request with a body of a content type, and a bearer token if there is one.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<(&str, String)>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = match body {
            Some((kind, text)) => request.header(header::CONTENT_TYPE, kind).body(Body::from(text)),
            None => request.body(Body::empty()),
        };
        self.send(request.expect("a request")).await
    }

    /// `GET` of an operator's.
    pub async fn operator_get(&self, path: &str) -> Answer {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let response = self.operations.clone().oneshot(request).await.expect("a router is infallible");
        read(response).await
    }

    /// `GET` with a bearer token.
    pub async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        self.call(Method::GET, path, token, None).await
    }

    /// `POST` of JSON.
    pub async fn post(&self, path: &str, token: Option<&str>, body: Value) -> Answer {
        self.call(Method::POST, path, token, Some(("application/json", body.to_string()))).await
    }

    /// `POST` of a form.
    pub async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.call(Method::POST, path, None, Some(("application/x-www-form-urlencoded", body))).await
    }

    /// What was noted since the last time somebody asked.
    pub fn events(&self) -> Vec<Entry> {
        std::mem::take(&mut self.events.0.lock().unwrap())
    }

    /// The kinds of what was noted since the last time somebody asked.
    pub fn event_kinds(&self) -> Vec<&'static str> {
        self.events().iter().map(|entry| entry.event.kind()).collect()
    }

    /// Runs a verb as a command would.
    pub async fn operate<T>(&self, verb: impl AsyncFnOnce(&mut Visit<'_>) -> T) -> T {
        let origin = Origin { via: "cli", ..Origin::default() };
        let trail = Trail::new(self.events.clone(), self.clock.clone(), origin);
        let mut lease = self.back.lease(trail.clone());
        let mut visit = Visit { rooms: &self.rooms, lease: &mut lease, trail: &trail, now: self.clock.now() };
        verb(&mut visit).await
    }

    /// Stores what the engine has hashed or sealed anew, as the job does; waits until there is something.
    pub async fn keep_next(&self) {
        let rehashed = loop {
            match self.rooms.hasher.rehashed() {
                Some(rehashed) => break rehashed,
                None => tokio::task::yield_now().await,
            }
        };
        let kept = self.operate(async |visit| auth::password::keep_rehashed(visit, rehashed).await).await;
        kept.expect("it is stored");
    }

    /// Reads what other processes have revoked, as the job does every 250 ms.
    pub async fn poll_revocations(&self) {
        self.operate(async |visit| {
            let asked = tokio::time::Instant::now();
            let (number, session) = visit.rooms.revocations.after();
            let call = store::noun::revocation::after(number, session, 1000);
            let read = visit.lease.read().await.expect("a connection").all(call).await.expect("revocations");
            visit.rooms.revocations.extend(&read);
            visit.rooms.revocations.seen(asked + Duration::from_hours(1), visit.now);
        })
        .await;
    }

    /// Ends the application; panics when a request of it panicked or is still running.
    pub async fn close(self) {
        drop(self.router);
        let panics = std::mem::take(&mut *self.tasks.panics.lock().unwrap());
        assert!(panics.is_empty(), "requests panicked: {panics:#?}");
        let ended = async {
            while self.tasks.running.load(Ordering::SeqCst) > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), ended).await.expect("every request has ended");
    }
}

async fn read(response: Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.expect("a body").to_bytes();
    let text = String::from_utf8(bytes.to_vec()).expect("a body is UTF-8");
    Answer { status: parts.status, headers: parts.headers, text }
}

/// A keyring with one new key.
pub fn new_keyring() -> Keyring {
    Keyring::parse(Keyring::generate_line(&Rng::system()).expose()).expect("a keyring")
}

#[expect(clippy::disallowed_methods, reason = "the tests' own lifecycle")]
fn spawner(tasks: &Arc<Tasks>) -> Spawner {
    let tasks = Arc::clone(tasks);
    Spawner::new(move |name, task| {
        let tasks = Arc::clone(&tasks);
        let counted = usize::from(name == "request");
        tasks.running.fetch_add(counted, Ordering::SeqCst);
        tokio::spawn(async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                tasks.panics.lock().unwrap().push(text.unwrap_or_default());
            }
            tasks.running.fetch_sub(counted, Ordering::SeqCst);
        });
    })
}
