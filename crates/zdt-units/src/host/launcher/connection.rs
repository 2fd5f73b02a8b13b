//! Asks a launcher on its control socket.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::Uid;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use crate::host::supervisor::protocol::{About, Answer, Question, Refusal, VERSION};
use crate::host::{Effect, Failure};

/// How long it may take to be let in, with many others before.
const LET_IN: Duration = Duration::from_secs(10);

/// Between two tries while the queue of the kernel is full.
const PAUSE: Duration = Duration::from_millis(20);

/// A launcher that can be asked; a connection for each question.
#[derive(Clone, Debug)]
pub struct Connection {
    path: PathBuf,
}

/// Answers as they come.
#[derive(Debug)]
pub struct Answers {
    stream: BufReader<UnixStream>,
    /// What of a line has come.
    line: Vec<u8>,
    ended: bool,
    path: PathBuf,
}

impl Connection {
    /// To the launcher that listens at `path`; nothing is opened yet.
    pub fn to(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who is there; `None`: nobody listens at that path.
    pub async fn about(&self) -> Result<Option<About>, Failure> {
        let stream = match self.connect().await {
            Ok(stream) => stream,
            Err(error) if is_nobody(&error) => return Ok(None),
            Err(error) => return Err(self.unreachable(&error)),
        };
        let mut answers = self.ask_on(stream, &Question::Hello).await?;
        match answers.next().await {
            Some(Answer::Launcher(about)) if about.v == VERSION => Ok(Some(about)),
            Some(Answer::Launcher(about)) => Err(Failure::new(format!(
                "the launcher at `{}` is zdt-units {}, which speaks version {} of the protocol, not {VERSION}",
                self.path.display(),
                about.version,
                about.v
            ))
            .hint("use the same version for both")
            .without_effect()),
            Some(Answer::Failed(refusal)) => Err(refusal.failure()),
            _ => Err(self.not_a_launcher()),
        }
    }

    /// Asks; what comes of it are the answers.
    pub async fn ask(&self, question: &Question) -> Result<Answers, Failure> {
        let stream = self.connect().await;
        let stream = stream.map_err(|error| self.unreachable(&error))?;
        self.ask_on(stream, question).await
    }

    async fn ask_on(
        &self,
        mut stream: UnixStream,
        question: &Question,
    ) -> Result<Answers, Failure> {
        let mut line = serde_json::to_vec(question)
            .map_err(|error| Failure::new(format!("failed to ask: {error}")).without_effect())?;
        line.push(b'\n');
        // One that was refused before it was whole is answered all the same.
        let _ = stream.write_all(&line).await;
        Ok(Answers {
            stream: BufReader::new(stream),
            line: Vec::new(),
            ended: false,
            path: self.path.clone(),
        })
    }

    async fn connect(&self) -> io::Result<UnixStream> {
        let connected = timeout(LET_IN, async {
            loop {
                match UnixStream::connect(&self.path).await {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(PAUSE).await,
                    connected => return connected,
                }
            }
        });
        connected.await.unwrap_or(Err(ErrorKind::TimedOut.into()))
    }

    fn unreachable(&self, error: &io::Error) -> Failure {
        let path = self.path.display();
        if is_nobody(error) {
            return Failure::new(format!("no launcher is at work at `{path}`"))
                .hint("start one with `zdt-units run`, or say where it is with `--control`")
                .without_effect();
        }
        match error.kind() {
            ErrorKind::PermissionDenied => Failure::new(format!(
                "user {} may not ask the launcher at `{path}`",
                Uid::effective()
            ))
            .hint("ask as root or as the user of the launcher; or set `group` and `mode` under `[launcher]`")
            .without_effect(),
            ErrorKind::TimedOut => Failure::new(format!(
                "the launcher at `{path}` lets nobody in for {LET_IN:?}: too many ask it"
            ))
            .without_effect(),
            _ => Failure::io("reach the launcher at", &self.path, error),
        }
    }

    fn not_a_launcher(&self) -> Failure {
        Failure::new(format!(
            "what listens at `{}` is no launcher",
            self.path.display()
        ))
        .hint("say where it is with `--control`")
        .without_effect()
    }
}

impl Answers {
    /// The next answer, and `None` after the last. The last one is [`Answer::Done`] or [`Answer::Failed`], also when
    /// the launcher is gone before it said so. Cancel-safe.
    pub async fn next(&mut self) -> Option<Answer> {
        while !self.ended {
            let read = self.stream.read_until(b'\n', &mut self.line).await;
            let is_whole = self.line.ends_with(b"\n");
            let answer = match read {
                Ok(_) if is_whole => parse(&self.line, &self.path),
                Ok(_) => Some(Answer::Failed(self.broke_off("closed the connection"))),
                Err(error) => Some(Answer::Failed(self.broke_off(&format!("is gone: {error}")))),
            };
            self.line.clear();
            if let Some(answer) = answer {
                self.ended = matches!(answer, Answer::Done | Answer::Failed(_));
                return Some(answer);
            }
        }
        None
    }

    /// All up to the last, which says how it ended.
    pub async fn all(mut self) -> Result<Vec<Answer>, Failure> {
        let mut all = Vec::new();
        while let Some(answer) = self.next().await {
            match answer {
                Answer::Done => {}
                Answer::Failed(refusal) => return Err(refusal.failure()),
                answer => all.push(answer),
            }
        }
        Ok(all)
    }

    fn broke_off(&self, what: &str) -> Refusal {
        Refusal {
            reason: format!(
                "the launcher at `{}` {what} before it had answered",
                self.path.display()
            ),
            hint: Some("see `zdt-units status` for how things are".to_owned()),
            untouched: false,
            output: Vec::new(),
        }
    }
}

/// `None`: an answer that a newer launcher knows and this program does not; those only add.
fn parse(line: &[u8], path: &Path) -> Option<Answer> {
    let error = match serde_json::from_slice(line) {
        Ok(answer) => return Some(answer),
        Err(error) => error,
    };
    let known = serde_json::from_slice::<serde_json::Value>(line);
    if known.is_ok_and(|value| value.get("answer").is_some()) {
        return None;
    }
    Some(Answer::Failed(Refusal {
        reason: format!(
            "what listens at `{}` does not answer as a launcher: {error}",
            path.display()
        ),
        hint: Some("say where the launcher is with `--control`".to_owned()),
        untouched: false,
        output: Vec::new(),
    }))
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::ConnectionRefused
    )
}

impl Refusal {
    /// The same, as a command tells it.
    pub fn failure(self) -> Failure {
        let effect = match self.untouched {
            true => Effect::None,
            false => Effect::Possible,
        };
        Failure {
            reason: self.reason,
            hint: self.hint,
            effect,
            output: self.output,
        }
    }
}
