#![expect(
    clippy::disallowed_methods,
    reason = "launchers and clients of these tests are processes"
)]

mod abuse;
mod peers;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{self, Command, Stdio};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::super::protocol::Line;
use super::*;
use crate::host::launcher::connection::Connection;
use crate::model::UnitName;

const OWN: Access = Access {
    mode: 0o600,
    owner: None,
    group: None,
};

/// What the launcher of these tests is: it does at once what it is asked.
async fn serve(mut control: Control) {
    loop {
        let Asked {
            question, answers, ..
        } = control.next().await;
        match question {
            Question::Shutdown => {
                answers.send(Answer::Done);
                drop(answers);
                return control.finish().await;
            }
            Question::Logs { lines, follow, .. } => {
                tokio::spawn(async move {
                    for number in 0..lines {
                        if !answers.feed(numbered(number)).await {
                            return;
                        }
                    }
                    match follow {
                        true => answers.gone().await,
                        false => assert!(answers.send(Answer::Done)),
                    }
                });
            }
            _ => {
                answers.send(Answer::Done);
            }
        }
    }
}

fn numbered(number: usize) -> Answer {
    Answer::Line(Line {
        time: SystemTime::UNIX_EPOCH,
        unit: UnitName::parse("shop.service").unwrap(),
        pid: 1,
        error: false,
        text: format!("{number:06}"),
    })
}

fn logs(lines: usize, follow: bool) -> Question {
    Question::Logs {
        of: Vec::new(),
        lines,
        follow,
    }
}

fn stop() -> Question {
    Question::Stop {
        units: Vec::new(),
        held: false,
    }
}

/// A directory that everybody may enter, and the path of a control socket in it.
fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(directory.path(), everybody).unwrap();
    let path = directory.path().join("control.sock");
    (directory, path)
}

async fn ask(path: &Path, question: &Question) -> Result<Vec<Answer>, Failure> {
    Connection::to(path).ask(question).await?.all().await
}

/// What a client gets that sends these bytes and then says no more.
async fn answer_to(path: &Path, bytes: &[u8]) -> String {
    let (path, bytes) = (path.to_owned(), bytes.to_owned());
    let client = tokio::task::spawn_blocking(move || {
        let mut client = UnixStream::connect(path).unwrap();
        client.write_all(&bytes).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    });
    client.await.unwrap()
}

/// A launcher in a process of its own; ends with this.
struct Launcher {
    process: process::Child,
    path: PathBuf,
    _directory: TempDir,
}

impl Launcher {
    /// With these limits: connections, milliseconds for a question, milliseconds of a pause, open files.
    async fn start(connections: usize, asking: u64, pause: u64, open_files: u64) -> Self {
        let (directory, path) = place();
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact"])
            .arg("host::supervisor::control::tests::a_launcher_of_its_own")
            .env("ZDT_TEST_PATH", &path)
            .env(
                "ZDT_TEST_LIMITS",
                format!("{connections} {asking} {pause} {open_files}"),
            )
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let launcher = Self {
            process,
            path,
            _directory: directory,
        };
        loop {
            match UnixStream::connect(&launcher.path) {
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                Ok(mut client) => {
                    // When this is read to its end, the launcher has closed it.
                    client.write_all(b"?\n").unwrap();
                    client.read_to_end(&mut Vec::new()).unwrap();
                    return launcher;
                }
            }
        }
    }

    fn open_files(&self) -> usize {
        let files = fs::read_dir(format!("/proc/{}/fd", self.process.id()));
        files.unwrap().count()
    }

    /// How long its threads were on a processor, and how often.
    fn worked(&self) -> (Duration, u64) {
        let threads = fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let mut worked = (Duration::ZERO, 0);
        for thread in threads {
            let text = fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
            let mut fields = text.split_whitespace().map(|field| field.parse::<u64>());
            worked.0 += Duration::from_nanos(fields.next().unwrap().unwrap());
            worked.1 += fields.nth(1).unwrap().unwrap();
        }
        worked
    }

