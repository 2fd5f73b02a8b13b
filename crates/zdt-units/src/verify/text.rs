//! A result in words that fit 80 columns. Pure.

use std::time::Duration;

use super::result::{Client, Host, PhaseKind, Restart, Status, Subject, Verified};
use crate::config::Colour;
use crate::probe::{micros, millis, write_table};
use crate::report::timeline::{self, Lane};

/// Wide enough for the longest name of a client.
const LABEL: usize = 12;
const WIDTH: usize = 80;

/// What was found; the last line is the verdict.
pub(crate) fn shown(verified: &Verified, colour: Colour) -> String {
    let blocks = [
        heading(verified),
        timelines(verified, colour),
        restarts(verified),
        clients(verified),
        losses(verified),
        notes(verified),
        checks(verified),
        vec![verified.verdict.says.clone()],
    ];
    let blocks = blocks.iter().filter(|lines| !lines.is_empty());
    let blocks = blocks.map(|lines| {
        let lines = lines.iter().map(|line| format!("{}\n", line.trim_end()));
        lines.collect::<String>()
    });
    blocks.collect::<Vec<_>>().join("\n")
}

fn heading(verified: &Verified) -> Vec<String> {
    let subject = match &verified.subject {
        Subject::Service(name) => format!("service {name}"),
        Subject::Command(words) => words.join(" "),
    };
    let host = match verified.host {
        Host::Systemd => "systemd",
        Host::Supervisor => "zdt-units",
    };
    let target = &verified.target;
    vec![format!("{subject} at {target}, restarted by {host}")]
}

fn timelines(verified: &Verified, colour: Colour) -> Vec<String> {
    let tried = verified.clients.iter().filter(|client| client.sent > 0);
    let column_ms = timeline::column_ms(verified.elapsed_ms);
    let rows: Vec<String> = tried
        .map(|client| {
            let lane = Lane {
                timeline: &client.timeline,
                usual: Some(shortest(client)),
            };
            let row = timeline::row(&[lane], column_ms, colour);
            format!("{:<LABEL$}{row}", client.name)
        })
        .collect();
    if rows.is_empty() {
        return rows;
    }
    let at = verified
        .restarts
        .iter()
        .map(|restart| (restart.began_ms, ""));
    let marks = format!("{:<LABEL$}{}", "", timeline::marks(at, column_ms));
    let legend = format!("{:<LABEL$}▼ restart  {}", "", timeline::LEGEND);
    [vec![marks], rows, vec![legend]].concat()
}

/// What an answer takes when nothing is in its way.
fn shortest(client: &Client) -> Duration {
    let buckets = client
        .histogram
        .counts
        .iter()
        .zip(&client.histogram.upto_us);
    let mut filled = buckets.filter(|(count, _)| **count > 0);
    Duration::from_micros(filled.next().map_or(0, |(_, upto)| *upto))
}

fn restarts(verified: &Verified) -> Vec<String> {
    if verified.restarts.is_empty() {
        return Vec::new();
    }
    let phase = |restart: &Restart, kind| {
        let phase = restart.phases.iter().find(|phase| phase.kind == kind);
        phase.map_or("-".to_owned(), |phase| millis(phase.to_ms - phase.from_ms))
    };
    let mut rows =
        vec![["restart", "took", "stop", "start", "longest wait", "lost"].map(str::to_owned)];
    rows.extend(verified.restarts.iter().map(|restart| {
        [
            restart.nth.to_string(),
            millis(restart.ended_ms - restart.began_ms),
            phase(restart, PhaseKind::Stopping),
            phase(restart, PhaseKind::Starting),
            millis(restart.longest_wait_ms),
            restart.lost.to_string(),
        ]
    }));
    let mut lines = table(&rows);
    for restart in &verified.restarts {
        if restart.killed {
            let nth = restart.nth;
            lines.push(format!(
                "restart {nth}: the old process was killed at the stop timeout"
            ));
        }
    }
    lines
}

