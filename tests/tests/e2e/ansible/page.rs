//! The table of variables in the role's README, and its defaults, are those of its argument specs.
#![expect(
    clippy::disallowed_methods,
    reason = "reads the role, and asks `ansible-doc` for its specs"
)]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;
use zdt_e2e::machine::Machine;

use super::play::{self, example};

const BEGIN: &str = "<!-- variables -->\n";
const END: &str = "<!-- end -->";

#[derive(Debug, Deserialize)]
struct Role {
    entry_points: BTreeMap<String, EntryPoint>,
}

#[derive(Debug, Deserialize)]
struct EntryPoint {
    #[serde(default)]
    options: BTreeMap<String, Variable>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Variable {
    description: String,
    r#type: String,
    elements: Option<String>,
    #[serde(default)]
    required: bool,
    default: Option<Value>,
    #[serde(default)]
    options: BTreeMap<String, Variable>,
}

/// `BLESS=1` writes the table.
pub(super) fn every_variable_is_on_the_page(machine: &Machine) -> Result<(), Box<dyn Error>> {
    play::needs_ansible(machine)?;
    let output = Command::new(play::program("ansible-doc"))
        .args(["--type=role", "--json", "--roles-path"])
        .arg(example("roles"))
        .arg("zdt")
        .output()?;
    let told: BTreeMap<String, Role> = serde_json::from_slice(&output.stdout)?;
    let entry_points = &told["zdt"].entry_points;
    let parts = entry_points.iter().filter(|(name, _)| *name != "main");

    let mut variables: BTreeMap<&str, (&Variable, Vec<&str>)> = BTreeMap::new();
    for (part, entry_point) in parts {
        for (name, variable) in &entry_point.options {
            let (known, of) = variables.entry(name).or_insert((variable, Vec::new()));
            assert_eq!(*known, variable, "`{name}` of `{part}`");
            of.push(part);
        }
    }
    for (name, variable) in &entry_points["main"].options {
        assert_eq!(variables[name.as_str()].0.r#type, variable.r#type, "{name}");
    }

    let defaults = fs::read_to_string(example("roles/zdt/defaults/main.yml"))?;
    let defaults: BTreeMap<&str, &str> = defaults
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(": "))
        .collect();
    let of_specs = variables.iter().filter_map(|(name, (variable, _))| {
        let default = variable.default.as_ref()?;
        let text = match default.as_str() {
            Some(text) if !text.is_empty() => text.to_owned(),
            _ => default.to_string(),
        };
        Some((*name, text))
    });
    let of_specs: Vec<(&str, String)> = of_specs.collect();
    let of_specs: BTreeMap<&str, &str> = of_specs
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    assert_eq!(defaults, of_specs);

    let mut table = String::from(
        "| Variable | Type | Default | Part | Meaning |\n| --- | --- | --- | --- | --- |\n",
    );
    for (name, (variable, of)) in &variables {
        table.push_str(&row(name, variable, &of.join(", ")));
        for (key, option) in &variable.options {
            table.push_str(&row(&format!("{name}[].{key}"), option, ""));
        }
    }
    let path = example("roles/zdt/README.md");
    let page = fs::read_to_string(&path)?;
    let (before, rest) = page.split_once(BEGIN).ok_or("no table of variables")?;
    let (_, after) = rest.split_once(END).ok_or("the table has no end")?;
    let wanted = format!("{before}{BEGIN}{table}{END}{after}");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &wanted)?;
    }
    assert!(
        fs::read_to_string(&path)? == wanted,
        "`{}` is not up to date; `BLESS=1` writes it",
        path.display()
    );
    Ok(())
}

fn row(name: &str, variable: &Variable, of: &str) -> String {
    let kind = match &variable.elements {
        Some(elements) => format!("{} of {elements}", variable.r#type),
        None => variable.r#type.clone(),
    };
    let default = match (&variable.default, variable.required) {
        (Some(default), _) => format!("`{default}`"),
        (None, true) => "required".to_owned(),
        (None, false) => "none".to_owned(),
    };
    // C(code) and V(value) are how Ansible marks them.
    let mut meaning = variable.description.clone();
    for mark in ["C(", "V("] {
        while let Some((before, rest)) = meaning.split_once(mark) {
            let (marked, after) = rest.split_once(')').unwrap_or((rest, ""));
            meaning = format!("{before}`{marked}`{after}");
        }
    }
    format!("| `{name}` | {kind} | {default} | {of} | {meaning} |\n")
}
