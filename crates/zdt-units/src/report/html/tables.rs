//! The tables. On a narrow page the style shows each row as a card, so the roles are spelt out.

use maud::{Markup, html};

use super::mark;
use super::plot::px;
use super::restarts::{phase_name, phases_in_words};
use super::words::{micros, millis, number, prose, sentence};
use crate::verify::result::{Check, Client, PhaseKind, Restart, Status, Verified};

/// A page with more rows is too long to read; the worst are shown.
const MOST_RESTARTS: usize = 50;

pub(super) fn clients(verified: &Verified) -> Markup {
    let restarts = verified.restarts.len();
    html! {
        table role="table" {
            (columns(&["client", "requests", "longest wait", "median", "99 % within", "restarts met"]))
            @for client in &verified.clients {
                tbody role="rowgroup" { (one_client(client, restarts)) }
            }
        }
    }
}

fn columns(names: &[&str]) -> Markup {
    html! {
        thead role="rowgroup" {
            tr role="row" {
                @for name in names { th scope="col" role="columnheader" { (name) } }
            }
        }
    }
}

fn cell(name: &str, content: &Markup) -> Markup {
    html! { td role="cell" data-name=(name) { (content) } }
}

/// Says by itself what it is, and takes the whole width of a card.
fn broad(content: &Markup) -> Markup {
    html! { td role="cell" class="broad" { (content) } }
}

fn one_client(client: &Client, restarts: usize) -> Markup {
    let tried = client.sent > 0;
    let figure = |text: String| html! { (text) };
    let nothing = || html! { span class="soft" { "\u{2013}" } };
    let answered = client.ok > 0;
    let of_answers = |text: String| if answered { figure(text) } else { nothing() };
    html! {
        tr role="row" class=(shape(client.status)) {
            th scope="row" role="rowheader" {
                strong { (client.name) }
                span class="soft" { (prose(&client.does)) }
            }
            (broad(&fate(client)))
            (cell("longest wait", &of_answers(millis(client.longest_wait_ms))))
            (cell("median", &of_answers(micros(client.latency.p50_us))))
            (cell("99 % within", &of_answers(micros(client.latency.p99_us))))
            (cell("restarts met", &if tried { figure(format!("{} of {restarts}", client.met)) } else { nothing() }))
        }
        @if client.note.is_some() || !client.losses.is_empty() {
            tr role="row" class="why" {
                td role="cell" colspan="6" {
                    // What several have in common is said once, after the last of them.
                    @for losses in client.losses.chunk_by(|one, next| one.advice == next.advice) {
                        p {
                            @for loss in losses {
                                strong class="loss" { (number(loss.count)) " lost: " (prose(&loss.what)) ". " }
                            }
                            (prose(&sentence(&losses[0].advice)))
                        }
                    }
                    @if let Some(note) = &client.note { p { (prose(&sentence(note))) } }
                }
            }
        }
    }
}

/// What became of its requests, as a bar and in words.
fn fate(client: &Client) -> Markup {
    let word = match client.status {
        Status::Passed => format!("none lost of {}", number(client.sent)),
        Status::Lost => format!("{} lost of {}", number(client.lost), number(client.sent)),
        Status::NotSpoken => "not spoken".to_owned(),
        Status::NotTried => "not tried".to_owned(),
        Status::NotMet => "met no restart".to_owned(),
    };
    html! {
        span class="fate" {
            (mark(shape(client.status))) " " span { (word)
            @if client.retryable > 0 { ", " (number(client.retryable)) " to be sent again" } }
        }
        @if client.sent > 0 { (shares(client)) }
    }
}

fn shape(status: Status) -> &'static str {
    match status {
        Status::Passed => "passed",
        Status::Lost => "lost",
        Status::NotSpoken | Status::NotTried => "absent",
        Status::NotMet => "caution",
    }
}

