//! nginx and HAProxy, each in front of a backend that is restarted, and of one that is replaced by another.

use super::servers::{NO_LIMIT, Server};

/// Uses the ten ports from `port` on.
pub(super) fn all(port: u16, backend: &str) -> Vec<Server> {
    let mut servers = Vec::new();
    for (number, proxy) in [NGINX, HAPROXY].iter().enumerate() {
        let port = port + number as u16 * 5;
        servers.push(proxy.before_a_restart(port, port + 1, backend));
        servers.push(proxy.before_a_replacement(port + 2, port + 3, backend));
    }
    servers
}

struct Proxy {
    name: &'static str,
    package: &'static str,
    rows: [&'static str; 2],
    /// With `PORT`, and `BACKEND` where its port belongs.
    config: &'static str,
    /// With `CONFIG` and `NAME`.
    service: &'static str,
}

const NGINX: Proxy = Proxy {
    name: "nginx",
    package: "nginx-light",
    rows: [
        "nginx before axum, restarted",
        "nginx before axum, replaced",
    ],
    config: "\
worker_processes auto;
pid /run/NAME.pid;
error_log stderr;
events { worker_connections 4096; }
http {
    access_log off;
    server {
        listen 127.0.0.1:PORT;
        location / { proxy_pass http://127.0.0.1:BACKEND; }
    }
}
",
    service: "\
ExecStart=/usr/sbin/nginx -c CONFIG -g 'daemon off;'
ExecReload=/usr/sbin/nginx -c CONFIG -s reload
",
};

const HAPROXY: Proxy = Proxy {
    name: "haproxy",
    package: "haproxy",
    rows: [
        "HAProxy before axum, restarted",
        "HAProxy before axum, replaced",
    ],
    config: "\
defaults
    mode http
    timeout connect 5s
    timeout client 50s
    timeout server 50s
frontend http
    bind 127.0.0.1:PORT
    default_backend app
backend app
    server app 127.0.0.1:BACKEND
",
    service: "\
Type=notify
ExecStart=/usr/sbin/haproxy -Ws -f CONFIG -p /run/NAME.pid
ExecReload=/bin/sh -c 'kill -USR2 $MAINPID'
KillMode=mixed
",
};

impl Proxy {
    fn before_a_restart(&self, port: u16, backend: u16, command: &str) -> Server {
        let name = format!("{}-restarted", self.name);
        Server {
            name: self.rows[0],
            how: "`systemctl restart` of the backend",
            script: format!("systemctl restart {name}-app@{backend}.service"),
            ..self.server(&name, port, backend, command)
        }
    }

    /// The next backend on another port, then the proxy's reload; the old one stops a second later.
    fn before_a_replacement(&self, port: u16, backend: u16, command: &str) -> Server {
        let name = format!("{}-replaced", self.name);
        let config = config_path(&name);
        let sum = u32::from(backend) * 2 + 1;
        let script = format!(
            "old=$(sed -n 's/.*127.0.0.1:\\([0-9]*\\).*/\\1/p' {config} | tail -n 1)\n\
             new=$(({sum} - old))\n\
             systemctl start {name}-app@$new.service\n\
             sed -i \"s/127.0.0.1:$old/127.0.0.1:$new/\" {config}\n\
             systemctl reload {name}.service\n\
             sleep 1\n\
             systemctl stop {name}-app@$old.service"
        );
        Server {
            name: self.rows[1],
            how: "next backend on another port, reload of the proxy, a second later the end of the old one",
            script,
            ..self.server(&name, port, backend, command)
        }
    }

    fn server(&self, name: &str, port: u16, backend: u16, command: &str) -> Server {
        let config = self
            .config
            .replace("NAME", name)
            .replace("PORT", &port.to_string())
            .replace("BACKEND", &backend.to_string());
        let service = self
            .service
            .replace("NAME", name)
            .replace("CONFIG", &config_path(name));
        let app = format!("{NO_LIMIT}[Service]\nType=notify\nExecStart={command}\n");
        Server {
            name: "",
            how: "",
            address: format!("127.0.0.1:{port}"),
            script: String::new(),
            units: vec![
                (format!("{name}-app@.service"), app),
                (
                    format!("{name}.service"),
                    format!("{NO_LIMIT}[Service]\n{service}"),
                ),
            ],
            files: vec![(config_path(name), config)],
            start: vec![
                format!("{name}-app@{backend}.service"),
                format!("{name}.service"),
            ],
            replaces: true,
            needs: Some((self.name, self.package)),
        }
    }
}

fn config_path(name: &str) -> String {
    format!("/etc/bench/{name}.conf")
}
