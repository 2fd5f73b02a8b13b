//! Walks TOML's spanned tree and notes every mistake instead of stopping at the first.
//!
//! A table's known keys are the ones that were asked for, so the list that
//! an unknown key is compared with cannot go stale.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::problem::Problem;

/// A value and its place in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At<T> {
    pub value: T,
    pub at: Range<usize>,
}

/// Words that people write for a key of ours, where spelling alone does not tell.
const SYNONYMS: &[(&str, &str)] = &[
    ("bind", "listen"),
    ("cmd", "exec"),
    ("command", "exec"),
    ("cwd", "working_directory"),
    ("depends_on", "after"),
    ("env", "environment"),
    ("env_file", "environment_files"),
    ("extends", "template"),
    ("port", "listen"),
    ("replicas", "instances"),
    ("secrets", "credentials"),
    ("services", "service"),
    ("sockets", "socket"),
    ("workers", "instances"),
];

/// One table, its place, and which of its keys were asked for.
#[derive(Debug)]
pub(super) struct Table<'a> {
    /// Where the table's name stands.
    pub(super) at: Range<usize>,
    /// What was written here, then what it falls back to.
    layers: Vec<&'a DeTable<'a>>,
    asked: Vec<&'static str>,
}

impl<'a> Table<'a> {
    pub(super) fn new(entries: &'a DeTable<'a>, at: Range<usize>) -> Self {
        Self {
            at,
            layers: vec![entries],
            asked: Vec::new(),
        }
    }

    /// Keys that are not here are looked up in `base`, and so in the tables inside.
    pub(super) fn over(mut self, base: &Self) -> Self {
        self.layers.extend(&base.layers);
        self
    }

    fn take(&mut self, key: &'static str) -> Option<(Range<usize>, &'a Spanned<DeValue<'a>>)> {
        self.asked.push(key);
        let (name, value) = self.get(key)?;
        Some((name.span(), value))
    }

    fn get(&self, key: &str) -> Option<(&'a Spanned<DeString<'a>>, &'a Spanned<DeValue<'a>>)> {
        let mut layers = self.layers.iter();
        layers.find_map(|entries| entries.get_key_value(key))
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The word under `key`, which is still to be read.
    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        self.get(key)?.1.get_ref().as_str()
    }

    /// The tables under `key`, the first of which is where `entries` are.
    fn inside(&self, key: &str, at: Range<usize>, entries: &'a DeTable<'a>) -> Self {
        let mut table = Table::new(entries, at);
        let values = self.layers.iter().filter_map(|layer| layer.get(key));
        let below = values.skip(1).map_while(|value| value.get_ref().as_table());
        table.layers.extend(below);
        table
    }

    pub(super) fn string(
        &mut self,
        key: &'static str,
        problems: &mut Vec<Problem>,
    ) -> Option<At<String>> {
        let (_, value) = self.take(key)?;
        string(value, &format!("`{key}`"), problems)
    }

    pub(super) fn integer(
        &mut self,
        key: &'static str,
        problems: &mut Vec<Problem>,
    ) -> Option<At<i64>> {
        let (_, value) = self.take(key)?;
        let parsed = whole(value.get_ref());
        if parsed.is_none() {
            problems.push(wrong_type(value, &format!("`{key}`"), "a whole number"));
        }
        Some(At {
            value: parsed?,
            at: value.span(),
        })
    }

    /// A whole number, or an array of them.
    pub(super) fn integer_or_integers(
        &mut self,
        key: &'static str,
        problems: &mut Vec<Problem>,
    ) -> Option<At<Vec<At<i64>>>> {
        let (_, value) = self.take(key)?;
        let entries = match value.get_ref().as_array() {
            Some(array) => array.iter().collect(),
            None => vec![value],
        };
        let mut numbers = Vec::new();
        let known = problems.len();
        for entry in entries {
            match whole(entry.get_ref()) {
                Some(value) => numbers.push(At {
                    value,
                    at: entry.span(),
                }),
                None => {
                    let wanted = "a whole number or an array of them";
                    problems.push(wrong_type(entry, &format!("`{key}`"), wanted));
                }
            }
        }
        (problems.len() == known).then(|| At {
            value: numbers,
            at: value.span(),
        })
    }

    /// A string, a whole number or a boolean, as JSON has it.
    pub(super) fn scalar(
        &mut self,
        key: &'static str,
        problems: &mut Vec<Problem>,
    ) -> Option<At<serde_json::Value>> {
        let (_, value) = self.take(key)?;
        let parsed = match value.get_ref() {
            DeValue::String(text) => Some(text.to_string().into()),
            DeValue::Boolean(boolean) => Some((*boolean).into()),
            other => whole(other).map(serde_json::Value::from),
        };
        if parsed.is_none() {
            let wanted = "a string, a whole number or a boolean";
            problems.push(wrong_type(value, &format!("`{key}`"), wanted));
        }
        Some(At {
            value: parsed?,
            at: value.span(),
        })
    }

