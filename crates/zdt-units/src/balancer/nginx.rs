//! An nginx file with an `upstream` in it. An edit changes the one word; all other bytes stay.

use std::ops::Range;

use super::{Pool, Server, State, Trouble, marker, unknown};

/// The servers of `upstream BACKEND`.
pub fn pool(text: &str, backend: &str) -> Result<Pool, Trouble> {
    let entries = entries(text, backend)?;
    Ok(Pool {
        backend: backend.to_owned(),
        servers: entries.iter().map(Entry::server).collect(),
    })
}

/// `text` with the server out of its upstream, or in it again.
pub fn edited(text: &str, backend: &str, server: &str, out: bool) -> Result<String, Trouble> {
    let entries = entries(text, backend)?;
    let mut meant = entries.iter().filter(|entry| entry.is(server));
    let (Some(entry), None) = (meant.next(), meant.next()) else {
        let first = entries.iter().find(|entry| entry.is(server));
        return Err(match first {
            Some(first) => Trouble::new(
                first.line,
                format!("there is more than one server `{server}` in upstream `{backend}`"),
                "write `# zdt: NAME` with another name behind each",
            ),
            None => {
                let known: Vec<&str> = entries.iter().map(Entry::name).collect();
                unknown(
                    "server",
                    server,
                    &format!(" in upstream `{backend}`"),
                    &known,
                )
            }
        });
    };
    let mut edited = text.to_owned();
    match (&entry.down, out) {
        (None, true) => edited.insert_str(entry.end, " down"),
        (Some(down), false) => {
            let blank = text[..down.start].ends_with([' ', '\t']);
            edited.replace_range(down.start - usize::from(blank)..down.end, "");
        }
        (None, false) | (Some(_), true) => {}
    }
    Ok(edited)
}

/// Whether a reload leaves connections of clients alone that rest, by what `nginx -T` prints.
pub fn keeps_connections(printed: &str) -> Result<bool, Trouble> {
    let mut words: Vec<Word<'_>> = Vec::new();
    let mut tokens = Tokens {
        text: printed,
        at: 0,
        line: 1,
    };
    while let Some(token) = tokens.next()? {
        match token {
            Token::Word(word) => words.push(word),
            Token::Comment(_) => {}
            Token::Open(_) | Token::Close(_) => words.clear(),
            Token::End(_) => {
                if let [key, time] = words.as_slice()
                    && key.text == "keepalive_min_timeout"
                    && time.text.contains(|digit| matches!(digit, '1'..='9'))
                {
                    return Ok(true);
                }
                words.clear();
            }
        }
    }
    Ok(false)
}

/// Which nginx says this to `-v`: `nginx/1.22.1`.
pub fn version(said: &str) -> Option<&str> {
    let (_, version) = said.split_once("nginx version: ")?;
    version.split_whitespace().next()
}

/// What a reload may cost that closes connections.
pub fn closes_connections(version: Option<&str>) -> String {
    format!(
        "the reload of {} closes connections of clients that rest, and a request that is on its way on one is lost; \
         nginx 1.27.4 and newer leave them alone with `keepalive_min_timeout 5s;` in `http`",
        version.unwrap_or("nginx")
    )
}

/// One `server` line.
struct Entry<'a> {
    line: usize,
    address: &'a str,
    /// `# zdt: NAME` behind it.
    marker: Option<&'a str>,
    /// The word `down`.
    down: Option<Range<usize>>,
    /// Where its `;` is.
    end: usize,
    words: Range<usize>,
    text: &'a str,
}

impl<'a> Entry<'a> {
    fn is(&self, server: &str) -> bool {
        self.marker == Some(server) || self.address == server
    }

    fn name(&self) -> &'a str {
        self.marker.unwrap_or(self.address)
    }

    fn server(&self) -> Server {
        let words = self.text[self.words.clone()].split_whitespace();
        Server {
            name: self.name().to_owned(),
            state: match self.down {
                None => State::Up,
                Some(_) => State::Out,
            },
            says: words.collect::<Vec<_>>().join(" "),
            in_flight: None,
        }
    }
}

