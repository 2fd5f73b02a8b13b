//! Quoting for unit files, after `systemd.syntax(7)`, `systemd.service(5)` and `systemd.exec(5)`.
//!
//! The rules were tried with random text on systemd 252, 257 and 262. What
//! has nothing special in it stays bare, so that a unit reads as if a person
//! had written it.

use crate::model::{Piece, Slot, Text};

/// One argument of an `Exec…=` line.
pub(super) fn argument(text: &Text) -> String {
    quote(text.pieces(), Dollar::Double)
}

/// The program of an `Exec…=` line: specifiers are replaced there, variables are not.
///
/// The path has no quote, backslash or control character; systemd refuses those.
pub(super) fn program(path: &Text) -> String {
    quote(path.pieces(), Dollar::Keep)
}

/// One `NAME=value` of an `Environment=` line.
pub(super) fn assignment(name: &str, value: &Text) -> String {
    let name = Piece::Literal(format!("{name}="));
    quote(&[&[name], value.pieces()].concat(), Dollar::Keep)
}

/// A value that is taken whole, such as a path: only specifiers are special.
pub(super) fn whole(text: &str) -> String {
    text.replace('%', "%%")
}

/// As [`whole`], with what is filled in by systemd.
pub(super) fn whole_text(text: &Text) -> String {
    let pieces = text.pieces().iter().map(|piece| match piece {
        Piece::Literal(text) => whole(text),
        Piece::Slot(slot) => specifier(*slot).to_owned(),
    });
    pieces.collect()
}

/// How systemd is told to fill in a value (`systemd.unit(5)`, "Specifiers").
fn specifier(slot: Slot) -> &'static str {
    match slot {
        Slot::Instance => "%i",
        Slot::ServiceName | Slot::ReleasePath => {
            unreachable!("`{}` is filled in when the file is read", slot.name())
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dollar {
    /// `$NAME` would be replaced by a variable.
    Double,
    Keep,
}

fn quote(pieces: &[Piece], dollar: Dollar) -> String {
    let bare = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'/' | b'.' | b'_' | b'-' | b':' | b',' | b'=' | b'@' | b'+'
            )
    };
    let all_bare = pieces.iter().all(|piece| match piece {
        Piece::Literal(text) => text.bytes().all(bare),
        Piece::Slot(_) => true,
    });
    let escaped = pieces.iter().map(|piece| match piece {
        Piece::Literal(text) if all_bare => text.clone(),
        Piece::Literal(text) => escaped(text, dollar),
        Piece::Slot(slot) => specifier(*slot).to_owned(),
    });
    let escaped: String = escaped.collect();
    match all_bare && !escaped.is_empty() {
        true => escaped,
        false => format!("\"{escaped}\""),
    }
}

fn escaped(text: &str, dollar: Dollar) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\\' => out.push_str(r"\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str(r"\n"),
            '\t' => out.push_str(r"\t"),
            '%' => out.push_str("%%"),
            '$' if dollar == Dollar::Double => out.push_str("$$"),
            control if control.is_ascii_control() => {
                out.push_str(&format!("\\x{:02x}", u32::from(control)));
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What systemd makes of a quoted line, written after its manual and not after `quote`:
    /// words are split at spaces, quotes are taken off, C escapes replaced;
    /// then specifiers; then, for arguments, variables.
    fn read_words(line: &str, variables: Dollar) -> Vec<String> {
        let mut words = Vec::new();
        let mut chars = line.chars().peekable();
        loop {
            while chars.next_if(|char| " \t\n\r".contains(*char)).is_some() {}
            if chars.peek().is_none() {
                return words;
            }
            let mut word = Vec::new();
            let mut inside = None;
            while let Some(char) = chars.next() {
                match (char, inside) {
                    ('\\', _) => unescape(&mut chars, &mut word),
                    (quote, Some(open)) if quote == open => inside = None,
                    (quote @ ('"' | '\''), None) => inside = Some(quote),
                    (' ' | '\t' | '\n' | '\r', None) => break,
                    (other, _) => word.extend(other.to_string().bytes()),
                }
            }
            assert_eq!(inside, None, "a quote is left open in {line}");
            let word = String::from_utf8(word).unwrap();
            assert_ne!(word, ";", "a bare `;` starts another command");
            words.push(expand(&word, variables));
        }
    }

    fn unescape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, word: &mut Vec<u8>) {
        match chars.next().expect("nothing follows a backslash") {
            'n' => word.push(b'\n'),
            't' => word.push(b'\t'),
            '\\' => word.push(b'\\'),
            '"' => word.push(b'"'),
            '\'' => word.push(b'\''),
            's' => word.push(b' '),
            'x' => {
                let digits: String = [chars.next(), chars.next()].into_iter().flatten().collect();
                word.push(u8::from_str_radix(&digits, 16).unwrap());
            }
            other => panic!("`\\{other}` is not an escape"),
        }
    }

    fn expand(word: &str, variables: Dollar) -> String {
        let mut out = String::new();
        let mut chars = word.chars();
        while let Some(char) = chars.next() {
            let doubled = match char {
                '%' => true,
                '$' => variables == Dollar::Double,
                _ => false,
            };
            if doubled {
                assert_eq!(chars.next(), Some(char), "a lone `{char}` in {word}");
            }
            out.push(char);
        }
        out
    }

    fn text() -> impl Strategy<Value = String> {
        let special = prop::sample::select(vec![
            "%", "$", "$$", "${X}", "\"", "'", "\\", "\\\n", ";", "#", "=", "-", "@", ":", "+",
            "!", "~", " ", "  ", "\t", "\n", "\r", "\u{1}", "\u{7f}", "é", "🦀", "\u{85}",
        ]);
        let piece = prop_oneof![
            special.prop_map(str::to_owned),
            "[a-zA-Z0-9/.]{0,5}",
            "\\PC"
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn arguments_come_back_as_they_were(arguments in prop::collection::vec(text(), 0..6)) {
            // A `;` that stands alone is quoted, which the reader above cannot see.
            let arguments: Vec<_> = arguments.into_iter().filter(|word| word != ";").collect();
            let line: Vec<_> = arguments.iter().map(|word| argument(&Text::literal(word))).collect();
            let line = line.join(" ");
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(read_words(&line, Dollar::Double), arguments);
        }

        #[test]
        fn variables_come_back_as_they_were(value in text()) {
            let line = assignment("NAME", &Text::literal(&value));
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(read_words(&line, Dollar::Keep), vec![format!("NAME={value}")]);
        }

        #[test]
        fn programs_come_back_as_they_were(path in "/[a-z $%;:@éß-]{0,20}") {
            let line = program(&Text::literal(&path));
            prop_assert_eq!(read_words(&line, Dollar::Keep), vec![path]);
        }
    }

    #[test]
    fn what_needs_no_quotes_gets_none() {
        let written = [
            "--site=eu",
            "/srv/a.b",
            "",
            "a b",
            ";",
            "50%",
            "$HOME",
            "it's",
            "a\\b",
        ]
        .map(|text| argument(&Text::literal(text)));
        assert_eq!(
            written,
            [
                "--site=eu",
                "/srv/a.b",
                r#""""#,
                r#""a b""#,
                r#"";""#,
                r#""50%%""#,
                r#""$$HOME""#,
                r#""it's""#,
                r#""a\\b""#,
            ]
        );
    }
}
