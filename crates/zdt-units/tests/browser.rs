//! The page of a verification in a real browser: nothing is wider than a phone, every plot
//! is seen, and the console stays silent.
//!
//! It needs Chromium. Where that is missing the tests are ignored and say so; with
//! `ZDT_BROWSER=required` they fail instead.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "these tests start a browser"
)]

#[path = "report/results.rs"]
mod results;

use std::fmt::Write;
use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Completion, Trial};
use maud::html;
use zdt_units::report::html::page;

use self::results::{degenerate, lengthy, samples, small};

/// A name, and what to do with the browser.
type Test = (&'static str, fn(&str));

const TESTS: [Test; 2] = [
    (
        "pages_fit_and_show_their_plots",
        pages_fit_and_show_their_plots,
    ),
    (
        "a_page_with_flaws_is_found_out",
        a_page_with_flaws_is_found_out,
    ),
];

/// A phone, and a window beside others on a desk.
const WIDTHS: [u32; 2] = [375, 1000];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let required = std::env::var("ZDT_BROWSER").is_ok_and(|wanted| wanted == "required");
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let browser = names.into_iter().find(|name| is_there(name));
    let trials = TESTS.map(|(name, test)| {
        let runner = move || match browser {
            Some(browser) => {
                test(browser);
                Ok(Completion::Completed)
            }
            None if required => Err("needs chromium".into()),
            None => Ok(Completion::ignored_with("needs chromium")),
        };
        let ignored = browser.is_none() && arguments.list && !required;
        Trial::ignorable_test(name, runner).with_ignored_flag(ignored)
    });
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}

fn is_there(program: &str) -> bool {
    let mut command = Command::new(program);
    let command = command
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// What the browser has seen of one page at one width.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    name: String,
    width: u32,
    /// Beyond the right edge.
    overflow: i64,
    /// How many plots have a size, and how many of the shown ones have none.
    plots: u32,
    flat: u32,
    /// The smallest text of a plot, in tenths of a pixel.
    text: u32,
}

/// Each page in a frame of its own, at each width, in one run of the browser; and what its console said.
fn look(browser: &str, pages: &[(&str, String)]) -> (Vec<Seen>, Vec<String>) {
    let frames = html! {
        @for (name, page) in pages {
            @for width in WIDTHS {
                iframe name=(name) width=(width) height="812" style="border:0" srcdoc=(page) {}
            }
        }
    };
    let document = format!(
        "<!DOCTYPE html><meta charset=utf-8><body>{}<pre id=seen></pre><script>{LOOK}</script>",
        frames.into_string()
    );
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pages.html");
    std::fs::write(&file, document).unwrap();

    let output = Command::new("timeout")
        .args(["120", browser])
        .args("--headless --no-sandbox --disable-gpu --disable-quic --no-first-run".split(' '))
        .args(
            "--disable-background-networking --disable-component-update --disable-sync".split(' '),
        )
        .args(
            "--disable-dev-shm-usage --enable-logging=stderr --hide-scrollbars --dump-dom"
                .split(' '),
        )
        .arg(format!(
            "--user-data-dir={}",
            directory.path().join("profile").display()
        ))
        .arg(&file)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    let dumped = String::from_utf8_lossy(&output.stdout);
    let seen = dumped
        .rsplit_once("<pre id=\"seen\">")
        .and_then(|(_, rest)| rest.split_once("</pre>"));
    let (seen, _) = seen.unwrap_or_else(|| panic!("{browser} gave no page: {told}"));
    let console = told.lines().filter(|line| line.contains(":CONSOLE"));
    (
        seen.lines().map(read).collect(),
        console.map(str::to_owned).collect(),
    )
}

/// Runs in the document around the frames.
const LOOK: &str = r#"
onload = () => {
  const lines = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument, inner = frame.contentWindow;
    const overflow = page.scrollingElement.scrollWidth - inner.innerWidth;
    const shown = [...page.querySelectorAll("figure svg")].filter(svg => inner.getComputedStyle(svg).display != "none");
    const flat = shown.filter(svg => { const box = svg.getBoundingClientRect(); return box.width < 100 || box.height < 50; });
    const texts = shown.flatMap(svg => [...svg.querySelectorAll("text")].map(text => 11 * svg.getScreenCTM().a));
    const least = texts.length ? Math.round(10 * Math.min(...texts)) : 999;
    return [frame.name, frame.width, overflow, shown.length - flat.length, flat.length, least].join("\t");
  });
  document.getElementById("seen").textContent = lines.join("\n");
};
"#;

fn read(line: &str) -> Seen {
    let parts: Vec<&str> = line.split('\t').collect();
    Seen {
        name: parts[0].to_owned(),
        width: parts[1].parse().unwrap(),
        overflow: parts[2].parse().unwrap(),
        plots: parts[3].parse().unwrap(),
        flat: parts[4].parse().unwrap(),
        text: parts[5].parse().unwrap(),
    }
}

fn pages_fit_and_show_their_plots(browser: &str) {
    let mut all = vec![("small", small()), ("lengthy", lengthy())];
    all.extend(samples());
    all.extend(degenerate());
    let mut long = small();
    long.target = "x".repeat(300);
    long.clients[0].does = "x".repeat(300);
    long.clients[0].name = "x".repeat(60);
    long.command = vec!["x".repeat(300)];
    all.push(("long words", long));
    let pages: Vec<_> = all
        .iter()
        .map(|(name, verified)| (*name, page(verified)))
        .collect();

    let (seen, console) = look(browser, &pages);
    assert_eq!(console, Vec::<String>::new());
    assert_eq!(seen.len(), pages.len() * WIDTHS.len());
    let mut flaws = String::new();
    for one in &seen {
        let (_, page) = pages.iter().find(|(name, _)| *name == one.name).unwrap();
        let plots = page.matches("<figure>").count() as u32;
        if one.overflow > 0 || one.flat > 0 || one.plots != plots || one.text < 90 {
            writeln!(flaws, "{one:?}, of {plots} plots").unwrap();
        }
    }
    assert!(flaws.is_empty(), "{flaws}");
}

/// The test above can fail.
fn a_page_with_flaws_is_found_out(browser: &str) {
    let flawed = r#"<!DOCTYPE html><p style="width:600px">wide</p>
        <figure><svg style="display:block;width:50px" viewBox="0 0 100 100"><text>small</text></svg></figure>
        <script>console.error("flawed")</script>"#;
    let (seen, console) = look(browser, &[("flawed", flawed.to_owned())]);
    let [phone, desk] = seen.as_slice() else {
        panic!("{seen:?}");
    };
    assert!(phone.overflow > 200 && desk.overflow <= 0, "{seen:?}");
    assert_eq!((phone.plots, phone.flat, phone.text), (0, 1, 55));
    assert!(
        console.len() == 2 && console[0].contains("flawed"),
        "{console:?}"
    );
}
