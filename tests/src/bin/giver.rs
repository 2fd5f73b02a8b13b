//! A release that gives its connections to the next process, and takes none itself: what a release that knows
//! hand-over leaves behind when it is rolled back.

use std::error::Error;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use listenfd::ListenFd;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair,
};
use sd_notify::NotifyState;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

/// The most descriptors that the kernel lets one message carry.
const MOST_DESCRIPTORS: usize = 253;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let inherited = ListenFd::from_env().take_tcp_listener(0)?;
    let listener = inherited.ok_or("it was given no socket")?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    sd_notify::notify(&[NotifyState::Ready])?;
    let mut open = Vec::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => open.extend(answered(accepted?.0).await?),
            _ = terminate.recv() => break,
        }
    }
    leave(&open)?;
    Ok(())
}

/// Answers one request, after which the connection is idle; `None` if its client sends none and goes.
async fn answered(mut connection: TcpStream) -> std::io::Result<Option<TcpStream>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut bytes = [0; 1024];
        let length = connection.read(&mut bytes).await?;
        if length == 0 {
            return Ok(None);
        }
        head.extend_from_slice(&bytes[..length]);
    }
    connection
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\ngiver")
        .await?;
    Ok(Some(connection))
}

/// Leaves a queue of `connections` with the manager.
fn leave(connections: &[TcpStream]) -> Result<(), Box<dyn Error>> {
    let (family, kind) = (AddressFamily::Unix, SockType::SeqPacket);
    let (sender, receiver) = socketpair(family, kind, None, SockFlag::SOCK_CLOEXEC)?;
    let raw: Vec<RawFd> = connections.iter().map(AsRawFd::as_raw_fd).collect();
    for some in raw.chunks(MOST_DESCRIPTORS) {
        let control = [ControlMessage::ScmRights(some)];
        let bytes = [IoSlice::new(b"connections")];
        sendmsg::<()>(
            sender.as_raw_fd(),
            &bytes,
            &control,
            MsgFlags::empty(),
            None,
        )?;
    }
    let name = "zdt-handover";
    let said = [
        NotifyState::FdStore,
        NotifyState::FdName(name),
        NotifyState::Custom("FDPOLL=0"),
    ];
    sd_notify::notify_with_fds(&said, &[receiver.as_fd()])?;
    Ok(())
}
