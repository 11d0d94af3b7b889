//! Remote sinks: exactly the records, in order, whatever the receiver does.

use std::io::{self, Write};

use fixtures::spawner;
use store::redis::{Address, RedisStream};
use testkit::Redis;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::receiver::{Receiver, Reply};
use super::*;
use audit::sinks::{JsonLines, Otlp, RemoteSink, TRIES, Transport, Webhook, WebhookSecrets};
use outbound::Endpoint;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Long enough for a receiver on this machine.
const LIMIT: Duration = Duration::from_secs(10);

fn remote(node: &Node, transport: Transport) -> Shipper<RemoteSink> {
    let folder = node.folder.path();
    let settings = ShipperSettings {
        name: "ship_audit_sink",
        keys: None,
        dead_letters: folder.join("sink.dead-letter.jsonl"),
        batch: (500, 256 << 10),
        patience: Some((Duration::from_secs(1), Duration::from_mins(1))),
        ..settings(folder)
    };
    Shipper::new(settings, RemoteSink::new(transport, folder.join("sink"), CancellationToken::new()))
}

fn endpoint(node: &Node, url: &str, limit: Duration) -> Endpoint {
    Endpoint::new(url, None, limit, node.clock.clone()).unwrap()
}

fn webhook(node: &Node, url: &str, limit: Duration) -> Shipper<RemoteSink> {
    let secrets = WebhookSecrets::parse(SECRET).unwrap();
    remote(node, Transport::Webhook(Webhook::new(endpoint(node, url, limit), secrets)))
}

/// Steps through every pause until all records are sent.
async fn persist(node: &Node, job: &Shipper<RemoteSink>) {
    for _ in 0..200 {
        if node.runner.settle(job).await.is_ok() {
            return;
        }
        node.clock.advance(Duration::from_mins(1));
    }
    panic!("not sent: {:?}", job.shipping().last_error());
}

