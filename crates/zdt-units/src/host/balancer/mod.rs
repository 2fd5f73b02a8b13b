//! **Effects**: takes a server out of rotation at its balancer, and puts it back.

mod command;
mod file;
mod haproxy;
mod nginx;
mod run;
mod traefik;

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::Failure;
use crate::balancer::{Pool, Server, State, Trouble};
use crate::doctor::RotationSeen;
use crate::event::EventKind;
use crate::model::{Balancer, Rotation, span};
use crate::observe::{Observed, Standing, Watched};
use crate::plan::Action;

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// It was not so before.
    pub changed: bool,
    /// What the balancer says of the server now.
    pub says: Option<String>,
    /// What is still in flight there; `None`: nobody can say.
    pub in_flight: Option<u64>,
    /// What it may have cost.
    pub warning: Option<String>,
}

/// How long a balancer may take to answer.
pub(crate) const CALL_LIMIT: Duration = Duration::from_secs(10);
/// Where nothing is to be done.
const LOOK_LIMIT: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Carries out a step of a plan.
pub(super) async fn perform(
    action: &Action,
    tell: &mut dyn FnMut(EventKind),
) -> Result<(), Failure> {
    match action {
        Action::TakeOut {
            service,
            rotation,
            last,
        } => {
            let done = take_out(service.as_str(), rotation, *last).await?;
            tell(EventKind::OutOfRotation {
                server: rotation.server.to_string(),
                balancer: rotation.balancer.to_string(),
                changed: done.changed,
                says: done.says,
                in_flight: done.in_flight,
                warning: done.warning,
            });
        }
        Action::PutBack { service, rotation } => {
            let done = put_back(service.as_str(), rotation).await?;
            tell(EventKind::InRotation {
                server: rotation.server.to_string(),
                balancer: rotation.balancer.to_string(),
                changed: done.changed,
                says: done.says,
            });
        }
        _ => unreachable!("it is about no balancer"),
    }
    Ok(())
}

/// Adds to what was seen of the services how their balancers have them.
pub(super) async fn observe(watched: &Watched, observed: &mut Observed) -> Result<(), Failure> {
    observed.rotation = standing(watched).await?;
    for (watched, observed) in watched.companions.iter().zip(&mut observed.companions) {
        observed.rotation = standing(watched).await?;
    }
    Ok(())
}

async fn standing(watched: &Watched) -> Result<Option<Standing>, Failure> {
    let Some(rotation) = &watched.rotation else {
        return Ok(None);
    };
    let Some(pool) = before(rotation).await? else {
        return Ok(Some(Standing::Untold));
    };
    let standing = Standing::of(&pool, &rotation.server.server);
    let standing = standing.map_err(|trouble| troubled(&rotation.balancer.to_string(), &trouble));
    standing.map(Some)
}

/// The servers of its backend; `None` where programs are asked, which only do. Nothing is changed.
pub async fn look(rotation: &Rotation) -> Result<Option<Pool>, Failure> {
    let backend = &rotation.server.backend;
    let pool = match &rotation.balancer {
        Balancer::Haproxy { control } => haproxy::look(control, backend).await?,
        Balancer::Nginx { file, .. } => file::look(file, file::Kind::Nginx, backend)?,
        Balancer::Traefik { file, .. } => file::look(file, file::Kind::Traefik, backend)?,
        Balancer::Command { .. } => return Ok(None),
    };
    Ok(Some(pool))
}

/// How the server is there, for who only wants to know it: `None` where programs are asked.
pub async fn seen(rotation: &Rotation) -> Option<RotationSeen> {
    let looked = timeout(LOOK_LIMIT, look(rotation)).await;
    let looked = looked.unwrap_or_else(|_| {
        let balancer = &rotation.balancer;
        let limit = span(LOOK_LIMIT);
        Err(Failure::new(format!("{balancer} gives no answer for {limit}")).hint("is it stuck?"))
    });
    let server = |pool: Pool| {
        let server = pool.server(&rotation.server.server).cloned();
        server.map_err(|trouble| troubled(&rotation.balancer.to_string(), &trouble))
    };
    Some(match looked.and_then(|pool| pool.map(server).transpose()) {
        Ok(server) => {
            let server = server?;
            RotationSeen::Told {
                server: rotation.server.to_string(),
                balancer: rotation.balancer.to_string(),
                state: server.state,
                says: server.says,
            }
        }
        Err(failure) => RotationSeen::Untold {
            why: failure.reason,
            fix: failure.hint.unwrap_or_default(),
        },
    })
}

