//! What is wrong with a `zdt.toml`, where, and how to mend it.

use std::error::Error;
use std::fmt;
use std::ops::Range;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode,
    ThemeCharacters, ThemeStyles,
};

/// One mistake in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Byte range in the text.
    pub at: Range<usize>,
    pub message: String,
    /// What stands under the underlined place; may be empty.
    pub label: String,
    /// How to mend it.
    pub hint: Option<String>,
    /// Other places that belong to the same mistake.
    pub also: Vec<(Range<usize>, String)>,
}

impl Problem {
    pub(crate) fn new(at: &Range<usize>, message: impl Into<String>) -> Self {
        Self {
            at: at.clone(),
            message: message.into(),
            label: String::new(),
            hint: None,
            also: Vec::new(),
        }
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn also(mut self, at: &Range<usize>, label: impl Into<String>) -> Self {
        self.also.push((at.clone(), label.into()));
        self
    }
}

/// Everything wrong with one file, in the order of the text.
#[derive(Debug)]
pub struct Mistakes {
    file: String,
    text: String,
    problems: Vec<Problem>,
}

impl Mistakes {
    pub(crate) fn new(file: &str, text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| (problem.at.start, problem.at.end));
        // A mistake in a template is met once for each service that uses it.
        let mut seen: Vec<Problem> = Vec::with_capacity(problems.len());
        for problem in problems {
            if !seen.contains(&problem) {
                seen.push(problem);
            }
        }
        let problems = seen;
        Self {
            file: file.to_owned(),
            text: text.to_owned(),
            problems,
        }
    }

    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Every mistake with its place in the text, then how many there are.
    pub fn render(&self, colour: Colour) -> String {
        let handler = GraphicalReportHandler::new_themed(theme(colour))
            .with_width(100)
            .with_context_lines(1)
            .without_cause_chain();
        let source = NamedSource::new(&self.file, self.text.clone());
        let mut out = String::new();
        for problem in &self.problems {
            let shown = Shown {
                problem,
                source: &source,
            };
            handler
                .render_report(&mut out, &shown)
                .expect("a String takes whatever is written to it");
            out.push('\n');
        }
        out.push_str(&format!("error: {self}\n"));
        out
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        let mistakes = if count == 1 { "mistake" } else { "mistakes" };
        write!(f, "{count} {mistakes} in `{}`", self.file)
    }
}

impl Error for Mistakes {}

/// Whether the reader's terminal shows colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    Never,
    Always,
}

fn theme(colour: Colour) -> GraphicalTheme {
    GraphicalTheme {
        characters: ThemeCharacters {
            error: "error:".to_owned(),
            ..ThemeCharacters::unicode()
        },
        styles: match colour {
            Colour::Never => ThemeStyles::none(),
            Colour::Always => ThemeStyles::ansi(),
        },
    }
}

/// A problem beside the text it is about, which is what miette draws.
#[derive(Debug)]
struct Shown<'a> {
    problem: &'a Problem,
    source: &'a NamedSource<String>,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl Error for Shown<'_> {}

impl Diagnostic for Shown<'_> {
    fn help(&self) -> Option<Box<dyn fmt::Display + '_>> {
        let hint = self.problem.hint.as_ref()?;
        Some(Box::new(hint))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = (!self.problem.label.is_empty()).then(|| self.problem.label.clone());
        let primary =
            LabeledSpan::new_primary_with_span(label, self.problem.at.start..self.problem.at.end);
        let also = self
            .problem
            .also
            .iter()
            .map(|(at, label)| LabeledSpan::new_with_span(Some(label.clone()), at.clone()));
        Some(Box::new(std::iter::once(primary).chain(also)))
    }
}
