//! Who is restarted, how its users restart it, and in which units.

use std::path::Path;
use std::time::Duration;

use zdt_e2e::machine::Machine;

use super::{own, proxies};
use crate::{Result, units};

/// One row of the table.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    /// The restart, in words.
    pub(crate) how: &'static str,
    pub(crate) address: String,
    /// The restart, for a shell.
    pub(crate) script: String,
    pub(super) units: Vec<(String, String)>,
    pub(super) files: Vec<(String, String)>,
    pub(super) start: Vec<String>,
    /// Whether other processes answer afterwards.
    pub(super) replaces: bool,
    /// A program that the machine must have, and the package it comes from.
    pub(super) needs: Option<(&'static str, &'static str)>,
}

impl Server {
    pub(super) fn start(&self, machine: &Machine) -> Result<()> {
        if let Some((name, package)) = self.needs {
            machine.needs(name, package)?;
        }
        for (path, text) in &self.files {
            machine.write_file(path, text, 0o755)?;
        }
        units::start(machine, &self.units, &self.start)?;
        units::await_answer(machine, &self.address)
    }
}

/// All of them, each on ports of its own.
pub(super) fn all(start_up: Duration) -> Result<Vec<Server>> {
    let mut servers = own::all(8100, start_up)?;
    let start_up = format!("{}ms", start_up.as_millis());
    let app = |which: &str, listen: &str| {
        let listen = match listen {
            "" => String::new(),
            listen => format!(" --listen {listen}"),
        };
        units::server(&format!("{which} --start-up {start_up}{listen}"))
    };
    servers.extend([
        stock(8106, &app("stock", "")?),
        plain(8107, &app("stock", "127.0.0.1:8107")?),
        proxyd(8108, &app("stock", "127.0.0.1:9107")?),
        starter(8109, &app("stock", "")?),
        ecdysis(8110, &app("ecdysis", "127.0.0.1:8110")?),
        shellflip(8111, &app("shellflip", "")?),
        gunicorn(8112, &start_up),
    ]);
    let backend = app("stock", "127.0.0.1:%i")?;
    servers.extend(proxies::all(8120, &backend));
    Ok(servers)
}

pub(super) fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn socket(port: u16) -> String {
    format!("[Socket]\nListenStream=127.0.0.1:{port}\n")
}

/// Restarts of a benchmark come more often than systemd allows by default.
pub(super) const NO_LIMIT: &str = "[Unit]\nStartLimitIntervalSec=0\n";

fn unit(name: &str, service: &str) -> (String, String) {
    (
        format!("{name}.service"),
        format!("{NO_LIMIT}[Service]\n{service}\n"),
    )
}

fn stock(port: u16, command: &str) -> Server {
    Server {
        name: "`listenfd` and `with_graceful_shutdown`",
        how: "`systemctl restart`, socket activation",
        address: address(port),
        script: "systemctl restart stock.service".to_owned(),
        units: vec![
            ("stock.socket".to_owned(), socket(port)),
            unit("stock", &format!("ExecStart={command}")),
        ],
        files: Vec::new(),
        start: vec!["stock.socket".to_owned(), "stock.service".to_owned()],
        replaces: true,
        needs: None,
    }
}

fn plain(port: u16, command: &str) -> Server {
    Server {
        name: "axum that binds by itself",
        how: "`systemctl restart`, no socket activation",
        address: address(port),
        script: "systemctl restart plain.service".to_owned(),
        units: vec![unit("plain", &format!("ExecStart={command}"))],
        files: Vec::new(),
        start: vec!["plain.service".to_owned()],
        replaces: true,
        needs: None,
    }
}

fn proxyd(port: u16, command: &str) -> Server {
    Server {
        name: "`systemd-socket-proxyd` before axum",
        how: "`systemctl restart` of the backend",
        address: address(port),
        script: "systemctl restart proxyd-app.service".to_owned(),
        units: vec![
            ("proxyd.socket".to_owned(), socket(port)),
            unit(
                "proxyd",
                "Type=notify\nExecStart=/lib/systemd/systemd-socket-proxyd 127.0.0.1:9107",
            ),
            unit("proxyd-app", &format!("ExecStart={command}")),
        ],
        files: Vec::new(),
        start: vec!["proxyd-app.service".to_owned(), "proxyd.socket".to_owned()],
        replaces: true,
        needs: Some(("/lib/systemd/systemd-socket-proxyd", "systemd")),
    }
}

