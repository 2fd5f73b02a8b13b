//! The launcher becomes another program, or a newer one: sockets, processes and all that is known of them stay.
//!
//! The same process goes on (`execve(2)`), so its children stay its children. Descriptors stay open; what they are is
//! in a file that the new program reads.

#![expect(
    clippy::disallowed_methods,
    reason = "it starts another program, and hands its environment on"
)]

use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, RawFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use nix::sys::signal::{SigSet, Signal};
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::control::{Access, Answers, Control};
use super::descriptors;
use super::launch::Part;
use super::manager::{Boot, Manager};
use super::protocol::{Answer, MemoryReport, Refusal};
use super::unit::{Ask, Frozen, Parked, Unit};
use crate::host::launcher::place::Place;
use crate::host::{Failure, state};
use crate::model::{Address, Model, Name, UnitName};

/// The version of the file; a program that does not know it says so before anything happens.
const VERSION: u32 = 1;

/// How long the new program may take to say that it can read the file.
const CHECK_LIMIT: Duration = Duration::from_secs(10);

/// How long output that waits to be written may take.
const FLUSH_LIMIT: Duration = Duration::from_millis(200);

/// Asked for on the control socket.
#[derive(Debug)]
pub struct Upgrade {
    pub(super) program: Option<PathBuf>,
    pub(super) answers: Answers,
}

/// Everything that the new program has to know.
#[derive(Debug, Serialize, Deserialize)]
pub struct State {
    v: u32,
    since: SystemTime,
    upgrades: u32,
    place: Place,
    config: Option<PathBuf>,
    text: String,
    only: Vec<Name>,
    once: bool,
    control: RawFd,
    sockets: Vec<Socket>,
    units: Vec<Frozen>,
    memory: Vec<(UnitName, MemoryReport)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Socket {
    service: Name,
    unit: UnitName,
    address: String,
    fd: RawFd,
}

impl State {
    /// Reads what another program left in `file`, which is to be removed once it is taken up.
    pub fn read(file: &Path) -> Result<Self, Failure> {
        let state: Option<Self> = state::read(file)?;
        let state =
            state.ok_or_else(|| Failure::new(format!("there is no `{}`", file.display())))?;
        if state.v != VERSION {
            return Err(Failure::new(format!(
                "`{}` is of version {}, and this program knows {VERSION}",
                file.display(),
                state.v
            )));
        }
        state.model()?;
        Ok(state)
    }

    fn model(&self) -> Result<Model, Failure> {
        let file = self.config.as_deref().unwrap_or(Path::new("zdt.toml"));
        Model::read(&file.display().to_string(), &self.text).map_err(|mistakes| {
            let text = mistakes.render(crate::config::Colour::Never);
            Failure::new("this program finds mistakes in the `zdt.toml` that is loaded")
                .output(text.lines().map(str::to_owned).collect())
        })
    }
}

impl Manager {
    /// Becomes another program. Returns only if it does not, with everything as it was; whoever asked is told why.
    pub async fn upgrade(&mut self, upgrade: Upgrade) -> String {
        let Upgrade { program, answers } = upgrade;
        let file = self.boot.place.runtime.join("upgrade.json");
        let why = match self.become_other(program, &file).await {
            Ok(never) => match never {},
            Err(failure) => failure,
        };
        let _ = fs::remove_file(&file);
        let said = format!("zdt-units: not upgraded: {why}");
        answers.send(Answer::Failed(Refusal::from(why.without_effect())));
        said
    }

    async fn become_other(
        &mut self,
        program: Option<PathBuf>,
        file: &Path,
    ) -> Result<std::convert::Infallible, Failure> {
        let program = match program {
            Some(program) => program,
            None => own_program()?,
        };
        let units: Vec<Unit> = self
            .units
            .values()
            .map(|known| known.unit.clone())
            .collect();
        if let Some(busy) = units.iter().find(|unit| !unit.view.borrow().settled) {
            let busy = busy.view.borrow().state.unit.clone();
            return Err(Failure::new(format!("`{busy}` is starting or stopping"))
                .hint("ask again when that is done"));
        }
        let left_over = |name: &&Name| self.boot.model.service(name.as_str()).is_none();
        if let Some(name) = self.services.keys().find(left_over) {
            return Err(
                Failure::new(format!("`{name}` runs and is not in `zdt.toml` any more"))
                    .hint(format!("stop it with `zdt-units unit stop {name}.service`")),
            );
        }
        let mut state = self.describe(&units).await?;
        state::replace(file, &state)?;
        check(&program, file).await?;

        let parked = park(&units).await?;
        let frozen: io::Result<Vec<Frozen>> = parked.iter().map(|unit| unit.freeze()).collect();
        let result = frozen.and_then(|frozen| {
            state.units = frozen;
            self.leave_descriptors(&mut state)?;
            Ok(())
        });
        let result = result
            .map_err(|error| Failure::new(format!("failed to hand descriptors on: {error}")))
            .and_then(|()| state::replace(file, &state))
            .and_then(|()| {
                self.sink.flush(FLUSH_LIMIT);
                execute(&program, file)
            });
        // It did not work out.
        self.keep_descriptors();
        for unit in parked {
            unit.go_on();
        }
        result
    }

