//! The parts that a test's own binary plays: launchers that are killed, and launchers that become another program.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};
use zdt_units::host::supervisor::output::PipeMark;
use zdt_units::host::supervisor::process::{Mark, Process};

use super::{printed, quiet, shell, soon, start, until};

const PART: &str = "ZDT_TEST_PART";
const PLACE: &str = "ZDT_TEST_PLACE";

#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    /// Starts a process, and becomes [`Part::Second`].
    First,
    /// Goes on with it to its end.
    Second,
    /// Starts a process that outlives it, and waits.
    Killed,
    /// The same without leave.
    Clinging,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) launcher: u32,
    pub(super) process: Mark,
    pub(super) pipes: Vec<PipeMark>,
}

impl Kept {
    pub(super) fn read(place: &Path) -> Self {
        serde_json::from_slice(&fs::read(place.join("kept")).unwrap()).unwrap()
    }

    fn write(&self, place: &Path) {
        fs::write(place.join("part"), serde_json::to_vec(self).unwrap()).unwrap();
        fs::rename(place.join("part"), place.join("kept")).unwrap();
    }
}

pub(super) fn command(part: Part, place: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "parts::play", "--nocapture"])
        .env(PART, format!("{part:?}"))
        .env(PLACE, place);
    command
}

/// No test, but what runs in the processes of [`command`].
#[test]
fn play() {
    let Ok(part) = std::env::var(PART) else {
        return;
    };
    let place = PathBuf::from(std::env::var_os(PLACE).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        match part.as_str() {
            "First" => first(&place).await,
            "Second" => second(&place).await,
            part => killed(&place, part == "Killed").await,
        }
    });
}

/// Prints before and after the change, and between.
async fn first(place: &Path) {
    let at = place.display();
    let script = format!(
        "printf 'before\\nhal'; : > {at}/printed; until test -e {at}/go; do sleep 0.01; done; \
         echo f; echo after; exit 7"
    );
    let output = quiet();
    let process = start(&shell(&script), &output);
    let file = place.join("printed");
    until("the first words", || file.exists()).await;
    until("what is read of them", || output.tail(1).len() == 1).await;
    let kept = Kept {
        launcher: std::process::id(),
        process: process.mark(),
        pipes: output.hand_on().unwrap(),
    };
    kept.write(place);
    let failed = command(Part::Second, place).exec();
    panic!("failed to become another program: {failed}");
}

async fn second(place: &Path) {
    let kept = Kept::read(place);
    assert_eq!(kept.launcher, std::process::id());
    let output = quiet();
    let mut process = Process::resume(kept.process).unwrap();
    for pipe in kept.pipes {
        output.resume(pipe).unwrap();
    }
    fs::write(place.join("go"), "").unwrap();
    let exit = soon("its end", process.exited()).await;
    let lines = printed(&output).join(",");
    fs::write(place.join("seen"), format!("{exit:?} {lines}")).unwrap();
}

async fn killed(place: &Path, outlives: bool) {
    let at = place.display();
    let mut launch = shell(&format!(
        "sleep 1000 & echo started; until test -e {at}/go; do sleep 0.01; done; echo alone; : > {at}/printed; wait"
    ));
    launch.outlives = outlives;
    let output = quiet();
    let process = start(&launch, &output);
    until("the first words", || output.tail(1).len() == 1).await;
    let kept = Kept {
        launcher: std::process::id(),
        process: process.mark(),
        pipes: output.marks(),
    };
    kept.write(place);
    std::future::pending::<()>().await;
}
