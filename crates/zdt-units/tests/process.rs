//! What a launcher does with real processes: starts them, reads them, kills them, takes them up again.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "these tests are about processes, and their helpers are tests too"
)]

#[path = "process/hooks.rs"]
mod hooks;
#[path = "process/output.rs"]
mod output;
#[path = "process/parts.rs"]
mod parts;
#[path = "process/reap.rs"]
mod reap;
#[path = "process/resume.rs"]
mod resume;
#[path = "process/users.rs"]
mod users;

use std::fs;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::{sleep, timeout};
use zdt_units::host::supervisor::output::{Output, Sink, Style};
use zdt_units::host::supervisor::process::Process;
use zdt_units::host::supervisor::start::{Start, StartError, Told, prepare};
use zdt_units::host::supervisor::{Exit, Held, Launch, Store};
use zdt_units::model::{Name, UnitName};

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

async fn read_when_there(file: &Path) -> String {
    until("a file of the process", || file.exists()).await;
    fs::read_to_string(file).unwrap().trim().to_owned()
}

/// Written at once or not at all, so that a reader never finds a part of it.
fn write_script(file: &Path, text: &str) -> String {
    let file = file.display();
    format!("echo \"{text}\" > {file}.part; mv {file}.part {file}")
}

/// Whether it runs; one that only waits to be reaped does not.
fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn launch(program: &str, arguments: &[&str]) -> Launch {
    let mut launch = Launch::new(Name::parse("shop").unwrap(), program);
    launch.arguments = arguments.iter().map(Into::into).collect();
    launch.helper = PROGRAM.into();
    launch
}

fn shell(script: &str) -> Launch {
    launch("/bin/sh", &["-c", script])
}

fn unit() -> UnitName {
    UnitName::parse("shop@2.service").unwrap()
}

/// What it prints is kept, and goes nowhere else.
fn quiet() -> Output {
    quiet_of(unit())
}

fn quiet_of(unit: UnitName) -> Output {
    let nowhere = fs::File::options().write(true).open("/dev/null").unwrap();
    let sink = Sink::prefixed(nowhere.into(), Style::default()).unwrap();
    Output::new(unit, 100, sink)
}

fn told(invocation: &str) -> Told<'_> {
    Told {
        generation: 7,
        invocation,
        number: 2,
        port: Some(4242),
        extra: &[],
    }
}

fn try_start(launch: &Launch, output: &Output) -> Result<Process, StartError> {
    let_through(prepare(launch, output)?, launch, output)
}

fn let_through(helper: Process, launch: &Launch, output: &Output) -> Result<Process, StartError> {
    let held = Held::bind(&[]).unwrap();
    let store = Store::new(0).unwrap();
    let invocation = helper.invocation().to_owned();
    Start {
        launch,
        held: &held,
        store: &store,
        notify_socket: Path::new("/nowhere"),
        told: told(&invocation),
        output,
    }
    .run(helper)
}

fn start(launch: &Launch, output: &Output) -> Process {
    try_start(launch, output).unwrap()
}

fn printed(output: &Output) -> Vec<String> {
    output.catch_up();
    let lines = output.tail(100);
    lines.into_iter().map(|line| line.text).collect()
}

#[tokio::test]
async fn a_process_is_told_who_it_is_and_nothing_of_what_is_above() {
    let above = [
        "INVOCATION_ID",
        "JOURNAL_STREAM",
        "CREDENTIALS_DIRECTORY",
        "ZDT_RELEASE",
    ];
    // Given to this test by a process that starts it again.
    if std::env::var_os("JOURNAL_STREAM").is_none() {
        let own = std::env::current_exe().unwrap();
        let name = "a_process_is_told_who_it_is_and_nothing_of_what_is_above";
        let mut again = std::process::Command::new(own);
        again.args(["--exact", name]);
        again.envs(above.map(|variable| (variable, "of another")));
        assert!(again.status().unwrap().success());
        return;
    }
    let output = quiet();
    let held = Held::bind(&[]).unwrap();
    let store = Store::new(0).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("environment");
    // It does not pass for another one.
    fs::write(&file, "INVOCATION_ID=faked\nFROM_FILE=yes\n").unwrap();
    let path = zdt_units::model::Text::literal(file.to_str().unwrap());
    let mut launch = shell(
        "echo $INVOCATION_ID $ZDT_GENERATION $ZDT_INSTANCE $ZDT_PORT $ZDT_INSTANCES $FROM_FILE \
         ${JOURNAL_STREAM-none} ${CREDENTIALS_DIRECTORY-none} ${ZDT_RELEASE-none}",
    );
    launch.environment_files = vec![zdt_units::model::EnvironmentFile {
        path: zdt_units::model::PathText::parse(path).unwrap(),
        optional: false,
    }];
    let extra = [("ZDT_INSTANCES".to_owned(), "3".to_owned())];
    let helper = prepare(&launch, &output).unwrap();
    let invocation = helper.invocation().to_owned();
    let start = Start {
        launch: &launch,
        held: &held,
        store: &store,
        notify_socket: Path::new("/nowhere"),
        told: Told {
            extra: &extra,
            ..told(&invocation)
        },
        output: &output,
    };
    let mut process = start.run(helper).unwrap();
    assert_eq!(soon("its end", process.exited()).await, Exit::Code(0));
    assert_eq!(
        printed(&output),
        [format!("{invocation} 7 2 4242 3 yes none none none")]
    );
}

