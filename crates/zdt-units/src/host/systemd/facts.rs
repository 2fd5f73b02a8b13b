//! What is examined of a unit, as the manager has loaded it.

use std::time::Duration;

use super::unit::{SERVICE, SOCKET, UNIT, text, value};
use super::{MANAGER, PATH, PROPERTIES, Properties, Systemd, unread, within};
use crate::doctor::{Limit, ServiceUnit, SocketUnit};
use crate::host::Failure;
use crate::model::{Address, UnitName};

/// What a command line becomes on D-Bus: path, arguments, and how it went.
type Command = (String, Vec<String>, bool, u64, u64, u64, u64, u32, i32, i32);
/// Type, parameter, and how it went.
type Condition = (String, bool, bool, String, i32);

impl Systemd {
    /// `252.39-1~deb12u1`, and whether it was reached by the bus.
    pub async fn describe(&self) -> String {
        let manager = within(self.properties(PATH, MANAGER))
            .await
            .unwrap_or_default();
        let version = text(&manager, "Version");
        let way = match self.destination {
            Some(_) => "by the bus",
            None => "by its own socket",
        };
        format!("systemd {version}, {way}")
    }

    /// When the boot was finished, by the monotonic clock; 0 while it is not.
    async fn booted(&self) -> zbus::Result<u64> {
        let body = (MANAGER, "FinishTimestampMonotonic");
        let reply = self.call(PATH, PROPERTIES, "Get", &body).await?;
        let value: zbus::OwnedVariant = reply.body().deserialize()?;
        Ok(u64::try_from(value).unwrap_or_default())
    }

    /// The unit, and the control group of its processes.
    pub(in crate::host) async fn service_facts(
        &self,
        unit: &UnitName,
    ) -> Result<(ServiceUnit, String), Failure> {
        let read = async {
            let state = self.state(unit).await?;
            let object = self.object(unit).await?;
            let general = self.properties(object.as_str(), UNIT).await?;
            let own = match unit.as_str().ends_with(".service") {
                true => self.properties(object.as_str(), SERVICE).await?,
                false => Properties::new(),
            };
            let group = text(&own, "ControlGroup");
            let boot = self.booted().await?;
            let began =
                value::<u64>(&general, "InactiveExitTimestampMonotonic").unwrap_or_default();
            let ready = value::<u64>(&general, "ActiveEnterTimestampMonotonic").unwrap_or_default();
            let mut conditions = conditions(&general);
            let commands = value::<Vec<Command>>(&own, "ExecCondition").unwrap_or_default();
            conditions.extend((!commands.is_empty()).then(|| "ExecCondition".to_owned()));
            let exec = value::<Vec<Command>>(&own, "ExecStart").unwrap_or_default();
            Ok((
                ServiceUnit {
                    file_state: text(&general, "UnitFileState"),
                    needs: needs(&general),
                    part_of: strings(&general, "PartOf"),
                    triggered_by: units(&general, "TriggeredBy"),
                    conditions,
                    start_limit: Limit {
                        burst: value(&general, "StartLimitBurst").unwrap_or_default(),
                        interval: span(&general, "StartLimitIntervalUSec").unwrap_or_default(),
                    },
                    kind: text(&own, "Type"),
                    restart: text(&own, "Restart"),
                    kill_mode: text(&own, "KillMode"),
                    start_timeout: span(&own, "TimeoutStartUSec"),
                    stop_timeout: span(&own, "TimeoutStopUSec"),
                    drain: drain(&strings(&own, "Environment")),
                    exec: exec
                        .into_iter()
                        .next()
                        .map(|command| command.1)
                        .unwrap_or_default(),
                    open_files: value(&own, "LimitNOFILE").unwrap_or_default(),
                    store: value(&own, "FileDescriptorStoreMax").unwrap_or_default(),
                    process: None,
                    is_standby: false,
                    since: value::<u64>(&own, "ExecMainStartTimestamp").filter(|time| *time > 0),
                    start_took: (ready >= began && began > 0)
                        .then(|| Duration::from_micros(ready - began)),
                    at_boot: began > 0 && (boot == 0 || began <= boot),
                    state,
                },
                group,
            ))
        };
        within(read)
            .await
            .map_err(|error| unread(unit, &error).without_effect())
    }

