//! Reads the messages of `sd_notify(3)`. Pure.

use std::time::Duration;

/// One assignment that means something here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Ready,
    /// `READY=1` follows when that is done.
    Reloading,
    Stopping,
    Status(String),
    Extend(Duration),
    MainPid(u32),
    Watchdog,
    WatchdogTrigger,
    /// The message's descriptors are for the next process.
    Keep {
        name: String,
        /// Only until they hang up.
        watch: bool,
    },
    /// What is kept under this name is not wanted any more.
    Remove(String),
}

/// The name of what has none, see `sd_pid_notify_with_fds(3)`.
const UNNAMED: &str = "stored";

const LONGEST_NAME: usize = 255;

/// The assignments of one message, in order; what is unknown is left out, as
/// the protocol wants it. What is kept or removed comes last.
///
/// `BARRIER=1` needs no word: descriptors that nobody keeps are closed once the message was dealt with. As with
/// systemd, nothing else counts in such a message.
pub(super) fn parse(message: &[u8]) -> Vec<Word> {
    let lines = || message.split(|byte| *byte == b'\n');
    let says = |wanted: &[u8]| lines().any(|line| line == wanted);
    if says(b"BARRIER=1") {
        return Vec::new();
    }
    let mut words: Vec<Word> = lines().filter_map(word).collect();
    let name = lines()
        .find_map(|line| line.strip_prefix(b"FDNAME="))
        .and_then(descriptor_name);
    if says(b"FDSTOREREMOVE=1") {
        words.extend(name.map(Word::Remove));
    } else if says(b"FDSTORE=1") {
        words.push(Word::Keep {
            name: name.unwrap_or_else(|| UNNAMED.to_owned()),
            watch: !says(b"FDPOLL=0"),
        });
    }
    words
}

/// A name that can stand in `LISTEN_FDNAMES`: printable ASCII but `:`, also nothing at all.
fn descriptor_name(text: &[u8]) -> Option<String> {
    let plain = |byte: &u8| (b' '..0x7f).contains(byte) && *byte != b':';
    let fits = text.len() <= LONGEST_NAME && text.iter().all(plain);
    fits.then(|| String::from_utf8_lossy(text).into_owned())
}

fn word(line: &[u8]) -> Option<Word> {
    let (key, value) = std::str::from_utf8(line).ok()?.split_once('=')?;
    match (key, value) {
        ("READY", "1") => Some(Word::Ready),
        ("RELOADING", "1") => Some(Word::Reloading),
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
        let message = b"READY=1\nSTATUS=serving \x1b[31m\nX_FOO=1\n\n=\n\
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

    #[test]
    fn descriptors_are_kept_under_names_that_can_be_passed_on() {
        let keep = |name: &str, watch| {
            let name = name.to_owned();
            vec![Word::Keep { name, watch }]
        };
        let check = |message: &str, wanted: &[Word]| {
            assert_eq!(parse(message.as_bytes()), wanted, "{message}");
        };
        check("FDSTORE=1", &keep("stored", true));
        check("FDNAME=a b\nFDSTORE=1\nFDPOLL=0", &keep("a b", false));
        check("FDSTORE=1\nFDNAME=", &keep("", true));
        check("FDSTORE=1\nFDNAME=a\nFDNAME=b", &keep("a", true));
        let longest = "n".repeat(LONGEST_NAME);
        check(
            &format!("FDSTORE=1\nFDNAME={longest}"),
            &keep(&longest, true),
        );
        for wrong in ["a:b", "a\tb", "é", "\u{7f}", &format!("{longest}n")] {
            check(&format!("FDSTORE=1\nFDNAME={wrong}"), &keep("stored", true));
            // Nothing is removed by mistake.
            check(&format!("FDSTOREREMOVE=1\nFDNAME={wrong}"), &[]);
        }
        let remove = [Word::Ready, Word::Remove("q".to_owned())];
        check("FDSTOREREMOVE=1\nFDNAME=q\nFDSTORE=1\nREADY=1", &remove);
        check("FDSTOREREMOVE=1", &[]);
        check("FDNAME=q\nFDPOLL=0", &[]);
        check("BARRIER=1\nREADY=1\nFDSTORE=1", &[]);
    }

    proptest! {
        #[test]
        fn no_message_does_harm(bytes: Vec<u8>) {
            parse(&bytes);
            prop_assert!(shown(&bytes).chars().all(|char| !char.is_control()));
        }
    }
}
