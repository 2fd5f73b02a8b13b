//! Any program: our supervisor holds its socket and restarts it.

use std::path::Path;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::super::{Failed, listen};
use super::{about, answers, say, tell};
use crate::cli::VerifyArgs;
use crate::exit_code;
use crate::host::supervisor::{BindErrors, Event, Events, Held, Launch, Supervisor};
use crate::model::{Listen, Name, Ready};
use crate::probe::{Address, Target};
use crate::verify::result::{Host, PhaseKind, Subject, Verified};
use crate::verify::{Options, Restarted, Restarts, checks, judge, measure};

/// How long a program that answers may take until it says that it is ready.
const READY_AFTER_ANSWER: Duration = Duration::from_secs(3);

/// A running program.
struct Program {
    supervisor: Supervisor,
    events: JoinHandle<Vec<Event>>,
    readiness: Ready,
    target: Target,
    path: String,
    start_timeout: Duration,
}

pub(super) async fn verify(args: &VerifyArgs, options: &Options) -> Result<Verified, Failed> {
    let launch = launch(args);
    let readiness = launch.readiness;
    let held = bind(args)?;
    let (_, address) = held.addresses().next().expect("there is a socket");
    let address: Address = address
        .parse()
        .map_err(|error| Failed::unexpected(format!("failed to read `{address}`: {error}")))?;
    let target = Target::new(address);

    let (supervisor, events) = Supervisor::start(launch.clone(), held)
        .map_err(|error| Failed::unexpected(format!("failed to supervise: {error}")))?;
    let verified = async {
        let mut program =
            Program::ready(supervisor.clone(), events, &launch, target, options).await?;
        let mut progress = |progress: crate::verify::Progress<'_>| tell(options, progress);
        let target = program.target.clone();
        let measured = measure(&target, options, &mut program, &mut progress).await;
        let events = program.stop().await;
        let checks = checks(&events, readiness, measured.is_answered());
        let words = args.program.iter();
        let words = words.map(|word| word.to_string_lossy().into_owned());
        let about = about(Subject::Command(words.collect()), Host::Supervisor);
        Ok(judge(about, options, measured, checks))
    };
    let verified = tokio::select! {
        verified = verified => verified,
        () = interrupted() => Err(Failed::unexpected("interrupted")),
    };
    if verified.is_err() {
        supervisor.kill();
        supervisor.ended().await;
    }
    verified
}

fn launch(args: &VerifyArgs) -> Launch {
    let (program, arguments) = args.program.split_first().expect("there is a program");
    let stem = Path::new(program).file_stem().unwrap_or_default();
    let name = Name::parse(&stem.to_string_lossy())
        .or_else(|_| Name::parse("app"))
        .expect("`app` is a name");
    let mut launch = Launch::new(name, program);
    launch.arguments = arguments.to_vec();
    launch.stdout_to_stderr = true;
    if args.no_notify {
        launch.readiness = Ready::Started;
    }
    if let Some(limit) = args.stop_timeout {
        launch.stop_timeout = limit;
    }
    launch
}

fn bind(args: &VerifyArgs) -> Result<Held, Failed> {
    let taken = |errors: BindErrors| Failed::said(exit_code::REFUSED, errors.to_string());
    if args.listen.is_empty() {
        return Held::on_free_port().map_err(taken);
    }
    let mut sockets = listen::sockets(&args.listen, None)
        .map_err(|mistakes| Failed::said(exit_code::USAGE, mistakes.join("\nerror: ")))?;
    for socket in &mut sockets {
        // It would hide from the client `silent` what a program does to it.
        if let Listen::Tcp { defer_accept, .. } = &mut socket.listen {
            *defer_accept = false;
        }
    }
    Held::bind(&sockets).map_err(taken)
}

