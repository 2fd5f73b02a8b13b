//! A plain tokio listener: what the runtime costs, without HTTP.

use listenfd::ListenFd;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::Result;

pub(super) async fn serve() -> Result<()> {
    let inherited = ListenFd::from_env()
        .take_tcp_listener(0)?
        .ok_or("no socket was passed")?;
    inherited.set_nonblocking(true)?;
    let listener = TcpListener::from_std(inherited)?;
    loop {
        let (mut client, _) = listener.accept().await?;
        tokio::spawn(async move {
            let mut request = [0; 4096];
            if client.read(&mut request).await? == 0 {
                return Ok(());
            }
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            client.write_all(answer).await
        });
    }
}
