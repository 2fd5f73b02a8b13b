//! Reads a stream as written on the command line: `name=slow,path=/slow,rate=1`.
//! Pure.

use std::str::FromStr;
use std::time::Duration;

use super::{Pattern, Stream};

/// Why a text describes no stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    #[error("`{0}` has no value; write it as `{0}=...`")]
    NoValue(String),
    #[error("`{0}` is not a key of a stream; the keys are {known}", known = KEYS.join(", "))]
    UnknownKey(String),
    #[error("`{value}` is not a value of `{key}`; write {example}")]
    Value {
        key: String,
        value: String,
        example: &'static str,
    },
    #[error("`every` is for connections that are held; add `hold=1000`, or write `rate`")]
    EveryWithoutHold,
}

/// The keys that [`parse_stream`] knows: the flags of `zdt-units probe`.
const KEYS: [&str; 21] = [
    "name",
    "rate",
    "every",
    "requests",
    "new",
    "keep-alive",
    "http2",
    "hold",
    "think",
    "head-pause",
    "path",
    "method",
    "host",
    "header",
    "body-bytes",
    "body-chunks",
    "body-pause",
    "timeout",
    "expect",
    "expect-length",
    "no-close-header",
];

/// Reads `key=value` pairs joined by commas; what is not named is taken from
/// `defaults`. A comma inside a value is written `\,`.
pub fn parse_stream(spec: &str, defaults: &Stream) -> Result<Stream, SpecError> {
    let mut stream = defaults.clone();
    let mut every = None;
    for pair in split(spec) {
        match pair.split_once('=') {
            Some((key, value)) if key.trim() == "every" => {
                every = Some(duration("every", value.trim())?);
            }
            Some((key, value)) => set(&mut stream, key.trim(), value.trim())?,
            None => match pair.trim() {
                "" => {}
                "new" => stream.pattern = Pattern::New,
                "no-close-header" => stream.announce_close = false,
                key if KEYS.contains(&key) => return Err(SpecError::NoValue(key.to_owned())),
                key => return Err(SpecError::UnknownKey(key.to_owned())),
            },
        }
    }
    if let Some(every) = every {
        stream.rate = rate_of_held(stream.pattern, every)?;
    }
    Ok(stream)
}

/// The rate of a stream whose connections each send a request `every` so often.
pub fn rate_of_held(pattern: Pattern, every: Duration) -> Result<f64, SpecError> {
    match pattern {
        Pattern::Hold { connections } => Ok(connections as f64 / every.as_secs_f64()),
        _ => Err(SpecError::EveryWithoutHold),
    }
}

/// Reads `name: value`.
pub fn parse_header(text: &str) -> Result<(String, String), SpecError> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err(SpecError::Value {
            key: "header".to_owned(),
            value: text.to_owned(),
            example: "it as `name: value`",
        }),
    }
}

fn set(stream: &mut Stream, key: &str, value: &str) -> Result<(), SpecError> {
    const NUMBER: &str = "a whole number such as `10`";
    match key {
        "name" => stream.name = value.to_owned(),
        "rate" => stream.rate = number(key, value, "requests a second such as `100` or `0.5`")?,
        "requests" => stream.requests = Some(number(key, value, NUMBER)?),
        "keep-alive" => {
            stream.pattern = Pattern::KeepAlive {
                connections: number(key, value, NUMBER)?,
            };
        }
        "http2" => {
            stream.pattern = Pattern::Http2 {
                connections: number(key, value, NUMBER)?,
            };
        }
        "hold" => {
            stream.pattern = Pattern::Hold {
                connections: number(key, value, NUMBER)?,
            };
        }
        "think" => stream.think = duration(key, value)?,
        "head-pause" => stream.head_pause = duration(key, value)?,
        "path" => stream.path = value.to_owned(),
        "method" => stream.method = value.to_owned(),
        "host" => stream.host = Some(value.to_owned()),
        "header" => stream.headers.push(parse_header(value)?),
        "body-bytes" => stream.body_bytes = number(key, value, NUMBER)?,
        "body-chunks" => stream.body_chunks = number(key, value, NUMBER)?,
        "body-pause" => stream.body_pause = duration(key, value)?,
        "timeout" => stream.timeout = duration(key, value)?,
        "expect" => stream.expect_status = number(key, value, "a status such as `200`")?,
        "expect-length" => stream.expect_length = Some(number(key, value, NUMBER)?),
        _ => return Err(SpecError::UnknownKey(key.to_owned())),
    }
    Ok(())
}

fn number<T: FromStr>(key: &str, value: &str, example: &'static str) -> Result<T, SpecError> {
    value.parse().map_err(|_| SpecError::Value {
        key: key.to_owned(),
        value: value.to_owned(),
        example,
    })
}

