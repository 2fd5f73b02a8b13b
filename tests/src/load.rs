//! Load on a machine, by the strict prober: a process in the machine's
//! network, outside everything that the restart may touch.

use std::io::{self, BufRead as _, BufReader, Read};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use zdt_units::probe::Report;

use crate::machine::{Error, Machine, Output, Running, wait_until};

/// Requests that are being sent.
#[derive(Debug)]
pub struct Load {
    command: String,
    prober: Running,
    stdout: JoinHandle<io::Result<String>>,
    stderr: JoinHandle<io::Result<String>>,
}

impl Load {
    /// Starts `prober`, a program that is `zdt-units`, with a target and flags
    /// of `zdt-units probe`. Returns when the first request was answered.
    pub fn start(machine: &Machine, prober: &str, flags: &[&str]) -> Result<Self, Error> {
        let own = [prober, "probe", "--json", "--until-stdin-closes"];
        let argv = [&own, flags].concat();
        let mut running = machine.spawn_in_net(&argv)?;

        let stdout = running.0.stdout.take();
        let stderr = running.0.stderr.take();
        let (first, answered) = mpsc::sync_channel(1);
        let load = Self {
            command: argv.join(" "),
            prober: running,
            stdout: thread::spawn(move || to_end(stdout, || ())),
            stderr: thread::spawn(move || to_end(stderr, || _ = first.try_send(()))),
        };
        // What it says first is that the service answers; what it says on the
        // way to its end is why not.
        let limit = Duration::from_secs(30);
        if answered.recv_timeout(limit).is_err() {
            let what = format!("an answer to `{}`", load.command);
            return Err(Error::TimedOut { what, limit });
        }
        Ok(load)
    }

    /// Ends the load and waits for the answers that are still due.
    pub fn stop(mut self) -> Result<Report, Error> {
        drop(self.prober.0.stdin.take());
        self.finish()
    }

    /// Waits for a load that ends by itself, by `--for` or `--requests`.
    pub fn finish(mut self) -> Result<Report, Error> {
        let limit = Duration::from_secs(120);
        let mut ended = Ok(None);
        wait_until(limit, "the load has ended", || {
            ended = self.prober.0.try_wait();
            !matches!(ended, Ok(None))
        })?;
        let start = |source| Error::Start {
            command: self.command.clone(),
            source,
        };
        let output = Output {
            command: self.command.clone(),
            code: ended.map_err(start)?.and_then(|status| status.code()),
            stdout: join(self.stdout).map_err(start)?,
            stderr: join(self.stderr).map_err(start)?,
        };
        // Nine says that requests were lost, which is a result.
        match output.code {
            Some(0 | 9) => serde_json::from_str(&output.stdout).map_err(|e| start(e.into())),
            _ => Err(Error::Failed(Box::new(output))),
        }
    }
}

fn to_end(from: Option<impl Read>, each_line: impl Fn()) -> io::Result<String> {
    let mut text = String::new();
    let Some(from) = from else { return Ok(text) };
    let mut from = BufReader::new(from);
    while from.read_line(&mut text)? > 0 {
        each_line();
    }
    Ok(text)
}

fn join(reader: JoinHandle<io::Result<String>>) -> io::Result<String> {
    reader
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
