//! What holds for every text and for every unit. `tests/invariants.rs` tries it with the goldens and with what proptest
//! makes, `fuzz/` with what libFuzzer finds.

#[path = "../../src/unit_file/escape/read.rs"]
mod read;

use zdt_units::config::{Colour, Mistakes};
use zdt_units::model::{Address, Errand, Model, Piece, Service, Task, Text, UnitName};
use zdt_units::render::{Manager, Target, render};
use zdt_units::unit_file::{Line, UnitFile};

/// Reads `text`; what is accepted is rendered and checked, what is refused is told at places that exist.
pub(crate) fn text(text: &str) {
    if let Err(mistakes) = Model::read("zdt.toml", text) {
        return told(text, &mistakes);
    }
    match Model::for_systemd("zdt.toml", text) {
        Ok(model) => units(&model),
        Err(mistakes) => told(text, &mistakes),
    }
}

/// `text` as a basic string of TOML, in which no `{{` begins a value.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for char in text.replace("{{", "{{{{").chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            control if control.is_control() => {
                out.push_str(&format!("\\U{:08x}", u32::from(control)));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

fn told(text: &str, mistakes: &Mistakes) {
    assert!(!mistakes.problems().is_empty(), "refused for no reason");
    for problem in mistakes.problems() {
        let also = problem.also.iter().map(|(at, _)| at);
        for at in std::iter::once(&problem.at).chain(also) {
            assert!(
                text.get(at.clone()).is_some(),
                "{at:?} is not a place: {problem:?}"
            );
        }
    }
    assert!(!mistakes.render(Colour::Never).is_empty());
}

fn units(model: &Model) {
    for manager in [Manager::System, Manager::User] {
        for systemd in [239, 252, 262] {
            rendered(model, Target { systemd, manager });
        }
    }
}

fn rendered(model: &Model, target: Target) {
    let units = render(model, "zdt.toml", target).units;
    for unit in &units {
        lines(unit);
        closes_no_port(unit, model);
    }
    for service in &model.services {
        sockets(service, &units);
        let own = |unit: &&UnitFile| {
            unit.service == service.name && unit.name.as_str().ends_with(".service")
        };
        let mut own = units.iter().filter(own).peekable();
        assert!(own.peek().is_some(), "`{}` has no unit", service.name);
        let tasks = service.tasks();
        for unit in own {
            let name =
                |(task, _): &&(Task, Errand)| unit.name == UnitName::task(&service.name, *task);
            match tasks.iter().find(name) {
                Some((_, errand)) => task_reads_back(errand, unit),
                None => reads_back(service, unit),
            }
        }
    }
}

/// As the reader gives it back: a NUL, which is in no text, for the number of the instance.
fn wanted(text: &Text) -> String {
    let pieces = text.pieces().iter().map(|piece| match piece {
        Piece::Literal(text) => text,
        Piece::Slot(_) => "\0",
    });
    pieces.collect()
}

/// The text has the lines that the data has, and nothing that systemd would take for another.
fn lines(unit: &UnitFile) {
    let mut wanted: Vec<String> = unit.header.iter().map(|line| format!("# {line}")).collect();
    for section in &unit.sections {
        wanted.extend([String::new(), format!("[{}]", section.name)]);
        wanted.extend(section.lines.iter().map(|line| match line {
            Line::Comment(text) => format!("# {text}"),
            Line::Directive { key, value } => format!("{key}={}", value.as_str()),
        }));
    }
    let text = unit.to_string();
    assert_eq!(
        text.split('\n').collect::<Vec<_>>(),
        [wanted.as_slice(), &[String::new()]].concat()
    );
    for line in text.split('\n') {
        assert!(
            !line.chars().any(|char| char.is_ascii_control()),
            "{line:?}"
        );
        assert!(
            !line.ends_with('\\'),
            "the next line would belong to {line:?}"
        );
        assert!(line.len() < 1 << 20, "systemd reads no line that long");
    }
}

/// What lets systemd close a socket, or give up on a service. See "Port killers" in `docs/traps.md`.
fn closes_no_port(unit: &UnitFile, model: &Model) {
    let name = unit.name.as_str();
    for (key, value) in directives(unit) {
        let never = [
            "Condition",
            "Assert",
            "ExecCondition",
            "BindsTo",
            "Requisite",
            "FlushPending",
            "ReusePort",
        ];
        assert!(
            !never.iter().any(|word| key.starts_with(word)),
            "{name}: {key}={value}"
        );
        if key == "Requires" {
            // One that fails would take the service, and then the port, with it.
            let sockets = value.split(' ').all(|unit| unit.ends_with(".socket"));
            assert!(sockets, "{name}: {key}={value}");
        }
    }
    if name.ends_with(".service") {
        assert_eq!(all(unit, "StartLimitIntervalSec"), ["0"], "{name}");
        let standby = name.ends_with("-standby.service");
        let mut tasks = model.services.iter().flat_map(|service| {
            let tasks = service.tasks().into_iter();
            tasks.map(|(task, _)| UnitName::task(&service.name, task))
        });
        let once = standby || tasks.any(|task| task == unit.name);
        assert_eq!(
            all(unit, "Restart"),
            [if once { "no" } else { "always" }],
            "{name}"
        );
    }
}

