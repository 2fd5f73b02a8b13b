//! A real HAProxy, nginx or Traefik in front of two servers.

use std::fs;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::bench::{free_port, until};

/// Which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Haproxy,
    /// The system's own, with a file that does for all of them.
    Nginx,
    /// 1.27.4 or newer, as `.ci/run` gets it, and with `keepalive_min_timeout`.
    KeepingNginx,
    Traefik,
}

impl Kind {
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::KeepingNginx => {
                concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/nginx/bin/nginx")
            }
            Self::Traefik => "traefik",
        }
    }

    pub(crate) fn is_nginx(self) -> bool {
        matches!(self, Self::Nginx | Self::KeepingNginx)
    }

    /// The file that its program is started with.
    fn main(self) -> &'static str {
        match self {
            Self::Haproxy | Self::Nginx | Self::KeepingNginx => "conf",
            Self::Traefik => "traefik.yml",
        }
    }
}

/// Ends with the value.
pub(crate) struct Proxy {
    pub(crate) kind: Kind,
    directory: TempDir,
    child: Child,
    pub(crate) address: String,
    /// Of Traefik.
    api: String,
}

/// The one of Traefik's file provider; Traefik knows by its name what is in it.
const FILE: &str = "shop.yml";

impl Proxy {
    /// In front of `shop/web1` and `shop/web2`.
    pub(crate) fn start(kind: Kind, servers: [&str; 2]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let [address, api] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
        let path = |name: &str| directory.path().join(name).display().to_string();
        let text = match kind {
            Kind::Haproxy => haproxy(&path("admin"), &address, servers),
            Kind::Nginx => nginx(&path(""), &address, ""),
            Kind::KeepingNginx => nginx(&path(""), &address, "keepalive_min_timeout 5s;"),
            Kind::Traefik => traefik(&path(FILE), &address, &api),
        };
        fs::write(path(kind.main()), text).unwrap();
        if kind.is_nginx() {
            fs::write(path("upstream"), upstream(servers)).unwrap();
        }
        if kind == Kind::Traefik {
            fs::write(path(FILE), services(servers)).unwrap();
        }
        let arguments = match kind {
            Kind::Haproxy => vec!["-db".to_owned(), "-f".to_owned(), path("conf")],
            Kind::Nginx | Kind::KeepingNginx => nginx_arguments(&path("")),
            Kind::Traefik => vec![format!("--configFile={}", path(kind.main()))],
        };
        let mut command = Command::new(kind.program());
        command.args(arguments).stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let proxy = Self {
            kind,
            child: child.unwrap(),
            address,
            api,
            directory,
        };
        until("a proxy that listens", || {
            std::net::TcpStream::connect(&proxy.address).is_ok()
        });
        // Its port is open before it has read the file.
        until("a proxy that knows its servers", || {
            kind != Kind::Traefik || proxy.answers()
        });
        proxy
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// The key of a service that is `server` there.
    pub(crate) fn key(&self, server: &str) -> String {
        let at = match self.kind {
            Kind::Haproxy => format!("haproxy = \"{}\"", self.path("admin")),
            Kind::Nginx | Kind::KeepingNginx => {
                let conf = nginx_arguments(&self.path(""));
                let words = |more: &[&str]| {
                    let words =
                        std::iter::once(self.kind.program()).chain(conf.iter().map(String::as_str));
                    let words = words.chain(more.iter().copied());
                    words
                        .map(|word| format!("\"{word}\""))
                        .collect::<Vec<_>>()
                        .join(", ")
                };
                format!(
                    "nginx = \"{}\", test = [{}], reload = [{}]",
                    self.path("upstream"),
                    words(&["-t"]),
                    words(&["-s", "reload"])
                )
            }
            // Slow requests take 500 ms.
            Kind::Traefik => format!(
                "traefik = \"{}\", api = \"{}\", settle = \"1s\"",
                self.path(FILE),
                self.api
            ),
        };
        format!("balancer = {{ {at}, server = \"shop/{server}\", timeout = \"10s\" }}\n")
    }

    /// Whoever answers, it is not 404.
    fn answers(&self) -> bool {
        use std::io::{Read as _, Write as _};
        let mut connection = std::net::TcpStream::connect(&self.address).unwrap();
        let mut answer = String::new();
        let asked = connection.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        let _ = asked.and_then(|()| connection.read_to_string(&mut answer));
        answer.starts_with("HTTP/1.1 ") && !answer.starts_with("HTTP/1.1 404")
    }

    /// Traefik's file, at once: it would read one that is half written.
    pub(crate) fn replace(&self, text: &str) {
        fs::write(self.path("new"), text).unwrap();
        fs::rename(self.path("new"), self.path(FILE)).unwrap();
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    pub(crate) fn upstream(&self) -> String {
        let name = match self.kind {
            Kind::Traefik => FILE,
            Kind::Haproxy | Kind::Nginx | Kind::KeepingNginx => "upstream",
        };
        fs::read_to_string(self.path(name)).unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() && self.kind.is_nginx() {
            let said = fs::read_to_string(self.path("error")).unwrap_or_default();
            println!("{:?} said: {said}", self.kind);
        }
        let _ = kill(self.pid(), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

fn nginx_arguments(directory: &str) -> Vec<String> {
    ["-p", directory, "-c", "conf"].map(str::to_owned).to_vec()
}

fn haproxy(admin: &str, address: &str, [one, two]: [&str; 2]) -> String {
    format!(
        "global\n  stats socket {admin} level admin\n\
         defaults\n  mode http\n  timeout client 30s\n  timeout server 30s\n  timeout connect 5s\n  timeout check 10s\n\
         frontend in\n  bind {address}\n  default_backend shop\n\
         backend shop\n  option httpchk GET /\n  default-server check inter 200ms fall 3 rise 1\n  \
         server web1 {one}\n  server web2 {two}\n"
    )
}

fn nginx(directory: &str, address: &str, more: &str) -> String {
    format!(
        "daemon off;\nworker_processes 2;\npid {directory}/pid;\nerror_log {directory}/error notice;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n  access_log off;\n  keepalive_requests 1000000;\n  {more}\n  include {directory}/upstream;\n  \
         server {{ listen {address} backlog=4096; location / {{ proxy_pass http://shop; }} }}\n}}\n"
    )
}

fn upstream([one, two]: [&str; 2]) -> String {
    format!(
        "# The shop's servers.\nupstream shop {{\n    server {one} max_fails=0; # zdt: web1\n    \
         server {two} max_fails=0; # zdt: web2\n}}\n"
    )
}

fn traefik(file: &str, address: &str, api: &str) -> String {
    format!(
        "global: {{ checkNewVersion: false, sendAnonymousUsage: false }}\n\
         api: {{ insecure: true }}\n\
         entryPoints: {{ web: {{ address: \"{address}\" }}, traefik: {{ address: \"{api}\" }} }}\n\
         providers: {{ file: {{ filename: {file}, watch: true }} }}\n"
    )
}

fn services([one, two]: [&str; 2]) -> String {
    format!(
        "http:\n  routers:\n    shop:\n      rule: \"PathPrefix(`/`)\"\n      service: shop\n  services:\n    \
         shop:\n      loadBalancer:\n        servers:\n          - url: \"http://{one}\" # zdt: web1\n          \
         - url: \"http://{two}\" # zdt: web2\n"
    )
}
