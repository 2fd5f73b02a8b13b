//! WebSocket frames in plain buffers, so that a connection can be cut at any byte and go on in
//! another process. A frame leaves the buffer whole or not at all.

use std::io::Cursor;

use serde::{Deserialize, Serialize};
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame, FrameHeader};

/// The longest message that is taken.
const LONGEST: usize = 1 << 20;

/// What is on its way in and out of a connection.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Wire {
    /// Read and not understood yet: the beginning of a frame.
    pub input: Vec<u8>,
    /// The frames so far of a message in several.
    half: Option<Vec<u8>>,
    /// Said, and not with the kernel yet.
    pub output: Vec<u8>,
}

/// What a client said.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    Text(String),
    Goodbye,
}

/// The client does not speak WebSocket.
#[derive(Debug, PartialEq, Eq)]
pub struct Nonsense;

impl Wire {
    pub fn new(input: Vec<u8>) -> Self {
        Self {
            input,
            ..Self::default()
        }
    }

    /// The next message, if there is a whole one. Answers pings by itself.
    pub fn hear(&mut self) -> Result<Option<Heard>, Nonsense> {
        while let Some((header, payload)) = self.frame()? {
            match header.opcode {
                OpCode::Data(Data::Text) if self.half.is_none() => self.half = Some(payload),
                OpCode::Data(Data::Continue) => self.half.as_mut().ok_or(Nonsense)?.extend(payload),
                OpCode::Control(Control::Ping) => self.put(Frame::pong(payload)),
                OpCode::Control(Control::Pong) => {}
                OpCode::Control(Control::Close) => {
                    self.put(Frame::close(None));
                    return Ok(Some(Heard::Goodbye));
                }
                _ => return Err(Nonsense),
            }
            if self.half.as_ref().is_some_and(|half| half.len() > LONGEST) {
                return Err(Nonsense);
            }
            if matches!(header.opcode, OpCode::Data(_)) && header.is_final {
                let text = String::from_utf8(self.half.take().unwrap_or_default());
                return text.map(Heard::Text).map(Some).map_err(|_| Nonsense);
            }
        }
        Ok(None)
    }

    /// Says a text.
    pub fn say(&mut self, text: String) {
        self.put(Frame::message(text, OpCode::Data(Data::Text), true));
    }

    /// Says that the service restarts.
    pub fn say_restart(&mut self) {
        let (code, reason) = (1012_u16.into(), "restart".into());
        self.put(Frame::close(Some(CloseFrame { code, reason })));
    }

    fn put(&mut self, frame: Frame) {
        frame
            .format(&mut self.output)
            .expect("memory can be written");
    }

    /// Takes one frame out of the input, if it is there to its last byte.
    fn frame(&mut self) -> Result<Option<(FrameHeader, Vec<u8>)>, Nonsense> {
        let mut cursor = Cursor::new(&self.input);
        let Some((header, length)) = FrameHeader::parse(&mut cursor).map_err(|_| Nonsense)? else {
            return Ok(None);
        };
        let begins = cursor.position() as usize;
        let length = usize::try_from(length).map_err(|_| Nonsense)?;
        // Clients mask what they send.
        let mask = header.mask.filter(|_| length <= LONGEST).ok_or(Nonsense)?;
        let Some(payload) = self.input.get(begins..begins + length) else {
            return Ok(None);
        };
        let payload = payload.iter().zip(mask.iter().cycle());
        let payload = payload.map(|(byte, mask)| byte ^ mask).collect();
        self.input.drain(..begins + length);
        Ok(Some((header, payload)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [7, 77, 177, 27];

    fn frame(payload: &str, opcode: OpCode, is_final: bool) -> Vec<u8> {
        let header = FrameHeader {
            is_final,
            opcode,
            mask: Some(MASK),
            ..FrameHeader::default()
        };
        let mut frame = Vec::new();
        header.format(payload.len() as u64, &mut frame).unwrap();
        frame.extend(
            payload
                .bytes()
                .zip(MASK.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        frame
    }

    /// Two texts, one of them in pieces with a ping between, and a goodbye.
    fn conversation() -> Vec<u8> {
        [
            frame("one", OpCode::Data(Data::Text), true),
            frame("tw", OpCode::Data(Data::Text), false),
            frame("ping", OpCode::Control(Control::Ping), true),
            frame("o \u{e4}", OpCode::Data(Data::Continue), true),
            frame("", OpCode::Control(Control::Close), true),
        ]
        .concat()
    }

    #[test]
    fn it_goes_on_elsewhere_after_any_byte() {
        let bytes = conversation();
        for cut in 0..=bytes.len() {
            let mut heard = Vec::new();
            let mut wire = Wire::default();
            for part in [&bytes[..cut], &bytes[cut..]] {
                wire.input.extend(part);
                while let Some(message) = wire.hear().unwrap() {
                    heard.push(message);
                }
                let state = postcard::to_stdvec(&wire).unwrap();
                wire = postcard::from_bytes(&state).unwrap();
            }
            let texts = ["one", "two \u{e4}"].map(|text| Heard::Text(text.to_owned()));
            assert_eq!(heard[..2], texts, "cut at {cut}");
            assert_eq!(heard[2..], [Heard::Goodbye], "cut at {cut}");
            assert_eq!(wire.output, b"\x8a\x04ping\x88\x00", "cut at {cut}");
        }
    }

    #[test]
    fn nonsense_is_found_out() {
        let check = |bytes: &[u8]| {
            let mut wire = Wire {
                input: bytes.to_vec(),
                ..Wire::default()
            };
            assert_eq!(wire.hear(), Err(Nonsense));
        };
        check(b"\x81\x03one");
        check(&frame("no beginning", OpCode::Data(Data::Continue), true));
        check(&frame("\u{7f}", OpCode::Data(Data::Binary), true));
        check(b"\x81\xff\x00\x00\x00\x00\xff\xff\xff\xff\x00\x00\x00\x00");
    }
}
