use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use rustix::process::{Gid as ThreadGid, Uid as ThreadUid};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};

use super::*;

/// Ends with this.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> Self {
        Self(Command::new("sleep").arg("1000").spawn().unwrap())
    }

    /// With a descriptor of its own.
    fn with(fd: impl Into<OwnedFd>) -> Self {
        let mut command = Command::new("sleep");
        Self(command.arg("1000").stdin(fd.into()).spawn().unwrap())
    }

    fn identity(&self) -> Identity {
        Identity::of(self.0.id()).unwrap()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn process(identity: Identity) -> KeptProcess {
    KeptProcess {
        unit: UnitName::parse("shop.service").unwrap(),
        service: Name::parse("shop").unwrap(),
        identity,
        group: i32::try_from(identity.pid).unwrap(),
        generation: 7,
        invocation: "1b196190e5bf4444ad873b96e2f41462".to_owned(),
        began: SystemTime::UNIX_EPOCH + Duration::from_millis(1_768_824_000_123),
        port: Some(3001),
        notify: Some(PathBuf::from("/run/zdt/launcher/shop/notify/1")),
        mark: Mark {
            pid: i32::try_from(identity.pid).unwrap(),
            start_time: identity.start_time,
            group: i32::try_from(identity.pid).unwrap(),
            first_start_time: None,
            invocation: "1b196190e5bf4444ad873b96e2f41462".to_owned(),
            cgroup: None,
            credentials: None,
        },
        output: Vec::new(),
    }
}

fn kept(processes: &[Identity]) -> Kept {
    let mut kept = Kept::new(Some(PathBuf::from("/srv/shop/zdt.toml"))).unwrap();
    kept.processes = processes.iter().copied().map(process).collect();
    kept
}

#[test]
fn what_is_written_is_what_the_next_one_reads() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shop/launcher.json");
    assert_eq!(Kept::read(&path), Found::Nothing);
    let own = Identity::of(std::process::id()).unwrap();
    let kept = kept(&[own]);
    kept.write(&path).unwrap();
    assert_eq!(Kept::read(&path), Found::Kept(kept.clone()));
    let text = fs::read_to_string(&path).unwrap();
    let (boot_id, Identity { pid, start_time }) = (boot_id().unwrap(), own);
    assert_eq!(
        text,
        format!(
            r#"{{"v":1,"boot_id":"{boot_id}","launcher":{{"pid":{pid},"start_time":{start_time}}},"config":"/srv/shop/zdt.toml","processes":[{{"unit":"shop.service","service":"shop","pid":{pid},"start_time":{start_time},"group":{pid},"generation":7,"invocation":"1b196190e5bf4444ad873b96e2f41462","began":"2026-01-19T12:00:00.123Z","port":3001,"notify":"/run/zdt/launcher/shop/notify/1","mark":{{"pid":{pid},"start_time":{start_time},"group":{pid},"first_start_time":null,"invocation":"1b196190e5bf4444ad873b96e2f41462","cgroup":null,"credentials":null}},"output":[]}}]}}"#
        )
    );
    Kept::remove(&path).unwrap();
    assert_eq!(Kept::read(&path), Found::Nothing);
}

#[test]
fn what_cannot_be_used_is_put_aside_and_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("launcher.json");
    let aside = directory.path().join("launcher.json.unusable");
    let shown = directory.path().display().to_string();
    let told = |text: &[u8]| {
        fs::write(&path, text).unwrap();
        let Found::Useless(why) = Kept::read(&path) else {
            panic!("it was used");
        };
        assert!(!path.exists());
        assert_eq!(fs::read(&aside).unwrap(), text);
        assert_eq!(Kept::read(&path), Found::Nothing);
        why.replace(&shown, "DIRECTORY")
    };
    let whole = serde_json::to_vec(&kept(&[])).unwrap();
    assert_eq!(
        told(&whole[..r#"{"v":1,"boot"#.len()]),
        "`DIRECTORY/launcher.json`, the state of the launcher before, is damaged: EOF while parsing a string at line 1 \
         column 12; it is now `DIRECTORY/launcher.json.unusable`. Processes that it left are not known: look for them \
         with `ps`"
    );
    let others = String::from_utf8(whole)
        .unwrap()
        .replace(r#""v":1"#, r#""v":2"#);
    let why = told(others.as_bytes());
    assert!(why.contains("is of another version (2);"), "{why}");
    assert!(told(b"").contains("is damaged"));
    assert!(told(b"\xff\0[]").contains("is damaged"));

    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap();
    let found = Kept::read(&path);
    assert!(
        matches!(&found, Found::Useless(why) if why.contains("is no file")),
        "{found:?}"
    );
    if Uid::effective().is_root() {
        kept(&[]).write(&path).unwrap();
        nix::unistd::chown(&path, Some(Uid::from_raw(65534)), None).unwrap();
        let found = Kept::read(&path);
        let of_nobody =
            matches!(&found, Found::Useless(why) if why.contains("belongs to user 65534"));
        assert!(of_nobody, "{found:?}");
    }
}

#[test]
fn an_orphan_is_the_same_process_of_the_same_boot() {
    let (alive, ended) = (Sleeper::start(), Sleeper::start());
    let gone = ended.identity();
    drop(ended);
    let mut zombie = Sleeper::start();
    let unwaited = zombie.identity();
    zombie.0.kill().unwrap();
    while !stat(unwaited.pid).unwrap().has_ended() {}
    let another = Identity {
        start_time: alive.identity().start_time + 1,
        ..alive.identity()
    };
    let mut kept = kept(&[gone, unwaited, another, alive.identity()]);
    let found: Vec<Identity> = kept.orphans().iter().map(|found| found.identity).collect();
    assert_eq!(found, [alive.identity()]);
    kept.boot_id = "13930cc5-c0b2-4c34-8c44-339b35e810a4".replace('1', "2");
    assert_eq!(kept.orphans(), Vec::<&KeptProcess>::new());
}

/// In a namespace of its own, where the next number can be chosen.
#[test]
fn a_process_with_the_number_of_another_is_no_orphan() {
    if !Uid::effective().is_root() {
        eprintln!("skipped: only root makes a namespace of processes");
        return;
    }
    let status = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc"])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact"])
        .arg("host::supervisor::kept::tests::in_a_namespace_a_number_is_used_again")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&status.stdout);
    assert!(said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "it is run in a namespace by the test before"]