    /// As it is, with descriptors that mean nothing yet.
    async fn describe(&self, units: &[Unit]) -> Result<State, Failure> {
        let mut described = Vec::new();
        for unit in units {
            let (answer, answered) = oneshot::channel();
            unit.ask(Ask::Describe(answer));
            let gone = |_| Failure::new("a unit has ended meanwhile");
            described.push(answered.await.map_err(gone)?);
        }
        Ok(State {
            v: VERSION,
            since: self.since,
            upgrades: self.upgrades + 1,
            place: self.boot.place.clone(),
            config: self.boot.config.clone(),
            text: self.boot.text.clone(),
            only: self.boot.only.clone(),
            once: self.boot.once,
            control: -1,
            sockets: Vec::new(),
            units: described,
            memory: self.memory(),
        })
    }

    fn leave_descriptors(&self, state: &mut State) -> io::Result<()> {
        state.control = descriptors::leave(self.control.fd())?;
        for (service, managed) in &self.services {
            for held in managed.held.sockets() {
                state.sockets.push(Socket {
                    service: service.clone(),
                    unit: held.unit.clone(),
                    address: held.address.to_string(),
                    fd: descriptors::leave(held.fd.as_fd())?,
                });
            }
        }
        Ok(())
    }

    fn keep_descriptors(&self) {
        let _ = descriptors::inherit(self.control.fd(), false);
        for managed in self.services.values() {
            for held in managed.held.sockets() {
                let _ = descriptors::inherit(held.fd.as_fd(), false);
            }
        }
    }

    /// Goes on where another program stopped. Needs a tokio runtime.
    pub fn resume(state: State) -> Result<Self, Failure> {
        let model = state.model()?;
        let access = Access::of(&model.launcher);
        let taken = |error: io::Error| Failure::new(format!("a descriptor is gone: {error}"));
        let fd = descriptors::take(state.control).map_err(taken)?;
        let control = Control::resume(fd, &state.place.control, &access)?;
        let boot = Boot {
            place: state.place,
            config: state.config,
            text: state.text.clone(),
            model: model.clone(),
            only: state.only,
            once: state.once,
        };
        let mut manager = Self::new(boot, control)?;
        manager.since = state.since;
        manager.upgrades = state.upgrades;
        for socket in state.sockets {
            let fd = descriptors::take(socket.fd).map_err(taken)?;
            manager.hold(&socket.service, &socket.unit, &socket.address, fd)?;
        }
        manager.load(model, state.text)?;
        for frozen in state.units {
            manager.thaw(frozen)?;
        }
        manager.remember(state.memory);
        manager.keep();
        Ok(manager)
    }

    fn thaw(&mut self, frozen: Frozen) -> Result<(), Failure> {
        let name = frozen.unit.clone();
        let failed = |why: &dyn std::fmt::Display| {
            Failure::new(format!("`{name}` could not be taken up: {why}"))
        };
        let service = frozen.service.clone();
        let part = self.services.get(&service);
        let part = part.and_then(|managed| Part::find(&managed.service, &name));
        let part = part.ok_or_else(|| failed(&"it is not in `zdt.toml`"))?;
        let definition = self.definition(&service, part);
        let output = self.output(&name);
        let unit = Unit::thaw(frozen, definition, output, self.tell.clone());
        let unit = unit.map_err(|error| failed(&error))?;
        self.know(name, unit, service, part);
        Ok(())
    }

