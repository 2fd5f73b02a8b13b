//! The service, and what stands in for its manager: the readiness protocol and
//! the descriptor store, as systemd has them.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt as _, FdMapping};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tempfile::TempDir;

/// Where the service writes down what it saw; its presence makes a service of
/// this program.
pub(crate) const LOG: &str = "ZDT_TEST_LOG";

const LIMIT: Duration = Duration::from_secs(20);

pub(crate) struct Service {
    directory: TempDir,
    socket: TcpListener,
    manager: Manager,
    child: Child,
}

impl Service {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut manager = Manager::new(&directory);
        std::fs::write(directory.path().join("log"), "").unwrap();
        let child = manager.start(&directory, &socket);
        Self {
            directory,
            socket,
            manager,
            child,
        }
    }

    /// SIGTERM, the end, and the next process, which is ready on return.
    pub(crate) fn restart(&mut self) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        let child = &mut self.child;
        self.manager.listen_until("the old process ends", |_| {
            child.try_wait().unwrap().is_some()
        });
        self.child = self.manager.start(&self.directory, &self.socket);
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// How many connections the last process took over.
    pub(crate) fn took_over(&self) -> u32 {
        self.manager.took_over
    }

    /// The requests that reached the app.
    pub(crate) fn seen(&self) -> Vec<u64> {
        let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap();
        log.lines().map(|id| id.parse().unwrap()).collect()
    }

    pub(crate) fn forget(&self) {
        // Truncated in place: the service has it open.
        std::fs::write(self.directory.path().join("log"), "").unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Fails when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Manager {
    socket: UnixDatagram,
    /// By name, as the next process gets them.
    store: Vec<(String, OwnedFd)>,
    ready: bool,
    took_over: u32,
}

impl Manager {
    fn new(directory: &TempDir) -> Self {
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        Self {
            socket,
            store: Vec::new(),
            ready: false,
            took_over: 0,
        }
    }

    fn start(&mut self, directory: &TempDir, socket: &TcpListener) -> Child {
        let mut names = vec!["http"];
        let mut fds: Vec<OwnedFd> = vec![socket.try_clone().unwrap().into()];
        for (name, fd) in &self.store {
            names.push(name);
            fds.push(fd.try_clone().unwrap());
        }
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "service_process", "--test-threads=1"])
            .env_clear()
            .env(LOG, directory.path().join("log"))
            .env("NOTIFY_SOCKET", directory.path().join("notify"))
            .env("ZDT_HANDOVER", "1")
            .env("LISTEN_FDS", fds.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .stdout(Stdio::null());
        let numbered = (3..).zip(fds);
        let mappings = numbered.map(|(child_fd, parent_fd)| FdMapping {
            parent_fd,
            child_fd,
        });
        command.fd_mappings(mappings.collect()).unwrap();
        let child = command.spawn().unwrap();
        self.ready = false;
        self.took_over = 0;
        self.listen_until("the new process is ready", |manager| manager.ready);
        child
    }

    fn listen_until(&mut self, what: &str, mut reached: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + LIMIT;
        loop {
            // What was said before the end counts.
            while self.listen() {}
            if reached(self) {
                while self.listen() {}
                return;
            }
            assert!(Instant::now() < deadline, "{what}: not within {LIMIT:?}");
        }
    }

    /// Takes one message, if there is one within a millisecond.
    fn listen(&mut self) -> bool {
        let mut text = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut text)];
        let Ok(received) = recvmsg(&self.socket, &mut parts, &mut control, RecvFlags::empty())
        else {
            return false;
        };
        let fds = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        });
        let fds: Vec<OwnedFd> = fds.flatten().collect();
        self.heed(&String::from_utf8_lossy(&text[..received.bytes]), fds);
        true
    }

    fn heed(&mut self, text: &str, fds: Vec<OwnedFd>) {
        let has = |line: &str| text.lines().any(|it| it == line);
        let value = |name: &str| {
            let mut values = text.lines().filter_map(|line| line.split_once('='));
            values.find(|(it, _)| *it == name).map(|(_, value)| value)
        };
        if has("FDSTORE=1") {
            let name = value("FDNAME").unwrap_or("stored");
            let named = fds.into_iter().map(|fd| (name.to_owned(), fd));
            self.store.extend(named);
        } else if has("FDSTOREREMOVE=1") {
            self.store
                .retain(|(name, _)| Some(name.as_str()) != value("FDNAME"));
        }
        // `BARRIER=1` is answered by the close of its descriptor, above.
        self.ready |= has("READY=1");
        if let Some(status) = value("STATUS")
            && let Some((_, took)) = status.split_once("took over ")
        {
            self.took_over = took.split(' ').next().unwrap().parse().unwrap();
        }
    }
}