fn in_a_namespace_a_number_is_used_again() {
    let first = Sleeper::start();
    let kept = kept(&[first.identity()]);
    assert_eq!(kept.orphans().len(), 1);
    let identity = first.identity();
    drop(first);
    // Another tick of the clock that start times are told by.
    thread::sleep(Duration::from_millis(50));
    let before = (identity.pid - 1).to_string();
    fs::write("/proc/sys/kernel/ns_last_pid", before).unwrap();
    let second = Sleeper::start();
    assert_eq!(
        second.0.id(),
        identity.pid,
        "the number is another one, so this shows nothing"
    );
    assert_eq!(kept.orphans(), Vec::<&KeptProcess>::new());
    let address = Address::parse("127.0.0.1:1").unwrap();
    let error = identity.take_listener(&address).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("process {} has ended", identity.pid)
    );
}

#[test]
fn the_socket_of_an_orphan_is_taken_with_those_who_wait_in_it() {
    for bound in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
        let listener = TcpListener::bind(bound).unwrap();
        let listens_on = listener.local_addr().unwrap();
        let orphan = Sleeper::with(listener);
        let mut client = TcpStream::connect(listens_on).unwrap();
        client.write_all(b"before").unwrap();
        let address = Address::parse(&listens_on.to_string()).unwrap();
        let taken = orphan.identity().take_listener(&address).unwrap();
        drop(orphan);
        let (mut accepted, _) = TcpListener::from(taken).accept().unwrap();
        let mut said = [0; 6];
        accepted.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"before", "{bound}");
    }
}

#[test]
fn so_is_one_with_a_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shop.sock");
    let orphan = Sleeper::with(UnixListener::bind(&path).unwrap());
    let mut client = UnixStream::connect(&path).unwrap();
    client.write_all(b"before").unwrap();
    let address = Address::parse(path.to_str().unwrap()).unwrap();
    let taken = orphan.identity().take_listener(&address).unwrap();
    drop(orphan);
    let (mut accepted, _) = UnixListener::from(taken).accept().unwrap();
    let mut said = [0; 6];
    accepted.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"before");
}

#[test]
fn a_socket_that_is_not_there_or_not_permitted_is_said() {
    let orphan = Sleeper::start();
    let address = Address::parse("127.0.0.1:1").unwrap();
    let (identity, pid) = (orphan.identity(), orphan.0.id());
    let error = identity.take_listener(&address).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("process {pid} does not listen on `127.0.0.1:1`")
    );
    if !Uid::effective().is_root() {
        eprintln!("skipped: only root becomes somebody else");
        return;
    }
    // Of this thread alone.
    let asked = thread::spawn(move || {
        let (uid, gid) = (ThreadUid::from_raw(65534), ThreadGid::from_raw(65534));
        set_thread_res_gid(gid, gid, gid).unwrap();
        set_thread_res_uid(uid, uid, uid).unwrap();
        identity.take_listener(&address).unwrap_err().to_string()
    });
    assert_eq!(
        asked.join().unwrap(),
        format!(
            "user 65534 may not take the socket `127.0.0.1:1` from process {pid}: run the launcher as root, or end that \
             process"
        )
    );
}
