//! What a message of a queue says about the descriptors that it carries. Pure.
//!
//! ```text
//! "zdt1"  flags  label length  label  version (2)  { state length (4)  state } ...
//! ```
//!
//! One state for each descriptor, in their order; numbers are little-endian.
//! One label and one version for all of them: thousands of connections of one
//! listener have to fit into the buffer of a socket.

use std::fmt;

/// The most descriptors that the kernel lets one message carry (`SCM_MAX_FD`).
pub(super) const MOST_DESCRIPTORS: usize = 253;

/// The longest message; a state that does not fit is sent in parts.
pub(super) const LONGEST: usize = 64 * 1024;

const MAGIC: &[u8; 4] = b"zdt1";
const ACKNOWLEDGE: u8 = 1;
const PART: u8 = 2;

/// What a message is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head<'a> {
    /// Who is to have the descriptors.
    pub(super) label: &'a str,
    /// Of the states.
    pub(super) version: u16,
    /// The sender keeps its own descriptors until it is told that these arrived.
    pub(super) acknowledge: bool,
    /// No descriptor: the states are the beginning of the next one's.
    pub(super) part: bool,
}

/// A message that is being written.
#[derive(Debug)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    descriptors: usize,
}

impl Writer {
    pub(super) fn new(head: &Head<'_>) -> Self {
        let label = head.label.as_bytes();
        let length = u8::try_from(label.len()).expect("a label is checked when it is given");
        let mut bytes = Vec::with_capacity(1024);
        bytes.extend_from_slice(MAGIC);
        bytes.push(u8::from(head.acknowledge) * ACKNOWLEDGE + u8::from(head.part) * PART);
        bytes.push(length);
        bytes.extend_from_slice(label);
        bytes.extend_from_slice(&head.version.to_le_bytes());
        Self {
            bytes,
            descriptors: 0,
        }
    }

    /// How many bytes of state still fit.
    pub(super) fn room(&self) -> usize {
        match self.descriptors {
            MOST_DESCRIPTORS => 0,
            _ => LONGEST.saturating_sub(self.bytes.len() + 4),
        }
    }

    /// Adds the state of one more descriptor, which must fit.
    pub(super) fn push(&mut self, state: &[u8]) {
        let length = u32::try_from(state.len()).expect("a state that fits is short");
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(state);
        self.descriptors += 1;
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Bytes that are no message, or one of a release that writes it otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message of another release, which writes hand-overs otherwise")
    }
}

/// The head of a message, and a state for each of its descriptors.
pub(super) fn read(bytes: &[u8]) -> Result<(Head<'_>, Vec<&[u8]>), Unreadable> {
    let mut rest = bytes;
    if take(&mut rest, MAGIC.len())? != MAGIC {
        return Err(Unreadable);
    }
    let flags = take(&mut rest, 1)?[0];
    if flags & !(ACKNOWLEDGE | PART) != 0 {
        return Err(Unreadable);
    }
    let length = take(&mut rest, 1)?[0];
    let label = std::str::from_utf8(take(&mut rest, length.into())?).map_err(|_| Unreadable)?;
    let version = u16::from_le_bytes(array(&mut rest)?);
    let mut states = Vec::new();
    while !rest.is_empty() {
        let length = u32::from_le_bytes(array(&mut rest)?);
        let length = usize::try_from(length).map_err(|_| Unreadable)?;
        states.push(take(&mut rest, length)?);
    }
    let head = Head {
        label,
        version,
        acknowledge: flags & ACKNOWLEDGE != 0,
        part: flags & PART != 0,
    };
    Ok((head, states))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], Unreadable> {
    let (taken, left) = rest.split_at_checked(length).ok_or(Unreadable)?;
    *rest = left;
    Ok(taken)
}

fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Unreadable> {
    take(rest, N)?.try_into().map_err(|_| Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            label in "[ -~]{0,200}",
            version: u16,
            acknowledge: bool,
            part: bool,
            states in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
        ) {
            let head = Head { label: &label, version, acknowledge, part };
            let mut writer = Writer::new(&head);
            for state in &states {
                prop_assert!(writer.room() >= state.len());
                writer.push(state);
            }
            let (read_head, read_states) = read(writer.bytes()).unwrap();
            prop_assert_eq!(read_head, head);
            prop_assert_eq!(read_states, states.iter().map(Vec::as_slice).collect::<Vec<_>>());
        }

        #[test]
        fn garbage_does_no_harm(bytes: Vec<u8>, cut in 0usize..64) {
            let _ = read(&bytes);
            let mut writer = Writer::new(&Head {
                label: "serve/http", version: 1, acknowledge: false, part: false,
            });
            writer.push(b"GET / HT");
            writer.push(b"");
            let whole = writer.bytes();
            let cut = cut.min(whole.len() - 1);
            // A message that was cut is refused or has fewer states, never other ones.
            if let Ok((_, states)) = read(&whole[..cut]) {
                prop_assert!(states.len() < 2);
            }
        }
    }

    #[test]
    fn a_message_is_bounded() {
        let head = Head {
            label: "serve/http",
            version: 1,
            acknowledge: false,
            part: false,
        };
        let mut writer = Writer::new(&head);
        let mut count = 0;
        while writer.room() > 0 {
            writer.push(b"");
            count += 1;
        }
        assert_eq!(count, MOST_DESCRIPTORS);
        // 15,000 connections fit into a socket's default buffer of 208 KiB.
        assert!(writer.bytes().len() < 1100, "{}", writer.bytes().len());
        let mut writer = Writer::new(&head);
        let room = writer.room();
        writer.push(&vec![0; room]);
        assert_eq!(writer.bytes().len(), LONGEST);
        assert_eq!(writer.room(), 0);
    }

    #[test]
    fn another_format_is_not_guessed_at() {
        assert_eq!(read(b"zdt2\0\0\0\0"), Err(Unreadable));
        assert_eq!(read(b"zdt1\x04\0\0\0"), Err(Unreadable));
        assert_eq!(read(b""), Err(Unreadable));
    }
}
