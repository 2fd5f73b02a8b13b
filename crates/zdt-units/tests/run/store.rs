//! What processes leave with the supervisor for the next ones.

use std::fs;
use std::io::{IoSlice, IoSliceMut, Read, Write, pipe};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use nix::cmsg_space;
use nix::sys::signal::{Signal, raise};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr,
    recvmsg, send, sendmsg, socketpair,
};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use zdt_units::host::supervisor::{Event, Launch};

use super::parts::{send_with_descriptor, until_closed};
use super::{LIMIT, Running, launch, read_when_there, soon, start};

const ROLE: &str = "ZDT_TEST_ROLE";
const PLACE: &str = "ZDT_TEST_PLACE";
const QUEUE: &str = "zdt-handover";
const CLIENTS: usize = 20;

/// Which process of a service does what.
#[derive(Clone, Copy, Debug)]
enum Role {
    /// The first leaves its connections, the next knows nothing of it.
    Rollback,
    /// The first leaves its connections, the next takes them and says so.
    Upgrade,
    /// The first leaves all kinds of things and crashes.
    Careless,
}

impl Role {
    fn start(self, place: &Path) -> Running {
        start(self.launch(place))
    }

    fn launch(self, place: &Path) -> Launch {
        let own = std::env::current_exe().unwrap();
        let arguments = ["--exact", "store::play", "--nocapture"];
        let mut launch = launch(own.to_str().unwrap(), &arguments);
        launch.environment = vec![
            (ROLE.to_owned(), format!("{self:?}")),
            (PLACE.to_owned(), place.display().to_string()),
        ];
        launch
    }
}

/// No test, but what runs in the processes of [`Role::launch`].
#[test]
fn play() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(act(&role));
}

async fn act(role: &str) {
    let mut terminate = signal(SignalKind::terminate()).unwrap();
    let place = PathBuf::from(std::env::var_os(PLACE).unwrap());
    let variables = ["LISTEN_FDNAMES", "FDSTORE", "ZDT_HANDOVER"];
    let seen = variables.map(|name| std::env::var(name).unwrap_or_default());
    let generation = std::env::var("ZDT_GENERATION").unwrap();
    let file = place.join(&generation);
    fs::write(file.with_extension("part"), seen.join(" ")).unwrap();
    fs::rename(file.with_extension("part"), &file).unwrap();
    match (generation.as_str(), role) {
        ("1", "Careless") => careless(&place),
        ("1", _) => {
            let listener = ListenFd::from_env().take_tcp_listener(0).unwrap().unwrap();
            say(&[NotifyState::Ready], &[]);
            let clients: Vec<_> = (0..CLIENTS).map(|_| listener.accept().unwrap().0).collect();
            say(&[NotifyState::Status("all are there")], &[]);
            terminate.recv().await;
            leave(&clients);
        }
        (_, "Upgrade") => {
            take();
            let remove = [NotifyState::FdStoreRemove, NotifyState::FdName(QUEUE)];
            say(&remove, &[]);
            say(&[NotifyState::Ready], &[]);
            terminate.recv().await;
        }
        _ => {
            say(&[NotifyState::Ready], &[]);
            terminate.recv().await;
        }
    }
}

