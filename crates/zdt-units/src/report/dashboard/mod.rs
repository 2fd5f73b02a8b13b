//! How services are, what is done to them and what was, as one page that follows it. Pure: values in, HTML out.
//!
//! The page is made of parts, which are also what is sent when they change, so the HTML has one
//! source. Like the report of `verify` it is XML too.

mod doctor;
mod events;
pub mod operations;
mod releases;
mod restarts;
mod running;
mod services;
mod table;
mod top;

use std::time::SystemTime;

use maud::{DOCTYPE, Markup, PreEscaped, html};

pub use self::events::Line;
use self::operations::Operation;
pub use self::releases::Kept;
pub use self::running::{Running, Who};
use super::html::{PALETTE, SHAPES};
use crate::doctor::Finding;
use crate::status::Status;

/// HTML would let these be without the slash.
const HEAD: &str = r#"<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta name="color-scheme" content="light dark"/>
<meta name="robots" content="noindex"/>
<link rel="icon" href="icon.svg" type="image/svg+xml"/>
<link rel="stylesheet" href="dashboard.css"/>
<script src="dashboard.js" defer="defer"></script>
"#;

/// Beside those of the report.
const MOVING: &str = r#"<svg class="shapes" width="0" height="0" aria-hidden="true">
<symbol id="moving" viewBox="0 0 16 16"><path d="M3 1.5l11 6.5-11 6.5z"></path></symbol>
</svg>
"#;

const OWN_STYLE: &str = include_str!("dashboard.css");

/// What follows the changes; the page is whole without it.
pub const SCRIPT: &str = include_str!("dashboard.js");

pub const ICON: &str = include_str!("icon.svg");

pub fn style() -> String {
    [PALETTE, OWN_STYLE].concat()
}

/// All that is shown.
#[derive(Clone, Debug)]
pub struct View {
    /// When services were looked at.
    pub at: SystemTime,
    /// Or why nobody can tell.
    pub status: Result<Status, String>,
    pub running: Vec<Running>,
    /// The youngest first.
    pub past: Vec<Operation>,
    pub releases: Vec<Kept>,
    pub doctor: Doctor,
    /// The youngest first.
    pub events: Vec<Line>,
    /// What could not be read, and what would help.
    pub notes: Vec<String>,
}

/// What `doctor` found, the worst first.
#[derive(Clone, Debug)]
pub enum Doctor {
    NotYet,
    Failed(String),
    Found {
        at: SystemTime,
        findings: Vec<Finding>,
    },
}

/// One part of the page, by the `id` of the element that it fills.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    pub id: &'static str,
    pub html: String,
}

/// Where each part is.
struct Place {
    id: &'static str,
    heading: &'static str,
    content: fn(&View) -> Markup,
}

const SECTIONS: [Place; 6] = [
    Place {
        id: "now",
        heading: "Right now",
        content: running::now,
    },
    Place {
        id: "services",
        heading: "Services",
        content: services::services,
    },
    Place {
        id: "restarts",
        heading: "Recent operations",
        content: restarts::restarts,
    },
    Place {
        id: "releases",
        heading: "Releases",
        content: releases::releases,
    },
    Place {
        id: "doctor",
        heading: "Doctor",
        content: doctor::doctor,
    },
    Place {
        id: "events",
        heading: "Recent events",
        content: events::events,
    },
];

/// Everything that changes, in the order of the page.
pub fn parts(view: &View) -> Vec<Part> {
    let part = |id, html: Markup| Part {
        id,
        html: html.into_string(),
    };
    let mut parts = vec![
        part("looked", top::looked(view)),
        part("top", top::top(view)),
        part("said", running::said(view)),
    ];
    parts.extend(
        SECTIONS
            .iter()
            .map(|place| part(place.id, (place.content)(view))),
    );
    parts
}

/// The whole page.
pub fn page(view: &View) -> String {
    let parts = parts(view);
    let part = |id: &str| {
        let part = parts.iter().find(|part| part.id == id);
        PreEscaped(part.map_or("", |part| part.html.as_str()))
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                (PreEscaped(HEAD))
                title { (top::title(view)) }
            }
            body {
                (PreEscaped(SHAPES)) (PreEscaped(MOVING))
                a class="skip" href="#main" { "Skip to the content" }
                header class="bar" {
                    p class="brand" { "zdt-units" }
                    nav aria-label="Parts of this page" {
                        ul {
                            @for place in &SECTIONS {
                                li { a href={ "#at-" (place.id) } { (place.heading) } }
                            }
                        }
                    }
                    div class="stream" {
                        p id="stream" { "As of when it was loaded. " a href="" { "Look again" } }
                        button id="pause" type="button" hidden="hidden" { "Pause" }
                    }
                }
                main id="main" tabindex="-1" {
                    div id="top" { (part("top")) }
                    p class="looked" id="looked" { (part("looked")) }
                    @for place in &SECTIONS {
                        section id={ "at-" (place.id) } aria-labelledby={ "h-" (place.id) } {
                            h2 id={ "h-" (place.id) } { (place.heading) }
                            @if place.id == "now" {
                                // Only this is read out: one sentence a step, and no times.
                                p id="said" role="status" aria-live="polite" { (part("said")) }
                            }
                            div id=(place.id) { (part(place.id)) }
                        }
                    }
                }
                footer {
                    p { "zdt-units " (env!("CARGO_PKG_VERSION")) ". It only reads. The same for programs: "
                        a href="status.json" { "status.json" } ", " code { "zdt-units status --json" } "." }
                }
            }
        }
    }
    .into_string()
}

#[cfg(test)]
mod tests;
