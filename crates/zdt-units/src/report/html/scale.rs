//! From figures to places in a plot, and the ticks between them.

/// A stretch of time along a line of `length`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Time {
    from_ms: f64,
    to_ms: f64,
    /// Where the axis counts from.
    zero_ms: f64,
    length: f64,
}

/// What the figures along a time axis are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeUnit {
    pub(super) ms: u64,
    pub(super) name: &'static str,
}

const TIME_UNITS: [TimeUnit; 4] = [
    TimeUnit {
        ms: 1,
        name: "milliseconds",
    },
    TimeUnit {
        ms: 1000,
        name: "seconds",
    },
    TimeUnit {
        ms: 60_000,
        name: "minutes",
    },
    TimeUnit {
        ms: 3_600_000,
        name: "hours",
    },
];

impl Time {
    pub(super) fn new((from_ms, to_ms): (u64, u64), zero_ms: u64, length: f64) -> Time {
        Time {
            from_ms: from_ms as f64,
            to_ms: to_ms.max(from_ms + 1) as f64,
            zero_ms: zero_ms as f64,
            length,
        }
    }

    /// Not beyond the ends.
    pub(super) fn at(&self, ms: u64) -> f64 {
        let share = (ms as f64 - self.from_ms) / (self.to_ms - self.from_ms);
        share.clamp(0.0, 1.0) * self.length
    }

    pub(super) fn unit(&self) -> TimeUnit {
        let stretch = self.to_ms - self.from_ms;
        let fits = |unit: &&TimeUnit| stretch > 1.5 * unit.ms as f64;
        *TIME_UNITS.iter().rev().find(fits).unwrap_or(&TIME_UNITS[0])
    }

    /// Places with their figures in [`Time::unit`], at least `apart` from each other.
    pub(super) fn ticks(&self, apart: f64) -> Vec<(f64, String)> {
        let unit = self.unit().ms as f64;
        let per_length = (self.to_ms - self.from_ms) / self.length;
        let step = round_step(apart * per_length / unit);
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        let first = ((self.from_ms - self.zero_ms) / unit / step - 1e-9).ceil() as i64;
        let last = ((self.to_ms - self.zero_ms) / unit / step + 1e-9).floor() as i64;
        let ticks = (first..=last).map(|n| {
            let value = n as f64 * step;
            let share = (value * unit + self.zero_ms - self.from_ms) / (self.to_ms - self.from_ms);
            let sign = if value < 0.0 { "\u{2212}" } else { "" };
            (
                share * self.length,
                format!("{sign}{:.decimals$}", value.abs()),
            )
        });
        ticks.collect()
    }
}

/// The next of 1, 2, 5, 10, 20, ...
fn round_step(at_least: f64) -> f64 {
    let decade = 10_f64.powf(at_least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    let fits = |step: &&f64| **step * decade >= at_least * (1.0 - 1e-9);
    steps.iter().find(fits).unwrap_or(&10.0) * decade
}

/// Microseconds along a line of `length`, each decade as long as the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Decades {
    first: i32,
    /// Somewhere in the last decade, if it is not needed whole.
    last: f64,
    length: f64,
}

impl Decades {
    /// At least two of them, none below a tenth of a millisecond.
    pub(super) fn over(values_us: impl Iterator<Item = u64> + Clone, length: f64) -> Decades {
        let least = values_us.clone().min().unwrap_or_default();
        let most = round_step(values_us.max().unwrap_or_default().max(1) as f64).log10();
        let first = (least.max(100) as f64).log10().floor();
        let first = first.min((most - 2.0).floor()).max(2.0);
        Decades {
            first: first as i32,
            last: most.max(first + 2.0),
            length,
        }
    }

    /// Not beyond the ends.
    pub(super) fn at(&self, us: u64) -> f64 {
        let decade = (us.max(1) as f64).log10();
        let share = (decade - f64::from(self.first)) / self.decades();
        share.clamp(0.0, 1.0) * self.length
    }

    /// A place for each decade, with its name.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let per_decade = self.length / self.decades();
        let last = (self.last + 1e-9).floor() as i32;
        let ticks = (self.first..=last).map(|decade| {
            let name = match decade {
                2 => "0.1 ms".to_owned(),
                3..=5 => format!("{} ms", 10_u64.pow(decade as u32 - 3)),
                _ => format!("{} s", 10_u64.pow(decade as u32 - 6)),
            };
            (f64::from(decade - self.first) * per_decade, name)
        });
        ticks.collect()
    }

    fn decades(&self) -> f64 {
        self.last - f64::from(self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(ticks: &[(f64, String)]) -> Vec<&str> {
        ticks.iter().map(|(_, figure)| figure.as_str()).collect()
    }

    #[test]
    fn time_is_told_in_round_figures_of_a_fitting_unit() {
        let check = |range, zero, unit: &str, expected: &[&str]| {
            let time = Time::new(range, zero, 600.0);
            assert_eq!(time.unit().name, unit);
            assert_eq!(figures(&time.ticks(100.0)), expected);
        };
        check((0, 8800), 0, "seconds", &["0", "2", "4", "6", "8"]);
        check(
            (0, 3000),
            0,
            "seconds",
            &["0.0", "0.5", "1.0", "1.5", "2.0", "2.5", "3.0"],
        );
        check(
            (900, 1300),
            1000,
            "milliseconds",
            &["\u{2212}100", "0", "100", "200", "300"],
        );
        check(
            (0, 40 * 60_000),
            0,
            "minutes",
            &["0", "10", "20", "30", "40"],
        );
        check(
            (0, 0),
            0,
            "milliseconds",
            &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"],
        );
    }

    #[test]
    fn a_tick_is_where_its_time_is() {
        let time = Time::new((900, 1300), 1000, 400.0);
        let ticks = time.ticks(100.0);
        assert_eq!(ticks[1], (100.0, "0".to_owned()));
        assert_eq!(time.at(1000), 100.0);
        assert_eq!((time.at(0), time.at(9000)), (0.0, 400.0));
    }

    #[test]
    fn latencies_lie_in_whole_decades() {
        let check = |values: &[u64], expected: &[&str]| {
            let decades = Decades::over(values.iter().copied(), 300.0);
            assert_eq!(figures(&decades.ticks()), expected);
        };
        check(&[1200, 51_000], &["1 ms", "10 ms", "100 ms"]);
        check(
            &[150, 2_885_000],
            &["0.1 ms", "1 ms", "10 ms", "100 ms", "1 s"],
        );
        check(&[], &["0.1 ms", "1 ms", "10 ms"]);
        check(&[5], &["0.1 ms", "1 ms", "10 ms"]);
        check(&[30_000_000], &["100 ms", "1 s", "10 s"]);
        assert_eq!(
            Decades::over([1000, 2_885_000].into_iter(), 1.0).at(5_000_000),
            1.0
        );
        let decades = Decades::over([1000, 100_000].into_iter(), 200.0);
        assert_eq!(decades.at(10_000), 100.0);
        assert_eq!((decades.at(0), decades.at(u64::MAX)), (0.0, 200.0));
    }
}
