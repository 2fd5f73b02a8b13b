//! What zdt costs, each thing beside what it is paired with.

use super::table::Table;
use super::{NOT_MEASURED, count, wrap};
use crate::server::Which;
use crate::statistics::{least, median, most, quantile, ratios};
use crate::{floor, growth, launcher, plan, start, throughput};

pub(crate) fn floor(measured: &floor::Measured) -> String {
    let mut table = Table::new(&["program", "restart", "ratio", "gap", "ratio", "lost"]);
    for (number, row) in measured.rows.iter().enumerate() {
        let paired = &measured.rows[number - number % 2];
        let [restart_ratio, gap_ratio] = [
            median(&ratios(&row.restarts, &paired.restarts)),
            median(&ratios(&row.seen.gaps, &paired.seen.gaps)),
        ];
        table.row([
            floor::CASES[number].name.to_owned(),
            format!("{:.1} ms", median(&row.restarts)),
            format!("{restart_ratio:.2}"),
            format!("{:.1} ms", median(&row.seen.gaps)),
            format!("{gap_ratio:.2}"),
            format!("{:.0}", row.seen.lost.iter().sum::<f64>()),
        ]);
    }
    let lead = wrap(&format!(
        "`zdt-bench floor`: {} each without clients (`restart`, from `SIGTERM` to the end of the start, by systemd's \
         clock) and as many under {} new connections a second (`gap`). The smallest program accepts, gives an answer \
         that is always the same, and ends by `SIGTERM` without a handler. The sweep is `zdt-units sweep`, which the \
         units of hand-over run after each start; the restart waits for it, and clients do not. The medians, and the \
         median ratio of each pair.",
        count("restart", measured.restarts as usize),
        measured.rate,
    ));
    format!("## The floor\n\n{lead}\n\n{table}")
}

pub(crate) fn launcher(measured: &launcher::Measured) -> String {
    let mut table = Table::new(&["starts in", "launcher", "bare loop", "ratio"]);
    for row in &measured.rows {
        let ratios = ratios(&row.launcher, &row.bare);
        table.row([
            format!("{} ms", row.start_up.as_millis()),
            format!("{:.1} ms", median(&row.launcher)),
            format!("{:.1} ms", median(&row.bare)),
            spread(&ratios),
        ]);
    }
    let lead = wrap(&format!(
        "`zdt-bench launcher`: {} each, in turn: by `zdt-units restart` of a service of `zdt-units run`, and by a loop \
         that has the socket, sends `SIGTERM`, waits, and starts the next process. The smallest program, which takes \
         no time to start, or some. From the last answer of the old process to the first one of the new, for a client \
         that asks without a pause. Medians; the ratio of each pair: median (least to most).",
        count("restart", measured.restarts),
    ));
    format!("## The launcher\n\n{lead}\n\n{table}")
}

pub(crate) fn growth(measured: &growth::Measured) -> String {
    let mut table = Table::new(&[
        "server",
        "connections",
        "listeners",
        "restart, ms",
        "new client, ms",
        "gap, ms",
        "memory, MiB",
        "PID 1, ms",
        "survived",
        "lost",
    ]);
    for row in &measured.rows {
        let figure = |of: fn(&growth::Row) -> &[f64]| {
            let ratio = median(&ratios(of(row), of(&measured.rows[0])));
            format!("{:.1} ({ratio:.1})", median(of(row)))
        };
        table.row([
            growth::SERVERS[row.server].0.to_owned(),
            row.connections.to_string(),
            row.listeners.to_string(),
            figure(|row| &row.restarts),
            figure(|row| &row.first_answers),
            figure(|row| &row.others.gaps),
            figure(|row| &row.memory),
            figure(|row| &row.manager),
            format!("{:.0}", least(&row.survived)),
            format!("{:.0}", row.others.lost.iter().sum::<f64>()),
        ]);
    }
    let lead = wrap(&format!(
        "`zdt-bench growth`: {} of each case, with idle kept connections; medians, in brackets how many \
         times that of the first row. `restart` is from `SIGTERM` to the end of the start by systemd's clock; `new \
         client` is from the command to the first answer that a client who came after it had from the next process; \
         `gap` is the longest stretch in which none of 100 new clients a second was answered, and `lost` how many of \
         them were not; `memory` is resident in the process before the restart; `PID 1` is the CPU time that systemd \
         itself used; `survived` counts the connections on which the new process answered, in the worst restart.",
        count("restart", measured.args.restarts as usize),
    ));
    format!("## Growth\n\n{lead}\n\n{table}")
}

