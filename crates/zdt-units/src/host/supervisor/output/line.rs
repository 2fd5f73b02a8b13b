//! What a process prints, cut into lines, and how a line is shown. Pure.

use std::fmt::Write;

/// A longer line comes in parts.
pub(super) const LONGEST: usize = 16 * 1024;

/// A line, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) text: String,
    /// Whether the line ends with it.
    pub(super) ends: bool,
}

/// Keeps what is not a whole line yet.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    rest: Vec<u8>,
}

impl Splitter {
    pub(super) fn of(rest: &str) -> Self {
        Self {
            rest: rest.as_bytes().to_vec(),
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8], mut piece: impl FnMut(Piece)) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match part.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (part, false),
            };
            self.rest.extend_from_slice(text);
            while self.rest.len() > LONGEST {
                let cut = boundary(&self.rest);
                piece(Piece {
                    text: shown(&self.rest[..cut]),
                    ends: false,
                });
                self.rest.drain(..cut);
            }
            if ends {
                let text = self.rest.strip_suffix(b"\r").unwrap_or(&self.rest);
                piece(Piece {
                    text: shown(text),
                    ends: true,
                });
                self.rest.clear();
            }
        }
    }

    /// The line that has no end yet.
    pub(super) fn flush(&mut self) -> Option<Piece> {
        let rest = std::mem::take(&mut self.rest);
        (!rest.is_empty()).then(|| Piece {
            text: shown(&rest),
            ends: true,
        })
    }

    pub(super) fn rest(&self) -> String {
        shown(&self.rest)
    }
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Where to cut, not in the middle of a character.
fn boundary(bytes: &[u8]) -> usize {
    let begins = |byte: &u8| byte & 0xC0 != 0x80;
    let nearest = (LONGEST - 3..=LONGEST).rev();
    let mut places = nearest.filter(|place| bytes.get(*place).is_some_and(begins));
    places.next().unwrap_or(LONGEST)
}

/// For a terminal, which must not do what a program's output tells it to.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\t' => escaped.push(char),
            char if char.is_control() => {
                let _ = write!(escaped, "\\x{:02x}", u32::from(char));
            }
            char => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(chunks: &[&[u8]]) -> Vec<(String, bool)> {
        let mut splitter = Splitter::default();
        let mut pieces = Vec::new();
        for chunk in chunks {
            splitter.feed(chunk, |piece| pieces.push((piece.text, piece.ends)));
        }
        pieces.extend(splitter.flush().map(|piece| (piece.text, piece.ends)));
        pieces
    }

    fn whole(text: &str) -> (String, bool) {
        (text.to_owned(), true)
    }

    #[test]
    fn lines_are_found_however_they_come() {
        assert_eq!(
            pieces(&[b"one\ntw", b"o\r\n", b"\nthr", b"ee"]),
            [whole("one"), whole("two"), whole(""), whole("three")]
        );
        assert_eq!(pieces(&[b"a\xffb\n"]), [whole("a\u{fffd}b")]);
        // A character in two chunks is one character.
        assert_eq!(pieces(&["é".as_bytes(), b"\n"]), [whole("é")]);
        let (first, second) = "é\n".as_bytes().split_at(1);
        assert_eq!(pieces(&[first, second]), [whole("é")]);
    }

    #[test]
    fn a_long_line_comes_in_parts_and_no_character_is_cut() {
        let line = format!("{}é{}\n", "a".repeat(LONGEST - 1), "b".repeat(10));
        let expected = [
            ("a".repeat(LONGEST - 1), false),
            whole(&format!("é{}", "b".repeat(10))),
        ];
        assert_eq!(pieces(&[line.as_bytes()]), expected);
        let bytes: Vec<&[u8]> = line.as_bytes().chunks(1).collect();
        assert_eq!(pieces(&bytes), expected);
        // What has no characters is cut all the same.
        let binary = vec![0x80; 2 * LONGEST + 1];
        let lengths: Vec<usize> = pieces(&[&binary])
            .iter()
            .map(|(text, _)| text.chars().count())
            .collect();
        assert_eq!(lengths, [LONGEST, LONGEST, 1]);
    }

    #[test]
    fn nothing_moves_the_cursor_of_a_terminal() {
        assert_eq!(
            escaped("a\tb\x1b[2J\r\u{7f}\u{9b}1mü"),
            "a\tb\\x1b[2J\\x0d\\x7f\\x9b1mü"
        );
    }
}
