//! What a process says on its notify socket, and what it keeps with its launcher.

use std::os::fd::OwnedFd;

use super::drive::Driver;
use super::seen::Listeners;
use crate::host::supervisor::event::{Event, Exit};
use crate::host::supervisor::message::{self, Word};
use crate::host::supervisor::notify::Received;
use crate::host::supervisor::process::Process;
use crate::host::supervisor::state::Input;

impl Driver {
    pub(super) fn hear(&mut self, mut received: Received, to: &mut Listeners) {
        let main = self.process.as_ref().map_or(0, Process::main);
        if received.sender.unsigned_abs() == main {
            for word in message::parse(&received.bytes) {
                match word {
                    Word::Keep { name, watch } => {
                        let descriptors = std::mem::take(&mut received.descriptors);
                        self.keep(name, watch, descriptors, to);
                    }
                    other => self.heed(other, to),
                }
            }
        } else {
            let stranger = Event::Stranger {
                sender: received.sender,
                main,
                text: message::shown(&received.bytes),
            };
            self.tell(stranger, to);
        }
        received.done();
    }

    fn keep(&mut self, name: String, watch: bool, descriptors: Vec<OwnedFd>, to: &mut Listeners) {
        let descriptors = self.store.keep(&name, watch, descriptors);
        if descriptors > 0 {
            let most = self.definition.launch.room();
            let not_kept = Event::NotKept {
                name,
                descriptors,
                most,
            };
            self.tell(not_kept, to);
        }
    }

    pub(super) fn close_untaken(&mut self, to: &mut Listeners) {
        let pid = self.process.as_ref().map_or(0, Process::main);
        // A queue that cannot be read has nothing to close.
        let connections = self.store.close_untaken().unwrap_or_default();
        self.untaken = connections;
        if connections > 0 {
            self.tell(Event::Untaken { pid, connections }, to);
        }
    }

    fn heed(&mut self, word: Word, to: &mut Listeners) {
        let input = match word {
            Word::Ready => Input::Ready,
            Word::Reloading => Input::Reloading,
            Word::Stopping => Input::Stopping,
            Word::Status(text) => Input::Status(text),
            Word::Extend(time) => Input::Extend(time),
            Word::Watchdog => Input::Watchdog,
            Word::WatchdogTrigger => Input::WatchdogTrigger,
            Word::Remove(name) => return self.store.remove(&name),
            // With its descriptors this is for `keep`.
            Word::Keep { .. } => return,
            Word::MainPid(pid) => {
                let set = |process: &mut Process| process.main() != pid && process.set_main(pid);
                if !self.process.as_mut().is_some_and(set) {
                    return;
                }
                Input::MainPid(pid)
            }
        };
        self.feed(input, to);
    }

    pub(super) fn exited(&mut self, exit: Exit, to: &mut Listeners) {
        // What it said last is still in the socket.
        while let Some(message) = self.notify.try_receive() {
            self.hear(message, to);
        }
        self.feed(Input::Exited(exit), to);
    }
}
