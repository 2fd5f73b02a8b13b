//! Who is in the room, and how all of them get to the next process.

use std::sync::Arc;

use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use zdt::handover::{Detached, Kept, Receiver, receive};
use zdt::{Hold, Watch};

use crate::client::{self, Client};
use crate::room::Room;

const LABEL: &str = "chat";

/// Of [`State`]. A process that is given another version closes the connection, and the client
/// comes again.
const VERSION: u16 = 1;

/// What is kept beside a descriptor.
#[derive(Serialize, Deserialize)]
enum State {
    /// The descriptor is the room's history.
    Room,
    /// It is this client's connection.
    Client(Client),
}

/// A client that came in.
pub struct Arrival {
    pub client: Client,
    pub socket: TcpStream,
    /// A stop waits for it until it is with the next process.
    pub hold: Hold,
}

type Talking = JoinSet<Option<Arrival>>;

pub struct Keeper {
    room: Arc<Room>,
    watch: Watch,
    kept: Receiver,
    arrivals: UnboundedReceiver<Arrival>,
}

impl Keeper {
    pub fn new(watch: Watch) -> (Self, UnboundedSender<Arrival>) {
        let (sender, arrivals) = unbounded_channel();
        let keeper = Self {
            room: Arc::default(),
            watch,
            kept: receive(LABEL),
            arrivals,
        };
        (keeper, sender)
    }

    /// Lets clients talk until the process stops, and then keeps them.
    pub async fn run(mut self) {
        let hold = self.watch.hold();
        let mut talking = Talking::new();
        let mut stopped = Vec::new();
        loop {
            tokio::select! {
                biased;
                // The room comes first, and its clients before anybody new.
                Some(kept) = self.kept.next() => self.take_up(kept, &mut talking),
                () = self.watch.draining() => break,
                Some(arrival) = self.arrivals.recv() => self.let_talk(arrival, &mut talking),
                // A client may hear of the stop before its keeper does.
                Some(ended) = talking.join_next() => stopped.extend(ended.ok().flatten()),
            }
        }
        // Nothing is said any more once all of them have stopped. Only then is the room kept.
        stopped.extend(talking.join_all().await.into_iter().flatten());
        self.keep_room().await;
        for arrival in stopped {
            keep(arrival).await;
        }
        drop(hold);
        // Those who come while the door is still open.
        while let Some(arrival) = self.arrivals.recv().await {
            keep(arrival).await;
        }
    }

    /// Goes on with what the last process kept.
    fn take_up(&self, kept: Kept, talking: &mut Talking) {
        let state = postcard::from_bytes(&kept.state);
        match state.ok().filter(|_| kept.version == VERSION) {
            Some(State::Room) => {
                if let Err(error) = self.room.restore(kept.fd) {
                    eprintln!("chat: the room is lost: {error}");
                }
            }
            Some(State::Client(client)) => {
                if let Some(socket) = client::socket(kept.fd) {
                    let hold = self.watch.hold();
                    self.let_talk(
                        Arrival {
                            client,
                            socket,
                            hold,
                        },
                        talking,
                    );
                }
            }
            None => eprintln!("chat: closed a connection of another version"),
        }
    }

    fn let_talk(&self, arrival: Arrival, talking: &mut Talking) {
        let Arrival {
            client,
            socket,
            hold,
        } = arrival;
        let talk = client.talk(socket, self.room.clone(), self.watch.clone());
        talking.spawn(talk.map(|stopped| {
            let (client, socket) = stopped?;
            Some(Arrival {
                client,
                socket,
                hold,
            })
        }));
    }

    async fn keep_room(&self) {
        let state = postcard::to_stdvec(&State::Room).expect("a name is written");
        match self.room.to_file() {
            Ok(file) => _ = Detached::from_fd(file).keep(LABEL, VERSION, state).await,
            Err(error) => eprintln!("chat: the room is lost: {error}"),
        }
    }
}

/// Gives a client to the next process, or tells it to come again.
async fn keep(arrival: Arrival) {
    let Arrival {
        client,
        socket,
        hold,
    } = arrival;
    let state = State::Client(client);
    let bytes = postcard::to_stdvec(&state).expect("buffers are written");
    let Ok(socket) = socket.into_std() else {
        return;
    };
    let kept = Detached::from_fd(socket.into())
        .keep(LABEL, VERSION, bytes)
        .await;
    if let (Err(not_kept), State::Client(client)) = (kept, state)
        && let Some(socket) = client::socket(not_kept.connection.into_fd())
    {
        client.dismiss(socket).await;
    }
    drop(hold);
}