    /// The most memory that it had, in bytes.
    fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.unwrap().trim().strip_suffix(" kB").unwrap();
        peak.parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
#[ignore = "other tests start it in a process of its own"]
fn a_launcher_of_its_own() {
    let path = PathBuf::from(std::env::var_os("ZDT_TEST_PATH").unwrap());
    let limits = std::env::var("ZDT_TEST_LIMITS").unwrap();
    let limits: Vec<u64> = limits
        .split(' ')
        .map(|number| number.parse().unwrap())
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let control = Control::bind_within(
            &path,
            &OWN,
            Limits {
                connections: usize::try_from(limits[0]).unwrap(),
                asking: Duration::from_millis(limits[1]),
                stall: Duration::from_millis(200),
                pause: Duration::from_millis(limits[2]),
                ..Limits::default()
            },
        )
        .unwrap();
        let files = nix::sys::resource::Resource::RLIMIT_NOFILE;
        nix::sys::resource::setrlimit(files, limits[3], limits[3]).unwrap();
        serve(control).await;
    });
}

#[tokio::test]
async fn a_question_is_answered_and_the_file_goes_with_the_launcher() {
    let (_directory, path) = place();
    let control = Control::bind(&path, &OWN).unwrap();
    assert_eq!(control.path(), path);
    let mode = fs::metadata(&path).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let serving = tokio::spawn(serve(control));
    assert_eq!(ask(&path, &stop()).await.unwrap(), []);
    let lines = ask(&path, &logs(3, false)).await.unwrap();
    assert_eq!(lines, [numbered(0), numbered(1), numbered(2)]);
    // It has answered, though it ends.
    assert_eq!(ask(&path, &Question::Shutdown).await.unwrap(), []);
    serving.await.unwrap();
    assert!(!path.exists());
    let failure = ask(&path, &stop()).await.unwrap_err();
    assert_eq!(
        failure.reason,
        format!("no launcher is at work at `{}`", path.display())
    );
    assert_eq!(Connection::to(&path).about().await.unwrap(), None);
}

#[tokio::test]
async fn directories_are_as_open_as_the_socket() {
    let directory = tempfile::tempdir().unwrap();
    let group = Access { mode: 0o660, ..OWN };
    for (name, access, wanted) in [("own", &OWN, 0o700), ("group", &group, 0o755)] {
        let below = directory.path().join(name).join("launcher");
        let _control = Control::bind(&below.join("control.sock"), access).unwrap();
        assert_eq!(fs::metadata(below).unwrap().mode() & 0o777, wanted);
    }
}

/// Its file. Nobody ever listened: a listener would do so on in a process that is just being started by another test.
fn left_by_a_killed_launcher(path: &Path) {
    let socket = stream_socket().unwrap();
    bind(socket.as_raw_fd(), &UnixAddr::new(path).unwrap()).unwrap();
}

#[tokio::test]
async fn what_a_killed_launcher_left_is_replaced_and_a_live_one_is_not() {
    let (_directory, path) = place();
    left_by_a_killed_launcher(&path);
    let control = Control::bind(&path, &OWN).unwrap();
    let failure = Control::bind(&path, &OWN).unwrap_err();
    assert_eq!(
        failure.reason,
        format!(
            "a launcher (process {}) is at work there: it listens at `{}`",
            process::id(),
            path.display()
        )
    );
    assert_eq!(failure.effect, Effect::None);
    tokio::spawn(serve(control));
    assert_eq!(ask(&path, &stop()).await.unwrap(), []);
}

#[tokio::test]
async fn what_is_no_socket_stays() {
    let (_directory, path) = place();
    fs::write(&path, "mine").unwrap();
    let failure = Control::bind(&path, &OWN).unwrap_err();
    let shown = path.display();
    assert_eq!(
        failure.reason,
        format!("`{shown}` is there, and is no socket")
    );
    assert_eq!(fs::read(&path).unwrap(), b"mine");

    let path = path.with_file_name("x".repeat(120));
    let failure = Control::bind(&path, &OWN).unwrap_err();
    let (shown, length) = (path.display(), path.as_os_str().len());
    assert_eq!(
        failure.reason,
        format!("the path of a Unix socket has at most 107 bytes, `{shown}` has {length}")
    );
}