fn starter(port: u16, command: &str) -> Server {
    let files = "--pid-file=/run/starter.pid --status-file=/run/starter.status";
    // The port as descriptor 3 is what `sd_listen_fds(3)` finds.
    let script = format!("LISTEN_FDS=1 LISTEN_PID=$$ exec {command}\n");
    let main =
        format!("start_server --port=127.0.0.1:{port}=3 {files} -- /bin/sh /etc/bench/starter");
    Server {
        name: "Server::Starter before axum",
        how: "`start_server --restart`",
        address: address(port),
        script: format!("start_server --restart {files}"),
        units: vec![unit("starter", &format!("ExecStart=/usr/bin/{main}"))],
        files: vec![("/etc/bench/starter".to_owned(), script)],
        start: vec!["starter.service".to_owned()],
        replaces: true,
        needs: Some(("start_server", "libserver-starter-perl")),
    }
}

/// Returns when the processes that `old` printed before are gone, ten seconds later at most.
fn reload(unit: &str, old: &str) -> String {
    format!(
        "main=$(systemctl show --value --property MainPID {unit}.service)\n\
         old=$({old})\n\
         systemctl reload {unit}.service\n\
         for pid in $old; do for turn in $(seq 200); do\n\
         [ -e /proc/$pid ] || break\nsleep 0.05\ndone; done"
    )
}

fn ecdysis(port: u16, command: &str) -> Server {
    let settings = "NotifyAccess=all\nExecReload=/bin/sh -c 'kill -HUP $MAINPID'";
    Server {
        name: "`ecdysis` with axum",
        how: "`systemctl reload`: the process starts the next one",
        address: address(port),
        script: reload("ecdysis", "echo $main"),
        units: vec![unit(
            "ecdysis",
            &format!("Type=notify\nExecStart={command}\n{settings}"),
        )],
        files: Vec::new(),
        start: vec!["ecdysis.service".to_owned()],
        replaces: true,
        needs: None,
    }
}

fn shellflip(port: u16, command: &str) -> Server {
    let settings = "NotifyAccess=all\nExecReload=/bin/sh -c 'kill -USR1 $MAINPID'";
    Server {
        name: "`shellflip` with axum",
        how: "`systemctl reload`: the process starts the next one",
        address: address(port),
        script: reload("shellflip", "echo $main"),
        units: vec![
            ("shellflip.socket".to_owned(), socket(port)),
            unit(
                "shellflip",
                &format!("Type=notify\nExecStart={command}\n{settings}"),
            ),
        ],
        files: Vec::new(),
        start: vec![
            "shellflip.socket".to_owned(),
            "shellflip.service".to_owned(),
        ],
        replaces: true,
        needs: None,
    }
}

fn gunicorn(port: u16, start_up: &str) -> Server {
    let seconds = start_up.trim_end_matches("ms").parse().unwrap_or(0.0) / 1000.0;
    let app = format!(
        "import os, time\ntime.sleep({seconds})\n\
         def app(environ, start_response):\n    \
         body = b'pid %d\\n' % os.getpid()\n    \
         start_response('200 OK', [('Content-Length', str(len(body)))])\n    \
         return [body]\n"
    );
    // Where `.ci/run` puts it; elsewhere it is a program like others.
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/gunicorn/bin/gunicorn");
    let (program, needs) = match own.canonicalize() {
        Ok(_) => (own.display().to_string(), None),
        Err(_) => ("gunicorn".to_owned(), Some(("gunicorn", "gunicorn"))),
    };
    let flags =
        format!("-b 127.0.0.1:{port} -k gthread -w 2 --threads 32 --chdir /etc/bench app:app");
    Server {
        name: "gunicorn, 2 workers",
        how: "`systemctl reload`: SIGHUP replaces the workers",
        address: address(port),
        script: reload("gunicorn", "cat /proc/$main/task/$main/children"),
        units: vec![unit(
            "gunicorn",
            &format!(
                "ExecStart=/bin/sh -c 'exec {program} {flags}'\n\
                 ExecReload=/bin/sh -c 'kill -HUP $MAINPID'"
            ),
        )],
        files: vec![("/etc/bench/app.py".to_owned(), app)],
        start: vec!["gunicorn.service".to_owned()],
        replaces: true,
        needs,
    }
}
