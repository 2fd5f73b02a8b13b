//! Commands that find a launcher, which here answers from a script: arguments in; questions and output out.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "starts the program beside a launcher that is none"
)]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::UNIX_EPOCH;

use tempfile::TempDir;
use zdt_units::host::supervisor::protocol::{About, Answer, Line, Question, Refusal, UnitReport};
use zdt_units::model::{Name, UnitName};
use zdt_units::observe::{Active, Instance, UnitState};

const SHOP: &str = "[service.shop]\nexec = [\"/bin/true\"]\nlisten = \"127.0.0.1:1\"\n";

/// Started by flags: there is no `zdt.toml` but what it says itself.
struct Fake {
    directory: TempDir,
    asked: Receiver<Question>,
}

impl Fake {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("control.sock")).unwrap();
        let (sender, asked) = channel();
        let state = directory.path().join("state");
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let mut line = String::new();
                stream.read_line(&mut line).unwrap();
                let Ok(question) = serde_json::from_str::<Question>(&line) else {
                    continue;
                };
                let about = About {
                    v: 1,
                    version: "0.1.0".to_owned(),
                    pid: std::process::id(),
                    since: UNIX_EPOCH,
                    config: None,
                    text: SHOP.to_owned(),
                    state: state.clone(),
                    upgrades: 0,
                };
                // Who asked may have ended, and been looked at, as soon as the answer is written.
                if question != Question::Hello {
                    let _ = sender.send(question.clone());
                }
                for answer in answers(&question, about) {
                    let line = serde_json::to_string(&answer).unwrap() + "\n";
                    let _ = stream.get_mut().write_all(line.as_bytes());
                }
                if question == Question::Shutdown {
                    return;
                }
            }
        });
        Self { directory, asked }
    }

    /// What a command says and how it exits, and what it asked besides who is there.
    fn run(&self, arguments: &[&str]) -> (String, Vec<Question>) {
        let output = Command::new(env!("CARGO_BIN_EXE_zdt-units"))
            .args(arguments)
            .current_dir(self.directory.path())
            .env("ZDT_CONTROL", "control.sock")
            .env("NO_COLOR", "1")
            .env("COLUMNS", "100")
            .output()
            .unwrap();
        let mut said = String::from_utf8(output.stdout).unwrap();
        said.push_str(&String::from_utf8(output.stderr).unwrap());
        said.push_str(&format!("exit status {}\n", output.status.code().unwrap()));
        (said, self.asked.try_iter().collect())
    }
}

fn answers(question: &Question, about: About) -> Vec<Answer> {
    let unit = UnitName::parse("shop.service").unwrap();
    let mut answers = match question {
        Question::Hello => vec![Answer::Launcher(about)],
        Question::Logs { .. } => vec![Answer::Line(Line {
            time: UNIX_EPOCH,
            unit,
            pid: 17,
            error: false,
            text: "hello".to_owned(),
        })],
        Question::Units { .. } => vec![Answer::Unit(Box::new(UnitReport {
            service: Name::parse("shop").unwrap(),
            state: UnitState {
                active: Active::Active,
                sub: "running".to_owned(),
                restarts: 2,
                instance: Some(Instance {
                    pid: std::process::id(),
                    invocation: "a1".repeat(16),
                }),
                ..UnitState::stopped(unit)
            },
            since: Some(UNIX_EPOCH),
            start_ms: Some(40),
            generation: 3,
            memory: None,
            port: Some(4001),
            children: Vec::new(),
            output: Vec::new(),
        }))],
        Question::Reload { .. } => {
            return vec![Answer::Failed(Refusal {
                reason: "`shop.service` is not reloaded by a signal".to_owned(),
                hint: Some("`strategy = \"reload\"` makes it so".to_owned()),
                untouched: true,
                output: Vec::new(),
            })];
        }
        _ => Vec::new(),
    };
    answers.push(Answer::Done);
    answers
}

#[test]
fn a_launcher_is_asked_instead_of_systemd() {
    let fake = Fake::start();
    let unit = UnitName::parse("shop.service").unwrap();
    let (said, asked) = fake.run(&["logs", "shop", "-n", "3"]);
    assert_eq!(
        said,
        "1970-01-01T00:00:00.000Z shop[17]: hello\nexit status 0\n"
    );
    let logs = Question::Logs {
        of: vec!["shop".to_owned()],
        lines: 3,
        follow: false,
    };
    assert_eq!(asked, [logs]);
    let (said, asked) = fake.run(&["unit", "stop", "shop.service"]);
    assert_eq!(said, "exit status 0\n");
    let stop = Question::Stop {
        units: vec![unit.clone()],
        held: false,
    };
    assert_eq!(asked, [stop]);
    let (said, asked) = fake.run(&["unit", "reload", "shop.service"]);
    assert_eq!(
        said,
        "error: `shop.service` is not reloaded by a signal\n\n\
         hint: `strategy = \"reload\"` makes it so\nexit status 4\n"
    );
    assert_eq!(asked, [Question::Reload { unit }]);
    for (words, mistake) in [
        (&["unit", "stop"][..], "no unit is named"),
        (
            &["unit", "daemon-reload", "shop.service"],
            "`daemon-reload` is of all units, and names none",
        ),
    ] {
        let (said, asked) = fake.run(words);
        assert_eq!(said, format!("error: {mistake}\nexit status 2\n"));
        assert_eq!(asked, []);
    }
    let (said, asked) = fake.run(&["shutdown"]);
    assert_eq!(
        (said.as_str(), asked),
        ("exit status 0\n", vec![Question::Shutdown])
    );
}

#[test]
fn status_says_whose_services_they_are_and_what_only_a_launcher_knows() {
    let fake = Fake::start();
    let (said, _) = fake.run(&["status"]);
    assert!(
        said.starts_with("services of a launcher: zdt-units 0.1.0, process "),
        "{said}"
    );
    assert!(said.contains("shop: started by the launcher"), "{said}");
    assert!(
        said.contains("port 4001, 2 restarts after crashes"),
        "{said}"
    );
    let (said, _) = fake.run(&["status", "--json"]);
    let json = said.lines().next().unwrap();
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    let units = &json["services"][0]["units"];
    assert_eq!(units[0]["unit"], "shop.service");
    assert_eq!(units[0]["crash_restarts"], 2);
}

#[test]
fn a_refusal_names_commands_of_the_launcher() {
    let fake = Fake::start();
    // There is no socket unit among those that it has.
    let (said, asked) = fake.run(&["restart", "shop"]);
    assert!(
        said.contains("the launcher has no unit `shop.socket`"),
        "{said}"
    );
    assert!(!said.contains("systemctl"), "{said}");
    assert!(said.ends_with("exit status 4\n"), "{said}");
    let looks = |question: &Question| matches!(question, Question::Units { .. });
    assert!(asked.iter().all(looks), "{asked:?}");
}

#[test]
fn without_a_launcher_its_own_commands_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("zdt.toml"), SHOP).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_zdt-units"))
        .arg("shutdown")
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: no launcher runs the services of this `zdt.toml`\n\n\
         hint: `zdt-units run` starts one; `systemctl stop` ends services of systemd\n"
    );
    assert_eq!(output.status.code(), Some(4));
}
