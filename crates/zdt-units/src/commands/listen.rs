//! Reads `--listen [NAME=]ADDRESS` and `--health ADDRESS`. Pure.

use crate::model::{Address, Ipv6, Listen, Name, Socket, UnitName};

const DEFAULT_BACKLOG: u32 = 4096;
const HEALTH_BACKLOG: u32 = 64;
const HEALTH: &str = "health";

/// The sockets as a service of `zdt.toml` would have them, or every mistake.
pub(super) fn sockets(listen: &[String], health: Option<&str>) -> Result<Vec<Socket>, Vec<String>> {
    let mut mistakes = Vec::new();
    let mut sockets: Vec<Socket> = Vec::new();
    let mut addresses: Vec<Address> = Vec::new();
    let named = listen.iter().map(|text| ("--listen", text.as_str()));
    let health = health.map(|text| ("--health", text));
    for (flag, text) in named.chain(health) {
        let (name, address) = match text.split_once('=') {
            Some((name, address)) if flag == "--listen" => (name, address),
            _ if flag == "--listen" => ("http", text),
            _ => (HEALTH, text),
        };
        let mut mistake = |what: String| mistakes.push(format!("{flag} {text}: {what}"));
        if flag == "--listen" && name == HEALTH {
            mistake("write `--health ADDRESS` for the health listener".to_owned());
            continue;
        }
        let name = Name::parse(name).map_err(explained);
        let address = Address::parse(address).map_err(explained);
        let (name, address) = match (name, address) {
            (Ok(name), Ok(address)) => (name, address),
            (name, address) => {
                let wrong = [name.err(), address.err()];
                wrong.into_iter().flatten().for_each(mistake);
                continue;
            }
        };
        if let Some(other) = addresses.iter().find(|other| other.collides(&address)) {
            mistake(format!("`{other}` is listened on already"));
            continue;
        }
        sockets.push(socket(name, &address, flag == "--health"));
        addresses.push(address);
    }
    settle_ipv6(&mut sockets, &addresses);
    match mistakes.is_empty() {
        true => Ok(sockets),
        false => Err(mistakes),
    }
}

fn explained(mistake: crate::model::Mistake) -> String {
    match mistake.hint {
        Some(hint) => format!("{}; {hint}", mistake.message),
        None => mistake.message,
    }
}

fn socket(name: Name, address: &Address, health: bool) -> Socket {
    let listen = match address {
        Address::Tcp(address) => Listen::Tcp {
            addresses: vec![*address],
            ipv6: None,
            // A check that only connects would wait for a byte that never comes.
            defer_accept: !health,
        },
        Address::Unix(path) => Listen::Unix {
            paths: vec![path.clone()],
            mode: 0o660,
            user: None,
            group: None,
        },
    };
    Socket {
        unit: UnitName::parse(&format!("run-{name}.socket")).expect("a name is plain text"),
        name,
        listen,
        backlog: if health {
            HEALTH_BACKLOG
        } else {
            DEFAULT_BACKLOG
        },
    }
}

/// `[::]` steps back to IPv6 where an IPv4 socket has the same port.
fn settle_ipv6(sockets: &mut [Socket], all: &[Address]) {
    let has_ipv4 = |port| {
        all.iter().any(
            |address| matches!(address, Address::Tcp(tcp) if tcp.is_ipv4() && tcp.port() == port),
        )
    };
    for socket in sockets {
        if let Listen::Tcp {
            addresses, ipv6, ..
        } = &mut socket.listen
        {
            let wildcard = addresses.iter().find(|tcp| tcp.is_ipv6_wildcard());
            *ipv6 = wildcard.map(|tcp| match has_ipv4(tcp.port()) {
                true => Ipv6::Only,
                false => Ipv6::Both,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(listen: &[&str], health: Option<&str>) -> Result<Vec<Socket>, Vec<String>> {
        let listen: Vec<String> = listen.iter().map(|text| (*text).to_owned()).collect();
        sockets(&listen, health)
    }

    #[test]
    fn sockets_are_as_in_zdt_toml() {
        let listen = ["0.0.0.0:80", "[::]:80", "admin=/run/a.sock", "more=:81"];
        let shown: Vec<String> = read(&listen, Some("127.0.0.1:9090"))
            .unwrap()
            .iter()
            .map(|socket| {
                let addresses = socket.listen.addresses();
                let address = addresses.first().unwrap();
                let options = match &socket.listen {
                    Listen::Tcp {
                        ipv6, defer_accept, ..
                    } => format!("{ipv6:?} defer={defer_accept}"),
                    Listen::Unix { mode, .. } => format!("{mode:o}"),
                };
                format!("{} {address} {options} {}", socket.name, socket.backlog)
            })
            .collect();
        assert_eq!(
            shown,
            [
                "http 0.0.0.0:80 None defer=true 4096",
                "http [::]:80 Some(Only) defer=true 4096",
                "admin /run/a.sock 660 4096",
                "more :81 Some(Both) defer=true 4096",
                "health 127.0.0.1:9090 None defer=false 64",
            ]
        );
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let listen = ["80", "1x=:81x", "health=:90", ":91", "0.0.0.0:91"];
        assert_eq!(
            read(&listen, Some("localhost:9")).unwrap_err(),
            [
                "--listen 80: `80` does not say on which addresses; write `:80` for all of them, or `127.0.0.1:80`",
                "--listen 1x=:81x: `1x` does not do as a name; use a letter, then up to 30 letters, digits, `_` and `-`",
                "--listen 1x=:81x: `:81x` is not an address; write `0.0.0.0:80`, `[::]:80`, `:80` for both, or a path like `/run/shop.sock`",
                "--listen health=:90: write `--health ADDRESS` for the health listener",
                "--listen 0.0.0.0:91: `:91` is listened on already",
                "--health localhost:9: names are not looked up here; write `127.0.0.1:9`",
            ]
        );
    }
}