async fn interrupted() {
    let terminate = signal(SignalKind::terminate());
    let terminated = async {
        match terminate {
            Ok(mut terminate) => terminate.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated => {}
    }
}

impl Program {
    /// Waits until the first process serves.
    async fn ready(
        supervisor: Supervisor,
        mut events: Events,
        launch: &Launch,
        target: Target,
        options: &Options,
    ) -> Result<Self, Failed> {
        let mut seen = Vec::new();
        let answered = async {
            match answers(&target, &options.path, launch.start_timeout).await {
                true => sleep(READY_AFTER_ANSWER).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            ready = until_ready(&mut events, &mut seen) => ready?,
            () = answered => return Err(refused("it answers, but does not say `READY=1`")
                .hint("if it is a program that never does, add `--no-notify`")),
        }
        // One that says so has had its time.
        let limit = match launch.readiness {
            Ready::Notify => options.timeout,
            Ready::Started => launch.start_timeout,
        };
        until_answered(&mut events, &mut seen, &target, &options.path, limit).await?;
        say(&format!("ready on {}", target.address));
        Ok(Self {
            supervisor,
            readiness: launch.readiness,
            target,
            path: options.path.clone(),
            start_timeout: launch.start_timeout,
            events: tokio::spawn(async move {
                while let Some(event) = events.next().await {
                    seen.push(event);
                }
                seen
            }),
        })
    }

    /// Stops it, and returns all that happened to it.
    async fn stop(self) -> Vec<Event> {
        self.supervisor.stop().await;
        self.events.await.unwrap_or_default()
    }
}

async fn until_ready(events: &mut Events, seen: &mut Vec<Event>) -> Result<(), Failed> {
    while let Some(event) = events.next().await {
        match &event {
            Event::Ready { .. } => {
                seen.push(event);
                return Ok(());
            }
            Event::NotStarted { why } => return Err(refused(why)),
            Event::Killed { .. } => {
                return Err(refused(&event.to_string())
                    .hint("if it is a program that never says `READY=1`, add `--no-notify`"));
            }
            Event::Exited { exit, .. } => {
                return Err(refused(&format!("it {exit} before it was ready")));
            }
            _ => seen.push(event),
        }
    }
    Err(refused("it was stopped"))
}

async fn until_answered(
    events: &mut Events,
    seen: &mut Vec<Event>,
    target: &Target,
    path: &str,
    limit: Duration,
) -> Result<(), Failed> {
    let mut answered = std::pin::pin!(answers(target, path, limit));
    loop {
        tokio::select! {
            biased;
            answered = &mut answered => return match answered {
                true => Ok(()),
                false => Err(refused(&format!("nothing answers on `{}`", target.address)).hint(
                    "it has to serve the socket that is passed to it as descriptor 3 (`LISTEN_FDS`); \
                     a port that it binds by itself closes at each restart",
                )),
            },
            event = events.next() => match event {
                Some(Event::Exited { exit, .. }) => {
                    return Err(refused(&format!("it {exit} before it answered")));
                }
                Some(event) => seen.push(event),
                None => return Err(refused("it was stopped")),
            },
        }
    }
}

fn refused(why: &str) -> Failed {
    Failed::said(
        exit_code::REFUSED,
        format!("the program cannot be restarted: {why}"),
    )
}

impl Restarts for Program {
    async fn restart(&mut self) -> Restarted {
        let began = Instant::now();
        let report = match self.supervisor.restart().await {
            Ok(report) => report,
            Err(error) => {
                return Restarted {
                    failed: Some(error.to_string()),
                    ..Restarted::default()
                };
            }
        };
        let mut ended = report.stop + report.start;
        let mut failed = None;
        if self.readiness == Ready::Started {
            let answered = answers(&self.target, &self.path, self.start_timeout).await;
            failed = (!answered).then(|| "the new process does not answer".to_owned());
            ended = began.elapsed();
        }
        Restarted {
            phases: vec![
                (PhaseKind::Stopping, Duration::ZERO, report.stop),
                (PhaseKind::Starting, report.stop, ended),
            ],
            killed: report.killed,
            status: report.status,
            failed,
            ..Restarted::default()
        }
    }
}