#[tokio::test]
async fn what_the_helper_says_is_not_what_the_program_says() {
    let output = quiet();
    let check = async |launch: Launch, exit: i32, reason: Option<&str>| {
        let mut process = start(&launch, &output);
        assert_eq!(soon("its end", process.exited()).await, Exit::Code(exit));
        assert_eq!(process.not_run().as_deref(), reason);
    };
    check(shell("exit 127"), 127, None).await;
    check(shell("exit 126"), 126, None).await;
    check(
        launch("/nowhere/shop", &[]),
        127,
        Some("failed to run `/nowhere/shop`: No such file or directory (os error 2)"),
    )
    .await;
    check(
        launch("/etc/passwd", &[]),
        126,
        Some("failed to run `/etc/passwd`: Permission denied (os error 13)"),
    )
    .await;
}

#[tokio::test]
async fn an_end_is_told_as_it_was() {
    // As a launcher does: what is caught here is not ignored there, as a shell has it for what runs in the background.
    let _caught =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).unwrap();
    let output = quiet();
    let mut process = start(&shell("kill -s TERM $$"), &output);
    assert_eq!(soon("its end", process.exited()).await, Exit::Signal(15));
    // Again, and as often as one likes.
    assert_eq!(soon("its end", process.exited()).await, Exit::Signal(15));

    let mut process = start(&shell("exec sleep 1000"), &output);
    process.signal(Signal::SIGINT);
    assert_eq!(soon("its end", process.exited()).await, Exit::Signal(2));
    // A signal without a name.
    let mut process = start(&shell("kill -s RTMIN+3 $$"), &output);
    let number = nix::libc::SIGRTMIN() + 3;
    assert_eq!(
        soon("its end", process.exited()).await,
        Exit::Signal(number)
    );
}

#[tokio::test]
async fn a_group_is_killed_with_all_that_is_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let pids = directory.path().join("pids");
    let script = format!(
        "sh -c 'sleep 1000 & echo $! > {0}.one; wait' & until test -s {0}.one; do :; done; \
         echo $! $(cat {0}.one) > {0}.part; mv {0}.part {0}; exec sleep 1000",
        pids.display()
    );
    // Processes of one name clear away each other's cgroups before anything is in them.
    let output = quiet_of(UnitName::parse("group.service").unwrap());
    let mut process = start(&shell(&script), &output);
    let pids = read_when_there(&pids).await;
    let pids: Vec<u32> = pids.split(' ').map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(pids.len(), 2);
    // All that the script ran for a moment has ended then.
    let name = || fs::read_to_string(format!("/proc/{}/comm", process.main())).unwrap();
    until("the end of the script", || name() == "sleep\n").await;
    process.signal(Signal::SIGTERM);
    assert_eq!(soon("its end", process.exited()).await, Exit::Signal(15));
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    assert!(process.kill_group());
    until("the end of its children", || {
        !pids.iter().any(|pid| is_alive(*pid))
    })
    .await;
    assert!(!process.kill_group());
}

#[tokio::test]
async fn one_that_nobody_holds_is_killed_unless_it_outlives_us() {
    let output = quiet();
    let mut launch = shell("exec sleep 1000");
    let process = start(&launch, &output);
    let pid = process.main();
    drop(process);
    until("its end", || !is_alive(pid)).await;

    launch.outlives = true;
    let process = start(&launch, &output);
    let mark = process.mark();
    drop(process);
    let mut process = Process::resume(mark.clone()).unwrap();
    assert!(is_alive(process.main()));
    process.kill();
    assert_eq!(soon("its end", process.exited()).await, Exit::Signal(9));
    drop(process);
    // It was collected, so there is no such process any more.
    let gone = Process::resume(mark).unwrap_err();
    assert_eq!(gone.kind(), std::io::ErrorKind::NotFound);
}

#[tokio::test]
async fn a_helper_that_nobody_lets_through_becomes_nothing() {
    let output = quiet();
    let mut launch = shell("exec sleep 1000");
    // Even one that outlives us once it is a process: nobody has written it down.
    launch.outlives = true;
    let helper = prepare(&launch, &output).unwrap();
    let pid = helper.main();
    let name = || fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    until("that it is the helper", || name() == "zdt-units\n").await;
    drop(helper);
    until("its end", || !is_alive(pid)).await;
    assert_eq!(printed(&output), [""; 0]);
}

#[tokio::test]
async fn a_helper_that_is_gone_is_no_program_that_ran() {
    let output = quiet();
    let launch = shell("exit 0");
    let mut helper = prepare(&launch, &output).unwrap();
    helper.kill();
    assert_eq!(soon("its end", helper.exited()).await, Exit::Signal(9));
    assert!(helper.has_ended());
    // It is let through all the same, as when it ends at that very moment.
    let process = let_through(helper, &launch, &output).unwrap();
    assert_eq!(process.not_run(), None);
}

#[tokio::test]
async fn a_number_that_another_process_has_now_is_not_taken_up() {
    let output = quiet();
    let process = start(&shell("exec sleep 1000"), &output);
    let mut mark = process.mark();
    mark.start_time += 1;
    let other = Process::resume(mark).unwrap_err();
    assert_eq!(other.kind(), std::io::ErrorKind::NotFound);
}
