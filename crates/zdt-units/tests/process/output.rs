//! What processes print, and who reads it or does not.

use std::fs::{self, File};
use std::io::{PipeReader, Read, pipe};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use zdt_units::host::supervisor::Exit;
use zdt_units::host::supervisor::output::{Output, Sink, Style};
use zdt_units::model::{AbsolutePath, Output as Form};

use super::{LIMIT, is_alive, printed, quiet, shell, soon, start, unit, until};

/// Reads to the end, on another thread than that of the launcher's tasks.
async fn read_all(mut reader: PipeReader) -> String {
    let reading = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    });
    soon("the end of what is written", reading).await.unwrap()
}

#[tokio::test]
async fn lines_are_kept_told_and_passed_on() {
    let (reader, writer) = pipe().unwrap();
    let style = Style {
        escape: true,
        colour: false,
    };
    let sink = Sink::prefixed(writer.into(), style).unwrap();
    let output = Output::new(unit(), 2, sink.clone());
    let mut follower = output.follow();
    let mut process = start(
        &shell("printf 'one\\ntw\\033[2Jo\\nthree'; echo bad >&2"),
        &output,
    );
    let pid = process.main();
    assert_eq!(soon("its end", process.exited()).await, Exit::Code(0));
    output.catch_up();

    let mut followed = Vec::new();
    while followed.len() < 4 {
        let line = soon("a line", follower.recv()).await.unwrap();
        assert_eq!((line.pid, &line.unit), (pid, &unit()));
        followed.push((line.error, line.text));
    }
    followed.sort();
    let line = |error, text: &str| (error, text.to_owned());
    assert_eq!(
        followed,
        [
            line(false, "one"),
            line(false, "three"),
            line(false, "tw\x1b[2Jo"),
            line(true, "bad"),
        ]
    );
    assert_eq!(output.tail(100).len(), 2);
    assert_eq!(output.tail(1).len(), 1);

    assert!(sink.flush(LIMIT));
    drop((output, sink, process));
    let mut shown: Vec<String> = read_all(reader).await.lines().map(str::to_owned).collect();
    shown.sort();
    assert_eq!(
        shown,
        [
            "shop@2 | bad",
            "shop@2 | one",
            "shop@2 | three",
            "shop@2 | tw\\x1b[2Jo",
        ]
    );
}

#[tokio::test]
async fn each_line_as_json_says_where_it_is_from() {
    let (reader, writer) = pipe().unwrap();
    let sink = Sink::json(writer.into()).unwrap();
    let output = Output::new(unit(), 10, sink.clone());
    let mut process = start(&shell("echo '\"quoted\"' >&2"), &output);
    let pid = process.main();
    soon("its end", process.exited()).await;
    output.catch_up();
    assert!(sink.flush(LIMIT));
    drop((output, sink, process));
    let text = read_all(reader).await;
    let mut line: serde_json::Value = serde_json::from_str(&text).unwrap();
    let time = line.as_object_mut().unwrap().remove("time").unwrap();
    assert!(humantime::parse_rfc3339(time.as_str().unwrap()).is_ok());
    let expected = serde_json::json!({
        "unit": "shop@2.service", "pid": pid, "stream": "stderr", "text": "\"quoted\"",
    });
    assert_eq!(line, expected);
}

#[tokio::test]
async fn a_file_that_was_rotated_away_is_opened_anew() {
    let directory = tempfile::tempdir().unwrap();
    let logs = directory.path().join("logs");
    let path = AbsolutePath::parse(logs.to_str().unwrap()).unwrap();
    let sink = Sink::new(&Form::Files(path)).unwrap();
    let output = Output::new(unit(), 10, sink.clone());
    let print = async |text: &str| {
        let mut process = start(&shell(&format!("printf '{text}'")), &output);
        soon("its end", process.exited()).await;
        output.catch_up();
        assert!(sink.flush(LIMIT));
    };
    let log = logs.join("shop@2.log");
    print("one\\n").await;
    print("two\\n").await;
    assert_eq!(fs::read_to_string(&log).unwrap(), "one\ntwo\n");
    fs::rename(&log, logs.join("shop@2.log.1")).unwrap();
    print(&format!("three\\n{}\\n", "x".repeat(20_000))).await;
    assert_eq!(
        fs::read_to_string(&log).unwrap(),
        format!("three\n{}\n", "x".repeat(20_000))
    );
    assert_eq!(
        fs::read_to_string(logs.join("shop@2.log.1")).unwrap(),
        "one\ntwo\n"
    );
}

/// So many lines of a hundred bytes, then a file as the sign that all was printed.
fn flood(lines: usize, done: &std::path::Path) -> String {
    let line = "x".repeat(99);
    format!("yes {line} | head -n {lines}; : > {}", done.display())
}

