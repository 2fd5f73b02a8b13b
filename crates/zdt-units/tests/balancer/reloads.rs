//! Reloads of nginx, and requests on connections that its clients keep.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use zdt_units::probe::{Pattern, Stream};

use crate::bench::{LIMIT, under_load, until};
use crate::proxies::{Kind, Proxy};
use crate::{Site, app, nothing_is_lost};

/// A request is on its way on a connection that rests when the worker hears that it is to end.
pub(crate) fn crossed(_: Kind) {
    for kind in [Kind::Nginx, Kind::KeepingNginx] {
        let site = Site::start(kind, app);
        let mut kept = TcpStream::connect(&site.proxy.address).unwrap();
        kept.set_read_timeout(Some(LIMIT)).unwrap();
        let answer = asked(&mut kept).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(!answer.contains("Connection: close"), "{answer}");

        let before = workers(&site.proxy);
        signal(&before, Signal::SIGSTOP);
        until("workers that stand still", || {
            before.iter().all(|pid| stands_still(*pid))
        });
        kill(site.proxy.pid(), Signal::SIGHUP).unwrap();
        until("workers of the reload", || {
            workers(&site.proxy).len() == 2 * before.len()
        });
        // Their master tells them too; a signal is seen before anything that arrives.
        signal(&before, Signal::SIGQUIT);
        kept.write_all(REQUEST).unwrap();
        signal(&before, Signal::SIGCONT);
        let answer = read(&mut kept);
        println!("{kind:?}: {answer:?}");
        match kind {
            Kind::KeepingNginx => {
                let answer = answer.unwrap();
                assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
                assert!(answer.contains("Connection: close"), "{answer}");
            }
            _ => assert!(answer.is_none(), "the control was answered: {answer:?}"),
        }
    }
}

/// One after the other, while requests come on kept connections.
pub(crate) fn again_and_again(_: Kind) {
    let times = std::env::var("ZDT_BALANCER_RELOADS").map_or(5, |times| times.parse().unwrap());
    for kind in [Kind::Nginx, Kind::KeepingNginx] {
        let site = Site::start(kind, app);
        let load = Stream {
            name: "kept".to_owned(),
            rate: 1000.0,
            pattern: Pattern::KeepAlive { connections: 64 },
            ..Stream::default()
        };
        let report = under_load(&site.proxy.address, vec![load], || {
            for _ in 0..times {
                let before = workers(&site.proxy);
                kill(site.proxy.pid(), Signal::SIGHUP).unwrap();
                until("the end of the workers of before", || {
                    let now = workers(&site.proxy);
                    !now.is_empty() && before.iter().all(|pid| !now.contains(pid))
                });
            }
        });
        println!("{kind:?}: {times} reloads: {report}");
        nothing_is_lost(kind, &report);
    }
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";

fn asked(connection: &mut TcpStream) -> Option<String> {
    connection.write_all(REQUEST).unwrap();
    read(connection)
}

/// What comes in one piece; `None`: the connection was closed instead.
fn read(connection: &mut TcpStream) -> Option<String> {
    let mut answer = [0; 4096];
    match connection.read(&mut answer) {
        Ok(length @ 1..) => Some(String::from_utf8_lossy(&answer[..length]).into_owned()),
        Ok(0) => None,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
        Err(error) => panic!("{error}"),
    }
}

fn workers(proxy: &Proxy) -> Vec<Pid> {
    let master = proxy.pid();
    let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children")).unwrap();
    let pids = children.split_whitespace().map(|pid| pid.parse().unwrap());
    pids.map(Pid::from_raw).collect()
}

fn signal(workers: &[Pid], signal: Signal) {
    for pid in workers {
        kill(*pid, signal).unwrap();
    }
}

fn stands_still(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, after_name) = stat.rsplit_once(')').unwrap();
    after_name.trim_start().starts_with('T')
}
