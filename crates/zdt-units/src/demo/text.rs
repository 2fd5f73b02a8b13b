//! Puts what was measured into words that fit 80 columns. Pure.

use std::time::Duration;

use super::Compared;
use super::measure::{Measured, Restarted};
use super::schedule::{KEPT, QUICK, RATE, Schedule, THINK};
use crate::config::Colour;
use crate::report::timeline::{self, Lane};

/// What is about to happen.
pub(crate) fn introduction(schedule: Schedule) -> String {
    format!(
        "\
A small web app is restarted {} times under load, first served by zdt, then by
the usual recipe: listenfd, axum::serve, with_graceful_shutdown (`stock`).
Its socket stays open both times, as with a systemd socket unit.
Load: {RATE} requests/s on new connections that send after {} ms, {RATE}/s on {KEPT} kept
connections, and at every second restart one request that takes {} s.

",
        schedule.restarts(),
        THINK.as_millis(),
        schedule.slow_takes().as_secs_f64(),
    )
}

/// What was measured.
pub(crate) fn results(compared: &Compared, colour: Colour) -> String {
    let runs = [("zdt", &compared.zdt), ("stock", &compared.stock)];
    let blocks = [
        timelines(&runs, colour),
        restarts(&runs),
        totals(compared),
        verdict(compared),
    ];
    let blocks = blocks.iter().map(|lines| {
        let lines = lines.iter().map(|line| format!("{}\n", line.trim_end()));
        lines.collect::<String>()
    });
    blocks.collect::<Vec<_>>().join("\n")
}

type Runs<'a> = [(&'a str, &'a Measured); 2];

fn timelines(runs: &Runs<'_>, colour: Colour) -> Vec<String> {
    let length_ms = runs.iter().map(|(_, run)| run.report.elapsed_ms).max();
    let column_ms = timeline::column_ms(length_ms.unwrap_or_default());
    let mut lines: Vec<String> = Vec::new();
    let mut marked = None;
    for (name, run) in runs {
        // Mostly both are restarted at the same moments.
        let at = |restart: &Restarted| (restart.at_ms, star(restart));
        let marks = timeline::marks(run.restarts.iter().map(at), column_ms);
        if marked.as_ref() != Some(&marks) {
            lines.push(format!("  {:<8}{marks}", ""));
            marked = Some(marks);
        }
        let row = timeline::row(&lanes(run), column_ms, colour);
        lines.push(format!("  {name:<8}{row}"));
    }
    lines.push(format!(
        "  {:<8}▼ restart (* beside a slow request)  {}",
        "",
        timeline::LEGEND
    ));
    lines
}

/// A slow answer is no slow service.
fn lanes(run: &Measured) -> Vec<Lane<'_>> {
    let lane = |stream: &'_ crate::probe::StreamReport| match stream.name.as_str() {
        name if name == QUICK[0] => Some(THINK),
        name if name == QUICK[1] => Some(Duration::ZERO),
        _ => None,
    };
    let streams = run.report.streams.iter();
    streams
        .map(|stream| Lane {
            timeline: &stream.timeline,
            usual: lane(stream),
        })
        .collect()
}

fn restarts(runs: &Runs<'_>) -> Vec<String> {
    let row = |what: String, run: &Measured, cell: &dyn Fn(&Restarted) -> String| {
        let cells = run.restarts.iter();
        let cells: String = cells
            .map(|restart| format!("{:>9}", cell(restart)))
            .collect();
        format!("  {what:<28}{cells}")
    };
    let mut lines = vec![row("restart".to_owned(), runs[0].1, &|restart| {
        format!("{}{}", restart.nth, star(restart))
    })];
    for (name, run) in runs {
        lines.push(row(format!("{name:<8}took"), run, &|restart| {
            millis(restart.took_ms)
        }));
        lines.push(row(format!("{:<8}longest wait", ""), run, &|restart| {
            millis(restart.longest_wait_ms)
        }));
    }
    lines
}

