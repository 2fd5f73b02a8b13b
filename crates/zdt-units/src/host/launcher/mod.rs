//! A launcher over its control socket, as a host like systemd: each action is a question.

#![expect(
    clippy::disallowed_methods,
    reason = "a snapshot says when it was taken, and has files in it"
)]

pub mod connection;
mod facts;
mod observe;
pub mod place;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::timeout;

use self::connection::{Answers, Connection};
use super::prove::{self, Manager};
use super::supervisor::protocol::{About, Answer, Orphan, Question, UnitReport};
use super::{Failure, Host, kept};
use crate::event::EventKind;
use crate::model::{Model, Reach, UnitName};
use crate::observe::{Instance, Observed, UnitState, Watched};
use crate::plan::{Act, Action};
use crate::tool::Tool;

/// How long an answer may take that nothing has to be waited for.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// A launcher that answers.
#[derive(Debug)]
pub struct Launcher {
    connection: Connection,
    about: About,
    /// What `zdt.toml` says now, or what the launcher has loaded where it has no file.
    text: String,
    model: Option<Model>,
}

impl Launcher {
    /// The launcher that listens at `control`.
    pub async fn connect(control: &Path) -> Result<Self, Failure> {
        let connection = Connection::to(control);
        match connection.about().await? {
            Some(about) => Ok(Self::at(connection, about)),
            None => Err(nobody(control)),
        }
    }

    /// The same; `None` where nobody listens.
    pub async fn find(control: &Path) -> Result<Option<Self>, Failure> {
        let connection = Connection::to(control);
        let about = connection.about().await?;
        Ok(about.map(|about| Self::at(connection, about)))
    }

    fn at(connection: Connection, about: About) -> Self {
        let text = match &about.config {
            // A file that was removed is as it was loaded.
            Some(path) => std::fs::read_to_string(path).unwrap_or_else(|_| about.text.clone()),
            None => about.text.clone(),
        };
        Self {
            connection,
            // Mistakes are told by whoever is about to load it.
            model: Model::read("zdt.toml", &text).ok(),
            about,
            text,
        }
    }

    pub fn about(&self) -> &About {
        &self.about
    }

    /// Where it is asked.
    pub fn control(&self) -> &Path {
        self.connection.path()
    }

    /// `zdt.toml`, and what is to be loaded from it.
    pub fn config(&self) -> (Option<&PathBuf>, &str) {
        (self.about.config.as_ref(), &self.text)
    }

    /// What is written in `zdt.toml` is not what the launcher has loaded.
    fn is_behind(&self) -> bool {
        self.text != self.about.text
    }

    /// Lets the launcher load what `zdt.toml` says by now. What it had loaded is kept as the last that is known to be
    /// good, for each of `places` that has nothing better.
    pub async fn catch_up(
        &mut self,
        places: &[PathBuf],
        tell: &mut dyn FnMut(EventKind),
    ) -> Result<(), Failure> {
        let Some(path) = self.about.config.clone().filter(|_| self.is_behind()) else {
            return Ok(());
        };
        for place in places {
            if kept::read(place)?.is_none() {
                let old = self.about.text.clone();
                kept::keep(place, &[observe::copy(&path, old)])?;
            }
        }
        let text = self.text.clone();
        self.follow(&Question::Load { text }, tell).await?;
        self.about.text.clone_from(&self.text);
        Ok(())
    }

    /// All units that `wanted` names, or all that there are.
    pub async fn units(&self, wanted: &[UnitName]) -> Result<Vec<UnitReport>, Failure> {
        // Whoever asks for all of them wants to see them whole.
        self.reports(wanted, wanted.is_empty()).await
    }

    /// The same; `whole`: with all their processes.
    pub(super) async fn reports(
        &self,
        wanted: &[UnitName],
        whole: bool,
    ) -> Result<Vec<UnitReport>, Failure> {
        let units = wanted.to_vec();
        let answers = self.collect(&Question::Units { units, whole }).await?;
        let units = answers.into_iter().filter_map(|answer| match answer {
            Answer::Unit(unit) => Some(*unit),
            _ => None,
        });
        Ok(units.collect())
    }

    /// Processes without a launcher.
    pub async fn orphans(&self) -> Result<Vec<Orphan>, Failure> {
        let answers = self.collect(&Question::Orphans).await?;
        let orphans = answers.into_iter().filter_map(|answer| match answer {
            Answer::Orphan(orphan) => Some(orphan),
            _ => None,
        });
        Ok(orphans.collect())
    }

    /// Asks for something that is followed to its end. May be dropped, which ends the waiting and not the doing.
    pub async fn follow(
        &self,
        question: &Question,
        tell: &mut dyn FnMut(EventKind),
    ) -> Result<(), Failure> {
        let mut answers = self.connection.ask(question).await?;
        while let Some(answer) = answers.next().await {
            match answer {
                Answer::Failed(refusal) => return Err(refusal.failure()),
                Answer::Told { event } => tell(event),
                _ => {}
            }
        }
        Ok(())
    }

    /// The answers as they come, also those that never end.
    pub async fn ask(&self, question: &Question) -> Result<Answers, Failure> {
        self.connection.ask(question).await
    }

