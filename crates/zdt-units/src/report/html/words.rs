//! Figures, times and a program's own words, as the page shows them.

use std::time::{Duration, UNIX_EPOCH};

use maud::{Markup, html};

/// Keeps a figure and its unit on one line.
const NBSP: char = '\u{a0}';

/// `1 restart`, `3 restarts`.
pub(in crate::report) fn count(n: u64, what: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{}{NBSP}{what}{s}", number(n))
}

/// With a comma at each thousand.
pub(in crate::report) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

pub(in crate::report) fn millis(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms}{NBSP}ms"),
        _ => micros(ms.saturating_mul(1000)),
    }
}

/// About three digits, in the unit that needs the fewest.
pub(in crate::report) fn micros(us: u64) -> String {
    let of = |unit: f64| us as f64 / unit;
    match us {
        0..950 => format!("{:.2}{NBSP}ms", of(1e3)),
        950..9_950 => format!("{:.1}{NBSP}ms", of(1e3)),
        9_950..999_500 => format!("{:.0}{NBSP}ms", of(1e3)),
        999_500..9_995_000 => format!("{:.2}{NBSP}s", of(1e6)),
        9_995_000..119_950_000 => format!("{:.1}{NBSP}s", of(1e6)),
        _ => format!("{:.1}{NBSP}min", of(6e7)),
    }
}

/// The moment in RFC 3339, and for people.
pub(in crate::report) fn moment(unix_ms: u64) -> (String, String) {
    let at = UNIX_EPOCH + Duration::from_millis(unix_ms);
    let exact = humantime::format_rfc3339_seconds(at).to_string();
    let shown = exact.replace('T', " ").replace('Z', " UTC");
    (exact, shown)
}

/// What was in backticks is code.
pub(in crate::report) fn prose(text: &str) -> Markup {
    let text = printable(text);
    html! {
        @for (at, part) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// With a capital and a full stop.
pub(in crate::report) fn sentence(fragment: &str) -> String {
    let mut chars = fragment.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string());
    let end = if fragment.ends_with(['.', '!', '?']) {
        ""
    } else {
        "."
    };
    format!("{}{}{end}", first.unwrap_or_default(), chars.as_str())
}

/// A program's words go to a page, so control characters stay out.
pub(in crate::report) fn printable(text: &str) -> String {
    let shown = |char: char| if char.is_control() { ' ' } else { char };
    text.chars().map(shown).collect()
}

/// A command line that a shell reads as these words.
pub(in crate::report) fn command_line(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(&printable(word))).collect();
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "-_./:=,@%+[]".contains(char);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_have_their_unit() {
        let check = |us, expected: &str| assert_eq!(micros(us).replace(NBSP, " "), expected);
        check(0, "0.00 ms");
        check(949, "0.95 ms");
        check(9_949, "9.9 ms");
        check(9_950, "10 ms");
        check(999_499, "999 ms");
        check(999_500, "1.00 s");
        check(12_340_000, "12.3 s");
        check(150_000_000, "2.5 min");
        assert_eq!(millis(55).replace(NBSP, " "), "55 ms");
        assert_eq!(millis(1526).replace(NBSP, " "), "1.53 s");
        assert_eq!(count(1, "restart").replace(NBSP, " "), "1 restart");
        assert_eq!(
            count(1_234_567, "request").replace(NBSP, " "),
            "1,234,567 requests"
        );
    }

    #[test]
    fn a_command_line_can_be_pasted_into_a_shell() {
        let check = |words: &[&str], expected: &str| {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            assert_eq!(command_line(&words), expected);
        };
        check(
            &["./shop", "--site", "eu west", ""],
            "./shop --site 'eu west' ''",
        );
        check(&["it's", "$HOME", "a\nb"], r"'it'\''s' '$HOME' 'a b'");
    }

    #[test]
    fn backticks_become_code_and_the_rest_is_escaped() {
        assert_eq!(
            prose("say `READY=1` <now>\u{1b}").into_string(),
            "say <code>READY=1</code> &lt;now&gt; "
        );
    }
}
