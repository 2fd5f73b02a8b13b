//! What an installation asks of the manager.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use futures_util::StreamExt;
use zbus::OwnedObjectPath;

use super::unit::{SERVICE, SOCKET, UNIT, text, value};
use super::{MANAGER, PATH, Properties, Systemd, unread, within};
use crate::event::EventKind;
use crate::host::{Failure, files, open_socket, prove};
use crate::install::Loaded;
use crate::model::UnitName;
use crate::observe::{Active, Load, WatchedSocket};
use crate::plan::Act;

impl Systemd {
    pub(super) async fn install(
        &self,
        act: &Act,
        tell: &mut dyn FnMut(EventKind),
    ) -> Result<(), Failure> {
        match act {
            Act::Write { files, links } => files::write(files, links),
            Act::PutBack { file, aside } => files::put_back(file, aside),
            Act::Remove { paths } => files::remove(paths),
            Act::Reload => self.reload().await,
            Act::Open { socket } => self.job("StartUnit", socket, tell).await,
            Act::Reopen { socket } => self.job("RestartUnit", socket, tell).await,
            Act::Stop { units } => self.stop(units, tell).await,
            Act::SetOnSocket {
                socket,
                addresses,
                options,
            } => {
                if let Err(why) = open_socket::set(self.manager, addresses, options) {
                    let options: Vec<String> = options.iter().map(ToString::to_string).collect();
                    tell(EventKind::Note {
                        text: format!(
                            "{} of `{socket}` counts when the socket is opened anew: {why}",
                            options.join(", ")
                        ),
                    });
                }
                Ok(())
            }
        }
    }

    async fn reload(&self) -> Result<(), Failure> {
        let reloaded = self.call(PATH, MANAGER, "Reload", &()).await;
        reloaded.map(drop).map_err(|error| {
            Failure::new(format!("systemd did not read the units again: {error}"))
                .hint("try `systemctl daemon-reload`")
        })
    }

    /// Asks for the sockets first: from then on no traffic starts a service
    /// again. Of units that belong together systemd stops the service first.
    pub(super) async fn stop(
        &self,
        units: &[UnitName],
        tell: &mut dyn FnMut(EventKind),
    ) -> Result<(), Failure> {
        let failed = |unit: &UnitName, error: &zbus::Error| {
            Failure::new(format!("failed to stop `{unit}`: {error}"))
        };
        let signals = self.signals(PATH, MANAGER, "JobRemoved").await;
        let mut removed = signals.map_err(|error| {
            Failure::new(format!("failed to listen to systemd: {error}")).without_effect()
        })?;
        let (sockets, others): (Vec<&UnitName>, Vec<&UnitName>) = units
            .iter()
            .partition(|unit| unit.as_str().ends_with(".socket"));
        let mut before = Vec::new();
        for unit in units {
            let state = self.state(unit).await;
            before.push(state.map_err(|error| failed(unit, &error).without_effect())?);
        }
        let mut jobs: BTreeSet<String> = BTreeSet::new();
        for unit in sockets.into_iter().chain(others) {
            let asked = self
                .call(PATH, MANAGER, "StopUnit", &(unit.as_str(), "replace"))
                .await
                .and_then(|reply| reply.body().deserialize::<OwnedObjectPath>());
            match asked {
                Ok(job) => _ = jobs.insert(job.to_string()),
                Err(error) if is_not_loaded(&error) => {}
                Err(error) => return Err(failed(unit, &error)),
            }
        }
        while !jobs.is_empty() {
            let lost = || Failure::new("the connection to systemd was lost");
            let message = removed.next().await.ok_or_else(lost)?.map_err(|_| lost())?;
            let body = message.body();
            let (_, job, _, _): (u32, OwnedObjectPath, String, String) =
                body.deserialize().map_err(|_| lost())?;
            jobs.remove(job.as_str());
        }
        for (unit, before) in units.iter().zip(before) {
            let state = self.state(unit).await;
            let state = state.map_err(|error| failed(unit, &error))?;
            tell(EventKind::UnitState {
                unit: unit.to_string(),
                active: state.active,
                sub: state.sub.clone(),
            });
            // A start that took too long has the same result.
            if state.result == "timeout" && before.result == "success" {
                tell(EventKind::Killed {
                    unit: unit.to_string(),
                });
            }
            if !matches!(state.active, Active::Inactive | Active::Failed) {
                return Err(Failure::new(format!(
                    "`{unit}` was stopped and is {} ({}) again",
                    state.active, state.sub
                ))
                .hint(format!("see `systemctl status {unit}` for what starts it")));
            }
        }
        Ok(())
    }

    /// The release that runs, 252 for `252.38-1~deb12u1`, if it says so.
    pub async fn release(&self) -> Option<u32> {
        let manager = within(self.properties(PATH, MANAGER)).await.ok()?;
        let version = text(&manager, "Version");
        let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    }

    /// What the manager makes of a unit, and where a socket of it refuses connections.
    pub(in crate::host) async fn look(
        &self,
        unit: &UnitName,
        socket: Option<&WatchedSocket>,
    ) -> Result<Loaded, Failure> {
        within(self.loaded(unit, socket))
            .await
            .map_err(|error| unread(unit, &error).without_effect())
    }