fn star(restart: &Restarted) -> &'static str {
    if restart.slow_in_flight { "*" } else { "" }
}

fn totals(compared: &Compared) -> Vec<String> {
    let row = |what: &str, cell: &dyn Fn(&Measured) -> String| {
        columns(what, &cell(&compared.zdt), &cell(&compared.stock))
    };
    let mut lines = vec![
        columns("", "zdt", "stock"),
        row("requests", &|run| {
            grouped(run.report.total.outcomes.scheduled)
        }),
        row("lost", &|run| grouped(run.report.lost())),
    ];
    lines.extend(classes(compared).iter().map(|class| {
        row(&format!("  {class}"), &|run| {
            let losses = run.report.total.outcomes.losses();
            let lost = losses.iter().find(|(name, _)| name == class);
            lost.map_or("-".to_owned(), |(_, n)| grouped(*n))
        })
    }));
    lines.extend([
        row("longest wait of a quick request", &|run| {
            millis(run.quick.longest_wait_ms)
        }),
        row("longest wait of one beside a slow request *", &|run| {
            millis(run.quick.longest_wait_beside_slow_ms)
        }),
        row("kept connections found closed (nothing lost)", &|run| {
            grouped(run.quick.stale)
        }),
    ]);
    lines
}

fn columns(what: &str, zdt: &str, stock: &str) -> String {
    format!("  {what:<51}{zdt:>11}{stock:>11}")
}

/// How requests were lost, in either run.
fn classes(compared: &Compared) -> Vec<String> {
    let mut classes: Vec<String> = Vec::new();
    for run in [&compared.zdt, &compared.stock] {
        for (class, _) in run.report.total.outcomes.losses() {
            if !classes.contains(&class) {
                classes.push(class);
            }
        }
    }
    classes
}

fn verdict(compared: &Compared) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, run) in [
        ("zdt", &compared.zdt),
        ("The stock recipe", &compared.stock),
    ] {
        let restarts = run.restarts.len();
        let requests = grouped(run.report.total.outcomes.scheduled);
        let lost = match run.report.lost() {
            0 => "none".to_owned(),
            lost => grouped(lost),
        };
        lines.push(format!(
            "{name} lost {lost} of {requests} requests in {restarts} restarts."
        ));
        if !run.report.valid {
            lines.push("That counts for nothing: the client itself failed.".to_owned());
        }
        let warnings = run.report.warnings.iter();
        lines.extend(warnings.map(|warning| format!("warning: {warning}")));
    }
    let cpus = match compared.cpus {
        1 => "1 CPU".to_owned(),
        cpus => format!("{cpus} CPUs"),
    };
    lines.push(format!(
        "Measured just now on {cpus}, which client and app shared."
    ));
    lines
}

fn millis(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        _ => format!("{:.2} s", ms as f64 / 1000.0),
    }
}

