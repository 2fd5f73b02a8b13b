//! Reads the messages of `sd_notify(3)`. Pure.

use std::time::Duration;

/// One assignment that means something here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Ready,
    Stopping,
    Status(String),
    Extend(Duration),
    MainPid(u32),
    Watchdog,
    WatchdogTrigger,
}

/// The assignments of one message, in order; what is unknown is left out, as
/// the protocol wants it.
///
/// `BARRIER=1` and the descriptors of `FDSTORE=1` need no word: descriptors of
/// a message are closed once it was dealt with.
pub(super) fn parse(message: &[u8]) -> Vec<Word> {
    message
        .split(|byte| *byte == b'\n')
        .filter_map(word)
        .collect()
}

fn word(line: &[u8]) -> Option<Word> {
    let (key, value) = std::str::from_utf8(line).ok()?.split_once('=')?;
    match (key, value) {
        ("READY", "1") => Some(Word::Ready),
        ("STOPPING", "1") => Some(Word::Stopping),
        ("STATUS", text) => Some(Word::Status(printable(text))),
        ("EXTEND_TIMEOUT_USEC", time) => time
            .parse()
            .ok()
            .map(Duration::from_micros)
            .map(Word::Extend),
        ("MAINPID", pid) => pid.parse().ok().filter(|pid| *pid > 1).map(Word::MainPid),
        ("WATCHDOG", "1") => Some(Word::Watchdog),
        ("WATCHDOG", "trigger") => Some(Word::WatchdogTrigger),
        _ => None,
    }
}

/// The start of a message, fit to be shown.
pub(super) fn shown(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message);
    printable(text.trim_end()).chars().take(60).collect()
}

/// A status is shown on a terminal, which it must not be able to command.
fn printable(text: &str) -> String {
    let plain = |char: char| if char.is_control() { ' ' } else { char };
    text.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_assignments_are_read_and_others_left_out() {
        let message = b"READY=1\nSTATUS=serving \x1b[31m\nX_FOO=1\nFDSTORE=1\nBARRIER=1\n\n=\n\
            EXTEND_TIMEOUT_USEC=1500000\nMAINPID=77\nWATCHDOG=1\nWATCHDOG=trigger\nSTOPPING=1";
        assert_eq!(
            parse(message),
            [
                Word::Ready,
                Word::Status("serving  [31m".to_owned()),
                Word::Extend(Duration::from_millis(1500)),
                Word::MainPid(77),
                Word::Watchdog,
                Word::WatchdogTrigger,
                Word::Stopping,
            ]
        );
    }

    #[test]
    fn what_is_not_as_documented_means_nothing() {
        let wrong = b"READY=0\nREADY\nready=1\nMAINPID=1\nMAINPID=-3\nEXTEND_TIMEOUT_USEC=soon\nSTATUS=\xff";
        assert_eq!(parse(wrong), []);
    }

    proptest! {
        #[test]
        fn no_message_does_harm(bytes: Vec<u8>) {
            parse(&bytes);
            prop_assert!(shown(&bytes).chars().all(|char| !char.is_control()));
        }
    }
}
