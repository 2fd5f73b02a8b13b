//! The pause between the two GOAWAYs of HTTP/2.
//!
//! The HTTP library sends its last word, the GOAWAY that names the last stream
//! it will answer, as soon as the client acknowledged the ping that came with
//! the first. Clients write that acknowledgement before the streams that they
//! opened already, so those would be refused although they were sent in time.
//! Here the acknowledgement is put aside for a moment, until they were read.

/// RFC 9113, 4.1: length (3), type, flags, stream (4).
const HEAD: usize = 9;
const PING: u8 = 6;
const ACK: u8 = 1;
/// A whole frame that acknowledges a ping.
const FRAME: usize = HEAD + 8;
/// RFC 9113, 3.4: comes before the first frame.
const PREFACE: usize = 24;

/// Follows the frames that a client sends.
#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes of the preface, or of a frame's payload, that are still to come.
    rest: usize,
    /// The beginning of a frame's head.
    head: [u8; HEAD],
    head_length: usize,
    held: Option<[u8; FRAME]>,
    /// How much of it was given back.
    given: usize,
}

impl Frames {
    pub(super) fn new() -> Self {
        Self {
            rest: PREFACE,
            head: [0; HEAD],
            head_length: 0,
            held: None,
            given: 0,
        }
    }

    /// Whether an acknowledgement was put aside.
    pub(super) fn holds(&self) -> bool {
        self.held.is_some()
    }

    /// Gives back what was put aside, where a frame may begin, and at most
    /// `space` bytes at a time.
    pub(super) fn release(&mut self, space: usize) -> &[u8] {
        let Some(frame) = &self.held else { return &[] };
        if self.rest + self.head_length > 0 {
            return &[];
        }
        let from = self.given;
        self.given = FRAME.min(from + space);
        &frame[from..self.given]
    }

    /// Follows `bytes`, which were read just now; with `hold` takes the first
    /// acknowledgement out of them. Returns how many are left.
    ///
    /// One that comes in two pieces is left alone: the pause is a kindness and
    /// not worth a queue of bytes.
    pub(super) fn follow(&mut self, bytes: &mut [u8], hold: bool) -> usize {
        let mut length = bytes.len();
        let mut at = 0;
        while at < length {
            let skipped = self.rest.min(length - at);
            self.rest -= skipped;
            at += skipped;
            let begins = at;
            while at < length && self.head_length < HEAD && self.rest == 0 {
                self.head[self.head_length] = bytes[at];
                self.head_length += 1;
                at += 1;
            }
            if self.head_length < HEAD {
                continue;
            }
            self.head_length = 0;
            let [a, b, c, kind, flags, ..] = self.head;
            self.rest = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            let frame = bytes[begins..length].first_chunk::<FRAME>();
            let is_ack = kind == PING && flags & ACK != 0 && at == begins + HEAD;
            if let (true, None, true, Some(&frame)) = (hold, self.held, is_ack, frame) {
                self.held = Some(frame);
                self.rest = 0;
                bytes.copy_within(begins + FRAME..length, begins);
                length -= FRAME;
                at = begins;
            }
        }
        length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACKNOWLEDGED: [u8; FRAME] = *b"\x00\x00\x08\x06\x01\x00\x00\x00\x00shutdown";
    const HEADERS: &[u8] = b"\x00\x00\x03\x01\x05\x00\x00\x00\x07abc";
    const EMPTY: &[u8] = b"\x00\x00\x00\x00\x01\x00\x00\x00\x07";

    fn after_the_preface() -> Frames {
        let mut frames = Frames::new();
        let mut preface = [b'x'; PREFACE];
        assert_eq!(frames.follow(&mut preface, true), PREFACE);
        frames
    }

    fn check(before: &[u8], after: &[u8]) {
        let whole = [before, &ACKNOWLEDGED, after].concat();
        let left = [before, after].concat();
        // In one piece, and byte by byte up to the acknowledgement.
        for step in [whole.len(), 1] {
            let mut frames = after_the_preface();
            let mut bytes = whole.clone();
            for start in (0..before.len()).step_by(step.min(before.len().max(1))) {
                let end = before.len().min(start + step);
                frames.follow(&mut bytes[start..end], true);
            }
            let length = frames.follow(&mut bytes[before.len()..], true);
            assert_eq!(bytes[..before.len() + length], left);
            assert!(frames.holds());
            assert_eq!(frames.release(5), &ACKNOWLEDGED[..5]);
            assert_eq!(frames.release(99), &ACKNOWLEDGED[5..]);
            assert!(frames.release(99).is_empty());
        }
    }

    #[test]
    fn streams_overtake_the_acknowledgement() {
        check(b"", b"");
        check(b"", HEADERS);
        check(HEADERS, b"");
        check(&[HEADERS, EMPTY].concat(), &[EMPTY, HEADERS].concat());
    }

    #[test]
    fn nothing_is_held_unless_told() {
        let mut frames = after_the_preface();
        let mut bytes = [&ACKNOWLEDGED[..], HEADERS].concat();
        let before = bytes.clone();
        assert_eq!(frames.follow(&mut bytes, false), before.len());
        assert_eq!((bytes, frames.holds()), (before, false));
    }

    #[test]
    fn payload_that_looks_like_one_is_payload() {
        let mut frames = after_the_preface();
        let mut bytes = [b"\x00\x00\x11\x00\x00\x00\x00\x00\x07", &ACKNOWLEDGED[..]].concat();
        let length = bytes.len();
        assert_eq!(frames.follow(&mut bytes, true), length);
        assert!(!frames.holds());
    }

    #[test]
    fn it_is_given_back_between_frames_only() {
        let mut frames = after_the_preface();
        let mut bytes = [&ACKNOWLEDGED[..], &HEADERS[..10]].concat();
        assert_eq!(frames.follow(&mut bytes, true), 10);
        assert!(frames.release(99).is_empty());
        frames.follow(&mut HEADERS[10..].to_owned(), true);
        assert_eq!(frames.release(99), &ACKNOWLEDGED);
    }

    #[test]
    fn one_in_two_pieces_passes() {
        let mut frames = after_the_preface();
        let (mut one, mut two) = (ACKNOWLEDGED[..12].to_owned(), ACKNOWLEDGED[12..].to_owned());
        assert_eq!(frames.follow(&mut one, true), 12);
        assert_eq!(frames.follow(&mut two, true), 5);
        assert_eq!(frames.follow(&mut HEADERS.to_owned(), true), HEADERS.len());
        assert!(!frames.holds());
    }
}
