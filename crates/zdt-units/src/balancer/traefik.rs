//! A YAML file of Traefik's file provider. A server is out while its lines are comments; all other bytes stay.
//!
//! Only the way to `http.services.NAME.loadBalancer.servers` is read, in block style. So nothing has to be written
//! anew, and comments, order and quotes stay as they are.

pub mod api;

use std::ops::Range;

use super::{Pool, Server, State, Trouble, marker, unknown};

/// Before each line of a server that is out.
const OUT: &str = "#zdt-out ";

/// The servers of the service.
pub fn pool(text: &str, backend: &str) -> Result<Pool, Trouble> {
    let servers = servers(text, backend)?;
    Ok(Pool {
        backend: backend.to_owned(),
        servers: servers.entries.iter().map(Entry::server).collect(),
    })
}

/// `text` with the server out of its service, or in it again.
pub fn edited(text: &str, backend: &str, server: &str, out: bool) -> Result<String, Trouble> {
    let Servers { key, entries } = servers(text, backend)?;
    let mut meant = entries.iter().filter(|entry| entry.is(server));
    let entry = match (meant.next(), meant.next()) {
        (Some(entry), None) => entry,
        (Some(first), Some(_)) => {
            return Err(Trouble::new(
                first.lines[0].number,
                format!("there is more than one server `{server}` in service `{backend}`"),
                "write `# zdt: NAME` with another name behind each",
            ));
        }
        (None, _) => {
            let known: Vec<&str> = entries.iter().map(Entry::name).collect();
            let place = format!(" in service `{backend}`");
            return Err(unknown("server", server, &place, &known));
        }
    };
    let mut edited = text.to_owned();
    if entry.out != out {
        for line in entry.lines.iter().rev() {
            let at = line.start + line.blank;
            match out {
                true => edited.insert_str(at, OUT),
                false => edited.replace_range(at..at + OUT.len(), ""),
            }
        }
        let others = entries.iter().filter(|other| other.name() != entry.name());
        let has_none = out && others.clone().all(|other| other.out);
        let at = key.start + key.blank;
        let says_none = pair(key.text).is_some_and(|(_, value)| !value.is_empty());
        match (colon(key.text), key.text.find(NONE)) {
            (Some(colon), _) if has_none && !says_none => {
                edited.insert_str(at + colon + 1, NONE);
            }
            (_, Some(place)) if !has_none && says_none => {
                edited.replace_range(at + place..at + place + NONE.len(), "");
            }
            _ => {}
        }
    }
    Ok(edited)
}

/// Behind `servers:` while all of them are out: Traefik takes no file with a service that has nothing at all.
const NONE: &str = " []";

struct Servers<'a> {
    key: Line<'a>,
    entries: Vec<Entry<'a>>,
}

/// One item of `servers`.
struct Entry<'a> {
    lines: Vec<Line<'a>>,
    url: &'a str,
    marker: Option<&'a str>,
    out: bool,
}

impl<'a> Entry<'a> {
    /// Also by the address in its URL.
    fn is(&self, server: &str) -> bool {
        let address = self.url.split_once("://").map(|(_, rest)| rest);
        self.marker == Some(server)
            || self.url == server
            || address.is_some_and(|address| address.trim_end_matches('/') == server)
    }

    fn name(&self) -> &'a str {
        self.marker.unwrap_or(self.url)
    }

    fn server(&self) -> Server {
        Server {
            name: self.name().to_owned(),
            state: match self.out {
                false => State::Up,
                true => State::Out,
            },
            says: self.url.to_owned(),
            in_flight: None,
        }
    }
}

/// One line with something on it; what is out reads as what it was.
#[derive(Clone, Copy)]
struct Line<'a> {
    number: usize,
    /// In the text.
    start: usize,
    /// Spaces before it.
    blank: usize,
    /// Without them.
    text: &'a str,
    out: bool,
}

fn lines(text: &str) -> Result<Vec<Line<'_>>, Trouble> {
    let mut lines = Vec::new();
    let mut start = 0;
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let at = start;
        start += line.len();
        let line = line.trim_end();
        let content = line.trim_start_matches(' ');
        let (out, content) = match content.strip_prefix(OUT) {
            Some(content) => (true, content),
            None => (false, content),
        };
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let line = Line {
            number,
            start: at,
            blank: line.len() - line.trim_start_matches(' ').len(),
            text: content,
            out,
        };
        match content {
            "---" if lines.is_empty() => {}
            "---" | "..." => {
                return Err(Trouble::new(
                    number,
                    "a second document begins here",
                    "Traefik reads one: put the other into a file of its own",
                ));
            }
            _ if content.starts_with('\t') => {
                return Err(Trouble::new(
                    number,
                    "this line begins with a tab",
                    "YAML wants spaces",
                ));
            }
            _ => lines.push(line),
        }
    }
    Ok(lines)
}

