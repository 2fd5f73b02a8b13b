//! Quoting for unit files, after `systemd.syntax(7)`, `systemd.service(5)` and `systemd.exec(5)`.
//!
//! The rules were tried with random text on systemd 252, 257 and 262. What
//! has nothing special in it stays bare, so that a unit reads as if a person
//! had written it.

use crate::model::{Piece, Slot, Text};

/// The value of an `Exec…=` line.
///
/// The path has no quote, backslash or control character; systemd refuses those.
pub(super) fn command(program: &Text, arguments: &[Text]) -> String {
    // In the path itself no variable is replaced, but in the name that the process gets for it, unless a `:` keeps
    // them from being replaced at all.
    let (prefix, dollar) = match program.to_string().contains('$') {
        true => (":", Dollar::Keep),
        false => ("", Dollar::Double),
    };
    let mut line = format!("{prefix}{}", quote(program.pieces(), Dollar::Keep));
    for argument in arguments {
        line.push(' ');
        line.push_str(&quote(argument.pieces(), dollar));
    }
    line
}

/// A program and its arguments, as further arguments of another program.
pub(super) fn words(program: &Text, arguments: &[Text]) -> String {
    let all = std::iter::once(program).chain(arguments);
    let quoted: Vec<String> = all
        .map(|word| quote(word.pieces(), Dollar::Double))
        .collect();
    quoted.join(" ")
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
pub(super) fn path(text: &Text) -> String {
    each(text.pieces(), whole)
}

/// A path that is taken for a pattern, see `glob(7)`.
pub(super) fn pattern(path: &Text) -> String {
    each(path.pieces(), |literal| {
        let mut out = String::new();
        for char in whole(literal).chars() {
            if matches!(char, '*' | '?' | '[' | '\\') {
                out.push('\\');
            }
            out.push(char);
        }
        out
    })
}

fn each(pieces: &[Piece], escape: impl Fn(&str) -> String) -> String {
    let escaped = pieces.iter().map(|piece| match piece {
        Piece::Literal(text) => escape(text),
        Piece::Slot(Slot::Instance) => INSTANCE.to_owned(),
        // Of a model that is not for systemd; as it was written is the best that can be shown.
        Piece::Slot(slot) => escape(&format!("{{{{{}}}}}", slot.name())),
    });
    escaped.collect()
}

/// How systemd is told to fill in the number of an instance (`systemd.unit(5)`, "Specifiers").
const INSTANCE: &str = "%i";

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
        Piece::Slot(slot) => *slot == Slot::Instance,
    });
    match each(pieces, |text| escaped(text, dollar)) {
        bare if all_bare && !bare.is_empty() => bare,
        quoted => format!("\"{quoted}\""),
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
mod read;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        fn commands_come_back_as_they_were(
            program in "/[a-z $%;:@éß-]{0,20}",
            arguments in prop::collection::vec(text(), 0..6),
        ) {
            let texts: Vec<_> = arguments.iter().map(Text::literal).collect();
            let line = command(&Text::literal(&program), &texts);
            prop_assert!(!line.contains('\n'));
            let mut words = arguments;
            words.insert(0, program.clone());
            prop_assert_eq!(read::command(&line), (program, words));
        }

        #[test]
        fn variables_come_back_as_they_were(value in text()) {
            let line = assignment("NAME", &Text::literal(&value));
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(read::assignment(&line), format!("NAME={value}"));
        }

        #[test]
        fn paths_come_back_as_they_were(path in "/[a-z $%;:@éß*?\\[\\]{}\\\\-]{0,20}") {
            prop_assert_eq!(read::whole(&whole(&path)), path.as_str());
            prop_assert_eq!(read::pattern(&pattern(&Text::literal(&path))), path);
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
        .map(|argument| command(&Text::literal("/x"), &[Text::literal(argument)]));
        assert_eq!(
            written,
            [
                "/x --site=eu",
                "/x /srv/a.b",
                r#"/x """#,
                r#"/x "a b""#,
                r#"/x ";""#,
                r#"/x "50%%""#,
                r#"/x "$$HOME""#,
                r#"/x "it's""#,
                r#"/x "a\\b""#,
            ]
        );
    }

    #[test]
    fn a_program_is_told_its_name_as_it_is() {
        let line = command(&Text::literal("/$x"), &[Text::literal("$y")]);
        assert_eq!(line, r#":"/$x" "$y""#);
    }

    #[test]
    fn a_file_is_not_a_pattern() {
        let path = Text::literal(r"/etc/*[a]?\100%");
        assert_eq!(pattern(&path), r"/etc/\*\[a]\?\\100%%");
    }
}
