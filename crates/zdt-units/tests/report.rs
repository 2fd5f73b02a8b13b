//! The page that shows a verification: what is in it, its form, and its size.
//!
//! `BLESS=1 cargo test -p zdt-units --test report` writes what is expected.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "reads and writes the expected page"
)]

#[path = "report/results.rs"]
mod results;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use results::{degenerate, lengthy, samples, small};
use roxmltree::{Document, Node, ParsingOptions};
use zdt_units::report::html::page;
use zdt_units::verify::result::{Subject, Verified};

/// All of them, with a name for each.
fn all() -> Vec<(&'static str, Verified)> {
    let mut all = vec![("small", small()), ("lengthy", lengthy())];
    all.extend(samples());
    all.extend(degenerate());
    all
}

/// The pages are XML too, and this parser forgives nothing.
fn parsed<'a>(name: &str, page: &'a str) -> Document<'a> {
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(page, options).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn elements<'a>(document: &'a Document<'a>) -> impl Iterator<Item = Node<'a, 'a>> {
    document.descendants().filter(Node::is_element)
}

fn text(node: Node<'_, '_>) -> String {
    let texts = node.descendants().filter(Node::is_text);
    let texts: String = texts.filter_map(|text| text.text()).collect();
    texts.replace('\u{a0}', " ")
}

fn heading(verified: &Verified) -> String {
    let page = page(verified);
    let document = parsed("heading", &page);
    let h1 = elements(&document).find(|element| element.has_tag_name("h1"));
    text(h1.unwrap())
}

#[test]
fn a_small_result_gives_the_expected_page() {
    let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report/small.html");
    let version = format!("zdt-units {}", env!("CARGO_PKG_VERSION"));
    // A line for each element that begins, for those who read the difference.
    let page = page(&small()).replace(&version, "zdt-units VERSION");
    let page = page.replace("><", ">\n<") + "\n";
    if std::env::var_os("BLESS").is_some() {
        fs::write(&expected, &page).unwrap();
    }
    assert!(
        fs::read_to_string(&expected).unwrap() == page,
        "`tests/report/small.html` is not what is written; see the difference with \
         `BLESS=1 cargo test -p zdt-units --test report` and `git diff`"
    );
}

#[test]
fn every_page_is_well_formed_and_can_be_heard() {
    for (name, verified) in all() {
        let page = page(&verified);
        let document = parsed(name, &page);
        let ids: Vec<&str> = elements(&document)
            .filter_map(|e| e.attribute("id"))
            .collect();
        let unique: BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(unique.len(), ids.len(), "{name}: {ids:?}");

        let mut level = 0;
        for element in elements(&document) {
            let tag = element.tag_name().name();
            for id in element
                .attribute("aria-labelledby")
                .unwrap_or_default()
                .split_whitespace()
            {
                assert!(unique.contains(id), "{name}: no `{id}`");
            }
            if let Some(target) = element.attribute("href") {
                let id = target
                    .strip_prefix('#')
                    .expect("a link leads out of the page");
                assert!(unique.contains(id), "{name}: no `{id}`");
            }
            if tag == "th" {
                assert!(element.has_attribute("scope"), "{name}");
            }
            if tag == "svg" && element.attribute("aria-hidden") != Some("true") {
                assert_eq!(element.attribute("role"), Some("img"), "{name}");
                for described in ["title", "desc"] {
                    let words = element
                        .children()
                        .find(|child| child.has_tag_name(described));
                    assert!(!text(words.unwrap()).is_empty(), "{name}: {described}");
                }
            }
            if let Some(this) = tag
                .strip_prefix('h')
                .and_then(|level| level.parse::<u32>().ok())
            {
                assert!(this <= level + 1, "{name}: h{this} after h{level}");
                level = this;
            }
        }
        for landmark in ["header", "main", "footer", "h1", "title"] {
            let count = elements(&document)
                .filter(|e| e.has_tag_name(landmark))
                .count();
            let in_svg = |e: &Node<'_, '_>| e.ancestors().any(|up| up.has_tag_name("svg"));
            let shapes = elements(&document).filter(|e| e.has_tag_name(landmark) && in_svg(e));
            assert_eq!(count - shapes.count(), 1, "{name}: {landmark}");
        }
    }
}