fn entries<'a>(text: &'a str, backend: &str) -> Result<Vec<Entry<'a>>, Trouble> {
    let mut known = Vec::new();
    let mut found: Option<(usize, Vec<Entry<'a>>)> = None;
    // Of each open block: whether it is the one.
    let mut blocks: Vec<(usize, bool)> = Vec::new();
    let mut words: Vec<Word<'a>> = Vec::new();
    let mut include = None;
    let mut tokens = Tokens {
        text,
        at: 0,
        line: 1,
    };
    while let Some(token) = tokens.next()? {
        match token {
            Token::Word(word) => words.push(word),
            Token::Open(line) => {
                let is_one = match words.as_slice() {
                    [kind, name] if kind.text == "upstream" => {
                        known.push(name.text);
                        name.text == backend
                    }
                    _ => false,
                };
                if is_one && let Some((first, _)) = &found {
                    return Err(Trouble::new(
                        line,
                        format!("upstream `{backend}` is here, and in line {first} too"),
                        "nginx takes one of a name: remove the other",
                    ));
                }
                if is_one {
                    found = Some((line, Vec::new()));
                }
                blocks.push((line, is_one));
                words.clear();
            }
            Token::Close(line) => {
                if blocks.pop().is_none() {
                    return Err(Trouble::new(line, "this `}` closes nothing", TEST));
                }
                if let Some(word) = words.first() {
                    return Err(unfinished(word));
                }
            }
            Token::End(end) => {
                let inside = blocks.last().is_some_and(|(_, is_one)| *is_one);
                if let ([kind, address, rest @ ..], true) = (words.as_slice(), inside) {
                    // The one after it, where its `;` is missing.
                    if kind.text == "server" && rest.iter().any(|word| word.text == "server") {
                        return Err(unfinished(kind));
                    }
                    match (kind.text, &mut found) {
                        ("server", Some((_, entries))) => entries.push(Entry {
                            line: kind.line,
                            address: address.text,
                            marker: None,
                            down: rest
                                .iter()
                                .find(|word| word.text == "down")
                                .map(|word| word.at.clone()),
                            end,
                            words: address.at.start..end,
                            text,
                        }),
                        ("include", _) => include = Some(kind.line),
                        _ => {}
                    }
                }
                words.clear();
            }
            Token::Comment(comment) => {
                // Behind its `;`, on the same line.
                let last = found.as_mut().and_then(|(_, entries)| entries.last_mut());
                if let (Some(entry), Some(name)) = (last, marker(comment.text))
                    && !text[entry.end..comment.at.start].contains('\n')
                {
                    entry.marker = Some(name);
                }
            }
        }
    }
    if let Some((line, _)) = blocks.last() {
        return Err(Trouble::new(*line, "this `{` is not closed", TEST));
    }
    if let Some(word) = words.first() {
        return Err(unfinished(word));
    }
    match (found, include) {
        (Some((line, entries)), Some(include)) if entries.is_empty() => Err(Trouble::new(
            include,
            format!("the servers of upstream `{backend}` (line {line}) are in another file"),
            "name the file that has the `server` lines inside an `upstream`",
        )),
        (Some((_, entries)), _) => Ok(entries),
        (None, _) => Err(unknown("upstream", backend, "", &known)),
    }
}

const TEST: &str = "see `nginx -t`";

fn unfinished(word: &Word<'_>) -> Trouble {
    let what = format!("`{}` has no `;` at its end", word.text);
    Trouble::new(word.line, what, TEST)
}

/// As written, without quotes around it.
struct Word<'a> {
    text: &'a str,
    at: Range<usize>,
    line: usize,
}