fn servers<'a>(text: &'a str, backend: &str) -> Result<Servers<'a>, Trouble> {
    let lines = lines(text)?;
    let all = 0..lines.len();
    let (_, http) = child(&lines, all, "http", "")?;
    let (_, services) = child(&lines, http, "services", "http")?;
    let known: Vec<&str> = keys(&lines, services.clone())?
        .iter()
        .map(|(name, _)| *name)
        .collect();
    if !known.contains(&backend) {
        return Err(unknown("service", backend, " in `http.services`", &known));
    }
    let path = format!("http.services.{backend}");
    let (_, service) = child(&lines, services, backend, "http.services")?;
    let (_, balancer) = child(&lines, service, "loadBalancer", &path)?;
    let path = format!("{path}.loadBalancer");
    // Items may stand as far left as their key.
    let end = balancer.end;
    let (key, _) = child(&lines, balancer, "servers", &path)?;
    let inside = &lines[key + 1..end];
    let belongs = |line: &&Line<'_>| {
        line.blank > lines[key].blank || (line.blank == lines[key].blank && is_item(line.text))
    };
    let inside: Vec<Line<'a>> = inside.iter().take_while(belongs).copied().collect();
    let key = lines[key];
    let entries = items(&inside, key.number)?;
    if entries.iter().any(|entry| !entry.out) {
        in_block_style(&key, "servers", "")?;
    }
    Ok(Servers { key, entries })
}

fn is_item(text: &str) -> bool {
    text == "-" || text.starts_with("- ")
}

fn items<'a>(lines: &[Line<'a>], key: usize) -> Result<Vec<Entry<'a>>, Trouble> {
    let Some(first) = lines.first() else {
        return Ok(Vec::new());
    };
    let mut entries: Vec<Entry<'a>> = Vec::new();
    for line in lines {
        let begins = line.blank == first.blank;
        if begins != is_item(line.text) && (begins || entries.is_empty())
            || line.blank < first.blank
        {
            return Err(Trouble::new(
                line.number,
                format!("this is no item of `servers` (line {key})"),
                "write each as `- url: \"http://HOST:PORT\"`, all equally far to the right",
            ));
        }
        match entries.last_mut() {
            Some(entry) if !begins => {
                if entry.out != line.out {
                    return Err(Trouble::new(
                        line.number,
                        "one part of this server is a comment, and another is not",
                        format!(
                            "put `{}` before all of its lines, or before none",
                            OUT.trim_end()
                        ),
                    ));
                }
                entry.lines.push(*line);
            }
            _ => entries.push(Entry {
                lines: vec![*line],
                url: "",
                marker: None,
                out: line.out,
            }),
        }
    }
    for entry in &mut entries {
        for line in &entry.lines {
            let text = line
                .text
                .strip_prefix('-')
                .unwrap_or(line.text)
                .trim_start();
            if let Some((name, value)) = pair(text)
                && name == "url"
            {
                entry.url = unquoted(value);
            }
            entry.marker = entry.marker.or_else(|| marker(comment(line.text)?));
        }
        if entry.url.is_empty() {
            return Err(Trouble::new(
                entry.lines[0].number,
                "this server has no `url`",
                "write it as `- url: \"http://HOST:PORT\"`, in block style",
            ));
        }
    }
    Ok(entries)
}

