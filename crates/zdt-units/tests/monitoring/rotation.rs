//! The file of events is rotated by the real logrotate while two processes write and one follows.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use zdt_units::host::sinks::{EventLog, EventReader};

use super::{example, run};

const ROTATIONS: usize = 25;

/// What each of the writers does, until there is a file `end`: it prints how many lines it wrote. Its own limit is beyond
/// that.
pub(crate) fn write(path: &Path, writer: &str) {
    let mut log = EventLog::new(path.to_owned(), 1 << 30, 5);
    let end = path.with_file_name("end");
    let mut number = 0;
    while !end.exists() {
        log.append(&format!("{writer} {number}\n")).unwrap();
        number += 1;
        // As slowly as events come at the very most; also while logrotate starts.
        std::thread::sleep(Duration::from_micros(200));
    }
    print!("{number}");
}

pub(crate) fn logrotate_loses_no_event() {
    let snippet = fs::read_to_string(example().join("logrotate.conf")).unwrap();
    let (written, lost) = followed(&snippet);
    println!("{ROTATIONS} rotations while 2 processes wrote {written} lines: {lost} lost");
    assert_eq!(lost, 0);
    // What the page warns of.
    let copied = snippet.replace("    nocreate\n", "    copytruncate\n");
    assert_ne!(copied, snippet);
    let (written, lost) = followed(&copied);
    println!("with copytruncate: {lost} of {written} lost");
    assert!(lost > 0, "the control lost nothing");
}

/// How many lines were written, and how many of them the follower did not get.
fn followed(snippet: &str) -> (usize, usize) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.jsonl");
    let own = |name: &str| -> PathBuf { directory.path().join(name) };
    let text = snippet.replace("/var/log/zdt/events.jsonl", path.to_str().unwrap());
    assert_ne!(text, snippet);
    // As many as there will be: the follower comes late on a machine that does much else.
    let text = text.replace("rotate 8", "rotate 500");
    // As under the usual `umask`; logrotate skips a directory that others may write to.
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(own("rotate.conf"), text).unwrap();
    fs::set_permissions(own("rotate.conf"), fs::Permissions::from_mode(0o644)).unwrap();

    let program = std::env::current_exe().unwrap();
    let writers = ["a", "b"].map(|writer| {
        let mut command = Command::new(&program);
        command.arg("write").arg(&path).arg(writer);
        (writer, command.stdout(Stdio::piped()).spawn().unwrap())
    });
    let mut reader = EventReader::new(path);
    let mut lines = Vec::new();
    for _ in 0..ROTATIONS {
        lines.extend(reader.read().unwrap());
        let arguments = ["-f", "-s", "state", "rotate.conf"];
        let said = run(directory.path(), "/usr/sbin/logrotate", &arguments);
        assert!(said.well, "{}", said.text);
    }
    fs::write(own("end"), "").unwrap();
    let written = writers.map(|(writer, child)| {
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success());
        let lines: usize = String::from_utf8(ended.stdout).unwrap().parse().unwrap();
        (writer, lines)
    });
    lines.extend(reader.read().unwrap());

    let seen: BTreeSet<&str> = lines.iter().map(String::as_str).collect();
    let told = |line: &String| seen.contains(line.as_str());
    let all = written
        .iter()
        .flat_map(|(writer, lines)| (0..*lines).map(move |number| format!("{writer} {number}")));
    let lost = all.filter(|line| !told(line)).count();
    (written.iter().map(|(_, lines)| lines).sum(), lost)
}