/// New requests go elsewhere, and those in flight end. `last`: also if it is the last one that is up.
pub async fn take_out(service: &str, rotation: &Rotation, last: bool) -> Result<Done, Failure> {
    let Rotation {
        balancer, server, ..
    } = rotation;
    let seen = before(rotation).await?;
    if !last
        && let Some(pool) = &seen
        && pool.is_last_up(&server.server)
    {
        return Err(last_up(rotation));
    }
    let was_out = seen.as_ref().map(|pool| is(pool, rotation, State::Out));
    let was_out = was_out.transpose()?.unwrap_or(false);
    let mut done = Done {
        changed: !was_out,
        says: None,
        in_flight: None,
        warning: None,
    };
    match balancer {
        Balancer::Haproxy { control } => {
            if !was_out {
                haproxy::set(control, server, "drain").await?;
            }
            let left = haproxy::drained(control, server, rotation.timeout).await;
            let left = left.map_err(|failure| changed(failure, done.changed))?;
            done.in_flight = left.in_flight;
            done.says = Some(left.says);
        }
        Balancer::Nginx { file, test, reload } if !was_out => {
            let nginx = nginx::Nginx { test, reload };
            let changed = nginx.change(file, rotation, true).await?;
            done.in_flight = changed.left;
            done.warning = changed.warning;
        }
        Balancer::Traefik { file, api } => {
            traefik::change(file, *api, rotation, true).await?;
        }
        Balancer::Nginx { .. } => {}
        Balancer::Command { drain, .. } => command::ask(drain, service, rotation).await?,
    }
    if done.changed {
        sleep(rotation.settle).await;
    }
    Ok(done)
}

/// New requests come to it again, and where the balancer has checks, they pass.
pub async fn put_back(service: &str, rotation: &Rotation) -> Result<Done, Failure> {
    let Rotation {
        balancer, server, ..
    } = rotation;
    let seen = before(rotation).await?;
    let was_out = seen.as_ref().map(|pool| is(pool, rotation, State::Out));
    let was_out = was_out.transpose()?.unwrap_or(true);
    let mut done = Done {
        changed: was_out,
        says: None,
        in_flight: None,
        warning: None,
    };
    match balancer {
        Balancer::Haproxy { control } => {
            if was_out {
                haproxy::set(control, server, "ready").await?;
            }
            let up = haproxy::up(control, server, rotation.timeout).await;
            done.says = Some(up.map_err(|failure| changed(failure, was_out))?.says);
        }
        Balancer::Nginx { file, test, reload } if was_out => {
            let nginx = nginx::Nginx { test, reload };
            done.warning = nginx.change(file, rotation, false).await?.warning;
        }
        Balancer::Traefik { file, api } => {
            traefik::change(file, *api, rotation, false).await?;
        }
        Balancer::Nginx { .. } => {}
        Balancer::Command { restore, .. } => command::ask(restore, service, rotation).await?,
    }
    // Its API told already.
    let is_told = matches!(balancer, Balancer::Traefik { api: Some(_), .. });
    if done.changed && !is_told {
        sleep(rotation.settle).await;
    }
    Ok(done)
}

/// How it is before anything is done. A failure has no effect.
async fn before(rotation: &Rotation) -> Result<Option<Pool>, Failure> {
    look(rotation).await.map_err(Failure::without_effect)
}

fn is(pool: &Pool, rotation: &Rotation, state: State) -> Result<bool, Failure> {
    let server = pool.server(&rotation.server.server);
    let server = server.map_err(|trouble| troubled(&rotation.balancer.to_string(), &trouble))?;
    Ok(server.state == state)
}

pub(crate) fn last_up(rotation: &Rotation) -> Failure {
    let server = &rotation.server;
    Failure::new(format!(
        "`{server}` is the last server that is up in `{}`: without it nobody would answer",
        server.backend
    ))
    .hint("put another one back first, or take the outage with `--last`")
    .without_effect()
}

fn changed(failure: Failure, changed: bool) -> Failure {
    match changed {
        true => failure,
        false => failure.without_effect(),
    }
}

fn troubled(place: &str, trouble: &Trouble) -> Failure {
    Failure::new(format!("{place}: {trouble}"))
        .hint(&*trouble.hint)
        .without_effect()
}

/// Looks until `wanted` says that it is so, `times` in a row, or the time is over: then what was seen last.
async fn until(
    limit: Duration,
    times: u32,
    look: impl AsyncFn() -> Result<Server, Failure>,
    wanted: impl Fn(&Server) -> bool,
) -> Result<Result<Server, Server>, Failure> {
    let end = Instant::now() + limit;
    let mut row = 0;
    loop {
        let server = look().await?;
        row = match wanted(&server) {
            true => row + 1,
            false => 0,
        };
        if row >= times {
            return Ok(Ok(server));
        }
        if Instant::now() >= end {
            return Ok(Err(server));
        }
        sleep(LOOK.min(end - Instant::now())).await;
    }
}

fn not_up(server: &Server, limit: Duration) -> Failure {
    Failure::new(format!(
        "the balancer does not send requests to `{}` again: it says `{}` after {}",
        server.name,
        server.says,
        span(limit)
    ))
    .hint("see why its check fails, or who keeps it out: `zdt-units balancer show`")
}
