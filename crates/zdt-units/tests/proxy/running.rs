//! The proxies themselves: asked about a file, and running with one.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use zdt_units::render::Proxies;

use super::bench::{LIMIT, free_port, until};

/// By which a proxy is asked whether it is there.
pub(super) const READY: &str = "/?ready";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proxy {
    Haproxy,
    Nginx,
    Caddy,
    Traefik,
}

impl Proxy {
    pub(super) const ALL: [Self; 4] = [Self::Haproxy, Self::Nginx, Self::Caddy, Self::Traefik];

    pub(super) fn program(self) -> &'static str {
        match self {
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Caddy => "caddy",
            Self::Traefik => "traefik",
        }
    }

    pub(super) fn kind(self) -> Proxies {
        match self {
            Self::Haproxy => Proxies::Haproxy,
            Self::Nginx => Proxies::Nginx,
            Self::Caddy => Proxies::Caddy,
            Self::Traefik => Proxies::Traefik,
        }
    }

    /// As `generate --out` calls it.
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Haproxy => "zdt.cfg",
            Self::Nginx => "zdt.conf",
            Self::Caddy => "zdt.caddy",
            Self::Traefik => "zdt.yml",
        }
    }

    pub(super) fn is_there(self) -> bool {
        let mut command = Command::new(self.program());
        let command = command
            .arg(match self {
                Self::Haproxy | Self::Nginx => "-v",
                Self::Caddy | Self::Traefik => "version",
            })
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    /// What it says to a file that it does not take.
    pub(super) fn check(self, text: &str) -> Result<(), String> {
        self.check_by(self.program(), text)
    }

    /// The same by another release of it.
    pub(super) fn check_by(self, program: &'static str, text: &str) -> Result<(), String> {
        let mut place = Place::new(self, text, free_port());
        place.program = program;
        // It has no command that checks a file: it runs, and says what it does not take.
        if self == Self::Traefik {
            return place.start().traefik_took_it();
        }
        let arguments: &[&str] = match self {
            Self::Haproxy => &["-c", "-f", "main.cfg", "-f", "zdt.cfg"],
            Self::Nginx => &["-t", "-q", "-c", "main.conf"],
            Self::Caddy | Self::Traefik => &[
                "validate",
                "--config",
                "Caddyfile",
                "--adapter",
                "caddyfile",
            ],
        };
        let output = place.command(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let warned = self != Self::Caddy && said.to_lowercase().contains("warn");
        match output.status.success() && !warned {
            true => Ok(()),
            false => Err(said),
        }
    }

    /// Runs it with `text`, for any host, on a port of its own.
    pub(super) fn run(self, text: &str) -> Running {
        let running = Place::new(self, text, free_port()).start();
        until("the port of the proxy", || {
            TcpStream::connect(running.address).is_ok()
        });
        // Its port is open before it has read the file.
        if self == Self::Traefik {
            until("a router", || running.answers_but_not_404());
        }
        running
    }

    /// Where the file says port 80.
    fn on_port(self, text: &str, port: u16) -> String {
        match self {
            Self::Haproxy => text.replace("bind :80", &format!("bind 127.0.0.1:{port}")),
            Self::Nginx => {
                let lines = text.lines().filter(|line| !line.contains("listen [::]:80"));
                let lines: Vec<&str> = lines.collect();
                let text = lines.join("\n") + "\n";
                text.replace("listen 80", &format!("listen 127.0.0.1:{port}"))
            }
            // Told in their main files.
            Self::Caddy | Self::Traefik => text.to_owned(),
        }
    }
}

/// By `.ci/run`: 1.27.4 or newer.
pub(super) const NEWER_NGINX: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/nginx/bin/nginx");

/// A directory with a main file and what it includes.
struct Place {
    proxy: Proxy,
    program: &'static str,
    directory: TempDir,
    port: u16,
}

impl Place {
    fn new(proxy: Proxy, text: &str, port: u16) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        // nginx serves as another user than the one that starts it.
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        fs::write(path.join(proxy.file()), proxy.on_port(text, port)).unwrap();
        let place = path.display();
        let (name, main) = match proxy {
            Proxy::Haproxy => (
                "main.cfg",
                format!(
                    "global\n    log {place}/log local0\n    \
                     stats socket {place}/admin.sock mode 660 level admin\n"
                ),
            ),
            Proxy::Nginx => (
                "main.conf",
                format!(
                    "daemon off;\npid {place}/pid;\nerror_log {place}/said;\n\
                     events {{ worker_connections 16384; }}\n\
                     worker_rlimit_nofile 65536;\n\
                     http {{\n    access_log off;\n    client_body_temp_path {place}/body;\n    \
                     proxy_temp_path {place}/proxy;\n    fastcgi_temp_path {place}/fastcgi;\n    \
                     uwsgi_temp_path {place}/uwsgi;\n    scgi_temp_path {place}/scgi;\n    \
                     include {place}/zdt.conf;\n}}\n"
                ),
            ),
            Proxy::Caddy => (
                "Caddyfile",
                format!(
                    "{{\n\tadmin off\n\thttp_port {port}\n\tdefault_bind 127.0.0.1\n}}\nimport {place}/zdt.caddy\n"
                ),
            ),
            Proxy::Traefik => (
                "traefik.yml",
                format!(
                    "global: {{ checkNewVersion: false, sendAnonymousUsage: false }}\n\
                     log: {{ level: DEBUG }}\n\
                     entryPoints: {{ web: {{ address: \"127.0.0.1:{port}\" }} }}\n\
                     providers: {{ file: {{ filename: {place}/zdt.yml }} }}\n"
                ),
            ),
        };
        fs::write(path.join(name), main).unwrap();
        Self {
            proxy,
            program: proxy.program(),
            directory,
            port,
        }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        command
            .args(arguments)
            .current_dir(self.path())
            .stdin(Stdio::null());
        if self.proxy == Proxy::Nginx {
            command.arg("-p").arg(self.path());
        }
        for home in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
            command.env(home, self.path());
        }
        command
    }

    fn start(self) -> Running {
        let arguments: &[&str] = match self.proxy {
            Proxy::Haproxy => &["-db", "-f", "main.cfg", "-f", "zdt.cfg"],
            Proxy::Nginx => &["-c", "main.conf"],
            Proxy::Caddy => &["run", "--config", "Caddyfile", "--adapter", "caddyfile"],
            Proxy::Traefik => &["--configFile=traefik.yml"],
        };
        let said = File::create(self.path().join("said")).unwrap();
        let mut command = self.command(arguments);
        let command = command.stdout(said.try_clone().unwrap()).stderr(said);
        Running {
            child: command.spawn().unwrap(),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)),
            place: self,
        }
    }
}

/// A proxy that runs until it is dropped.
pub(super) struct Running {
    child: Child,
    pub(super) address: SocketAddr,
    place: Place,
}

impl Running {
    pub(super) fn said(&self) -> String {
        fs::read_to_string(self.place.path().join("said")).unwrap()
    }

    fn answers_but_not_404(&self) -> bool {
        let mut connection = TcpStream::connect(self.address).unwrap();
        let ask =
            format!("GET {READY} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n");
        let mut answer = String::new();
        let asked = connection.write_all(ask.as_bytes());
        let _ = asked.and_then(|()| connection.read_to_string(&mut answer));
        answer.starts_with("HTTP/1.1 ") && !answer.starts_with("HTTP/1.1 404")
    }

    /// It has read the file: then it tells of a router, or what was wrong.
    fn traefik_took_it(self) -> Result<(), String> {
        let wrong = |said: &str| said.contains("ERR");
        let took = |said: &str| said.contains("Creating load-balancer");
        until("a word of traefik", || {
            wrong(&self.said()) || took(&self.said())
        });
        let said = self.said();
        match wrong(&said) {
            false => Ok(()),
            true => Err(said),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        let _ = kill(pid, Signal::SIGTERM);
        let end = Instant::now() + LIMIT;
        while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
