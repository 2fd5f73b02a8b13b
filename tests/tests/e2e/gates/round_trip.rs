//! From `zdt.toml` through systemd into a process, byte for byte.

use std::cell::Cell;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestError, TestRunner};
use zdt_e2e::machine::{self, Machine};
use zdt_units::model::Model;

use crate::units;

const ROUNDS: u32 = 4;
const SERVICES: usize = 30;

/// What one service is given.
#[derive(Clone, Debug)]
struct Given {
    program: String,
    arguments: Vec<String>,
    variables: Vec<String>,
    directory: String,
    environment_file: String,
    /// Written with a `-`, and not there.
    missing: bool,
    credential: String,
    socket: String,
}

/// Arguments, variables, the program's path, the working directory, environment files, credentials and sockets.
/// `ZDT_SEED` repeats a run.
pub(crate) fn what_the_model_accepts_arrives_exactly(
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    let seed = match std::env::var("ZDT_SEED") {
        Ok(seed) => seed.parse()?,
        Err(_) => RandomState::new().hash_one(machine.name()),
    };
    println!("ZDT_SEED={seed}");
    let config = ProptestConfig {
        cases: ROUNDS,
        // What is wrong is one value among hundreds, and is told alone.
        max_shrink_iters: 0,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        ..ProptestConfig::default()
    };
    let compared = Cell::new(0);
    let given = prop::collection::vec(given(), SERVICES);
    let result = TestRunner::new(config).run(&given, |mut given| {
        for (index, given) in given.iter_mut().enumerate() {
            given.number(index);
        }
        let wrong =
            round(&given, &compared).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    });
    match result {
        Ok(()) => {
            println!("{} values came back as they were", compared.get());
            Ok(())
        }
        Err(TestError::Fail(reason, _)) => Err(format!("ZDT_SEED={seed}: {reason}").into()),
        Err(abort) => Err(abort.into()),
    }
}

impl Given {
    /// Paths of its own for each service.
    fn number(&mut self, index: usize) {
        for path in [
            &mut self.program,
            &mut self.directory,
            &mut self.environment_file,
            &mut self.credential,
            &mut self.socket,
        ] {
            *path = path.replacen("/round/", &format!("/round/{index}/"), 1);
        }
    }
}

/// Starts all services, and says what did not arrive as it was given.
fn round(given: &[Given], compared: &Cell<usize>) -> Result<Vec<String>, Box<dyn Error>> {
    let services: Vec<_> = (0..given.len())
        .map(|index| format!("s{index}.service"))
        .collect();
    let services: Vec<&str> = services.iter().map(String::as_str).collect();

    // A fresh one, so that nothing has to be cleaned up.
    let machine = &crate::builder().boot()?;
    prepare(machine, given)?;
    let units = units::generate(&zdt_toml(given.iter().enumerate()))?;
    let units: Vec<(&str, &str)> = units
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    machine.install(&units)?;
    // One at a time: systemd 262 starts all that are named together, or none. One that does not start is told below.
    let script = r#"for unit; do systemctl start "$unit" & done; wait"#;
    machine.run(&[&["sh", "-c", script, "start"], services.as_slice()].concat())?;

    let mut wrong = Vec::new();
    for (index, (name, given)) in services.iter().zip(given).enumerate() {
        let pid = machine.show(name, "MainPID")?;
        if pid == "0" {
            let text = zdt_toml([(index, given)]);
            let journal = machine.run(&[
                "journalctl",
                "--output=cat",
                &format!(r"--grep=\bs{index}\."),
                "_PID=1",
            ])?;
            wrong.push(format!(
                "{name} did not start:
{text}{}",
                journal.stdout
            ));
            continue;
        }
        let found = arrived(machine, &pid, given, compared)?;
        wrong.extend(found.into_iter().map(|what| format!("{name}: {what}")));
    }

    Ok(wrong)
}

