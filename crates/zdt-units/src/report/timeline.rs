//! Draws a run in one row: each column a slice of time. Pure.

use std::time::Duration;

use crate::config::Colour;
use crate::probe::Timeline;

/// From here on a wait is worth a mark.
const SLOWER_MS: u64 = 100;

/// Fits a terminal of 80 columns with a label in front.
const WIDEST: usize = 62;

/// Requests that share a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lane<'a> {
    pub(crate) timeline: &'a Timeline,
    /// What they take when nothing is wrong; `None`: they may take any time.
    pub(crate) usual: Option<Duration>,
}

/// What clients met in one slice of time, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Slice {
    /// Nothing was due.
    Empty,
    Served,
    Slower,
    Lost,
}

/// How much time a column covers: what makes a run of `length_ms` fit.
pub(crate) fn column_ms(length_ms: u64) -> u64 {
    let steps = [50, 100, 200, 500, 1000];
    let fits = |step: &u64| length_ms.div_ceil(*step) <= WIDEST as u64;
    steps.into_iter().find(fits).unwrap_or(length_ms.max(1))
}

/// One character a column.
pub(crate) fn row(lanes: &[Lane<'_>], column_ms: u64, colour: Colour) -> String {
    let mut row = String::new();
    let mut painted = Slice::Empty;
    for slice in slices(lanes, column_ms) {
        if colour == Colour::Always && slice != painted {
            row.push_str(paint(slice));
            painted = slice;
        }
        row.push(mark(slice));
    }
    if painted != Slice::Empty {
        row.push_str(paint(Slice::Empty));
    }
    row
}

/// A mark at each of these times, with an addition.
pub(crate) fn marks<'a>(at_ms: impl Iterator<Item = (u64, &'a str)>, column_ms: u64) -> String {
    let mut row = Vec::new();
    for (at_ms, addition) in at_ms {
        let column = usize::try_from(at_ms / column_ms).unwrap_or(usize::MAX);
        if column <= WIDEST {
            row.resize(column.max(row.len()), ' ');
            row.push('▼');
            row.extend(addition.chars());
        }
    }
    row.into_iter().collect()
}

/// What the characters of a row mean.
pub(crate) const LEGEND: &str = "· served  ~ waited 0.1 s  X lost";

fn mark(slice: Slice) -> char {
    match slice {
        Slice::Empty => ' ',
        Slice::Served => '·',
        Slice::Slower => '~',
        Slice::Lost => 'X',
    }
}

fn paint(slice: Slice) -> &'static str {
    match slice {
        Slice::Empty => "\x1b[0m",
        Slice::Served => "\x1b[0;32m",
        Slice::Slower => "\x1b[0;33m",
        Slice::Lost => "\x1b[1;31m",
    }
}

fn slices(lanes: &[Lane<'_>], column_ms: u64) -> Vec<Slice> {
    let mut slices: Vec<Slice> = Vec::new();
    for Lane { timeline, usual } in lanes {
        for (n, ((ok, lost), max_us)) in
            (0..).zip(timeline.ok.iter().zip(&timeline.lost).zip(&timeline.max_us))
        {
            let waited_ms = usual.map_or(0, |usual| {
                u128::from(*max_us).saturating_sub(usual.as_micros()) / 1000
            });
            let slice = match (ok, lost) {
                (0, 0) => continue,
                (_, 1..) => Slice::Lost,
                _ if waited_ms >= u128::from(SLOWER_MS) => Slice::Slower,
                _ => Slice::Served,
            };
            let column = usize::try_from(n * timeline.bucket_ms / column_ms).unwrap_or(usize::MAX);
            if column > WIDEST {
                break;
            }
            if slices.len() <= column {
                slices.resize(column + 1, Slice::Empty);
            }
            slices[column] = slices[column].max(slice);
        }
    }
    slices
}
