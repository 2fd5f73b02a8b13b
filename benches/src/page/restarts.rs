//! What clients met at restarts: first in one table, then load by load.

use super::table::Table;
use super::{NOT_MEASURED, count, wrap, wrap_item};
use crate::restart::{self, LOADS};
use crate::statistics::most;
use crate::window::Seen;

/// One table for those in a hurry.
pub(super) fn short(measured: &restart::Measured) -> String {
    let lead = wrap(
        "Requests lost a restart, by what their clients do; how many of 32 open connections a restart closed; and the \
         longest stretch in milliseconds in which no new client was answered, in brackets how many times as long as \
         where nothing is restarted. The rest is under \"Restart\".",
    );
    let mut head = vec!["server"];
    head.extend(LOADS);
    head.extend(["closed", "gap"]);
    let mut table = Table::new(&head);
    for row in &measured.rows {
        let mut cells = vec![row.name.to_owned()];
        match &row.seen {
            Ok(seen) => {
                cells.extend(
                    seen.iter()
                        .map(|seen| format!("{:.1}", seen.lost_per_restart())),
                );
                let kept = seen.last().map(Seen::closed_per_restart);
                cells.push(format!("{:.1}", kept.unwrap_or_default()));
                cells.push(against(Seen::gap, seen, control(measured), 0));
            }
            Err(_) => cells.push(NOT_MEASURED.to_owned()),
        }
        table.row(cells);
    }
    format!("## In short\n\n{lead}\n\n{table}\n")
}

const LEGEND: &str = "\
- `lost`: requests a restart that got no answer, or a wrong one; in brackets the worst restart
- `lost as`: what became of them, in all restarts; the names are those of [the probe](probe.md)
- `closed`: of 32 connections that send half of the requests and are never opened again, those that a restart ended
- `announced`: those of them whose last answer had said `Connection: close`; the others were found closed
- `opened`: connections that a pool made for the other half of the requests, where 32 would do if none ended
- `p99`, `max`, `gap` in milliseconds: the latency of answers, and the longest stretch without any (median of the
  restarts); in brackets how many times as long as where nothing is restarted
";

pub(crate) fn restart(measured: &restart::Measured) -> String {
    let args = &measured.args;
    let lead = wrap(&format!(
        "`zdt-bench restart`: {} of each server under each load, in turn, {} requests a second, no retries. Each \
         program \
         takes {} to start. What counts is what was due within {} of the beginning of a restart, or until it is over.",
        count("restart", args.restarts as usize),
        args.rate,
        humantime::format_duration(args.start_up),
        humantime::format_duration(args.window),
    ));
    let mut text = format!("## Restart\n\n{lead}\n\n{LEGEND}");
    for (load, name) in LOADS.iter().enumerate() {
        text.push_str(&format!("\n### Load: {name}\n\n"));
        text.push_str(&load_table(measured, load).to_string());
    }
    text.push_str("\n### How each is restarted\n\n");
    for row in &measured.rows {
        let reason = row.seen.as_ref().err();
        let reason = reason.map(|reason| format!(". Not measured: {reason}"));
        let reason = reason.unwrap_or_default();
        text.push_str(&wrap_item(&format!("{}: {}{reason}", row.name, row.how)));
    }
    text
}

/// What the clients met where nothing was restarted.
fn control(measured: &restart::Measured) -> Option<&[Seen]> {
    let mut rows = measured.rows.iter();
    let row = rows.find(|row| row.name == restart::CONTROL)?;
    row.seen.as_deref().ok()
}

/// A figure under one load, and how many times that of the control it is.
fn against(
    figure: fn(&Seen) -> f64,
    seen: &[Seen],
    control: Option<&[Seen]>,
    load: usize,
) -> String {
    let value = figure(&seen[load]);
    match control {
        Some(control) if !std::ptr::eq(control, seen) => {
            format!("{value:.0} ({:.1})", value / figure(&control[load]))
        }
        _ => format!("{value:.0}"),
    }
}

