//! Reads environment files as systemd does (`systemd.exec(5)`, `EnvironmentFile=`). Pure.

/// The assignments of `text`, in order; a line that is none is left out, as
/// systemd does.
pub(super) fn parse(text: &str) -> Vec<(String, String)> {
    let mut assignments = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(&char) = rest.peek() {
        if char.is_whitespace() {
            rest.next();
            continue;
        }
        if char == '#' || char == ';' {
            comment(&mut rest);
            continue;
        }
        let mut name = String::new();
        let mut assigned = false;
        for char in rest.by_ref() {
            match char {
                '=' => {
                    assigned = true;
                    break;
                }
                '\n' => break,
                other => name.push(other),
            }
        }
        if assigned {
            let value = value(&mut rest);
            let name = name.trim().to_owned();
            if is_variable(&name) {
                assignments.push((name, value));
            }
        }
    }
    assignments
}

type Rest<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// A backslash carries a comment over to the next line.
fn comment(rest: &mut Rest<'_>) {
    let mut escaped = false;
    for char in rest.by_ref() {
        match char {
            '\n' if !escaped => return,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
}

/// Up to the end of the line that is in no quotes; spaces around it do not count.
fn value(rest: &mut Rest<'_>) -> String {
    let mut value = String::new();
    // Up to here spaces count, because they were quoted.
    let mut kept = 0;
    while rest.next_if(|char| *char == ' ' || *char == '\t').is_some() {}
    while let Some(char) = rest.next() {
        match char {
            '\n' => break,
            '\'' => {
                value.extend(rest.by_ref().take_while(|char| *char != '\''));
                kept = value.len();
            }
            '"' => {
                double_quoted(rest, &mut value);
                kept = value.len();
            }
            '\\' => {
                if let Some(escaped) = rest.next().filter(|char| *char != '\n') {
                    value.push(escaped);
                    kept = value.len();
                }
            }
            other => value.push(other),
        }
    }
    let end = value.trim_end().len().max(kept);
    value.truncate(end);
    value
}

fn double_quoted(rest: &mut Rest<'_>, value: &mut String) {
    while let Some(char) = rest.next() {
        match char {
            '"' => return,
            '\\' => match rest.next() {
                Some('\n') | None => {}
                Some(char @ ('"' | '\\' | '`' | '$')) => value.push(char),
                Some(other) => value.extend(['\\', other]),
            },
            other => value.push(other),
        }
    }
}

fn is_variable(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn assignments_are_read_as_systemd_reads_them() {
        let text = r#"
# a comment
; another \
  that goes on
PLAIN=one two   
EMPTY=
QUOTED=" spaced "
SINGLE='a "b" \n'
MIXED=a'b c'"d"
ESCAPED="say \"hi\" for \$5 \x"
BARE=\ x\=\
y
LONG="over
two lines"
no assignment
1ST=no name
  INDENTED = value
LAST=no newline"#;
        let expected = [
            ("PLAIN", "one two"),
            ("EMPTY", ""),
            ("QUOTED", " spaced "),
            ("SINGLE", r#"a "b" \n"#),
            ("MIXED", "ab cd"),
            ("ESCAPED", r#"say "hi" for $5 \x"#),
            ("BARE", " x=y"),
            ("LONG", "over\ntwo lines"),
            ("INDENTED", "value"),
            ("LAST", "no newline"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parse(text), expected);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text: String) {
            for (name, _) in parse(&text) {
                prop_assert!(is_variable(&name));
            }
        }
    }
}
