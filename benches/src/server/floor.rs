//! As little as a socket-activated program can be: what systemd itself takes to restart a service.

use std::io::{Read as _, Write as _};

use listenfd::ListenFd;

use crate::Result;

/// One connection after the other, an answer that is always the same, no signal handler: `SIGTERM` ends it.
pub(super) fn serve() -> Result<()> {
    let listener = ListenFd::from_env()
        .take_tcp_listener(0)?
        .ok_or("no socket was passed")?;
    listener.set_nonblocking(false)?;
    sd_notify::notify(&[sd_notify::NotifyState::Ready])?;
    let body = format!("pid {}\n", std::process::id());
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut request = [0; 4096];
    loop {
        let (mut client, _) = listener.accept()?;
        // A client that went away is not this program's trouble.
        let _ = client
            .read(&mut request)
            .and_then(|_| client.write_all(answer.as_bytes()));
    }
}
