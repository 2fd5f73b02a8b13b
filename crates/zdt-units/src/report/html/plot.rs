//! What the plots have in common: two sizes, rows with names, and words for those who cannot see them.
//!
//! Text in a scaled drawing scales with it, so each plot is drawn twice, for wide pages and for
//! narrow ones, and the style shows one of them.

use maud::{Markup, html};

use super::scale::Decades;

/// The size of a plot, and how its rows lie in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    class: &'static str,
    width: f64,
    /// Where the plotted area begins; figures and, if there is room, names are left of it.
    pub(super) left: f64,
    names: Names,
    /// The height of a row.
    pub(super) row: f64,
    /// The least distance between figures on the horizontal axis.
    pub(super) apart: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    Beside,
    Above,
}

pub(super) const FRAMES: [Frame; 2] = [
    Frame {
        class: "wide",
        width: 720.0,
        left: 132.0,
        names: Names::Beside,
        row: 58.0,
        apart: 80.0,
    },
    Frame {
        class: "narrow",
        width: 340.0,
        left: 40.0,
        names: Names::Above,
        row: 52.0,
        apart: 52.0,
    },
];

/// About the width of a character of a plot's text.
const CHARACTER: f64 = 6.2;
/// A figure that is centred at the end of an axis needs some room.
const RIGHT: f64 = 10.0;
const GAP: f64 = 14.0;

impl Frame {
    /// The length of the plotted area.
    pub(super) fn length(&self) -> f64 {
        self.width - self.left - RIGHT
    }

    /// Where the row with this index begins, from the top of the first.
    pub(super) fn top(&self, row: usize) -> f64 {
        row as f64 * (self.row + GAP + self.above()) + self.above()
    }

    fn above(&self) -> f64 {
        match self.names {
            Names::Beside => 0.0,
            Names::Above => 16.0,
        }
    }

    /// The name of a row that begins at `top`, and what there is to say of it.
    pub(super) fn row_name(&self, top: f64, name: &str, says: &[Said]) -> Markup {
        html! {
            @match self.names {
                Names::Beside => {
                    text class="name" x="0" y=(px(top + 12.0)) { (name) }
                    @for (line, said) in says.iter().enumerate() {
                        text class=(said.class) x="0" y=(px(top + 27.0 + 14.0 * line as f64)) { (said.text) }
                    }
                },
                Names::Above => {
                    text x=(px(self.left)) y=(px(top - 6.0)) {
                        tspan class="name" { (name) }
                        @for said in says { tspan class=(said.class) dx="8" { (said.text) } }
                    }
                },
            }
        }
    }
}

/// A few words beside the name of a row.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) class: &'static str,
    pub(super) text: String,
}

/// What a plot shows, in words.
#[derive(Clone, Debug)]
pub(super) struct Described {
    pub(super) id: &'static str,
    pub(super) title: String,
    pub(super) words: String,
}

/// The plot in both sizes; `draw` returns its height and content.
pub(super) fn plot(described: &Described, draw: impl Fn(&Frame) -> (f64, Markup)) -> Markup {
    html! {
        @for frame in &FRAMES {
            @let (height, content) = draw(frame);
            @let title = format!("{}-{}-title", described.id, frame.class);
            @let words = format!("{}-{}-words", described.id, frame.class);
            svg class=(frame.class) viewBox={ "0 0 " (frame.width) " " (px(height)) }
                role="img" aria-labelledby={ (title) " " (words) } {
                title id=(title) { (described.title) }
                desc id=(words) { (described.words) }
                (content)
            }
        }
    }
}

/// Grid lines for latencies between `top` and the end of the row, some with their figure.
pub(super) fn latency_grid(frame: &Frame, top: f64, decades: &Decades) -> Markup {
    let mut free = f64::INFINITY;
    let ticks = decades.ticks().into_iter().map(|(up, name)| {
        let y = top + frame.row - up;
        let named = y <= free;
        if named {
            free = y - 13.0;
        }
        (y, named.then_some(name))
    });
    let ticks: Vec<(f64, Option<String>)> = ticks.collect();
    let (left, right) = (frame.left, frame.left + frame.length());
    html! {
        @for (y, name) in ticks {
            path class="grid" d=(format!("M{} {}H{}", px(left), px(y), px(right))) {}
            @if let Some(name) = name {
                text class="figure end" x=(px(left - 5.0)) y=(px(y + 3.5)) { (name) }
            }
        }
    }
}

/// Figures below a plot, with what they are.
pub(super) fn axis(frame: &Frame, y: f64, ticks: &[(f64, String)], name: &str) -> Markup {
    html! {
        path class="axis" d=(format!("M{} {}h{}", px(frame.left), px(y), px(frame.length()))) {}
        @for (at, figure) in ticks {
            path class="axis" d=(format!("M{} {}v4", px(frame.left + at), px(y))) {}
            text class="figure middle" x=(px(frame.left + at)) y=(px(y + 16.0)) { (figure) }
        }
        text class="soft end" x=(px(frame.left + frame.length())) y=(px(y + 32.0)) { (name) }
    }
}

/// The height of an axis with its figures and its name.
pub(super) const AXIS: f64 = 38.0;

/// About how wide `text` is when drawn.
pub(super) fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * CHARACTER
}

/// A coordinate, to a tenth.
pub(super) fn px(at: f64) -> String {
    let text = format!("{at:.1}");
    match text.strip_suffix(".0") {
        Some("-0") => "0".to_owned(),
        Some(whole) => whole.to_owned(),
        None => text,
    }
}
