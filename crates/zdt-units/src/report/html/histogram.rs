//! How long answers took, a row for each client.

use std::fmt::Write;

use maud::{Markup, html};

use super::plot::{AXIS, Described, Frame, Said, axis, plot, px};
use super::scale::Decades;
use super::words::micros;
use crate::probe::Histogram;
use crate::verify::result::{Client, Verified};

/// `None`: nobody was answered.
pub(super) fn histogram(verified: &Verified) -> Option<Markup> {
    let answered = |client: &&Client| client.histogram.counts.iter().any(|&count| count > 0);
    let rows: Vec<&Client> = verified.clients.iter().filter(answered).collect();
    if rows.is_empty() {
        return None;
    }
    let words: Vec<String> = rows
        .iter()
        .map(|client| {
            let (median, longest) = (client.latency.p50_us, client.latency.max_us);
            format!(
                "{}: median {}, longest {}.",
                client.name,
                micros(median),
                micros(longest)
            )
        })
        .collect();
    let described = Described {
        id: "latency",
        title: "How long answers took, by client".to_owned(),
        words: words.join(" "),
    };
    Some(plot(&described, |frame| drawn(frame, &rows)))
}

fn drawn(frame: &Frame, rows: &[&Client]) -> (f64, Markup) {
    let ends = rows.iter().flat_map(|client| reach(&client.histogram));
    let decades = Decades::over(ends, frame.length());
    let end = frame.top(rows.len() - 1) + frame.row;
    let ticks = decades.ticks();
    let content = html! {
        @for (at, _) in &ticks {
            path class="grid" d=(format!("M{} 0V{}", px(frame.left + at), px(end))) {}
        }
        @for (at, client) in rows.iter().enumerate() {
            @let top = frame.top(at);
            @let base = top + frame.row;
            path class="grid" d=(format!("M{} {}h{}", px(frame.left), px(base), px(frame.length()))) {}
            path class="waits" d=(bars(frame, &client.histogram, &decades, base)) {}
            (frame.row_name(top, &client.name, &[
                said(format!("median {}", micros(client.latency.p50_us))),
                said(format!("longest {}", micros(client.latency.max_us))),
            ]))
        }
        (axis(frame, end + 6.0, &ticks, "from the moment a request was due to the end of its answer"))
    };
    (end + 6.0 + AXIS, content)
}

fn said(text: String) -> Said {
    Said {
        class: "soft",
        text,
    }
}

/// The limits of the buckets that have answers.
fn reach(histogram: &Histogram) -> impl Iterator<Item = u64> + Clone {
    let counted = histogram.counts.iter().map(|&count| count > 0);
    let counted = histogram.upto_us.iter().zip(counted);
    counted.filter(|(_, counted)| *counted).map(|(&us, _)| us)
}

/// A bar for each bucket. The square root lets one slow answer be seen beside a thousand quick ones.
fn bars(frame: &Frame, histogram: &Histogram, decades: &Decades, base: f64) -> String {
    let most = histogram.counts.iter().copied().max().unwrap_or(1).max(1);
    let mut path = String::new();
    for (at, (&count, &upto)) in histogram.counts.iter().zip(&histogram.upto_us).enumerate() {
        if count == 0 {
            continue;
        }
        // The buckets grow by a quarter each.
        let above = match at {
            0 => upto * 4 / 5,
            _ => histogram.upto_us[at - 1],
        };
        let from = decades.at(above);
        let width = (decades.at(upto) - from - 1.0).max(1.5);
        let height = ((count as f64 / most as f64).sqrt() * (frame.row - 4.0)).max(1.5);
        let (from, width, height) = (px(frame.left + from), px(width), px(height));
        write!(path, "M{from} {}v-{height}h{width}v{height}z", px(base))
            .expect("a String takes all");
    }
    path
}
