//! Traefik: its file, and its API, which says what it took of it.

use std::net::SocketAddr;
use std::path::Path;

use tokio::time::timeout;

use super::file::{Kind, Locked, look, taken_back};
use super::{CALL_LIMIT, troubled, until};
use crate::balancer::traefik::api;
use crate::balancer::{Server, State};
use crate::host::Failure;
use crate::host::ask::{Question, get};
use crate::model::{Reach, Rotation, span};

/// Changes the server's lines. With `api` it returns when Traefik has them so; what Traefik does not take is gone again.
pub(super) async fn change(
    file: &Path,
    api: Option<SocketAddr>,
    rotation: &Rotation,
    out: bool,
) -> Result<(), Failure> {
    let server = &rotation.server;
    let locked = Locked::open(file).await?;
    let Some(api) = api else {
        locked.edit(Kind::Traefik, server, out)?;
        return Ok(());
    };
    let pool = look(file, Kind::Traefik, &server.backend)?;
    let seen = pool.server(&server.server);
    let url = seen
        .map_err(|trouble| troubled(&rotation.balancer.to_string(), &trouble))?
        .says
        .clone();
    let asked = Asked { api, rotation, url };
    // Nothing is begun that could not be ended.
    asked.state().await?;
    let edited = locked.edit(Kind::Traefik, server, out)?;
    match (asked.took(out).await, edited) {
        (Ok(State::Down), _) if !out => Err(asked.is_down()),
        (Ok(_), _) => Ok(()),
        (Err(failure), Some(edited)) => Err(taken_back(edited, failure)),
        (Err(failure), None) => Err(failure.without_effect()),
    }
}

struct Asked<'a> {
    api: SocketAddr,
    rotation: &'a Rotation,
    url: String,
}

impl Asked<'_> {
    /// Waits until Traefik has the server no longer, or has it and its check passes.
    async fn took(&self, out: bool) -> Result<State, Failure> {
        let limit = self.rotation.timeout;
        let look = async || {
            let state = self.state().await?;
            Ok(Server {
                name: self.rotation.server.server.clone(),
                state,
                says: state.to_string(),
                in_flight: None,
            })
        };
        let wanted = |seen: &Server| match out {
            true => seen.state == State::Out,
            false => seen.state == State::Up,
        };
        // Twice: its entry points change one after the other.
        let seen = until(limit, 2, look, wanted).await?;
        let (Ok(seen) | Err(seen)) = seen;
        match (seen.state == State::Out) == out {
            true => Ok(seen.state),
            false => Err(self.stays(out)),
        }
    }

    fn stays(&self, out: bool) -> Failure {
        let does = match out {
            true => "still sends requests to",
            false => "sends no requests to",
        };
        let server = &self.rotation.server;
        let limit = span(self.rotation.timeout);
        Failure::new(format!(
            "Traefik {does} `{server}` {limit} after its file was changed"
        ))
        .hint("its log says what it does not take of the file; it sees changes only with `watch: true`")
    }

    fn is_down(&self) -> Failure {
        let server = &self.rotation.server;
        let limit = span(self.rotation.timeout);
        Failure::new(format!(
            "Traefik has `{server}` again, and its check fails after {limit}"
        ))
        .hint("see why the health check of the service does not pass")
    }

    async fn state(&self) -> Result<State, Failure> {
        let backend = &self.rotation.server.backend;
        let path = api::path(backend);
        let question = Question {
            path: &path,
            headers: &[],
            wants_body: true,
        };
        let place = format!("Traefik's API at `{}`", self.api);
        let asked = timeout(CALL_LIMIT, get(&Reach::Tcp(self.api), question)).await;
        let reply = asked.unwrap_or_else(|_| Err("no answer".to_owned()));
        let reply = reply.map_err(|why| {
            Failure::new(format!("{place} cannot be asked: {why}"))
                .hint("is Traefik running, with `api` and an entry point for it there?")
                .without_effect()
        })?;
        let state = api::state(reply.status, &reply.body, backend, &self.url);
        state.map_err(|trouble| troubled(&place, &trouble))
    }
}
