//! The run over time: a row of latencies for each client, the restarts across them all, and
//! a mark for each loss.

use std::fmt::Write;

use maud::{Markup, html};

use super::plot::{AXIS, Described, Frame, Said, axis, latency_grid, plot, px, text_width};
use super::scale::{Decades, Time};
use super::words::{count, micros, millis, number};
use crate::probe::Timeline;
use crate::verify::result::{Client, PhaseKind, Restart, Verified};

/// No slice of time is drawn narrower.
const SLICE: f64 = 2.0;
/// Losses nearer to each other share a mark.
const CROSS: f64 = 9.0;
const LINE: f64 = 14.0;

/// The whole run. `None`: nothing was sent.
pub(super) fn whole(verified: &Verified) -> Option<Markup> {
    let to_ms = length_ms(verified);
    let rows = rows(verified);
    if rows.is_empty() {
        return None;
    }
    let described = Described {
        id: "run",
        title: "Longest waits over time, by client".to_owned(),
        words: in_words(verified, &rows),
    };
    let unit = Time::new((0, to_ms), 0, 1.0).unit().name;
    Some(plot(&described, |frame| {
        let time = Time::new((0, to_ms), 0, frame.length());
        let head = numbers(frame, &time, &verified.restarts);
        let axis_name = format!("{unit} since the load began");
        drawn(
            frame,
            &time,
            (0, to_ms),
            verified,
            &rows,
            (head, LINE + 6.0),
            &axis_name,
        )
    }))
}

/// The restart that did most harm, from shortly before to shortly after it. `None`: it is
/// as well seen in the whole run.
pub(super) fn close_up(verified: &Verified) -> Option<(&Restart, Markup)> {
    let restart = worst(&verified.restarts)?;
    let whole_ms = length_ms(verified);
    let took_ms = restart.ended_ms.saturating_sub(restart.began_ms);
    let around_ms = (took_ms / 3).max(100);
    let range = (
        restart.began_ms.saturating_sub(around_ms),
        (restart.ended_ms + around_ms).min(whole_ms),
    );
    if (range.1 - range.0) * 2 > whole_ms {
        return None;
    }
    let rows = rows(verified);
    if rows.is_empty() {
        return None;
    }
    let described = Described {
        id: "close-up",
        title: format!("Restart {}, close up", restart.nth),
        words: format!(
            "The same clients around restart {}: {}.",
            restart.nth,
            phases_in_words(restart)
        ),
    };
    let unit = Time::new(range, 0, 1.0).unit().name;
    let drawing = plot(&described, |frame| {
        let time = Time::new(range, restart.began_ms, frame.length());
        let head = flags(frame, &time, restart);
        let axis_name = format!("{unit} since the restart was asked for");
        drawn(frame, &time, range, verified, &rows, head, &axis_name)
    });
    Some((restart, drawing))
}

/// The clients that sent something.
fn rows(verified: &Verified) -> Vec<&Client> {
    let sent = |client: &&Client| client.sent > 0;
    verified.clients.iter().filter(sent).collect()
}

fn length_ms(verified: &Verified) -> u64 {
    let ends = verified.restarts.iter().map(|restart| restart.ended_ms);
    ends.fold(verified.elapsed_ms, u64::max)
}

fn worst(restarts: &[Restart]) -> Option<&Restart> {
    let harm = |restart: &&Restart| {
        let earlier_first = std::cmp::Reverse(restart.nth);
        let failed = restart.failed.is_some();
        (failed, restart.lost, restart.longest_wait_ms, earlier_first)
    };
    restarts.iter().max_by_key(harm)
}

/// The height of the plot and its content, below a head of that height.
fn drawn(
    frame: &Frame,
    time: &Time,
    range: (u64, u64),
    verified: &Verified,
    rows: &[&Client],
    (head, head_height): (Markup, f64),
    axis_name: &str,
) -> (f64, Markup) {
    let decades = Decades::over(
        rows.iter().flat_map(|client| waits(client)),
        frame.row - 12.0,
    );
    let end = head_height + frame.top(rows.len() - 1) + frame.row;
    let seen: Vec<&Restart> = verified
        .restarts
        .iter()
        .filter(|restart| restart.began_ms <= range.1 && restart.ended_ms >= range.0)
        .collect();
    let content = html! {
        (bands(frame, time, &seen, (head_height - 4.0, end)))
        (head)
        @for (at, client) in rows.iter().enumerate() {
            @let top = head_height + frame.top(at);
            @let slices = slices(&client.timeline, range, frame);
            (latency_grid(frame, top, &decades))
            path class="waits" d=(outline(frame, time, &slices, &decades, top + frame.row)) {}
            (losses(frame, time, &slices, top + 4.0))
            (frame.row_name(top, &client.name, &[fate(client)]))
        }
        (axis(frame, end + 6.0, &time.ticks(frame.apart), axis_name))
    };
    (end + 6.0 + AXIS, content)
}