    fn hold(
        &mut self,
        service: &Name,
        unit: &UnitName,
        address: &str,
        fd: std::os::fd::OwnedFd,
    ) -> Result<(), Failure> {
        let unknown = || Failure::new(format!("socket `{unit}` of `{service}` is not known"));
        let found = self
            .boot
            .model
            .service(service.as_str())
            .ok_or_else(unknown)?
            .clone();
        let mut sockets = found.sockets.iter();
        let socket = sockets
            .find(|socket| socket.unit == *unit)
            .ok_or_else(unknown)?;
        let address = Address::parse(address).map_err(|_| unknown())?;
        let held = self.held_mut(&found);
        held.adopt(socket, address, fd)
            .map_err(|error| Failure::new(format!("socket `{unit}` is of no use: {error}")))
    }
}

/// The file of this program, also where another one has taken its place.
fn own_program() -> Result<PathBuf, Failure> {
    let found = fs::read_link("/proc/self/exe");
    let found =
        found.map_err(|error| Failure::new(format!("failed to find this program: {error}")))?;
    let name = found.as_os_str().as_bytes();
    let name = name.strip_suffix(b" (deleted)").unwrap_or(name);
    Ok(PathBuf::from(OsStr::from_bytes(name)))
}

/// Lets the new program read the file, and say whether it can go on from there.
async fn check(program: &Path, file: &Path) -> Result<(), Failure> {
    let shown = program.display();
    let mut command = Command::new(program);
    command
        .args(["resume", "--check"])
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let child = command.spawn();
    let child = child.map_err(|error| Failure::new(format!("failed to run `{shown}`: {error}")))?;
    // Whoever collects ended children leaves this one alone.
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    let _claim = id.map(|id| super::reap::Claim::new(nix::unistd::Pid::from_raw(id)));
    let output = timeout(CHECK_LIMIT, child.wait_with_output()).await;
    let output = output
        .map_err(|_| {
            Failure::new(format!(
                "`{shown}` did not say within 10 s that it can go on"
            ))
        })?
        .map_err(|error| Failure::new(format!("failed to hear `{shown}`: {error}")))?;
    match output.status.success() && output.stdout == READY.as_bytes() {
        true => Ok(()),
        false => {
            let words = String::from_utf8_lossy(&output.stderr);
            let words = words.lines().take(20).map(str::to_owned).collect();
            let reason = format!("`{shown}` cannot go on with what this launcher holds");
            Err(Failure::new(reason).output(words))
        }
    }
}

/// What a program says that can go on.
pub const READY: &str = "ready\n";

async fn park(units: &[Unit]) -> Result<Vec<Box<Parked>>, Failure> {
    let mut parked: Vec<Box<Parked>> = Vec::new();
    for unit in units {
        let (answer, answered) = oneshot::channel();
        unit.ask(Ask::Park(answer));
        match answered.await {
            Ok(unit) => parked.push(unit),
            Err(_) => {
                for unit in parked {
                    unit.go_on();
                }
                let name = unit.view.borrow().state.unit.clone();
                return Err(Failure::new(format!("`{name}` began something meanwhile"))
                    .hint("ask again when that is done"));
            }
        }
    }
    Ok(parked)
}

/// Signals that this program heeds: they wait until the next one does.
pub fn heeded() -> SigSet {
    let all = [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGHUP,
        Signal::SIGUSR2,
        Signal::SIGCHLD,
    ];
    all.into_iter().collect()
}

/// Returns only if it fails.
fn execute(program: &Path, file: &Path) -> Result<std::convert::Infallible, Failure> {
    let text = |bytes: Vec<u8>| {
        CString::new(bytes).map_err(|_| Failure::new("a path has a zero byte in it"))
    };
    let path = text(program.as_os_str().as_bytes().to_vec())?;
    let words = [
        path.clone(),
        c"resume".to_owned(),
        text(file.as_os_str().as_bytes().to_vec())?,
    ];
    let variables = std::env::vars_os().map(|(name, value)| {
        let mut bytes = name.into_vec();
        bytes.push(b'=');
        bytes.extend(value.into_vec());
        text(bytes)
    });
    let variables = variables.collect::<Result<Vec<CString>, Failure>>()?;
    let _ = heeded().thread_block();
    let failed = nix::unistd::execve(&path, &words, &variables);
    let _ = heeded().thread_unblock();
    match failed {
        Ok(never) => Ok(never),
        Err(error) => Err(Failure::new(format!(
            "failed to run `{}`: {error}",
            program.display()
        ))),
    }
}
