//! One question to a launcher, and its answers as they come.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::host::Failure;
use crate::host::supervisor::protocol::{Answer, Question};

/// A launcher accepts at once, or it is not there.
const CONNECT: Duration = Duration::from_secs(5);

/// Where a launcher is asked; each question has a connection of its own.
#[derive(Clone, Debug)]
pub struct Connection {
    path: PathBuf,
}

/// What one question is answered.
#[derive(Debug)]
pub struct Answers {
    lines: Lines<BufReader<UnixStream>>,
}

impl Connection {
    pub fn to(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// An error means that nobody heard the question.
    pub async fn ask(&self, question: &Question) -> Result<Answers, Failure> {
        let unheard = |why: &dyn std::fmt::Display| {
            let path = self.path.display();
            Failure::new(format!("no launcher answers at `{path}`: {why}"))
                .hint("start one with `zdt-units run`")
                .without_effect()
        };
        let mut line = serde_json::to_vec(question).map_err(|error| unheard(&error))?;
        line.push(b'\n');
        let connected = timeout(CONNECT, UnixStream::connect(&self.path)).await;
        let connected = connected.map_err(|_| unheard(&"it takes too long"))?;
        let mut stream = connected.map_err(|error| unheard(&error))?;
        stream
            .write_all(&line)
            .await
            .map_err(|error| unheard(&error))?;
        Ok(Answers {
            lines: BufReader::new(stream).lines(),
        })
    }
}

impl Answers {
    /// `None`: there are no more, also where the launcher was lost.
    pub async fn next(&mut self) -> Option<Answer> {
        loop {
            let line = self.lines.next_line().await.ok()??;
            // An answer of a newer release, which only adds.
            if let Ok(answer) = serde_json::from_str(&line) {
                return Some(answer);
            }
        }
    }
}
