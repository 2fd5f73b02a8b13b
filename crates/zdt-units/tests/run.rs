//! The supervisor with real processes: what a client meets while they come and go.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::zombie_processes,
    reason = "these tests are about processes, and their helpers are tests too"
)]

#[path = "run/parts.rs"]
mod parts;
#[path = "run/program.rs"]
mod program;
#[path = "run/store.rs"]
mod store;

use std::fs;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use zdt_units::host::supervisor::{
    Event, Events, Exit, Held, Launch, RestartError, Supervisor, WhyKilled,
};
use zdt_units::model::{Listen, Name, PathText, Socket, TcpAddress, Text, UnitName};
use zdt_units::probe::{Live, Load, Pattern, Report, Stream, run_live};

use self::parts::Part;

const PROGRAM: &str = env!("CARGO_BIN_EXE_zdt-units");

/// Longer than anything takes, even on a machine that does much else.
const LIMIT: Duration = Duration::from_secs(60);

async fn soon<T>(what: &str, wanted: impl Future<Output = T>) -> T {
    let waited = timeout(LIMIT, wanted).await;
    waited.unwrap_or_else(|_| panic!("{what} did not happen within {LIMIT:?}"))
}

/// Looks again and again, but not for ever.
async fn until(what: &str, mut found: impl FnMut() -> bool) {
    soon(what, async {
        while !found() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn socket(name: &str, port: u16, defer_accept: bool) -> Socket {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Socket {
        name: Name::parse(name).unwrap(),
        unit: UnitName::parse(&format!("test-{name}.socket")).unwrap(),
        listen: Listen::Tcp {
            addresses: vec![TcpAddress::One(address)],
            ipv6: None,
            defer_accept,
        },
        backlog: 4096,
    }
}

fn launch(program: &str, arguments: &[&str]) -> Launch {
    let mut launch = Launch::new(Name::parse("test").unwrap(), program);
    launch.arguments = arguments.iter().map(Into::into).collect();
    launch.helper = PROGRAM.into();
    launch
}

fn shell(script: &str) -> Launch {
    launch("/bin/sh", &["-c", script])
}

/// A running service and where it listens.
struct Running {
    supervisor: Supervisor,
    events: Events,
    address: SocketAddr,
}

fn start_on(sockets: &[Socket], launch: Launch) -> Running {
    let held = Held::bind(sockets).unwrap();
    let address = held.tcp().unwrap();
    let (supervisor, events) = Supervisor::start(launch, held).unwrap();
    Running {
        supervisor,
        events,
        address,
    }
}

fn start(launch: Launch) -> Running {
    start_on(&[socket("http", 0, true)], launch)
}

impl Running {
    async fn until_ready(&mut self) -> u32 {
        let ready = soon("a process that is ready", self.events.until_ready()).await;
        ready.expect("the service was not stopped")
    }

    async fn until(&mut self, what: &str, mut wanted: impl FnMut(&Event) -> bool) -> Event {
        soon(what, async {
            loop {
                let event = self.events.next().await;
                let event = event.unwrap_or_else(|| panic!("the events ended before {what}"));
                if wanted(&event) {
                    return event;
                }
            }
        })
        .await
    }

    async fn stop(&self) -> u8 {
        soon("the end of the service", self.supervisor.stop()).await
    }
}

/// Whether it runs; one that only waits to be reaped does not.
fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Written at once or not at all, so that a reader never finds a part of it.
fn write_script(file: &Path, text: &str) -> String {
    let file = file.display();
    format!("echo \"{text}\" > {file}.part; mv {file}.part {file}")
}

async fn read_when_there(file: &Path) -> String {
    until("a file of the process", || file.exists()).await;
    fs::read_to_string(file).unwrap().trim().to_owned()
}

fn streams() -> Vec<Stream> {
    let think = Duration::from_millis(20);
    let stream = |name: &str, rate, think, pattern| Stream {
        name: name.to_owned(),
        rate,
        think,
        pattern,
        ..Stream::default()
    };
    vec![
        stream("new", 300.0, Duration::ZERO, Pattern::New),
        stream("hesitant", 300.0, think, Pattern::New),
        stream(
            "kept",
            200.0,
            Duration::ZERO,
            Pattern::KeepAlive { connections: 16 },
        ),
    ]
}

const RESTARTS: usize = 10;

/// Restarts the demo's app again and again, and says what its clients met.
async fn restarts_under_load(arguments: &[&str], defer_accept: bool) -> Report {
    let sockets = [socket("http", 0, defer_accept)];
    let mut service = start_on(&sockets, launch(PROGRAM, arguments));
    service.until_ready().await;

    let load = Load {
        target: service.address.into(),
        streams: streams(),
    };
    let live = Live::new();
    let restarts = async {
        for _ in 0..RESTARTS {
            soon("some answers", live.until_ok(live.ok() + 100)).await;
            let restarted = soon("a restart", service.supervisor.restart()).await;
            let report = restarted.expect("the new process serves");
            assert!(!report.killed, "{report}");
        }
        soon("some answers", live.until_ok(live.ok() + 100)).await;
    };
    let report = run_live(&load, &live, restarts).await;
    assert_eq!(service.stop().await, 0);
    assert!(report.valid, "{report}");
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_restarts_lose_nothing_where_the_stock_recipe_does() {
    for defer_accept in [false, true] {
        let report = restarts_under_load(&["demo-app"], defer_accept).await;
        assert_eq!(report.lost(), 0, "{report}");
        println!("zdt, defer_accept {defer_accept}: {report}");
    }
    let stock = restarts_under_load(&["demo-app", "--stock"], false).await;
    println!("stock: {stock}");
    assert!(stock.lost() > 0, "the control lost nothing: {stock}");
}

#[tokio::test]
async fn a_process_is_told_what_it_was_given() {
    let directory = tempfile::tempdir().unwrap();
    let told = directory.path().join("told");
    let variables = "$$ $LISTEN_PID $LISTEN_FDS $LISTEN_FDNAMES $ZDT_GENERATION $ZDT_SERVICE \
        $ZDT_DRAIN_LIMIT $GIVEN $FROM_FILE watchdog=$WATCHDOG_USEC invocation=${#INVOCATION_ID} $(pwd) \
        $(ls -l /proc/$$/fd | grep -c socket:)";
    let file = directory.path().join("environment");
    fs::write(&file, "FROM_FILE='from file' # not a comment\n").unwrap();

    let mut launch = shell(&format!(
        "{}; exec sleep 1000",
        write_script(&told, variables)
    ));
    launch.environment = vec![("GIVEN".to_owned(), "given".to_owned())];
    launch.environment_files = vec![zdt_units::model::EnvironmentFile {
        path: PathText::parse(Text::literal(file.to_str().unwrap())).unwrap(),
        optional: false,
    }];
    launch.working_directory = Some("/".into());
    let sockets = [socket("http", 0, true), socket("admin", 0, false)];
    let mut service = start_on(&sockets, launch);
    let started = service.until("a start", |event| matches!(event, Event::Started { .. }));
    let Event::Started { pid, .. } = started.await else {
        unreachable!("the wait was for a start")
    };
    assert_eq!(
        read_when_there(&told).await,
        format!(
            "{pid} {pid} 2 http:admin 1 test 30s given from file # not a comment watchdog= invocation=32 / 2"
        )
    );
    // It ends by the signal, which is clean.
    assert_eq!(service.stop().await, 0);
    assert!(!is_alive(pid));
}

#[tokio::test]
async fn a_crash_loop_keeps_the_port_open_and_then_serves() {
    let directory = tempfile::tempdir().unwrap();
    let mended = directory.path().join("mended");
    let script = format!(
        "test -e {} || exit 3; exec {PROGRAM} demo-app",
        mended.display()
    );
    let mut broken = shell(&script);
    broken.restarts.pause = Duration::from_millis(10);
    let mut service = start(broken);

    let mut waiting = Vec::new();
    for _ in 0..4 {
        let crashed = |event: &Event| {
            matches!(
                event,
                Event::Exited {
                    exit: Exit::Code(3),
                    ..
                }
            )
        };
        service.until("a crash", crashed).await;
        waiting.push(TcpStream::connect(service.address).expect("the port is open"));
    }
    fs::write(&mended, "").unwrap();
    service.until_ready().await;
    for client in waiting {
        assert_eq!(parts::get(client, "/"), "hello\n");
    }
    assert_eq!(service.stop().await, 0);
    let refused = TcpStream::connect(service.address).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_restart_whose_program_is_broken_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let broken = directory.path().join("broken");
    let script = format!(
        "test -e {} && exit 3; exec {PROGRAM} demo-app",
        broken.display()
    );
    let mut service = start(shell(&script));
    service.until_ready().await;
    fs::write(&broken, "").unwrap();
    let failed = soon("a failed restart", service.supervisor.restart()).await;
    assert!(
        matches!(failed, Err(RestartError::Failed(why)) if why.ends_with("failed with 3 before it was ready"))
    );
    // A restart does not wait for the pause to end.
    fs::remove_file(&broken).unwrap();
    let restarted = soon("a restart", service.supervisor.restart())
        .await
        .unwrap();
    assert_eq!(restarted.old_pid, None);
    assert_eq!(service.stop().await, 0);
    let stopped = soon("an answer", service.supervisor.restart()).await;
    assert_eq!(stopped, Err(RestartError::Stopping));
}

#[tokio::test]
async fn only_the_main_process_is_heard() {
    let directory = tempfile::tempdir().unwrap();
    let told = directory.path().join("socket");
    let script = write_script(&told, "$NOTIFY_SOCKET");
    let mut service = start(shell(&format!("{script}; exec sleep 1000")));
    let notify_socket = read_when_there(&told).await;

    // This very process is no part of the service.
    let closed = parts::send_with_descriptor(Path::new(&notify_socket), "READY=1\nBARRIER=1");
    let stranger = service.until("a message", |event| matches!(event, Event::Stranger { .. }));
    let Event::Stranger { sender, text, .. } = stranger.await else {
        unreachable!("the wait was for a stranger")
    };
    assert_eq!(sender.unsigned_abs(), std::process::id());
    assert_eq!(text, "READY=1 BARRIER=1");
    parts::until_closed(&closed);

    assert_eq!(service.stop().await, 0);
    while let Some(event) = service.events.next().await {
        assert!(!matches!(event, Event::Ready { .. }), "{event}");
    }
    assert!(!Path::new(&notify_socket).parent().unwrap().exists());
}

#[tokio::test]
async fn a_process_that_ignores_sigterm_is_killed_at_the_limit() {
    let mut launch = Part::Deaf.launch();
    launch.stop_timeout = Duration::from_millis(200);
    let mut service = start(launch);
    let old = service.until_ready().await;
    let report = soon("a restart", service.supervisor.restart())
        .await
        .unwrap();
    assert!(
        report.killed && report.stop >= Duration::from_millis(200),
        "{report}"
    );
    assert_eq!(report.old_pid, Some(old));
    assert_eq!(service.stop().await, 128 + 9);
}

#[tokio::test]
async fn a_process_that_asks_for_time_may_take_longer() {
    let mut launch = Part::Slow.launch();
    launch.stop_timeout = Duration::from_millis(200);
    let mut service = start(launch);
    service.until_ready().await;
    let report = soon("a restart", service.supervisor.restart())
        .await
        .unwrap();
    assert!(!report.killed && report.stop >= parts::SLOW, "{report}");
    assert_eq!(report.status.as_deref(), Some("took its time"));
    assert_eq!(service.stop().await, 0);
}

#[tokio::test]
async fn a_process_that_is_not_ready_in_time_is_killed() {
    let mut launch = shell("exec sleep 1000");
    launch.start_timeout = Duration::from_millis(100);
    launch.restarts.pause = Duration::from_millis(10);
    let mut service = start(launch);
    for _ in 0..2 {
        let late = |event: &Event| {
            matches!(
                event,
                Event::Killed {
                    why: WhyKilled::Start(_),
                    ..
                }
            )
        };
        service.until("a process that was too late", late).await;
    }
    service.stop().await;
}

#[tokio::test]
async fn a_process_that_hangs_is_killed_by_the_watchdog() {
    let mut launch = Part::Deaf.launch();
    launch.watchdog = Some(Duration::from_millis(100));
    launch.restarts.pause = Duration::from_millis(10);
    let mut service = start(launch);
    let pid = service.until_ready().await;
    let hung = |event: &Event| {
        let why = WhyKilled::Watchdog(Duration::from_millis(100));
        *event == Event::Killed { pid, why }
    };
    service.until("the watchdog", hung).await;
    assert_ne!(service.until_ready().await, pid);
    service.supervisor.kill();
    assert_eq!(soon("the end", service.supervisor.ended()).await, 128 + 9);
}

#[tokio::test]
async fn a_main_process_may_hand_over_to_another() {
    let mut service = start(Part::Parent.launch());
    let main = |event: &Event| matches!(event, Event::MainProcess { .. });
    let Event::MainProcess { pid } = service.until("a main process", main).await else {
        unreachable!("the wait was for a main process")
    };
    assert_eq!(service.until_ready().await, pid);
    let report = soon("a restart", service.supervisor.restart())
        .await
        .unwrap();
    assert_eq!(report.old_pid, Some(pid));
    assert!(!report.killed && !is_alive(pid), "{report}");
    assert_eq!(service.stop().await, 0);
}

#[tokio::test]
async fn nothing_that_the_process_started_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let helper = directory.path().join("helper");
    let script = format!(
        "sleep 1000 & {}; exec {PROGRAM} demo-app",
        write_script(&helper, "$!")
    );
    let mut service = start(shell(&script));
    service.until_ready().await;
    let first: u32 = read_when_there(&helper).await.parse().unwrap();
    assert!(is_alive(first));
    fs::remove_file(&helper).unwrap();
    soon("a restart", service.supervisor.restart())
        .await
        .unwrap();
    until("the end of the first helper", || !is_alive(first)).await;
    soon("the word about it", async {
        while let Some(event) = service.events.next().await {
            if matches!(event, Event::LeftBehind { .. }) {
                return;
            }
        }
        panic!("nothing was said of the helper");
    })
    .await;
    let second: u32 = read_when_there(&helper).await.parse().unwrap();
    assert!(is_alive(second));
    assert_eq!(service.stop().await, 0);
    until("the end of the second helper", || !is_alive(second)).await;
}

#[tokio::test]
async fn a_service_that_nobody_holds_is_killed() {
    let mut service = start(launch(PROGRAM, &["demo-app"]));
    let pid = service.until_ready().await;
    drop(service.supervisor);
    let ended = |event: &Event| matches!(event, Event::Ended { .. });
    soon("the end", async {
        while let Some(event) = service.events.next().await {
            if ended(&event) {
                return;
            }
        }
    })
    .await;
    assert!(!is_alive(pid));
}

#[test]
fn addresses_that_cannot_be_bound_are_told_together() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let nowhere = Socket {
        listen: Listen::Unix {
            paths: vec![zdt_units::model::AbsolutePath::parse("/nowhere/x.sock").unwrap()],
            mode: 0o600,
            user: None,
            group: None,
        },
        ..socket("other", 0, false)
    };
    let errors = Held::bind(&[socket("http", port, true), nowhere]).unwrap_err();
    assert_eq!(
        errors.to_string(),
        format!(
            "failed to bind `127.0.0.1:{port}`: Address already in use (os error 98); stop the program that listens there (`ss -xtlnp` names it)\n\
             error: failed to bind `/nowhere/x.sock`: No such file or directory (os error 2); create its directory first"
        )
    );
}