#[tokio::test]
async fn only_its_own_file_is_removed() {
    let (_directory, path) = place();
    let control = Control::bind(&path, &OWN).unwrap();
    fs::remove_file(&path).unwrap();
    let other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(control);
    assert!(path.exists());
    drop(other);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_launchers_that_start_at_once_one_is_at_work() {
    let (_directory, path) = place();
    for _ in 0..20 {
        left_by_a_killed_launcher(&path);
        let starts: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                tokio::spawn(async move { Control::bind(&path, &OWN) })
            })
            .collect();
        let mut at_work = Vec::new();
        for start in starts {
            at_work.extend(start.await.unwrap().ok());
        }
        assert_eq!(at_work.len(), 1);
        let control = at_work.remove(0);
        let serving = tokio::spawn(serve(control));
        assert_eq!(ask(&path, &Question::Shutdown).await.unwrap(), []);
        serving.await.unwrap();
    }
}

#[tokio::test]
async fn a_client_in_the_queue_is_answered_by_the_program_after_this_one() {
    let (_directory, path) = place();
    let mut control = Control::bind(&path, &OWN).unwrap();
    let fd = control.fd().try_clone_to_owned().unwrap();
    // Its file is the next one's.
    control.inode = 0;
    control.finish().await;
    let waits = tokio::spawn({
        let path = path.clone();
        async move { ask(&path, &stop()).await }
    });
    tokio::task::yield_now().await;
    let control = Control::resume(fd, &path, &OWN).unwrap();
    assert!(control.fd().as_raw_fd() > 2);
    tokio::spawn(serve(control));
    assert_eq!(waits.await.unwrap().unwrap(), []);
    assert_eq!(ask(&path, &stop()).await.unwrap(), []);
}

#[tokio::test]
async fn an_answer_that_never_came_is_told() {
    let (_directory, path) = place();
    let mut control = Control::bind(&path, &OWN).unwrap();
    let asks = tokio::spawn({
        let path = path.clone();
        async move { ask(&path, &stop()).await }
    });
    let asked = control.next().await;
    assert_eq!(asked.by.uid, nix::unistd::Uid::effective().as_raw());
    assert_eq!(asked.by.pid, process::id());
    drop(asked);
    let failure = asks.await.unwrap().unwrap_err();
    assert_eq!(failure.reason, "the launcher did not say how it ended");
    assert_eq!(failure.effect, Effect::Possible);
}

#[tokio::test]
async fn who_was_not_answered_is_told_that_the_launcher_ends() {
    let (_directory, path) = place();
    let mut control = Control::bind(&path, &OWN).unwrap();
    let mut follows = Connection::to(&path).ask(&logs(1, true)).await.unwrap();
    let followed = control.next().await;
    let mut waits = Connection::to(&path).ask(&stop()).await.unwrap();
    // It has been read, and nobody has taken it.
    while control.asked.is_empty() {
        tokio::task::yield_now().await;
    }
    let half = UnixStream::connect(&path).unwrap();
    (&half).write_all(b"{\"ask\":").unwrap();
    assert!(followed.answers.send(numbered(0)));
    control.finish().await;
    assert!(!followed.answers.send(numbered(1)));

    let ending = "the launcher is ending, or becoming another program";
    let told = |answer: Option<Answer>| match answer {
        Some(Answer::Failed(refusal)) => (refusal.reason, refusal.untouched),
        other => panic!("{other:?}"),
    };
    assert_eq!(follows.next().await, Some(numbered(0)));
    assert_eq!(told(follows.next().await), (ending.to_owned(), false));
    assert_eq!(told(waits.next().await), (ending.to_owned(), true));
}
