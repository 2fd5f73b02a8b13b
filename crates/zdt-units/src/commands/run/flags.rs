//! A `zdt.toml` for a program that is given on the command line. Pure but for where the program is, and which ports are
//! free.

#![expect(
    clippy::disallowed_methods,
    reason = "a program is looked up where the shell would look it up"
)]

use std::env;
use std::ffi::OsStr;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::cli::RunArgs;
use crate::model::Name;

/// What the flags mean, as the text of a file.
pub(super) fn text(args: &RunArgs) -> Result<String, String> {
    let (program, arguments) = args.program.split_first().ok_or("there is no program")?;
    let program = find(program)?;
    let name = name(&program);
    let mut exec = vec![quoted(program.as_os_str())?];
    for argument in arguments {
        exec.push(quoted(argument)?);
    }
    let mut lines = vec![
        format!("[service.{name}]"),
        format!("exec = [{}]", exec.join(", ")),
    ];
    if args.listen.is_empty() {
        lines.push("kind = \"worker\"".to_owned());
    }
    if args.instances > 1 {
        lines.push("strategy = \"rolling\"".to_owned());
        lines.push(format!("instances = {}", args.instances));
    }
    match args.no_notify {
        true => lines.push("ready = \"started\"".to_owned()),
        false => lines.push("handover = true".to_owned()),
    }
    if let Some(health) = &args.health {
        lines.push(format!("health = {{ listen = {} }}", literal(health)));
    }
    let mut sockets: Vec<(&str, Vec<String>)> = Vec::new();
    let mut taken = Vec::new();
    for listen in &args.listen {
        let (socket, address) = listen.split_once('=').unwrap_or(("http", listen));
        let address = literal(&with_port(address, &mut taken)?);
        match sockets.iter_mut().find(|(name, _)| *name == socket) {
            Some((_, addresses)) => addresses.push(address),
            None => sockets.push((socket, vec![address])),
        }
    }
    for (socket, addresses) in sockets {
        lines.push(format!("[[service.{name}.socket]]"));
        lines.push(format!("name = {}", literal(socket)));
        lines.push(format!("listen = [{}]", addresses.join(", ")));
    }
    Ok(lines.join("\n") + "\n")
}

/// With a free port in the place of 0. It is bound in `taken` until all addresses have theirs.
fn with_port(address: &str, taken: &mut Vec<TcpListener>) -> Result<String, String> {
    let zero = address.parse().ok();
    let Some(zero) = zero.filter(|address: &SocketAddr| address.port() == 0) else {
        return Ok(address.to_owned());
    };
    let found = TcpListener::bind(zero).and_then(|bound| Ok((bound.local_addr()?, bound)));
    let (found, bound) =
        found.map_err(|error| format!("failed to find a free port for `{address}`: {error}"))?;
    taken.push(bound);
    Ok(found.to_string())
}

/// After the program, where that does as a name.
fn name(program: &Path) -> Name {
    let stem = program.file_stem().unwrap_or_default().to_string_lossy();
    Name::parse(&stem)
        .or_else(|_| Name::parse("app"))
        .expect("`app` is a name")
}

fn quoted(word: &OsStr) -> Result<String, String> {
    let text = word.to_str();
    let text = text.ok_or_else(|| format!("`{}` is not UTF-8", word.display()))?;
    Ok(literal(text))
}

/// What JSON escapes, TOML does too; but one.
fn literal(text: &str) -> String {
    serde_json::Value::from(text)
        .to_string()
        .replace('\u{7f}', "\\u007f")
}

/// Its path from the root: it may be started again from another directory, and by another `PATH`.
fn find(program: &OsStr) -> Result<PathBuf, String> {
    let shown = program.display();
    let absolute = |path: &Path| std::path::absolute(path);
    if program.as_encoded_bytes().contains(&b'/') {
        let path = absolute(Path::new(program)).map_err(|error| format!("`{shown}`: {error}"))?;
        return match is_program(&path) {
            true => Ok(path),
            false => Err(format!(
                "`{}` is no program that can be run",
                path.display()
            )),
        };
    }
    let places = env::var_os("PATH").unwrap_or_default();
    let mut found = env::split_paths(&places)
        .map(|place| place.join(program))
        .filter(|path| is_program(path));
    found
        .find_map(|path| absolute(&path).ok())
        .ok_or_else(|| format!("there is no program `{shown}` in a directory of `PATH`"))
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::model::{Model, Strategy};

    fn model(flags: &[&str]) -> Model {
        let words = ["zdt-units", "run"].iter().chain(flags);
        let Command::Run(args) = Cli::parse_from(words).command else {
            unreachable!("it is `run`")
        };
        let text = text(&args).unwrap();
        Model::read("flags", &text).unwrap_or_else(|mistakes| {
            panic!("{text}\n{}", mistakes.render(crate::config::Colour::Never))
        })
    }

    #[test]
    fn flags_become_a_service() {
        let model = model(&[
            "--listen",
            "127.0.0.1:8080",
            "--listen",
            "[::1]:8080",
            "--listen",
            "admin=/tmp/a.sock",
            "--instances",
            "3",
            "--",
            "sh",
            "-c",
            "echo \"a\\b\" 'c' \t{} %i $X",
        ]);
        let service = &model.services[0];
        assert_eq!(service.name.as_str(), "sh");
        assert!(service.exec.program().of_instance(1).ends_with("/sh"));
        assert_eq!(
            service.exec.arguments()[1].of_instance(1),
            "echo \"a\\b\" 'c' \t{} %i $X"
        );
        let sockets: Vec<_> = service
            .sockets
            .iter()
            .map(|socket| (socket.name.as_str(), socket.listen.addresses().len()))
            .collect();
        assert_eq!(sockets, [("http", 2), ("admin", 1)]);
        assert!(matches!(
            service.strategy,
            Strategy::Rolling { instances: 3, .. }
        ));
        assert!(service.handover);
    }

    #[test]
    fn port_0_is_a_free_port() {
        let listen = ["--listen", "127.0.0.1:0", "--listen", "[::1]:0"];
        let more = ["--listen", "admin=127.0.0.1:0", "--", "sh"];
        let model = model(&[&listen[..], &more].concat());
        let sockets = model.services[0].sockets.iter();
        let addresses: Vec<String> = sockets
            .flat_map(|socket| socket.listen.addresses())
            .map(|address| address.to_string())
            .collect();
        assert_eq!(addresses.len(), 3);
        for (index, address) in addresses.iter().enumerate() {
            assert!(!address.ends_with(":0"), "{addresses:?}");
            assert!(!addresses[..index].contains(address), "{addresses:?}");
        }
    }

    #[test]
    fn what_cannot_be_run_is_told() {
        for program in ["no-such-program-anywhere", "./no-such-program", "/etc"] {
            let words = ["zdt-units", "run", "--listen", ":8080", "--", program];
            let Command::Run(args) = Cli::parse_from(words).command else {
                unreachable!("it is `run`")
            };
            assert!(text(&args).unwrap_err().contains("program"));
        }
    }
}
