//! The reference consumers of the feed of revocations, in Python and TypeScript, against a real server.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use testkit::process::Server;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::{TcpListener, TcpStream};

use crate::node::{Node, Setup, pair, until};

/// What the contract promises.
const SECOND: Duration = Duration::from_secs(1);
/// How long a consumer may take to find a server that was away.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers whether the session of each line that a socket sends is refused.
const PYTHON: &str = r#"
import socket, sys
_, sources, url, secret, port = sys.argv
sys.path.insert(0, sources)
from revocations import Revocations
feed = Revocations(url, "reader", secret)
questions = socket.create_connection(("127.0.0.1", int(port))).makefile("rw")
for line in questions:
    sid, epoch = line.split()
    print("refused" if feed.is_revoked(sid, int(epoch)) else "accepted", file=questions, flush=True)
"#;

/// The same for Node.
const NODE: &str = r#"
import { connect } from "node:net";
import { createInterface } from "node:readline";
const [, , sources, url, secret, port] = process.argv;
const { Revocations } = await import(`${sources}/revocations.js`);
const feed = new Revocations(url, "reader", secret);
const socket = connect(Number(port), "127.0.0.1");
createInterface({ input: socket }).on("line", (line) => {
  const [sid, epoch] = line.split(" ");
  socket.write(feed.isRevoked(sid, Number(epoch)) ? "refused\n" : "accepted\n");
});
"#;

/// A consumer, and the connection by which it is asked.
struct Consumer {
    questions: BufStream<TcpStream>,
    _process: Server,
}

impl Consumer {
    async fn ask(&mut self, session: &Session) -> String {
        let question = format!("{} {}\n", session.sid, session.epoch);
        self.questions.write_all(question.as_bytes()).await.unwrap();
        self.questions.flush().await.unwrap();
        let mut answer = String::new();
        self.questions.read_line(&mut answer).await.unwrap();
        answer.trim().to_owned()
    }
}

/// What an access token says of its session.
struct Session {
    sid: String,
    epoch: i64,
}

/// Both consumers.
struct Consumers {
    both: [Consumer; 2],
    _folder: tempfile::TempDir,
}

impl Consumers {
    async fn start(node: &Node, secret: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ops/consumers");
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(at("python.py"), PYTHON).unwrap();
        std::fs::write(at("node.mjs"), NODE).unwrap();
        std::fs::write(at("package.json"), r#"{"type": "module"}"#).unwrap();

        // The compiler checks the types too.
        let options = ["--strict", "--target", "es2022", "--module", "es2022", "--moduleResolution", "node"];
        let compiled = Server::builder("tsc")
            .args(options)
            .args(["--lib", "es2022,dom", "--outDir", &at("")])
            .arg(sources.join("revocations.ts"))
            .folder(folder.path())
            .run("");
        assert!(compiled.status.success(), "{}{}", compiled.stdout, compiled.stderr);

        let url = node.url("");
        let start = async |program: &str, script: &str, sources: &str| {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port().to_string();
            let command = Server::builder(program).args([&at(script), sources, &url, secret, &port]);
            let process = command.env("PYTHONDONTWRITEBYTECODE", "1").start();
            let (stream, _) = listener.accept().await.unwrap();
            Consumer { questions: BufStream::new(stream), _process: process }
        };
        let python = start("python3", "python.py", sources.to_str().unwrap()).await;
        let node = start("node", "node.mjs", folder.path().to_str().unwrap()).await;
        Self { both: [python, node], _folder: folder }
    }

    async fn all_say(&mut self, session: &Session, word: &str) -> bool {
        let mut all = true;
        for consumer in &mut self.both {
            all &= consumer.ask(session).await == word;
        }
        all
    }

    /// Logs in, and waits until both accept the session; returns it with its refresh token.
    async fn accepted_session(&mut self, node: &Node) -> (Session, String) {
        let (access, refresh) = pair(&node.log_in("alice").await);
        let claims = BASE64_URL_SAFE_NO_PAD.decode(access.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        let sid = claims["sid"].as_str().unwrap().to_owned();
        let session = Session { sid, epoch: claims["epoch"].as_i64().unwrap_or(0) };
        until(PATIENCE, "both accept the session", async || self.all_say(&session, "accepted").await).await;
        (session, refresh)
    }

    /// Logs in and out, and waits until both refuse the session.
    async fn refuse_within(&mut self, node: &Node, patience: Duration) -> Session {
        let (session, refresh) = self.accepted_session(node).await;
        let out = node.client.post_json(&node.v1("logout"), &json!({"refresh_token": refresh})).await;
        assert_eq!(out.status, 204);
        until(patience, "both refuse the session", async || self.all_say(&session, "refused").await).await;
        session
    }
}

#[tokio::test]
async fn both_consumers_refuse_an_ended_session_within_a_second_also_after_a_restart_and_a_recovery() {
    // Given a server and both consumers of its feed.
    let setup = Setup::sqlite();
    let mut node = setup.start();
    let port = node.address.port();
    assert_eq!(node.register("alice").await.status, 201);
    let added = setup.command(&["--json", "client", "add", "reader", "--name", "Reader", "--allow", "feed"]);
    let added: Value = serde_json::from_str(&added).unwrap();
    let mut consumers = Consumers::start(&node, added["client_secret"].as_str().unwrap()).await;

    // When a session ends, then both refuse it within a second.
    let (kept, _) = consumers.accepted_session(&node).await;
    let first = consumers.refuse_within(&node, SECOND).await;

    // When the server is restarted, which their calls do not delay, then they go on.
    assert!(node.server.terminate().success());
    assert!(!node.server.stderr().contains("not finished"), "{}", node.server.stderr());
    let mut node = setup.start_on(port);
    consumers.refuse_within(&node, PATIENCE).await;
    consumers.refuse_within(&node, SECOND).await;

    // When the database is recovered, so that their number is gone, then they read the list again.
    node.server.terminate();
    setup.command(&["recover"]);
    let node = setup.start_on(port);
    consumers.refuse_within(&node, PATIENCE).await;
    consumers.refuse_within(&node, SECOND).await;
    assert!(consumers.all_say(&first, "refused").await, "what was refused stays refused");
    assert!(consumers.all_say(&kept, "refused").await, "a token of before the recovery is of an older epoch");
}