/// A pipe whose reader may close it.
#[derive(Clone, Default)]
struct Pipe(Arc<std::sync::Mutex<(Vec<u8>, bool)>>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock().unwrap();
        if state.1 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        state.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn sequence(line: &str) -> i64 {
    serde_json::from_str::<Value>(line).unwrap()["sequence"].as_i64().unwrap()
}

#[tokio::test]
async fn json_lines_are_written_once_across_restarts() {
    let node = node().await;
    let mut journal = open(node.folder.path(), ID, 1 << 20);
    append(&mut journal, &node, 1, 3);
    let pipe = Pipe::default();
    for first in [4, 6] {
        let job = remote(&node, Transport::JsonLines(JsonLines::new(pipe.clone())));
        node.runner.settle(&job).await.unwrap();
        append(&mut journal, &node, first, 2);
    }

    let gone = remote(&node, Transport::JsonLines(JsonLines::new(pipe.clone())));
    pipe.0.lock().unwrap().1 = true;
    node.runner.step(&gone).await.unwrap_err();
    assert_eq!(gone.shipping().backlog(), 0, "the backlog is unknown");
    pipe.0.lock().unwrap().1 = false;
    persist(&node, &gone).await;
    let text = String::from_utf8(pipe.0.lock().unwrap().0.clone()).unwrap();
    assert_eq!(text.lines().map(sequence).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);

    // A line has the event byte for byte, so that lines alone suffice to recompute the chain.
    let mut chain = journal::Chain::new(ID);
    for line in text.lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        let event = line.split_once("\"event\":").unwrap().1.strip_suffix('}').unwrap();
        let hash: Vec<u8> = (0..32)
            .map(|at| u8::from_str_radix(&value["hash"].as_str().unwrap()[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        let record = journal::Record {
            sequence: value["sequence"].as_u64().unwrap(),
            time: Time(value["time"].as_i64().unwrap()),
            kind: Kind::Data,
            payload: event.as_bytes(),
            hash: journal::Hash(hash.try_into().unwrap()),
        };
        chain.check(&record).unwrap();
        assert_eq!((&value["kind"], &value["node"]), (&"login_succeeded".into(), &"a node".into()));
    }
    assert_eq!(chain.head(), journal.head());
}

#[tokio::test]
async fn invalid_events_and_checkpoints_have_lines_too() {
    let node = node().await;
    let mut journal = open(node.folder.path(), ID, 1 << 20);
    let time = Time(node.clock.now().micros());
    for payload in [b"\xff no JSON".as_slice(), b"{\n}", b"[1]"] {
        assert!(journal.append(time, &[Entry { time, kind: Kind::Data, payload }]).failure.is_none());
    }
    let checkpoint = checkpoint(journal.head(), time).signed(|_| Some(vec![1; 3])).unwrap();
    let entry = Entry { time, kind: Kind::Checkpoint, payload: &checkpoint.format() };
    assert!(journal.append(time, &[entry]).failure.is_none());
    let pipe = Pipe::default();
    node.runner.settle(&remote(&node, Transport::JsonLines(JsonLines::new(pipe.clone())))).await.unwrap();
    let text = String::from_utf8(pipe.0.lock().unwrap().0.clone()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["payload"], &lines[1]["payload"]), (&"/yBubyBKU09O".into(), &"ewp9".into()));
    assert_eq!(lines[2]["event"], serde_json::json!([1]));
    let head = &lines[3]["head"];
    assert_eq!((&lines[3]["kind"], &head["sequence"]), (&"audit_checkpoint".into(), &3.into()));
    assert_eq!((&head["key"], &head["signature"]), (&"6b31".into(), &"AQEB".into()));
    assert_eq!(head["hash"], lines[2]["hash"], "the hash that it signs");
    assert_eq!((&head["journal"], &head["time"]), (&ID.to_string().into(), &time.0.into()));
}

#[tokio::test]
async fn a_webhook_is_signed_and_sends_each_record_once() {
    let node = node().await;
    let receiver = Receiver::start(None).await;
    let url = format!("http://{}/hooks/audit", receiver.address);
    let mut journal = open(node.folder.path(), ID, 1 << 20);
    append(&mut journal, &node, 1, 7);
    let job = webhook(&node, &url, LIMIT);

    node.runner.settle(&job).await.unwrap();
    let asked = receiver.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].path.as_str(), asked[0].sequences()), ("/hooks/audit", (1..=7).collect()));
    assert_eq!(asked[0].header("content-type"), "application/x-ndjson");
    assert_eq!(asked[0].header("host"), receiver.address.to_string());
    let (id, timestamp) = (asked[0].header("webhook-id"), asked[0].header("webhook-timestamp"));
    assert_eq!(id, format!("{ID}-1-7"));
    assert_eq!(timestamp, node.clock.now().seconds().to_string());
    let secrets = WebhookSecrets::parse(SECRET).unwrap();
    let expected = secrets.signature(id, timestamp.parse().unwrap(), asked[0].body.as_bytes());
    assert_eq!(asked[0].header("webhook-signature"), expected);

    // After a restart the next batch follows.
    append(&mut journal, &node, 8, 2);
    let again = webhook(&node, &url, LIMIT);
    node.runner.settle(&again).await.unwrap();
    assert_eq!(receiver.asked()[0].sequences(), [8, 9]);
    assert_eq!((again.shipping().shipped(), again.shipping().dead()), (2, 0));
}

