//! Processes that outlive their launcher: what is written down of them, and how the next one takes them up.

use std::path::PathBuf;

use nix::sys::signal::Signal;

use super::{Known, Manager};
use crate::host::supervisor::control::Answers;
use crate::host::supervisor::kept::{Found, Identity, Kept, KeptProcess};
use crate::host::supervisor::launch::Part;
use crate::host::supervisor::process::Process;
use crate::host::supervisor::protocol::{Answer, Orphan};
use crate::host::supervisor::unit::Unit;
use crate::model::UnitName;

impl Manager {
    /// Processes of a launcher that was killed.
    pub(super) fn find_orphans(&self) -> Vec<KeptProcess> {
        match Kept::read(&self.state_file()) {
            Found::Nothing => Vec::new(),
            Found::Kept(kept) => kept.orphans().into_iter().cloned().collect(),
            Found::Useless(why) => {
                self.say(&format!("zdt-units: {why}"));
                Vec::new()
            }
        }
    }

    /// The sockets that they serve on, whose clients stay where they are.
    pub(super) fn take_listeners(&mut self, orphans: &[KeptProcess]) {
        for service in self.boot.model.services.clone() {
            let own = || {
                orphans
                    .iter()
                    .filter(|orphan| orphan.service == service.name)
            };
            for socket in &service.sockets {
                for address in socket.listen.addresses() {
                    let mut taken = own().map(|orphan| orphan.identity.take_listener(&address));
                    // Whoever does not get it is told when it is bound.
                    if let Some(fd) = taken.find_map(Result::ok) {
                        let _ = self.held_mut(&service).adopt(socket, address, fd);
                    }
                }
            }
        }
    }

    pub(super) fn adopt(&mut self, orphan: &KeptProcess) -> Result<(), String> {
        let Some((service, part)) = self.part(&orphan.unit) else {
            return Err("it is not in `zdt.toml` any more".to_owned());
        };
        let service = service.name.clone();
        let definition = self.definition(&service, part);
        let output = self.output(&orphan.unit);
        let unit = Unit::adopt(orphan, definition, output, self.tell.clone())
            .map_err(|error| error.to_string())?;
        let pid = orphan.identity.pid;
        self.say(&format!(
            "{}: process {pid} was left by a launcher that was killed, and is taken up again",
            orphan.service
        ));
        self.know(orphan.unit.clone(), unit, service, part);
        Ok(())
    }

    pub(super) fn state_file(&self) -> PathBuf {
        self.boot.place.state.join("launcher.json")
    }

    /// Writes down which processes there are, where that is not what is written.
    pub(in crate::host::supervisor) fn keep(&mut self) {
        let units = self.units.iter();
        let processes: Vec<KeptProcess> = units
            .filter_map(|(unit, known)| kept(unit, known))
            .collect();
        let left = self.orphans.iter().map(|(orphan, _)| orphan.clone());
        let processes = processes.into_iter().chain(left).collect();
        if self.kept.processes == processes {
            return;
        }
        self.kept.processes = processes;
        if let Err(failure) = self.kept.write(&self.state_file()) {
            self.say(&format!("zdt-units: {failure}"));
        }
    }

    pub(super) fn report_orphans(&self, answers: &Answers) {
        for (orphan, why) in &self.orphans {
            if orphan.identity.is_alive() {
                answers.send(Answer::Orphan(Orphan {
                    unit: orphan.unit.clone(),
                    pid: orphan.identity.pid,
                    start_time: orphan.identity.start_time,
                    why: why.clone(),
                }));
            }
        }
        answers.send(Answer::Done);
    }

    /// `SIGTERM` to each, which drains it.
    pub(super) fn stop_orphans(&mut self, answers: &Answers) {
        for (orphan, _) in std::mem::take(&mut self.orphans) {
            if let Ok(mut process) = Process::resume(orphan.mark) {
                process.signal(Signal::SIGTERM);
                // It ends by itself.
                process.outlives = true;
            }
        }
        self.keep();
        answers.send(Answer::Done);
    }
}

/// What a launcher to come has to know of it.
fn kept(unit: &UnitName, known: &Known) -> Option<KeptProcess> {
    let view = known.unit.view.borrow();
    let mark = view.process.clone()?;
    if matches!(known.part, Part::Task(_)) {
        return None;
    }
    Some(KeptProcess {
        unit: unit.clone(),
        service: known.service.clone(),
        identity: Identity {
            pid: mark.pid.unsigned_abs(),
            start_time: mark.start_time,
        },
        group: mark.group,
        generation: view.generation,
        invocation: mark.invocation.clone(),
        began: view.since.unwrap_or(std::time::SystemTime::UNIX_EPOCH),
        port: view.port,
        notify: Some(view.notify.clone()),
        output: known.unit.output.marks(),
        mark,
    })
}
