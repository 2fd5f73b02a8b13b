//! The tables of `docs/zdt-toml.md`.

use super::{Kind, Shape};

/// The keys of `shape` as a Markdown table.
pub fn reference(shape: &Shape) -> String {
    let with_directives = shape.keys.iter().any(|key| !key.becomes.is_empty());
    let mut out = match with_directives {
        true => "| Key | Takes | Default | Meaning | Becomes |\n| --- | --- | --- | --- | --- |\n",
        false => "| Key | Takes | Default | Meaning |\n| --- | --- | --- | --- |\n",
    }
    .to_owned();
    for key in shape.keys {
        let takes = takes(key.kind);
        out.push_str(&format!(
            "| `{}` | {takes} | {} | {} |",
            key.name, key.default, key.meaning
        ));
        if with_directives {
            out.push_str(&format!(" {} |", key.becomes));
        }
        out.push('\n');
    }
    out
}

fn takes(kind: Kind) -> String {
    let words = |words: &[&str]| {
        let quoted: Vec<_> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
        quoted.join(", ")
    };
    match kind {
        Kind::Text => "string".to_owned(),
        Kind::Duration => "duration".to_owned(),
        Kind::Boolean => "`true` or `false`".to_owned(),
        Kind::Number(least, most) if least == most => least.to_string(),
        Kind::Number(least, most) => format!("{least} to {most}"),
        Kind::NumberOrNumbers(least, most) => format!("{least} to {most}, one or several"),
        Kind::NumberOrTable(least, most, _) => format!("{least} to {most}, or a table"),
        Kind::Scalar => "string, whole number, `true` or `false`".to_owned(),
        Kind::OneOf(known) => words(known),
        Kind::List => "strings".to_owned(),
        Kind::TextOrFalse => "string or `false`".to_owned(),
        Kind::TextOrList => "string or strings".to_owned(),
        Kind::Pairs => "table of strings".to_owned(),
        Kind::Table(_) | Kind::Named(_) => "table".to_owned(),
        Kind::OneOfOrTable(known, _) => format!("{}, table", words(known)),
        Kind::Tables(_) => "tables".to_owned(),
    }
}