    async fn loaded(
        &self,
        unit: &UnitName,
        socket: Option<&WatchedSocket>,
    ) -> zbus::Result<Loaded> {
        let state = self.state(unit).await?;
        let state = match socket {
            Some(socket) => prove::with_refused(state, socket).await,
            None => state,
        };
        let object = self.object(unit).await?;
        let general = self.properties(object.as_str(), UNIT).await?;
        let is_socket = unit.as_str().ends_with(".socket");
        let own = match (is_socket, unit.as_str().ends_with(".service")) {
            (true, _) => self.properties(object.as_str(), SOCKET).await?,
            (_, true) => self.properties(object.as_str(), SERVICE).await?,
            _ => Properties::new(),
        };
        let strings = |name| value::<Vec<String>>(&general, name).unwrap_or_default();
        let triggers = strings("TriggeredBy");
        let triggered_by = triggers
            .iter()
            .filter_map(|unit| UnitName::parse(unit).ok());
        let mut values = BTreeMap::new();
        if state.load == Load::Loaded {
            match is_socket {
                true => socket_values(&own, &mut values),
                false => service_values(&general, &own, &mut values),
            }
        }
        Ok(Loaded {
            fragment: PathBuf::from(text(&general, "FragmentPath")),
            triggered_by: triggered_by.collect(),
            stops_itself: own.get("ExecStop").is_some_and(|commands| {
                commands
                    .downcast_ref::<zbus::Array<'_>>()
                    .is_ok_and(|commands| !commands.is_empty())
            }),
            values,
            state,
        })
    }

    pub(in crate::host) async fn drop_ins(&self, unit: &UnitName) -> Vec<PathBuf> {
        let read = async {
            let object = self.object(unit).await?;
            self.properties(object.as_str(), UNIT).await
        };
        let general = within(read).await.unwrap_or_default();
        let paths = value::<Vec<String>>(&general, "DropInPaths").unwrap_or_default();
        paths.into_iter().map(PathBuf::from).collect()
    }

    /// Names of loaded units that fit a pattern such as `shop@*.service`.
    pub(in crate::host) async fn matching(&self, pattern: &str) -> Vec<UnitName> {
        type Row = (
            String,
            String,
            String,
            String,
            String,
            String,
            OwnedObjectPath,
            u32,
            String,
            OwnedObjectPath,
        );
        let none: [&str; 0] = [];
        let listed = within(async {
            self.call(
                PATH,
                MANAGER,
                "ListUnitsByPatterns",
                &(none.as_slice(), [pattern].as_slice()),
            )
            .await?
            .body()
            .deserialize::<Vec<Row>>()
        });
        let rows = listed.await.unwrap_or_default();
        let names = rows.iter().filter_map(|row| UnitName::parse(&row.0).ok());
        names.collect()
    }
}

fn is_not_loaded(error: &zbus::Error) -> bool {
    matches!(error, zbus::Error::MethodError(name, ..) if name.ends_with("NoSuchUnit"))
}

type Values = BTreeMap<String, Vec<String>>;

/// In the spelling of `install`: spans in microseconds, `yes` and `no`.
fn socket_values(own: &Properties, values: &mut Values) {
    let listen = value::<Vec<(String, String)>>(own, "Listen").unwrap_or_default();
    let streams = listen.into_iter().filter(|(kind, _)| kind == "Stream");
    values.insert(
        "ListenStream".to_owned(),
        streams.map(|(_, address)| address).collect(),
    );
    let mut one = |key: &str, text: Option<String>| {
        values.extend(text.map(|text| (key.to_owned(), vec![text])));
    };
    one(
        "Backlog",
        value::<u32>(own, "Backlog").map(|n| n.to_string()),
    );
    one("FileDescriptorName", Some(text(own, "FileDescriptorName")));
    one(
        "NoDelay",
        value::<bool>(own, "NoDelay").map(|on| if on { "yes" } else { "no" }.to_owned()),
    );
    one(
        "DeferAcceptSec",
        value::<u64>(own, "DeferAcceptUSec").map(|n| n.to_string()),
    );
    one(
        "SocketMode",
        value::<u32>(own, "SocketMode").map(|mode| format!("{mode:o}")),
    );
}

fn service_values(general: &Properties, own: &Properties, values: &mut Values) {
    let mut one = |key: &str, text: Option<String>| {
        values.extend(text.map(|text| (key.to_owned(), vec![text])));
    };
    let span = |properties, name| value::<u64>(properties, name).map(|n| n.to_string());
    one("TimeoutStartSec", span(own, "TimeoutStartUSec"));
    one("TimeoutStopSec", span(own, "TimeoutStopUSec"));
    one("RestartSec", span(own, "RestartUSec"));
    one(
        "StartLimitIntervalSec",
        span(general, "StartLimitIntervalUSec"),
    );
    for key in ["Restart", "Type", "KillMode"] {
        one(key, Some(text(own, key)));
    }
}
