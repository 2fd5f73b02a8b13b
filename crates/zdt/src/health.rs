//! Says whether the process lives and whether it is ready: `/livez`, `/readyz`
//! and, for those who check that name, `/healthz`.
//!
//! Answers are made from a snapshot; checks run beside, so that a probe never
//! waits for a database. Must not know of connections or of the drain: it is
//! told.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderValue, Method, Response, StatusCode, header};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::instance::instance;
use crate::listen::Listener;

/// The state of a process, in the order of its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Warms up: alive, not ready.
    Starting,
    /// Serves.
    Ready,
    /// Finishes what it has and stops.
    Draining,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
        })
    }
}

/// How often a readiness check runs, and how long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// Time between two runs.
    pub interval: Duration,
    /// A run that takes longer has failed.
    pub timeout: Duration,
}

/// Every 5 s, for at most 2 s.
impl Default for Check {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
        }
    }
}

type Run = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

#[derive(Clone)]
struct Named {
    check: Check,
    run: Run,
}

/// The last answer of each named check; `None` before its first run.
#[derive(Clone, Debug)]
struct Snapshot {
    state: State,
    checks: Vec<(String, Option<Result<(), String>>)>,
}

impl Snapshot {
    fn is_ready(&self) -> bool {
        self.state == State::Ready
            && self
                .checks
                .iter()
                .all(|(_, last)| matches!(last, Some(Ok(()))))
    }
}

/// Liveness and readiness of a process.
///
/// Starts in [`State::Starting`]. It is ready once [`ready`](Self::ready) was
/// called and every named check passes; [`serve`](crate::serve) accepts the
/// first connection only then and tells the service manager `READY=1`.
///
/// | path | 200 | 503 |
/// | --- | --- | --- |
/// | `/livez` | always | never |
/// | `/readyz`, `/healthz` | ready | starting, a check fails, draining |
///
/// `?verbose` adds the checks to the JSON body. Every answer has the header
/// `x-zdt-instance`, see [`Instance`](crate::Instance).
///
/// With one backend behind a balancer, do not let the balancer check `/readyz`:
/// while the process drains the kernel queues connections, and the check would
/// turn that into errors.
///
/// # Example
///
/// ```
/// use zdt::{Check, Health};
///
/// let health = Health::new().check("cache", Check::default(), || async { Ok::<(), String>(()) });
/// health.ready();
/// ```
#[derive(Clone)]
pub struct Health {
    snapshot: Arc<watch::Sender<Snapshot>>,
    checks: Vec<Named>,
    ready_while_draining: bool,
    listener: Arc<Mutex<Option<Listener>>>,
}

impl Health {
    /// A process that is starting.
    #[must_use]
    pub fn new() -> Self {
        Self {
            snapshot: Arc::new(watch::Sender::new(Snapshot {
                state: State::Starting,
                checks: Vec::new(),
            })),
            checks: Vec::new(),
            ready_while_draining: false,
            listener: Arc::default(),
        }
    }

    /// Adds a readiness check. It runs while the process is served.
    #[must_use]
    pub fn check<F, Fut, E>(mut self, name: impl Into<String>, check: Check, run: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        let name = name.into();
        self.snapshot
            .send_modify(|snapshot| snapshot.checks.push((name, None)));
        self.checks.push(Named {
            check,
            run: Arc::new(move || {
                let run = run();
                Box::pin(async move { run.await.map_err(|error| error.to_string()) })
            }),
        });
        self
    }

    /// Keeps `/readyz` at 200 while the process drains.
    ///
    /// For balancers that check it although there is no other backend to turn
    /// to: the socket stays open, so nothing is gained by looking away.
    #[must_use]
    pub fn ready_while_draining(mut self) -> Self {
        self.ready_while_draining = true;
        self
    }

    /// Answers on a listener of its own, from the first moment of start-up to
    /// the last of the drain.
    #[must_use]
    pub fn listen(self, listener: impl Into<Listener>) -> Self {
        *self.lock_listener() = Some(listener.into());
        self
    }

    /// Says that the app has warmed up.
    pub fn ready(&self) {
        self.move_to(State::Ready);
    }

    /// The state of the process.
    #[must_use]
    pub fn state(&self) -> State {
        self.snapshot.borrow().state
    }

