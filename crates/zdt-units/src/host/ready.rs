//! Counts good answers in a row. Pure: the host asks, this only judges.

use super::ask::Answer;
use crate::event::EventKind;
use crate::observe::{Instance, Told};

/// How many good answers in a row there were so far.
#[derive(Debug)]
pub(super) struct Streak<'a> {
    wanted: u32,
    instance: &'a Instance,
    /// Whose answers are another's, whatever invocation they name.
    before: Option<&'a Instance>,
    url: String,
    good: u32,
    last_bad: Option<String>,
    unidentified: bool,
    crowded: bool,
}

/// What to do after some answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Ready,
    /// Ask again after the interval.
    Wait,
    /// Only others answered, which says nothing: ask again soon.
    Crowded,
}

impl<'a> Streak<'a> {
    pub(super) fn new(
        wanted: u32,
        instance: &'a Instance,
        before: Option<&'a Instance>,
        url: String,
    ) -> Self {
        Self {
            wanted,
            instance,
            before,
            url,
            good: 0,
            last_bad: None,
            unidentified: false,
            crowded: false,
        }
    }

    /// Takes the answers to questions that were asked at one time; several good ones count once.
    pub(super) fn take(
        &mut self,
        answers: Vec<Result<Answer, String>>,
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
            if self.last_bad.as_ref() != Some(bad) {
                let answer = bad.clone();
                tell(EventKind::NotReady { answer });
                self.last_bad = Some(bad.clone());
            }
            return Next::Wait;
        }
        if verdicts.is_empty() {
            if !self.crowded {
                self.crowded = true;
                let answer = "another process answers".to_owned();
                tell(EventKind::NotReady { answer });
            }
            return Next::Crowded;
        }
        self.good += 1;
        self.last_bad = None;
        match self.good >= self.wanted {
            true => Next::Ready,
            false => Next::Wait,
        }
    }

    fn judge(&mut self, answer: Result<Answer, String>, tell: &mut dyn FnMut(EventKind)) -> Judged {
        let answer = match answer {
            Ok(answer) => answer,
            Err(why) => return Judged::Bad(why),
        };
        let by_the_old = self
            .before
            .is_some_and(|before| answer.claim.pid == Some(before.pid));
        let told = match by_the_old {
            true => Told::Other,
            false => answer.claim.tells(self.instance),
        };
        if told == Told::Other {
            return Judged::Other;
        }
        if answer.status != 200 {
            return Judged::Bad(format!("status {}", answer.status));
        }
        if told == Told::Nothing && !self.unidentified {
            self.unidentified = true;
            tell(EventKind::Unidentified {
                url: self.url.clone(),
            });
        }
        Judged::Good
    }
}

enum Judged {
    Good,
    Bad(String),
    Other,
}

#[cfg(test)]
mod tests {
    use super::Next::{Crowded, Ready, Wait};
    use super::*;
    use crate::observe::Claim;

    fn answer(status: u16, header: &str) -> Result<Answer, String> {
        Ok(Answer {
            status,
            claim: Claim::parse(header),
        })
    }

    fn judge(wanted: u32, answers: Vec<Result<Answer, String>>) -> (Vec<Next>, Vec<EventKind>) {
        let instance = Instance {
            pid: 7,
            invocation: String::new(),
        };
        let mut streak = Streak::new(wanted, &instance, None, "http://a/readyz".to_owned());
        let mut told = Vec::new();
        let ready = answers
            .into_iter()
            .map(|answer| streak.take(vec![answer], &mut |event| told.push(event)))
            .collect();
        (ready, told)
    }

    #[test]
    fn a_bad_answer_starts_the_count_anew_and_is_told_once() {
        let (ready, told) = judge(
            2,
            vec![
                Err("no connection".to_owned()),
                Err("no connection".to_owned()),
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
        let instance = Instance {
            pid: 7,
            invocation: String::new(),
        };
        let mut streak = Streak::new(2, &instance, None, String::new());
        let mut crowd = || {
            let answers = ["pid=6", "pid=7", "pid=7", "pid=8"].map(|who| answer(200, who));
            streak.take(answers.into(), &mut |_| ())
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
        let mut streak = Streak::new(1, &now, Some(&before), String::new());
        let mut ask = |pid: u32| {
            let header = format!("pid={pid} invocation={}", "a1".repeat(16));
            streak.take(vec![answer(200, &header)], &mut |_| ())
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
                url: "http://a/readyz".to_owned()
            }]
        );
    }
}
