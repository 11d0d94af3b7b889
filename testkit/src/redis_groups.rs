//! Servers of Redis that work together: a Cluster, and a primary with a replica under Sentinels.

use std::time::Duration;

use crate::{Redis, wait};

const LIMIT: Duration = Duration::from_mins(1);
const SLOTS: usize = 16_384;
/// The name of the service that the Sentinels watch.
const SERVICE: &str = "main";
const SENTINELS: usize = 3;

/// A Cluster of primaries without replicas. Slots stay available while other nodes are away.
#[derive(Debug)]
pub struct RedisCluster {
    /// The nodes, each with an equal range of slots, in their order.
    pub nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Starts the nodes and returns when each knows where every slot is.
    pub fn start(nodes: usize) -> Self {
        let settings = [
            "--cluster-enabled",
            "yes",
            "--cluster-require-full-coverage",
            "no",
            "--cluster-node-timeout",
            "1000",
        ];
        let nodes: Vec<Redis> = (0..nodes).map(|_| Redis::start_with(&settings)).collect();
        for (index, node) in nodes.iter().enumerate() {
            let (first, end) = (index * SLOTS / nodes.len(), (index + 1) * SLOTS / nodes.len());
            done(node, &format!("CLUSTER ADDSLOTSRANGE {first} {}", end - 1));
            done(node, &format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1));
        }
        for pair in nodes.windows(2) {
            if let [node, other] = pair {
                done(node, &format!("CLUSTER MEET 127.0.0.1 {}", other.port()));
            }
        }

        let cluster = Self { nodes };
        let whole = wait::until(LIMIT, || cluster.is_whole().then_some(()));
        whole.unwrap_or_else(|| panic!("the Cluster is not whole after {LIMIT:?}"));
        cluster
    }

    /// Whether every node knows every other one and where all slots are.
    pub fn is_whole(&self) -> bool {
        let expected = [
            "cluster_state:ok".to_owned(),
            format!("cluster_slots_ok:{SLOTS}"),
            format!("cluster_known_nodes:{}", self.nodes.len()),
        ];
        self.nodes.iter().all(|node| {
            node.answers() && {
                let told = node.command("CLUSTER INFO");
                expected.iter().all(|line| told.contains(line.as_str()))
            }
        })
    }

    /// Where to connect: `redis+cluster://` with every node.
    pub fn url(&self) -> String {
        format!("redis+cluster://{}", hosts(&self.nodes))
    }
}

/// A primary and its replica, and three Sentinels that promote the replica when the primary is away for half
/// a second.
#[derive(Debug)]
pub struct RedisSentinels {
    /// The first primary.
    pub primary: Redis,
    /// Its replica.
    pub replica: Redis,
    sentinels: Vec<Redis>,
}

impl RedisSentinels {
    /// Starts all and returns when the Sentinels know each other and the replica.
    pub fn start() -> Self {
        let primary = Redis::start_with(&["--repl-diskless-sync-delay", "0"]);
        let port = primary.port().to_string();
        let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &port]);
        let configuration = format!(
            "sentinel monitor {SERVICE} 127.0.0.1 {port} 2\n\
             sentinel down-after-milliseconds {SERVICE} 500\n\
             sentinel failover-timeout {SERVICE} 3000\n"
        );
        let sentinels = (0..SENTINELS).map(|_| Redis::start_sentinel(&configuration)).collect();

        let group = Self { primary, replica, sentinels };
        let ready = wait::until(LIMIT, || group.is_ready().then_some(()));
        ready.unwrap_or_else(|| panic!("the Sentinels are not ready after {LIMIT:?}"));
        group
    }

    fn is_ready(&self) -> bool {
        let is_linked = self.replica.command("INFO replication").contains("master_link_status:up");
        let value = |lines: &[&str], name: &str| {
            let at = lines.iter().position(|line| *line == name);
            at.and_then(|at| lines.get(at + 2)).copied().unwrap_or_default().to_owned()
        };
        is_linked
            && self.sentinels.iter().all(|sentinel| {
                let told = sentinel.command(&format!("SENTINEL MASTER {SERVICE}"));
                let lines: Vec<&str> = told.split("\r\n").collect();
                value(&lines, "num-slaves") == "1" && value(&lines, "num-other-sentinels") == "2"
            })
    }

    /// Where to connect: `redis+sentinel://` with every Sentinel.
    pub fn url(&self) -> String {
        format!("redis+sentinel://{}/{SERVICE}", hosts(&self.sentinels))
    }
}

fn hosts(servers: &[Redis]) -> String {
    let hosts: Vec<String> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port())).collect();
    hosts.join(",")
}

fn done(node: &Redis, command: &str) {
    let told = node.command(command);
    assert_eq!(told, "+OK\r\n", "{command}");
}
