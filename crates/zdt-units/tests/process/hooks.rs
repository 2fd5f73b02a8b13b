//! Programs that run while a process stops.

use std::ffi::OsString;
use std::time::Duration;

use zdt_units::host::supervisor::hook::Hook;
use zdt_units::host::supervisor::start::invocation;

use super::{LIMIT, is_alive, printed, quiet, read_when_there, shell, told, until, write_script};

/// What became of it in a sentence, and what it printed.
async fn run(exec: &[&str], limit: Duration) -> (String, Vec<String>) {
    let output = quiet();
    let exec: Vec<OsString> = exec.iter().map(Into::into).collect();
    let launch = shell("exit 0");
    let invocation = invocation().unwrap();
    let hook = Hook {
        name: "stop.drain",
        exec: &exec,
        launch: &launch,
        told: told(&invocation),
        pid: 4711,
        limit,
        output: &output,
    };
    let said = match hook.run().await {
        Ok(()) => "done".to_owned(),
        Err(failed) => failed.to_string(),
    };
    (said, printed(&output))
}

#[tokio::test]
async fn a_hook_has_the_environment_of_the_process_and_its_number() {
    let script = "echo $ZDT_PID $ZDT_INSTANCE $ZDT_SERVICE ${LISTEN_FDS-none}; printf cut >&2";
    let (said, mut printed) = run(&["/bin/sh", "-c", script], LIMIT).await;
    assert_eq!(said, "done");
    printed.sort();
    assert_eq!(printed, ["stop.drain: 4711 2 shop none", "stop.drain: cut"]);
}

#[tokio::test]
async fn what_became_of_a_hook_is_one_sentence() {
    let check = async |exec: &[&str], expected: &str| {
        assert_eq!(run(exec, LIMIT).await.0, expected);
    };
    check(&["/bin/sh", "-c", "exit 3"], "`stop.drain` failed with 3").await;
    check(
        &["/bin/sh", "-c", "kill -9 $$"],
        "`stop.drain` was ended by SIGKILL",
    )
    .await;
    check(
        &["/nowhere/drain"],
        "`stop.drain` was not run: failed to run `/nowhere/drain`: No such file or directory (os error 2)",
    )
    .await;
    check(&[], "`stop.drain` has no program").await;
}

#[tokio::test]
async fn a_hook_that_hangs_is_killed_with_what_it_started() {
    let directory = tempfile::tempdir().unwrap();
    let child = directory.path().join("child");
    let script = format!(
        "trap '' TERM; sleep 1000 & {}; wait",
        write_script(&child, "$!")
    );
    // Long enough for what is written down, and it would hang for longer than any limit.
    let limit = Duration::from_secs(2);
    let (said, _) = run(&["/bin/sh", "-c", &script], limit).await;
    assert_eq!(said, "`stop.drain` did not end within 2s, and was killed");
    let child = read_when_there(&child).await.parse().unwrap();
    until("the end of its child", || !is_alive(child)).await;
}

#[tokio::test]
async fn what_a_hook_leaves_behind_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let child = directory.path().join("child");
    let script = format!("sleep 1000 & {}", write_script(&child, "$!"));
    assert_eq!(run(&["/bin/sh", "-c", &script], LIMIT).await.0, "done");
    let child = read_when_there(&child).await.parse().unwrap();
    until("the end of its child", || !is_alive(child)).await;
}
