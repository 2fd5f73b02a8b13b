//! Copies of releases that are killed: at whatever moment, there is a whole release or none.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "starts processes, kills them, and prints how often"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};

use libtest_mimic::{Arguments, Trial};
use zdt_units::host::Failure;
use zdt_units::host::releases::{checksum, look, perform};
use zdt_units::model::{AbsolutePath, ReleaseName};
use zdt_units::plan::ReleaseAct;

/// The first argument of a process that copies and does nothing else.
const COPY: &str = "--copy";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    if let (Some(COPY), Some(from), Some(root)) =
        (words.next().as_deref(), words.next(), words.next())
    {
        return match copy(Path::new(&from), &root, "v1") {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let trials = vec![
        Trial::test("a_copy_that_is_killed_leaves_nothing_that_counts", || {
            a_copy_that_is_killed_leaves_nothing_that_counts();
            Ok(())
        }),
        Trial::test("a_root_that_is_no_directory_is_told", || {
            a_root_that_is_no_directory_is_told();
            Ok(())
        }),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn copy(from: &Path, root: &str, release: &str) -> Result<(), Failure> {
    let act = ReleaseAct::Copy {
        from: from.to_owned(),
        root: AbsolutePath::parse(root).unwrap(),
        release: ReleaseName::parse(release).unwrap(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(perform(&act))
}

/// What a copy goes through, as anybody sees it from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    /// So many entries of the hidden directory are there.
    Written(usize),
    Recorded,
    Done,
}

/// How many files the release has; its directories are further entries.
const FILES: usize = 40;

fn a_copy_that_is_killed_leaves_nothing_that_counts() {
    let directory = tempfile::tempdir().unwrap();
    let from = directory.path().join("from");
    for number in 0..FILES {
        let below = from.join(format!("d{}", number % 10));
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join(number.to_string()), vec![b'x'; 20_000]).unwrap();
    }
    let moments = (0..=FILES + 10).step_by(4).map(Moment::Written);
    let (mut partial, mut whole) = (0, 0);
    for (number, moment) in moments.chain([Moment::Recorded, Moment::Done]).enumerate() {
        let root = directory.path().join(format!("root{number}"));
        let mut child = start(&from, &root);
        await_moment(&mut child, &root, moment);
        child.kill().unwrap();
        child.wait().unwrap();

        let place = AbsolutePath::parse(root.to_str().unwrap()).unwrap();
        let name = ReleaseName::parse("v1").unwrap();
        let seen = look(&place).unwrap();
        let hidden = names(&root.join("releases"))
            .iter()
            .filter(|name| name.contains(".partial-"))
            .count();
        match seen.record(&name) {
            Some(record) => {
                assert_eq!((record.files, hidden), (FILES as u64, 0), "{moment:?}");
                assert_eq!(checksum(&place, &name).unwrap(), record.checksum);
                whole += 1;
            }
            None => {
                assert_eq!(seen.all, [], "{moment:?}");
                partial += hidden;
            }
        }
        copy(&from, place.as_str(), "v1").unwrap();
        assert_eq!(names(&root.join("releases")), [".zdt", "v1"], "{moment:?}");
        let record = look(&place).unwrap().record(&name).unwrap().clone();
        assert_eq!(checksum(&place, &name).unwrap(), record.checksum);
    }
    // Most were killed on the way, and the last one was not.
    assert!(
        partial >= 5 && whole >= 1,
        "{partial} on the way, {whole} whole"
    );
    eprintln!("killed {partial} times on the way, {whole} times when it was whole");
}

fn start(from: &Path, root: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(COPY).args([from, root]).spawn().unwrap()
}

fn await_moment(child: &mut Child, root: &Path, moment: Moment) {
    while child.try_wait().unwrap().is_none() {
        if reached(root) >= Some(moment) {
            return;
        }
    }
}

fn reached(root: &Path) -> Option<Moment> {
    let releases = root.join("releases");
    if releases.join("v1").exists() {
        return Some(Moment::Done);
    }
    if releases.join(".zdt/v1.json").exists() {
        return Some(Moment::Recorded);
    }
    let hidden = names(&releases)
        .into_iter()
        .find(|name| name.contains(".partial-"))?;
    Some(Moment::Written(entries(&releases.join(hidden))))
}

fn entries(directory: &Path) -> usize {
    let below: Vec<PathBuf> = names(directory)
        .iter()
        .map(|name| directory.join(name))
        .collect();
    below.len() + below.iter().map(|path| entries(path)).sum::<usize>()
}

/// None, if there is no such directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut names: Vec<_> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

fn a_root_that_is_no_directory_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let from = directory.path().join("from");
    fs::create_dir(&from).unwrap();
    fs::write(from.join("shop"), "program").unwrap();
    let root = directory.path().join("shop");
    fs::write(&root, "a file").unwrap();
    let failure = copy(&from, root.to_str().unwrap(), "v1").unwrap_err();
    assert_eq!(
        failure.reason,
        format!(
            "failed to make `{}/releases`: Not a directory (os error 20)",
            root.display()
        )
    );
    assert_eq!(names(directory.path()), ["from", "shop"]);
}
