//! Judges answers and counts good ones in a row. Pure: the host asks.

use std::fmt;
use std::time::Duration;

use crate::event::EventKind;
use crate::model::{HttpProbe, Probe};
use crate::observe::{Claim, Instance, Told};

/// An answer over HTTP, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) claim: Claim,
    /// Empty where nobody wants it.
    pub(super) body: Vec<u8>,
}

/// What one question gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// Who gave it; empty where it does not say.
    pub(super) claim: Claim,
    /// What is not as wanted, in a few words.
    pub(super) wrong: Option<String>,
}

impl Answer {
    pub(super) fn wrong(why: impl Into<String>) -> Self {
        Self {
            claim: Claim::default(),
            wrong: Some(why.into()),
        }
    }

    /// What `probe` wants of it.
    pub(super) fn of_reply(probe: &Probe, reply: Reply) -> Self {
        let wrong = match probe {
            Probe::Http(http) => differs(http, &reply),
            _ => differs_in_status(&[200], reply.status),
        };
        Self {
            claim: reply.claim,
            wrong,
        }
    }
}

fn differs_in_status(wanted: &[u16], status: u16) -> Option<String> {
    (!wanted.contains(&status)).then(|| format!("status {status}"))
}

fn differs(wanted: &HttpProbe, reply: &Reply) -> Option<String> {
    if let Some(differs) = differs_in_status(&wanted.status, reply.status) {
        return Some(differs);
    }
    let status = reply.status;
    if let Some(text) = &wanted.body
        && !String::from_utf8_lossy(&reply.body).contains(text.as_str())
    {
        return Some(format!("status {status}, without `{text}` in the body"));
    }
    let expected = wanted.json.as_ref()?;
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(&reply.body) else {
        return Some(format!("status {status}, and the body is not JSON"));
    };
    let pointer = &expected.pointer;
    match json.pointer(pointer) {
        Some(found) if *found == expected.value => None,
        Some(found) => Some(format!(
            "status {status}, and `{pointer}` is `{}`",
            brief(found)
        )),
        None => Some(format!("status {status}, and there is no `{pointer}`")),
    }
}

fn brief(value: &serde_json::Value) -> String {
    const MOST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        None => text,
        Some((at, _)) => format!("{}…", &text[..at]),
    }
}

/// Whose answers are wanted, and how many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// Good ones in a row.
    pub(super) good: u32,
    /// So many bad ones end it.
    pub(super) most_bad: Option<u32>,
    /// Absent where the unit has no process of its own.
    pub(super) instance: Option<&'a Instance>,
    /// Whose answers are another's, whatever invocation they name.
    pub(super) before: Option<&'a Instance>,
    pub(super) probe: &'a Probe,
}

/// How many good answers in a row there were so far.
#[derive(Debug)]
pub(super) struct Streak<'a> {
    wanted: Wanted<'a>,
    good: u32,
    bad: u32,
    last_bad: Option<String>,
    unidentified: bool,
    crowded: bool,
    pub(super) attempts: Attempts,
}

/// What to do after some answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Ready,
    /// Ask again after the interval.
    Wait,
    /// Only others answered, which says nothing: ask again soon.
    Crowded,
    /// There were too many bad ones.
    Unwell,
}

/// What was answered when, like after like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attempts(Vec<Alike>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Alike {
    what: String,
    times: u32,
    /// Since the beginning.
    first: Duration,
    last: Duration,
}

impl Attempts {
    fn add(&mut self, at: Duration, what: &str) {
        match self.0.last_mut() {
            Some(alike) if alike.what == what => {
                alike.times += 1;
                alike.last = at;
            }
            _ => self.0.push(Alike {
                what: what.to_owned(),
                times: 1,
                first: at,
                last: at,
            }),
        }
    }
}

/// All of them where they are few; where answers came and went the first and the last ones.
impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ENDS: usize = 4;
        let mut told: Vec<String> = self.0.iter().map(Alike::to_string).collect();
        if let Some(more) = told.len().checked_sub(2 * ENDS + 1) {
            let left_out = format!("{} other changes", more + 1);
            told.splice(ENDS..told.len() - ENDS, [left_out]);
        }
        match told.is_empty() {
            true => f.write_str("there was no answer"),
            false => f.write_str(&told.join("; ")),
        }
    }
}

impl fmt::Display for Alike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |time: Duration| format!("{:.1}s", time.as_secs_f64());
        let (what, first, last) = (&self.what, seconds(self.first), seconds(self.last));
        match self.times {
            1 => write!(f, "{what} (at {first})"),
            times => write!(f, "{what} ({times} times, {first} to {last})"),
        }
    }
}

impl<'a> Streak<'a> {
    pub(super) fn new(wanted: Wanted<'a>) -> Self {
        Self {
            wanted,
            good: 0,
            bad: 0,
            last_bad: None,
            unidentified: false,
            crowded: false,
            attempts: Attempts::default(),
        }
    }