/// A task runs its command once, takes no socket, and nothing starts it by itself.
fn task_reads_back(errand: &Errand, unit: &UnitFile) {
    let program = errand.command.program();
    let words = std::iter::once(program).chain(errand.command.arguments());
    let words: Vec<String> = words.map(wanted).collect();
    let commands: Vec<_> = all(unit, "ExecStart")
        .into_iter()
        .map(read::command)
        .collect();
    assert_eq!(commands, [(wanted(program), words)]);
    assert_eq!(all(unit, "Type"), ["oneshot"]);
    for key in [
        "Sockets",
        "Requires",
        "RuntimeDirectory",
        "WantedBy",
        "Also",
    ] {
        assert_eq!(all(unit, key), [""; 0], "{}: {key}", unit.name);
    }
}

/// What waits for the end of a process.
const WAIT: &str = "while kill -0 $ZDT_PID 2>/dev/null; do sleep 0.1; done";

/// The values of `service`, from the text that systemd gets.
fn reads_back(service: &Service, unit: &UnitFile) {
    let program = service.exec.program();
    let words = std::iter::once(program).chain(service.exec.arguments());
    let words: Vec<String> = words.map(wanted).collect();
    let commands: Vec<_> = all(unit, "ExecStart")
        .into_iter()
        .map(read::command)
        .collect();
    assert_eq!(commands, [(wanted(program), words)]);

    // Each begins with a shell that gives it a limit; what follows is the command itself.
    let stop = &service.stop;
    let hooks = [&stop.quiet, &stop.drain, &stop.command];
    let wanted_hooks: Vec<Vec<String>> = hooks
        .into_iter()
        .flatten()
        .map(|hook| {
            let words = std::iter::once(hook.program()).chain(hook.arguments());
            words.map(wanted).collect()
        })
        .collect();
    let stops = all(unit, "ExecStop").into_iter();
    let stops = stops.map(|line| read::command(line.trim_start_matches('-')).1);
    let asked = stops.filter_map(|words| words.get(4..).map(<[String]>::to_vec));
    let asked: Vec<_> = asked
        .filter(|words| words.get(2).is_none_or(|script| script != WAIT))
        .collect();
    assert_eq!(asked, wanted_hooks, "{}", unit.name);

    let set: Vec<_> = all(unit, "Environment")
        .into_iter()
        .map(read::assignment)
        .collect();
    let mut set = set.iter();
    for (name, value) in &service.environment {
        let wanted = format!("{name}={}", wanted(value));
        assert!(set.any(|found| *found == wanted), "{wanted:?} is not set");
    }

    let files: Vec<_> = all(unit, "EnvironmentFile")
        .into_iter()
        .map(|value| {
            (
                value.starts_with('-'),
                read::pattern(value.trim_start_matches('-')),
            )
        })
        .collect();
    let paths: Vec<_> = service
        .environment_files
        .iter()
        .map(|file| (file.optional, wanted(file.path.text())))
        .collect();
    assert_eq!(files, paths);

    let directories: Vec<_> = all(unit, "WorkingDirectory")
        .into_iter()
        .map(read::whole)
        .collect();
    let paths: Vec<_> = service
        .working_directory
        .iter()
        .map(|path| wanted(path.text()))
        .collect();
    assert_eq!(directories, paths);
}

fn sockets(service: &Service, units: &[UnitFile]) {
    for socket in &service.sockets {
        let unit = units.iter().find(|unit| unit.name == socket.unit);
        let unit = unit.unwrap_or_else(|| panic!("`{}` is missing", socket.unit));
        let found: Vec<_> = all(unit, "ListenStream")
            .into_iter()
            .map(read::whole)
            .collect();
        let wanted: Vec<_> = socket
            .listen
            .addresses()
            .iter()
            .map(|address| match address {
                Address::Tcp(tcp) => tcp.bind().to_string(),
                Address::Unix(path) => path.to_string(),
            })
            .collect();
        assert_eq!(found, wanted);
    }
}

fn directives(unit: &UnitFile) -> impl Iterator<Item = (&'static str, &str)> {
    let lines = unit.sections.iter().flat_map(|section| &section.lines);
    lines.filter_map(|line| match line {
        Line::Comment(_) => None,
        Line::Directive { key, value } => Some((*key, value.as_str())),
    })
}

fn all<'a>(unit: &'a UnitFile, wanted: &str) -> Vec<&'a str> {
    let found = directives(unit).filter(|(key, _)| *key == wanted);
    found.map(|(_, value)| value).collect()
}
