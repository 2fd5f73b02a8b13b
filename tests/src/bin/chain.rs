//! Two programs of a chain: `chain api` asks a database over a Unix socket, and `chain web` asks
//! `chain api` over HTTP. With `plain` behind that they are as they would be without zdt.

use std::error::Error;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::routing::get;
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use tokio_postgres::NoTls;
use zdt::{Check, Health};

const API: &str = "127.0.0.1:8081";
const WEB: &str = "127.0.0.1:8080";
const DATABASE: &str = "host=/run/postgresql port=5499 user=postgres";

/// How long a question is asked again while the database restarts, and how often.
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(20);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let database = Arc::new(Database::default());
    let (app, address) = match arguments.first() {
        Some(&"api") => (api(Arc::clone(&database)), API),
        Some(&"web") => (web(), WEB),
        _ => return Err("one of `api` and `web`".into()),
    };
    match arguments.get(1) {
        Some(&"plain") => plain(address, app).await,
        _ => {
            let mut health = Health::new();
            if address == API {
                health = health.check("database", Check::default(), move || {
                    let database = Arc::clone(&database);
                    async move { database.ask().await.map(drop) }
                });
            }
            on_zdt(app, health).await
        }
    }
}

async fn on_zdt(app: Router, health: Health) -> Result<(), Box<dyn Error>> {
    let passed = zdt::listeners()?;
    let health = health.listen(passed.take("health")?);
    health.ready();
    zdt::serve(passed.take("http")?, app).health(health).await?;
    Ok(())
}

async fn plain(address: &str, app: Router) -> Result<(), Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let told = async move { _ = terminate.recv().await };
    let listener = TcpListener::bind(address).await?;
    axum::serve(listener, app)
        .with_graceful_shutdown(told)
        .await?;
    Ok(())
}

fn api(database: Arc<Database>) -> Router {
    let answer = || async move {
        let said = database
            .ask_patiently()
            .await
            .map_err(|error| unavailable(&error))?;
        Ok::<_, Failed>(format!("{said} api {}", std::process::id()))
    };
    Router::new().route("/", get(answer))
}

fn web() -> Router {
    let client: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new()).build_http();
    let answer = || async move {
        let uri = format!("http://{API}/")
            .parse()
            .map_err(|error| unavailable(&error))?;
        let answer = client.get(uri).await.map_err(|error| unavailable(&error))?;
        let status = answer.status();
        let body = answer
            .into_body()
            .collect()
            .await
            .map_err(|error| unavailable(&error))?;
        let said = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        match status.is_success() {
            true => Ok(format!("{said} web {}\n", std::process::id())),
            false => Err(unavailable(&said)),
        }
    };
    Router::new().route("/", get(answer))
}

type Failed = (StatusCode, String);

fn unavailable(error: &dyn Display) -> Failed {
    (StatusCode::BAD_GATEWAY, error.to_string())
}

/// One connection, made again when it is gone.
#[derive(Default)]
struct Database(Mutex<Option<Arc<tokio_postgres::Client>>>);

impl Database {
    /// As often as it takes: the question changes nothing.
    async fn ask_patiently(&self) -> Result<String, tokio_postgres::Error> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.ask().await {
                Err(_) if Instant::now() < end => sleep(PAUSE).await,
                asked => return asked,
            }
        }
    }

    /// Since when the database runs.
    async fn ask(&self) -> Result<String, tokio_postgres::Error> {
        let question = "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000)::bigint";
        let row = self.client().await?.query_one(question, &[]).await?;
        let since: i64 = row.try_get(0)?;
        Ok(format!("db {since}"))
    }

    async fn client(&self) -> Result<Arc<tokio_postgres::Client>, tokio_postgres::Error> {
        let mut kept = self.0.lock().await;
        if let Some(client) = kept.as_ref().filter(|client| !client.is_closed()) {
            return Ok(Arc::clone(client));
        }
        let (client, connection) = tokio_postgres::connect(DATABASE, NoTls).await?;
        tokio::spawn(connection);
        let client = Arc::new(client);
        *kept = Some(Arc::clone(&client));
        Ok(client)
    }
}
