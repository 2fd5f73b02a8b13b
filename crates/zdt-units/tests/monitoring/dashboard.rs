//! The dashboard against the types that Grafana publishes, by the compiler that Grafana is built with.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use super::{example, root, run};

pub(crate) const TYPES: &str = "target/grafana/node_modules/@grafana/schema/package.json";

/// A name, and what is wrong then.
type Flaw = (&'static str, fn(&mut Value));

/// Each is one that Grafana would show as a broken panel, or would not show.
const FLAWS: [Flaw; 8] = [
    ("place", |board| {
        board["panels"][0]["gridPos"]["x"] = json!("0")
    }),
    ("kind", |board| board["panels"][0]["type"] = json!("stats")),
    ("key", |board| board["panels"][0]["titel"] = json!("Serves")),
    ("option", |board| {
        board["panels"][0]["options"] = json!({ "colorMode": "bright" })
    }),
    ("query", |board| {
        board["panels"][0]["targets"][0]["expr"] = Value::Null
    }),
    ("field", |board| {
        board["panels"][4]["fieldConfig"] = json!({ "defaults": { "unit": 7 }, "overrides": [] })
    }),
    ("variable", |board| {
        board["templating"]["list"][0]["type"] = json!("datasorce")
    }),
    ("annotation", |board| {
        board["annotations"]["list"][0]["enable"] = json!("yes")
    }),
];

pub(crate) fn the_dashboard_is_what_grafana_takes() {
    let text = fs::read_to_string(example().join("grafana-dashboard.json")).unwrap();
    let board: Value = serde_json::from_str(&text).unwrap();
    placed(&board);

    // Beside the types, so that the compiler finds them.
    let directory = tempfile::tempdir_in(root().join("target/grafana")).unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write("grafana.ts", include_str!("grafana.ts"));
    let load = |name: &str, board: &str| {
        let head = "import type { File } from \"./grafana.js\";\nexport const file: File =";
        write(&format!("{name}.ts"), &format!("{head} {board};\n"));
    };
    load("whole", &text);
    for (name, spoil) in FLAWS {
        let mut spoiled = board.clone();
        spoil(&mut spoiled);
        load(name, &spoiled.to_string());
    }
    let project = json!({
        "compilerOptions": {
            "strict": true, "noEmit": true, "module": "nodenext", "skipLibCheck": true, "types": []
        },
        "include": ["*.ts"]
    });
    write("tsconfig.json", &project.to_string());
    let compiler = root().join("target/grafana/node_modules/typescript/bin/tsc");
    let said = run(
        directory.path(),
        "node",
        &[compiler.to_str().unwrap(), "-p", "."],
    );

    let found: BTreeSet<&str> = said
        .text
        .lines()
        .filter_map(|line| line.split_once(".ts("))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(found, FLAWS.map(|(name, _)| name).into(), "{}", said.text);
    println!(
        "{} panels; each of {} flaws was found",
        board["panels"].as_array().unwrap().len(),
        FLAWS.len()
    );
}

/// No two panels in one place, none out of the grid, and each has a number of its own.
fn placed(board: &Value) {
    let mut taken = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    for panel in board["panels"].as_array().unwrap() {
        let title = &panel["title"];
        assert!(numbers.insert(panel["id"].as_u64().unwrap()), "{title}");
        let [x, y, w, h] =
            ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(w > 0 && h > 0 && x + w <= 24, "{title}");
        for column in x..x + w {
            for row in y..y + h {
                assert!(taken.insert((column, row)), "{title} lies on another one");
            }
        }
    }
}
