//! One job: ask for it, follow the unit while it runs, wait for exactly its end.

use std::num::NonZeroUsize;

use futures_util::StreamExt;
use zbus::message::Type;
use zbus::{DBusError, MatchRule, Message, MessageStream, OwnedObjectPath};

use super::unit::text;
use super::{MANAGER, NAME, PATH, PROPERTIES, Properties, Systemd};
use crate::event::EventKind;
use crate::host::Failure;
use crate::host::prove::Manager as _;
use crate::model::UnitName;
use crate::observe::Active;

/// A full queue would stop the connection, and with it the reply to our own
/// call. On the manager's own socket the signals of all units come in.
const QUEUE: NonZeroUsize = NonZeroUsize::new(4096).expect("it is not zero");

impl Systemd {
    /// Enqueues a job for `unit` and waits until it is done.
    pub(in crate::host) async fn job(
        &self,
        method: &str,
        unit: &UnitName,
        tell: &mut dyn FnMut(EventKind),
    ) -> Result<(), Failure> {
        self.follow(method, unit, "did not start", tell).await
    }

    /// Runs a unit that does one thing and ends, to its end.
    pub(super) async fn task(
        &self,
        unit: &UnitName,
        tell: &mut dyn FnMut(EventKind),
    ) -> Result<(), Failure> {
        self.follow("StartUnit", unit, "failed", tell).await
    }

    async fn follow(
        &self,
        method: &str,
        unit: &UnitName,
        otherwise: &str,
        tell: &mut dyn FnMut(EventKind),
    ) -> Result<(), Failure> {
        let untouched = |error: zbus::Error| refused(unit, &error);
        let object = self.object(unit).await.map_err(untouched)?;
        let before = self.state(unit).await.map_err(untouched)?;
        // Both before the call, or a short job would be over unseen.
        let mut jobs = self
            .signals(PATH, MANAGER, "JobRemoved")
            .await
            .map_err(untouched)?;
        let mut changes = self
            .signals(object.as_str(), PROPERTIES, "PropertiesChanged")
            .await
            .map_err(untouched)?;

        let job: OwnedObjectPath = self
            .call(PATH, MANAGER, method, &(unit.as_str(), "replace"))
            .await
            .and_then(|reply| reply.body().deserialize())
            .map_err(untouched)?;

        let mut follow = Follow {
            unit,
            last: (before.active, before.sub),
            served: !matches!(
                before.active,
                Active::Activating | Active::Inactive | Active::Failed
            ),
        };
        let lost = || Failure::new("the connection to systemd was lost");
        loop {
            tokio::select! {
                // A change that led to the job's end is told before the end.
                biased;
                change = changes.next() => {
                    let change = change.ok_or_else(lost)?.map_err(|_| lost())?;
                    follow.take(&change, tell);
                }
                removed = jobs.next() => {
                    let removed = removed.ok_or_else(lost)?.map_err(|_| lost())?;
                    let body = removed.body();
                    let (_, path, _, result): (u32, OwnedObjectPath, String, String) =
                        body.deserialize().map_err(|_| lost())?;
                    if path != job {
                        continue;
                    }
                    return match result.as_str() {
                        "done" => Ok(()),
                        _ => Err(self.ended(unit, &result, otherwise).await),
                    };
                }
            }
        }
    }

    pub(super) async fn signals(
        &self,
        path: &str,
        interface: &str,
        member: &str,
    ) -> zbus::Result<MessageStream> {
        let mut rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .path(path)
            .interface(interface)
            .member(member);
        if self.destination.is_some() {
            rule = rule.sender(NAME);
        }
        MessageStream::for_match_rule(rule.build()?, &self.connection, Some(QUEUE)).await
    }

    /// Why a job ended otherwise than wanted.
    async fn ended(&self, unit: &UnitName, result: &str, otherwise: &str) -> Failure {
        let why = match result {
            "canceled" => "another job for it took its place".to_owned(),
            "timeout" => "the job timed out".to_owned(),
            "dependency" => "a unit that it requires did not start".to_owned(),
            "skipped" => "a condition in the unit was not met".to_owned(),
            _ => match self.state(unit).await {
                Ok(state) => format!(
                    "result `{}`, exit status {}, now {} ({})",
                    state.result, state.exit_status, state.active, state.sub
                ),
                Err(_) => format!("job result `{result}`"),
            },
        };
        let failure =
            Failure::new(format!("`{unit}` {otherwise}: {why}")).hint(Self::TOOL.see(unit));
        match result {
            "failed" | "timeout" => self.heard(failure, unit, None).await,
            // It did not run.
            _ => failure,
        }
    }
}

/// The manager takes a job or leaves it; what it refuses did not happen.
fn refused(unit: &UnitName, error: &zbus::Error) -> Failure {
    let (name, text) = match error {
        zbus::Error::MethodError(name, text, _) => (name.to_string(), text.clone()),
        zbus::Error::FDO(error) => (
            error.name().to_string(),
            error.description().map(str::to_owned),
        ),
        _ => (String::new(), None),
    };
    let text = text.unwrap_or_else(|| error.to_string());
    let failure = Failure::new(format!("systemd refused the job for `{unit}`: {text}"));
    let denied = ["AccessDenied", "InteractiveAuthorizationRequired"]
        .iter()
        .any(|denied| name.ends_with(denied));
    match denied {
        true => failure.hint("run it as root"),
        false => failure,
    }
    .without_effect()
}

/// Tells the states that a unit goes through.
struct Follow<'a> {
    unit: &'a UnitName,
    last: (Active, String),
    /// A process of it was ready, so that there may be requests in it.
    served: bool,
}

impl Follow<'_> {
    fn take(&mut self, change: &Message, tell: &mut dyn FnMut(EventKind)) {
        let body = change.body();
        let Ok((_, changed, _)) = body.deserialize::<(String, Properties, Vec<String>)>() else {
            return;
        };
        let sub = text(&changed, "SubState");
        let Some(active) = Active::parse(&text(&changed, "ActiveState")) else {
            return;
        };
        if self.last == (active, sub.clone()) {
            return;
        }
        tell(EventKind::UnitState {
            unit: self.unit.to_string(),
            active,
            sub: sub.clone(),
        });
        match active {
            Active::Active | Active::Reloading => self.served = true,
            Active::Activating => self.served = false,
            _ => {}
        }
        let is_killed = matches!(
            sub.as_str(),
            "stop-sigkill" | "final-sigkill" | "stop-watchdog"
        );
        if is_killed && self.served {
            tell(EventKind::Killed {
                unit: self.unit.to_string(),
            });
        }
        self.last = (active, sub);
    }
}
