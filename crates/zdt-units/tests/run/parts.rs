//! The parts that a test's own binary plays as the process of a service, and
//! the tools to talk with one.

use std::io::{self, IoSlice, PipeReader, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use zdt_units::host::supervisor::Launch;

use super::{LIMIT, launch};

const VARIABLE: &str = "ZDT_TEST_PART";

/// How long [`Part::Slow`] takes to end.
pub(super) const SLOW: Duration = Duration::from_millis(600);

#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    /// Is ready, and does nothing at `SIGTERM`.
    Deaf,
    /// Asks for more time at `SIGTERM`, and takes it.
    Slow,
    /// Starts a child and makes it the main process.
    Parent,
}

/// What [`Part::Parent`] starts; it ends at `SIGTERM`.
const CHILD: &str = "Child";

impl Part {
    pub(super) fn launch(self) -> Launch {
        let own = std::env::current_exe().unwrap();
        let arguments = ["--exact", "parts::play", "--nocapture"];
        let mut launch = launch(own.to_str().unwrap(), &arguments);
        launch.environment = vec![(VARIABLE.to_owned(), format!("{self:?}"))];
        launch
    }
}

/// No test, but what runs in the processes of [`Part::launch`].
#[test]
fn play() {
    let Ok(part) = std::env::var(VARIABLE) else {
        return;
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(act(&part));
}

async fn act(part: &str) {
    // From here on the signal ends no process of this test's own.
    let mut terminate = signal(SignalKind::terminate()).unwrap();
    match part {
        "Deaf" => {
            zdt::notify::ready().unwrap();
            std::future::pending().await
        }
        "Slow" => {
            zdt::notify::ready().unwrap();
            terminate.recv().await;
            zdt::notify::extend_timeout(Duration::from_secs(50)).unwrap();
            sleep(SLOW).await;
            zdt::notify::status("took its time").unwrap();
        }
        "Parent" => {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(std::env::args_os().skip(1));
            let child = command.env(VARIABLE, CHILD).spawn().unwrap();
            zdt::notify::main_pid_ready(child.id()).unwrap();
        }
        _ => {
            terminate.recv().await;
        }
    }
}

/// Sends a message with a descriptor; its other end is returned.
pub(super) fn send_with_descriptor(to: &Path, message: &str) -> PipeReader {
    let (reader, writer) = io::pipe().unwrap();
    let socket = UnixDatagram::unbound().unwrap();
    socket.connect(to).unwrap();
    sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(message.as_bytes())],
        &[ControlMessage::ScmRights(&[writer.as_raw_fd()])],
        MsgFlags::empty(),
        None,
    )
    .unwrap();
    reader
}

/// Waits until nobody has the writing end any more.
pub(super) fn until_closed(reader: &PipeReader) {
    let mut watched = [PollFd::new(reader.as_fd(), PollFlags::POLLHUP)];
    let limit = u16::try_from(LIMIT.as_millis()).unwrap();
    assert_eq!(poll(&mut watched, limit).unwrap(), 1, "it stays open");
}

/// Asks on a connection that is open already.
pub(super) fn get(mut client: TcpStream, path: &str) -> String {
    client.set_read_timeout(Some(LIMIT)).unwrap();
    write!(client, "GET {path} HTTP/1.0\r\nHost: test\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.0 200 OK"), "{answer}");
    body.to_owned()
}
