//! A JSON Schema of `zdt.toml`, for editors.

use serde_json::{Map, Value, json};

use super::{FILE, FOREIGN, Kind, SERVICE, Shape};

/// The schema (draft 2020-12). It knows keys and kinds; what values mean
/// together only [`Model::read`](crate::model::Model::read) knows.
pub fn schema() -> Value {
    let mut file = table(&FILE, Missing::Complains);
    file["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    file["title"] = json!("zdt.toml");
    file["properties"]["service"]["additionalProperties"] = json!({
        "if": { "required": ["unit"] },
        "then": table(&FOREIGN, Missing::Complains),
        // What is missing here may be in the template.
        "else": table(&SERVICE, Missing::IsFine),
    });
    file["properties"]["service"]["propertyNames"] = name();
    let template = &mut file["properties"]["template"];
    template["propertyNames"] = name();
    if let Some(keys) = template["additionalProperties"]["properties"].as_object_mut() {
        keys.remove("template");
    }
    file
}

/// Whether a table without its required keys is wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Complains,
    IsFine,
}

fn table(shape: &Shape, missing: Missing) -> Value {
    let properties: Map<String, Value> = shape
        .keys
        .iter()
        .map(|key| {
            let mut property = kind(key.kind);
            property["description"] = json!(key.meaning);
            (key.name.to_owned(), property)
        })
        .collect();
    let mut table = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    let required: Vec<_> = shape
        .keys
        .iter()
        .filter(|key| key.default == "required")
        .map(|key| key.name)
        .collect();
    if missing == Missing::Complains && !required.is_empty() {
        table["required"] = json!(required);
    }
    table
}

fn kind(kind: Kind) -> Value {
    let strings = || json!({ "type": "array", "items": { "type": "string" } });
    match kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Duration => {
            json!({ "type": "string", "pattern": DURATION, "examples": ["500ms", "30s", "1m 30s"] })
        }
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Number(least, most) => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        Kind::NumberOrNumbers(least, most) => {
            let number = json!({ "type": "integer", "minimum": least, "maximum": most });
            json!({ "anyOf": [number, { "type": "array", "items": number, "minItems": 1 }] })
        }
        Kind::NumberOrTable(least, most, shape) => {
            let number = json!({ "type": "integer", "minimum": least, "maximum": most });
            json!({ "anyOf": [number, table(shape, Missing::Complains)] })
        }
        Kind::Scalar => json!({ "type": ["string", "integer", "boolean"] }),
        Kind::OneOf(words) => json!({ "enum": words }),
        Kind::List => strings(),
        Kind::TextOrFalse => json!({ "anyOf": [{ "type": "string" }, { "const": false }] }),
        Kind::TextOrList => json!({ "anyOf": [{ "type": "string" }, strings()] }),
        Kind::Pairs => {
            json!({ "type": "object", "additionalProperties": { "type": "string" } })
        }
        Kind::Table(shape) => table(shape, Missing::Complains),
        Kind::OneOfOrTable(words, shape) => {
            json!({ "anyOf": [{ "enum": words }, table(shape, Missing::Complains)] })
        }
        Kind::Tables(shape) => {
            json!({ "type": "array", "items": table(shape, Missing::Complains) })
        }
        Kind::Named(shape) => {
            json!({ "type": "object", "additionalProperties": table(shape, Missing::IsFine) })
        }
    }
}

/// As `humantime` reads it, roughly: numbers, each with its unit.
const DURATION: &str = r"^\s*(\d+\s*[a-zA-Z]+\s*)+$";

fn name() -> Value {
    json!({ "pattern": "^[A-Za-z][A-Za-z0-9_-]{0,30}$" })
}
