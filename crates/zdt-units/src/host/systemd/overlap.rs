//! What strategies with more than one process ask of the manager.

use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::sleep;

use super::unit::{SERVICE, UNIT, text, value};
use super::{MANAGER, PATH, Systemd, unread};
use crate::event::EventKind;
use crate::host::newer::{changed, is_newer};
use crate::host::prove::{self, number};
use crate::host::{Failure, handover, kept};
use crate::model::UnitName;
use crate::observe::{Instance, UnitCopy, UnitFiles, Watched};

/// The release from which `ExecReload=` ends a reload. 257 waits and 262 does not.
const HASTY: u32 = 258;
const SOON: Duration = Duration::from_millis(50);

impl Systemd {
    /// The units beside the main one: those wanted, and further instances that are loaded.
    pub(in crate::host) async fn others(&self, watched: &Watched) -> Vec<UnitName> {
        let mut units = watched.beside.clone();
        if let Some(name) = &watched.template {
            let loaded = self.matching(&format!("{name}@*.service")).await;
            let mut further: Vec<(u32, UnitName)> = loaded
                .into_iter()
                .filter(|unit| *unit != watched.service && !units.contains(unit))
                .filter_map(|unit| Some((number(&unit)?, unit)))
                .collect();
            further.sort();
            units.extend(further.into_iter().map(|(_, unit)| unit));
        }
        units
    }

    /// Files of the unit that have changed since its run began: what it does
    /// not know, and a reload does not tell it. And whether its program has, which a reload does.
    pub(super) async fn newer(&self, unit: &UnitName) -> zbus::Result<(Vec<String>, bool)> {
        let object = self.object(unit).await?;
        let general = self.properties(object.as_str(), UNIT).await?;
        let own = self.properties(object.as_str(), SERVICE).await?;
        let Some(began) = value::<u64>(&general, "InactiveExitTimestamp") else {
            return Ok((Vec::new(), false));
        };
        let mut files = vec![text(&general, "FragmentPath")];
        files.extend(value::<Vec<String>>(&general, "DropInPaths").unwrap_or_default());
        let environment = value::<Vec<(String, bool)>>(&own, "EnvironmentFiles");
        files.extend(environment.into_iter().flatten().map(|(path, _)| path));
        let credentials = value::<Vec<(String, String)>>(&own, "LoadCredential");
        files.extend(credentials.into_iter().flatten().map(|(_, path)| path));
        files.retain(|path| changed(path).is_some_and(|changed| changed > began));
        let programs = value::<Vec<Command>>(&own, "ExecStart").unwrap_or_default();
        let mut programs = programs.iter().map(|command| Path::new(&command.0));
        Ok((files, programs.any(|program| is_newer(program, began))))
    }

    /// The files of the units that start processes, and the copies of them in `place`. Those below
    /// `/usr` are the package manager's, and those below `/run` nobody's.
    pub(super) async fn unit_files(
        &self,
        watched: &Watched,
        place: &Path,
    ) -> Result<UnitFiles, Failure> {
        let mut now = Vec::new();
        let mut are_newer = false;
        for unit in std::iter::once(&watched.service).chain(&watched.beside) {
            let paths = self.paths(unit).await;
            let (paths, began) = paths.map_err(|error| unread(unit, &error).without_effect())?;
            for path in paths {
                let is_own = !["/usr/", "/lib/", "/run/"]
                    .iter()
                    .any(|prefix| path.starts_with(prefix));
                let known = now
                    .iter()
                    .any(|copy: &UnitCopy| copy.path == Path::new(&path));
                are_newer |= began.is_some_and(|began| changed(&path).is_some_and(|at| at > began));
                now.extend(kept::copy(Path::new(&path)).filter(|_| is_own && !known));
            }
        }
        now.sort();
        Ok(UnitFiles {
            place: place.to_owned(),
            now,
            kept: kept::read(place)?,
            are_newer,
            need_reload: true,
        })
    }

    /// The files of a unit, and when its run began.
    async fn paths(&self, unit: &UnitName) -> zbus::Result<(Vec<String>, Option<u64>)> {
        let object = self.object(unit).await?;
        let general = self.properties(object.as_str(), UNIT).await?;
        let mut paths = vec![text(&general, "FragmentPath")];
        paths.extend(value::<Vec<String>>(&general, "DropInPaths").unwrap_or_default());
        let began = value::<u64>(&general, "InactiveExitTimestamp").filter(|began| *began != 0);
        let runs = !matches!(
            text(&general, "ActiveState").as_str(),
            "inactive" | "failed"
        );
        Ok((paths, began.filter(|_| runs)))
    }

    /// Waits until the main process is another one, where the manager did not:
    /// of a unit with `ExecReload=` it may take the end of that command for the
    /// end of the reload, though the process said `RELOADING=1`.
    pub(super) async fn await_handover(
        &self,
        unit: &UnitName,
        before: &Instance,
    ) -> Result<(), Failure> {
        let object = self.object(unit).await;
        let object = object.map_err(|error| unread(unit, &error))?;
        let own = self.properties(object.as_str(), SERVICE).await;
        let own = own.map_err(|error| unread(unit, &error))?;
        let waited = text(&own, "Type") == "notify-reload"
            || self.release().await.is_some_and(|release| release < HASTY);
        while !waited && prove::running(self, unit).await?.pid == before.pid {
            sleep(SOON).await;
        }
        Ok(())
    }

    pub(super) async fn close_untaken(
        &self,
        unit: &UnitName,
        tell: &mut dyn FnMut(EventKind),
    ) -> Result<(), Failure> {
        let pid = prove::running(self, unit).await?.pid;
        match handover::close_untaken(pid) {
            Ok(connections) => tell(EventKind::Untaken {
                unit: unit.to_string(),
                pid,
                connections,
            }),
            // A user whom the manager obeys need not be one who may look into its processes.
            Err(error) => tell(EventKind::Note {
                text: format!(
                    "failed to look into process {pid} for connections that it did not take: {error}"
                ),
            }),
        }
        Ok(())
    }

    pub(super) async fn restart_together(
        &self,
        units: &[UnitName],
        tell: &mut dyn FnMut(EventKind),
    ) -> Result<(), Failure> {
        let tell = RefCell::new(tell);
        let restart = async |unit: &UnitName| {
            let mut tell = |event| (tell.borrow_mut())(event);
            self.job("RestartUnit", unit, &mut tell).await
        };
        // All are waited for: what happens to the others is to be told too.
        let restarted = join_all(units.iter().map(restart)).await;
        let failed: Vec<Failure> = restarted.into_iter().filter_map(Result::err).collect();
        match failed.as_slice() {
            [] => Ok(()),
            [one] => Err(one.clone()),
            [first, ..] => {
                let reasons: Vec<&str> = failed.iter().map(|one| one.reason.as_str()).collect();
                Err(Failure {
                    reason: reasons.join("; "),
                    ..first.clone()
                })
            }
        }
    }

    /// Stops units and forgets that they failed.
    pub(super) async fn end(
        &self,
        units: &[UnitName],
        tell: &mut dyn FnMut(EventKind),
    ) -> Result<(), Failure> {
        self.stop(units, tell).await?;
        for unit in units {
            // One that did not fail, or is no longer loaded, is as it should be.
            let _ = self
                .call(PATH, MANAGER, "ResetFailedUnit", &unit.as_str())
                .await;
        }
        Ok(())
    }
}

/// A command of a unit: its program, and much that does not matter here.
type Command = (String, Vec<String>, bool, u64, u64, u64, u64, u32, i32, i32);
