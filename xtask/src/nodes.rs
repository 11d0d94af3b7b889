//! Several nodes behind a balancer, on loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, ExitCode};

use tempfile::TempDir;
use testkit::process::{Server, ServerBuilder};
use testkit::reverse_proxy::{Kind, ReverseProxy};
use testkit::{Postgres, Redis, Scratch, free_port};

use crate::{root, services};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Starts PostgreSQL, Redis, `count` nodes and a balancer, and ends them after `command`; without one, waits
/// for the end of this process.
pub(crate) fn run(count: &str, balancer: &str, command: &[&str]) -> Outcome<ExitCode> {
    let count: usize = count.parse().ok().filter(|count| (1..=16).contains(count)).ok_or("1 to 16 nodes")?;
    let kind = match balancer {
        "nginx" => Kind::Nginx,
        "haproxy" => Kind::HaProxy,
        _ => return Err("the balancer is nginx or haproxy".into()),
    };
    let built = Command::new("cargo").args(["build", "--locked", "-p", "gatewright"]).status()?;
    if !built.success() {
        return Err("gatewright does not build".into());
    }

    let (postgres, redis, scratch) = (Postgres::builder().start(), Redis::start(), Scratch::new());
    let place = Place { postgres: postgres.url(), redis: redis.url(), scratch };
    for arguments in [["keys", "init"].as_slice(), &["migrate"]] {
        let done = place.gatewright(place.scratch.path()).args(arguments).run("");
        if !done.status.success() {
            return Err(format!("{arguments:?}: {}", done.stderr).into());
        }
    }
    let nodes = (0..count).map(|_| place.start()).collect::<Outcome<Vec<_>>>()?;
    let addresses: Vec<String> = nodes.iter().map(|node| node.address.to_string()).collect();
    let upstreams: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let proxy = ReverseProxy::start(kind, &upstreams);

    let url = format!("http://{}", proxy.address);
    let pids: Vec<String> = nodes.iter().map(|node| node.server.pid().to_string()).collect();
    let Some((program, arguments)) = command.split_first() else {
        println!("{balancer:<11} {url}\npostgresql  {}\nredis       {}", place.postgres, place.redis);
        for (address, pid) in addresses.iter().zip(&pids) {
            println!("node        http://{address} (process {pid})");
        }
        println!("Ctrl-C ends all.");
        loop {
            std::thread::park();
        }
    };
    let status = Command::new(program)
        .args(arguments)
        .env("GATEWRIGHT_URL", url)
        .env("GATEWRIGHT_NODES", addresses.join(","))
        .env("GATEWRIGHT_PIDS", pids.join(","))
        .status()?;
    Ok(ExitCode::from(services::code(status)))
}

/// What the nodes share.
struct Place {
    postgres: String,
    redis: String,
    /// Has the master key, and a folder for each node.
    scratch: Scratch,
}

/// A running node.
struct Node {
    server: Server,
    address: SocketAddr,
    _folder: TempDir,
}

impl Place {
    fn gatewright(&self, folder: &Path) -> ServerBuilder {
        Server::builder(root().join("target/debug/gatewright"))
            .folder(folder)
            .env("GATEWRIGHT_DATABASE__URL", &self.postgres)
            .env("GATEWRIGHT_DATABASE__POOL_MAX", "8")
            .env("GATEWRIGHT_REDIS__URL", &self.redis)
            .env("GATEWRIGHT_MASTER_KEY_FILE", self.scratch.path().join("master.key"))
            .env("GATEWRIGHT_SERVER__TRUSTED_PROXIES", "127.0.0.1")
    }

    fn start(&self) -> Outcome<Node> {
        let folder = tempfile::tempdir_in(self.scratch.path())?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let server = self
            .gatewright(folder.path())
            .arg("serve")
            .env("GATEWRIGHT_SERVER__LISTEN", address.to_string())
            .env("GATEWRIGHT_SERVER__OPS_LISTEN", "")
            .ready_when_healthy(address)
            .start();
        Ok(Node { server, address, _folder: folder })
    }
}
