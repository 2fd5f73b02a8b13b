//! `zdt-units dashboard` as a unit beside a service: started by its socket, without privileges, and watched by `curl`.

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use zdt_e2e::machine::{Machine, Running};
use zdt_e2e::startup::Gate;

use crate::Test;

pub(crate) const TESTS: &[(&str, Test)] = &[(
    "dashboard::a_restart_is_watched_from_a_unit_of_its_own",
    a_restart_is_watched_from_a_unit_of_its_own,
)];

const UNITS: &str = "/opt/zdt/bin/units";

const CONFIG: &str = r#"
[service.app]
exec = ["/opt/zdt/bin/app"]
listen = "127.0.0.1:8080"
health = { listen = "127.0.0.1:19081" }
"#;

const PAGE: &str = "http://127.0.0.1:7077";

/// The units are those of the page that tells people how.
const DOCUMENT: &str = include_str!("../../../docs/dashboard.md");

const LIMIT: Duration = Duration::from_secs(30);

type Done = Result<(), Box<dyn Error>>;

fn a_restart_is_watched_from_a_unit_of_its_own(machine: &Machine) -> Done {
    machine.needs("curl", "curl")?;
    machine.write_file("/etc/zdt/zdt.toml", CONFIG, 0o644)?;
    machine.run(&[UNITS, "install"])?;
    machine
        .systemctl(&["start", "app.socket", "app-health.socket", "app.service"])?
        .ok()?;
    let group = "mkdir -p /var/log/zdt && chgrp -R adm /var/log/zdt && chmod 2750 /var/log/zdt";
    machine.run(&["sh", "-c", group])?.ok()?;
    let user = "useradd --system --no-create-home --shell /usr/sbin/nologin zdt-dashboard";
    assert!(DOCUMENT.contains(user));
    machine.run(&["sh", "-c", user])?.ok()?;
    let service = unit("zdt-dashboard.service")?.replace("/usr/local/bin/zdt-units", UNITS);
    machine.install(&[
        ("zdt-dashboard.socket", &unit("zdt-dashboard.socket")?),
        ("zdt-dashboard.service", &service),
    ])?;
    machine
        .systemctl(&["start", "zdt-dashboard.socket"])?
        .ok()?;
    assert_eq!(
        machine.show("zdt-dashboard.service", "ActiveState")?,
        "inactive"
    );

    let mut watching = Watching::start(machine)?;
    watching.until("looked", "systemd ")?;
    watching.until("services", "app")?;
    assert_eq!(
        machine.show("zdt-dashboard.service", "ActiveState")?,
        "active"
    );
    let pid = machine.show("zdt-dashboard.service", "MainPID")?;
    let user = machine
        .run(&["sh", "-c", &format!("stat -c %u /proc/{pid}")])?
        .ok()?;
    assert_ne!(user.stdout.trim(), "0");

    let gate = Gate::shut(machine, "app.service")?;
    let mut restart = machine
        .command(&[UNITS, "restart", "app"])
        .stderr(Stdio::null())
        .spawn()?;
    let step = watching.until("said", "restart app")?;
    let running = watching.until("now", "> running<")?;
    watching.until("services", "starting")?;
    assert!(
        restart.try_wait()?.is_none(),
        "it ended before it was let through: {running}"
    );
    gate.open()?;
    watching.until("said", "No operation is running.")?;
    let ended = watching.until("restarts", "restart app")?;
    assert!(restart.wait()?.success());
    println!("{}\n{}", text(&step), text(&ended));
    assert!(ended.contains(" done"), "{ended}");

    let page = machine
        .run(&["curl", "--silent", "--fail", &format!("{PAGE}/")])?
        .ok()?
        .stdout;
    for missing in ["cannot be read", "It could not look"] {
        assert!(!page.contains(missing), "{missing}: {}", text(&page));
    }
    // The one thing that only root sees, which `doctor` says too once it has looked.
    let mut unseen: Vec<&str> = page.split("could not be looked at").collect();
    unseen.pop();
    let is_known = |before: &&str| before.trim_end().ends_with("(<code>/proc/1/fd</code>)");
    assert!(
        !unseen.is_empty() && unseen.iter().all(is_known),
        "{}",
        text(&page)
    );
    let status = machine
        .run(&["curl", "--silent", "--fail", &format!("{PAGE}/status.json")])?
        .ok()?;
    assert!(
        status.stdout.contains(r#""name":"app""#),
        "{}",
        status.stdout
    );
    let other = [
        "curl",
        "--silent",
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code}",
        "--header",
        "Host: evil.example",
        PAGE,
    ];
    assert_eq!(machine.run(&other)?.ok()?.stdout, "421");

    // Its own restart ends the stream, and its socket is open all the time.
    machine
        .systemctl(&["restart", "zdt-dashboard.service"])?
        .ok()?;
    watching.ended()?;
    let mut again = Watching::start(machine)?;
    again.until("restarts", "restart app")?;
    assert_ne!(machine.show("zdt-dashboard.service", "MainPID")?, pid);
    assert_eq!(machine.show("zdt-dashboard.service", "Result")?, "success");
    let rated = machine.run(&[
        "systemd-analyze",
        "security",
        "--no-pager",
        "zdt-dashboard.service",
    ])?;
    println!("{}", rated.stdout.lines().last().unwrap_or_default());
    Ok(())
}

