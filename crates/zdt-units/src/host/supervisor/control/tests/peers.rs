//! Who may ask what.

use std::thread;

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::process::{Gid as ThreadGid, Uid as ThreadUid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::*;

const NOBODY: u32 = 65534;
const GROUP: u32 = 4321;

fn is_root() -> bool {
    let is_root = Uid::effective().is_root();
    if !is_root {
        eprintln!("skipped: only root becomes somebody else");
    }
    is_root
}

fn access(mode: u32, owner: Option<u32>, group: Option<u32>) -> Access {
    let text = |number: Option<u32>| number.map(|number| number.to_string());
    Access {
        mode,
        owner: text(owner),
        group: text(group),
    }
}

/// What nobody, a member of `groups`, is told when it asks for `what`: `done`, or why not.
async fn asked_by_nobody(path: &Path, what: &str, groups: &[u32]) -> String {
    let result = tempfile::NamedTempFile::new().unwrap();
    let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact"])
        .arg("host::supervisor::control::tests::peers::somebody_else_asks")
        .env("ZDT_TEST_PATH", path)
        .env("ZDT_TEST_GROUPS", groups.join(" "))
        .env("ZDT_TEST_QUESTION", what)
        .env("ZDT_TEST_RESULT", result.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid = child.id().to_string();
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
    assert!(ended.await.unwrap().success());
    fs::read_to_string(result.path())
        .unwrap()
        .replace(&pid, "PID")
}

#[test]
#[ignore = "other tests start it as somebody else"]
fn somebody_else_asks() {
    let variable = |name: &str| std::env::var(name).unwrap();
    let mut result = File::create(variable("ZDT_TEST_RESULT")).unwrap();
    let groups = variable("ZDT_TEST_GROUPS");
    let groups = groups.split_ascii_whitespace();
    let groups: Vec<Gid> = groups
        .map(|group| Gid::from_raw(group.parse().unwrap()))
        .collect();
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    setgroups(&groups).unwrap();
    setresgid(gid, gid, gid).unwrap();
    setresuid(uid, uid, uid).unwrap();
    let question = serde_json::from_str(&variable("ZDT_TEST_QUESTION")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let path = PathBuf::from(variable("ZDT_TEST_PATH"));
    let told = match runtime.block_on(ask(&path, &question)) {
        Ok(_) => "done".to_owned(),
        Err(failure) => format!("{} -- {}", failure.reason, failure.hint.unwrap_or_default()),
    };
    result.write_all(told.as_bytes()).unwrap();
}

const STOP: &str = r#"{"ask":"stop","units":[]}"#;
const HELLO: &str = r#"{"ask":"hello"}"#;
const LOGS: &str = r#"{"ask":"logs","lines":1,"follow":false}"#;
const UNITS: &str = r#"{"ask":"units"}"#;

#[tokio::test]
async fn who_got_in_by_the_mode_may_only_look() {
    if !is_root() {
        return;
    }
    let (_directory, path) = place();
    // The group has no right to write, and members of it no more than others.
    for access in [access(0o666, None, None), access(0o606, None, Some(GROUP))] {
        let control = Control::bind(&path, &access).unwrap();
        let serving = tokio::spawn(serve(control));
        for looks in [HELLO, UNITS, LOGS] {
            assert_eq!(asked_by_nobody(&path, looks, &[]).await, "done");
        }
        let questions = [
            STOP,
            r#"{"ask":"shutdown"}"#,
            r#"{"ask":"upgrade","program":"/tmp/mine"}"#,
            r#"{"ask":"load","text":""}"#,
            r#"{"ask":"orphans"}"#,
        ];
        for question in questions {
            assert_eq!(
                asked_by_nobody(&path, question, &[]).await,
                "user 65534 (process PID) may look at this launcher, and change nothing -- ask as root or as user 0; \
                 or set `group` under `[launcher]`, `mode = \"0660\"`, and add the user to that group"
            );
        }
        ask(&path, &Question::Shutdown).await.unwrap();
        serving.await.unwrap();
    }
}

#[tokio::test]
async fn members_of_the_group_may_ask_anything_and_others_do_not_get_in() {
    if !is_root() {
        return;
    }
    let (_directory, path) = place();
    let control = Control::bind(&path, &access(0o660, None, Some(GROUP))).unwrap();
    let meta = fs::metadata(&path).unwrap();
    assert_eq!((meta.mode() & 0o777, meta.gid()), (0o660, GROUP));
    tokio::spawn(serve(control));
    assert_eq!(asked_by_nobody(&path, STOP, &[1, GROUP]).await, "done");
    assert_eq!(
        asked_by_nobody(&path, HELLO, &[1]).await,
        format!(
            "user 65534 may not ask the launcher at `{}` -- ask as root or as the user of the launcher; or set `group` \
             and `mode` under `[launcher]`",
            path.display()
        )
    );
}

#[tokio::test]
async fn the_owner_may_ask_anything() {
    if !is_root() {
        return;
    }
    let (_directory, path) = place();
    let control = Control::bind(&path, &access(0o600, Some(NOBODY), None)).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().uid(), NOBODY);
    tokio::spawn(serve(control));
    assert_eq!(asked_by_nobody(&path, STOP, &[]).await, "done");
}

/// What nobody, in this thread alone, is told when it starts a launcher.
fn bound_by_nobody(access: Access) -> Result<(), Failure> {
    let (directory, path) = place();
    nix::unistd::chown(directory.path(), Some(Uid::from_raw(NOBODY)), None).unwrap();
    let bound = thread::spawn(move || {
        let (uid, gid) = (ThreadUid::from_raw(NOBODY), ThreadGid::from_raw(NOBODY));
        set_thread_groups(&[ThreadGid::from_raw(GROUP)]).unwrap();
        set_thread_res_gid(gid, gid, gid).unwrap();
        set_thread_res_uid(uid, uid, uid).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let bound = runtime
            .unwrap()
            .block_on(async { Control::bind(&path, &access).map(drop) });
        assert!(!path.exists(), "its file is left");
        bound.map_err(|mut failure| {
            failure.reason = failure.reason.replace(&path.display().to_string(), "PATH");
            failure
        })
    });
    bound.join().unwrap()
}

#[test]
fn a_launcher_gives_its_socket_to_those_it_may_give_it_to() {
    if !is_root() {
        return;
    }
    bound_by_nobody(access(0o660, None, Some(GROUP))).unwrap();
    let failure = bound_by_nobody(access(0o660, None, Some(1))).unwrap_err();
    assert_eq!(
        (failure.reason.as_str(), failure.hint.as_deref()),
        (
            "failed to give the control socket `PATH` to group `1`: Operation not permitted",
            Some("run the launcher as root, or as a member of the group `1`")
        )
    );
    let failure = bound_by_nobody(access(0o600, Some(0), None)).unwrap_err();
    assert_eq!(
        (failure.reason.as_str(), failure.hint.as_deref()),
        (
            "failed to give the control socket `PATH` to user `0`: Operation not permitted",
            Some(
                "only root gives files away: run the launcher as root, or leave out `owner` under `[launcher]`"
            )
        )
    );
}

#[tokio::test]
async fn accounts_are_looked_up_by_name() {
    let (_directory, path) = place();
    let own = Uid::effective();
    let user = nix::unistd::User::from_uid(own).unwrap().unwrap();
    let launcher = crate::model::Launcher {
        owner: Some(crate::model::UserName::parse(&user.name).unwrap()),
        ..Default::default()
    };
    let named = Access::of(&launcher);
    assert_eq!(
        (named.mode, named.owner.as_ref()),
        (0o600, Some(&user.name))
    );
    drop(Control::bind(&path, &named).unwrap());
    let unknown = Access {
        group: Some("nobody-has-this-name".to_owned()),
        ..OWN
    };
    let failure = Control::bind(&path, &unknown).unwrap_err();
    assert_eq!(
        failure.reason,
        "there is no group `nobody-has-this-name`, who is to have the control socket"
    );
    assert!(!path.exists());
}