    /// All answers to a question that changes nothing.
    async fn collect(&self, question: &Question) -> Result<Vec<Answer>, Failure> {
        let answered = timeout(CALL_LIMIT, async {
            self.connection.ask(question).await?.all().await
        });
        let silent = || Err(Failure::new("the launcher does not answer"));
        let answered = answered.await.unwrap_or_else(|_| silent());
        answered.map_err(Failure::without_effect)
    }

    async fn report(&self, unit: &UnitName) -> Result<Option<UnitReport>, Failure> {
        Ok(self.units(std::slice::from_ref(unit)).await?.pop())
    }
}

impl Launcher {
    /// A health check of a process whose port only the launcher knows.
    async fn on_own_port(&self, action: &Action) -> Result<Action, Failure> {
        let mut action = action.clone();
        let (Action::AwaitReady { unit, health, .. } | Action::CheckHealth { unit, health }) =
            &mut action
        else {
            return Ok(action);
        };
        if matches!(health.probe.reach(), Some(Reach::OwnPort(_)))
            && let Some(port) = self.port(unit).await?
        {
            health.probe = health.probe.on_port(port);
        }
        Ok(action)
    }

    /// That the process of `unit` was given.
    pub(in crate::host) async fn port(&self, unit: &UnitName) -> Result<Option<u16>, Failure> {
        Ok(self.report(unit).await?.and_then(|report| report.port))
    }
}

fn nobody(control: &Path) -> Failure {
    Failure::new(format!("no launcher is at work at `{}`", control.display()))
        .hint("start one with `zdt-units run`, or say where it is with `--control`")
        .without_effect()
}

impl Host for Launcher {
    fn tool(&self) -> Tool {
        Self::TOOL
    }

    async fn observe(&mut self, watched: &Watched) -> Result<Observed, Failure> {
        let mut observed = self.snapshot(watched).await?;
        for companion in &watched.companions {
            let seen = self.snapshot(companion).await?;
            observed.companions.push(seen);
        }
        Ok(observed)
    }

    async fn words(&mut self, action: &Action) -> String {
        // What fails here fails again when it is done, and is told then.
        let known = self.on_own_port(action).await;
        known.as_ref().unwrap_or(action).to_string()
    }

    async fn perform(
        &mut self,
        action: &Action,
        tell: &mut dyn FnMut(EventKind),
    ) -> Result<(), Failure> {
        let question = match action.clone() {
            Action::StartUnit { unit } => Question::Start { unit },
            Action::RestartUnit { unit } => Question::Restart { units: vec![unit] },
            Action::RestartUnits { units } => Question::Restart { units },
            Action::ReloadUnit { unit } => Question::Reload { unit },
            Action::StopUnits { units } | Action::Install(Act::Stop { units }) => {
                let held = false;
                Question::Stop { units, held }
            }
            Action::RunTask { unit, .. } => Question::Task { unit },
            Action::CloseUntaken { unit } => Question::CloseUntaken { unit },
            Action::OpenSockets { service, .. } => Question::OpenSockets { service },
            Action::CloseSockets { service, units, .. } => {
                let held = false;
                self.follow(&Question::Stop { units, held }, tell).await?;
                Question::CloseSockets { service }
            }
            Action::TakeOut { .. } | Action::PutBack { .. } => {
                return super::balancer::perform(action, tell).await;
            }
            Action::KeepUnits { place, files } => return kept::keep(&place, &files),
            // The file is the person's, who may be about to mend it.
            Action::RestoreUnits { files, .. } => match files.into_iter().next() {
                Some(file) => Question::Load { text: file.text },
                None => return Ok(()),
            },
            Action::Release(act) => return super::releases::perform(&act).await,
            // It was loaded when it was put back.
            Action::Install(Act::Reload) => return Ok(()),
            Action::Install(act) => {
                return Err(Failure::new(format!("a launcher has no units to {act}"))
                    .hint("`zdt-units install` is for systemd")
                    .without_effect());
            }
            Action::StayUp { .. }
            | Action::ConfirmInstance { .. }
            | Action::ConfirmReload { .. }
            | Action::AwaitReady { .. }
            | Action::CheckHealth { .. } => {
                let action = self.on_own_port(action).await?;
                return prove::perform(self, &action, tell).await;
            }
        };
        self.follow(&question, tell).await
    }
}

impl Manager for Launcher {
    const TOOL: Tool = Tool::Launcher;

    async fn state_of(&self, unit: &UnitName) -> Result<UnitState, Failure> {
        match self.report(unit).await? {
            Some(report) => Ok(report.state),
            None => Err(Failure::new(format!("the launcher has no unit `{unit}`"))),
        }
    }

    async fn heard(
        &self,
        failure: Failure,
        unit: &UnitName,
        instance: Option<&Instance>,
    ) -> Failure {
        let question = Question::Logs {
            of: vec![unit.to_string()],
            lines: observe::LAST_WORDS,
            follow: false,
        };
        let Ok(lines) = self.collect(&question).await else {
            return failure;
        };
        let lines = lines.into_iter().filter_map(|answer| match answer {
            Answer::Line(line) => Some(line),
            _ => None,
        });
        let own = |pid| instance.is_none_or(|instance| instance.pid == pid);
        let said = lines.filter(|line| own(line.pid)).map(|line| line.text);
        let mut output = failure.output.clone();
        output.extend(said);
        failure.output(output)
    }
}
