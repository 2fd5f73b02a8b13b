//! What holds for every `zdt.toml`, tried with the committed ones, with bytes of theirs changed, and with documents of
//! known keys and random values. `fuzz/` goes further with the same checks.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "reads the committed cases"
)]

mod checks;

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

/// The text of every `zdt.toml` of `tests/generate`, and of `tests/mistakes`.
fn committed() -> Vec<String> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let files = |directory: &str| -> Vec<PathBuf> {
        let entries = fs::read_dir(tests.join(directory)).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let goldens = files("generate")
        .into_iter()
        .map(|case| case.join("zdt.toml"));
    let mistakes = files("mistakes").into_iter();
    let mistakes = mistakes.filter(|path| path.extension().is_some_and(|kind| kind == "toml"));
    let mut paths: Vec<_> = goldens.chain(mistakes).collect();
    paths.sort();
    assert!(paths.len() >= 10, "the cases are gone: {paths:?}");
    paths
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect()
}

#[test]
fn committed_files_are_read_or_told_and_their_units_keep_the_port() {
    for text in committed() {
        checks::text(&text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_files_are_read_or_told(text in changed()) {
        checks::text(&text);
    }

    #[test]
    fn documents_are_read_or_told(text in document()) {
        checks::text(&text);
    }
}

/// A committed file with some bytes replaced, taken out or put in; what is no text then is made one.
fn changed() -> impl Strategy<Value = String> {
    let change = (any::<prop::sample::Index>(), 0..4_usize, any::<u8>());
    let changes = prop::collection::vec(change, 1..8);
    (prop::sample::select(committed()), changes).prop_map(|(text, changes)| {
        let mut bytes = text.into_bytes();
        for (at, taken, put) in changes {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            let end = bytes.len().min(at + taken);
            bytes.splice(at..end, [put]);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// `[service.NAME]` tables of keys that exist, with values of the right kind, most of them good.
fn document() -> impl Strategy<Value = String> {
    let keys = prop::sample::subsequence(KEYS, 0..=4);
    let lines = keys.prop_flat_map(|keys| keys.into_iter().map(line).collect::<Vec<_>>());
    let services = prop::collection::btree_map("[a-z]{1,3}", (line("exec"), lines), 1..3);
    services.prop_map(|services| {
        let tables = services.into_iter().map(|(name, (exec, lines))| {
            let lines = lines.join("\n");
            format!("[service.{name}]\n{exec}\nlisten = \"/run/{name}\"\n{lines}\n")
        });
        tables.collect()
    })
}

const KEYS: &[&str] = &[
    "after",
    "bake",
    "check",
    "credentials",
    "documentation",
    "drain",
    "environment",
    "environment_files",
    "handover",
    "health",
    "instances",
    "migrate",
    "nofile",
    "release",
    "memory",
    "port",
    "ready",
    "restart",
    "restart_sec",
    "sandbox",
    "start_timeout",
    "stop",
    "strategy",
    "user",
    "warm",
    "watchdog",
    "working_directory",
];

/// `key = VALUE`.
fn line(key: &'static str) -> BoxedStrategy<String> {
    let list = |items: Vec<String>| format!("[{}]", items.join(", "));
    let value = match key {
        "after" => {
            let unit = "\"([a-z]{1,3}|[a-z@]{1,4}\\.(service|target))\"";
            prop::collection::vec(mostly(unit.boxed()), 0..3)
                .prop_map(list)
                .boxed()
        }
        "drain" => "\\{ (grace|limit|linger) = \"[1-9][0-9]{0,2}(s|ms)\" \\}".boxed(),
        "environment" => prop::collection::btree_map("[A-Z]{1,3}", string(), 0..4)
            .prop_map(|all| {
                let all = all.iter().map(|(name, value)| format!("{name} = {value}"));
                format!("{{ {} }}", all.collect::<Vec<_>>().join(", "))
            })
            .boxed(),
        "environment_files" => prop::collection::vec(mostly(file()), 0..3)
            .prop_map(list)
            .boxed(),
        "exec" => (mostly(path()), prop::collection::vec(string(), 0..4))
            .prop_map(move |(program, words)| list([vec![program], words].concat()))
            .boxed(),
        "health" => "\\{ (listen = \"(127\\.0\\.0\\.1:[1-9][0-9]{0,3}|/run/h)\"|http = \"(http|unix|https):/{0,2}[0-9a-z.:/?]{0,12}\"|tcp = \":[1-9][0-9]{0,3}\"|active = (true|false)) \\}".boxed(),
        "memory" => "\\{ limit = \"[1-9][0-9]{0,2}(kB|MiB)\", warn = \"[1-9]MiB\" \\}".boxed(),
        "port" => mostly("[1-9][0-9]{0,4}|\\{ from = [1-9][0-9]{3}, to = [1-9][0-9]{3} \\}".boxed()),
        "ready" => mostly("\"(notify|started)\"".boxed()),
        "restart" => "\\{ pause = \"[1-9]s\", factor = [0-9], longest = \"[1-9]{1,2}s\" \\}".boxed(),
        "stop" => (mostly(path()), prop::collection::vec(string(), 0..4), 0..4_usize)
            .prop_map(move |(program, words, how)| {
                let command = list([vec![program], words].concat());
                let rest = [
                    "signal = \"SIGQUIT\"",
                    "drain_limit = \"90s\"",
                    "drain = [\"/bin/a\", \"$b\"], drain_limit = \"90s\"",
                    "command = [\"/bin/a\"]",
                ];
                format!("{{ quiet = {command}, {} }}", rest[how])
            })
            .boxed(),
        "nofile" => mostly("[1-9][0-9]{2,8}".boxed()),
        "sandbox" => "\"(default|none)\"|\\{ network = \"none\", state = \"x\" \\}".boxed(),
        "strategy" => mostly("\"(queue|standby|rolling|reload)\"".boxed()),
        "handover" => "true|false".boxed(),
        "instances" => mostly("[1-3]".boxed()),
        "bake" => mostly("\"[0-9]{1,2}s\"".boxed()),
        "documentation" => "\"(https://a\\.b/%20|man:a\\(1\\))\"".boxed(),
        "credentials" => mostly(path())
            .prop_map(|path| format!("{{ key = {path} }}"))
            .boxed(),
        "release" => mostly(path())
            .prop_map(|path| format!("{{ root = {path}, keep = 3 }}"))
            .boxed(),
        "check" | "migrate" | "warm" => (mostly(path()), prop::collection::vec(string(), 0..3))
            .prop_map(move |(program, words)| {
                format!("{{ command = {} }}", list([vec![program], words].concat()))
            })
            .boxed(),
        "user" => "\"[a-z_][a-z0-9-]{0,8}\"".boxed(),
        "working_directory" => mostly(path()),
        _ => mostly("\"[1-9][0-9]{0,2}(s|m)\"".boxed()),
    };
    value
        .prop_map(move |value| format!("{key} = {value}"))
        .boxed()
}

/// Sometimes something else.
fn mostly(good: BoxedStrategy<String>) -> BoxedStrategy<String> {
    prop_oneof![40 => good, 1 => string()].boxed()
}

/// Any text, as a basic string of TOML.
fn string() -> impl Strategy<Value = String> {
    let special = prop::sample::select(vec![
        "%", "$", "\"", "'", "\\", "\n", ";", " ", "-", "*", "[", "/", "é", "\u{1}",
    ]);
    let piece = prop_oneof![
        20 => special.prop_map(str::to_owned),
        20 => "[a-z{}]{0,3}",
        1 => any::<String>(),
    ];
    let literal =
        prop::collection::vec(piece, 0..5).prop_map(|pieces| checks::quoted(&pieces.concat()));
    let value = prop::sample::select(vec![
        "service.name",
        "release.path",
        "instance",
        "instances",
        "port",
        "release.name",
    ])
    .prop_map(|name| format!("\"a {{{{{name}}}}} %i\""));
    prop_oneof![8 => literal, 1 => value]
}

/// Not a pattern, whatever it looks like.
fn file() -> BoxedStrategy<String> {
    "-?/[a-z*?%\\[\\]]{0,8}[a-z]"
        .prop_map(|path| format!("\"{path}\""))
        .boxed()
}

/// One that most keys take.
fn path() -> BoxedStrategy<String> {
    "[a-zA-Z0-9 %$;:@./-]{0,12}[a-z]"
        .prop_map(|path| format!("\"/{path}\""))
        .boxed()
}
