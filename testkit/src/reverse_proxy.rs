//! A throwaway nginx or HAProxy in front of a server, with the configuration files of `ops/`.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::supervise::Supervised;
use crate::{free_port, wait};

const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(10);
const PORTS_TO_TRY: usize = 5;

/// The program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// nginx, which adds to `X-Forwarded-For` what it saw.
    Nginx,
    /// HAProxy with `option forwardfor`.
    HaProxy,
    /// The same with `send-proxy-v2`. It connects from [`PROXY_PROTOCOL_SOURCE`].
    HaProxyProtocol,
}

/// The address from which a proxy with the PROXY protocol connects.
pub const PROXY_PROTOCOL_SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 8);

const NGINX: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../ops/nginx/gatewright.conf"));
const HAPROXY: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../ops/haproxy/gatewright.cfg"));

/// A reverse proxy of one test. Ended when dropped or when the test is killed.
#[derive(Debug)]
pub struct ReverseProxy {
    // Dropped first: the folder can be removed only after the last write.
    process: Supervised,
    folder: TempDir,
    /// Where it listens.
    pub address: SocketAddr,
}

impl ReverseProxy {
    /// Starts one that distributes requests to `upstreams`, at least one: each an address and a port, or the
    /// path of a Unix socket.
    pub fn start(kind: Kind, upstreams: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("gatewright-proxy-").tempdir();
        let folder = folder.expect("the temporary folder is writable");
        let process = Supervised::new(Some(folder.path()));
        let mut proxy = Self { process, folder, address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) };

        for _ in 0..PORTS_TO_TRY {
            proxy.address.set_port(free_port());
            if proxy.run(kind, upstreams) {
                return proxy;
            }
        }
        panic!("{kind:?} does not start; its log:\n{}", proxy.log());
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.folder.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Whether it started; it does not if another process has just taken the port.
    fn run(&mut self, kind: Kind, upstreams: &[&str]) -> bool {
        let (folder, file) = (self.folder.path(), self.folder.path().join("configuration"));
        std::fs::write(&file, kind.configuration(self.address, upstreams)).expect("the folder is writable");
        let log = File::options().create(true).append(true).open(folder.join("log"));
        let log = log.expect("the log can be opened");
        let stderr = log.try_clone().expect("the log can be opened twice");

        let mut command = Command::new(kind.program());
        match kind {
            Kind::Nginx => command.arg("-p").arg(folder).arg("-e").arg("stderr").arg("-c").arg(&file),
            Kind::HaProxy | Kind::HaProxyProtocol => command.arg("-db").arg("-f").arg(&file),
        };
        self.process.spawn(command.stdin(Stdio::null()).stdout(log).stderr(stderr));

        let up = wait::until(START_LIMIT, || {
            if self.process.ended().is_some() {
                return Some(false);
            }
            TcpStream::connect(self.address).is_ok().then_some(true)
        });
        up.unwrap_or_else(|| panic!("{kind:?} does not listen after {START_LIMIT:?}:\n{}", self.log()))
    }
}

impl Drop for ReverseProxy {
    fn drop(&mut self) {
        let _status = self.process.stop(Signal::TERM, STOP_LIMIT);
    }
}

impl Kind {
    fn configuration(self, listen: SocketAddr, upstreams: &[&str]) -> String {
        let lines = |line: &dyn Fn(usize, &str) -> String| {
            let lines = upstreams.iter().enumerate().map(|(at, upstream)| line(at + 1, upstream));
            lines.collect::<Vec<_>>().join("\n    ")
        };

        match self {
            Self::Nginx => {
                let servers = lines(&|_, upstream| {
                    let unix = if upstream.starts_with('/') { "unix:" } else { "" };
                    format!("server {unix}{upstream};")
                });
                let site = replaced(NGINX, "listen 80;", &format!("listen {listen};"));
                let site = replaced(&site, "server 127.0.0.1:8080;", &servers);
                format!(
                    "user root;\ndaemon off;\nworker_processes 1;\npid nginx.pid;\nevents {{}}\nhttp {{\n\
                     access_log off;\nclient_body_temp_path body;\nproxy_temp_path proxy;\n\
                     fastcgi_temp_path fastcgi;\nuwsgi_temp_path uwsgi;\nscgi_temp_path scgi;\n{site}}}\n"
                )
            }
            Self::HaProxy | Self::HaProxyProtocol => {
                let protocol = match self {
                    Self::HaProxyProtocol => format!(" source {PROXY_PROTOCOL_SOURCE} send-proxy-v2"),
                    Self::HaProxy | Self::Nginx => String::new(),
                };
                let servers = lines(&|number, upstream| {
                    let unix = if upstream.starts_with('/') { "unix@" } else { "" };
                    format!("server node-{number} {unix}{upstream} check{protocol}")
                });
                let file = replaced(HAPROXY, "bind :80", &format!("bind {listen}"));
                replaced(&file, "server node-1 127.0.0.1:8080 check", &servers)
            }
        }
    }

    fn program(self) -> PathBuf {
        let name = match self {
            Self::Nginx => "nginx",
            Self::HaProxy | Self::HaProxyProtocol => "haproxy",
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain([Path::new("/usr/sbin").to_path_buf()]);
        let found = folders.map(|folder| folder.join(name)).find(|candidate| candidate.is_file());
        found.unwrap_or_else(|| panic!("no {name} in PATH: install the package {name}"))
    }
}

/// `text` with `of`, which is in it once, replaced.
fn replaced(text: &str, of: &str, by: &str) -> String {
    assert_eq!(text.matches(of).count(), 1, "`{of}` in the file of ops/");
    text.replacen(of, by, 1)
}
