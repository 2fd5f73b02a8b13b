//! What is examined of a unit of a launcher: what it reports, and what `zdt.toml` says.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Launcher, observe::micros};
use crate::doctor::{Limit, ServiceUnit, SocketUnit};
use crate::host::Failure;
use crate::host::supervisor::protocol::UnitReport;
use crate::model::{Kind, Service, Socket, UnitName};
use crate::observe::{Load, UnitState};

impl Launcher {
    /// `0.1.0, process 12`.
    pub(in crate::host) fn describe(&self) -> String {
        let about = &self.about;
        format!(
            "zdt-units {}, process {} at `{}`",
            about.version,
            about.pid,
            self.connection.path().display()
        )
    }

    pub(in crate::host) fn pid(&self) -> u32 {
        self.about.pid
    }

    /// The unit, and the processes of it.
    pub(in crate::host) async fn service_facts(
        &self,
        unit: &UnitName,
    ) -> Result<(ServiceUnit, BTreeSet<u32>), Failure> {
        let report = self.reports(std::slice::from_ref(unit), true).await?.pop();
        let own = |report: &UnitReport| self.model.as_ref()?.service(report.service.as_str());
        let service = report.as_ref().and_then(own);
        let children = report.iter().flat_map(|report| &report.children);
        let pids = children.map(|child| child.pid).collect();
        Ok((service_unit(unit, report.as_ref(), service), pids))
    }

    pub(in crate::host) async fn socket_facts(
        &self,
        unit: &UnitName,
    ) -> Result<SocketUnit, Failure> {
        let report = self.report(unit).await?;
        let services = self.model.iter().flat_map(|model| &model.services);
        let mut sockets = services.flat_map(|service| {
            let sockets = service.sockets.iter();
            sockets.map(move |socket| (service, socket))
        });
        let own = sockets.find(|(_, socket)| socket.unit == *unit);
        Ok(socket_unit(unit, report.as_ref(), own))
    }

    pub(in crate::host) async fn sockets(&self) -> Vec<UnitName> {
        let units = self.units(&[]).await.unwrap_or_default();
        let names = units.into_iter().map(|report| report.state.unit);
        names
            .filter(|unit| unit.as_str().ends_with(".socket"))
            .collect()
    }
}

fn state(unit: &UnitName, report: Option<&UnitReport>) -> UnitState {
    match report {
        Some(report) => report.state.clone(),
        None => UnitState {
            load: Load::NotFound,
            ..UnitState::stopped(unit.clone())
        },
    }
}

fn service_unit(
    unit: &UnitName,
    report: Option<&UnitReport>,
    service: Option<&Service>,
) -> ServiceUnit {
    let never = Limit::default();
    let sockets = service.iter().flat_map(|service| &service.sockets);
    let words = |service: &Service| {
        let arguments = service.exec.arguments().iter();
        let program = service.exec.program().of_instance(1);
        let arguments = arguments.map(|text| text.of_instance(1));
        std::iter::once(program).chain(arguments).collect()
    };
    ServiceUnit {
        state: state(unit, report),
        file_state: "enabled".to_owned(),
        needs: Vec::new(),
        part_of: Vec::new(),
        triggered_by: sockets.map(|socket| socket.unit.clone()).collect(),
        conditions: Vec::new(),
        start_limit: never,
        kind: "notify".to_owned(),
        restart: "always".to_owned(),
        kill_mode: "mixed".to_owned(),
        start_timeout: service.map(|service| service.start_timeout),
        stop_timeout: service.map(Service::stop_timeout),
        drain: None,
        exec: service.map(words).unwrap_or_default(),
        open_files: service.map_or(0, |service| service.open_files),
        store: 0,
        process: None,
        is_standby: false,
        since: report.and_then(|report| report.since).map(micros),
        start_took: report
            .and_then(|report| report.start_ms)
            .map(Duration::from_millis),
        at_boot: false,
    }
}

fn socket_unit(
    unit: &UnitName,
    report: Option<&UnitReport>,
    own: Option<(&Service, &Socket)>,
) -> SocketUnit {
    let triggers = match own {
        Some((service, _)) if service.kind == Kind::Web => service.instances(),
        _ => Vec::new(),
    };
    SocketUnit {
        state: state(unit, report),
        file_state: "enabled".to_owned(),
        needs: Vec::new(),
        part_of: Vec::new(),
        triggers,
        addresses: own.map_or_else(Vec::new, |(_, socket)| socket.listen.addresses()),
        accept: false,
        backlog: own.map_or(0, |(_, socket)| socket.backlog),
        flush_pending: false,
        reuse_port: false,
        trigger_limit: Limit::default(),
        queue: None,
        live: 0,
        is_health: false,
        inodes: Vec::new(),
        strangers: Vec::new(),
        rivals: Vec::new(),
    }
}
