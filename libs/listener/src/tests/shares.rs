use super::*;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const UNANSWERED: &[u8] = b"GET /hang HTTP/1.1\r\nhost: a\r\n\r\n";

/// Sends a request that is never answered.
async fn occupy(client: &mut DuplexStream) {
    client.write_all(UNANSWERED).await.unwrap();
    turns().await;
}

fn closed(clients: &mut [DuplexStream]) -> Vec<bool> {
    clients.iter_mut().map(is_closed).collect()
}

fn proxies(address: &'static str) -> Proxies {
    Proxies::new(move |ip| ip.to_string() == address, "list it in the settings")
}

#[tokio::test(start_paused = true)]
async fn a_client_at_its_share_closes_its_own_connection_that_was_idle_for_longest() {
    let running = running(limits(24));
    let mut other = running.connect_as(peer("198.51.100.7")).await;
    let mut mine = running.connect_from(&["192.0.2.7", "192.0.2.7", "192.0.2.7"]).await;
    // The first has had a request since, so the second has been idle for longest.
    pass(1).await;
    mine[0].write_all(REQUEST).await.unwrap();
    answer(&mut mine[0], 14).await;

    mine.extend(running.connect_from(&["192.0.2.7"]).await);
    assert_eq!(closed(&mut mine), [false, true, false, false]);
    assert!(!is_closed(&mut other));
    assert_eq!((running.closed.idle(), running.closed.refused()), (1, 0));

    mine[3].write_all(REQUEST).await.unwrap();
    answer(&mut mine[3], 14).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_share_is_busy_gets_no_further_connection_and_loses_none() {
    let running = running(limits(16));
    let mut mine = running.connect_from(&["192.0.2.7", "192.0.2.7"]).await;
    for client in &mut mine {
        occupy(client).await;
    }
    // A request that has only begun counts as well.
    mine.extend(running.connect_from(&["192.0.2.7"]).await);
    let mut other = running.connect_from(&["192.0.2.8"]).await.remove(0);
    assert_eq!(closed(&mut mine), [false, false, true]);
    assert_eq!((running.closed.idle(), running.closed.refused()), (0, 1));
    other.write_all(REQUEST).await.unwrap();
    answer(&mut other, 14).await;
}

#[tokio::test(start_paused = true)]
async fn a_share_is_counted_by_ipv4_address_by_64_and_by_48_bits_of_ipv6() {
    // A share is 2, and 4 for a network of 48 bits.
    let running = running(limits(16));
    let mut one = running.connect_from(&["2001:db8:1:1::1", "2001:db8:1:1::2", "2001:db8:1:1:ff::3"]).await;
    assert_eq!(closed(&mut one), [true, false, false], "one /64");
    let mut mapped = running.connect_from(&["::ffff:192.0.2.7", "192.0.2.7", "192.0.2.7", "192.0.2.8"]).await;
    assert_eq!(closed(&mut mapped), [true, false, false, false], "one IPv4 address");

    let more = ["2001:db8:1:2::1", "2001:db8:1:3::1", "2001:db8:1:4::1", "2001:db8:2:1::1"];
    let mut more = running.connect_from(&more).await;
    assert_eq!(closed(&mut one), [true, true, false], "the /48 has four: its oldest is closed");
    assert_eq!(closed(&mut more), [false; 4]);
}

#[tokio::test(start_paused = true)]
async fn the_peer_with_the_most_connections_loses_one_when_the_listener_is_full() {
    let running = running_behind(proxies("10.0.0.1"), false, limits(32));
    let mut greedy = running.connect_from(&["192.0.2.7"; 4]).await;
    occupy(&mut greedy[1]).await;
    let mut modest = running.connect_from(&["198.51.100.1", "198.51.100.2", "198.51.100.3"]).await;
    let mut proxy = running.connect_from(&["10.0.0.1"; 25]).await;

    let mut late = running.connect_from(&["203.0.113.7", "203.0.113.8", "203.0.113.9"]).await;
    for client in &mut late {
        client.write_all(REQUEST).await.unwrap();
        answer(client, 16).await;
    }
    assert_eq!(closed(&mut greedy), [true, false, true, true], "it had most, and one is busy");
    assert_eq!(closed(&mut modest), [false; 3]);
    assert_eq!(closed(&mut proxy), [false; 25]);
}

#[tokio::test(start_paused = true)]
async fn a_full_listener_without_idle_connections_waits_until_one_ends_or_becomes_idle() {
    let running = running(limits(2));
    let mut busy = running.connect_from(&["192.0.2.1"]).await.remove(0);
    let mut echo = running.connect_from(&["192.0.2.2"]).await.remove(0);
    occupy(&mut busy).await;
    echo.write_all(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\na").await.unwrap();
    turns().await;
    let mut late = running.connect_from(&["192.0.2.3"]).await.remove(0);
    late.write_all(REQUEST).await.unwrap();
    let early = tokio::time::timeout(Duration::from_secs(1), late.read_u8()).await;
    assert!(early.is_err(), "both are busy");

    echo.write_all(b"b").await.unwrap();
    assert!(answer(&mut echo, 2).await.ends_with("ab"));
    answer(&mut late, 14).await;
    assert!(is_closed(&mut echo) && !is_closed(&mut busy));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_idle_connections_of_one_client_keep_no_other_out() {
    let running = running(Limits::default());
    let mut idle = Vec::new();
    for _ in 0..10_000 {
        idle.push(running.connect().await);
    }
    turns().await;
    let mut other = running.connect_as(peer("198.51.100.7")).await;
    other.write_all(REQUEST).await.unwrap();
    answer(&mut other, 17).await;
    assert_eq!(running.count("connection"), 1250 + 1);
    assert_eq!(running.closed.idle(), 10_000 - 1250);
}

#[tokio::test(start_paused = true)]
async fn half_a_request_is_not_idle_and_an_http2_connection_without_streams_is() {
    let running = running(limits(16));
    let mut mine = running.connect_from(&["192.0.2.7", "192.0.2.7"]).await;
    mine[0].write_all(b"GET / HTT").await.unwrap();
    mine[1].write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    turns().await;

    mine.extend(running.connect_from(&["192.0.2.7"]).await);
    mine[0].write_all(b"P/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert!(answer(&mut mine[0], 14).await.starts_with("HTTP/1.1 200 "));
    // SETTINGS, its acknowledgement, and GOAWAY: type 7.
    let mut frames = Vec::new();
    mine[1].read_to_end(&mut frames).await.unwrap();
    assert!(frames.windows(5).any(|frame| frame == [8, 7, 0, 0, 0]), "{frames:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_above_half_of_its_share_for_a_minute_is_named_once_and_again_when_it_begins_anew() {
    let log = Log::default();
    let _guard = log.collect();
    let running = running_behind(proxies("10.0.0.1"), false, limits(32));
    let mut proxy = running.connect_from(&["10.0.0.1"; 8]).await;
    let mut held = running.connect_from(&["192.0.2.7", "192.0.2.7"]).await;
    for client in held.iter_mut().chain(&mut proxy) {
        occupy(client).await;
    }
    pass(120).await;
    assert_eq!(log.warnings(), [""; 0], "two of four are not more than half");

    let mut third = running.connect_from(&["192.0.2.7"]).await.remove(0);
    occupy(&mut third).await;
    pass(55).await;
    assert_eq!(log.warnings(), [""; 0], "not for a minute");
    pass(300).await;
    let warnings = log.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("192.0.2.7") && warnings[0].contains("list it in the settings"),
        "{warnings:?}"
    );

    drop(third);
    pass(1).await;
    let mut third = running.connect_from(&["192.0.2.7"]).await.remove(0);
    occupy(&mut third).await;
    pass(66).await;
    assert_eq!(log.warnings().len(), 2);
}

/// Collects warnings.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn collect(&self) -> tracing::subscriber::DefaultGuard {
        tracing::subscriber::set_default(self.clone())
    }

    fn warnings(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN && metadata.target().starts_with("listener")
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Line(String);
        impl tracing::field::Visit for Line {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0 = format!("{}{field}={value:?} ", self.0);
            }
        }
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}
