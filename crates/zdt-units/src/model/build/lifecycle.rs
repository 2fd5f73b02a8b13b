//! How a process gets ready, ends, and is started again.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::super::mistake::Mistake;
use super::super::value::duration;
use super::super::{Memory, Ready, Restarts, Stop, Strategy};
use super::Build;
use super::events::bytes;
use super::text::{all_or_nothing, unknown_word};
use crate::config::keys::SIGNALS;
use crate::config::{At, MemoryConfig, Problem, RestartConfig, ServiceConfig, StopConfig};

impl Build {
    pub(super) fn ready(
        &mut self,
        config: &ServiceConfig,
        strategy: Option<Strategy>,
    ) -> Option<Ready> {
        let Some(word) = &config.ready else {
            return Some(Ready::Notify);
        };
        let ready = self.parse(word, |text| match text {
            "notify" => Ok(Ready::Notify),
            "started" => Ok(Ready::Started),
            _ => Err(unknown_word("ready", text, &["notify", "started"])),
        })?;
        if ready == Ready::Started {
            self.never_says(word, config, strategy);
        }
        Some(ready)
    }

    /// What a program cannot do that says nothing.
    fn never_says(
        &mut self,
        word: &At<String>,
        config: &ServiceConfig,
        strategy: Option<Strategy>,
    ) {
        let mut wrong = |message: &str, hint: &str| {
            self.problems
                .push(Problem::new(&word.at, message).hint(hint));
        };
        if strategy == Some(Strategy::Reload) {
            wrong(
                "a program that reloads itself has to say when the next process is ready",
                "take `ready = \"notify\"`, or another `strategy`",
            );
        }
        if config.handover.as_ref().is_some_and(|wanted| wanted.value) {
            wrong(
                "a program that takes over connections has to say when it has taken them",
                "take `ready = \"notify\"`, or leave `handover` out",
            );
        }
        if config.watchdog.is_some() {
            wrong(
                "a program that reports to the watchdog can say when it is ready",
                "take `ready = \"notify\"`, or leave `watchdog` out",
            );
        }
        let unproved = match strategy {
            Some(Strategy::Standby) => Some("standby"),
            Some(Strategy::Rolling { .. }) => Some("rolling"),
            _ => None,
        };
        if let Some(name) = unproved.filter(|_| config.health.is_none()) {
            wrong(
                &format!(
                    "with `{name}` the old process would be stopped before anything proves that the new one serves"
                ),
                "add `health`, for example `health = { http = \"http://127.0.0.1:8080/health\" }`",
            );
        }
    }

    pub(super) fn stop(
        &mut self,
        config: Option<&StopConfig>,
        strategy: Option<Strategy>,
    ) -> Option<Stop> {
        let Some(config) = config else {
            return Some(Stop::default());
        };
        let quiet = config.quiet.as_ref().map(|words| self.command(words));
        let drain = config.drain.as_ref().map(|words| self.command(words));
        let command = config.command.as_ref().map(|words| self.command(words));
        let zero = Duration::ZERO;
        let limit = self.duration(config.drain_limit.as_ref(), zero, zero);
        let default = Stop::default();
        let signal = match &config.signal {
            None => Some(default.signal),
            Some(text) => self.parse(text, stop_signal),
        };
        if let (Some(command), Some(signal)) = (&config.command, &config.signal) {
            self.problems.push(
                Problem::new(&signal.at, "this signal would never be sent")
                    .also(&command.at, "this is run in its place")
                    .hint("leave `signal` or `command` out"),
            );
        }
        if let Some(drain) = config.drain.as_ref().filter(|_| limit == Some(zero)) {
            let at = config.drain_limit.as_ref().map(|limit| &limit.at);
            self.problems.push(
                Problem::new(at.unwrap_or(&drain.at), "`drain` has no time to run")
                    .hint("add `drain_limit = \"60s\"`: how long the work at hand may take"),
            );
        }
        if let (Some(text), Some(Signal::SIGHUP), Some(Strategy::Reload)) =
            (&config.signal, signal, strategy)
        {
            self.problems.push(
                Problem::new(&text.at, "`SIGHUP` makes this service reload, not end")
                    .hint("take another `signal`, or another `strategy`"),
            );
        }
        Some(Stop {
            quiet: all_or_nothing(quiet)?,
            drain: all_or_nothing(drain)?,
            drain_limit: limit?,
            command: all_or_nothing(command)?,
            signal: signal?,
        })
    }

    pub(super) fn restarts(&mut self, config: &ServiceConfig) -> Option<Restarts> {
        let default = Restarts::default();
        let none = RestartConfig::default();
        let written = config.restart.as_ref().unwrap_or(&none);
        if let (Some(short), Some(pause)) = (&config.restart_sec, &written.pause) {
            self.problems.push(
                Problem::new(
                    &short.at,
                    "`restart_sec` and `pause` of `restart` say the same thing",
                )
                .also(&pause.at, "`pause`")
                .hint("leave `restart_sec` out"),
            );
        }
        let pause = match written.pause.as_ref().or(config.restart_sec.as_ref()) {
            None => Some(default.pause),
            Some(text) => self.parse(text, pause),
        };
        let factor = self.number(written.factor.as_ref(), default.factor.into(), 1..=100);
        let least = Duration::from_millis(1);
        let longest = default.longest.max(pause.unwrap_or_default());
        let longest = self.duration(written.longest.as_ref(), longest, least);
        let limit = written.limit.as_ref();
        let limit = limit.map(|number| self.number(Some(number), 1, 0..=1000));
        let within = written.within.as_ref();
        let within = within.map(|text| self.duration(Some(text), least, least));
        let healthy = self.duration(written.healthy.as_ref(), default.healthy, least);
        if let (Some(text), Some(longest), Some(pause)) = (&written.longest, longest, pause)
            && longest < pause
        {
            self.problems.push(
                Problem::new(&text.at, "the longest pause is shorter than the first one")
                    .hint("make `longest` longer, or `pause` shorter"),
            );
        }
        if let (Some(within), None) = (&written.within, &written.limit) {
            self.problems.push(
                Problem::new(&within.at, "`within` is for `limit`")
                    .hint("add `limit = 5`: so many starts in that time, and no more"),
            );
        }
        let small = |number: i64| u32::try_from(number).expect("the range was checked");
        Some(Restarts {
            pause: pause?,
            factor: small(factor?),
            longest: longest?,
            limit: all_or_nothing(limit)?.map(small),
            within: all_or_nothing(within)?,
            healthy: healthy?,
        })
    }