#[tokio::test]
async fn all_records_arrive_in_order_after_any_failure_of_the_receiver() {
    let node = node().await;
    let receiver = Receiver::start(None).await;
    let url = format!("http://{}/", receiver.address);
    let mut journal = open(node.folder.path(), ID, 1 << 20);
    append(&mut journal, &node, 1, 5);
    let job = webhook(&node, &url, LIMIT);
    let wait = Reply::Status(429, "retry-after: 300\r\n", "");
    receiver.next([
        Reply::Status(500, "", ""),
        Reply::HangUp,
        Reply::Status(302, "location: /x\r\n", ""),
        wait,
    ]);

    let why = [
        "it answered 500",
        "connection closed before message completed",
        "it answered 302, and no redirect is followed",
        "it answered 429",
    ];
    for why in why {
        let told = node.runner.step(&job).await.unwrap_err().to_string();
        assert_eq!(told, why);
        // During the pause no request is sent, and the metrics keep the error.
        let asked = receiver.asked().len();
        assert!(asked <= 1);
        node.runner.step(&job).await.unwrap_err();
        assert_eq!(receiver.asked().len(), 0, "{why}");
        assert_eq!(job.shipping().last_error().as_deref(), Some(why));
        if why != "it answered 429" {
            node.clock.advance(Duration::from_mins(1));
        }
    }

    node.clock.advance(Duration::from_secs(299));
    node.runner.step(&job).await.unwrap_err();
    assert_eq!(receiver.asked().len(), 0, "it asked for a longer pause");
    node.clock.advance(Duration::from_secs(2));
    node.runner.settle(&job).await.unwrap();

    assert_eq!(
        receiver.asked().iter().flat_map(receiver::ReceivedRequest::sequences).collect::<Vec<_>>(),
        [1, 2, 3, 4, 5]
    );
    assert_eq!((job.shipping().shipped(), job.shipping().dead(), job.shipping().last_error()), (5, 0, None));
}

#[tokio::test]
async fn a_batch_for_a_receiver_that_never_answers_times_out() {
    let node = node().await;
    let receiver = Receiver::start(None).await;
    let mut journal = open(node.folder.path(), ID, 1 << 20);
    append(&mut journal, &node, 1, 2);
    let job = webhook(&node, &format!("http://{}/", receiver.address), Duration::from_millis(50));
    receiver.next([Reply::Hang]);
    let told = node.runner.step(&job).await.unwrap_err().to_string();
    assert_eq!(told, "no answer within 50ms");
    persist(&node, &job).await;
    assert_eq!(receiver.asked().last().unwrap().sequences(), [1, 2]);

    // At shutdown the server does not wait for a hung receiver.
    append(&mut journal, &node, 3, 1);
    let stop = CancellationToken::new();
    let endpoint = endpoint(&node, &format!("http://{}/", receiver.address), Duration::from_hours(1));
    let transport = Transport::Webhook(Webhook::new(endpoint, WebhookSecrets::parse(SECRET).unwrap()));
    let settings = ShipperSettings { keys: None, ..settings(node.folder.path()) };
    let sink = RemoteSink::new(transport, node.folder.path().join("sink"), stop.clone());
    let job = Shipper::new(settings, sink);
    receiver.always(Reply::Hang);
    let (stepped, ()) = tokio::join!(node.runner.step(&job), async { stop.cancel() });
    assert_eq!(stepped.unwrap_err().to_string(), "the server is stopping");
}

#[tokio::test]
async fn a_receiver_that_is_down_is_retried_until_it_answers() {
    let node = node().await;
    let mut journal = open(node.folder.path(), ID, 1 << 20);
    append(&mut journal, &node, 1, 3);
    // A port without a listener.
    let port = testkit::free_port();
    let job = webhook(&node, &format!("http://127.0.0.1:{port}/"), LIMIT);
    for failures in 1..=4 {
        node.runner.step(&job).await.unwrap_err();
        assert!(job.shipping().last_error().is_some(), "{failures}");
        node.clock.advance(Duration::from_mins(1));
    }
    let receiver = Receiver::start(None).await;
    let job = webhook(&node, &format!("http://{}/", receiver.address), LIMIT);
    node.runner.settle(&job).await.unwrap();
    assert_eq!(receiver.asked()[0].sequences(), [1, 2, 3]);
}

