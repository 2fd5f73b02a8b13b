//! What systemd makes of escaped text, written after its manual and not after `escape`. For tests, which also take it
//! from `tests/checks` and `fuzz`.

/// The path and the words that a process gets from the value of `ExecStart=`.
pub(crate) fn command(line: &str) -> (String, Vec<String>) {
    let (line, variables) = match line.strip_prefix(':') {
        Some(line) => (line, false),
        None => (line, true),
    };
    let words = split(line);
    assert!(!words[0].is_empty(), "no program in {line}");
    // Specifiers come first, everywhere. Variables are replaced in what the process gets, not in the path.
    let path = whole(&words[0]);
    let given = words.iter().map(|word| match variables {
        true => undouble_dollars(&whole(word)),
        false => whole(word),
    });
    (path, given.collect())
}

/// The one `NAME=value` of an `Environment=` line.
pub(crate) fn assignment(line: &str) -> String {
    let words = split(line);
    assert_eq!(words.len(), 1, "not one assignment: {line}");
    whole(&words[0])
}

/// A value that is not split. `%i` becomes a NUL, which is in no text; `%t` is `/run`.
pub(crate) fn whole(text: &str) -> String {
    let pieces: Vec<_> = text
        .split("%%")
        .map(|piece| piece.replace("%i", "\0").replace("%t", "/run"))
        .collect();
    assert!(
        !pieces.iter().any(|piece| piece.contains('%')),
        "a lone `%` in {text}"
    );
    pieces.join("%")
}

/// The one file that a pattern matches, see `glob(7)`.
pub(crate) fn pattern(text: &str) -> String {
    let mut out = String::new();
    let text = whole(text);
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        assert!(!"*?[".contains(char), "a pattern: {text}");
        match char {
            '\\' => out.extend(chars.next()),
            other => out.push(other),
        }
    }
    out
}

/// Words are split at spaces, quotes are taken off, C escapes replaced.
fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut chars = line.chars().peekable();
    loop {
        while chars.next_if(|char| " \t\n\r".contains(*char)).is_some() {}
        let Some(first) = chars.peek() else {
            return words;
        };
        let bare = !"\"'".contains(*first);
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
        assert!(!bare || word != ";", "a bare `;` starts another command");
        words.push(word);
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

fn undouble_dollars(word: &str) -> String {
    let pieces: Vec<_> = word.split("$$").collect();
    assert!(
        !pieces.iter().any(|piece| piece.contains('$')),
        "a lone `$` in {word}"
    );
    pieces.join("$")
}