/// The programs, directories and files that the services name.
fn prepare(machine: &Machine, given: &[Given]) -> Result<(), machine::Error> {
    let script = r#"
        while [ "$#" -gt 0 ]; do
            mkdir -p -- "${1%/*}" "$2" "${3%/*}" "${5%/*}"
            ln -s /opt/zdt/bin/app "$1"
            [ "$4" = true ] || echo FILE=read >"$3"
            printf %s "$5" >"$5"
            shift 5
        done
    "#;
    let mut command = vec!["sh", "-euc", script, "prepare"];
    for given in given {
        command.extend([
            given.program.as_str(),
            &given.directory,
            &given.environment_file,
            if given.missing { "true" } else { "false" },
            &given.credential,
        ]);
    }
    machine.run(&command)?.ok()?;
    Ok(())
}

/// What process `pid` of the machine was not given as it was written.
fn arrived(
    machine: &Machine,
    pid: &str,
    given: &Given,
    compared: &Cell<usize>,
) -> Result<Vec<String>, Box<dyn Error>> {
    let mut wrong = Vec::new();
    let mut same = |what: &str, found: &[u8], wanted: &[u8]| {
        compared.set(compared.get() + 1);
        if found != wanted {
            let found = String::from_utf8_lossy(found);
            let wanted = String::from_utf8_lossy(wanted);
            wrong.push(format!("{what} {wanted:?} arrived as {found:?}"));
        }
    };
    let process = |file: &str| machine.host_path(&format!("/proc/{pid}/{file}"));

    let line = fs::read(process("cmdline"))?;
    let mut words = line
        .strip_suffix(b"\0")
        .unwrap_or(&line)
        .split(|&byte| byte == 0);
    same(
        "program",
        words.next().unwrap_or_default(),
        given.program.as_bytes(),
    );
    let words: Vec<_> = words.collect();
    same(
        "number of arguments",
        words.len().to_string().as_bytes(),
        given.arguments.len().to_string().as_bytes(),
    );
    for (found, wanted) in words.iter().zip(&given.arguments) {
        same("argument", found, wanted.as_bytes());
    }

    let environment = fs::read(process("environ"))?;
    let variable = |name: String| {
        let mut all = environment.split(|&byte| byte == 0);
        all.find_map(|one| one.strip_prefix(format!("{name}=").as_bytes()))
    };
    for (index, wanted) in given.variables.iter().enumerate() {
        let found = variable(format!("V{index}"));
        same(
            "variable",
            found.unwrap_or(b"(not there)"),
            wanted.as_bytes(),
        );
    }
    let read = variable("FILE".to_owned()).unwrap_or(b"missing");
    let wanted: &[u8] = if given.missing { b"missing" } else { b"read" };
    same(&given.environment_file, read, wanted);

    // Its text is the path that it was written to.
    let secret = match variable("CREDENTIALS_DIRECTORY".to_owned()) {
        Some(directory) => {
            let directory = str::from_utf8(directory)?;
            fs::read(process(&format!("root{directory}/key"))).unwrap_or_default()
        }
        None => Vec::new(),
    };
    same("credential", &secret, given.credential.as_bytes());

    let directory = fs::read_link(process("cwd"))?;
    same(
        "directory",
        directory.as_os_str().as_encoded_bytes(),
        &simple(&given.directory),
    );
    let socket = fs::symlink_metadata(machine.host_path(&given.socket));
    let is_socket = socket.is_ok_and(|found| found.file_type().is_socket());
    same(
        &given.socket,
        if is_socket { b"socket" } else { b"nothing" },
        b"socket",
    );
    Ok(wrong)
}

/// A path as systemd and the kernel write it: without `//` and `/./`.
fn simple(path: &str) -> Vec<u8> {
    let path: PathBuf = Path::new(path).components().collect();
    path.into_os_string().into_encoded_bytes()
}

fn zdt_toml<'a>(given: impl IntoIterator<Item = (usize, &'a Given)>) -> String {
    let mut text = String::new();
    for (index, given) in given {
        let words = std::iter::once(&given.program).chain(&given.arguments);
        let words: Vec<_> = words.map(|word| quoted(word)).collect();
        let variables = given.variables.iter().enumerate();
        let variables: Vec<_> = variables
            .map(|(index, value)| format!("V{index} = {}", quoted(value)))
            .collect();
        let optional = if given.missing { "-" } else { "" };
        writeln!(
            text,
            "[service.s{index}]\nexec = [{}]\nlisten = {}\nenvironment = {{ {} }}\n\
             environment_files = [{}]\nworking_directory = {}\nsandbox = \"none\"\ncredentials = {{ key = {} }}\n",
            words.join(", "),
            quoted(&given.socket),
            variables.join(", "),
            quoted(&format!("{optional}{}", given.environment_file)),
            quoted(&given.directory),
            quoted(&given.credential),
        )
        .expect("a String takes everything");
    }
    text
}

