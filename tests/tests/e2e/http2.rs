//! HTTP/2 over restarts, with clients of others that repeat nothing.

use std::error::Error;
use std::fmt;
use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Request, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use zdt_e2e::client::Client;
use zdt_e2e::machine::Machine;

use crate::units;

const CONNECTIONS: usize = 10;
const STREAMS: usize = 5;

/// What became of the requests.
#[derive(Debug, Default)]
struct Tally {
    ok: u64,
    /// The connection was leaving, and the client said so before it sent.
    unsent: u64,
    /// Sent after the server's last word, and refused as never processed.
    refused: u64,
    /// Without an answer or an error for [`STUCK`].
    stuck: u64,
    /// Everything else.
    lost: Vec<String>,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            ok,
            unsent,
            refused,
            stuck,
            lost,
        } = self;
        write!(
            f,
            "{ok} answered, {unsent} not sent, {refused} refused, {stuck} stuck, {} lost",
            lost.len()
        )?;
        lost.first()
            .map_or(Ok(()), |first| write!(f, " (`{first}`)"))
    }
}

/// A bare hyper client repeats nothing by itself; it counts what others hide.
///
/// On two threads it may give a request to a connection that is told to leave
/// at that moment. It never sends that, and reports it like a refusal, so those
/// are shown and nothing is asserted of them.
pub(crate) fn a_bare_http2_client_is_refused_nothing(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    units::zdt(machine, units::ZDT)?;
    for threads in [1, 2] {
        let tally = hyper_over_restarts(machine, threads, 20)?;
        println!("hyper on {threads} threads, 20 restarts: {tally}");
        assert_eq!(tally.lost.len(), 0, "{tally}");
        assert!(threads > 1 || tally.refused + tally.stuck == 0, "{tally}");
    }
    Ok(())
}

fn hyper_over_restarts(
    machine: &Machine,
    threads: usize,
    restarts: u32,
) -> Result<Tally, Box<dyn Error>> {
    let stop = Arc::new(AtomicBool::new(false));
    let tally = Arc::new(Mutex::new(Tally::default()));
    thread::scope(|scope| {
        let clients = || machine.in_net(|| clients(threads, &stop, &tally));
        let clients = scope.spawn(clients);
        let restarted = (0..restarts).try_for_each(|_| {
            let before = lock(&tally).ok;
            units::restart(machine)?;
            // Each restart meets requests.
            machine.wait_until(Duration::from_secs(60), "more are answered", |_| {
                lock(&tally).ok > before
            })
        });
        stop.store(true, Ordering::Relaxed);
        clients.join().map_err(|_| "the clients panicked")???;
        Ok::<_, Box<dyn Error>>(restarted?)
    })?;
    let tally = std::mem::take(&mut *lock(&tally));
    Ok(tally)
}

/// Clients on a runtime whose threads are in the network of this one.
fn clients(
    threads: usize,
    stop: &Arc<AtomicBool>,
    tally: &Arc<Mutex<Tally>>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()?;
    let mut clients = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (stop, tally) = (stop.clone(), tally.clone());
        let client = async move {
            while !stop.load(Ordering::Relaxed) {
                connection(&stop, &tally).await?;
            }
            Ok::<_, std::io::Error>(())
        };
        clients.spawn_on(client, runtime.handle());
    }
    let ended: Result<Vec<()>, _> = runtime.block_on(clients.join_all()).into_iter().collect();
    ended.map(drop)
}

/// One connection until it leaves.
async fn connection(stop: &Arc<AtomicBool>, tally: &Arc<Mutex<Tally>>) -> std::io::Result<()> {
    let stream = TcpStream::connect(units::ADDRESS).await?;
    stream.set_nodelay(true)?;
    let (sender, serving) = match handshake(TokioExecutor::new(), TokioIo::new(stream)).await {
        Ok(shaken) => shaken,
        Err(error) => {
            lock(tally).lost.push(format!("{error:?}"));
            return Ok(());
        }
    };
    let mut tasks = JoinSet::new();
    for _ in 0..STREAMS {
        tasks.spawn(requests(sender.clone(), stop.clone(), tally.clone()));
    }
    drop(sender);
    // How the connection ends, the requests tell.
    tasks.spawn(async { _ = serving.await });
    tasks.join_all().await;
    Ok(())
}

