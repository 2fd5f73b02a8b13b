//! The test programs and the clients understand each other, before anything
//! is restarted.

use std::error::Error;
use std::io::ErrorKind;
use std::time::Duration;

use zdt_e2e::client::{Client, Message};
use zdt_e2e::machine::Machine;

use crate::units;

pub(crate) fn programs_answer(machine: &Machine) -> Result<(), Box<dyn Error>> {
    units::stock(machine)?;
    let connect = || Client::tcp(machine, units::ADDRESS);

    // One connection for everything that leaves it open.
    let mut client = connect()?;
    let pid = machine.show("app.service", "MainPID")?;
    assert_eq!(client.get("/")?.text(), format!("pid {pid}\n"));
    assert_eq!(client.get("/slow?ms=20")?.text(), format!("pid {pid}\n"));
    let pieces = client.get("/stream?ms=5&chunks=3")?;
    assert_eq!(pieces.text(), "chunk 0\nchunk 1\nchunk 2\n");
    assert_eq!(client.get("/large?mb=3")?.body.len(), 3 << 20);
    client.send_post_head("/upload", 100_000)?;
    client.send(vec![b'u'; 100_000])?;
    assert_eq!(client.answer()?.text(), "100000\n");

    let mut silent = connect()?;
    silent.set_limit(Duration::from_millis(50))?;
    let closed = silent.closes().map_err(|e| e.kind());
    assert_eq!(closed, Err(ErrorKind::WouldBlock));

    let mut half = connect()?;
    half.send("GET / HTTP/1.1\r\nho")?;
    half.send("st: app\r\n\r\n")?;
    assert_eq!(half.answer()?.status, 200);

    let mut unread = connect()?;
    unread.send_post_head("/ignore-body", 1_000_000)?;
    unread.send("only the first bytes")?;
    assert_eq!(unread.answer()?.text(), "ignored\n");

    let mut subscriber = connect()?;
    assert_eq!(subscriber.subscribe("/sse?ms=5")?.status, 200);
    assert_eq!(subscriber.event()?.as_deref(), Some("0"));
    assert_eq!(subscriber.event()?.as_deref(), Some("1"));

    let mut socket = connect()?;
    socket.upgrade("/ws")?;
    socket.send_text("echo")?;
    assert_eq!(socket.message()?, Message::Text("echo".to_owned()));

    machine.install(&[
        ("unix.socket", "[Socket]\nListenStream=/run/app.sock\n"),
        ("unix.service", "[Service]\nExecStart=/opt/zdt/bin/stock\n"),
    ])?;
    machine.systemctl(&["start", "unix.socket"])?.ok()?;
    let mut local = Client::unix(machine, "/run/app.sock")?;
    let answer = local.get("/")?.text();
    let pid = machine.show("unix.service", "MainPID")?;
    assert_eq!(answer, format!("pid {pid}\n"));
    Ok(())
}