enum Token<'a> {
    Word(Word<'a>),
    Comment(Word<'a>),
    /// With its line.
    Open(usize),
    Close(usize),
    /// With its place.
    End(usize),
}

/// As nginx splits its files into words.
struct Tokens<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Tokens<'a> {
    fn next(&mut self) -> Result<Option<Token<'a>>, Trouble> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at)
            && byte.is_ascii_whitespace()
        {
            self.skip(1);
        }
        let start = self.at;
        let Some(first) = bytes.get(start) else {
            return Ok(None);
        };
        Ok(Some(match first {
            b';' => {
                self.skip(1);
                Token::End(start)
            }
            b'{' => {
                self.skip(1);
                Token::Open(self.line)
            }
            b'}' => {
                self.skip(1);
                Token::Close(self.line)
            }
            b'#' => {
                let length = self.text[start..].find('\n');
                let end = length.map_or(bytes.len(), |length| start + length);
                Token::Comment(self.word(start..end, end))
            }
            quote @ (b'"' | b'\'') => {
                let mut end = start + 1;
                loop {
                    match bytes.get(end) {
                        None => {
                            return Err(Trouble::new(self.line, "this quote is not closed", TEST));
                        }
                        Some(b'\\') => end += 2,
                        Some(byte) if byte == quote => break,
                        Some(_) => end += 1,
                    }
                }
                Token::Word(self.word(start + 1..end, end + 1))
            }
            _ => {
                let mut end = start;
                while let Some(byte) = bytes.get(end) {
                    match byte {
                        b'\\' => end += 2,
                        b'$' if bytes.get(end + 1) == Some(&b'{') => end += 2,
                        b';' | b'{' => break,
                        byte if byte.is_ascii_whitespace() => break,
                        _ => end += 1,
                    }
                }
                let end = end.min(bytes.len());
                Token::Word(self.word(start..end, end))
            }
        }))
    }

    fn word(&mut self, at: Range<usize>, end: usize) -> Word<'a> {
        let word = Word {
            // A backslash before a character of several bytes ends inside of it.
            text: self.text.get(at.clone()).unwrap_or_default(),
            at,
            line: self.line,
        };
        self.skip(end - self.at);
        word
    }

    fn skip(&mut self, bytes: usize) {
        let passed = &self.text.as_bytes()[self.at..self.at + bytes];
        self.line += passed.iter().filter(|byte| **byte == b'\n').count();
        self.at += bytes;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: &str = "# upstream shop { server no; }\n\
        map $a $b { default \"}\"; \"~^x{2}\" ${a}; }\n\
        upstream shop {\n\
        \tzone shop 64k; # zdt: zone\n\
        \tserver 10.0.0.11:8080; # zdt: web1\n\
        \tserver 10.0.0.12:8080 max_fails=0 ;# zdt: web2 here\n\
        \tserver unix:/run/shop.sock  down  backup;\n\
        \tkeepalive 32;\n\
        }\n\
        upstream other { server 10.0.0.11:8080; }\n\
        server { listen 80; location / { proxy_pass http://shop; } }\n";

    fn drained(text: &str, server: &str) -> Result<String, Trouble> {
        edited(text, "shop", server, true)
    }

    #[test]
    fn servers_have_the_name_of_their_comment_or_their_address() {
        let pool = pool(FILE, "shop").unwrap();
        let seen: Vec<_> = pool
            .servers
            .iter()
            .map(|it| (&*it.name, it.state, &*it.says))
            .collect();
        assert_eq!(
            seen,
            [
                ("web1", State::Up, "10.0.0.11:8080"),
                ("web2", State::Up, "10.0.0.12:8080 max_fails=0"),
                (
                    "unix:/run/shop.sock",
                    State::Out,
                    "unix:/run/shop.sock down backup"
                ),
            ]
        );
        assert!(!pool.is_last_up("web1"));
    }

    #[test]
    fn only_the_one_word_changes() {
        let out = drained(FILE, "web2").unwrap();
        assert_eq!(out, FILE.replace("max_fails=0 ;", "max_fails=0  down;"));
        assert_eq!(drained(FILE, "10.0.0.12:8080").unwrap(), out);
        assert_eq!(drained(&out, "web2").unwrap(), out);
        assert_eq!(edited(&out, "shop", "web2", false).unwrap(), FILE);
        let back = edited(FILE, "shop", "unix:/run/shop.sock", false).unwrap();
        assert_eq!(back, FILE.replace("  down  backup", "   backup"));
        let last = pool(&out, "shop").unwrap();
        assert!(last.is_last_up("web1") && !last.is_last_up("web2"));
    }

    #[test]
    fn what_is_not_there_is_told_with_what_is() {
        let trouble = drained(FILE, "web3").unwrap_err();
        assert_eq!(trouble.what, "there is no server `web3` in upstream `shop`");
        assert!(trouble.hint.contains("web1"), "{}", trouble.hint);
        let trouble = edited(FILE, "shops", "web1", true).unwrap_err();
        assert_eq!(
            (trouble.line, &*trouble.what, &*trouble.hint),
            (
                None,
                "there is no upstream `shops`",
                "did you mean `shop`? there is `shop` and `other`"
            )
        );
    }

    #[test]
    fn a_broken_file_is_told_with_its_line() {
        let told = |text: &str| drained(text, "a").unwrap_err().to_string();
        assert_eq!(
            told("upstream shop {\n server a;\n"),
            "line 1: this `{` is not closed"
        );
        assert_eq!(
            told("upstream shop {\n server a\n}\n"),
            "line 2: `server` has no `;` at its end"
        );
        assert_eq!(
            told("upstream shop {\n server a # b;\n server b;\n}\n"),
            "line 2: `server` has no `;` at its end"
        );
        assert_eq!(told("x;\n}\n"), "line 2: this `}` closes nothing");
        assert_eq!(
            told("upstream shop {\n server \"a;\n}"),
            "line 2: this quote is not closed"
        );
        assert_eq!(
            told("upstream shop { server a; server a; }"),
            "line 1: there is more than one server `a` in upstream `shop`"
        );
        assert_eq!(
            told("upstream shop { server a; }\nupstream shop { server b; }"),
            "line 2: upstream `shop` is here, and in line 1 too"
        );
        assert_eq!(
            told("upstream shop {\n include servers.conf;\n}"),
            "line 2: the servers of upstream `shop` (line 1) are in another file"
        );
    }

    #[test]
    fn what_nginx_prints_says_whether_it_keeps_connections() {
        let keeps = |text: &str| keeps_connections(text).unwrap();
        assert!(keeps(
            "# configuration file /etc/nginx/nginx.conf:\nhttp { keepalive_min_timeout 5s; }\n"
        ));
        assert!(keeps(
            "http { server { listen 80; keepalive_min_timeout \"1m 30s\"; } }"
        ));
        for text in [
            FILE,
            "",
            "http { keepalive_min_timeout 0s; }",
            "http { # keepalive_min_timeout 5s;\n keepalive_timeout 15s; }",
            "http { log_format x \"keepalive_min_timeout 5s;\"; }",
        ] {
            assert!(!keeps(text), "{text}");
        }
        assert!(keeps_connections("http { log_format \"x; }").is_err());
        assert_eq!(
            version("nginx version: nginx/1.22.1 (Ubuntu)\nbuilt"),
            Some("nginx/1.22.1")
        );
        assert_eq!(
            version("nginx version: openresty/1.21.4.1\n"),
            Some("openresty/1.21.4.1")
        );
        assert_eq!(version("no such program"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(upstream shop )?(\\PC|[{};#\"'\\\\\n$ ])*") {
            let _ = drained(&text, "a");
            let _ = keeps_connections(&text);
        }

        #[test]
        fn drain_then_restore_gives_the_same_bytes(
            before in "[a-z# \t]{0,20}\n",
            blank in "[ \t\n]{1,3}",
            parameters in "( [a-z]{1,3}=[0-9]){0,2}([ \t\n]{0,2}| #[a-z;]{0,5}\n)",
            after in "[ \t]{0,2}(# zdt: web1)?\n[ \t\n]{0,3}",
        ) {
            let text = format!(
                "#{before}upstream shop {{{blank}server{blank}10.0.0.1:80{parameters};{after}server x;{blank}}}\n"
            );
            let out = drained(&text, "10.0.0.1:80").unwrap();
            prop_assert_ne!(&out, &text);
            prop_assert_eq!(pool(&out, "shop").unwrap().servers[0].state, State::Out);
            prop_assert_eq!(edited(&out, "shop", "10.0.0.1:80", false).unwrap(), text);
        }
    }
}
