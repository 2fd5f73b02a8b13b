//! Why a loss of a kind usually happens, and what to do. Pure.

use super::table::Kind;

/// A loss in words, and the advice.
pub(super) fn of(kind: Kind, class: &str) -> (&'static str, &'static str) {
    (what(kind, class), advice(kind, class))
}

fn what(kind: Kind, class: &str) -> &'static str {
    match (kind, class) {
        (Kind::WebSocket, "eof") => "ended without a close frame",
        (Kind::WebSocket, "reset") => "reset without a close frame",
        (Kind::WebSocket, "garbled") => "closed with a code that is no goodbye",
        (_, "refused") => "connection refused",
        (_, "reset") => "reset before the answer",
        (_, "reset_reused") => "reset before the answer on a kept connection",
        (_, "eof") => "closed before the answer",
        (_, "eof_reused") => "closed before the answer on a kept connection",
        (_, "stale") => "kept connection closed without notice",
        (_, "truncated") => "answer cut short",
        (_, "timeout") => "no answer in time",
        (_, "wrong_status") => "another status than usual",
        (_, "connect") => "could not connect",
        (_, "garbled") => "not a valid answer",
        _ => "fault of the client itself",
    }
}

fn advice(kind: Kind, class: &str) -> &'static str {
    match (kind, class) {
        (_, "refused") => {
            "the port was closed: serve the socket that is passed (`LISTEN_FDS`), and neither bind \
             another nor `shutdown()` it"
        }
        (_, "connect") => "the queue of the socket was full: raise its backlog, or start faster",
        (_, "timeout") => {
            "the new process took too long, or the old one kept a connection that it did not serve any more"
        }
        (_, "wrong_status") => {
            "an answer given while stopping or starting: go on answering as always until the end, and \
             accept only when ready"
        }
        (Kind::WebSocket, _) => {
            "send a close frame (1001 going away, 1012 restart) at SIGTERM, before the process ends"
        }
        (Kind::Http2, "stale" | "eof" | "eof_reused" | "reset" | "reset_reused") => {
            "send GOAWAY at SIGTERM, finish the streams that are open, then close"
        }
        (_, "stale") => {
            "nothing was on its way this time, but a request that is gets lost with the connection: answer \
             with `Connection: close` before, and close what stays idle only after a while"
        }
        (_, "eof_reused" | "reset_reused") => {
            "the request was on its way when the kept connection was closed: answer with \
             `Connection: close` before, and close what stays idle only after a while"
        }
        (Kind::Silent, "eof" | "reset") => {
            "accepted connections that had sent nothing yet were closed: wait for their first request, \
             at least for a moment"
        }
        (Kind::HalfSent, "eof" | "reset") => {
            "connections with half a request head were closed: read it to its end, and answer it"
        }
        (Kind::Slow, "eof" | "reset" | "truncated") => {
            "the process ended with a request in it: wait for the requests in flight, and give it the \
             time (`TimeoutStopSec=`, `--stop-timeout`)"
        }
        (_, "truncated") => {
            "the process ended in the middle of an answer: wait for those in flight"
        }
        (_, "eof" | "reset") => {
            "accepted, and then the process ended: serve what was accepted before you exit"
        }
        _ => "see the details in `--json`",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Outcome;

    #[test]
    fn every_loss_of_every_client_has_words_and_advice() {
        let classes = [
            Outcome::Refused,
            Outcome::Reset,
            Outcome::ResetReused,
            Outcome::Eof,
            Outcome::EofReused,
            Outcome::Truncated,
            Outcome::Timeout,
            Outcome::WrongStatus(503),
            Outcome::Connect,
            Outcome::Garbled,
        ];
        for kind in Kind::ALL {
            for class in classes.map(Outcome::name).into_iter().chain(["stale"]) {
                let (what, advice) = of(kind, class);
                assert_ne!(what, "fault of the client itself", "{kind} {class}");
                assert_eq!(
                    advice.contains("--json"),
                    class == "garbled" && kind != Kind::WebSocket,
                    "{kind} {class}"
                );
            }
        }
    }
}