    /// Where a key stands.
    pub(super) fn place(&self, key: &str) -> Option<Range<usize>> {
        self.get(key).map(|(name, _)| name.span())
    }

    pub(super) fn boolean(
        &mut self,
        key: &'static str,
        problems: &mut Vec<Problem>,
    ) -> Option<At<bool>> {
        let (_, value) = self.take(key)?;
        let parsed = value.get_ref().as_bool();
        if parsed.is_none() {
            problems.push(wrong_type(value, &format!("`{key}`"), "`true` or `false`"));
        }
        Some(At {
            value: parsed?,
            at: value.span(),
        })
    }

    /// An array of strings.
    pub(super) fn strings(
        &mut self,
        key: &'static str,
        problems: &mut Vec<Problem>,
    ) -> Option<At<Vec<At<String>>>> {
        let (_, value) = self.take(key)?;
        if value.get_ref().is_str() {
            let problem = wrong_type(value, &format!("`{key}`"), "an array of strings");
            let hint = match key {
                "exec" => "write the program and each argument as a string of its own: \
                           `[\"/bin/app\", \"--port\", \"80\"]`; no shell reads it"
                    .to_owned(),
                _ => format!("put it in brackets: `{key} = [\"…\"]`"),
            };
            problems.push(problem.hint(hint));
            return None;
        }
        strings(value, key, "an array of strings", problems)
    }

    /// A string, or an array of strings.
    pub(super) fn string_or_strings(
        &mut self,
        key: &'static str,
        problems: &mut Vec<Problem>,
    ) -> Option<At<Vec<At<String>>>> {
        let (_, value) = self.take(key)?;
        if value.get_ref().is_str() {
            let one = string(value, key, problems)?;
            return Some(At {
                at: one.at.clone(),
                value: vec![one],
            });
        }
        strings(value, key, "a string or an array of strings", problems)
    }

    /// A table of strings whose keys are the user's own; in the order of the text.
    pub(super) fn string_table(
        &mut self,
        key: &'static str,
        problems: &mut Vec<Problem>,
    ) -> Vec<(At<String>, At<String>)> {
        let Some(table) = self.table(key, problems) else {
            return Vec::new();
        };
        let own_first = table.layers.iter().enumerate();
        let mut pairs: Vec<_> = own_first
            .flat_map(|(depth, entries)| entries.iter().map(move |entry| (depth, entry)))
            .filter(|(depth, (name, _))| {
                let mut above = table.layers[..*depth].iter();
                !above.any(|layer| layer.contains_key(name.get_ref().as_ref()))
            })
            .filter_map(|(_, (name, value))| {
                let value = string(value, &format!("`{key}.{}`", name.get_ref()), problems)?;
                Some((
                    At {
                        value: name.get_ref().to_string(),
                        at: name.span(),
                    },
                    value,
                ))
            })
            .collect();
        pairs.sort_by_key(|(name, _)| name.at.start);
        pairs
    }

