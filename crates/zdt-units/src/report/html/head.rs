//! The verdict, for somebody who reads nothing else, and what was measured.

use maud::{Markup, html};

use super::words::{command_line, count, millis, moment, number, printable, prose};
use super::{mark, words};
use crate::verify::result::{Host, Status, Subject, VerdictKind, Verified};

pub(super) fn program() -> String {
    format!("zdt-units {}", env!("CARGO_PKG_VERSION"))
}

pub(super) fn title(verified: &Verified) -> String {
    format!("{}: {}", subject(verified), sentence(verified))
}

pub(super) fn header(verified: &Verified) -> Markup {
    let (exact, when) = moment(verified.started_unix_ms);
    let (shape, word) = badge(verified.verdict.kind);
    html! {
        header class=(shape) {
            p class="above" {
                span { "Restart report" }
                " "
                time datetime=(exact) { (when) }
            }
            p class="badge" { (mark(shape)) " " (word) }
            h1 { (sentence(verified)) }
            p class="lede" { (lede(verified)) }
            (figures(verified))
            (facts(verified))
            @if !verified.warnings.is_empty() {
                aside aria-label="Warnings" {
                    @for warning in &verified.warnings {
                        p { (mark("caution")) " " strong { "Warning: " } (prose(warning)) }
                    }
                }
            }
        }
    }
}

fn badge(kind: VerdictKind) -> (&'static str, &'static str) {
    match kind {
        VerdictKind::Lossless => ("passed", "Passed"),
        VerdictKind::Lossy => ("lost", "Losses found"),
        VerdictKind::Invalid => ("caution", "Not a valid measurement"),
        VerdictKind::Failed => ("lost", "Failed"),
    }
}

fn sentence(verified: &Verified) -> String {
    let restarts = count(verified.restarts.len() as u64, "restart");
    let verdict = &verified.verdict;
    match verdict.kind {
        VerdictKind::Lossless => format!("No request was lost in {restarts}."),
        VerdictKind::Lossy => {
            let (lost, sent) = (verdict.lost, count(verdict.sent, "request"));
            let losses = verified.clients.iter().flat_map(|client| &client.losses);
            // A connection that was closed without notice is a loss, but not of a request.
            let all_requests = losses.clone().all(|loss| loss.class != "stale");
            match (all_requests, lost) {
                (true, 1) => format!("1 of {sent} was lost in {restarts}."),
                (true, _) => format!("{} of {sent} were lost in {restarts}.", number(lost)),
                (false, 1) => format!("1 loss among {sent} in {restarts}."),
                (false, _) => format!("{} losses among {sent} in {restarts}.", number(lost)),
            }
        }
        VerdictKind::Invalid => "This run proves nothing about restarts.".to_owned(),
        VerdictKind::Failed => "A restart did not end with a process that serves.".to_owned(),
    }
}

fn lede(verified: &Verified) -> Markup {
    let tried = verified
        .clients
        .iter()
        .filter(|client| client.sent > 0)
        .count();
    let clients = match tried {
        1 => "One kind of client".to_owned(),
        n => format!("{n} kinds of clients"),
    };
    let lossy: Vec<&str> = verified
        .clients
        .iter()
        .filter(|client| client.status == Status::Lost)
        .map(|client| client.name.as_str())
        .collect();
    let again: u64 = verified.clients.iter().map(|client| client.retryable).sum();
    html! {
        @match verified.verdict.kind {
            VerdictKind::Invalid | VerdictKind::Failed => { (prose(&words::sentence(&verified.verdict.says))) },
            VerdictKind::Lossless | VerdictKind::Lossy => {
                (clients) " sent requests to " (subject_code(verified)) " while it was restarted. "
                @if !lossy.is_empty() {
                    "None was sent twice. Those that lost some: " (lossy.join(", ")) "."
                } @else if again > 0 {
                    "All got their whole answer but " (number(again)) ", which were told that they had not been "
                    "processed and may be sent again."
                } @else {
                    "Every request got its whole answer, and none was sent twice."
                }
            }
        }
    }
}

fn subject(verified: &Verified) -> String {
    match &verified.subject {
        Subject::Service(name) => printable(name),
        Subject::Command(words) => command_line(words),
    }
}

fn subject_code(verified: &Verified) -> Markup {
    html! { code { (subject(verified)) } }
}

fn figures(verified: &Verified) -> Markup {
    let waits = verified
        .restarts
        .iter()
        .map(|restart| restart.longest_wait_ms);
    let took = verified
        .restarts
        .iter()
        .map(|restart| restart.ended_ms.saturating_sub(restart.began_ms));
    let longest = |times: Option<u64>| times.map_or("\u{2013}".to_owned(), millis);
    let figure = |class: &str, name: &str, value: String| {
        html! { div class=(class) { dt { (name) } dd { (value) } } }
    };
    html! {
        dl class="figures" {
            (figure("", "requests", number(verified.verdict.sent)))
            (figure(if verified.verdict.lost > 0 { "alarm" } else { "" }, "lost", number(verified.verdict.lost)))
            (figure("", "longest wait", longest(waits.max())))
            (figure("", "longest restart", longest(took.max())))
        }
    }
}

fn facts(verified: &Verified) -> Markup {
    let (kind, by) = match (&verified.subject, verified.host) {
        (Subject::Service(_), host) => ("Service", host),
        (Subject::Command(_), host) => ("Program", host),
    };
    let by = match by {
        Host::Systemd => "systemd",
        Host::Supervisor => "zdt-units, which holds the socket",
    };
    let fact = |name: &str, value: Markup| {
        html! { div { dt { (name) } dd { (value) } } }
    };
    html! {
        dl class="facts" {
            (fact(kind, subject_code(verified)))
            (fact("Address", html! { code { (printable(&verified.target)) } }))
            (fact("Restarted by", html! { (by) }))
            (fact("Measured by", html! { (program()) }))
            (fact("Load", html! { (millis(verified.elapsed_ms)) ", clients and program on the same "
                (count(verified.cpus as u64, "CPU")) }))
        }
    }
}
