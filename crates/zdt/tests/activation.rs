//! What a process inherits and what it tells its manager, with real processes.
//!
//! Each test starts this very program again as the service: the environment
//! and the descriptors of a process can only be set from outside.
#![cfg(feature = "axum")]
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that starts processes and is one of them"
)]

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::{Command, Stdio};
use std::time::Duration;

use command_fds::{CommandFdExt as _, FdMapping};

const ROLE: &str = "ZDT_TEST_ROLE";

/// This program, which will run `role` and nothing else.
fn service(role: &str, fds: Vec<OwnedFd>, names: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "service_process",
            "--nocapture",
            "--test-threads=1",
        ])
        .env_clear()
        .env(ROLE, role)
        .stdout(Stdio::piped());
    if !fds.is_empty() {
        command
            .env("LISTEN_FDS", fds.len().to_string())
            .env("LISTEN_FDNAMES", names);
        let mappings = (3..)
            .zip(fds)
            .map(|(child_fd, parent_fd)| FdMapping {
                parent_fd,
                child_fd,
            })
            .collect();
        command.fd_mappings(mappings).unwrap();
    }
    command
}

/// What the service printed with `say`.
fn said(mut command: Command) -> Vec<String> {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .filter_map(|line| line.split_once("say: "))
        .map(|(_, said)| said.to_owned())
        .collect()
}

fn say(text: impl std::fmt::Display) {
    println!("\nsay: {text}");
}

/// Not a test of its own: the service that the others start.
#[test]
fn service_process() {
    match std::env::var(ROLE).as_deref() {
        Ok("main listener") => match zdt::listener() {
            Ok(listener) => say(format_args!(
                "{:?} {}",
                listener.name(),
                listener.sockets().len()
            )),
            Err(error) => say(error),
        },
        Ok("bind") => match zdt::listener_or("127.0.0.1:0") {
            Ok(listener) => say(format_args!("bound {}", listener.sockets().len())),
            Err(error) => say(error),
        },
        Ok("by name") => by_name(),
        Ok("serve") => serve(),
        _ => {}
    }
}

fn by_name() {
    let before = std::env::vars().count();
    let listeners = zdt::listeners().unwrap();
    say(listeners.names().join(" "));
    say(listeners.take("admin").unwrap().sockets().len());
    say(listeners.take("admin").unwrap_err());
    say(listeners.take_tcp("local").unwrap_err());
    say(listeners.take("beacon").unwrap_err());
    say(listeners.take_fds("beacon").len());
    say(listeners.take_unix("other").is_ok());
    // A mistake in the kind lost nothing: it can still be taken.
    for unclaimed in listeners.unclaimed() {
        say(format_args!(
            "unclaimed {}",
            unclaimed.split(' ').next().unwrap()
        ));
    }
    assert_eq!(
        std::env::vars().count(),
        before,
        "the environment was changed"
    );
    // A child of the service sees the variables and must not see the sockets.
    let links = Command::new("ls").args(["-l", "/proc/self/fd"]).output();
    let links = String::from_utf8_lossy(&links.unwrap().stdout).into_owned();
    say(format_args!(
        "child has {} sockets",
        links.matches("socket:").count()
    ));
}

fn serve() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let app = axum::Router::new().route(
            "/slow",
            axum::routing::post(|body: axum::body::Body| async {
                zdt::notify::status("asked").unwrap();
                axum::body::to_bytes(body, 1).await.unwrap();
                "slow"
            }),
        );
        say(zdt::serve(zdt::listener().unwrap(), app)
            .await
            .unwrap()
            .cut
            .is_nothing());
    });
}

fn tcp() -> OwnedFd {
    TcpListener::bind("127.0.0.1:0").unwrap().into()
}

#[test]
fn three_ways_to_have_no_listener_are_told_apart() {
    assert_eq!(
        said(service("main listener", vec![], "")),
        [
            "no listening socket was passed to this process (`LISTEN_FDS` is not set); start it \
             from a socket unit or with `zdt-units run`, or use `listener_or`"
        ]
    );

    let mut other = service("main listener", vec![tcp()], "http");
    other.env("LISTEN_PID", "1");
    let error = said(other).remove(0);
    let (before, rest) = error.split_once("but this is process ").unwrap();
    assert_eq!(before, "the listening sockets were passed to process 1, ");
    let (_, rest) = rest.split_once("(here the first descriptor is ").unwrap();
    assert!(
        rest.starts_with("a TCP socket listening on `127.0.0.1:"),
        "{rest}"
    );
    assert!(rest.ends_with("let it `exec` the program"), "{rest}");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connected = TcpStream::connect(address).unwrap();
    assert_eq!(
        said(service("main listener", vec![connected.into()], "http")),
        [format!(
            "inherited descriptor 3 (`http`) is a connection to `{address}`, not a listening \
             socket; a socket unit for this program needs `ListenStream=` and `Accept=no`"
        )]
    );
}

