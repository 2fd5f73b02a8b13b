//! A guest book on SQLite, which one process at a time may have.
//!
//! Run with `cargo run -p guestbook`, sign with `curl -d hello http://127.0.0.1:8080`, and read
//! without the `-d hello`.

use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::get};
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::sync::Mutex;
use tokio::task::block_in_place;

/// What brings the tables up to date, one step for each `user_version`.
const MIGRATIONS: &[&str] = &["CREATE TABLE entry (id INTEGER PRIMARY KEY, text TEXT NOT NULL)"];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // systemd sets it for `sandbox = { state = "guestbook" }`.
    let directory =
        std::env::var_os("STATE_DIRECTORY").map_or_else(std::env::temp_dir, PathBuf::from);
    let book = Book::open(&directory)?;
    // READY=1 is sent in here, so the database is open and migrated by then.
    let served = zdt::serve(zdt::listener_or("127.0.0.1:8080")?, app(book)).await?;
    eprintln!("guestbook: {served}");
    Ok(())
}

fn app(book: Book) -> Router {
    let book = Arc::new(Mutex::new(book));
    Router::new()
        .route("/", get(read).post(sign))
        .with_state(book)
}

async fn sign(State(book): State<Arc<Mutex<Book>>>, text: String) -> Result<Response, Failed> {
    // Requests wait for their turn here, not for a lock inside of SQLite.
    let Book { database, .. } = &*book.lock().await;
    block_in_place(|| database.execute("INSERT INTO entry (text) VALUES (?1)", [text]))?;
    // The entry is on the disk: it may be acknowledged.
    Ok((StatusCode::CREATED, "thank you\n").into_response())
}

async fn read(State(book): State<Arc<Mutex<Book>>>) -> Result<String, Failed> {
    let Book { database, .. } = &*book.lock().await;
    let all: rusqlite::Result<String> = block_in_place(|| {
        let mut entries =
            database.prepare_cached("SELECT text || char(10) FROM entry ORDER BY id")?;
        entries
            .query_map([], |row| row.get::<_, String>(0))?
            .collect()
    });
    Ok(all?)
}

struct Book {
    database: Connection,
    /// Held until the database is closed.
    _lock: File,
}

impl Book {
    fn open(directory: &Path) -> Result<Self, Box<dyn Error>> {
        let lock = File::create(directory.join("guestbook.lock"))?;
        lock.try_lock()
            .map_err(|_| "another process has this guest book; stop it first")?;

        let mut database = Connection::open(directory.join("guestbook.db"))?;
        // With a write-ahead log a reader, such as a backup, never stops the writer; another writer
        // is waited for.
        database.pragma_update(None, "journal_mode", "wal")?;
        database.busy_timeout(Duration::from_secs(5))?;
        migrate(&mut database)?;
        Ok(Self {
            database,
            _lock: lock,
        })
    }
}

/// All of what is new, or nothing.
fn migrate(database: &mut Connection) -> rusqlite::Result<()> {
    let change = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done: u32 = change.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for (version, step) in (1..).zip(MIGRATIONS).filter(|&(version, _)| version > done) {
        change.execute_batch(step)?;
        change.pragma_update(None, "user_version", version)?;
    }
    change.commit()
}

/// Nothing was read or written.
struct Failed(rusqlite::Error);

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        eprintln!("guestbook: {}", self.0);
        match self.0.sqlite_error_code() {
            // Somebody, by hand perhaps, has been writing for longer than the busy timeout.
            Some(ErrorCode::DatabaseBusy) => (
                StatusCode::SERVICE_UNAVAILABLE,
                [(header::RETRY_AFTER, "5")],
                "the guest book is in use, and nothing was written; try again\n",
            )
                .into_response(),
            _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_brought_up_to_date_once() {
        let directory = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let book = Book::open(directory.path()).unwrap();
            let version = book
                .database
                .pragma_query_value(None, "user_version", |row| row.get(0));
            assert_eq!(version, Ok(1));
        }
    }

    #[test]
    fn only_one_process_has_the_book() {
        let directory = tempfile::tempdir().unwrap();
        let _first = Book::open(directory.path()).unwrap();
        let second = Book::open(directory.path()).map(|_| ());
        let said = second.unwrap_err().to_string();
        assert_eq!(said, "another process has this guest book; stop it first");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_busy_database_is_told_and_nothing_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let book = Book::open(directory.path()).unwrap();
        book.database.busy_timeout(Duration::ZERO).unwrap();
        let book = State(Arc::new(Mutex::new(book)));
        let other = Connection::open(directory.path().join("guestbook.db")).unwrap();

        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let refused = sign(book.clone(), "while busy".to_owned()).await;
        other.execute_batch("ROLLBACK").unwrap();
        let taken = sign(book.clone(), "after".to_owned()).await;

        let refused = refused.into_response();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers()[header::RETRY_AFTER], "5");
        assert_eq!(taken.into_response().status(), StatusCode::CREATED);
        assert_eq!(read(book).await.unwrap_or_default(), "after\n");
    }
}