#[tokio::test]
async fn a_record_that_is_always_refused_is_set_aside_and_the_others_arrive() {
    let node = node().await;
    let receiver = Receiver::start(None).await;
    let mut journal = open(node.folder.path(), ID, 1 << 20);
    append(&mut journal, &node, 1, 40);
    let job = webhook(&node, &format!("http://{}/", receiver.address), LIMIT);
    receiver.always(Reply::Unless("\"request_id\":\"r17\"", 422));
    persist(&node, &job).await;
    let asked = receiver.asked();
    let alone = asked
        .iter()
        .filter(|asked| asked.body.contains("\"request_id\":\"r17\"") && asked.sequences() == [17]);
    assert_eq!(alone.count(), usize::try_from(TRIES).unwrap());
    let taken = asked.iter().filter(|asked| !asked.body.contains("\"request_id\":\"r17\""));
    let taken: Vec<i64> = taken.flat_map(receiver::ReceivedRequest::sequences).collect();
    assert_eq!(taken, (1..=40).collect::<Vec<_>>(), "a dead letter takes its position");
    let letter = asked.iter().find(|asked| asked.body.contains(SET_ASIDE)).unwrap();
    assert!(letter.body.contains("it answered 422") && letter.sequences() == [17], "{}", letter.body);
    let text = std::fs::read_to_string(node.folder.path().join("sink.dead-letter.jsonl")).unwrap();
    assert_eq!(text.lines().count(), 1);
    assert_eq!((job.shipping().dead(), job.shipping().shipped()), (1, 39));
}

/// A certificate for `localhost`, and an acceptor that presents it.
fn certified() -> (rcgen::CertifiedKey<rcgen::KeyPair>, TlsAcceptor) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let server = server.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    (made, Arc::new(server).into())
}

/// The stream `key` of a server, of which only the given certificate is trusted if it uses TLS.
fn stream_at(url: &str, root: Option<&rcgen::Certificate>, key: &str, keep: Option<u64>) -> RedisStream {
    let root = root.map(rcgen::Certificate::pem);
    let redis = store::redis::Redis::new(Address::parse(url).unwrap(), root.as_deref().map(str::as_bytes));
    RedisStream::new(redis.unwrap(), key, keep, LIMIT)
}

#[tokio::test]
async fn https_trusts_only_the_given_authority() {
    let (made, server) = certified();
    let (other, _) = certified();
    let receiver = Receiver::start(Some(server)).await;
    let node = node().await;
    let mut journal = open(node.folder.path(), ID, 1 << 20);
    append(&mut journal, &node, 1, 3);
    let job = |root: &rcgen::Certificate| {
        let url = format!("https://localhost:{}/x?y=1", receiver.address.port());
        let authorities = root.pem();
        let clock = node.clock.clone();
        let endpoint = Endpoint::new(&url, Some(authorities.as_bytes()), LIMIT, clock).unwrap();
        remote(&node, Transport::Webhook(Webhook::new(endpoint, WebhookSecrets::parse(SECRET).unwrap())))
    };
    let refused = node.runner.step(&job(&other.cert)).await.unwrap_err().to_string();
    assert!(refused.contains("certificate"), "{refused}");
    assert_eq!(receiver.asked().len(), 0);
    node.runner.settle(&job(&made.cert)).await.unwrap();
    let asked = receiver.asked();
    assert_eq!((asked[0].path.as_str(), asked[0].sequences()), ("/x?y=1", vec![1, 2, 3]));
}

