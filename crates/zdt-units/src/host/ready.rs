//! Counts good answers in a row. Pure: the host asks, this only judges.

use super::ask::Answer;
use crate::event::EventKind;
use crate::observe::{Instance, Told};

/// How many good answers in a row there were so far.
#[derive(Debug)]
pub(super) struct Streak<'a> {
    wanted: u32,
    instance: &'a Instance,
    url: String,
    good: u32,
    last_bad: Option<String>,
    unidentified: bool,
}

impl<'a> Streak<'a> {
    pub(super) fn new(wanted: u32, instance: &'a Instance, url: String) -> Self {
        Self {
            wanted,
            instance,
            url,
            good: 0,
            last_bad: None,
            unidentified: false,
        }
    }

    /// Whether the last one wanted was there.
    pub(super) fn take(
        &mut self,
        answer: Result<Answer, String>,
        tell: &mut dyn FnMut(EventKind),
    ) -> bool {
        let bad = match answer {
            Err(error) => Some(error),
            Ok(answer) if answer.status != 200 => Some(format!("status {}", answer.status)),
            Ok(answer) => match answer.claim.tells(self.instance) {
                Told::Same => None,
                Told::Other => Some("another process answers".to_owned()),
                Told::Nothing => {
                    if !self.unidentified {
                        self.unidentified = true;
                        tell(EventKind::Unidentified {
                            url: self.url.clone(),
                        });
                    }
                    None
                }
            },
        };
        match bad {
            None => {
                self.good += 1;
                self.last_bad = None;
            }
            Some(bad) => {
                self.good = 0;
                if self.last_bad.as_ref() != Some(&bad) {
                    tell(EventKind::NotReady {
                        answer: bad.clone(),
                    });
                    self.last_bad = Some(bad);
                }
            }
        }
        self.good >= self.wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Claim;

    fn answer(status: u16, header: &str) -> Result<Answer, String> {
        Ok(Answer {
            status,
            claim: Claim::parse(header),
        })
    }

    fn judge(wanted: u32, answers: Vec<Result<Answer, String>>) -> (Vec<bool>, Vec<EventKind>) {
        let instance = Instance {
            pid: 7,
            invocation: String::new(),
        };
        let mut streak = Streak::new(wanted, &instance, "http://a/readyz".to_owned());
        let mut told = Vec::new();
        let ready = answers
            .into_iter()
            .map(|answer| streak.take(answer, &mut |event| told.push(event)))
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
                answer(200, "pid=6"),
                answer(200, "pid=7"),
                answer(200, "pid=7"),
            ],
        );
        let not_ready = |answer: &str| EventKind::NotReady {
            answer: answer.to_owned(),
        };
        assert_eq!(ready, [false, false, false, false, false, false, true]);
        assert_eq!(
            told,
            [
                not_ready("no connection"),
                not_ready("status 503"),
                not_ready("another process answers"),
            ]
        );
    }

    #[test]
    fn a_server_that_does_not_say_who_it_is_is_believed_and_noted() {
        let (ready, told) = judge(2, vec![answer(200, ""), answer(200, "release=v2")]);
        assert_eq!(ready, [false, true]);
        assert_eq!(
            told,
            [EventKind::Unidentified {
                url: "http://a/readyz".to_owned()
            }]
        );
    }
}
