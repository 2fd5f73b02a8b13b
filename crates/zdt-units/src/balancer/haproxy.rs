//! The answers of HAProxy's runtime API.

use super::{Pool, Server, State, Trouble};

/// What `show stat BACKEND 4 -1` and `show servers state BACKEND` say of it.
pub fn pool(backend: &str, stat: &str, states: &str) -> Result<Pool, Trouble> {
    let admin = admin_states(states)?;
    let mut servers = Vec::new();
    for row in rows(stat, ',', "pxname")? {
        if row.get("pxname")? != backend || row.get("type")? != "2" {
            continue;
        }
        let name = row.get("svname")?;
        let known = admin.iter().find(|(server, _)| server == name);
        let says = row.get("status")?;
        servers.push(Server {
            name: name.to_owned(),
            state: known.map_or_else(|| state(says), |(_, bits)| standing(says, *bits)),
            says: known.map_or_else(|| says.to_owned(), |(_, bits)| explained(says, *bits)),
            in_flight: Some(row.number("scur")? + row.number("qcur")?),
        });
    }
    Ok(Pool {
        backend: backend.to_owned(),
        servers,
    })
}

/// `UP`, `UP 1/3`, `no check`, `DOWN (agent)`, `NOLB 1/2`, `DRAIN`, `MAINT (via shop/web2)`.
fn state(status: &str) -> State {
    match status.split([' ', '(']).next() {
        Some("UP" | "no") => State::Up,
        Some("DRAIN" | "MAINT") => State::Out,
        _ => State::Down,
    }
}

/// `srv_admin_state` of HAProxy's management guide, as far as `state ready` does not end it.
const INHERITED: u64 = 0x02 | 0x10;
const RESOLUTION: u64 = 0x20;
/// As far as it does.
const FORCED: u64 = 0x01 | 0x08;

/// One that was taken out and whose check fails is `DOWN` in words, and comes back by itself as `DRAIN`.
fn standing(says: &str, admin: u64) -> State {
    match admin & (FORCED | INHERITED | RESOLUTION) {
        0 => state(says),
        _ => State::Out,
    }
}

fn explained(says: &str, admin: u64) -> String {
    let why = match standing(says, admin) {
        State::Up | State::Down => return says.to_owned(),
        State::Out if state(says) == State::Down => "and it was taken out",
        State::Out if admin & FORCED != 0 => return says.to_owned(),
        State::Out if admin & INHERITED != 0 => "of the server that it tracks",
        State::Out if admin & RESOLUTION != 0 => "its name does not resolve",
        State::Out => "its weight is 0",
    };
    match says.contains('(') {
        true => says.to_owned(),
        false => format!("{says} ({why})"),
    }
}

/// Each server with its bits.
fn admin_states(text: &str) -> Result<Vec<(String, u64)>, Trouble> {
    // The first line is the version of the format.
    let rows = rows(text, ' ', "be_id")?;
    rows.iter()
        .map(|row| {
            Ok((
                row.get("srv_name")?.to_owned(),
                row.number("srv_admin_state")?,
            ))
        })
        .collect()
}

/// A line below the names of its columns, which differ between releases.
struct Row<'a> {
    names: Vec<&'a str>,
    cells: Vec<&'a str>,
}

impl<'a> Row<'a> {
    fn get(&self, name: &str) -> Result<&'a str, Trouble> {
        let place = self.names.iter().position(|known| *known == name);
        let cell = place.and_then(|place| self.cells.get(place).copied());
        cell.ok_or_else(|| not_understood(&format!("a line without `{name}`")))
    }

    fn number(&self, name: &str) -> Result<u64, Trouble> {
        let cell = self.get(name)?;
        let number = cell.parse();
        number.map_err(|_| not_understood(&format!("`{cell}` as `{name}`")))
    }
}

/// The lines below the one that starts with `# first`.
fn rows<'a>(text: &'a str, between: char, first: &str) -> Result<Vec<Row<'a>>, Trouble> {
    let mut lines = text.lines().skip_while(|line| {
        let names = line.strip_prefix("# ");
        names.and_then(|names| names.split(between).next()) != Some(first)
    });
    let Some(head) = lines.next() else {
        return Err(refusal(text));
    };
    let names: Vec<&str> = head["# ".len()..].split(between).collect();
    let rows = lines.filter(|line| !line.trim().is_empty());
    Ok(rows
        .map(|line| Row {
            names: names.clone(),
            cells: line.split(between).collect(),
        })
        .collect())
}

fn not_understood(what: &str) -> Trouble {
    Trouble::new(
        None,
        format!("HAProxy answered with {what}"),
        "is that its runtime API? HAProxy 1.8 and newer are understood",
    )
}