#[tokio::test]
async fn a_collector_receives_otlp_logs() {
    let node = node().await;
    let receiver = Receiver::start(None).await;
    let mut journal = open(node.folder.path(), ID, 1 << 20);
    append(&mut journal, &node, 1, 4);
    let time = Time(node.clock.now().micros());
    let traced = br#"{"kind":"audit_gap","trace_id":"0af7651916cd43dd8448eb211c80319c"}"#;
    assert!(journal.append(time, &[Entry { time, kind: Kind::Data, payload: traced }]).failure.is_none());
    let endpoint = endpoint(&node, &format!("http://{}/v1/logs", receiver.address), LIMIT);
    let job = remote(&node, Transport::Otlp(Otlp::new(endpoint)));
    receiver.always(Reply::Status(200, "", "{\"partialSuccess\":{}}"));
    node.runner.settle(&job).await.unwrap();

    let asked = receiver.asked();
    assert_eq!((asked[0].path.as_str(), asked[0].header("content-type")), ("/v1/logs", "application/json"));
    let body: Value = serde_json::from_str(&asked[0].body).unwrap();
    let logs = &body["resourceLogs"][0];
    assert_eq!(logs["resource"]["attributes"][0]["value"]["stringValue"], "gatewright");
    let records = logs["scopeLogs"][0]["logRecords"].as_array().unwrap();
    assert_eq!(records.len(), 5);

    let second = &records[1];
    assert_eq!(second["timeUnixNano"], format!("{}", (node.clock.now().micros() + 1) * 1000));
    assert_eq!((&second["severityNumber"], &second["eventName"]), (&9.into(), &"login_succeeded".into()));
    let attributes = second["attributes"].as_array().unwrap();
    let value = |key: &str| attributes.iter().find(|one| one["key"] == key).unwrap()["value"].clone();
    assert_eq!(value("audit.sequence"), serde_json::json!({"intValue": "2"}));
    assert_eq!(value("audit.journal"), serde_json::json!({"stringValue": ID.to_string()}));
    assert_eq!(value("audit.request_id"), serde_json::json!({"stringValue": "r2"}));
    assert_eq!(sequence(second["body"]["stringValue"].as_str().unwrap()), 2);
    assert_eq!((&records[4]["severityText"], records[0].get("traceId")), (&"WARN".into(), None));
    assert_eq!(records[4]["traceId"], "0af7651916cd43dd8448eb211c80319c");

    // A rejected record is found, offered again, and set aside.
    append(&mut journal, &node, 6, 4);
    let rejects = "{\"partialSuccess\":{\"rejectedLogRecords\":\"1\",\"errorMessage\":\"too old\"}}";
    receiver.next(std::iter::repeat_n(Reply::Status(200, "", rejects), 3));
    persist(&node, &job).await;
    assert_eq!((job.shipping().shipped(), job.shipping().dead()), (9, 0));
    receiver.always(Reply::Status(200, "", rejects));
    append(&mut journal, &node, 10, 1);
    persist_until(&node, &job, || job.shipping().dead() == 1).await;
}

/// Steps through every pause until `is_so` is true.
async fn persist_until(node: &Node, job: &Shipper<RemoteSink>, is_so: impl Fn() -> bool) {
    for _ in 0..100 {
        let _ = node.runner.step(job).await;
        if is_so() {
            return;
        }
        node.clock.advance(Duration::from_mins(1));
    }
    panic!("never: {:?}", job.shipping().last_error());
}

/// Reads a stream with an independent client: the four values of each entry.
async fn entries(port: u16, key: &str) -> Vec<[String; 4]> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    socket.write_all(format!("XRANGE {key} - +\r\nQUIT\r\n").as_bytes()).await.unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).await.unwrap();
    let lines: Vec<&str> = text.split("\r\n").collect();
    let names = ["journal", "sequence", "kind", "record"];
    let starts = (0..lines.len()).filter(|at| lines[*at] == names[0] && lines[at + 4] == names[1]);
    // A name, the length of its value, the value, the length of the next name.
    starts.map(|at| [2, 6, 10, 14].map(|step| lines[at + step].to_owned())).collect()
}

