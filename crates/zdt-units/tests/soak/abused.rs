//! Restarts under load, while others do with the control socket what nobody should.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::launcher::Launcher;
use super::restarts::{MIXED, rest};
use super::{alone, load, of};

/// As many connections as it serves at a time, and those that its processes have.
const MOST_DESCRIPTORS: usize = 64 + 32;

/// What as many half questions of the longest length take, twice: a buffer that grows is copied.
const MOST_MEMORY: u64 = 2 * 64 * 1024;

/// Clients at a time.
const CLIENTS: usize = 1000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_go_on_while_the_control_socket_is_abused() {
    let _alone = alone().await;
    let restarts = of(6, 40);
    let mut launcher = Launcher::start(&MIXED).await;
    for service in &launcher.services {
        launcher.done(&["restart", &service.name]).await;
    }
    let (before, memory_before) = rest(&launcher).await;
    let abuse = Abuse::start(&launcher.control());
    let (worst, reports) = load::during(&launcher.services, async |clients| {
        let mut worst = (0, 0);
        for service in launcher.services.iter().cycle().take(restarts) {
            clients.answered(20).await;
            launcher.done(&["restart", &service.name]).await;
            let descriptors = launcher.cost().descriptors.values().sum::<usize>();
            worst = (worst.0.max(descriptors), worst.1.max(launcher.rss_anon()));
        }
        clients.answered(20).await;
        worst
    })
    .await;
    let served = abuse.end();
    load::assert_nothing_lost(&reports);

    let (after, memory_after) = rest(&launcher).await;
    println!(
        "{restarts} restarts beside {served} clients of the control socket: {} requests, 0 lost\n\
         RssAnon of the launcher: {memory_before} kB, at most {} kB, then {memory_after} kB; at most {} descriptors",
        load::sent(&reports),
        worst.1,
        worst.0
    );
    assert_eq!(after, before);
    let rests: usize = before.descriptors.values().sum();
    assert!(
        worst.0 <= rests + MOST_DESCRIPTORS,
        "{} descriptors",
        worst.0
    );
    assert!(worst.1 <= memory_before + MOST_MEMORY, "{} kB", worst.1);
    launcher.shut_down().await;
}

/// Clients that come again and again until they are told to end.
struct Abuse {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Abuse {
    fn start(control: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let served = Arc::new(AtomicU64::new(0));
        let kinds: [fn(&Path) -> u64; 4] = [garbage, halves, crowd, deaf];
        let threads = kinds.map(|kind| {
            let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
            let control: PathBuf = control.to_owned();
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    served.fetch_add(kind(&control), Ordering::Relaxed);
                }
            })
        });
        Self {
            stop,
            served,
            threads: threads.into(),
        }
    }

    /// How many there were.
    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        self.served.load(Ordering::Relaxed)
    }
}

fn connect(control: &Path) -> UnixStream {
    let stream = UnixStream::connect(control).unwrap();
    stream.set_read_timeout(Some(super::LIMIT)).unwrap();
    stream.set_write_timeout(Some(super::LIMIT)).unwrap();
    stream
}

/// No question at all, and one that never ends.
fn garbage(control: &Path) -> u64 {
    let mut bytes = vec![0; 2 << 20];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = (at * 31 % 256) as u8;
    }
    for part in [
        &bytes[..7],
        &bytes[..4096],
        &b"{\"ask\":\"nothing\"}\n"[..],
        &b"\n"[..],
    ] {
        let mut stream = connect(control);
        let _ = stream.write_all(part);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
    }
    let mut stream = connect(control);
    bytes.retain(|byte| *byte != b'\n');
    let _ = stream.write_all(&bytes);
    5
}

/// Half a question, and then nothing.
fn halves(control: &Path) -> u64 {
    let mut streams: Vec<UnixStream> = (0..16).map(|_| connect(control)).collect();
    for stream in &mut streams {
        let _ = stream.write_all(b"{\"ask\":\"units\",");
    }
    thread::sleep(Duration::from_millis(500));
    16
}

/// A thousand at once, who ask what everybody may ask.
fn crowd(control: &Path) -> u64 {
    let mut streams: Vec<UnixStream> = (0..CLIENTS).map(|_| connect(control)).collect();
    for stream in &mut streams {
        let _ = stream.write_all(b"{\"ask\":\"units\"}\n");
    }
    for mut stream in streams {
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
    }
    CLIENTS as u64
}

/// Asks for everything that was ever printed, and does not read.
fn deaf(control: &Path) -> u64 {
    let mut streams: Vec<UnixStream> = (0..8).map(|_| connect(control)).collect();
    for stream in &mut streams {
        let _ = stream.write_all(b"{\"ask\":\"logs\",\"lines\":100000,\"follow\":true}\n");
    }
    thread::sleep(Duration::from_millis(500));
    8
}
