//! From D-Bus properties to [`UnitState`].

use zbus::OwnedVariant;

use super::{Properties, Systemd};
use crate::model::UnitName;
use crate::observe::{Active, Instance, Load, UnitState};

pub(super) const UNIT: &str = "org.freedesktop.systemd1.Unit";
pub(super) const SERVICE: &str = "org.freedesktop.systemd1.Service";
pub(super) const SOCKET: &str = "org.freedesktop.systemd1.Socket";

impl Systemd {
    pub(super) async fn state(&self, unit: &UnitName) -> zbus::Result<UnitState> {
        let object = self.object(unit).await?;
        let own = match unit.as_str().ends_with(".socket") {
            true => SOCKET,
            false => SERVICE,
        };
        let general = self.properties(object.as_str(), UNIT).await?;
        let has_own = [".socket", ".service"]
            .iter()
            .any(|kind| unit.as_str().ends_with(kind));
        let own = match has_own {
            true => self.properties(object.as_str(), own).await?,
            // A target has no more than its state.
            false => Properties::new(),
        };
        read(unit, &general, &own)
    }
}

fn read(unit: &UnitName, general: &Properties, own: &Properties) -> zbus::Result<UnitState> {
    let active = text(general, "ActiveState");
    let Some(active) = Active::parse(&active) else {
        return Err(zbus::Error::Failure(format!("unknown state `{active}`")));
    };
    let load = match text(general, "LoadState").as_str() {
        "loaded" => Load::Loaded,
        "not-found" => Load::NotFound,
        "masked" => Load::Masked,
        other => Load::Other(other.to_owned()),
    };
    let pid = number(own, "MainPID").unwrap_or_default();
    let instance = (pid != 0).then(|| Instance {
        pid,
        invocation: invocation(general),
    });
    Ok(UnitState {
        unit: unit.clone(),
        load,
        active,
        was_active: general
            .get("ActiveEnterTimestampMonotonic")
            .and_then(|time| time.downcast_ref::<u64>().ok())
            .is_some_and(|time| time != 0),
        sub: text(general, "SubState"),
        result: text(own, "Result"),
        needs_reload: general
            .get("NeedDaemonReload")
            .and_then(|value| value.downcast_ref::<bool>().ok())
            .unwrap_or_default(),
        instance,
        restarts: number(own, "NRestarts").unwrap_or_default(),
        status: text(own, "StatusText"),
        exit_status: own
            .get("ExecMainStatus")
            .and_then(|value| value.downcast_ref::<i32>().ok())
            .unwrap_or_default(),
        refused: Vec::new(),
    })
}

/// Empty where the property is missing: an old manager, or a unit that is not loaded.
pub(super) fn text(properties: &Properties, name: &str) -> String {
    properties
        .get(name)
        .and_then(|value: &OwnedVariant| value.downcast_ref::<&str>().ok())
        .unwrap_or_default()
        .to_owned()
}

pub(super) fn value<T: TryFrom<OwnedVariant>>(properties: &Properties, name: &str) -> Option<T> {
    T::try_from(properties.get(name)?.try_clone().ok()?).ok()
}

fn number(properties: &Properties, name: &str) -> Option<u32> {
    properties.get(name)?.downcast_ref::<u32>().ok()
}

pub(super) fn invocation(properties: &Properties) -> String {
    let bytes: Vec<u8> = properties
        .get("InvocationID")
        .and_then(|value| value.try_clone().ok())
        .and_then(|value| Vec::try_from(value).ok())
        .unwrap_or_default();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