pub(crate) fn start(measured: &start::Measured) -> String {
    let mut table = Table::new(&["program", "first answer", "p90", "zdt is so many times it"]);
    let zdt = zdt_starts(measured);
    for (which, times) in &measured.rows {
        let ratio = match which {
            Which::Zdt => String::new(),
            _ => format!("{:.2}", median(&ratios(zdt, times))),
        };
        table.row([
            start_name(*which).to_owned(),
            format!("{:.2} ms", median(times)),
            format!("{:.2} ms", quantile(times, 0.9)),
            ratio,
        ]);
    }
    let lead = wrap(&format!(
        "`zdt-bench start`: {} of each, in turn, from the start of the process to the answer for a client that waits \
         in the queue of the inherited socket. All are one executable, so loading it costs each the same. Medians.",
        count("start", measured.starts),
    ));
    format!("## Start\n\n{lead}\n\n{table}")
}

pub(super) fn zdt_starts(measured: &start::Measured) -> &[f64] {
    let zdt = measured.rows.iter().find(|(which, _)| *which == Which::Zdt);
    zdt.map_or(&[], |(_, times)| times)
}

pub(super) fn start_name(which: Which) -> &'static str {
    match which {
        Which::Floor => "a program without a runtime",
        Which::Tokio => "a plain tokio listener",
        Which::Stock => "`listenfd` and `axum::serve`",
        _ => "`zdt::serve`",
    }
}

pub(crate) fn throughput(measured: &throughput::Measured) -> String {
    let args = &measured.args;
    let mut table = Table::new(&["server", "requests/s", "ratio", "CPU a request", "ratio"]);
    let mut row = |name: &str, rates: &[throughput::Rate]| {
        let [speed, cpu] = throughput_ratios(measured, rates);
        table.row([
            name.to_owned(),
            format!("{:.0}", median(&per_second(rates))),
            spread(&speed),
            format!("{:.1} µs", median(&cpu_of(rates))),
            spread(&cpu),
        ]);
    };
    row("`axum::serve`", &measured.axum);
    row("`zdt::serve`", &measured.zdt);
    match &measured.nginx {
        Ok(rates) => row("`zdt::serve` behind nginx", rates),
        Err(reason) => table.row([
            "`zdt::serve` behind nginx".to_owned(),
            format!("{NOT_MEASURED}: {reason}"),
        ]),
    }
    let lead = wrap(&format!(
        "`zdt-bench throughput`: {} of {} s each, in turn, {} {} connections kept busy. The ratios are to \
         `axum::serve` in the same round: median (least to most). `CPU a request` is user and system time of the \
         server and of its proxy; that of the client is not in it.",
        count("round", args.rounds),
        args.seconds,
        args.connections,
        if args.new { "new" } else { "kept" },
    ));
    format!("## Throughput\n\n{lead}\n\n{table}")
}

fn per_second(rates: &[throughput::Rate]) -> Vec<f64> {
    rates.iter().map(|rate| rate.per_second).collect()
}

fn cpu_of(rates: &[throughput::Rate]) -> Vec<f64> {
    rates.iter().map(|rate| rate.cpu).collect()
}

/// Requests a second and CPU time for each, against `axum::serve`.
pub(super) fn throughput_ratios(
    measured: &throughput::Measured,
    rates: &[throughput::Rate],
) -> [Vec<f64>; 2] {
    [
        ratios(&per_second(rates), &per_second(&measured.axum)),
        ratios(&cpu_of(rates), &cpu_of(&measured.axum)),
    ]
}

fn spread(values: &[f64]) -> String {
    format!(
        "{:.3} ({:.3} to {:.3})",
        median(values),
        least(values),
        most(values)
    )
}

pub(crate) fn plan(measured: &plan::Measured) -> String {
    let mut table = Table::new(&[
        "services", "read", "render", "order", "plan", "all", "ratio",
    ]);
    for row in &measured.rows {
        let times = |row: &plan::Row, of: fn(&plan::Parts) -> f64| -> Vec<f64> {
            row.rounds.iter().map(of).collect()
        };
        let figure = |of| format!("{:.1} µs", median(&times(row, of)));
        let [all, first] = [row, &measured.rows[0]].map(|row| times(row, plan::Parts::all));
        let ratios = ratios(&all, &first);
        table.row([
            row.services.to_string(),
            figure(|parts| parts.read),
            figure(|parts| parts.render),
            figure(|parts| parts.order),
            figure(|parts| parts.plan),
            figure(plan::Parts::all),
            format!(
                "{:.2} ({:.2} to {:.2})",
                median(&ratios),
                least(&ratios),
                most(&ratios)
            ),
        ]);
    }
    let lead = wrap(&format!(
        "`zdt-bench plan`: {} of each, in turn. A `zdt.toml` in which each service needs the one before it and a \
         database is read (`read`), its units are written in memory (`render`), its services are put in order and \
         begun one after the other (`order`), and the restart of each is planned and printed (`plan`). Time a service, \
         medians; the ratio of `all` is to the first row in the same round: median (least to most). One that stays \
         the same is growth in line with the number of services.",
        count("round", measured.rounds),
    ));
    format!("## Many services\n\n{lead}\n\n{table}")
}