/// `12,345`
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::measure::Quick;
    use crate::probe::{Outcomes, Report, StreamReport, Timeline};

    fn stream(name: &str, timeline: Timeline) -> StreamReport {
        StreamReport {
            name: name.to_owned(),
            pattern: String::new(),
            rate: 1.0,
            outcomes: Outcomes::default(),
            latency: Default::default(),
            histogram: Default::default(),
            gap: Default::default(),
            lag_max_us: 0,
            in_flight_max: 0,
            in_flight_refused: 0,
            connections: Default::default(),
            held: None,
            instances: Default::default(),
            details: Default::default(),
            timeline,
        }
    }

    /// Two and a half seconds in buckets of 50 ms: a stall, and a loss, if wanted.
    fn measured(total: Outcomes, wait_ms: u64) -> Measured {
        let mut timeline = Timeline {
            bucket_ms: 50,
            ok: vec![30; 50],
            lost: vec![0; 50],
            max_us: vec![25_000; 50],
        };
        timeline.max_us[40] = (wait_ms + 20) * 1000;
        timeline.lost[20] = u32::try_from(total.lost()).unwrap();
        // A slow answer is no slow service.
        let slow = Timeline {
            bucket_ms: 100,
            ok: vec![0, 0, 1],
            lost: vec![0; 3],
            max_us: vec![0, 0, 1_500_000],
        };
        let restart = |nth, at_ms, slow_in_flight| Restarted {
            nth,
            at_ms,
            took_ms: 1250,
            slow_in_flight,
            longest_wait_ms: wait_ms,
        };
        Measured {
            restarts: vec![restart(1, 1000, false), restart(2, 2000, true)],
            quick: Quick {
                longest_wait_ms: 12,
                longest_wait_beside_slow_ms: wait_ms,
                stale: 3,
            },
            report: Report {
                v: 1,
                target: String::new(),
                started_unix_ms: 0,
                elapsed_ms: 2500,
                valid: true,
                warnings: Vec::new(),
                streams: vec![stream("new", timeline), stream("slow", slow)],
                total: StreamReport {
                    outcomes: total,
                    ..stream("total", Timeline::default())
                },
            },
        }
    }

    fn compared(stock_lost: u64) -> Compared {
        let outcomes = |eof| Outcomes {
            scheduled: 1234,
            ok: 1234 - eof,
            eof,
            ..Outcomes::default()
        };
        let zdt = measured(outcomes(0), 30);
        Compared::new(zdt, measured(outcomes(stock_lost), 1300), 2)
    }

    #[test]
    fn the_results_fit_a_terminal_and_need_no_colour() {
        let text = results(&compared(7), Colour::Never);
        assert_eq!(
            text,
            "                              ▼                   ▼*
  zdt     ··················································
  stock   ····················X···················~·········
          ▼ restart (* beside a slow request)  · served  ~ waited 0.1 s  X lost

  restart                             1       2*
  zdt     took                   1.25 s   1.25 s
          longest wait            30 ms    30 ms
  stock   took                   1.25 s   1.25 s
          longest wait           1.30 s   1.30 s

                                                             zdt      stock
  requests                                                 1,234      1,234
  lost                                                         0          7
    closed before the answer                                   -          7
  longest wait of a quick request                          12 ms      12 ms
  longest wait of one beside a slow request *              30 ms     1.30 s
  kept connections found closed (nothing lost)                 3          3

zdt lost none of 1,234 requests in 2 restarts.
The stock recipe lost 7 of 1,234 requests in 2 restarts.
Measured just now on 2 CPUs, which client and app shared.
"
        );
        for line in text.lines().chain(introduction(Schedule::full()).lines()) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    #[test]
    fn a_control_that_loses_nothing_and_a_client_that_failed_are_told() {
        let mut both = compared(0);
        both.zdt.report.valid = false;
        both.zdt.report.warnings.push("too busy".to_owned());
        assert_eq!(
            verdict(&both),
            [
                "zdt lost none of 1,234 requests in 2 restarts.",
                "That counts for nothing: the client itself failed.",
                "warning: too busy",
                "The stock recipe lost none of 1,234 requests in 2 restarts.",
                "Measured just now on 2 CPUs, which client and app shared.",
            ]
        );
    }

    #[test]
    fn colour_adds_nothing_but_colour() {
        let coloured = results(&compared(7), Colour::Always);
        let mut plain = String::new();
        for (n, part) in coloured.split('\x1b').enumerate() {
            plain.push_str(match n {
                0 => part,
                _ => part.split_once('m').unwrap().1,
            });
        }
        assert_eq!(plain, results(&compared(7), Colour::Never));
        assert!(coloured.contains("\x1b[1;31mX\x1b["), "{coloured}");
    }

    #[test]
    fn numbers_are_grouped() {
        let shown = [0, 999, 1000, 12_345, 1_234_567].map(grouped);
        assert_eq!(shown, ["0", "999", "1,000", "12,345", "1,234,567"]);
    }
}
