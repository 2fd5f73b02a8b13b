//! A server taken out of rotation at a real HAProxy, nginx and Traefik, killed, and put back, while clients go on.
//!
//! They need `haproxy`, `nginx`, one of 1.27.4 or newer, as `.ci/run` gets it, and `traefik`. Where one is missing its
//! tests are ignored and say so; with `ZDT_BALANCERS=required` they fail instead. `ZDT_BALANCER_RELOADS=30` reloads as
//! often.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "starts launchers, balancers and commands, and looks at their files"
)]

#[path = "operate_launcher/bench.rs"]
#[expect(dead_code, reason = "others need more of it")]
mod bench;
#[path = "balancer/proxies.rs"]
mod proxies;
#[path = "balancer/reloads.rs"]
mod reloads;

use std::fs;
use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Completion, Trial};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use zdt_units::probe::{Pattern, Report, Stream};

use self::bench::{Bench, PROGRAM, free_port, is_alive, script, under_load, until};
use self::proxies::{Kind, Proxy};

/// A name, what it needs, and what to do.
type Test = (&'static str, Kind, fn(Kind));

const TESTS: [Test; 17] = [
    (
        "haproxy_a_drained_server_is_killed",
        Kind::Haproxy,
        drained_and_killed,
    ),
    (
        "nginx_a_drained_server_is_killed",
        Kind::KeepingNginx,
        drained_and_killed,
    ),
    (
        "nginx_of_the_system_a_drained_server_is_killed",
        Kind::Nginx,
        drained_and_killed,
    ),
    (
        "haproxy_deploys_go_around_the_balancer",
        Kind::Haproxy,
        deployed,
    ),
    (
        "nginx_deploys_go_around_the_balancer",
        Kind::KeepingNginx,
        deployed,
    ),
    (
        "haproxy_what_broke_off_is_put_back",
        Kind::Haproxy,
        broken_off,
    ),
    (
        "nginx_what_broke_off_is_put_back",
        Kind::KeepingNginx,
        broken_off,
    ),
    ("haproxy_the_last_server_stays", Kind::Haproxy, last),
    (
        "nginx_a_broken_file_stays_as_it_is",
        Kind::Nginx,
        broken_file,
    ),
    (
        "nginx_a_request_crosses_a_reload",
        Kind::KeepingNginx,
        reloads::crossed,
    ),
    (
        "nginx_reloads_again_and_again",
        Kind::KeepingNginx,
        reloads::again_and_again,
    ),
    ("haproxy_a_failed_put_back_is_loud", Kind::Haproxy, gone),
    (
        "traefik_a_drained_server_is_killed",
        Kind::Traefik,
        drained_and_killed,
    ),
    (
        "traefik_deploys_go_around_the_balancer",
        Kind::Traefik,
        deployed,
    ),
    (
        "traefik_what_broke_off_is_put_back",
        Kind::Traefik,
        broken_off,
    ),
    ("traefik_the_last_server_stays", Kind::Traefik, last),
    (
        "traefik_what_it_does_not_take_is_taken_back",
        Kind::Traefik,
        not_taken,
    ),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let required = std::env::var("ZDT_BALANCERS").is_ok_and(|wanted| wanted == "required");
    let trials = TESTS.map(|(name, kind, test)| {
        let missing = !is_there(kind.program());
        let reason = match kind {
            Kind::KeepingNginx => "needs the nginx of `.ci/run`".to_owned(),
            Kind::Haproxy | Kind::Nginx | Kind::Traefik => format!("needs {}", kind.program()),
        };
        let runner = move || match missing {
            false => {
                test(kind);
                Ok(Completion::Completed)
            }
            true if required => Err(reason.into()),
            true => Ok(Completion::ignored_with(reason)),
        };
        Trial::ignorable_test(name, runner)
    });
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}

fn is_there(program: &str) -> bool {
    let mut command = Command::new(program);
    command
        .arg(match program {
            "traefik" => "version",
            _ => "-v",
        })
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok()
}

/// A thousand requests a second: new connections, kept ones, and some that take a while. Fewer for Traefik, which takes
/// more of the processor that all of this shares.
fn streams(kind: Kind) -> Vec<Stream> {
    let (part, slow) = match kind {
        Kind::Haproxy | Kind::Nginx | Kind::KeepingNginx => (1.0, "/slow?ms=100"),
        // As often as there, so that some are in flight at each kill.
        Kind::Traefik => (0.2, "/slow?ms=500"),
    };
    let stream = |name: &str, rate: f64, path: &str, pattern| Stream {
        name: name.to_owned(),
        rate: rate * part,
        path: path.to_owned(),
        pattern,
        ..Stream::default()
    };
    let kept = Pattern::KeepAlive { connections: 16 };
    vec![
        stream("new", 450.0, "/", Pattern::New),
        // Always in flight, and sent again by nobody.
        Stream {
            method: "POST".to_owned(),
            ..stream("slow", 50.0 / part, slow, Pattern::New)
        },
        stream("kept", 500.0, "/", kept),
    ]
}

/// Two hosts, and what is in front of them.
struct Site {
    hosts: [Bench; 2],
    proxy: Proxy,
}

const NAMES: [&str; 2] = ["web1", "web2"];

impl Site {
    /// `more` of the service on each.
    fn start(kind: Kind, more: impl Fn(&Bench) -> String) -> Self {
        let addresses = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
        let proxy = Proxy::start(kind, [&addresses[0], &addresses[1]]);
        let hosts = [0, 1].map(|place| {
            let mut host = Bench::new();
            let text = format!(
                "{}[service.shop]\nlisten = \"{}\"\n{}{}",
                host.head(),
                addresses[place],
                proxy.key(NAMES[place]),
                more(&host)
            );
            host.write(&text);
            host.start(&[]);
            host
        });
        let site = Self { hosts, proxy };
        for host in &site.hosts {
            host.done(&["balancer", "restore", "shop"]);
        }
        site
    }

    fn under_load(&self, work: impl FnOnce()) -> Report {
        under_load(&self.proxy.address, streams(self.proxy.kind), work)
    }

    /// The state of `web1` as the balancer has it.
    fn state(&self) -> String {
        let shown = self.hosts[0].done(&["balancer", "show", "shop", "--json"]);
        let shown: serde_json::Value = serde_json::from_str(shown.trim()).unwrap();
        shown["server"]["state"].as_str().unwrap().to_owned()
    }

    /// Its process is gone at once, and another one serves.
    fn kill_app(&self) {
        let host = &self.hosts[0];
        let pid = host.pids("shop")[0];
        kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
        until("another process", || {
            !is_alive(pid) && host.pids("shop").first().is_some_and(|now| *now != pid)
        });
    }
}

/// Only by an nginx that closes connections, and only once.
fn warned(kind: Kind, said: &str) {
    let warnings = said.matches("warning: the reload of nginx/").count();
    let as_json = said.matches("\"warning\":\"the reload of nginx/").count();
    match kind {
        Kind::Nginx => {
            assert_eq!(warnings, 1, "{said}");
            assert_eq!(as_json, said.matches('{').count(), "{said}");
        }
        Kind::Haproxy | Kind::KeepingNginx | Kind::Traefik => {
            assert_eq!(warnings + as_json, 0, "{said}");
        }
    }
}

/// But what an nginx that was not told otherwise closes by its reload: kept connections of clients that rest.
fn nothing_is_lost(kind: Kind, report: &Report) {
    let by_reload = match kind {
        Kind::Nginx => report.total.outcomes.lost_on_kept(),
        Kind::Haproxy | Kind::KeepingNginx | Kind::Traefik => 0,
    };
    assert_eq!(report.lost(), by_reload, "{kind:?}: {report}");
}

fn app(_: &Bench) -> String {
    format!("exec = [\"{PROGRAM}\", \"demo-app\"]\n")
}

fn drained_and_killed(kind: Kind) {
    let site = Site::start(kind, app);
    let before = (kind != Kind::Haproxy).then(|| site.proxy.upstream());
    let report = site.under_load(|| {
        for _ in 0..3 {
            let host = &site.hosts[0];
            let drained = host.done(&["balancer", "drain", "shop", "--json"]);
            assert!(drained.contains("\"changed\":true"), "{drained}");
            assert!(!drained.contains("\"in_flight\":1"), "{drained}");
            warned(kind, &drained);
            assert_eq!(site.state(), "out");
            let again = host.done(&["balancer", "drain", "shop"]);
            assert!(again.contains("nothing was changed"), "{again}");
            site.kill_app();
            warned(kind, &host.done(&["balancer", "restore", "shop"]));
            assert_eq!(site.state(), "up");
        }
    });
    println!("{kind:?}: 3 x drained, killed, put back: {report}");
    nothing_is_lost(kind, &report);
    if let Some(before) = before {
        assert_eq!(site.proxy.upstream(), before);
    }
    // All that is in flight is where the kill is: of two servers the other one could have it.
    site.hosts[1].done(&["balancer", "drain", "shop"]);
    let control = site.under_load(|| site.kill_app());
    site.hosts[1].done(&["balancer", "restore", "shop"]);
    println!("{kind:?}: killed once without: {control}");
    assert!(control.lost() > 0, "the control lost nothing: {control}");
    // Out and in again, and told once.
    warned(kind, &site.hosts[0].done(&["restart", "shop"]));
}

/// With releases `v0`, which serves, `v1`, and `bad`, which says that it is ready and ends soon after.
fn released(host: &Bench) -> String {
    let root = host.path("releases");
    fs::create_dir_all(format!("{root}/v0")).unwrap();
    std::os::unix::fs::symlink("v0", format!("{root}/current")).unwrap();
    for (place, end) in [
        (format!("{root}/v0"), ""),
        (host.path("v1"), ""),
        (host.path("bad"), "(sleep 1; kill -9 $$) &"),
    ] {
        fs::create_dir_all(&place).unwrap();
        script(
            &format!("{place}/app"),
            &format!("{end}\nexec {PROGRAM} \"$@\""),
        );
    }
    format!(
        "exec = [\"{{{{release.path}}}}/app\", \"demo-app\"]\nrelease = {{ root = \"{root}\" }}\nbake = \"3s\"\n"
    )
}

fn deployed(kind: Kind) {
    let site = Site::start(kind, released);
    let host = &site.hosts[0];
    let report = site.under_load(|| {
        let from = host.path("v1");
        let said = host.done(&["deploy", "shop", "--from", &from, "--release", "v1"]);
        let place = |text: &str| {
            said.find(text)
                .unwrap_or_else(|| panic!("no {text}: {said}"))
        };
        assert!(
            place("out of rotation at") < place("restart `shop.service`"),
            "{said}"
        );
        assert!(
            place("confirm that") < place("back into rotation"),
            "{said}"
        );
        assert!(place("back into rotation") < place("stay up"), "{said}");
        warned(kind, &said);
        assert_eq!(site.state(), "up");
    });
    println!("{kind:?}: deployed: {report}");
    nothing_is_lost(kind, &report);

    // Whoever kills his own process loses what is in it: that is what the bake and the balancer are for.
    let bad = site.under_load(|| {
        let from = host.path("bad");
        let ran = host.run(&["deploy", "shop", "--from", &from, "--release", "bad"]);
        assert_eq!(ran.code, 6, "{}", ran.said);
        assert_eq!(site.state(), "up", "{}", ran.said);
    });
    println!("{kind:?}: deployed, killed in the bake and taken back: {bad}");

    let worse = host.path("worse");
    fs::create_dir(&worse).unwrap();
    script(&format!("{worse}/app"), "echo no such table >&2; exit 3");
    let report = site.under_load(|| {
        let ran = host.run(&["deploy", "shop", "--from", &worse, "--release", "worse"]);
        assert_eq!(ran.code, 6, "{}", ran.said);
        assert!(ran.said.contains("no such table"), "{}", ran.said);
        assert_eq!(site.state(), "up", "{}", ran.said);
    });
    println!("{kind:?}: a release that does not start was taken back: {report}");
    nothing_is_lost(kind, &report);
}

/// A program that starts only while there is a file `go`.
fn waits(host: &Bench) -> String {
    let (go, slow) = (host.path("go"), host.path("slow"));
    fs::write(&go, "").unwrap();
    script(
        &slow,
        &format!("while [ ! -e {go} ]; do sleep 0.02; done; exec {PROGRAM} demo-app"),
    );
    format!("exec = [\"{slow}\"]\n")
}

fn broken_off(kind: Kind) {
    let site = Site::start(kind, waits);
    let host = &site.hosts[0];
    let report = site.under_load(|| {
        fs::remove_file(host.path("go")).unwrap();
        let mut restart = host.spawn(&["restart", "shop"]);
        restart.until("restart `shop.service`");
        restart.kill();
        assert_eq!(site.state(), "out");
        let refused = host.run(&["restart", "shop"]);
        assert_eq!(refused.code, 4, "{}", refused.said);
        fs::write(host.path("go"), "").unwrap();
        let said = host.done(&["recover"]);
        assert!(said.contains("back into rotation"), "{said}");
        assert_eq!(site.state(), "up");
        // Whoever is out by somebody's hand stays so.
        host.done(&["balancer", "drain", "shop"]);
        let said = host.done(&["restart", "shop"]);
        assert!(
            said.contains("out of rotation already, and stays so"),
            "{said}"
        );
        assert_eq!(site.state(), "out");
        let found = host.done(&["doctor", "shop", "--rate", "1"]);
        assert!(found.contains("ZDT-D067"), "{found}");
        assert!(
            found.contains("`zdt-units balancer restore shop`"),
            "{found}"
        );
        host.done(&["stop", "shop"]);
        host.done(&["start", "shop"]);
        assert_eq!(site.state(), "up");
        let found = host.done(&["doctor", "shop", "--rate", "1"]);
        assert!(!found.contains("ZDT-D06"), "{found}");
    });
    println!("{kind:?}: killed half way and recovered: {report}");
    nothing_is_lost(kind, &report);
}

fn last(kind: Kind) {
    let site = Site::start(kind, app);
    let host = &site.hosts[0];
    site.hosts[1].done(&["balancer", "drain", "shop"]);
    let pids = host.pids("shop");
    let report = site.under_load(|| {
        for command in ["balancer drain shop", "restart shop", "stop shop"] {
            let words: Vec<&str> = command.split(' ').collect();
            let ran = host.run(&words);
            assert_eq!(ran.code, 4, "{}", ran.said);
            assert!(
                ran.said.contains("is the last server that is up"),
                "{}",
                ran.said
            );
        }
        assert_eq!(host.pids("shop"), pids);
        host.done(&["restart", "shop", "--keep-in-rotation"]);
        assert_ne!(host.pids("shop"), pids);
    });
    assert_eq!(report.lost(), 0, "{report}");
    host.done(&["balancer", "drain", "shop", "--last"]);
    assert_eq!(site.state(), "out");
}

fn broken_file(kind: Kind) {
    let site = Site::start(kind, app);
    let host = &site.hosts[0];
    let good = site.proxy.upstream();
    for (broken, told) in [
        (
            good.replace("web1\n", "web1\n    server_name x;\n"),
            "server_name",
        ),
        (
            good.replace("max_fails=0; # zdt: web1", "max_fails=0 # zdt: web1"),
            "line 3",
        ),
        (good.replace(" # zdt: web1", ""), "`web1`"),
    ] {
        assert_ne!(broken, good);
        fs::write(site.proxy.path("upstream"), &broken).unwrap();
        let pids = host.pids("shop");
        let report = site.under_load(|| {
            for words in [&["balancer", "drain", "shop"][..], &["restart", "shop"]] {
                let ran = host.run(words);
                assert_eq!(ran.code, 5, "{}", ran.said);
                assert!(ran.said.contains(told), "{told}: {}", ran.said);
            }
        });
        assert_eq!(report.lost(), 0, "{report}");
        assert_eq!(host.pids("shop"), pids);
        assert_eq!(site.proxy.upstream(), broken);
    }
}

/// Traefik goes on with the file of before, and says so in its log only.
fn not_taken(kind: Kind) {
    let site = Site::start(kind, app);
    let host = &site.hosts[0];
    let good = site.proxy.upstream();
    let pids = host.pids("shop");
    for (broken, told) in [
        (
            good.replace("service: shop\n", "service: shop\n      bogus: 1\n"),
            "Traefik still sends requests to `shop/web1` 3s after its file was changed",
        ),
        (
            good.replace("servers:\n", "servers:\n\t\n")
                .replace("http:\n", "http:\n\tx: 1\n"),
            "line 2: this line begins with a tab",
        ),
        (good.replace(" # zdt: web1", ""), "`web1`"),
    ] {
        assert_ne!(broken, good);
        site.proxy.replace(&broken);
        let report = site.under_load(|| {
            let ran = host.run(&["balancer", "drain", "shop", "--timeout", "3s"]);
            assert_eq!(ran.code, 5, "{}", ran.said);
            assert!(ran.said.contains(told), "{told}: {}", ran.said);
        });
        assert_eq!(report.lost(), 0, "{report}");
        assert_eq!(site.proxy.upstream(), broken);
        assert_eq!(host.pids("shop"), pids);
    }
    site.proxy.replace(&good);
    host.done(&["balancer", "drain", "shop"]);
    host.done(&["balancer", "restore", "shop"]);
    assert_eq!(site.proxy.upstream(), good);
}

fn gone(kind: Kind) {
    let site = Site::start(kind, waits);
    let host = &site.hosts[0];
    fs::remove_file(host.path("go")).unwrap();
    let mut restart = host.spawn(&["restart", "shop"]);
    restart.until("restart `shop.service`");
    drop(site.proxy);
    fs::write(host.path("go"), "").unwrap();
    restart.until("cannot be asked");
    restart.until("zdt-units balancer restore shop");
    assert_eq!(restart.ended(), Some(7));
    assert_eq!(host.pids("shop").len(), 1);
    // Nothing is begun that could not be ended.
    let ran = host.run(&["restart", "shop"]);
    assert_eq!(ran.code, 5, "{}", ran.said);
    let found = host.done(&["doctor", "shop", "--rate", "1"]);
    assert!(found.contains("ZDT-D068"), "{found}");
    assert!(found.contains("is HAProxy running"), "{found}");
}
