//! The reference consumers of the feed of revocations, in Python and TypeScript, against a real server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use testkit::process::Server;

use crate::node::{Node, Setup, pair, until};

/// What the contract promises.
const SECOND: Duration = Duration::from_secs(1);
/// How long a consumer may take to find a server that was away.
const PATIENCE: Duration = Duration::from_secs(20);

/// Prints whether each session of a file is refused, whenever that changes.
const PYTHON: &str = r#"
import sys, time
_, sources, url, secret, file = sys.argv
sys.path.insert(0, sources)
from revocations import Revocations
feed, told = Revocations(url, "reader", secret), {}
while True:
    for line in open(file).read().splitlines():
        sid, epoch = line.split()
        refused = feed.is_revoked(sid, int(epoch))
        if told.get(sid) != refused:
            told[sid] = refused
            print(sid, "refused" if refused else "accepted", flush=True)
    time.sleep(0.01)
"#;

/// The same for Node.
const NODE: &str = r#"
import { readFileSync } from "node:fs";
const [, , sources, url, secret, file] = process.argv;
const { Revocations } = await import(`${sources}/revocations.js`);
const feed = new Revocations(url, "reader", secret);
const told = new Map();
setInterval(() => {
  for (const line of readFileSync(file, "utf8").split("\n").filter(Boolean)) {
    const [sid, epoch] = line.split(" ");
    const refused = feed.isRevoked(sid, Number(epoch));
    if (told.get(sid) !== refused) console.log(sid, refused ? "refused" : "accepted");
    told.set(sid, refused);
  }
}, 10);
"#;

/// Both consumers, and the file that names the sessions about which they are asked.
struct Consumers {
    both: [Server; 2],
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Consumers {
    fn start(node: &Node, secret: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ops/consumers");
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(at("sids"), "").unwrap();
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
        let start = |program: &str, script: &str, sources: &str| {
            let command = Server::builder(program).args([&at(script), sources, &url, secret, &at("sids")]);
            command.env("PYTHONDONTWRITEBYTECODE", "1").start()
        };
        let both = [
            start("python3", "python.py", sources.to_str().unwrap()),
            start("node", "node.mjs", folder.path().to_str().unwrap()),
        ];
        Self { both, file: folder.path().join("sids"), _folder: folder }
    }

    /// The last words of both about a session.
    fn say(&self, sid: &str) -> [Option<String>; 2] {
        let last = |consumer: &Server| {
            let text = consumer.stdout();
            text.lines().rev().find_map(|line| Some(line.strip_prefix(sid)?.trim().to_owned()))
        };
        [last(&self.both[0]), last(&self.both[1])]
    }

    fn all_say(&self, sid: &str, word: &str) -> bool {
        self.say(sid).iter().all(|said| said.as_deref() == Some(word))
    }

    /// Logs in, and waits until both accept the session; returns it with its refresh token.
    async fn accepted_session(&self, node: &Node) -> (String, String) {
        let (access, refresh) = pair(&node.log_in("alice").await);
        let claims = BASE64_URL_SAFE_NO_PAD.decode(access.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        let (sid, epoch) =
            (claims["sid"].as_str().unwrap().to_owned(), claims["epoch"].as_i64().unwrap_or(0));
        let asked = std::fs::read_to_string(&self.file).unwrap();
        // Replaced at once: a consumer never reads a part of it.
        std::fs::write(self.file.with_extension("new"), format!("{asked}{sid} {epoch}\n")).unwrap();
        std::fs::rename(self.file.with_extension("new"), &self.file).unwrap();
        until(PATIENCE, "both accept the session", async || self.all_say(&sid, "accepted")).await;
        (sid, refresh)
    }

    /// Logs in and out, and waits until both refuse the session.
    async fn refuse_within(&self, node: &Node, patience: Duration) -> String {
        let (sid, refresh) = self.accepted_session(node).await;
        let out = node.client.post_json(&node.v1("logout"), &json!({"refresh_token": refresh})).await;
        assert_eq!(out.status, 204);
        until(patience, "both refuse the session", async || self.all_say(&sid, "refused")).await;
        sid
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
    let consumers = Consumers::start(&node, added["client_secret"].as_str().unwrap());

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
    assert!(consumers.all_say(&first, "refused"), "what was refused stays refused");
    assert!(consumers.all_say(&kept, "refused"), "a token of before the recovery is of an older epoch");
}
