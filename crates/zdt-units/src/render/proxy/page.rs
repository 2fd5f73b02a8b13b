//! Lines and comments of a file for a proxy.

use super::super::MARK;

/// Comments are not wider.
const WIDTH: usize = 110;

/// A text that grows line by line.
#[derive(Debug)]
pub(super) struct Page {
    text: String,
    /// One step inwards.
    step: &'static str,
}

impl Page {
    /// Begins with where it came from and how it is used.
    pub(super) fn new(proxy: &str, source: &str, step: &'static str, use_of_it: &[&str]) -> Self {
        let source: String = source.chars().filter(|char| !char.is_control()).collect();
        let mut page = Self {
            text: String::new(),
            step,
        };
        page.line(
            0,
            format!("# {MARK} generate --proxy {proxy}` from `{source}`; the next run overwrites this file."),
        );
        page.line(0, "#");
        for line in use_of_it {
            page.line(0, format!("# {line}"));
        }
        page
    }

    pub(super) fn line(&mut self, depth: usize, text: impl AsRef<str>) {
        self.text.push_str(&self.step.repeat(depth));
        self.text.push_str(text.as_ref());
        self.text.push('\n');
    }

    pub(super) fn blank(&mut self) {
        self.text.push('\n');
    }

    /// A comment, in as many lines as it takes.
    pub(super) fn why(&mut self, depth: usize, text: impl AsRef<str>) {
        let indent = self.step.len() * depth + 2;
        let mut line = String::new();
        for word in text.as_ref().split(' ') {
            if !line.is_empty() && indent + line.len() + 1 + word.len() > WIDTH {
                self.line(depth, format!("# {line}"));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(depth, format!("# {line}"));
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}