#[tokio::test]
async fn a_stream_has_every_record_after_an_outage() {
    let mut redis = Redis::start();
    let node = node().await;
    let mut journal = open(node.folder.path(), ID, 1 << 20);
    append(&mut journal, &node, 1, 1200);
    let stream = stream_at(&redis.url(), None, "audit", None);
    let job = remote(&node, Transport::Stream(stream));
    node.runner.settle(&job).await.unwrap();
    let found = entries(redis.port(), "audit").await;
    assert_eq!(
        found.iter().map(|entry| sequence(&entry[3])).collect::<Vec<_>>(),
        (1..=1200).collect::<Vec<_>>()
    );
    assert_eq!(
        (found[6][0].as_str(), found[6][1].as_str(), found[6][2].as_str()),
        (&*ID.to_string(), "7", "login_succeeded")
    );

    redis.kill();
    append(&mut journal, &node, 1201, 3);
    for _ in 0..3 {
        let told = node.runner.step(&job).await.unwrap_err().to_string();
        assert!(told.contains("Redis"), "{told}");
        node.clock.advance(Duration::from_mins(1));
    }
    redis.restart();
    persist(&node, &job).await;
    let after: Vec<i64> =
        entries(redis.port(), "audit").await.iter().map(|entry| sequence(&entry[3])).collect();
    assert_eq!(after, [1201, 1202, 1203], "the restarted server has only the new records");
}

/// Connects through a TLS proxy, and only to a server with a trusted certificate.
#[tokio::test]
async fn a_stream_is_reached_over_tls() {
    let redis = Redis::start();
    let ((made, acceptor), (other, _)) = (certified(), certified());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("rediss://localhost:{}/", listener.local_addr().unwrap().port());
    let port = redis.port();
    spawner().spawn("tls", async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut outside) = acceptor.accept(socket).await else { continue };
            let mut plain = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut outside, &mut plain).await;
        }
    });
    let entry = || vec![("journal", b"j".as_slice()), ("sequence", b"1"), ("kind", b"k"), ("record", b"r")];
    let untrusted = stream_at(&url, Some(&other.cert), "tls", None);
    let told = untrusted.add(&[entry()]).await.unwrap_err().to_string();
    assert!(told.contains("certificate"), "{told}");
    let stream = stream_at(&url, Some(&made.cert), "tls", None);
    stream.add(&[entry(), entry()]).await.unwrap();
    stream.add(&[entry()]).await.unwrap();
    assert_eq!(entries(redis.port(), "tls").await.len(), 3);
}

#[tokio::test]
async fn a_stream_is_trimmed_and_invalid_addresses_are_refused() {
    let redis = Redis::start();
    let node = node().await;
    let mut journal = open(node.folder.path(), ID, 1 << 20);
    append(&mut journal, &node, 1, 900);
    let stream = stream_at(&format!("{}3", redis.url()), None, "short", Some(100));
    node.runner.settle(&remote(&node, Transport::Stream(stream))).await.unwrap();
    assert_eq!(entries(redis.port(), "short").await.len(), 0, "another database");
    let wrong = stream_at("redis://:secret@127.0.0.1:1/", None, "short", None);
    assert!(!format!("{wrong:?}").contains("secret"));
    for (url, why) in [
        (format!("redis://:wrong@127.0.0.1:{}/", redis.port()), "authentication failed"),
        (format!("redis://127.0.0.1:{}/99", redis.port()), "out of range"),
    ] {
        let stream = stream_at(&url, None, "short", None);
        let told = stream.add(&[vec![("a", b"b".as_slice())]]).await.unwrap_err().to_string();
        assert!(told.contains(why), "{told}");
    }
    let stream = stream_at(&redis.url(), None, "cut", Some(100));
    let entry = vec![("journal", b"j".as_slice()), ("sequence", b"1"), ("kind", b"k"), ("record", b"r")];
    stream.add(&vec![entry; 900]).await.unwrap();
    let left = entries(redis.port(), "cut").await.len();
    assert!((100..=300).contains(&left), "{left}");
}
