//! One client: a question, who asks it, and the way of the answers.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc};
use tokio::time::{sleep, timeout};

use super::access::{Peer, Rights};
use super::{Asked, Limits};
use crate::host::supervisor::protocol::{Answer, Question, Refusal};

/// So much is written at once.
const CHUNK: usize = 64 << 10;

/// How often it is looked whether a client is still there that says no more, and was not answered yet.
const LOOK: Duration = Duration::from_secs(1);

/// What all clients share.
#[derive(Clone, Debug)]
pub(super) struct Room {
    pub(super) ask: mpsc::Sender<Asked>,
    pub(super) rights: Arc<Rights>,
    pub(super) limits: Limits,
    /// For answers without an end, and for those who may only look: they leave place for others.
    pub(super) lasting: Arc<Semaphore>,
}

/// Where the answers to one question go. Dropped without a last one, the client is told that.
#[derive(Clone, Debug)]
pub(in crate::host::supervisor) struct Answers {
    queue: mpsc::UnboundedSender<Queued>,
    /// Bytes that may wait; closed when nobody reads any more.
    room: Arc<Semaphore>,
    most: usize,
}

#[derive(Debug)]
struct Queued {
    line: Vec<u8>,
    is_last: bool,
    room: OwnedSemaphorePermit,
}

impl Answers {
    fn channel(most: usize) -> (Self, mpsc::UnboundedReceiver<Queued>) {
        let (queue, queued) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(most));
        (Self { queue, room, most }, queued)
    }

    /// Does not wait. `false`: the client is gone, or has left too much unread and is dropped.
    pub(in crate::host::supervisor) fn send(&self, answer: Answer) -> bool {
        let line = line(&answer);
        match Arc::clone(&self.room).try_acquire_many_owned(self.cost(&line)) {
            Ok(room) => self.put(line, &answer, room),
            Err(TryAcquireError::NoPermits) => {
                self.room.close();
                false
            }
            Err(TryAcquireError::Closed) => false,
        }
    }

    /// As [`send`](Self::send), but waits for a client that reads: for more than fits, such as a long log.
    pub(in crate::host::supervisor) async fn feed(&self, answer: Answer) -> bool {
        let line = line(&answer);
        let room = Arc::clone(&self.room).acquire_many_owned(self.cost(&line));
        match room.await {
            Ok(room) => self.put(line, &answer, room),
            Err(_) => false,
        }
    }

    /// Returns when the client is gone.
    pub(in crate::host::supervisor) async fn gone(&self) {
        self.queue.closed().await;
    }

    fn put(&self, line: Vec<u8>, answer: &Answer, room: OwnedSemaphorePermit) -> bool {
        let is_last = matches!(answer, Answer::Done | Answer::Failed(_));
        let queued = Queued {
            line,
            is_last,
            room,
        };
        self.queue.send(queued).is_ok()
    }

    /// One that is larger than all the room waits until it is alone.
    fn cost(&self, line: &[u8]) -> u32 {
        u32::try_from(line.len().min(self.most)).unwrap_or(u32::MAX)
    }
}

pub(super) async fn serve(mut stream: UnixStream, room: Room) {
    let limits = room.limits;
    let read = async {
        tokio::select! {
            read = timeout(limits.asking, read(&mut stream, limits.question)) => {
                read.unwrap_or_else(|_| Err(too_slow(limits.asking)))
            }
            () = room.ask.closed() => Err(ending()),
        }
    };
    let asked = match read.await {
        Ok(None) => return,
        Ok(Some(question)) => admit(&stream, question, &room),
        Err(refusal) => Err(refusal),
    };
    let (question, by, _lasting) = match asked {
        Ok(admitted) => admitted,
        Err(refusal) => return refuse(stream, refusal, limits).await,
    };
    let (answers, queued) = Answers::channel(limits.waiting);
    let room_of_answers = Arc::clone(&answers.room);
    let asked = Asked {
        question,
        by,
        answers,
    };
    if room.ask.send(asked).await.is_err() {
        return refuse(stream, ending(), limits).await;
    }
    answer(stream, queued, &room_of_answers, limits.stall).await;
    room_of_answers.close();
}

/// A line, or what there is when the client says no more; `None`: nothing.
async fn read(stream: &mut UnixStream, longest: usize) -> Result<Option<Question>, Refusal> {
    let mut text = Vec::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = match stream.read(&mut chunk).await {
            Ok(read) => read,
            Err(_) => return Ok(None),
        };
        let chunk = &chunk[..read];
        let end = chunk.iter().position(|byte| *byte == b'\n');
        text.extend_from_slice(&chunk[..end.unwrap_or(read)]);
        if text.len() > longest {
            return Err(too_long(longest));
        }
        match end {
            Some(end) if !chunk[end..].trim_ascii().is_empty() => {
                return Err(no_question(
                    "it is followed by more; ask one question a connection",
                ));
            }
            None if read > 0 => {}
            _ if text.is_empty() && read == 0 => return Ok(None),
            _ => break,
        }
    }
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| no_question(&error.to_string()))
}