#[test]
fn a_page_fetches_nothing_and_runs_nothing() {
    for (name, verified) in all() {
        let page = page(&verified);
        let document = parsed(name, &page);
        for element in elements(&document) {
            let tag = element.tag_name().name();
            let foreign = ["script", "link", "img", "iframe", "object", "base"];
            assert!(!foreign.contains(&tag), "{name}: <{tag}>");
            for attribute in element.attributes() {
                let called = attribute.name();
                assert!(
                    !called.starts_with("on") && called != "src",
                    "{name}: {called}"
                );
            }
        }
        let outside = page.matches("url(").count() - page.matches("url(#").count();
        assert_eq!((outside, page.contains("@import")), (0, false), "{name}");
    }
}

#[test]
fn what_others_said_is_shown_as_text() {
    let evil = r#"<script>alert("it's")</script></style><!-- &amp; ]]>"#;
    let mut all_said = Vec::new();
    let mut said = |what: &str| {
        let said = format!("{what} {evil}");
        all_said.push(said.clone());
        said
    };
    let mut verified = small();
    verified.target = said("Target");
    verified.warnings = vec![said("Warning")];
    let client = &mut verified.clients[0];
    client.name = said("Name");
    client.does = said("Does");
    client.note = Some(said("Note"));
    client.losses[0].what = said("What");
    client.losses[0].advice = said("Advice");
    verified.checks[0].name = said("Check");
    verified.checks[0].says = said("Says");
    verified.restarts[0].status = Some(said("Status"));
    verified.restarts[0].failed = Some(said("Failed"));
    let words = vec![evil.to_owned(), "a\0b\u{1b}[31m".to_owned()];
    verified.subject = Subject::Command(words.clone());
    verified.command = words;

    let page = page(&verified);
    let document = parsed("hostile", &page);
    let named = |tag| elements(&document).filter(move |element| element.has_tag_name(tag));
    assert_eq!((named("script").count(), named("style").count()), (0, 1));
    let shown = text(document.root());
    for said in all_said {
        assert!(shown.contains(&said), "not shown: {said}");
    }
    // As a shell would read it, and without what a terminal would obey.
    let command = r#"'<script>alert("it'\''s")</script></style><!-- &amp; ]]>' 'a b [31m'"#;
    assert_eq!(shown.matches(command).count(), 4);
}

#[test]
fn a_long_run_stays_a_small_page() {
    let lengthy = lengthy();
    let buckets: usize = lengthy.clients.iter().map(|c| c.timeline.ok.len()).sum();
    assert_eq!((buckets, lengthy.restarts.len()), (9 * 60_000, 1000));
    let size = page(&lengthy).len();
    assert!(size < 300_000, "{size} bytes");
}

#[test]
fn the_first_sentence_is_the_verdict() {
    let of = |wanted: &str| {
        let found = all().into_iter().find(|(name, _)| *name == wanted);
        heading(&found.unwrap().1)
    };
    assert_eq!(of("small"), "2 of 20 requests were lost in 1 restart.");
    assert_eq!(
        of("nothing sent"),
        "This run proves nothing about restarts."
    );
    assert_eq!(
        of("everything lost"),
        "20 of 20 requests were lost in 1 restart."
    );
    assert_eq!(of("not spoken"), "No request was lost in 1 restart.");
    assert_eq!(
        of("failed"),
        "A restart did not end with a process that serves."
    );
}

#[test]
fn what_was_not_measured_is_not_drawn() {
    let plots = |wanted: &str| {
        let (_, verified) = all().into_iter().find(|(name, _)| *name == wanted).unwrap();
        let page = page(&verified);
        let document = parsed(wanted, &page);
        let plots = elements(&document).filter(|element| element.has_tag_name("figure"));
        plots.count()
    };
    assert_eq!(plots("small"), 3);
    assert_eq!(plots("nothing sent"), 0);
    // The run is drawn, and its close-up; nobody was answered.
    assert_eq!(plots("everything lost"), 2);
}