fn fate(client: &Client) -> Said {
    match client.lost {
        0 => Said {
            class: "soft",
            text: "none lost".to_owned(),
        },
        lost => Said {
            class: "loss",
            text: format!("{} lost", number(lost)),
        },
    }
}

fn waits(client: &Client) -> impl Iterator<Item = u64> + Clone {
    client.timeline.max_us.iter().copied().filter(|&us| us > 0)
}

/// A slice of time and the worst in it.
struct Slice {
    from_ms: u64,
    to_ms: u64,
    /// `None`: no request that was due here was answered.
    max_us: Option<u64>,
    lost: u32,
}

/// As many as can be told apart. The longest wait of each is kept, so no spike is thinned away.
fn slices(timeline: &Timeline, (from_ms, to_ms): (u64, u64), frame: &Frame) -> Vec<Slice> {
    let bucket_ms = timeline.bucket_ms.max(1);
    let fit = (frame.length() / SLICE).max(1.0) as u64;
    let buckets = (to_ms - from_ms).div_ceil(bucket_ms);
    let thinned = timeline.coarser(usize::try_from(buckets.div_ceil(fit)).unwrap_or(usize::MAX));
    let figures = thinned.ok.iter().zip(&thinned.lost).zip(&thinned.max_us);
    let slices = figures
        .zip(0_u64..)
        .map(|(((&ok, &lost), &max_us), at)| Slice {
            from_ms: at * thinned.bucket_ms,
            to_ms: (at + 1) * thinned.bucket_ms,
            max_us: (ok > 0).then_some(max_us),
            lost,
        });
    slices
        .filter(|slice| slice.from_ms < to_ms && slice.to_ms > from_ms)
        .collect()
}

/// One step for each slice with answers, down to `base` in between.
fn outline(frame: &Frame, time: &Time, slices: &[Slice], decades: &Decades, base: f64) -> String {
    let mut path = String::new();
    let mut drawing = false;
    for slice in slices {
        let from = frame.left + time.at(slice.from_ms);
        let width = (time.at(slice.to_ms) + frame.left - from).max(SLICE);
        let done = match slice.max_us {
            None if drawing => write!(path, "V{}", px(base)),
            None => Ok(()),
            Some(us) => {
                let begin = match drawing {
                    true => String::new(),
                    false => format!("M{} {}", px(from), px(base)),
                };
                let y = base - decades.at(us).max(1.0);
                write!(path, "{begin}V{}h{}", px(y), px(width))
            }
        };
        done.expect("a String takes all");
        drawing = slice.max_us.is_some();
    }
    if drawing {
        write!(path, "V{}", px(base)).expect("a String takes all");
    }
    path
}

/// A cross for each place where requests were lost, a bar for a longer stretch of them.
fn losses(frame: &Frame, time: &Time, slices: &[Slice], y: f64) -> Markup {
    struct Stretch {
        from: f64,
        to: f64,
        lost: u64,
    }
    let mut stretches: Vec<Stretch> = Vec::new();
    for slice in slices.iter().filter(|slice| slice.lost > 0) {
        let from = frame.left + time.at(slice.from_ms);
        let to = frame.left + time.at(slice.to_ms);
        match stretches.last_mut() {
            Some(last) if from - last.to < CROSS => {
                last.to = to;
                last.lost += u64::from(slice.lost);
            }
            _ => stretches.push(Stretch {
                from,
                to,
                lost: u64::from(slice.lost),
            }),
        }
    }
    let end = frame.left + frame.length();
    let next = stretches.iter().skip(1).map(|next| next.from);
    let next: Vec<f64> = next.chain([f64::INFINITY]).collect();
    html! {
        @for (stretch, next) in stretches.iter().zip(next) {
            @let middle = ((stretch.from + stretch.to) / 2.0).clamp(frame.left + 4.0, end - 4.0);
            @let figure = number(stretch.lost);
            @let width = text_width(&figure) + 4.0;
            @if stretch.to - stretch.from > CROSS {
                path class="lost" d=(format!("M{} {}H{}", px(stretch.from), px(y), px(stretch.to))) {}
            }
            path class="lost" d=(format!("M{} {}l6 6m0 -6l-6 6", px(middle - 3.0), px(y - 3.0))) {}
            @let beside = (middle + 7.0).max(stretch.to + 4.0);
            @if beside + width < next.min(end + 10.0) {
                text class="loss" x=(px(beside)) y=(px(y + 4.0)) { (figure) }
            }
        }
    }
}