fn say(states: &[NotifyState<'_>], descriptors: &[&dyn AsFd]) {
    let descriptors: Vec<_> = descriptors.iter().map(|fd| fd.as_fd()).collect();
    sd_notify::notify_with_fds(states, &descriptors).unwrap();
}

fn leave(clients: &[TcpStream]) {
    let (family, kind) = (AddressFamily::Unix, SockType::SeqPacket);
    let (sender, receiver) = socketpair(family, kind, None, SockFlag::SOCK_CLOEXEC).unwrap();
    let raw: Vec<RawFd> = clients.iter().map(AsRawFd::as_raw_fd).collect();
    let bytes = [IoSlice::new(b"clients")];
    let control = [ControlMessage::ScmRights(&raw)];
    let queue = sender.as_raw_fd();
    sendmsg::<()>(queue, &bytes, &control, MsgFlags::empty(), None).unwrap();
    let keep = [
        NotifyState::FdStore,
        NotifyState::FdName(QUEUE),
        NotifyState::Custom("FDPOLL=0"),
    ];
    say(&keep, &[&receiver]);
}

/// Answers what is in the queue, which follows the one listening socket.
fn take() {
    let mut bytes = [0; 100];
    let mut bytes = [IoSliceMut::new(&mut bytes)];
    let mut space = cmsg_space!([RawFd; CLIENTS]);
    let queue = 4;
    let flags = MsgFlags::empty();
    let message = recvmsg::<UnixAddr>(queue, &mut bytes, Some(&mut space), flags).unwrap();
    for control in message.cmsgs().unwrap() {
        if let ControlMessageOwned::ScmRights(clients) = control {
            for client in clients {
                send(client, b"still here", MsgFlags::empty()).unwrap();
            }
        }
    }
}

fn careless(place: &Path) {
    let socket = std::env::var("NOTIFY_SOCKET").unwrap();
    fs::write(place.join("notify"), socket).unwrap();
    let (reader, writer) = pipe().unwrap();
    say(&[NotifyState::Custom("\u{1}=\n\n=FDSTORE=1")], &[&reader]);
    let wrong = [NotifyState::FdStore, NotifyState::FdName("a:b")];
    let kept = UnixStream::connect(place.join("peer")).unwrap();
    say(&wrong, &[&kept]);
    // Twice the same, and one whose other end will be gone.
    say(&wrong, &[&kept]);
    say(
        &[NotifyState::FdStore, NotifyState::FdName("gone")],
        &[&reader],
    );
    let many: Vec<UnixStream> = (0..MANY).map(|_| UnixStream::pair().unwrap().0).collect();
    let descriptors: Vec<&dyn AsFd> = many.iter().map(|fd| fd as &dyn AsFd).collect();
    let silent = [
        NotifyState::FdStore,
        NotifyState::FdName("many"),
        NotifyState::Custom("FDPOLL=0"),
    ];
    say(&silent, &descriptors);
    while !place.join("stranger").exists() {
        std::thread::yield_now();
    }
    drop(writer);
    raise(Signal::SIGKILL).unwrap();
}

const MANY: usize = 20;

/// Connects as many clients as the first process waits for.
async fn connect(service: &mut Running) -> Vec<TcpStream> {
    service.until_ready().await;
    (0..CLIENTS)
        .map(|_| {
            let mut client = TcpStream::connect(service.address).unwrap();
            client.set_read_timeout(Some(LIMIT)).unwrap();
            // The kernel hands a silent connection over late.
            client.write_all(b"x").unwrap();
            client
        })
        .collect()
}

#[tokio::test]
async fn connections_that_are_not_taken_are_closed() {
    let place = tempfile::tempdir().unwrap();
    let mut service = Role::Rollback.start(place.path());
    let clients = connect(&mut service).await;
    let restart = soon("a restart", service.supervisor.restart());
    let report = restart.await.unwrap();
    let untaken = |event: &Event| matches!(event, Event::Untaken { .. });
    assert_eq!(
        service.until("word of them", untaken).await,
        Event::Untaken {
            pid: report.new_pid,
            connections: CLIENTS
        }
    );
    for mut client in clients {
        // What it sent was read by nobody.
        let closed = client.read(&mut [0]);
        assert!(!matches!(closed, Ok(1..)), "{closed:?}");
    }
    let second = read_when_there(&place.path().join("2")).await;
    assert_eq!(second, "http:zdt-handover 16 1");
    // It was the last word on them.
    soon("a restart", service.supervisor.restart())
        .await
        .unwrap();
    assert_eq!(read_when_there(&place.path().join("3")).await, "http 16 1");
    assert_eq!(service.stop().await, 0);
}

#[tokio::test]
async fn connections_that_are_taken_go_on() {
    let place = tempfile::tempdir().unwrap();
    let mut service = Role::Upgrade.start(place.path());
    let clients = connect(&mut service).await;
    soon("a restart", service.supervisor.restart())
        .await
        .unwrap();
    for mut client in clients {
        let mut answer = [0; 10];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"still here");
    }
    let mut events = service.events;
    service.supervisor.stop().await;
    while let Some(event) = soon("the end", events.next()).await {
        assert!(!matches!(event, Event::Untaken { .. }), "{event}");
    }
}

#[tokio::test]
async fn what_is_left_outlives_a_crash_and_ends_with_the_service() {
    let place = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(place.path().join("peer")).unwrap();
    let mut service = Role::Careless.start(place.path());
    let accepted = tokio::task::spawn_blocking(move || listener.accept());
    let (mut peer, _) = soon("a connection", accepted).await.unwrap().unwrap();
    let notify = read_when_there(&place.path().join("notify")).await;
    let not_kept = |event: &Event| matches!(event, Event::NotKept { .. });
    assert_eq!(
        service.until("what had no room", not_kept).await,
        Event::NotKept {
            name: "many".to_owned(),
            descriptors: MANY - 14,
            most: 16,
        }
    );
    // Another process than the main one.
    let reader = send_with_descriptor(Path::new(&notify), "FDSTORE=1\nFDNAME=stranger");
    let stranger = |event: &Event| matches!(event, Event::Stranger { .. });
    service.until("word of the stranger", stranger).await;
    until_closed(&reader);
    fs::write(place.path().join("stranger"), "").unwrap();

    service.until_ready().await;
    let names = ["many"; 14].join(":");
    assert_eq!(
        read_when_there(&place.path().join("2")).await,
        format!("http:stored:{names} 16 1")
    );
    peer.write_all(b"x").unwrap();
    peer.set_nonblocking(true).unwrap();
    let open = peer.read(&mut [0]).unwrap_err();
    assert_eq!(open.kind(), std::io::ErrorKind::WouldBlock);
    peer.set_nonblocking(false).unwrap();
    peer.set_read_timeout(Some(LIMIT)).unwrap();
    assert_eq!(service.stop().await, 0);
    let closed = peer.read(&mut [0]);
    assert!(!matches!(closed, Ok(1..)), "{closed:?}");
}

#[tokio::test]
async fn without_hand_over_nothing_is_kept() {
    let place = tempfile::tempdir().unwrap();
    let mut launch = Role::Rollback.launch(place.path());
    launch.handover = false;
    let mut service = start(launch);
    let clients = connect(&mut service).await;
    soon("a restart", service.supervisor.restart())
        .await
        .unwrap();
    let first = read_when_there(&place.path().join("1")).await;
    let second = read_when_there(&place.path().join("2")).await;
    assert_eq!((first.as_str(), second.as_str()), ("http", "http"));
    for mut client in clients {
        let closed = client.read(&mut [0]);
        assert!(!matches!(closed, Ok(1..)), "{closed:?}");
    }
    assert_eq!(service.stop().await, 0);
}