/// A basic string of TOML, in which no `{{` begins a value.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for char in text.replace("{{", "{{{{").chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            control if control.is_control() => {
                write!(out, "\\U{:08x}", u32::from(control)).expect("a String takes everything");
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

fn given() -> impl Strategy<Value = Given> {
    (
        path("/srv/round/program/", |path| {
            accepted(&format!("exec = [{path}]\nlisten = \":80\""))
        }),
        prop::collection::vec(text(), 0..6),
        prop::collection::vec(text(), 0..5),
        path("/srv/round/directory/", |path| {
            key("working_directory", path)
        }),
        path("/srv/round/file/", |path| {
            key("environment_files", &format!("[{path}]"))
        }),
        prop::bool::weighted(0.2),
        path("/srv/round/credential/", |path| {
            key("credentials", &format!("{{ key = {path} }}"))
        }),
        path("/run/round/", |path| {
            accepted(&format!("exec = [\"/a\"]\nlisten = {path}"))
        }),
    )
        .prop_map(
            |(
                program,
                arguments,
                variables,
                directory,
                environment_file,
                missing,
                credential,
                socket,
            )| Given {
                program,
                arguments,
                variables,
                directory: format!("{directory}.d"),
                environment_file: format!("{environment_file}.env"),
                missing,
                credential: format!("{credential}.key"),
                socket,
            },
        )
}

fn key(key: &str, value: &str) -> bool {
    accepted(&format!(
        "exec = [\"/a\"]\nlisten = \":80\"\n{key} = {value}"
    ))
}

fn accepted(service: &str) -> bool {
    Model::read("zdt.toml", &format!("[service.a]\n{service}\n")).is_ok()
}

fn text() -> impl Strategy<Value = String> {
    let short = prop::sample::select(vec![
        "", " ", ";", "#", "-", "\\", "\"", "'", "$", "%", "=", "\n",
    ]);
    prop_oneof![
        8 => prop::collection::vec(piece(), 0..12).prop_map(|pieces| pieces.concat()),
        1 => short.prop_map(str::to_owned),
        1 => piece().prop_map(|piece| piece.repeat(3000)),
    ]
    .prop_filter("the model refuses it", |text| {
        accepted(&format!(
            "exec = [\"/a\", {}]\nlisten = \":80\"",
            quoted(text)
        ))
    })
}

/// A path of one or two components below `parent`, of which `accepts` is asked in the notation of TOML.
fn path(
    parent: &'static str,
    accepts: impl Fn(&str) -> bool + 'static,
) -> impl Strategy<Value = String> {
    let component = prop::collection::vec(piece(), 1..6)
        .prop_map(|pieces| pieces.concat())
        .prop_filter("would leave the directory", |component| component != "..");
    prop::collection::vec(component, 1..3)
        .prop_map(move |components| format!("{parent}{}", components.join("/")))
        .prop_filter("the model refuses it", move |path| accepts(&quoted(path)))
}

fn piece() -> impl Strategy<Value = String> {
    let special = prop::sample::select(vec![
        "%", "%%", "%n", "%h", "$", "$$", "${X}", "{{", "$HOME", "\"", "'", "\\", "\\\n", "\\x41",
        "\\s", ";", " ; ", "#", "=", "-", " -", "@", ":", "+", "!", "!!", "~", "|", "*", "?", "[",
        "{", "`", ",", " ", "  ", "\t", "\n", "\r", "\u{1}", "\u{7}", "\u{1b}", "\u{7f}", "\u{85}",
        "\u{a0}", "\u{2028}", "é", "🦀", "\u{feff}", "\u{fffd}",
    ]);
    prop_oneof![
        3 => special.prop_map(str::to_owned),
        2 => "[a-zA-Z0-9.]{0,5}",
        1 => "\\PC",
        1 => any::<char>().prop_map(String::from),
    ]
}