/// The phases of all restarts, over all rows, and a line where the new process was ready.
fn bands(frame: &Frame, time: &Time, restarts: &[&Restart], (top, end): (f64, f64)) -> Markup {
    let of = |kind: PhaseKind| {
        let phases = restarts.iter().flat_map(|restart| &restart.phases);
        let mut path = String::new();
        for phase in phases.filter(|phase| phase.kind == kind) {
            let from = frame.left + time.at(phase.from_ms);
            let width = (frame.left + time.at(phase.to_ms) - from).max(1.5);
            let (from, width, height) = (px(from), px(width), px(end - top));
            write!(path, "M{from} {}h{width}v{height}h-{width}z", px(top))
                .expect("a String takes all");
        }
        path
    };
    let ready: String = restarts
        .iter()
        .filter_map(|restart| ready_ms(restart))
        .map(|ms| format!("M{} {}V{}", px(frame.left + time.at(ms)), px(top), px(end)))
        .collect();
    html! {
        @for (kind, class) in PHASES {
            @let path = of(kind);
            @if !path.is_empty() { path class=(class) d=(path) {} }
        }
        @if !ready.is_empty() { path class="ready" d=(ready) {} }
    }
}

const PHASES: [(PhaseKind, &str); 3] = [
    (PhaseKind::Stopping, "stopping"),
    (PhaseKind::Starting, "starting"),
    (PhaseKind::Confirming, "confirming"),
];

fn ready_ms(restart: &Restart) -> Option<u64> {
    let confirming = |phase: &&crate::verify::result::Phase| phase.kind == PhaseKind::Confirming;
    let ready_ms = restart
        .phases
        .iter()
        .find(confirming)
        .map(|phase| phase.from_ms);
    match restart.failed {
        None => Some(ready_ms.unwrap_or(restart.ended_ms)),
        Some(_) => None,
    }
}

/// The number of each restart above it, as far as there is room.
fn numbers(frame: &Frame, time: &Time, restarts: &[Restart]) -> Markup {
    let middles: Vec<f64> = restarts
        .iter()
        .map(|restart| frame.left + (time.at(restart.began_ms) + time.at(restart.ended_ms)) / 2.0)
        .collect();
    let nearest = middles
        .windows(2)
        .map(|two| two[1] - two[0])
        .fold(f64::INFINITY, f64::min);
    let in_full = nearest > text_width("restart 10 ");
    let mut free = 0.0;
    let mut labels = Vec::new();
    for (restart, middle) in restarts.iter().zip(middles) {
        let text = match in_full {
            true => format!("restart {}", restart.nth),
            false => restart.nth.to_string(),
        };
        let half = text_width(&text) / 2.0;
        let middle = middle.clamp(frame.left + half, frame.left + frame.length() - half);
        if middle - half > free {
            free = middle + half + 6.0;
            labels.push((middle, text));
        }
    }
    html! {
        @for (middle, text) in labels {
            text class="figure middle" x=(px(middle)) y="11" { (text) }
        }
    }
}

/// A flag for each moment of one restart, each on a line of its own.
fn flags(frame: &Frame, time: &Time, restart: &Restart) -> (Markup, f64) {
    let mut flags: Vec<(u64, String)> = restart
        .phases
        .iter()
        .map(|phase| {
            let took = millis(phase.to_ms.saturating_sub(phase.from_ms));
            (phase.from_ms, format!("{}, {took}", phase_name(phase.kind)))
        })
        .collect();
    match ready_ms(restart) {
        Some(at) if flags.iter().all(|(from, _)| *from != at) => {
            flags.push((at, "ready".to_owned()))
        }
        Some(_) => {}
        None => flags.push((restart.ended_ms, "failed".to_owned())),
    }
    let height = flags.len() as f64 * LINE + 6.0;
    let right = frame.left + frame.length();
    let drawing = html! {
        @for (line, (at, text)) in flags.iter().enumerate() {
            @let x = frame.left + time.at(*at);
            @let y = 11.0 + line as f64 * LINE;
            @let before = x + 5.0 + text_width(text) > right;
            path class="pole" d=(format!("M{} {}V{}", px(x), px(y - 9.0), px(height - 4.0))) {}
            text class=(if before { "figure end" } else { "figure" })
                x=(px(if before { x - 5.0 } else { x + 5.0 })) y=(px(y)) { (text) }
        }
    };
    (drawing, height)
}

pub(super) fn phase_name(kind: PhaseKind) -> &'static str {
    match kind {
        PhaseKind::Stopping => "stopping",
        PhaseKind::Starting => "starting",
        PhaseKind::Confirming => "ready, confirming",
    }
}

/// `stopping 1.48 s, starting 46 ms`.
pub(super) fn phases_in_words(restart: &Restart) -> String {
    let phases = restart.phases.iter().map(|phase| {
        let took = millis(phase.to_ms.saturating_sub(phase.from_ms));
        format!("{} {took}", phase_name(phase.kind))
    });
    match phases.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "no phase was seen".to_owned(),
        phases => phases,
    }
}

fn in_words(verified: &Verified, rows: &[&Client]) -> String {
    let clients = rows.iter().map(|client| {
        let longest = micros(waits(client).max().unwrap_or_default());
        format!(
            "{}: {} lost, slowest answer {longest}.",
            client.name,
            number(client.lost)
        )
    });
    let clients: Vec<String> = clients.collect();
    format!(
        "{} in {}. {}",
        count(verified.restarts.len() as u64, "restart"),
        millis(verified.elapsed_ms),
        clients.join(" ")
    )
}