/// A request that is not over by then never is. On several threads hyper's
/// client has been seen to wait for one, with its connection long closed.
const STUCK: Duration = Duration::from_secs(10);

/// One request after the other, until the connection says that it leaves.
async fn requests(
    mut sender: SendRequest<Empty<&'static [u8]>>,
    stop: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
) {
    while !stop.load(Ordering::Relaxed) {
        match timeout(STUCK, sender.ready()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                lock(&tally).stuck += 1;
                return;
            }
        }
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = Uri::from_static("http://127.0.0.1:8080/");
        let answered = async {
            let answer = sender.send_request(request).await?;
            answer.into_body().collect().await
        };
        let answered = timeout(STUCK, answered).await;
        let mut tally = lock(&tally);
        let Ok(answered) = answered else {
            tally.stuck += 1;
            return;
        };
        match answered {
            Ok(_) => tally.ok += 1,
            Err(error) if error.is_canceled() => tally.unsent += 1,
            Err(error) if refused(&error) => tally.refused += 1,
            Err(error) => tally.lost.push(format!("{error:?}")),
        }
    }
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the server said that it did not and will not process the request.
fn refused(error: &hyper::Error) -> bool {
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| {
        let reason = cause.reason();
        (cause.is_go_away() && reason == Some(h2::Reason::NO_ERROR))
            || reason == Some(h2::Reason::REFUSED_STREAM)
    })
}

/// `h2load` over HTTP/1.1 loses nothing.
///
/// Over HTTP/2 it counts as failed what it had queued when GOAWAY came and
/// never sent, with any server. So that is shown here, and nothing asserted:
/// the client above tells it from a refusal.
pub(crate) fn h2load_loses_nothing(machine: &Machine) -> Result<(), Box<dyn Error>> {
    machine.needs("h2load", "nghttp2-client")?;
    let control = crate::builder().boot()?;
    units::stock(&control)?;
    units::zdt(machine, units::ZDT)?;

    let both = [("stock", &control), ("zdt", machine)];
    for (name, machine) in both {
        let (done, lost) = h2load(machine, &["-m5", "-D1"], 10)?;
        println!("h2load on {name}, HTTP/2, 10 restarts: {lost} of {done} lost or not sent");
    }
    for (name, machine) in both {
        let (done, lost) = h2load(machine, &["--h1", "-n40000"], 5)?;
        println!("h2load on {name}, HTTP/1.1, 5 restarts: {lost} of {done} lost");
        assert_eq!(lost == 0, name == "zdt");
    }
    Ok(())
}

/// Runs `h2load` over each restart: the requests that it saw to
/// their end, and those that failed.
fn h2load(machine: &Machine, flags: &[&str], restarts: u32) -> Result<(u64, u64), Box<dyn Error>> {
    let url = format!("http://{}/", units::ADDRESS);
    let argv = [&["h2load", "-c10"], flags, &[&url]].concat();
    let (mut done, mut lost) = (0, 0);
    for _ in 0..restarts {
        let mut load = machine.spawn_in_net(&argv)?;
        Client::tcp(machine, units::ADDRESS)?.get("/slow?ms=300")?;
        units::restart(machine)?;
        let mut said = String::new();
        if let Some(mut stdout) = load.0.stdout.take() {
            stdout.read_to_string(&mut said)?;
        }
        let line = said
            .lines()
            .find_map(|line| line.strip_prefix("requests: "));
        let counts = line.ok_or_else(|| format!("`h2load` said `{said}`"))?;
        let count = |what| {
            let count = counts
                .split(", ")
                .find_map(|count| count.strip_suffix(what));
            count.unwrap_or_default().parse::<u64>()
        };
        done += count(" done")?;
        lost += count(" failed")?;
    }
    Ok((done, lost))
}