fn load_table(measured: &restart::Measured, load: usize) -> Table {
    let control = control(measured);
    let against = |figure: fn(&Seen) -> f64, seen: &[Seen]| against(figure, seen, control, load);
    let kept = is_kept(load);
    let mut table = match kept {
        true => Table::new(&[
            "server",
            "lost",
            "closed",
            "announced",
            "opened",
            "p99",
            "max",
            "gap",
            "lost as",
        ]),
        false => Table::new(&["server", "lost", "p99", "max", "gap", "lost as"]),
    };
    for row in &measured.rows {
        let name = row.name.to_owned();
        match &row.seen {
            Ok(loads) => {
                let seen = &loads[load];
                let mut cells = vec![
                    name,
                    format!("{:.1} ({:.0})", seen.lost_per_restart(), most(&seen.lost)),
                ];
                if kept {
                    cells.push(format!("{:.1}", seen.closed_per_restart()));
                    cells.push(format!("{:.1}", seen.announced_per_restart()));
                    cells.push(format!("{:.0}", seen.opened_per_restart()));
                }
                cells.extend([
                    against(Seen::p99, loads),
                    against(Seen::longest, loads),
                    against(Seen::gap, loads),
                    losses(seen),
                ]);
                table.row(cells);
            }
            Err(_) => table.row([name, NOT_MEASURED.to_owned()]),
        }
    }
    table
}

pub(super) fn is_kept(load: usize) -> bool {
    LOADS[load].contains("kept")
}

fn losses(seen: &Seen) -> String {
    let losses = seen.losses.iter().map(|(what, n)| format!("{what} {n}"));
    losses.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_also_those_of_the_control_and_a_server_without_figures_is_a_row() {
        let row = |name, how, seen| restart::Row { name, how, seen };
        let rows = vec![
            row(restart::CONTROL, "nothing", Ok(vec![seen(0.0, 5.0); 3])),
            row("plain", "`systemctl restart`", Ok(vec![seen(9.0, 60.0); 3])),
            row("another", "by hand", Err("it is not here".to_owned())),
        ];
        let measured = restart::Measured {
            args: restart::Args {
                restarts: 2,
                rate: 100.0,
                start_up: Duration::from_millis(50),
                window: Duration::from_secs(1),
                only: None,
            },
            rows,
        };
        let text = restart(&measured);
        let (_, tables) = text
            .split_once("### Load: new connections, 20 ms away\n\n")
            .unwrap();
        assert_eq!(
            tables,
            "\
| server  |         lost |       p99 |       max |       gap | lost as    |
| ------- | -----------: | --------: | --------: | --------: | ---------- |
| control |      0.0 (0) |         5 |         5 |         5 |            |
| plain   |    13.5 (18) | 60 (12.0) | 60 (12.0) | 60 (12.0) | refused 27 |
| another | not measured |           |           |           |            |

### Load: kept connections

| server  |         lost | closed | announced | opened |       p99 |       max |       gap | lost as    |
| ------- | -----------: | -----: | --------: | -----: | --------: | --------: | --------: | ---------- |
| control |      0.0 (0) |   31.0 |      20.0 |     48 |         5 |         5 |         5 |            |
| plain   |    13.5 (18) |   31.0 |      20.0 |     48 | 60 (12.0) | 60 (12.0) | 60 (12.0) | refused 27 |
| another | not measured |        |           |        |           |           |           |            |

### How each is restarted

- control: nothing
- plain: `systemctl restart`
- another: by hand. Not measured: it is not here
"
        );
    }

    /// Two restarts that lost this many, and as many again.
    fn seen(lost: f64, gap: f64) -> Seen {
        Seen {
            lost: vec![lost, lost * 2.0],
            closed: vec![32.0, 30.0],
            announced: vec![32.0, 8.0],
            latencies: vec![gap; 2],
            gaps: vec![gap; 2],
            opened: vec![32.0, 64.0],
            losses: match lost as u64 {
                0 => BTreeMap::new(),
                lost => BTreeMap::from([("refused".to_owned(), lost * 3)]),
            },
        }
    }
}
