//! Any text as a program, an argument, a variable, a path: lines of the input, the first byte says of which key.
#![no_main]

#[path = "../../crates/zdt-units/tests/checks/mod.rs"]
mod checks;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let mut program = "/a".to_owned();
    let (mut arguments, mut variables, mut files, mut directory) = (vec![], vec![], vec![], None);
    // Not at line breaks, which are text too.
    for piece in input.split('\u{1e}') {
        let Some((key, text)) = piece.split_at_checked(1) else {
            continue;
        };
        let quoted = checks::quoted(text);
        match key {
            "p" => program = format!("/a{text}"),
            "v" => variables.push(format!("V{} = {quoted}", variables.len())),
            "f" => files.push(checks::quoted(&format!("/a{text}"))),
            "d" => directory = Some(checks::quoted(&format!("/a{text}"))),
            _ => arguments.push(quoted),
        }
    }
    arguments.insert(0, checks::quoted(&program));
    let directory = directory.map(|path| format!("working_directory = {path}"));
    checks::text(&format!(
        "[service.a]\nexec = [{}]\nlisten = \":80\"\nenvironment = {{ {} }}\nenvironment_files = [{}]\n{}\n",
        arguments.join(", "),
        variables.join(", "),
        files.join(", "),
        directory.unwrap_or_default(),
    ));
});