    /// Takes the answers to questions that were asked at one time; several good ones count once.
    pub(super) fn take(
        &mut self,
        at: Duration,
        answers: Vec<Answer>,
        tell: &mut dyn FnMut(EventKind),
    ) -> Next {
        let mut verdicts = Vec::new();
        for answer in answers {
            match self.judge(answer, tell) {
                Judged::Good => verdicts.push(None),
                Judged::Bad(why) => verdicts.push(Some(why)),
                Judged::Other => {}
            }
        }
        if let Some(bad) = verdicts.iter().flatten().next() {
            self.good = 0;
            self.bad += 1;
            self.attempts.add(at, bad);
            if self.last_bad.as_ref() != Some(bad) {
                let answer = bad.clone();
                tell(EventKind::NotReady { answer });
                self.last_bad = Some(bad.clone());
            }
            return match self.wanted.most_bad {
                Some(most) if self.bad >= most => Next::Unwell,
                _ => Next::Wait,
            };
        }
        if verdicts.is_empty() {
            self.attempts.add(at, OTHER);
            if !self.crowded {
                self.crowded = true;
                let answer = OTHER.to_owned();
                tell(EventKind::NotReady { answer });
            }
            return Next::Crowded;
        }
        self.good += 1;
        self.last_bad = None;
        self.attempts.add(at, "a good answer");
        match self.good >= self.wanted.good {
            true => Next::Ready,
            false => Next::Wait,
        }
    }

    fn judge(&mut self, answer: Answer, tell: &mut dyn FnMut(EventKind)) -> Judged {
        let by_the_old = self
            .wanted
            .before
            .is_some_and(|before| answer.claim.pid == Some(before.pid));
        let told = match self.wanted.instance {
            _ if by_the_old => Told::Other,
            Some(instance) => answer.claim.tells(instance),
            None => Told::Nothing,
        };
        if told == Told::Other {
            return Judged::Other;
        }
        if let Some(why) = answer.wrong {
            return Judged::Bad(why);
        }
        let could_be_told = self.wanted.probe.may_name_its_process();
        if told == Told::Nothing && could_be_told && !self.unidentified {
            self.unidentified = true;
            tell(EventKind::Unidentified {
                url: self.wanted.probe.target(),
            });
        }
        Judged::Good
    }
}

const OTHER: &str = "another process answers";

enum Judged {
    Good,
    Bad(String),
    Other,
}

#[cfg(test)]
mod tests {
    use super::Next::{Crowded, Ready, Unwell, Wait};
    use super::*;
    use crate::model::Expected;

    fn probe() -> Probe {
        Probe::Ready {
            reach: crate::model::Reach::Tcp(([127, 0, 0, 1], 80).into()),
            path: "/readyz".to_owned(),
        }
    }

    fn answer(status: u16, header: &str) -> Answer {
        let reply = Reply {
            status,
            claim: Claim::parse(header),
            body: Vec::new(),
        };
        Answer::of_reply(&probe(), reply)
    }

    fn wanted<'a>(good: u32, instance: &'a Instance, probe: &'a Probe) -> Wanted<'a> {
        Wanted {
            good,
            most_bad: None,
            instance: Some(instance),
            before: None,
            probe,
        }
    }

    static INSTANCE: Instance = Instance {
        pid: 7,
        invocation: String::new(),
    };

    /// An answer each 200 ms.
    fn judged(wanted: Wanted<'_>, answers: Vec<Answer>) -> (Vec<Next>, Vec<EventKind>, String) {
        let mut streak = Streak::new(wanted);
        let mut told = Vec::new();
        let ready = (0..)
            .zip(answers)
            .map(|(number, answer)| {
                let at = Duration::from_millis(200) * number;
                streak.take(at, vec![answer], &mut |event| told.push(event))
            })
            .collect();
        (ready, told, streak.attempts.to_string())
    }

    fn judge(good: u32, answers: Vec<Answer>) -> (Vec<Next>, Vec<EventKind>) {
        let (ready, told, _) = judged(wanted(good, &INSTANCE, &probe()), answers);
        (ready, told)
    }

    #[test]
    fn a_bad_answer_starts_the_count_anew_and_is_told_once() {
        let (ready, told) = judge(
            2,
            vec![
                Answer::wrong("no connection"),
                Answer::wrong("no connection"),
                answer(200, "pid=7"),
                answer(503, "pid=7"),
                answer(200, "pid=7"),
                answer(200, "pid=7"),
            ],
        );
        let not_ready = |answer: &str| EventKind::NotReady {
            answer: answer.to_owned(),
        };
        assert_eq!(ready, [Wait, Wait, Wait, Wait, Wait, Ready]);
        assert_eq!(told, [not_ready("no connection"), not_ready("status 503"),]);
    }

    #[test]
    fn answers_of_others_neither_count_nor_spoil_the_count() {
        let (ready, told) = judge(
            2,
            vec![
                answer(200, "pid=6"),
                answer(200, "pid=7"),
                answer(200, "pid=6"),
                answer(503, "pid=6"),
                answer(200, "pid=7"),
            ],
        );
        assert_eq!(ready, [Crowded, Wait, Crowded, Crowded, Ready]);
        assert_eq!(told.len(), 1, "{told:?}");
    }