#[test]
fn the_main_listener_is_all_sockets_of_one_name() {
    let check = |fds: usize, names: &str, expected: &str| {
        let fds = (0..fds).map(|_| tcp()).collect();
        assert_eq!(said(service("main listener", fds, names)), [expected]);
    };
    check(1, "shop.socket", r#"Some("shop.socket") 1"#);
    check(1, "unknown", r#"Some("fd3") 1"#);
    check(2, "http:http", r#"Some("http") 2"#);
    check(3, "admin:http:health", r#"Some("http") 1"#);
    check(2, "health:web", r#"Some("web") 1"#);
    check(
        2,
        "admin:web",
        "several listeners were passed (`admin`, `web`) and none is called `http`; take each by \
         name with `listeners()`",
    );
}

#[test]
fn listeners_are_taken_by_name_once_and_what_is_left_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let unix = |name: &str| OwnedFd::from(UnixListener::bind(dir.path().join(name)).unwrap());
    let beacon = OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap());
    let fds = vec![tcp(), tcp(), unix("local"), beacon, tcp(), unix("other")];
    let names = "admin:admin:local:beacon:forgotten:other";
    let said = said(service("by name", fds, names));
    let path = dir.path().join("local");
    assert_eq!(
        said,
        [
            "admin local forgotten other",
            "2",
            "no listener named `admin` was passed, or it was taken before; left: `local`, \
             `forgotten`, `other`; the socket unit sets it with `FileDescriptorName=admin`",
            &format!("listener `local` is {}, not one TCP socket", path.display()),
            "inherited descriptor 6 (`beacon`) is a datagram socket; a socket unit for this \
             program needs `ListenStream=` and `Accept=no`",
            "1",
            "true",
            "unclaimed `forgotten`",
            "unclaimed `local`",
            "child has 0 sockets",
        ]
    );
}

#[test]
fn an_address_is_bound_only_where_nothing_was_meant_for_us() {
    assert_eq!(said(service("bind", vec![], "")), ["bound 1"]);

    // Left over from a parent that kept its sockets to itself.
    let mut stale = service("bind", vec![], "");
    stale.env("LISTEN_FDS", "1").env("LISTEN_PID", "1");
    assert_eq!(said(stale), ["bound 1"]);

    // A shell in between: the sockets are here, under its number.
    let mut wrapped = service("bind", vec![tcp()], "http");
    wrapped.env("LISTEN_PID", "1");
    assert!(said(wrapped)[0].starts_with("the listening sockets were passed to process 1"));

    // Other activators.
    let mut starter = service("main listener", vec![tcp()], "");
    starter
        .env_remove("LISTEN_FDS")
        .env("SERVER_STARTER_PORT", "127.0.0.1:80=3");
    assert_eq!(said(starter), [r#"Some("127.0.0.1:80") 1"#]);
}

/// A manager in a container may have no place for a socket file.
#[cfg(target_os = "linux")]
#[test]
fn a_manager_with_an_abstract_address_is_told() {
    use std::os::linux::net::SocketAddrExt as _;
    let name = format!("zdt-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let manager = UnixDatagram::bind_addr(&address).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut command = service("serve", vec![tcp()], "http");
    command.env("NOTIFY_SOCKET", format!("@{name}"));
    let mut child = command.spawn().unwrap();
    let mut bytes = [0; 4096];
    let mut told = String::new();
    while !told.contains("READY=1") {
        let length = manager.recv(&mut bytes).unwrap();
        told.push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_manager_is_told_every_step() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let hear = || {
        let mut bytes = [0; 4096];
        let length = manager.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length])
            .trim_end()
            .to_owned()
    };

    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let mut command = service("serve", vec![socket.into(), tcp()], "http:forgotten");
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "300000");
    let mut child = command.spawn().unwrap();
    let status = hear();
    assert!(
        status.starts_with(&format!(
            "STATUS=serving {address}; NOT serving `forgotten` ("
        )),
        "{status}"
    );
    assert_eq!(hear(), "READY=1");
    assert_eq!(hear(), "WATCHDOG=1");
    assert_eq!(hear(), "WATCHDOG=1");

    let hear_more = || {
        loop {
            let line = hear();
            if line != "WATCHDOG=1" {
                return line;
            }
        }
    };

    // A request that lacks its last byte until the drain has been seen at work.
    use std::io::{Read as _, Write as _};
    let mut client = TcpStream::connect(address).unwrap();
    client
        .write_all(b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
        .unwrap();
    assert_eq!(hear_more(), "STATUS=asked");
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(hear_more(), "STOPPING=1");
    assert_eq!(
        hear_more(),
        "STATUS=draining, still accepting: 1 request in flight, 0 upgraded, 1 connection open"
    );
    assert_eq!(hear_more(), "EXTEND_TIMEOUT_USEC=10000000");
    client.write_all(b".").unwrap();
    while !hear().starts_with("STATUS=drained") {}
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("slow"), "{answer}");
    assert!(child.wait().unwrap().success());
}