/// What HAProxy says in the place of an answer. Nothing at all is no refusal.
pub fn refusal(said: &str) -> Trouble {
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let hint = match said.as_str() {
        "Permission denied" => "give the socket `level admin` in HAProxy's `stats socket` line",
        "No such proxy." | "Can't find backend." | "No such backend." | "No such server." => {
            "its backends are those of `show backend`"
        }
        "" => "is that its runtime API?",
        _ => "see HAProxy's management guide",
    };
    let what = match said.is_empty() {
        true => "HAProxy answered nothing".to_owned(),
        false => format!(
            "HAProxy says: {}",
            said.chars().take(300).collect::<String>()
        ),
    };
    Trouble::new(None, what, hint)
}

/// The names that `show backend` has.
pub fn backends(text: &str) -> Vec<&str> {
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

/// There is no such backend.
pub fn is_unknown_backend(said: &str) -> bool {
    matches!(said.trim(), "No such proxy." | "Can't find backend.")
}

/// That backend is not among these.
pub fn unknown_backend(name: &str, known: &[&str]) -> Trouble {
    super::unknown("backend", name, "", known)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: &str = "1\n\
        # be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight\n\
        3 shop 1 web1 127.0.0.1 2 0 1\n\
        3 shop 2 web2 127.0.0.1 2 8 1\n\
        3 shop 3 web3 127.0.0.1 0 5 1\n\
        3 shop 4 web4 127.0.0.1 2 0 0\n\
        3 shop 5 web5 127.0.0.1 0 2 1\n\
        3 shop 6 web6 - 0 32 1\n\
        3 shop 7 web7 127.0.0.1 0 0 1\n\
        3 shop 8 web8 127.0.0.1 3 0 1\n\
        3 shop 10 web10 127.0.0.1 0 8 1\n\n";

    fn stat() -> String {
        let head = "# pxname,svname,qcur,qmax,scur,smax,status,weight,type,check_status,";
        let of = |name: &str, qcur: u32, scur: u32, status: &str| {
            format!("shop,{name},{qcur},0,{scur},9,{status},1,2,L7OK,")
        };
        [
            head.to_owned(),
            of("web1", 1, 2, "UP 1/3"),
            of("web2", 0, 1, "DRAIN"),
            of("web3", 0, 0, "MAINT"),
            of("web4", 0, 0, "DRAIN"),
            of("web5", 0, 0, "MAINT (via other/web5)"),
            of("web6", 0, 0, "MAINT"),
            of("web7", 0, 0, "DOWN (agent)"),
            of("web8", 0, 0, "NOLB"),
            of("web9", 0, 0, "no check"),
            of("web10", 0, 0, "DOWN"),
            "shop,BACKEND,0,0,3,9,UP,1,1,,".to_owned(),
            "other,web1,0,0,3,9,UP,1,2,,\n".to_owned(),
        ]
        .join("\n")
    }

    #[test]
    fn each_state_is_read_with_its_reason() {
        let pool = pool("shop", &stat(), STATES).unwrap();
        let seen: Vec<_> = pool
            .servers
            .iter()
            .map(|it| (&*it.name, it.state, &*it.says, it.in_flight))
            .collect();
        assert_eq!(
            seen,
            [
                ("web1", State::Up, "UP 1/3", Some(3)),
                ("web2", State::Out, "DRAIN", Some(1)),
                ("web3", State::Out, "MAINT", Some(0)),
                ("web4", State::Out, "DRAIN (its weight is 0)", Some(0)),
                ("web5", State::Out, "MAINT (via other/web5)", Some(0)),
                (
                    "web6",
                    State::Out,
                    "MAINT (its name does not resolve)",
                    Some(0)
                ),
                ("web7", State::Down, "DOWN (agent)", Some(0)),
                ("web8", State::Down, "NOLB", Some(0)),
                ("web9", State::Up, "no check", Some(0)),
                ("web10", State::Out, "DOWN (and it was taken out)", Some(0)),
            ]
        );
        assert!(!pool.is_last_up("web1"));
        let trouble = pool.server("web11").unwrap_err();
        assert_eq!(trouble.what, "there is no server `web11` in `shop`");
        assert!(trouble.hint.contains("`web9`"), "{}", trouble.hint);
    }

    #[test]
    fn what_is_no_answer_is_told_as_it_was_said() {
        let said = |stat: &str| pool("shop", stat, STATES).unwrap_err();
        assert_eq!(
            said("No such proxy.\n").what,
            "HAProxy says: No such proxy."
        );
        let denied = said("Permission denied\n");
        assert!(denied.hint.contains("level admin"), "{}", denied.hint);
        assert_eq!(said("").what, "HAProxy answered nothing");
        assert_eq!(
            said("# pxname,svname\nshop,web1").what,
            "HAProxy answered with a line without `type`"
        );
        let odd = "# pxname,svname,qcur,scur,status,type\nshop,web1,x,0,UP,2\n";
        assert_eq!(said(odd).what, "HAProxy answered with `x` as `qcur`");
        let cut = "# pxname,svname,qcur,scur,status,type\nshop,web1\n";
        assert_eq!(
            said(cut).what,
            "HAProxy answered with a line without `type`"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_answer_makes_it_panic(stat in "(# pxname,svname,type\n)?\\PC*", states in "(# be_id \n)?\\PC*") {
            let _ = pool("shop", &stat, &states);
        }
    }
}
