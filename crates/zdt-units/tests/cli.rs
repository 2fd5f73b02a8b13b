//! The program as a person or a script meets it: arguments in; output, talk and exit status out.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "starts the program and looks at its files"
)]

#[path = "cli/generate.rs"]
mod generate;
#[path = "cli/help.rs"]
mod help;
#[path = "cli/install.rs"]
mod install;
#[path = "cli/looking.rs"]
mod looking;

use std::fs;
use std::path::Path;
use std::process::Command;

const SHOP: &str = "[service.shop]\nexec = [\"/bin/true\"]\nlisten = \"0.0.0.0:80\"\n";

/// Runs the program in `directory` and writes down everything that can be seen from outside.
fn transcript(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_zdt-units"))
        .args(arguments)
        .current_dir(directory)
        .env("NO_COLOR", "1")
        .env("COLUMNS", "100")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut transcript = format!("$ zdt-units {}\n", arguments.join(" "));
    transcript.push_str(&text(&output.stdout));
    for line in text(&output.stderr).lines() {
        let line = format!("stderr: {line}");
        transcript.push_str(line.trim_end());
        transcript.push('\n');
    }
    transcript.push_str(&format!("exit status {}\n", output.status.code().unwrap()));
    transcript
}

fn directory_with(text: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("zdt.toml"), text).unwrap();
    directory
}

/// A command that is not told apart, or may take for ever, is not begun.
#[test]
fn a_hold_needs_a_command_and_a_limit() {
    let directory = directory_with(SHOP);
    let said = transcript(directory.path(), &["hold", "shop", "mv", "a", "b"]);
    insta::assert_snapshot!(said, @"
    $ zdt-units hold shop mv a b
    stderr: error: unexpected argument 'mv' found
    stderr:
    stderr: Usage: zdt-units hold [OPTIONS] --max <TIME> <SERVICE> -- <COMMAND>...
    stderr:
    stderr: For more information, try '--help'.
    exit status 2
    ");
}

#[test]
fn a_wrong_command_line_is_status_2() {
    let said = transcript(Path::new("/"), &["generate", "--check"]);
    insta::assert_snapshot!(said, @r#"
    $ zdt-units generate --check
    stderr: error: the following required arguments were not provided:
    stderr:   --out <DIR>
    stderr:
    stderr: Usage: zdt-units generate --out <DIR> --check [SERVICE]...
    stderr:
    stderr: For more information, try '--help'.
    exit status 2
    "#);
}

#[test]
fn a_service_that_is_not_in_the_file_is_status_2() {
    let directory = directory_with(SHOP);
    let said = transcript(directory.path(), &["restart", "shpo", "--dry-run"]);
    insta::assert_snapshot!(said, @r#"
    $ zdt-units restart shpo --dry-run
    stderr: error: there is no service `shpo` in `zdt.toml`
    stderr:
    stderr: hint: did you mean `shop`?
    exit status 2
    "#);
}

#[test]
fn verify_wants_a_service_or_a_program() {
    let verify = |arguments: &[&str]| {
        let shown = transcript(Path::new("/"), &[&["verify"], arguments].concat());
        shown.split_once('\n').unwrap().1.to_owned()
    };
    insta::assert_snapshot!(verify(&["--rate=0", "--path=x", "--", "true"]), @r"
    stderr: error: --rate 0: write a number above 0
    stderr: error: --path x: a path starts with `/` and has no spaces
    exit status 2
    ");
    assert!(verify(&[]).contains("required arguments were not provided"));
    assert!(verify(&["shop", "--", "true"]).contains("cannot be used with"));
    assert!(verify(&["--only=tcp", "--", "true"]).contains("the clients are new, silent"));
    insta::assert_snapshot!(verify(&["--listen=/nowhere/x.sock", "--", "true"]), @r"
    stderr: error: failed to bind `/nowhere/x.sock`: No such file or directory (os error 2); create its directory first
    exit status 4
    ");
    // Before a restart, not after all of them.
    insta::assert_snapshot!(verify(&["--html=/nowhere/x.html", "--", "true"]), @r"
    stderr: error: failed to write `/nowhere/x.html`: its directory is not there
    stderr:
    stderr: hint: create the directory first
    exit status 2
    ");
    insta::assert_snapshot!(verify(&["--html=/dev/null", "--", "true"]), @r"
    stderr: error: failed to write `/dev/null`: it is there, and not a file
    exit status 2
    ");
}

#[test]
fn verify_knows_the_services_of_the_file() {
    let directory = directory_with(SHOP);
    insta::assert_snapshot!(transcript(directory.path(), &["verify", "shpo"]), @r"
    $ zdt-units verify shpo
    stderr: error: there is no service `shpo` in `zdt.toml`
    stderr:
    stderr: hint: did you mean `shop`?
    exit status 2
    ");
}