/// The line of the key `name`, and what belongs to it.
fn child(
    lines: &[Line<'_>],
    inside: Range<usize>,
    name: &str,
    path: &str,
) -> Result<(usize, Range<usize>), Trouble> {
    let keys = keys(lines, inside)?;
    let mut found = keys.iter().filter(|(key, _)| *key == name);
    let Some((_, place)) = found.next() else {
        let known: Vec<&str> = keys.iter().map(|(key, _)| *key).collect();
        let place = match path {
            "" => String::new(),
            path => format!(" in `{path}`"),
        };
        return Err(unknown("key", name, &place, &known));
    };
    let line = &lines[place.start];
    if let Some((_, second)) = found.next() {
        return Err(Trouble::new(
            lines[second.start].number,
            format!("`{name}` is here, and in line {} too", line.number),
            "remove one of them",
        ));
    }
    let none = match name {
        "servers" => NONE.trim(),
        _ => "",
    };
    in_block_style(line, name, none)?;
    Ok((place.start, place.start + 1..place.end))
}

/// Nothing follows the key on its line, or `none`.
fn in_block_style(line: &Line<'_>, name: &str, none: &str) -> Result<(), Trouble> {
    let value = pair(line.text).map_or("", |(_, value)| value);
    match value.is_empty() || value == none {
        true => Ok(()),
        false => Err(Trouble::new(
            line.number,
            format!("what follows `{name}:` is not in block style"),
            "write it below the key, one key or item a line",
        )),
    }
}

/// The keys that stand furthest to the left, each with its lines.
fn keys<'a>(
    lines: &[Line<'a>],
    inside: Range<usize>,
) -> Result<Vec<(&'a str, Range<usize>)>, Trouble> {
    let Some(first) = lines[inside.clone()].first() else {
        return Ok(Vec::new());
    };
    let mut keys: Vec<(&str, Range<usize>)> = Vec::new();
    for place in inside {
        let line = &lines[place];
        if let (true, Some((_, last))) = (
            line.blank > first.blank || is_item(line.text),
            keys.last_mut(),
        ) {
            last.end = place + 1;
            continue;
        }
        match pair(line.text) {
            Some((name, _)) if line.blank == first.blank => keys.push((name, place..place + 1)),
            _ => {
                return Err(Trouble::new(
                    line.number,
                    "this is no key in block style",
                    "write `KEY:` here, as far to the right as its neighbours",
                ));
            }
        }
    }
    Ok(keys)
}

/// Where the one is that ends the key.
fn colon(text: &str) -> Option<usize> {
    let mut colons = text.match_indices(':').map(|(at, _)| at);
    colons.find(|at| matches!(text.as_bytes().get(at + 1), None | Some(b' ')))
}

/// `key: value`, without quotes around the key and without a comment behind the value.
fn pair(text: &str) -> Option<(&str, &str)> {
    let (name, value) = match text.chars().next()? {
        quote @ ('"' | '\'') => {
            let (name, rest) = text[1..].split_once(quote)?;
            (name, rest.trim_start().strip_prefix(':')?)
        }
        _ => {
            let colon = colon(text)?;
            (text[..colon].trim_end(), &text[colon + 1..])
        }
    };
    let value = match comment(value) {
        Some(comment) => &value[..value.len() - comment.len()],
        None => value,
    };
    Some((name, value.trim()))
}

/// From its `#` on, which stands after a space and outside of quotes.
fn comment(text: &str) -> Option<&str> {
    let mut quote = None;
    let mut before = ' ';
    for (at, char) in text.char_indices() {
        match (quote, char) {
            (None, '"' | '\'') if before == ' ' => quote = Some(char),
            (Some(open), _) if open == char => quote = None,
            (None, '#') if before == ' ' => return Some(&text[at..]),
            _ => {}
        }
        before = char;
    }
    None
}

fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        let inside = value
            .strip_prefix(quote)
            .and_then(|value| value.strip_suffix(quote));
        if let Some(inside) = inside {
            return inside;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use yaml_rust2::YamlLoader;

    use super::*;

    const FILE: &str = "# shop\n\
http:\n\
\x20 routers:\n\
\x20   shop:\n\
\x20     rule: \"Host(`shop.example`)\" # services:\n\
\x20     service: shop\n\
\x20 services:\n\
\x20   'shop':\n\
\x20     loadBalancer:\n\
\x20       passHostHeader: true\n\
\x20       servers:\n\
\x20         - url: \"http://10.0.0.11:8080\" # zdt: web1\n\
\x20           weight: 1\n\
\n\
\x20         # the second\n\
\x20         - weight: 2 # zdt: web2\n\
\x20           url: http://10.0.0.12:8080/\n\
\x20       healthCheck:\n\
\x20         path: /readyz\n\
\x20   other:\n\
\x20     loadBalancer:\n\
\x20       servers:\n\
\x20       - url: http://10.0.0.11:8080\n\
\x20       sticky: {}\n";

    /// The servers as a YAML library reads them.
    fn read(text: &str, backend: &str) -> Vec<String> {
        let read = YamlLoader::load_from_str(text).unwrap();
        let servers = &read[0]["http"]["services"][backend]["loadBalancer"]["servers"];
        let servers = servers.as_vec().into_iter().flatten();
        servers
            .map(|server| server["url"].as_str().unwrap().to_owned())
            .collect()
    }

    fn drained(text: &str, server: &str) -> Result<String, Trouble> {
        edited(text, "shop", server, true)
    }

    #[test]
    fn servers_are_known_by_their_comment_or_their_address() {
        let pool = pool(FILE, "shop").unwrap();
        let names: Vec<_> = pool
            .servers
            .iter()
            .map(|it| (&*it.name, &*it.says))
            .collect();
        assert_eq!(
            names,
            [
                ("web1", "http://10.0.0.11:8080"),
                ("web2", "http://10.0.0.12:8080/")
            ]
        );
        let urls: Vec<_> = pool.servers.iter().map(|it| &*it.says).collect();
        assert_eq!(read(FILE, "shop"), urls);
        let other = super::pool(FILE, "other").unwrap();
        assert_eq!(other.servers.len(), 1);
        assert!(other.is_last_up("http://10.0.0.11:8080"));
    }

    #[test]
    fn lines_of_a_server_become_comments_and_nothing_else_changes() {
        let out = drained(FILE, "web2").unwrap();
        let expected = FILE.replace("- weight: 2", "#zdt-out - weight: 2").replace(
            "  url: http://10.0.0.12",
            "  #zdt-out url: http://10.0.0.12",
        );
        assert_eq!(out, expected);
        assert_eq!(read(&out, "shop"), ["http://10.0.0.11:8080"]);
        assert_eq!(read(&out, "other").len(), 1);
        assert_eq!(drained(FILE, "10.0.0.12:8080").unwrap(), out);
        assert_eq!(drained(&out, "web2").unwrap(), out);
        assert_eq!(pool(&out, "shop").unwrap().servers[1].state, State::Out);
        assert_eq!(edited(&out, "shop", "web2", false).unwrap(), FILE);
        let both = drained(&out, "web1").unwrap();
        assert!(both.contains("        servers: []\n"), "{both}");
        assert_eq!(read(&both, "shop"), [""; 0]);
        assert_eq!(
            edited(&both, "shop", "web2", false).unwrap(),
            drained(FILE, "web1").unwrap()
        );
        let other = edited(FILE, "other", "10.0.0.11:8080", true).unwrap();
        assert_eq!(
            edited(&other, "other", "10.0.0.11:8080", false).unwrap(),
            FILE
        );
    }

    #[test]
    fn what_cannot_be_edited_is_told_with_its_line() {
        let told = |text: &str| drained(text, "a").unwrap_err().to_string();
        let servers = |inside: &str| {
            told(&format!(
                "http:\n services:\n  shop:\n   loadBalancer:\n    servers:{inside}\n"
            ))
        };
        assert_eq!(
            servers(" [{url: a}]"),
            "line 5: what follows `servers:` is not in block style"
        );
        assert_eq!(
            servers(" []\n     - url: a"),
            "line 5: what follows `servers:` is not in block style"
        );
        assert_eq!(
            servers(" *a"),
            "line 5: what follows `servers:` is not in block style"
        );
        assert_eq!(
            servers("\n     - {url: a}"),
            "line 6: this server has no `url`"
        );
        assert_eq!(
            servers("\n     {{ range . }}\n     - url: a"),
            "line 6: this is no item of `servers` (line 5)"
        );
        assert_eq!(
            servers("\n     - url: a\n     {{ end }}"),
            "line 7: this is no item of `servers` (line 5)"
        );
        assert_eq!(
            servers("\n     - url: a\n     - url: a"),
            "line 6: there is more than one server `a` in service `shop`"
        );
        assert_eq!(
            servers("\n     - url: b"),
            "there is no server `a` in service `shop`"
        );
        assert_eq!(
            told("http:\n\tservices:\n"),
            "line 2: this line begins with a tab"
        );
        assert_eq!(
            told("http:\n a: 1\n---\nhttp:\n"),
            "line 3: a second document begins here"
        );
        assert_eq!(
            told("http:\n services:\n  x:\n   y: 1\n"),
            "there is no service `shop` in `http.services`"
        );
        assert_eq!(told(""), "there is no key `http`");
        assert_eq!(
            told("http: {}"),
            "line 1: what follows `http:` is not in block style"
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(http:\n services:\n  shop:\n)?(\\PC|[-:#\"'\n ]|url: a)*") {
            let _ = drained(&text, "a");
        }

        #[test]
        fn drain_then_restore_gives_the_same_bytes(
            blank in 0_usize..3,
            first in "(  weight: [0-9]\n)?",
            between in "(\n| *# [a-z:]{0,5}\n){0,2}",
            which in 0_usize..3,
        ) {
            let far = " ".repeat(4 + blank);
            let more = |text: &str| match text { "" => String::new(), text => format!("{far}{text}") };
            let items: String = (0..3)
                .map(|number| format!("{far}- url: 'http://h{number}:80' # zdt: web{number}\n{}{between}", more(&first)))
                .collect();
            let text = format!(
                "http:\n services:\n  shop:\n   loadBalancer:\n    servers:\n{items}{between}"
            );
            let server = format!("web{which}");
            let out = drained(&text, &server).unwrap();
            prop_assert_ne!(&out, &text);
            let left: Vec<_> = (0..3).filter(|it| *it != which).map(|it| format!("http://h{it}:80")).collect();
            prop_assert_eq!(read(&out, "shop"), left);
            prop_assert_eq!(pool(&out, "shop").unwrap().servers[which].state, State::Out);
            prop_assert_eq!(edited(&out, "shop", &server, false).unwrap(), text);
        }
    }
}