/// The text of a unit in the document.
fn unit(name: &str) -> Result<String, Box<dyn Error>> {
    let begin = format!("# /etc/systemd/system/{name}\n");
    let (_, rest) = DOCUMENT.split_once(&begin).ok_or(begin.clone())?;
    let (text, _) = rest.split_once("```").ok_or(begin)?;
    Ok(text.to_owned())
}

/// `curl` on `/events`, and what it says.
struct Watching {
    lines: Receiver<String>,
    /// What each part has in it now: a part is sent again only when it changes.
    parts: HashMap<String, String>,
    _curl: Running,
}

impl Watching {
    fn start(machine: &Machine) -> Result<Self, Box<dyn Error>> {
        let url = format!("{PAGE}/events");
        let mut curl = machine.spawn_in_net(&["curl", "--silent", "--no-buffer", &url])?;
        let stdout = curl.0.stdout.take().ok_or("no output")?;
        let (to, lines) = mpsc::channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines.into_iter().try_for_each(|line| to.send(line))
        });
        Ok(Self {
            lines,
            parts: HashMap::new(),
            _curl: curl,
        })
    }

    /// The content of part `id` as soon as it has `text` in it.
    fn until(&mut self, id: &str, text: &str) -> Result<String, Box<dyn Error>> {
        let until = Instant::now() + LIMIT;
        loop {
            let now = self.parts.get(id).filter(|html| html.contains(text));
            if let Some(html) = now {
                return Ok(html.clone());
            }
            self.event(until)
                .map_err(|_| format!("never `{text}` in `{id}`: {:?}", self.parts.get(id)))?;
        }
    }

    /// Reads one event to its end, which is an empty line.
    fn event(&mut self, until: Instant) -> Result<(), mpsc::RecvTimeoutError> {
        let (mut part, mut html) = (String::new(), String::new());
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left)?;
            if line.is_empty() {
                self.parts.insert(part, html);
                return Ok(());
            } else if let Some(id) = line.strip_prefix("event: ") {
                part = id.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                html.push_str(data);
            }
        }
    }

    fn ended(&self) -> Done {
        loop {
            match self.lines.recv_timeout(LIMIT) {
                Ok(_) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Without the elements.
fn text(html: &str) -> String {
    let parts = html
        .split('<')
        .map(|part| part.split_once('>').map_or(part, |(_, text)| text));
    let words = parts.filter(|part| !part.trim().is_empty());
    words.collect::<Vec<_>>().join(" ")
}
