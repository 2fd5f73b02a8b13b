//! What the processes of services are, by their `zdt.toml`, and what they are given.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use nix::unistd::{User, chown};

use super::{Managed, Manager, refused};
use crate::host::Failure;
use crate::host::supervisor::launch::{Launch, Part};
use crate::host::supervisor::protocol::Refusal;
use crate::host::supervisor::sockets::Held;
use crate::host::supervisor::unit::{Ask, Definition};
use crate::model::{Model, Name, Service, UserName};

impl Manager {
    pub(in crate::host::supervisor) fn definition(&self, service: &Name, part: Part) -> Definition {
        let managed = &self.services[service];
        let mut launch = Launch::of(&managed.service, part);
        launch.runtime = Some(self.boot.place.runtime.clone());
        // Without a file no later launcher would know whose it is.
        launch.outlives = !self.boot.once && self.boot.config.is_some();
        launch.gated = launch.outlives;
        if self.boot.once {
            launch.restarts.limit = Some(0);
        }
        let is_task = matches!(part, Part::Task(_));
        if let Some(directory) = managed.service.handover_directory()
            && !is_task
        {
            let directory = self.boot.place.runtime.join(directory);
            // Where it cannot be made, processes hand over by the store alone.
            if make_directory(&directory, launch.user.as_ref()).is_ok() {
                launch.handover_directory = Some(directory);
            }
        }
        let held = match is_task {
            true => Arc::new(Held::default()),
            false => Arc::clone(&managed.held),
        };
        Definition {
            launch: Arc::new(launch),
            held,
            ports: Arc::clone(&self.ports),
        }
    }

    pub(super) fn open_sockets(&mut self, service: &Name) -> Result<(), Refusal> {
        let managed = self.managed(service)?;
        let held = managed.held.rebind_for(&managed.service);
        managed.held = Arc::new(held.map_err(|errors| refused(errors.to_string(), None))?);
        self.define(service);
        Ok(())
    }

    pub(super) fn close_sockets(&mut self, service: &Name) -> Result<(), Refusal> {
        self.managed(service)?.held = Arc::default();
        self.define(service);
        Ok(())
    }

    fn managed(&mut self, service: &Name) -> Result<&mut Managed, Refusal> {
        let unknown = || refused(format!("the launcher has no service `{service}`"), None);
        self.services.get_mut(service).ok_or_else(unknown)
    }

    /// Tells the units of a service what they start from now on.
    fn define(&mut self, service: &Name) {
        for known in self.units.values() {
            if known.service == *service {
                let definition = self.definition(service, known.part);
                known.unit.ask(Ask::Define(definition));
            }
        }
    }

    /// Takes `model` for what processes are from now on, with all its sockets open, or leaves everything as it was.
    pub(in crate::host::supervisor) fn load(
        &mut self,
        model: Model,
        text: String,
    ) -> Result<(), Failure> {
        let only = &self.boot.only;
        let wanted = |service: &&Service| only.is_empty() || only.contains(&service.name);
        let mut services = BTreeMap::new();
        let mut errors = Vec::new();
        for service in model.services.iter().filter(wanted) {
            let there = self.services.get(&service.name);
            let there = there
                .map(|managed| Arc::clone(&managed.held))
                .unwrap_or_default();
            match there.rebind_for(service) {
                Ok(held) => {
                    let managed = Managed {
                        service: service.clone(),
                        held: Arc::new(held),
                    };
                    services.insert(service.name.clone(), managed);
                }
                Err(more) => errors.push(more.to_string()),
            }
        }
        if !errors.is_empty() {
            return Err(Failure::new(errors.join("\nerror: ")).without_effect());
        }
        // What is not in the file any more goes on until it is stopped.
        for (name, managed) in std::mem::take(&mut self.services) {
            services.entry(name).or_insert(managed);
        }
        self.services = services;
        self.boot.model = model;
        self.boot.text = text;
        self.watch_memory();
        let names: Vec<Name> = self.services.keys().cloned().collect();
        for name in names {
            self.define(&name);
        }
        Ok(())
    }
}

/// For one user alone.
fn make_directory(path: &Path, user: Option<&UserName>) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if let Some(user) = user
        && let Some(account) = User::from_name(user.as_str())?
    {
        chown(path, Some(account.uid), Some(account.gid))?;
    }
    Ok(())
}