fn clients(verified: &Verified) -> Vec<String> {
    let restarts = verified.restarts.len();
    let mut rows = vec![
        [
            "client", "sent", "ok", "lost", "met", "p50", "p99", "wait", "",
        ]
        .map(str::to_owned),
    ];
    rows.extend(verified.clients.iter().map(|client| {
        let figure = |text: String| match client.sent {
            0 => "-".to_owned(),
            _ => text,
        };
        [
            client.name.clone(),
            figure(client.sent.to_string()),
            figure(client.ok.to_string()),
            figure(client.lost.to_string()),
            figure(format!("{}/{restarts}", client.met)),
            figure(micros(client.latency.p50_us)),
            figure(micros(client.latency.p99_us)),
            figure(millis(client.longest_wait_ms)),
            status(client.status).to_owned(),
        ]
    }));
    table(&rows)
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Passed => "passed",
        Status::Lost => "LOST",
        Status::NotSpoken => "not spoken",
        Status::NotTried => "not tried",
        Status::NotMet => "not met",
    }
}

fn losses(verified: &Verified) -> Vec<String> {
    let of = |client: &Client| {
        let losses = client.losses.iter().flat_map(|loss| {
            let first = format!("{} lost {}: {}", client.name, loss.count, loss.what);
            [vec![first], wrapped("  ", &loss.advice)].concat()
        });
        losses.collect::<Vec<_>>()
    };
    verified.clients.iter().flat_map(of).collect()
}

fn notes(verified: &Verified) -> Vec<String> {
    let noted = verified.clients.iter().filter_map(|client| {
        let note = client.note.as_ref()?;
        Some(wrapped("", &format!("{}: {note}", client.name)))
    });
    let warnings = verified.warnings.iter();
    let warnings = warnings.map(|warning| wrapped("", &format!("warning: {warning}")));
    noted.chain(warnings).flatten().collect()
}

fn checks(verified: &Verified) -> Vec<String> {
    let checks = verified.checks.iter().flat_map(|check| {
        let mark = match check.passed {
            Some(true) => "ok   ",
            Some(false) => "FAIL ",
            None => "-    ",
        };
        wrapped(mark, &check.says)
    });
    checks.collect()
}

fn table<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let mut text = String::new();
    write_table(&mut text, rows).expect("a string takes every text");
    text.lines().map(str::to_owned).collect()
}

/// Lines that fit, each but the first indented as far as `lead`.
fn wrapped(lead: &str, text: &str) -> Vec<String> {
    let mut lines = vec![lead.to_owned()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line");
        let is_begun = line.chars().count() > lead.chars().count();
        if is_begun && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(format!("{:1$}{word}", "", lead.chars().count()));
            continue;
        }
        if is_begun {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(text: &str) -> Verified {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_result_fits_a_terminal_and_ends_with_the_verdict() {
        for text in [
            include_str!("samples/lossless.json"),
            include_str!("samples/lossy.json"),
        ] {
            let verified = sample(text);
            let text = shown(&verified, Colour::Never);
            assert_eq!(text.lines().last(), Some(verified.verdict.says.as_str()));
            for line in text.lines() {
                assert!(line.chars().count() <= WIDTH, "{line}");
            }
            let coloured = shown(&verified, Colour::Always);
            let mut plain = String::new();
            for (n, part) in coloured.split('\x1b').enumerate() {
                plain.push_str(match n {
                    0 => part,
                    _ => part.split_once('m').unwrap().1,
                });
            }
            assert_eq!(plain, text);
        }
    }

    #[test]
    fn every_loss_has_its_advice_and_every_gap_its_reason() {
        let text = shown(&sample(include_str!("samples/lossy.json")), Colour::Never);
        let verified = sample(include_str!("samples/lossy.json"));
        let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for client in &verified.clients {
            for loss in &client.losses {
                assert!(joined.contains(&loss.advice), "{}", loss.advice);
            }
            if let Some(note) = &client.note {
                assert!(joined.contains(note), "{note}");
            }
        }
        for check in &verified.checks {
            assert!(joined.contains(&check.says), "{}", check.says);
        }
    }
}