type Admitted = (Question, Peer, Option<OwnedSemaphorePermit>);

fn admit(stream: &UnixStream, question: Question, room: &Room) -> Result<Admitted, Refusal> {
    let by = Peer::of(stream)
        .map_err(|error| refusal(format!("the kernel does not say who asks: {error}")))?;
    room.rights.check(&by, &question)?;
    let lasts = matches!(question, Question::Logs { follow: true, .. }) || !room.rights.trusts(&by);
    let lasting = match lasts {
        true => Some(
            Arc::clone(&room.lasting)
                .try_acquire_owned()
                .map_err(|_| too_many(room.limits))?,
        ),
        false => None,
    };
    Ok((question, by, lasting))
}

/// Writes what is queued, up to the last answer or as long as the client keeps up.
async fn answer(
    mut stream: UnixStream,
    mut queued: mpsc::UnboundedReceiver<Queued>,
    room: &Semaphore,
    stall: Duration,
) {
    loop {
        let next = tokio::select! {
            next = queued.recv() => next,
            () = hung_up(&stream) => return,
        };
        let mut chunk = Vec::new();
        let mut rooms = Vec::new();
        let mut is_last = false;
        match next {
            None => (chunk, is_last) = (line(&Answer::Failed(broke_off())), true),
            Some(first) => {
                let mut next = Some(first);
                while let Some(answer) = next {
                    chunk.extend(answer.line);
                    rooms.push(answer.room);
                    is_last = answer.is_last;
                    let goes_on = !is_last && chunk.len() < CHUNK;
                    next = goes_on.then(|| queued.try_recv().ok()).flatten();
                }
            }
        }
        let written = timeout(stall, stream.write_all(&chunk)).await;
        if !matches!(written, Ok(Ok(()))) || is_last || room.is_closed() {
            return;
        }
    }
}

/// Waits until the client is gone. One that only says no more still reads.
async fn hung_up(stream: &UnixStream) {
    loop {
        if stream.readable().await.is_err() {
            return;
        }
        match stream.try_read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // It speaks, and is not asked.
            Ok(1..) | Err(_) => return,
            Ok(0) if is_closed(stream) => return,
            Ok(0) => sleep(LOOK).await,
        }
    }
}

/// In both directions.
fn is_closed(stream: &UnixStream) -> bool {
    let mut looked = [PollFd::new(stream.as_fd(), PollFlags::empty())];
    poll(&mut looked, PollTimeout::ZERO).is_ok()
        && looked[0]
            .revents()
            .is_some_and(|events| events.contains(PollFlags::POLLHUP))
}

async fn refuse(mut stream: UnixStream, refusal: Refusal, limits: Limits) {
    let line = line(&Answer::Failed(refusal));
    let _ = timeout(limits.stall, stream.write_all(&line)).await;
}

fn line(answer: &Answer) -> Vec<u8> {
    let mut line =
        serde_json::to_vec(answer).expect("an answer has no map whose keys are not text");
    line.push(b'\n');
    line
}

fn refusal(reason: impl Into<String>) -> Refusal {
    Refusal {
        reason: reason.into(),
        hint: None,
        untouched: true,
        output: Vec::new(),
    }
}

fn no_question(why: &str) -> Refusal {
    Refusal {
        hint: Some("use the `zdt-units` of the version that runs as launcher".to_owned()),
        ..refusal(format!(
            "the launcher does not understand the question: {why}"
        ))
    }
}

fn too_long(longest: usize) -> Refusal {
    refusal(format!("the question is longer than {longest} bytes"))
}

fn too_slow(limit: Duration) -> Refusal {
    refusal(format!("the question was not whole within {limit:?}"))
}

fn too_many(limits: Limits) -> Refusal {
    let most = limits.connections.div_ceil(2);
    Refusal {
        hint: Some("end one of them, such as a `zdt-units logs --follow`".to_owned()),
        ..refusal(format!(
            "{most} connections are open already that only look"
        ))
    }
}

fn ending() -> Refusal {
    refusal("the launcher is ending, or becoming another program")
}

fn broke_off() -> Refusal {
    Refusal {
        untouched: false,
        ..refusal("the launcher did not say how it ended")
    }
}
