//! The same program as `stock`, on zdt.

use std::convert::Infallible;
use std::error::Error;
use std::future::IntoFuture as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::response::sse::{Event, Sse};
use axum::routing::get;
use futures_util::stream::{self, Stream};
use zdt::{Drain, Health, ListenError, Listener, Watch};
use zdt_e2e::fault::Fault;
use zdt_e2e::router::router;
use zdt_e2e::stamps::Stamps;
use zdt_e2e::startup::{Crash, start_up};

#[tokio::main]
#[expect(clippy::print_stderr, reason = "the journal is where it reports")]
async fn main() -> ExitCode {
    match run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("app: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "the journal is where it reports")]
async fn run() -> Result<ExitCode, Box<dyn Error>> {
    let Passed {
        app: listener,
        admin,
        mut health,
    } = listeners()?;
    let drain = Drain::new();
    let watch = drain.watch();
    let stamps = Stamps::here("shop")?;
    stamps.write("start")?;
    tokio::spawn({
        let (stamps, watch) = (stamps.clone(), drain.watch());
        async move {
            watch.draining().await;
            let _ = stamps.write("drain");
        }
    });
    let app = router().merge(Router::new().route(
        "/sse-until-drain",
        get(move || async move { events(watch) }),
    ));
    if wants_gate() {
        if let Err(Crash) = start_up().await {
            return Ok(ExitCode::FAILURE);
        }
        return behind_a_gate(listener, app).await;
    }
    health = health.check("warm", zdt::Check::default(), || async {
        Ok::<(), Infallible>(())
    });
    let fault = Fault::here();
    if fault == Some(Fault::Unwell) {
        health = unwell_once_ready(health);
    }
    let warming = health.clone();
    let warm_up = tokio::spawn(async move {
        // A release that cannot start must not say that it is ready.
        start_up().await?;
        warming.ready();
        if let Some(fault) = fault {
            fault.show().await;
        }
        Ok(())
    });
    let mut serving = zdt::serve(listener, app).health(health).drain(&drain);
    if let Some(admin) = admin {
        let answer = || async { "admin\n" };
        let admin_app = Router::new()
            .route("/", get(answer))
            .route("/admin", get(answer));
        serving = serving.also(admin, admin_app);
    }
    let serving = serving.into_future();
    tokio::select! {
        Ok(Err(Crash)) = warm_up => Ok(ExitCode::FAILURE),
        served = serving => {
            eprintln!("app: {}", served?);
            stamps.write("stop")?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A check that passes until it has let the process get ready.
fn unwell_once_ready(health: Health) -> Health {
    let often = zdt::Check {
        interval: Duration::from_millis(10),
        ..zdt::Check::default()
    };
    let seen = health.clone();
    let gone = AtomicBool::new(false);
    health.check("backend", often, move || {
        let is_gone = gone.fetch_or(seen.is_ready(), Ordering::Relaxed);
        async move {
            match is_gone {
                true => Err("the backend is gone"),
                false => Ok(()),
            }
        }
    })
}

#[expect(clippy::disallowed_methods, reason = "the edge: reads the environment")]
fn wants_gate() -> bool {
    std::env::var_os("GATE").is_some()
}

/// `axum::serve` kept, with a gate around it.
async fn behind_a_gate(listener: Listener, app: Router) -> Result<ExitCode, Box<dyn Error>> {
    let gate = zdt::Gate::new()?;
    let listener = gate.listener(listener.into_incoming()?);
    axum::serve(listener, app.layer(gate.layer()))
        .with_graceful_shutdown(gate.drained())
        .await?;
    Ok(ExitCode::SUCCESS)
}

struct Passed {
    app: Listener,
    /// Serves another app.
    admin: Option<Listener>,
    health: Health,
}

/// Whatever was passed, but for the one that `WITHOUT` names; the one named `health`
/// answers probes.
#[expect(clippy::disallowed_methods, reason = "the edge: reads the environment")]
fn listeners() -> Result<Passed, ListenError> {
    let mut app: Option<Listener> = None;
    let mut admin = None;
    let mut health = Health::new();
    let Ok(passed) = zdt::listeners() else {
        return Ok(Passed {
            app: zdt::listener_or("127.0.0.1:8080")?,
            admin,
            health,
        });
    };
    let without = match Fault::here() {
        Some(Fault::Mute) => "health".to_owned(),
        _ => std::env::var("WITHOUT").unwrap_or_default(),
    };
    for name in passed.names() {
        if name == without || name == "zdt-handover" {
            continue;
        }
        let listener = passed.take(&name)?;
        match name.as_str() {
            "health" => health = health.listen(listener),
            "admin" => admin = Some(listener),
            _ => {
                app = Some(match app {
                    Some(app) => app.and(listener),
                    None => listener,
                });
            }
        }
    }
    let app = match app {
        Some(app) => app,
        None => zdt::listener()?,
    };
    Ok(Passed { app, admin, health })
}

/// Events until the process drains, and then a goodbye.
fn events(watch: Watch) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(stream::unfold(Some(watch), |watch| async move {
        let watch = watch?;
        let pause = tokio::time::sleep(std::time::Duration::from_millis(100));
        tokio::select! {
            () = watch.draining() => Some((Ok(Event::default().data("goodbye")), None)),
            () = pause => Some((Ok(Event::default().data("tick")), Some(watch))),
        }
    }))
}
