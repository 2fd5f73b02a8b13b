//! A verification as one page that needs nothing else: no network, no script, no font.
//!
//! It is written so that it is XML too, which makes its form easy to test.

mod head;
mod histogram;
mod plot;
mod restarts;
mod scale;
mod tables;
mod timeline;
pub(in crate::report) mod words;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use self::words::{command_line, prose};
use crate::verify::result::{PhaseKind, Verified};

/// HTML would let these be without the slash.
const META: &str = r#"<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta name="color-scheme" content="light dark"/>
<meta name="robots" content="noindex"/>
"#;

/// Of the dashboard too.
pub(in crate::report) const PALETTE: &str = include_str!("palette.css");

const STYLE: &str = include_str!("style.css");

/// The marks that stand beside words, and the hatching of the plots.
pub(in crate::report) const SHAPES: &str = include_str!("shapes.svg");

/// The page that shows `verified`.
pub fn page(verified: &Verified) -> String {
    let close_up = timeline::close_up(verified);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                (PreEscaped(META))
                title { (head::title(verified)) }
                style { (PreEscaped(PALETTE)) (PreEscaped(STYLE)) }
            }
            body {
                (PreEscaped(SHAPES))
                (head::header(verified))
                main {
                    @if let Some(plot) = timeline::whole(verified) {
                        (section("run", "What each client met", &html! {
                            p { "The longest wait at each moment, on a scale where every line is ten times the one "
                                "below. A request counts when it was due." }
                            (legend(verified))
                            figure { (plot) }
                            @if let Some((restart, plot)) = close_up {
                                h3 { "Restart " (restart.nth) ", close up" }
                                figure { (plot) }
                            }
                        }))
                    }
                    (section("clients", "The clients", &tables::clients(verified)))
                    @if !verified.restarts.is_empty() {
                        (section("restarts", "The restarts", &tables::restarts(&verified.restarts)))
                    }
                    @if let Some(plot) = histogram::histogram(verified) {
                        (section("latency", "How long answers took", &html! {
                            p { "All answers of the run, before, during and after the restarts. The height of a bar "
                                "is the square root of its share, so that single slow answers can be seen." }
                            figure { (plot) }
                        }))
                    }
                    @if !verified.checks.is_empty() {
                        (section("checks", "What else was seen", &tables::checks(&verified.checks)))
                    }
                    @if !verified.command.is_empty() {
                        (section("repeat", "Repeat it", &html! {
                            pre tabindex="0" { code { (command_line(&verified.command)) } }
                        }))
                    }
                    (section("terms", "How to read it", &terms()))
                }
                footer {
                    p { "Written by " (head::program()) ". The same figures for programs: "
                        code { "zdt-units verify --json" } "." }
                }
            }
        }
    }
    .into_string()
}

fn section(id: &str, heading: &str, content: &Markup) -> Markup {
    html! {
        section aria-labelledby=(id) {
            h2 id=(id) { (heading) }
            (content)
        }
    }
}

fn legend(verified: &Verified) -> Markup {
    let phases = verified.restarts.iter().flat_map(|restart| &restart.phases);
    let confirmed = phases
        .clone()
        .any(|phase| phase.kind == PhaseKind::Confirming);
    let entry = |shape: &str, text: &str| {
        html! { li { (mark(shape)) " " (text) } }
    };
    html! {
        ul class="legend" {
            @if !verified.restarts.is_empty() {
                (entry("stopping", "the old process stops"))
                (entry("starting", "the new process starts"))
                (entry("ready", "ready"))
            }
            @if confirmed { (entry("confirming", "the restart is confirmed")) }
            @if verified.verdict.lost > 0 { (entry("lost", "losses")) }
        }
    }
}

/// One of the shapes; the words beside it say the same.
pub(in crate::report) fn mark(shape: &str) -> Markup {
    html! {
        svg class={ "mark " (shape) } viewBox="0 0 16 16" aria-hidden="true" {
            use href={ "#" (shape) } {}
        }
    }
}

fn terms() -> Markup {
    let term = |name: &str, text: &str| {
        html! { div { dt { (name) } dd { (prose(text)) } } }
    };
    html! {
        dl class="terms" {
            (term("lost", "A request that got no whole answer, or another one than before the first restart. Nothing is \
                sent twice, so a user without retries would have seen it. A kept connection that is closed without \
                notice counts too: a request on its way at that moment is lost."))
            (term("longest wait", "How much longer than usual a request took that was due or in flight at a restart. \
                It was answered."))
            (term("met", "A restart that had a request of this client due or in flight. The others prove nothing for it."))
            (term("not spoken", "Before any restart the program already did not do what this client needs."))
            (term("not tried", "The client needs to be told more, or was left out."))
        }
    }
}