fn duration(key: &str, value: &str) -> Result<Duration, SpecError> {
    humantime::parse_duration(value).map_err(|_| SpecError::Value {
        key: key.to_owned(),
        value: value.to_owned(),
        example: "a time with its unit such as `20ms`",
    })
}

/// Splits at commas, and turns `\,` into a comma.
fn split(spec: &str) -> Vec<String> {
    let mut pairs = vec![String::new()];
    let mut rest = spec.chars().peekable();
    while let Some(char) = rest.next() {
        match char {
            '\\' if rest.peek() == Some(&',') => {
                rest.next();
                last(&mut pairs).push(',');
            }
            ',' => pairs.push(String::new()),
            other => last(&mut pairs).push(other),
        }
    }
    pairs
}

fn last(pairs: &mut [String]) -> &mut String {
    pairs.last_mut().expect("there is always a last pair")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_spec_changes_what_it_names() {
        let defaults = Stream {
            rate: 7.0,
            expect_status: 204,
            ..Stream::default()
        };
        assert_eq!(
            parse_stream("name=slow,path=/slow?ms=3000,rate=1", &defaults),
            Ok(Stream {
                name: "slow".to_owned(),
                path: "/slow?ms=3000".to_owned(),
                rate: 1.0,
                ..defaults.clone()
            })
        );
        assert_eq!(parse_stream("", &defaults), Ok(defaults));
    }

    #[test]
    fn every_key_is_a_field() {
        let spec = r"name=a,rate=0.5,requests=9,http2=2,keep-alive=3,think=20ms,head-pause=30ms,path=/p,method=POST,
            host=h,header=a: b\, c,header=d:e,body-bytes=100,body-chunks=4,body-pause=10ms,
            timeout=5s,expect=201,expect-length=3,no-close-header";
        assert_eq!(
            parse_stream(spec, &Stream::default()),
            Ok(Stream {
                name: "a".to_owned(),
                pattern: Pattern::KeepAlive { connections: 3 },
                rate: 0.5,
                requests: Some(9),
                think: Duration::from_millis(20),
                head_pause: Duration::from_millis(30),
                method: "POST".to_owned(),
                path: "/p".to_owned(),
                host: Some("h".to_owned()),
                headers: vec![
                    ("a".to_owned(), "b, c".to_owned()),
                    ("d".to_owned(), "e".to_owned())
                ],
                body_bytes: 100,
                body_chunks: 4,
                body_pause: Duration::from_millis(10),
                timeout: Duration::from_secs(5),
                expect_status: 201,
                expect_length: Some(3),
                announce_close: false,
                ..Stream::default()
            })
        );
    }

    #[test]
    fn held_connections_send_at_a_rate_of_their_own() {
        let stream = parse_stream("every=50ms,hold=1000", &Stream::default()).unwrap();
        assert_eq!(stream.pattern, Pattern::Hold { connections: 1000 });
        assert_eq!(stream.rate, 20_000.0);
    }

    #[test]
    fn a_wrong_spec_says_what_to_write() {
        let check = |spec: &str, expected: &str| {
            let error = parse_stream(spec, &Stream::default()).unwrap_err();
            assert_eq!(error.to_string(), expected, "for `{spec}`");
        };
        check("rate", "`rate` has no value; write it as `rate=...`");
        check(
            "rate=fast",
            "`fast` is not a value of `rate`; write requests a second such as `100` or `0.5`",
        );
        check(
            "think=20",
            "`20` is not a value of `think`; write a time with its unit such as `20ms`",
        );
        check(
            "expect=99999",
            "`99999` is not a value of `expect`; write a status such as `200`",
        );
        check(
            "header=a",
            "`a` is not a value of `header`; write it as `name: value`",
        );
        check(
            "keep-alive=3,every=50ms",
            "`every` is for connections that are held; add `hold=1000`, or write `rate`",
        );
        check(
            "reqests=1",
            "`reqests` is not a key of a stream; the keys are name, rate, every, requests, \
             new, keep-alive, http2, hold, think, head-pause, path, method, host, header, body-bytes, body-chunks, \
             body-pause, timeout, expect, expect-length, no-close-header",
        );
    }

    proptest! {
        #[test]
        fn a_value_with_commas_survives(value in "/[a-z,=]{0,20}") {
            let spec = format!("path={},rate=3", value.replace(',', r"\,"));
            let stream = parse_stream(&spec, &Stream::default()).unwrap();
            prop_assert_eq!(stream.path, value);
            prop_assert_eq!(stream.rate, 3.0);
        }
    }
}