    #[test]
    fn one_that_answers_among_many_is_heard_and_several_at_once_count_once() {
        let probe = probe();
        let mut streak = Streak::new(wanted(2, &INSTANCE, &probe));
        let mut crowd = || {
            let answers = ["pid=6", "pid=7", "pid=7", "pid=8"].map(|who| answer(200, who));
            streak.take(Duration::ZERO, answers.into(), &mut |_| ())
        };
        assert_eq!([crowd(), crowd()], [Wait, Ready]);
    }

    #[test]
    fn after_a_reload_the_old_process_answers_in_the_name_of_the_same_run() {
        let run = |pid| Instance {
            pid,
            invocation: "a1".repeat(16),
        };
        let (now, before) = (run(7), run(6));
        let probe = probe();
        let mut streak = Streak::new(Wanted {
            before: Some(&before),
            ..wanted(1, &now, &probe)
        });
        let mut ask = |pid: u32| {
            let header = format!("pid={pid} invocation={}", "a1".repeat(16));
            streak.take(Duration::ZERO, vec![answer(200, &header)], &mut |_| ())
        };
        // A worker of the new process counts, the old process does not.
        assert_eq!([ask(6), ask(9)], [Crowded, Ready]);
    }

    #[test]
    fn a_server_that_does_not_say_who_it_is_is_believed_and_noted() {
        let (ready, told) = judge(2, vec![answer(200, ""), answer(200, "release=v2")]);
        assert_eq!(ready, [Wait, Ready]);
        assert_eq!(
            told,
            [EventKind::Unidentified {
                url: "http://127.0.0.1:80/readyz".to_owned()
            }]
        );
    }

    #[test]
    fn a_probe_that_never_names_its_process_is_not_noted_again() {
        let tcp = Probe::Command {
            command: vec!["true".to_owned()],
        };
        let (ready, told, _) = judged(wanted(1, &INSTANCE, &tcp), vec![Answer::default()]);
        assert_eq!((ready, told), (vec![Ready], Vec::new()));
    }

    #[test]
    fn the_third_bad_answer_ends_a_check_and_all_are_told() {
        let (ready, _, attempts) = judged(
            Wanted {
                most_bad: Some(3),
                ..wanted(1, &INSTANCE, &probe())
            },
            vec![
                Answer::wrong("no connection"),
                answer(200, "pid=6"),
                answer(503, "pid=7"),
                answer(503, "pid=7"),
            ],
        );
        assert_eq!(ready, [Wait, Crowded, Wait, Unwell]);
        assert_eq!(
            attempts,
            "no connection (at 0.0s); another process answers (at 0.2s); status 503 (2 times, 0.4s to 0.6s)"
        );
    }

    #[test]
    fn answers_that_come_and_go_are_cut_short() {
        let answers = (0..20)
            .map(|number| answer(500 + number, "pid=7"))
            .collect();
        let (_, _, attempts) = judged(wanted(1, &INSTANCE, &probe()), answers);
        assert!(
            attempts.contains("status 503 (at 0.6s); 12 other changes; status 516 (at 3.2s)"),
            "{attempts}"
        );
    }

    #[test]
    fn an_answer_is_held_to_status_body_and_json() {
        let http = |status: &[u16], body: Option<&str>, json: Option<(&str, serde_json::Value)>| {
            Probe::Http(HttpProbe {
                reach: crate::model::Reach::Tcp(([127, 0, 0, 1], 80).into()),
                path: "/".to_owned(),
                headers: Vec::new(),
                status: status.to_vec(),
                body: body.map(str::to_owned),
                json: json.map(|(pointer, value)| Expected {
                    pointer: pointer.to_owned(),
                    value,
                }),
            })
        };
        let check = |probe: Probe, status, body: &str| {
            let reply = Reply {
                status,
                claim: Claim::default(),
                body: body.into(),
            };
            Answer::of_reply(&probe, reply).wrong.unwrap_or_default()
        };
        let healthy = || http(&[200], None, Some(("/db/0/status", "healthy".into())));
        assert_eq!(
            [
                check(http(&[200, 204], None, None), 204, ""),
                check(http(&[200, 204], None, None), 302, ""),
                check(http(&[200], Some("ok"), None), 200, "all ok"),
                check(http(&[200], Some("ok"), None), 200, "no"),
                check(healthy(), 200, r#"{"db": [{"status": "healthy"}]}"#),
                check(healthy(), 200, r#"{"db": [{"status": "degraded"}]}"#),
                check(healthy(), 200, "{}"),
                check(healthy(), 200, "<html>"),
            ],
            [
                "",
                "status 302",
                "",
                "status 200, without `ok` in the body",
                "",
                "status 200, and `/db/0/status` is `\"degraded\"`",
                "status 200, and there is no `/db/0/status`",
                "status 200, and the body is not JSON",
            ]
        );
    }
}