/// Answered, to be sent again, and lost; the rarest can still be seen.
fn shares(client: &Client) -> Markup {
    let share = |n: u64| match n {
        0 => 0.0,
        n => (n as f64 / client.sent as f64 * 100.0).max(2.0),
    };
    let (lost, again) = (share(client.lost), share(client.retryable));
    let ok = match client.ok {
        0 => 0.0,
        _ => (100.0 - lost - again).max(2.0),
    };
    let all = (ok + lost + again).max(1.0);
    let part = |class: &str, from: f64, share: f64, height: f64| {
        let (x, width) = (px(from / all * 100.0), px(share / all * 100.0));
        html! {
            @if share > 0.0 {
                rect class=(class) x=(x) y=(px((10.0 - height) / 2.0)) width=(width) height=(px(height)) {}
            }
        }
    };
    html! {
        svg class="shares" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" {
            (part("ok", 0.0, ok, 4.0))
            (part("again", ok, again, 7.0))
            (part("lost", ok + again, lost, 10.0))
        }
    }
}

pub(super) fn restarts(all: &[Restart]) -> Markup {
    let took = |restart: &Restart| restart.ended_ms.saturating_sub(restart.began_ms);
    let longest = all.iter().map(took).max().unwrap_or_default().max(1);
    let shown = worst(all);
    html! {
        @if shown.len() < all.len() {
            p { "The " (shown.len()) " that lost most or made others wait longest, of " (number(all.len() as u64)) "." }
        }
        table role="table" class="restarts" {
            (columns(&["restart", "took", "phases", "longest wait", "lost"]))
            tbody role="rowgroup" {
                @for restart in shown {
                    tr role="row" {
                        th scope="row" role="rowheader" {
                            strong { (restart.nth) }
                            span class="soft" { "at " (millis(restart.began_ms)) }
                        }
                        (cell("took", &html! {
                            @if restart.failed.is_some() {
                                span class="fate" { (mark("lost")) " failed" }
                            } @else { (millis(took(restart))) }
                        }))
                        (broad(&html! {
                            (phase_bar(restart, longest))
                            span class="soft" { (phases_in_words(restart)) }
                            (remarks(restart))
                        }))
                        (cell("longest wait", &html! { (millis(restart.longest_wait_ms)) }))
                        (cell("lost", &html! {
                            @if restart.lost > 0 { strong class="loss" { (number(restart.lost)) } } @else { "0" }
                        }))
                    }
                }
            }
        }
    }
}

/// In their order.
fn worst(all: &[Restart]) -> Vec<&Restart> {
    let mut worst: Vec<&Restart> = all.iter().collect();
    let harm = |restart: &&Restart| {
        (
            restart.failed.is_some(),
            restart.lost,
            restart.killed,
            restart.longest_wait_ms,
        )
    };
    worst.sort_by_key(|restart| std::cmp::Reverse(harm(restart)));
    worst.truncate(MOST_RESTARTS);
    worst.sort_by_key(|restart| restart.nth);
    worst
}

fn phase_bar(restart: &Restart, longest_ms: u64) -> Markup {
    let share = |ms: u64| ms as f64 / longest_ms as f64 * 200.0;
    let class = |kind: PhaseKind| match kind {
        PhaseKind::Stopping => "stopping",
        PhaseKind::Starting => "starting",
        PhaseKind::Confirming => "confirming",
    };
    html! {
        svg class="phases" viewBox="0 0 200 12" preserveAspectRatio="none" aria-hidden="true" {
            @for phase in &restart.phases {
                @let from = share(phase.from_ms.saturating_sub(restart.began_ms));
                @let width = share(phase.to_ms.saturating_sub(phase.from_ms)).max(1.0);
                rect class=(class(phase.kind)) x=(px(from)) y="0" width=(px(width)) height="12" {
                    title { (phase_name(phase.kind)) }
                }
            }
        }
    }
}

fn remarks(restart: &Restart) -> Markup {
    html! {
        @if restart.killed { p class="loss" { "The old process did not end in time and was killed." } }
        @if let Some(why) = &restart.failed { p class="loss" { (prose(&sentence(why))) } }
        @if let Some(status) = &restart.status { p { "It said: " q { (prose(status)) } } }
    }
}

pub(super) fn checks(checks: &[Check]) -> Markup {
    let of = |check: &Check| match check.passed {
        Some(true) => ("passed", "yes"),
        Some(false) => ("lost", "no"),
        None => ("absent", "not seen"),
    };
    html! {
        ul class="checks" {
            @for check in checks {
                @let (shape, word) = of(check);
                li {
                    (mark(shape)) " "
                    span { strong { (check.name) ": " (word) ". " } (prose(&sentence(&check.says))) }
                }
            }
        }
    }
}
