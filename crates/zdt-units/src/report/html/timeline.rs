//! The run over time: a row of latencies for each client, the restarts across them all, and
//! a mark for each loss.

use std::fmt::Write;

use maud::{Markup, html};

use super::plot::{AXIS, Described, Frame, Said, axis, latency_grid, plot, px, text_width};
use super::restarts::{LINE, apart, bands, flags, middles, numbers, phases_in_words};
use super::scale::{Decades, Time};
use super::words::{count, micros, millis, number};
use crate::probe::Timeline;
use crate::verify::result::{Client, Restart, Verified};

/// No slice of time is drawn narrower.
const SLICE: f64 = 2.0;
/// Losses nearer to each other share a mark.
const CROSS: f64 = 9.0;
const NEAREST_BANDS: f64 = 8.0;

/// A stretch of the run, as it is drawn.
struct View<'a> {
    restarts: &'a [Restart],
    clients: Vec<&'a Client>,
    /// In milliseconds from the start of the load.
    range: (u64, u64),
    /// Where the axis counts from.
    zero_ms: u64,
    since: &'static str,
    /// Of a client, within the range.
    lost: fn(&Client, &[Slice]) -> u64,
}

/// The whole run. `None`: nothing was sent.
pub(super) fn whole(verified: &Verified) -> Option<Markup> {
    let view = View {
        restarts: &verified.restarts,
        clients: senders(verified)?,
        range: (0, length_ms(verified)),
        zero_ms: 0,
        since: "since the load began",
        lost: |client, _| client.lost,
    };
    let described = Described {
        id: "run",
        title: "Longest waits over time, by client".to_owned(),
        words: in_words(verified, &view.clients),
    };
    Some(plot(&described, |frame| {
        let head = numbers(frame, &view.time(frame), &verified.restarts);
        view.drawn(frame, &head, LINE + 6.0)
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
    let view = View {
        restarts: &verified.restarts,
        clients: senders(verified)?,
        range,
        zero_ms: restart.began_ms,
        since: "since the restart was asked for",
        lost: |_, slices| slices.iter().map(|slice| u64::from(slice.lost)).sum(),
    };
    let (nth, phases) = (restart.nth, phases_in_words(restart));
    let described = Described {
        id: "close-up",
        title: format!("Restart {nth}, close up"),
        words: format!("The same clients around restart {nth}: {phases}."),
    };
    let drawing = plot(&described, |frame| {
        let (head, height) = flags(frame, &view.time(frame), restart);
        view.drawn(frame, &head, height)
    });
    Some((restart, drawing))
}

impl View<'_> {
    fn time(&self, frame: &Frame) -> Time {
        Time::new(self.range, self.zero_ms, frame.length())
    }

    /// The height of the plot, and its content below `head`.
    fn drawn(&self, frame: &Frame, head: &Markup, head_height: f64) -> (f64, Markup) {
        let time = self.time(frame);
        let answers = self.clients.iter().flat_map(|client| waits(client));
        // Losses are marked above the longest wait.
        let decades = Decades::over(answers, frame.row - 12.0);
        let end = head_height + frame.top(self.clients.len() - 1) + frame.row;
        let is_seen = |restart: &&Restart| {
            restart.began_ms <= self.range.1 && restart.ended_ms >= self.range.0
        };
        let restarts: Vec<&Restart> = self.restarts.iter().filter(is_seen).collect();
        // Bands that would cover everything are only marked above it.
        let band_end = match apart(&middles(frame, &time, &restarts)) < NEAREST_BANDS {
            true => head_height + 2.0,
            false => end,
        };
        let axis_name = format!("{} {}", time.unit().name, self.since);
        let content = html! {
            (bands(frame, &time, &restarts, (head_height - 4.0, band_end)))
            (head)
            @for (at, client) in self.clients.iter().enumerate() {
                @let top = head_height + frame.top(at);
                @let slices = slices(&client.timeline, self.range, frame);
                (latency_grid(frame, top, &decades))
                path class="waits" d=(outline(frame, &time, &slices, &decades, top + frame.row)) {}
                (losses(frame, &time, &slices, top + 4.0))
                (frame.row_name(top, &client.name, &[fate((self.lost)(client, &slices))]))
            }
            (axis(frame, end + 6.0, &time.ticks(frame.apart), &axis_name))
        };
        (end + 6.0 + AXIS, content)
    }
}

/// `None`: there is none.
fn senders(verified: &Verified) -> Option<Vec<&Client>> {
    let sent = |client: &&Client| client.sent > 0;
    let senders: Vec<&Client> = verified.clients.iter().filter(sent).collect();
    (!senders.is_empty()).then_some(senders)
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

fn fate(lost: u64) -> Said {
    match lost {
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

#[cfg(test)]
mod tests {
    use super::super::plot::FRAMES;
    use super::*;

    /// A minute in buckets of a millisecond, with one slow answer and one loss.
    fn minute() -> Timeline {
        let mut timeline = Timeline {
            bucket_ms: 1,
            ok: vec![1; 60_000],
            lost: vec![0; 60_000],
            max_us: vec![1000; 60_000],
        };
        timeline.max_us[41_234] = 5_000_000;
        timeline.lost[12_345] = 1;
        timeline
    }

    #[test]
    fn no_spike_and_no_loss_is_thinned_away() {
        for frame in &FRAMES {
            let slices = slices(&minute(), (0, 60_000), frame);
            assert!(slices.len() as f64 <= frame.length() / SLICE);
            let slow: Vec<_> = slices.iter().filter(|s| s.max_us != Some(1000)).collect();
            assert_eq!((slow.len(), slow[0].max_us), (1, Some(5_000_000)));
            assert!(slow[0].from_ms <= 41_234 && 41_234 < slow[0].to_ms);
            let lost: Vec<_> = slices.iter().filter(|s| s.lost > 0).collect();
            assert_eq!((lost.len(), lost[0].lost), (1, 1));
            assert!(lost[0].from_ms <= 12_345 && 12_345 < lost[0].to_ms);
        }
    }

    #[test]
    fn a_close_up_has_the_slices_of_its_range_alone() {
        let slices = slices(&minute(), (12_300, 12_400), &FRAMES[0]);
        assert_eq!((slices.len(), slices[0].from_ms), (100, 12_300));
        assert_eq!(slices[45].lost, 1);
    }

    #[test]
    fn time_without_answers_is_left_open() {
        let slices = [
            (0, Some(1000)),
            (1, Some(100_000)),
            (2, None),
            (3, Some(1000)),
        ];
        let slices = slices.map(|(from_ms, max_us)| Slice {
            from_ms,
            to_ms: from_ms + 1,
            max_us,
            lost: 0,
        });
        let frame = &FRAMES[1];
        let time = Time::new((0, 29), 0, frame.length());
        let decades = Decades::over([1000, 100_000].into_iter(), 40.0);
        assert_eq!(
            outline(frame, &time, &slices, &decades, 50.0),
            "M40 50V49h10V10h10V50M70 50V49h10V50"
        );
    }
}
