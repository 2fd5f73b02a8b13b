//! Against a launcher that answers from a script.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixListener;

use super::*;
use crate::host::Effect;
use crate::host::supervisor::protocol::{Line, Refusal, VERSION};
use crate::model::{Address, Name, Service, Task};
use crate::observe::{Active, Load, UnitCopy, WatchedSocket};

const TEXT: &str = r#"
[service.shop]
exec = ["/usr/bin/shop"]
listen = "127.0.0.1:8080"
"#;

/// What is answered to a question; `None` closes the connection.
type Script = Arc<dyn Fn(&Question) -> Option<Vec<Answer>> + Send + Sync>;

struct Fake {
    directory: TempDir,
    asked: Arc<Mutex<Vec<Question>>>,
}

impl Fake {
    /// Whose `zdt.toml` says `text`, and which has loaded [`TEXT`].
    fn start(text: &str, script: Script) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("zdt.toml");
        std::fs::write(&config, text).unwrap();
        let listener = UnixListener::bind(directory.path().join("control.sock")).unwrap();
        let asked: Arc<Mutex<Vec<Question>>> = Arc::default();
        let about = About {
            v: VERSION,
            version: "0.1.0".to_owned(),
            pid: 1,
            since: UNIX_EPOCH,
            config: Some(config),
            text: TEXT.to_owned(),
            state: directory.path().join("state"),
            upgrades: 0,
        };
        let heard = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (about, script, heard) =
                    (about.clone(), Arc::clone(&script), Arc::clone(&heard));
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    let mut line = String::new();
                    stream.read_line(&mut line).await.unwrap();
                    let question: Question = serde_json::from_str(&line).unwrap();
                    let answers = match &question {
                        Question::Hello => Some(vec![Answer::Launcher(about), Answer::Done]),
                        question => {
                            heard.lock().unwrap().push(question.clone());
                            script(question)
                        }
                    };
                    for answer in answers.unwrap_or_default() {
                        let line = serde_json::to_string(&answer).unwrap() + "\n";
                        stream.write_all(line.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        Self { directory, asked }
    }

    async fn host(&self) -> Launcher {
        let control = self.directory.path().join("control.sock");
        Launcher::connect(&control).await.unwrap()
    }

    fn asked(&self) -> Vec<Question> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn always(answers: Vec<Answer>) -> Script {
    Arc::new(move |_| Some(answers.clone()))
}

/// Answers questions about units, and lines of their logs.
fn with_units(units: Vec<UnitReport>, lines: Vec<Line>) -> Script {
    Arc::new(move |question| {
        let mut answers: Vec<Answer> = match question {
            Question::Units { units: wanted, .. } => {
                let is_wanted =
                    |report: &&UnitReport| wanted.is_empty() || wanted.contains(&report.state.unit);
                let units = units.iter().filter(is_wanted).cloned();
                units.map(|unit| Answer::Unit(Box::new(unit))).collect()
            }
            Question::Logs { .. } => lines.iter().cloned().map(Answer::Line).collect(),
            _ => Vec::new(),
        };
        answers.push(Answer::Done);
        Some(answers)
    })
}

fn unit(name: &str) -> UnitName {
    UnitName::parse(name).unwrap()
}

fn report(state: UnitState) -> UnitReport {
    UnitReport {
        service: Name::parse("shop").unwrap(),
        state,
        since: Some(SystemTime::now()),
        start_ms: Some(40),
        generation: 2,
        memory: None,
        port: None,
        children: Vec::new(),
        output: Vec::new(),
    }
}

fn instance(pid: u32) -> Instance {
    Instance {
        pid,
        invocation: format!("{pid:032x}"),
    }
}

fn running(name: &str, pid: u32) -> UnitReport {
    report(UnitState {
        active: Active::Active,
        sub: "running".to_owned(),
        instance: Some(instance(pid)),
        ..UnitState::stopped(unit(name))
    })
}

fn open(name: &str) -> UnitReport {
    report(UnitState {
        active: Active::Active,
        sub: "listening".to_owned(),
        ..UnitState::stopped(unit(name))
    })
}

fn shop(text: &str) -> Service {
    Model::read("zdt.toml", text).unwrap().services.remove(0)
}

async fn performed(host: &mut Launcher, action: Action) -> Result<(), Failure> {
    host.perform(&action, &mut |_| ()).await
}

#[tokio::test]
async fn each_action_is_a_question() {
    let fake = Fake::start(TEXT, always(vec![Answer::Done]));
    let mut host = fake.host().await;
    let (one, other) = (unit("shop.service"), unit("shop-standby.service"));
    let both = vec![one.clone(), other.clone()];
    let copy = UnitCopy {
        path: PathBuf::from("/srv/shop/zdt.toml"),
        text: "old".to_owned(),
    };
    let cases = [
        (
            Action::StartUnit { unit: one.clone() },
            Question::Start { unit: one.clone() },
        ),
        (
            Action::RestartUnit { unit: one.clone() },
            Question::Restart {
                units: vec![one.clone()],
            },
        ),
        (
            Action::RestartUnits {
                units: both.clone(),
            },
            Question::Restart {
                units: both.clone(),
            },
        ),
        (
            Action::ReloadUnit { unit: one.clone() },
            Question::Reload { unit: one.clone() },
        ),
        (
            Action::StopUnits {
                units: both.clone(),
            },
            Question::Stop {
                units: both,
                held: false,
            },
        ),
        (
            Action::RunTask {
                unit: other.clone(),
                task: Task::Check,
            },
            Question::Task { unit: other },
        ),
        (
            Action::CloseUntaken { unit: one.clone() },
            Question::CloseUntaken { unit: one },
        ),
        (
            Action::RestoreUnits {
                place: PathBuf::from("/kept"),
                files: vec![copy],
                added: Vec::new(),
            },
            Question::Load {
                text: "old".to_owned(),
            },
        ),
    ];
    for (action, question) in cases {
        performed(&mut host, action).await.unwrap();
        assert_eq!(fake.asked(), [question]);
    }
    performed(&mut host, Action::Install(Act::Reload))
        .await
        .unwrap();
    assert_eq!(fake.asked(), []);
}

#[tokio::test]
async fn what_is_seen_meanwhile_is_told_and_a_refusal_keeps_its_words() {
    let refusal = Refusal {
        reason: "`shop.service` did not start: exit status 3".to_owned(),
        hint: Some("see `zdt-units logs shop.service`".to_owned()),
        untouched: false,
        output: vec!["no database".to_owned()],
    };
    let note = EventKind::Note {
        text: "it drains".to_owned(),
    };
    let told = Answer::Told {
        event: note.clone(),
    };
    let fake = Fake::start(TEXT, always(vec![told, Answer::Failed(refusal.clone())]));
    let mut host = fake.host().await;
    let restart = Action::RestartUnit {
        unit: unit("shop.service"),
    };
    let mut seen = Vec::new();
    let failure = host.perform(&restart, &mut |event| seen.push(event)).await;
    assert_eq!(seen, [note]);
    assert_eq!(
        failure,
        Err(Failure {
            reason: refusal.reason,
            hint: refusal.hint,
            effect: Effect::Possible,
            output: refusal.output,
        })
    );
}

#[tokio::test]
async fn a_check_is_told_with_the_port_that_the_process_was_given() {
    let text = r#"
[service.shop]
exec = ["/usr/bin/shop"]
port = { from = 20000, to = 20010 }
ready = "started"
health = { tcp = "127.0.0.1:{{port}}" }
"#;
    let check = Action::CheckHealth {
        unit: unit("shop.service"),
        health: shop(text).health.unwrap(),
    };
    let mut given = running("shop.service", 11);
    let words = async |given: &UnitReport| {
        let fake = Fake::start(text, with_units(vec![given.clone()], Vec::new()));
        fake.host().await.words(&check).await
    };
    let not_yet = words(&given).await;
    assert!(not_yet.contains("`127.0.0.1:{{port}}`"), "{not_yet}");
    given.port = Some(20003);
    assert_eq!(words(&given).await, not_yet.replace("{{port}}", "20003"),);
}

#[tokio::test]
async fn a_launcher_that_is_lost_in_a_step_may_have_done_it() {
    let fake = Fake::start(TEXT, Arc::new(|_| None));
    let mut host = fake.host().await;
    let restart = Action::RestartUnit {
        unit: unit("shop.service"),
    };
    let failure = performed(&mut host, restart.clone()).await.unwrap_err();
    assert_eq!(failure.effect, Effect::Possible);
    // One that is gone before was not asked.
    std::fs::remove_file(fake.directory.path().join("control.sock")).unwrap();
    let failure = performed(&mut host, restart).await.unwrap_err();
    assert_eq!(failure.effect, Effect::None);
}

#[tokio::test]
async fn a_snapshot_has_all_units_and_what_is_newer_than_they_are() {
    let text = r#"
[service.shop]
exec = ["/usr/bin/shop"]
listen = "127.0.0.1:1"
strategy = "rolling"
instances = 2
environment_files = ["ENVIRONMENT"]
"#;
    let elsewhere = tempfile::tempdir().unwrap();
    let environment = elsewhere.path().join("shop.env");
    std::fs::write(&environment, "").unwrap();
    let environment = environment.display().to_string();
    let text = text.replace("ENVIRONMENT", &environment);
    let mut first = running("shop@1.service", 11);
    first.since = Some(UNIX_EPOCH + Duration::from_secs(1));
    let units = vec![
        first.clone(),
        running("shop@3.service", 13),
        open("shop.socket"),
    ];
    let fake = Fake::start(&text, with_units(units, Vec::new()));
    let service = shop(&text);
    let watched = Watched::of(&service).keeping(fake.directory.path(), &service.name);
    let observed = fake.host().await.observe(&watched).await.unwrap();
    assert_eq!(observed.service, first.state);
    let beside = |observed: &Observed| -> Vec<(String, Load)> {
        let beside = observed.beside.iter();
        beside
            .map(|state| (state.unit.to_string(), state.load.clone()))
            .collect()
    };
    // The second one comes when the launcher reads `zdt.toml`, which has changed.
    let wanted = ["shop@2.service", "shop@3.service"];
    let loaded = wanted.map(|unit| (unit.to_owned(), Load::Loaded));
    assert_eq!(beside(&observed), loaded);
    assert_eq!(observed.newer, [environment]);
    // Nobody listens on port 1.
    assert_eq!(observed.sockets[0].refused, watched.sockets[0].reach);
    let files = observed.files.unwrap();
    assert_eq!(files.now[0].text, text);
    assert_eq!(files.kept.unwrap()[0].text, TEXT);
    assert!(files.are_newer && !files.need_reload);
}

#[tokio::test]
async fn a_unit_that_no_load_brings_is_not_there() {
    let fake = Fake::start(TEXT, with_units(Vec::new(), Vec::new()));
    let service = shop(TEXT);
    let watched = Watched::of(&service).keeping(fake.directory.path(), &service.name);
    let observed = fake.host().await.observe(&watched).await.unwrap();
    assert_eq!(observed.service.load, Load::NotFound);
    let files = observed.files.unwrap();
    assert_eq!((files.kept, files.are_newer), (None, false));
}

#[tokio::test]
async fn a_load_keeps_what_was_loaded_before_and_never_writes_the_file() {
    let edited = TEXT.replace("8080", "8081");
    let fake = Fake::start(&edited, with_units(Vec::new(), Vec::new()));
    let mut host = fake.host().await;
    let service = shop(&edited);
    let state = fake.directory.path().join("state");
    let watched = Watched::of(&service).keeping(&state, &service.name);
    let place = watched.keeps.clone().unwrap();
    let places = std::slice::from_ref(&place);
    host.catch_up(places, &mut |_| ()).await.unwrap();
    let load = |text: &str| Question::Load {
        text: text.to_owned(),
    };
    assert_eq!(fake.asked(), [load(&edited)]);
    // It is done once.
    host.catch_up(places, &mut |_| ()).await.unwrap();
    assert_eq!(fake.asked(), []);

    let files = host.observe(&watched).await.unwrap().files.unwrap();
    let kept = files.kept.unwrap();
    assert_eq!(kept[0].text, TEXT);
    fake.asked();
    let restore = Action::RestoreUnits {
        place,
        files: kept,
        added: Vec::new(),
    };
    performed(&mut host, restore).await.unwrap();
    assert_eq!(fake.asked(), [load(TEXT)]);
    let config = fake.directory.path().join("zdt.toml");
    assert_eq!(std::fs::read_to_string(config).unwrap(), edited);
}

#[tokio::test]
async fn a_proof_names_the_process_and_has_its_last_words() {
    let line = |pid, text: &str| Line {
        time: UNIX_EPOCH,
        unit: unit("shop.service"),
        pid,
        error: true,
        text: text.to_owned(),
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let socket = WatchedSocket {
        unit: unit("shop.socket"),
        reach: vec![Address::parse(&address).unwrap().reach()],
    };
    let lines = vec![line(12, "serving"), line(11, "of before")];
    let units = vec![running("shop.service", 12), open("shop.socket")];
    let fake = Fake::start(TEXT, with_units(units, lines));
    let mut host = fake.host().await;
    let confirm = |before: u32| Action::ConfirmInstance {
        unit: unit("shop.service"),
        before: Some(instance(before)),
        sockets: vec![socket.clone()],
    };
    performed(&mut host, confirm(11)).await.unwrap();
    let failure = performed(&mut host, confirm(12)).await.unwrap_err();
    assert_eq!(
        (failure.reason.as_str(), failure.hint.as_deref()),
        (
            "`shop.service` still runs process 12 of before the restart",
            Some("see `zdt-units logs shop.service`")
        )
    );
    drop(listener);
    let failure = performed(&mut host, confirm(11)).await.unwrap_err();
    assert_eq!(
        failure.hint.as_deref(),
        Some("`zdt-units unit restart shop.socket` opens it again")
    );
    let heard = host
        .heard(
            Failure::new("it"),
            &unit("shop.service"),
            Some(&instance(12)),
        )
        .await;
    assert_eq!(heard.output, ["serving"]);
}

#[tokio::test]
async fn a_process_that_does_not_stay_up_is_told() {
    let pids = Mutex::new(vec![13, 12, 12]);
    let fake = Fake::start(
        TEXT,
        Arc::new(move |question| {
            let Question::Units { .. } = question else {
                return Some(vec![Answer::Done]);
            };
            let mut pids = pids.lock().unwrap();
            let pid = match pids.len() {
                1 => pids[0],
                _ => pids.pop().unwrap(),
            };
            let unit = running("shop.service", pid);
            Some(vec![Answer::Unit(Box::new(unit)), Answer::Done])
        }),
    );
    let stay = Action::StayUp {
        units: vec![unit("shop.service")],
        time: Duration::from_secs(60),
    };
    let failure = performed(&mut fake.host().await, stay).await.unwrap_err();
    assert_eq!(
        failure.reason,
        "process 12 of `shop.service` did not stay up; now it is 13"
    );
}
