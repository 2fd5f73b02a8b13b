//! One operation on a service at a time: a lock that the kernel frees when its holder dies.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::Failure;
use crate::model::Name;
use crate::stamp;

/// Who holds a lock, as written into it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    /// In clock ticks since boot, so that another process of the same number is not taken for it.
    pub start_time: u64,
    /// `restart shop`, as it was called.
    pub command: String,
    pub restart_id: String,
    #[serde(with = "stamp")]
    pub since: SystemTime,
    pub user: String,
}

/// Held until it is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub struct Lock {
    file: File,
    /// Who died with it.
    pub left_by: Option<Holder>,
}

/// Why a lock was not taken.
#[derive(Debug)]
pub enum Taken {
    /// By whom is not known while they write it down.
    By(Option<Holder>),
    Failed(Failure),
}

impl Lock {
    /// Takes the lock of `service`, or says who has it.
    pub fn take(runtime: &Path, service: &Name, holder: &Holder) -> Result<Self, Taken> {
        let path = path(runtime, service);
        let file = open(&path).map_err(|error| failed(&path, &error))?;
        match file.try_lock() {
            Ok(()) => Self::write_down(file, holder).map_err(|error| failed(&path, &error)),
            Err(TryLockError::WouldBlock) => Err(Taken::By(written(&file))),
            Err(TryLockError::Error(error)) => Err(failed(&path, &error)),
        }
    }

    /// As [`take`](Self::take), once whoever has it is done. Blocks the thread.
    pub fn wait(runtime: &Path, service: &Name, holder: &Holder) -> Result<Self, Taken> {
        let path = path(runtime, service);
        let lock = open(&path).and_then(|file| {
            file.lock()?;
            Self::write_down(file, holder)
        });
        lock.map_err(|error| failed(&path, &error))
    }

    fn write_down(mut file: File, holder: &Holder) -> io::Result<Self> {
        let left_by = written(&file);
        let text = serde_json::to_vec(holder)?;
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(&text)?;
        Ok(Self { file, left_by })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // What stays written was left by somebody who died.
        let _ = self.file.set_len(0);
        // Closing is not enough: a process that is just being started has a copy until it becomes its program.
        let _ = self.file.unlock();
    }
}

/// Who is at work on `service` now.
pub fn holder(runtime: &Path, service: &Name) -> Option<Holder> {
    let file = File::open(path(runtime, service)).ok()?;
    written(&file).filter(|holder| start_time(holder.pid) == Some(holder.start_time))
}

/// When process `pid` was started, in clock ticks since boot; see `proc_pid_stat(5)`.
pub fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    // The name before it, in brackets, may have anything in it.
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

fn path(runtime: &Path, service: &Name) -> PathBuf {
    runtime.join(format!("{service}.lock"))
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path)
}

/// `None` where nobody wrote, or not all of it.
fn written(mut file: &File) -> Option<Holder> {
    let mut text = Vec::new();
    file.rewind().ok()?;
    file.read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

fn failed(path: &Path, error: &io::Error) -> Taken {
    Taken::Failed(Failure::io("lock", path, error))
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = stamp::text(self.since);
        write!(
            f,
            "`zdt-units {}` (process {}, of {}, since {since})",
            self.command, self.pid, self.user
        )
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "writes what the dead leave")]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn me(command: &str) -> Holder {
        let pid = std::process::id();
        Holder {
            pid,
            start_time: start_time(pid).unwrap(),
            command: command.to_owned(),
            restart_id: "5f0c".to_owned(),
            since: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            user: "anna".to_owned(),
        }
    }

    fn shop() -> Name {
        Name::parse("shop").unwrap()
    }

    #[test]
    fn one_at_a_time_and_the_other_says_who() {
        let directory = tempfile::tempdir().unwrap();
        let runtime = directory.path().join("zdt");
        let lock = Lock::take(&runtime, &shop(), &me("restart shop")).unwrap();
        assert_eq!(lock.left_by, None);
        assert_eq!(holder(&runtime, &shop()), Some(me("restart shop")));
        match Lock::take(&runtime, &shop(), &me("deploy shop")) {
            Err(Taken::By(Some(by))) => assert_eq!(by, me("restart shop")),
            other => panic!("{other:?}"),
        }
        drop(lock);
        assert_eq!(holder(&runtime, &shop()), None);
        let lock = Lock::wait(&runtime, &shop(), &me("deploy shop")).unwrap();
        assert_eq!(lock.left_by, None);
    }

    #[test]
    fn what_a_dead_holder_left_is_taken_over_and_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = path(directory.path(), &shop());
        let dead = Holder {
            start_time: 1,
            ..me("restart shop")
        };
        fs::write(&path, serde_json::to_vec(&dead).unwrap()).unwrap();
        assert_eq!(holder(directory.path(), &shop()), None);
        let lock = Lock::take(directory.path(), &shop(), &me("restart shop")).unwrap();
        assert_eq!(lock.left_by, Some(dead));
        drop(lock);

        fs::write(&path, r#"{"pid":12,"sta"#).unwrap();
        let lock = Lock::take(directory.path(), &shop(), &me("restart shop")).unwrap();
        assert_eq!(lock.left_by, None);
        // Half-written by a holder that lives.
        fs::write(&path, r#"{"pid":12,"sta"#).unwrap();
        let second = Lock::take(directory.path(), &shop(), &me("restart shop"));
        assert!(matches!(second, Err(Taken::By(None))), "{second:?}");
    }

    #[test]
    fn who_waits_has_it_once_the_other_is_done() {
        let directory = tempfile::tempdir().unwrap();
        let runtime = directory.path().to_owned();
        let lock = Lock::take(&runtime, &shop(), &me("restart shop")).unwrap();
        let (done, waited) = std::sync::mpsc::channel();
        let waiting = std::thread::spawn(move || {
            let lock = Lock::wait(&runtime, &shop(), &me("deploy shop"));
            done.send(()).unwrap();
            lock
        });
        let while_held = waited.recv_timeout(Duration::from_millis(50));
        drop(lock);
        waiting.join().unwrap().unwrap();
        assert!(while_held.is_err());
    }
}
