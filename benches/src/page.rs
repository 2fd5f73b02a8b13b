//! Measured data to text. Pure, and the only place that words it.

mod costs;
mod restarts;
mod table;
mod worse;

pub(crate) use self::costs::{floor, growth, launcher, plan, start, throughput};
pub(crate) use self::restarts::restart;
use crate::{floor, growth, launcher, plan, restart, start, throughput};

/// All that was measured, each question or the reason why not.
pub(crate) struct Page {
    pub(crate) command: String,
    pub(crate) conditions: String,
    pub(crate) restart: Measured<restart::Measured>,
    pub(crate) floor: Measured<floor::Measured>,
    pub(crate) growth: Measured<growth::Measured>,
    pub(crate) launcher: Measured<launcher::Measured>,
    pub(crate) start: Measured<start::Measured>,
    pub(crate) throughput: Measured<throughput::Measured>,
    pub(crate) plan: Measured<plan::Measured>,
}

pub(crate) type Measured<T> = std::result::Result<T, String>;

const HEAD: &str = "\
# Benchmarks

What a restart costs the clients, of zdt and of others; and what zdt costs while nothing is restarted. Each table pairs
things in one run, in turn, on one machine. Compare figures within a table; another machine has others.
";

/// The whole file.
pub(crate) fn page(page: &Page) -> String {
    let short = page
        .restart
        .as_ref()
        .map(restarts::short)
        .unwrap_or_default();
    let sections = [
        section(&page.restart, "Restart", restart),
        section(&page.floor, "The floor", floor),
        section(&page.growth, "Growth", growth),
        section(&page.launcher, "The launcher", launcher),
        section(&page.start, "Start", start),
        section(&page.throughput, "Throughput", throughput),
        section(&page.plan, "Many services", plan),
    ];
    format!(
        "{HEAD}\n```sh\n{}\n```\n\n{}\n\n{short}{}\n{}",
        page.command,
        wrap(&page.conditions),
        worse::section(page),
        sections.join("\n"),
    )
}

/// A paragraph, in lines as long as those of other pages.
fn wrap(text: &str) -> String {
    textwrap::fill(text, textwrap::Options::new(120).break_words(false))
}

fn wrap_item(text: &str) -> String {
    let options = textwrap::Options::new(120)
        .break_words(false)
        .initial_indent("- ")
        .subsequent_indent("  ");
    textwrap::fill(text, options) + "\n"
}

fn section<T>(measured: &Measured<T>, title: &str, render: impl Fn(&T) -> String) -> String {
    match measured {
        Ok(measured) => render(measured),
        Err(reason) => {
            let reason = wrap(&format!("Not measured: {reason}."));
            format!("## {title}\n\n{reason}\n")
        }
    }
}

const NOT_MEASURED: &str = "not measured";

fn count(what: &str, n: usize) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}