    /// The unit without what the kernel knows of it, and whether its addresses are in this network.
    pub(in crate::host) async fn socket_facts(
        &self,
        unit: &UnitName,
    ) -> Result<(SocketUnit, bool), Failure> {
        let read = async {
            let state = self.state(unit).await?;
            let object = self.object(unit).await?;
            let general = self.properties(object.as_str(), UNIT).await?;
            let own = self.properties(object.as_str(), SOCKET).await?;
            let flag = |name| value::<bool>(&own, name).unwrap_or_default();
            let listen = value::<Vec<(String, String)>>(&own, "Listen").unwrap_or_default();
            let streams = listen.iter().filter(|(kind, _)| kind == "Stream");
            let elsewhere =
                flag("PrivateNetwork") || !text(&own, "NetworkNamespacePath").is_empty();
            Ok((
                SocketUnit {
                    file_state: text(&general, "UnitFileState"),
                    needs: needs(&general),
                    part_of: strings(&general, "PartOf"),
                    triggers: units(&general, "Triggers"),
                    addresses: streams
                        .filter_map(|(_, address)| Address::parse(address).ok())
                        .collect(),
                    accept: flag("Accept"),
                    backlog: value(&own, "Backlog").unwrap_or_default(),
                    flush_pending: flag("FlushPending"),
                    reuse_port: flag("ReusePort"),
                    trigger_limit: Limit {
                        burst: value(&own, "TriggerLimitBurst").unwrap_or_default(),
                        interval: span(&own, "TriggerLimitIntervalUSec").unwrap_or_default(),
                    },
                    queue: None,
                    live: 0,
                    is_health: false,
                    inodes: Vec::new(),
                    strangers: Vec::new(),
                    rivals: Vec::new(),
                    state,
                },
                !elsewhere,
            ))
        };
        within(read)
            .await
            .map_err(|error| unread(unit, &error).without_effect())
    }
}

fn strings(properties: &Properties, name: &str) -> Vec<String> {
    value(properties, name).unwrap_or_default()
}

fn units(properties: &Properties, name: &str) -> Vec<UnitName> {
    let names = strings(properties, name);
    names
        .iter()
        .filter_map(|name| UnitName::parse(name).ok())
        .collect()
}

fn needs(general: &Properties) -> Vec<String> {
    let kinds = ["Requires", "Requisite", "BindsTo"];
    kinds
        .iter()
        .flat_map(|kind| strings(general, kind))
        .collect()
}

fn conditions(general: &Properties) -> Vec<String> {
    let kinds = ["Conditions", "Asserts"].iter();
    let all = kinds.flat_map(|kind| value::<Vec<Condition>>(general, kind).unwrap_or_default());
    let mut names: Vec<String> = all.map(|condition| condition.0).collect();
    names.dedup();
    names
}

/// `None`: for ever, or unknown.
fn span(properties: &Properties, name: &str) -> Option<Duration> {
    let micros = value::<u64>(properties, name)?;
    (micros != u64::MAX).then(|| Duration::from_micros(micros))
}

/// What the library makes of its variables; `None` where none is set.
fn drain(environment: &[String]) -> Option<Duration> {
    let one = |name: &str| {
        let value = environment
            .iter()
            .rev()
            .find_map(|set| set.strip_prefix(name));
        humantime::parse_duration(value?).ok()
    };
    let limit = one("ZDT_DRAIN_LIMIT=")?;
    let rest = [one("ZDT_DRAIN_GRACE="), one("ZDT_DRAIN_LINGER=")];
    Some(
        rest.into_iter()
            .flatten()
            .fold(limit, |sum, part| sum + part),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_is_the_sum_of_its_variables() {
        let set = |texts: &[&str]| {
            drain(
                &texts
                    .iter()
                    .map(|&text| text.to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(
            set(&[
                "ZDT_DRAIN_GRACE=5s",
                "ZDT_DRAIN_LIMIT=30s",
                "ZDT_DRAIN_LINGER=500ms"
            ]),
            Some(Duration::from_millis(35_500))
        );
        // The last one counts, as for systemd.
        assert_eq!(
            set(&["ZDT_DRAIN_LIMIT=30s", "ZDT_DRAIN_LIMIT=90s"]),
            Some(Duration::from_secs(90))
        );
        assert_eq!(set(&["PATH=/bin"]), None);
    }
}
