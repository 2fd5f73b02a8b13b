//! What others did better in this run. Found in the data, so that nothing is left out.

use super::costs::{start_name, throughput_ratios, zdt_starts};
use super::restarts::is_kept;
use super::table::Table;
use super::{Page, wrap, wrap_item};
use crate::restart::{self, LOADS};
use crate::server::Which;
use crate::statistics::{median, ratios};
use crate::window::Seen;

/// A figure of a restart that is better when it is smaller, and the least difference that counts.
struct Figure {
    name: &'static str,
    of: fn(&Seen) -> f64,
    least: f64,
    /// It says nothing where clients went without an answer.
    of_answered: bool,
}

const FIGURES: [Figure; 5] = [
    figure("lost", Seen::lost_per_restart, 0.0, false),
    figure("closed", Seen::closed_per_restart, 0.0, true),
    figure("opened", Seen::opened_per_restart, 1.0, true),
    figure("p99", Seen::p99, 1.0, true),
    figure("gap", Seen::gap, 1.0, true),
];

const fn figure(name: &'static str, of: fn(&Seen) -> f64, least: f64, of_answered: bool) -> Figure {
    Figure {
        name,
        of,
        least,
        of_answered,
    }
}

pub(super) fn section(page: &Page) -> String {
    let mut text = "## What is worse with zdt\n\n".to_owned();
    for line in costs(page) {
        text.push_str(&wrap_item(&line));
    }
    if let Ok(measured) = &page.restart {
        let table = better_at_restarts(measured);
        text.push_str(&format!(
            "\n{}\n\n{table}",
            wrap(
                "Where others did better in a restart: zdt's figure, then the best of others. The figures are those of \
                 \"Restart\". All but \"lost\" count only against servers that lost no more."
            )
        ));
    }
    text
}

/// What costs more than the thing that it is paired with.
fn costs(page: &Page) -> Vec<String> {
    let mut lines = Vec::new();
    if let Ok(measured) = &page.throughput {
        let [speed, cpu] = throughput_ratios(measured, &measured.zdt).map(|ratios| median(&ratios));
        if speed < 1.0 {
            lines.push(format!(
                "`zdt::serve` answers {speed:.3} times as many requests a second as `axum::serve`."
            ));
        }
        if cpu > 1.0 {
            lines.push(format!(
                "A request takes {cpu:.3} times the CPU time that it takes with `axum::serve`."
            ));
        }
    }
    if let Ok(measured) = &page.start {
        let zdt = zdt_starts(measured);
        for (which, times) in &measured.rows {
            let ratio = median(&ratios(zdt, times));
            if *which != Which::Zdt && ratio > 1.0 {
                lines.push(format!(
                    "Its first answer takes {ratio:.2} times as long as that of {}.",
                    start_name(*which)
                ));
            }
        }
    }
    if let Ok(measured) = &page.floor {
        let [smallest, zdt] = [&measured.rows[2], &measured.rows[3]];
        let ratio = median(&ratios(&zdt.restarts, &smallest.restarts));
        if ratio > 1.0 {
            lines.push(format!(
                "Its restart takes {ratio:.2} times as long as that of the smallest program in the same units."
            ));
        }
    }
    if let Ok(measured) = &page.floor {
        let [unswept, swept] = [&measured.rows[4], &measured.rows[5]];
        let ratio = median(&ratios(&swept.restarts, &unswept.restarts));
        if ratio > 1.0 {
            lines.push(format!(
                "With hand-over a restart takes {ratio:.2} times as long as it would without the look for connections \
                 that were not taken."
            ));
        }
    }
    if let Ok(measured) = &page.growth {
        let first = median(&measured.rows[0].restarts);
        for (server, handed) in [(0, "handed over"), (1, "not handed over")] {
            let rows = measured.rows.iter().filter(|row| row.server == server);
            let slowest = rows.map(|row| (median(&row.restarts), row));
            if let Some((time, row)) = slowest.max_by(|(a, _), (b, _)| a.total_cmp(b)) {
                lines.push(format!(
                    "With {} idle connections, {handed}, a restart takes {:.0} times as long as with none.",
                    row.connections,
                    time / first
                ));
            }
        }
    }
    lines
}

fn better_at_restarts(measured: &restart::Measured) -> Table {
    let mut head = vec!["load", "server"];
    head.extend(FIGURES.map(|figure| figure.name));
    let mut table = Table::new(&head);
    for (load, name) in LOADS.iter().enumerate() {
        let seen: Vec<(&str, &Seen)> = measured
            .rows
            .iter()
            .filter_map(|row| Some((row.name, &row.seen.as_ref().ok()?[load])))
            .collect();
        for &(server, ours) in seen.iter().filter(|(name, _)| restart::is_ours(name)) {
            let figures = FIGURES.map(|figure| match figure.name {
                "closed" | "opened" if !is_kept(load) => None,
                _ => best(&figure, ours, &seen),
            });
            if figures.iter().any(Option::is_some) {
                let figures = figures.map(Option::unwrap_or_default);
                let names = [(*name).to_owned(), server.to_owned()];
                table.row(names.into_iter().chain(figures));
            }
        }
    }
    table
}

/// The best of others that is better than ours.
fn best(figure: &Figure, ours: &Seen, seen: &[(&str, &Seen)]) -> Option<String> {
    let mine = (figure.of)(ours);
    let better = seen.iter().filter(|(name, theirs)| {
        restart::is_of_others(name)
            && mine - (figure.of)(theirs) > figure.least
            && (!figure.of_answered || theirs.lost_per_restart() <= ours.lost_per_restart())
    });
    let compare =
        |a: &&(&str, &Seen), b: &&(&str, &Seen)| (figure.of)(a.1).total_cmp(&(figure.of)(b.1));
    let (name, theirs) = better.min_by(compare)?;
    Some(format!("{mine:.0}; {name} {:.0}", (figure.of)(theirs)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(lost: f64, gap: f64) -> Seen {
        Seen {
            lost: vec![lost],
            gaps: vec![gap],
            ..Seen::default()
        }
    }

    #[test]
    fn the_best_of_others_is_named_unless_it_left_clients_unanswered() {
        let [lost, .., gap] = FIGURES;
        let check = |figure: &Figure, theirs: Seen, expected: Option<&str>| {
            let ours = seen(1.0, 250.0);
            let others = [("zdt, `queue`", &ours), ("another", &theirs)];
            assert_eq!(best(figure, &ours, &others).as_deref(), expected);
        };
        check(&gap, seen(1.0, 12.0), Some("250; another 12"));
        check(&gap, seen(60.0, 12.0), None);
        check(&gap, seen(0.0, 251.0), None);
        check(&lost, seen(0.0, 900.0), Some("1; another 0"));
    }
}