    /// Whether `/readyz` answers 200 now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let snapshot = self.snapshot.borrow();
        snapshot.is_ready() || (self.ready_while_draining && snapshot.state == State::Draining)
    }

    /// Waits until the process is ready, for the first time or again.
    pub async fn until_ready(&self) {
        let mut changes = self.snapshot.subscribe();
        // The sender is in `self`, so the wait cannot fail.
        let _ = changes.wait_for(Snapshot::is_ready).await;
    }

    pub(crate) fn draining(&self) {
        self.move_to(State::Draining);
    }

    pub(crate) fn take_listener(&self) -> Option<Listener> {
        self.lock_listener().take()
    }

    fn lock_listener(&self) -> MutexGuard<'_, Option<Listener>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// States never go back.
    fn move_to(&self, state: State) {
        self.snapshot.send_if_modified(|snapshot| {
            let forward = (snapshot.state as u8) < (state as u8);
            if forward {
                snapshot.state = state;
            }
            forward
        });
    }

    /// Runs the named checks until it is dropped.
    pub(crate) async fn run_checks(self) {
        let mut running = tokio::task::JoinSet::new();
        for (index, named) in self.checks.iter().cloned().enumerate() {
            let snapshot = self.snapshot.clone();
            running.spawn(async move {
                let mut ticks = interval(named.check.interval);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    ticks.tick().await;
                    let result = match timeout(named.check.timeout, (named.run)()).await {
                        Ok(result) => result,
                        Err(_) => Err(format!("no answer within {:?}", named.check.timeout)),
                    };
                    snapshot.send_if_modified(|snapshot| {
                        let last = &mut snapshot.checks[index].1;
                        let changed = last.as_ref() != Some(&result);
                        *last = Some(result);
                        changed
                    });
                }
            });
        }
        while running.join_next().await.is_some() {}
    }

    /// The answer to a request, or `None` when the path is not one of ours.
    pub(crate) fn answer(&self, method: &Method, uri: &http::Uri) -> Option<Response<String>> {
        let snapshot = self.snapshot.borrow().clone();
        let ok = match uri.path() {
            "/livez" => true,
            "/readyz" | "/healthz" => self.is_ready(),
            _ => return None,
        };
        let verbose = uri.query().is_some_and(|query| {
            query
                .split('&')
                .any(|part| part.split('=').next() == Some("verbose"))
        });
        let mut response = Response::new(match *method {
            Method::GET => snapshot.body(ok, verbose),
            _ => String::new(),
        });
        *response.status_mut() = match (method, ok) {
            (&Method::GET | &Method::HEAD, true) => StatusCode::OK,
            (&Method::GET | &Method::HEAD, false) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::METHOD_NOT_ALLOWED,
        };
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(instance) = HeaderValue::from_str(&instance().to_string()) {
            headers.insert("x-zdt-instance", instance);
        }
        Some(response)
    }
}

impl Snapshot {
    fn body(&self, ok: bool, verbose: bool) -> String {
        let instance = instance();
        let mut body = serde_json::json!({
            "status": if ok { "ok" } else { "unavailable" },
            "state": self.state.to_string(),
            "instance": {
                "pid": instance.pid,
                "invocation": instance.invocation,
                "release": instance.release,
                "generation": instance.generation,
            },
        });
        if verbose {
            body["checks"] = self
                .checks
                .iter()
                .map(|(name, last)| {
                    let (status, message) = match last {
                        None => ("pending", None),
                        Some(Ok(())) => ("ok", None),
                        Some(Err(message)) => ("failed", Some(message)),
                    };
                    serde_json::json!({ "name": name, "status": status, "message": message })
                })
                .collect();
        }
        format!("{body}\n")
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health")
            .field("snapshot", &*self.snapshot.borrow())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn status(health: &Health, path: &str) -> u16 {
        let uri = path.parse().unwrap();
        health
            .answer(&Method::GET, &uri)
            .map_or(404, |response| response.status().as_u16())
    }

    #[test]
    fn readiness_follows_the_life_of_the_process_and_liveness_stays() {
        let health = Health::new();
        let seen = |health: &Health| {
            ["/livez", "/readyz", "/healthz", "/"].map(|path| status(health, path))
        };
        assert_eq!(seen(&health), [200, 503, 503, 404]);
        health.ready();
        assert_eq!(seen(&health), [200, 200, 200, 404]);
        health.draining();
        assert_eq!(seen(&health), [200, 503, 503, 404]);
        health.ready();
        assert_eq!(seen(&health), [200, 503, 503, 404]);
    }

    #[test]
    fn readiness_can_stay_while_draining() {
        let health = Health::new().ready_while_draining();
        health.ready();
        health.draining();
        assert_eq!(status(&health, "/readyz"), 200);
        assert_eq!(health.state(), State::Draining);
    }

    #[test]
    fn other_methods_are_refused_and_head_has_no_body() {
        let health = Health::new();
        let answer = |method| health.answer(&method, &"/livez".parse().unwrap()).unwrap();
        assert_eq!(answer(Method::POST).status(), 405);
        assert_eq!(answer(Method::HEAD).body(), "");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_check_turns_readiness_off_and_on_again() {
        let works = Arc::new(AtomicBool::new(false));
        let seen = works.clone();
        let health = Health::new().check("db", Check::default(), move || {
            let works = seen.load(Ordering::Relaxed);
            async move { works.then_some(()).ok_or("connection refused") }
        });
        health.ready();
        let checks = tokio::spawn(health.clone().run_checks());
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(status(&health, "/readyz"), 503);
        let verbose = health
            .answer(&Method::GET, &"/readyz?verbose".parse().unwrap())
            .unwrap();
        let body: serde_json::Value = serde_json::from_str(verbose.body()).unwrap();
        assert_eq!(
            body["checks"],
            serde_json::json!([
                { "name": "db", "status": "failed", "message": "connection refused" }
            ])
        );
        works.store(true, Ordering::Relaxed);
        health.until_ready().await;
        assert_eq!(status(&health, "/readyz"), 200);
        checks.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_hangs_has_failed() {
        let health = Health::new().check("slow", Check::default(), || async {
            std::future::pending::<()>().await;
            Ok::<(), String>(())
        });
        let checks = tokio::spawn(health.clone().run_checks());
        tokio::time::sleep(Duration::from_secs(3)).await;
        let snapshot = health.snapshot.borrow().checks.clone();
        assert_eq!(
            snapshot,
            [(
                "slow".to_owned(),
                Some(Err("no answer within 2s".to_owned()))
            )]
        );
        checks.abort();
    }
}