    pub(super) fn memory(&mut self, config: &MemoryConfig) -> Option<Memory> {
        let limit = config.limit.as_ref();
        let limit = limit.and_then(|text| self.parse(text, bytes));
        let warn = config.warn.as_ref();
        let warn = warn.map(|text| self.parse(text, bytes));
        let every = match &config.every {
            None => Some(Memory::EVERY),
            Some(text) => self.parse(text, every),
        };
        if let (Some(text), Some(Some(warn)), Some(limit)) = (&config.warn, warn, limit)
            && warn >= limit
        {
            self.problems.push(
                Problem::new(&text.at, "nobody is warned before the limit")
                    .hint("make `warn` less than `limit`"),
            );
        }
        Some(Memory {
            limit: limit?,
            warn: all_or_nothing(warn)?,
            every: every?,
        })
    }
}

fn pause(written: &str) -> Result<Duration, Mistake> {
    let pause = duration(written)?;
    if pause < Duration::from_millis(250) {
        return Err(Mistake::new(format!("`{written}` between two starts is too short"))
            .hint("take `250ms` or more: systemd closes the port of a service that starts more than 20 times in 2 s"));
    }
    Ok(pause)
}

fn every(written: &str) -> Result<Duration, Mistake> {
    let every = duration(written)?;
    if every < Duration::from_millis(100) {
        return Err(
            Mistake::new(format!("every `{written}` is more work than it is worth"))
                .hint("take `100ms` or more"),
        );
    }
    Ok(every)
}

fn stop_signal(text: &str) -> Result<Signal, Mistake> {
    let known = SIGNALS.contains(&text).then(|| text.parse().ok());
    known.flatten().ok_or_else(|| match text {
        "SIGKILL" => Mistake::new("`SIGKILL` leaves a process no time to finish what it does")
            .hint("take the signal by which it ends gracefully; `SIGKILL` follows by itself"),
        _ => unknown_word("signal", text, SIGNALS),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::model::{Memory, Model, Restarts, Service};

    fn read(lines: &str) -> Service {
        let text = format!("[service.a]\nexec = [\"/bin/a\"]\nlisten = \":80\"\n{lines}");
        let model = Model::read("zdt.toml", &text).unwrap();
        model.services.into_iter().next().unwrap()
    }

    /// The drain takes 31 s at most, and a manager waits 10 s longer.
    #[test]
    fn the_time_to_stop_counts_what_comes_before_the_signal() {
        let times = |stop: &str| {
            let service = read(stop);
            let times = [service.stop_timeout(), service.end_timeout()];
            times.map(|time| time.as_secs())
        };
        let hook = r#"["/bin/a"]"#;
        assert_eq!(times(""), [41, 41]);
        assert_eq!(times(&format!("stop = {{ quiet = {hook} }}")), [51, 41]);
        let long = format!("stop = {{ quiet = {hook}, drain = {hook}, drain_limit = \"2m\" }}");
        assert_eq!(times(&long), [10 + 120 + 130, 130]);
        let waited_for = format!("stop = {{ command = {hook} }}");
        assert_eq!(times(&waited_for), [10 + 41 + 41, 41]);
    }

    #[test]
    fn the_short_form_of_a_pause_means_the_same() {
        let seconds = Duration::from_secs;
        let short = read("restart_sec = \"20s\"").restarts;
        assert_eq!(short, read("restart = { pause = \"20s\" }").restarts);
        let wanted = Restarts {
            pause: seconds(20),
            longest: seconds(20),
            ..Restarts::default()
        };
        assert_eq!(short, wanted);
    }

    #[test]
    fn what_is_written_takes_the_place_of_each_default() {
        let seconds = Duration::from_secs;
        let restarts = read("restart = { limit = 1, within = \"3s\", healthy = \"4s\" }").restarts;
        let wanted = Restarts {
            limit: Some(1),
            within: Some(seconds(3)),
            healthy: seconds(4),
            ..Restarts::default()
        };
        assert_eq!(restarts, wanted);
        let memory = read("memory = { limit = \"1GiB\", every = \"100ms\" }").memory;
        let wanted = Memory {
            limit: 1 << 30,
            warn: None,
            every: Duration::from_millis(100),
        };
        assert_eq!(memory, Some(wanted));
        let health = "health = { command = [\"/bin/true\"], interval = \"70ms\", attempt_timeout = \"80ms\", \
            timeout = \"9s\", successes = 2, start_delay = \"60ms\" }";
        let health = read(health).health.unwrap();
        let times = [
            health.start_delay,
            health.interval,
            health.attempt_timeout,
            health.timeout,
        ];
        assert_eq!(times, [60, 70, 80, 9000].map(Duration::from_millis));
        assert_eq!(health.successes, 2);
        let release = "working_directory = \"{{release.path}}\"\n\
            release = { root = \"/srv/a\", keep = 3, keep_days = 30 }";
        let release = read(release).release.unwrap();
        assert_eq!((release.keep, release.keep_days), (3, Some(30)));
    }
}