    pub(super) fn table(
        &mut self,
        key: &'static str,
        problems: &mut Vec<Problem>,
    ) -> Option<Table<'a>> {
        let (name, value) = self.take(key)?;
        match value.get_ref().as_table() {
            Some(entries) => Some(self.inside(key, name, entries)),
            None => {
                problems.push(wrong_type(value, &format!("`{key}`"), "a table"));
                None
            }
        }
    }

    /// `[[key]]` tables, in the order of the text.
    pub(super) fn tables(
        &mut self,
        key: &'static str,
        problems: &mut Vec<Problem>,
    ) -> Vec<Table<'a>> {
        let Some((_, value)) = self.take(key) else {
            return Vec::new();
        };
        let Some(array) = value.get_ref().as_array() else {
            problems.push(
                wrong_type(value, &format!("`{key}`"), "an array of tables")
                    .hint("write its header with two brackets: `[[…]]`"),
            );
            return Vec::new();
        };
        let mut tables = Vec::new();
        for entry in array.iter() {
            match entry.get_ref().as_table() {
                Some(entries) => tables.push(Table::new(entries, entry.span())),
                None => problems.push(wrong_type(entry, &format!("`{key}`"), "tables")),
            }
        }
        tables
    }

    /// Tables under names of the user's own (`[key.NAME]`), in the order of the text.
    pub(super) fn named_tables(
        &mut self,
        key: &'static str,
        problems: &mut Vec<Problem>,
    ) -> Vec<(At<String>, Table<'a>)> {
        let Some(outer) = self.table(key, problems) else {
            return Vec::new();
        };
        let mut named = Vec::new();
        let entries = outer.layers.iter().flat_map(|layer| layer.iter());
        for (name, value) in entries {
            match value.get_ref().as_table() {
                Some(entries) => named.push((
                    At {
                        value: name.get_ref().to_string(),
                        at: name.span(),
                    },
                    Table::new(entries, name.span()),
                )),
                None => problems.push(
                    wrong_type(value, &format!("`{key}.{}`", name.get_ref()), "a table")
                        .hint(format!("name the {key} in the header: `[{key}.NAME]`")),
                ),
            }
        }
        named.sort_by_key(|(name, _)| name.at.start);
        named
    }

    /// A string, or a table, whichever is there.
    pub(super) fn string_or_table(
        &mut self,
        key: &'static str,
        problems: &mut Vec<Problem>,
    ) -> Option<StringOrTable<'a>> {
        let (name, value) = self.take(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(StringOrTable::String(At {
                value: text.to_string(),
                at: value.span(),
            })),
            DeValue::Table(entries) => Some(StringOrTable::Table(self.inside(key, name, entries))),
            _ => {
                problems.push(wrong_type(
                    value,
                    &format!("`{key}`"),
                    "a string or a table",
                ));
                None
            }
        }
    }

    /// A whole number, or a table, whichever is there.
    pub(super) fn integer_or_table(
        &mut self,
        key: &'static str,
        problems: &mut Vec<Problem>,
    ) -> Option<IntegerOrTable<'a>> {
        let (name, value) = self.take(key)?;
        if let Some(entries) = value.get_ref().as_table() {
            return Some(IntegerOrTable::Table(self.inside(key, name, entries)));
        }
        let parsed = whole(value.get_ref());
        if parsed.is_none() {
            let wanted = "a whole number or a table";
            problems.push(wrong_type(value, &format!("`{key}`"), wanted));
        }
        Some(IntegerOrTable::Integer(At {
            value: parsed?,
            at: value.span(),
        }))
    }

    /// A string, or `false` for nothing of the kind.
    pub(super) fn string_or_false(
        &mut self,
        key: &'static str,
        problems: &mut Vec<Problem>,
    ) -> Option<At<Option<String>>> {
        let (_, value) = self.take(key)?;
        let read = match value.get_ref() {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Boolean(false) => None,
            _ => {
                problems.push(wrong_type(
                    value,
                    &format!("`{key}`"),
                    "a string or `false`",
                ));
                return None;
            }
        };
        Some(At {
            value: read,
            at: value.span(),
        })
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self, problems: &mut Vec<Problem>) {
        // What is below has a name of its own and was read under it.
        for (name, _) in self.layers[0].iter() {
            let key = name.get_ref().as_ref();
            if self.asked.contains(&key) {
                continue;
            }
            let problem = Problem::new(&name.span(), format!("unknown key `{key}`"));
            let problem = match nearest(key, &self.asked) {
                Some(known) => problem.label(format!("did you mean `{known}`?")),
                None => {
                    let mut known = self.asked.clone();
                    known.sort_unstable();
                    problem.hint(format!("the keys known here are {}", list(&known)))
                }
            };
            problems.push(problem);
        }
    }
}

#[derive(Debug)]
pub(super) enum StringOrTable<'a> {
    String(At<String>),
    Table(Table<'a>),
}

#[derive(Debug)]
pub(super) enum IntegerOrTable<'a> {
    Integer(At<i64>),
    Table(Table<'a>),
}

fn whole(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok()
}

fn string(
    value: &Spanned<DeValue<'_>>,
    what: &str,
    problems: &mut Vec<Problem>,
) -> Option<At<String>> {
    let Some(text) = value.get_ref().as_str() else {
        let mut problem = wrong_type(value, what, "a string");
        if !value.get_ref().is_table() && !value.get_ref().is_array() {
            problem = problem.hint("put it in quotes");
        }
        problems.push(problem);
        return None;
    };
    Some(At {
        value: text.to_owned(),
        at: value.span(),
    })
}

fn strings(
    value: &Spanned<DeValue<'_>>,
    key: &str,
    wanted: &str,
    problems: &mut Vec<Problem>,
) -> Option<At<Vec<At<String>>>> {
    let Some(array) = value.get_ref().as_array() else {
        problems.push(wrong_type(value, &format!("`{key}`"), wanted));
        return None;
    };
    let what = format!("each part of `{key}`");
    Some(At {
        value: array
            .iter()
            .filter_map(|entry| string(entry, &what, problems))
            .collect(),
        at: value.span(),
    })
}

fn wrong_type(value: &Spanned<DeValue<'_>>, what: &str, wanted: &str) -> Problem {
    let found = match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    };
    Problem::new(&value.span(), format!("{what} is to be {wanted}"))
        .label(format!("this is {found}"))
}

/// The known word that was probably meant.
pub(crate) fn nearest<'k>(written: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = written.to_lowercase().replace('-', "_");
    let meant = SYNONYMS
        .iter()
        .find(|(theirs, ours)| *theirs == word && known.contains(ours));
    if let Some((_, ours)) = meant {
        return known.iter().find(|key| *key == ours).copied();
    }
    known
        .iter()
        .map(|key| {
            (
                strsim::damerau_levenshtein(&word, &key.to_lowercase()),
                *key,
            )
        })
        .filter(|(distance, key)| *distance <= (key.len() / 3).max(1))
        .min()
        .map(|(_, key)| key)
}

/// `a`, `b` and `c`, each in backticks.
pub(crate) fn list(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.as_slice() {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [head @ .., last] => format!("{} and {last}", head.join(", ")),
    }
}
