//! WebSockets that outlive the process that they are connected to.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async};
use zdt_e2e::browser::Browser;
use zdt_e2e::client::Client;
use zdt_e2e::machine::Machine;

use super::{HTTP, count, install};

const CLIENTS: usize = 10;

/// Ten restarts, ten clients that talk and a browser that listens: each on the
/// connection that it began with, and each hears every message once, in order.
/// Without the hand-over all of them are sent away by the first restart.
pub(crate) fn a_chat_stays_connected_and_misses_nothing(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    install(machine, "chat")?;
    let browser = Browser::open(machine, "http://127.0.0.1/?nick=browser")?;
    assert!(browser.says()?.starts_with("1 connections, 0 messages"));
    let heard = conversation(machine, 10)?;
    println!("chat, 10 restarts: {heard:?}");
    let page = loop {
        let said = browser.says()?;
        if count::<usize>(&said, " messages")? + 50 > heard.messages / CLIENTS {
            break said;
        }
    };
    println!("chat, 10 restarts, browser: {page}");
    // How many there are is a matter of the machine; each client has heard some in each round.
    assert!(heard.messages >= 10 * CLIENTS, "{heard:?}");
    let lossless = Heard {
        messages: heard.messages,
        ..Heard::default()
    };
    assert_eq!(heard, lossless);
    assert!(page.starts_with("1 connections, ") && page.ends_with(" 0 missing, 0 twice"));

    let control = crate::builder().boot()?;
    control.write_file("/etc/chat.env", "ZDT_HANDOVER=0\n", 0o644)?;
    install(&control, "chat")?;
    // The page comes again by itself.
    let browser = Browser::open(&control, "http://127.0.0.1/?nick=browser")?;
    assert!(browser.says()?.starts_with("1 connections, 0 messages"));
    control.systemctl(&["restart", "chat.service"])?.ok()?;
    assert!(browser.says()?.starts_with("2 connections, 0 messages"));
    let heard = conversation(&control, 1)?;
    println!("chat without hand-over, 1 restart: {heard:?}");
    assert_eq!(heard.closed, CLIENTS, "{heard:?}");
    Ok(())
}

/// What all clients heard.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    messages: usize,
    missing: u64,
    twice: u64,
    /// Clients whose connection ended.
    closed: usize,
}

fn conversation(machine: &Machine, restarts: u32) -> Result<Heard, Box<dyn Error>> {
    let over = Arc::new(AtomicBool::new(false));
    let heard = thread::scope(|scope| {
        let clients = scope.spawn(|| machine.in_net(|| clients(&over)));
        let restarted = (0..restarts).try_for_each(|_| -> Result<(), Box<dyn Error>> {
            for _ in 0..200 {
                Client::tcp(machine, HTTP)?.get("/")?;
            }
            machine.systemctl(&["restart", "chat.service"])?.ok()?;
            Ok(())
        });
        over.store(true, Ordering::Relaxed);
        restarted?;
        let heard = clients.join().map_err(|_| "the clients panicked")??;
        Ok::<_, Box<dyn Error>>(heard?)
    })?;
    let mut all = Heard::default();
    for one in heard {
        all.messages += one.messages;
        all.missing += one.missing;
        all.twice += one.twice;
        all.closed += one.closed;
    }
    Ok(all)
}

fn clients(over: &Arc<AtomicBool>) -> io::Result<Vec<Heard>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut clients = JoinSet::new();
        for nick in 0..CLIENTS {
            let stream = TcpStream::connect(HTTP).await?;
            let url = format!("ws://{HTTP}/room?nick={nick}");
            let (socket, _) = client_async(url, stream).await.map_err(io::Error::other)?;
            clients.spawn(talk(socket, over.clone()));
        }
        Ok(clients.join_all().await)
    })
}

#[derive(Deserialize)]
struct Said {
    number: u64,
    from: String,
    text: String,
}

/// Says a number each 50 ms and listens to the others until all have said that
/// they are done.
async fn talk(mut socket: WebSocketStream<TcpStream>, over: Arc<AtomicBool>) -> Heard {
    let mut heard = Heard::default();
    let mut last = None;
    let mut by_others = HashMap::new();
    let mut done = 0;
    let mut next: u64 = 0;
    let mut pause = tokio::time::interval(Duration::from_millis(50));
    let mut says_more = true;
    while done < CLIENTS {
        tokio::select! {
            _ = pause.tick(), if says_more => {
                says_more = !over.load(Ordering::Relaxed);
                let said = match says_more {
                    true => say(&mut socket, next).await,
                    false => socket.send(Message::text("done")).await,
                };
                next += 1;
                if said.is_err() {
                    says_more = false;
                }
            }
            received = timeout(Duration::from_secs(10), socket.next()) => {
                // Otherwise it was told to come again, is gone, or is silent.
                let Ok(Some(Ok(Message::Text(text)))) = received else {
                    heard.closed = 1;
                    return heard;
                };
                let said: Said = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
                heard.messages += 1;
                follow(&mut heard, &mut last, said.number);
                match said.text.split(' ').next().unwrap_or_default().parse() {
                    // What the other one said, too, comes once and in its order.
                    Ok(number) => follow(&mut heard, by_others.entry(said.from).or_default(), number),
                    Err(_) => done += 1,
                }
            }
        }
    }
    heard
}

fn follow(heard: &mut Heard, last: &mut Option<u64>, number: u64) {
    if let Some(last) = *last {
        heard.missing += number.saturating_sub(last + 1);
        heard.twice += u64::from(number <= last);
    }
    *last = Some(number);
}

/// A number: some with more text than the kernel takes at once, some in two
/// frames.
async fn say(
    socket: &mut WebSocketStream<TcpStream>,
    number: u64,
) -> Result<(), tungstenite::Error> {
    let text = match number % 50 {
        7 => format!("{number} {}", "long ".repeat(4_000)),
        _ => number.to_string(),
    };
    if number % 5 == 3 {
        let (one, two) = text.split_at(1);
        let begin = Frame::message(one.to_owned(), OpCode::Data(Data::Text), false);
        socket.send(Message::Frame(begin)).await?;
        tokio::task::yield_now().await;
        let end = Frame::message(two.to_owned(), OpCode::Data(Data::Continue), true);
        return socket.send(Message::Frame(end)).await;
    }
    socket.send(Message::Text(Utf8Bytes::from(text))).await
}