#[tokio::test]
async fn a_launcher_that_is_not_read_keeps_nobody_waiting_and_says_what_is_missing() {
    const LINES: usize = 100_000;
    let directory = tempfile::tempdir().unwrap();
    let done = directory.path().join("done");
    // As small as a pipe can be: full at once, and nobody reads.
    let (reader, writer) = pipe().unwrap();
    fcntl(writer.as_fd(), FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    let sink = Sink::prefixed(writer.into(), Style::default()).unwrap();
    let output = Output::new(unit(), 10, sink.clone());
    let mut process = start(&shell(&flood(LINES, &done)), &output);
    assert_eq!(soon("its end", process.exited()).await, Exit::Code(0));
    assert!(done.exists());
    output.catch_up();
    assert!(!sink.flush(Duration::ZERO), "somebody has read it");

    let reading = tokio::spawn(read_all(reader));
    let flushed = tokio::task::spawn_blocking(move || (sink.flush(LIMIT), sink));
    let (flushed, sink) = soon("all to be written", flushed).await.unwrap();
    assert!(flushed);
    let mut process = start(&shell("echo after"), &output);
    soon("its end", process.exited()).await;
    output.catch_up();
    drop((output, sink, process));
    let text = soon("its end", reading).await.unwrap();
    let whole = format!("shop@2 | {}", "x".repeat(99));
    let shown = text.lines().filter(|line| *line == whole).count();
    let missing = LINES - shown;
    assert!(missing > 0 && shown > 0, "{shown} of {LINES}");
    let rest: Vec<&str> = text.lines().filter(|line| *line != whole).collect();
    let told =
        format!("shop@2 | ({missing} lines are missing here: nothing could be written meanwhile)");
    assert_eq!(rest, [told.as_str(), "shop@2 | after"]);
}

#[tokio::test]
async fn fifty_megabytes_are_read_while_others_have_their_turn() {
    const LINES: usize = 500_000;
    let directory = tempfile::tempdir().unwrap();
    let done = directory.path().join("done");
    let log = directory.path().join("log");
    let sink = Sink::prefixed(File::create(&log).unwrap().into(), Style::default()).unwrap();
    let output = Output::new(unit(), 10, sink.clone());
    let began = std::time::Instant::now();
    let mut process = start(&shell(&flood(LINES, &done)), &output);
    // On the same thread as the reader.
    let mut turns = 0_u64;
    let exit = loop {
        tokio::select! {
            exit = process.exited() => break exit,
            () = tokio::time::sleep(Duration::from_millis(1)) => turns += 1,
        }
    };
    assert_eq!(exit, Exit::Code(0));
    output.catch_up();
    let kept = printed(&output);
    assert_eq!(kept, vec!["x".repeat(99); 10]);
    let took = began.elapsed();
    let mut follow = output.follow();
    assert!(follow.try_recv().is_err());
    println!("50 MB in {took:?}, {turns} turns of another task meanwhile");
    assert!(turns > 0);
    tokio::task::spawn_blocking(move || assert!(sink.flush(LIMIT)))
        .await
        .unwrap();
    // What was not written was counted: nothing is lost in silence.
    let text = fs::read_to_string(&log).unwrap();
    let whole = format!("shop@2 | {}", "x".repeat(99));
    let shown = text.lines().filter(|line| *line == whole).count();
    let missing: usize = text
        .lines()
        .filter_map(|line| line.strip_prefix("shop@2 | (")?.split(' ').next())
        .map(|count| count.parse::<usize>().unwrap())
        .sum();
    assert_eq!(shown + missing, LINES, "{shown} shown, {missing} missing");
}

#[tokio::test]
async fn a_program_that_prints_goes_on_when_its_reader_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let (go, done) = (directory.path().join("go"), directory.path().join("done"));
    let script = format!(
        "until test -e {}; do sleep 0.01; done; echo late; echo later >&2; : > {}; exec sleep 1000",
        go.display(),
        done.display()
    );
    // Its runtime ends, and with it all that reads.
    let mut launch = shell(&script);
    launch.outlives = true;
    let (mark, pipes) = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let output = quiet();
            let process = start(&launch, &output);
            (process.mark(), output.marks())
        })
    })
    .join()
    .unwrap();
    fs::write(&go, "").unwrap();
    until("its last words", || done.exists()).await;
    assert!(is_alive(mark.pid.unsigned_abs()));

    let output = quiet();
    assert_eq!(pipes.len(), 2);
    for pipe in pipes {
        output.resume(pipe).unwrap();
    }
    let mut lines = printed(&output);
    lines.sort();
    assert_eq!(lines, ["late", "later"]);
    let process = zdt_units::host::supervisor::process::Process::resume(mark).unwrap();
    process.kill();
}
