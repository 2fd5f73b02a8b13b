//! Reads what a service manager says it passed. Pure: the environment comes
//! in as a lookup function, and nothing is touched.
//!
//! Written by hand because `listenfd` and `sd-notify` answer "no descriptors"
//! both when nothing was passed and when it was passed to another process,
//! know one activator only, and clear the variables, which other threads may
//! be reading.

use std::os::fd::RawFd;

use super::ListenError;

/// The first inherited descriptor, fixed by `sd_listen_fds(3)`.
const FIRST_FD: RawFd = 3;

/// A descriptor that somebody says is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Promised {
    pub(super) fd: RawFd,
    pub(super) name: Option<String>,
}

/// What the variables say, before anything is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    Nothing,
    /// `LISTEN_PID` names another process.
    ToOther {
        listen_pid: u32,
        promised: Vec<Promised>,
    },
    ToUs(Vec<Promised>),
}

/// Reads the variables of, in this order, `sd_listen_fds(3)` (also used by
/// systemfd and circus), Server::Starter, and einhorn.
pub(super) fn passed(
    lookup: impl Fn(&str) -> Option<String>,
    pid: u32,
) -> Result<Passed, ListenError> {
    if let Some(count) = set(&lookup, "LISTEN_FDS") {
        return systemd(&lookup, &count, pid);
    }
    let promised = if let Some(ports) = set(&lookup, "SERVER_STARTER_PORT") {
        server_starter(&ports)?
    } else if let Some(count) = set(&lookup, "EINHORN_FD_COUNT") {
        einhorn(&lookup, &count)?
    } else {
        return Ok(Passed::Nothing);
    };
    Ok(match promised.is_empty() {
        true => Passed::Nothing,
        false => Passed::ToUs(promised),
    })
}

fn systemd(
    lookup: &impl Fn(&str) -> Option<String>,
    count: &str,
    pid: u32,
) -> Result<Passed, ListenError> {
    let count: usize = number("LISTEN_FDS", count)?;
    if count == 0 {
        return Ok(Passed::Nothing);
    }
    // An extension of systemfd and circus, which cannot choose the number.
    let first = match set(lookup, "LISTEN_FDS_FIRST_FD") {
        Some(first) => number("LISTEN_FDS_FIRST_FD", &first)?,
        None => FIRST_FD,
    };
    let mut promised: Vec<Promised> = (first..)
        .take(count)
        .map(|fd| Promised { fd, name: None })
        .collect();
    if let Some(names) = set(lookup, "LISTEN_FDNAMES") {
        let names: Vec<&str> = names.split(':').collect();
        if names.len() != count {
            return Err(ListenError::Malformed {
                variable: "LISTEN_FDNAMES".into(),
                value: names.join(":"),
                expected: format!("{count} names, because `LISTEN_FDS` is {count}"),
            });
        }
        for (promised, name) in promised.iter_mut().zip(names) {
            // "unknown" is what systemd writes for a descriptor without a name.
            promised.name = (!name.is_empty() && name != "unknown").then(|| name.to_owned());
        }
    }
    // systemd always sets LISTEN_PID; activators that start a shell in between
    // cannot, and leave it out.
    match set(lookup, "LISTEN_PID") {
        Some(listen_pid) => match number::<u32>("LISTEN_PID", &listen_pid)? {
            listen_pid if listen_pid == pid => Ok(Passed::ToUs(promised)),
            listen_pid => Ok(Passed::ToOther {
                listen_pid,
                promised,
            }),
        },
        None => Ok(Passed::ToUs(promised)),
    }
}

/// `SERVER_STARTER_PORT` is `127.0.0.1:80=3;/run/x.sock=4`.
fn server_starter(ports: &str) -> Result<Vec<Promised>, ListenError> {
    ports
        .split(';')
        .map(|entry| {
            let (name, fd) = entry
                .rsplit_once('=')
                .ok_or_else(|| ListenError::Malformed {
                    variable: "SERVER_STARTER_PORT".into(),
                    value: ports.into(),
                    expected: "entries of the form `address=descriptor`, joined by `;`".into(),
                })?;
            Ok(Promised {
                fd: number("SERVER_STARTER_PORT", fd)?,
                name: Some(name.to_owned()),
            })
        })
        .collect()
}

/// `EINHORN_FD_COUNT` is 2 and `EINHORN_FD_0`, `EINHORN_FD_1` hold the numbers.
fn einhorn(
    lookup: &impl Fn(&str) -> Option<String>,
    count: &str,
) -> Result<Vec<Promised>, ListenError> {
    (0..number::<usize>("EINHORN_FD_COUNT", count)?)
        .map(|index| {
            let variable = format!("EINHORN_FD_{index}");
            let value = lookup(&variable).unwrap_or_default();
            Ok(Promised {
                fd: number(&variable, &value)?,
                name: None,
            })
        })
        .collect()
}

fn set(lookup: &impl Fn(&str) -> Option<String>, variable: &str) -> Option<String> {
    lookup(variable).filter(|value| !value.is_empty())
}

fn number<T: std::str::FromStr>(variable: &str, value: &str) -> Result<T, ListenError> {
    value.parse().map_err(|_| ListenError::Malformed {
        variable: variable.into(),
        value: value.into(),
        expected: "a number".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Passed, String> {
        let lookup = |name: &str| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        passed(lookup, 42).map_err(|error| error.to_string())
    }

    fn promised(list: &[(RawFd, Option<&str>)]) -> Vec<Promised> {
        list.iter()
            .map(|(fd, name)| Promised {
                fd: *fd,
                name: name.map(str::to_owned),
            })
            .collect()
    }

    #[test]
    fn nothing_is_passed_to_a_program_started_by_hand() {
        assert_eq!(read(&[]), Ok(Passed::Nothing));
        assert_eq!(read(&[("LISTEN_FDS", "0")]), Ok(Passed::Nothing));
        assert_eq!(read(&[("LISTEN_FDS", "")]), Ok(Passed::Nothing));
        assert_eq!(read(&[("LISTEN_PID", "42")]), Ok(Passed::Nothing));
    }

    #[test]
    fn systemd_passes_names_in_the_order_of_descriptors() {
        let expected = promised(&[(3, Some("http")), (4, Some("http")), (5, None)]);
        assert_eq!(
            read(&[
                ("LISTEN_FDS", "3"),
                ("LISTEN_PID", "42"),
                ("LISTEN_FDNAMES", "http:http:unknown"),
            ]),
            Ok(Passed::ToUs(expected))
        );
    }

    #[test]
    fn another_pid_is_kept_apart_from_nothing() {
        assert_eq!(
            read(&[("LISTEN_FDS", "1"), ("LISTEN_PID", "41")]),
            Ok(Passed::ToOther {
                listen_pid: 41,
                promised: promised(&[(3, None)]),
            })
        );
    }

    #[test]
    fn systemfd_and_circus_may_leave_the_pid_out_and_start_elsewhere() {
        assert_eq!(
            read(&[("LISTEN_FDS", "2"), ("LISTEN_FDS_FIRST_FD", "7")]),
            Ok(Passed::ToUs(promised(&[(7, None), (8, None)])))
        );
    }

    #[test]
    fn server_starter_names_descriptors_by_address() {
        assert_eq!(
            read(&[("SERVER_STARTER_PORT", "127.0.0.1:80=3;/run/a=b.sock=5")]),
            Ok(Passed::ToUs(promised(&[
                (3, Some("127.0.0.1:80")),
                (5, Some("/run/a=b.sock")),
            ])))
        );
    }

    #[test]
    fn einhorn_numbers_its_descriptors() {
        assert_eq!(
            read(&[
                ("EINHORN_FD_COUNT", "2"),
                ("EINHORN_FD_0", "6"),
                ("EINHORN_FD_1", "9"),
            ]),
            Ok(Passed::ToUs(promised(&[(6, None), (9, None)])))
        );
    }

    #[test]
    fn nonsense_is_an_error_that_quotes_it() {
        let check = |variables: &[(&str, &str)], expected: &str| {
            assert_eq!(read(variables), Err(expected.to_owned()));
        };
        check(
            &[("LISTEN_FDS", "two")],
            "`LISTEN_FDS` is `two`, expected a number",
        );
        check(
            &[("LISTEN_FDS", "1"), ("LISTEN_PID", "-1")],
            "`LISTEN_PID` is `-1`, expected a number",
        );
        check(
            &[("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "http")],
            "`LISTEN_FDNAMES` is `http`, expected 2 names, because `LISTEN_FDS` is 2",
        );
        check(
            &[("SERVER_STARTER_PORT", "8080")],
            "`SERVER_STARTER_PORT` is `8080`, expected entries of the form `address=descriptor`, joined by `;`",
        );
        check(
            &[("EINHORN_FD_COUNT", "1")],
            "`EINHORN_FD_0` is ``, expected a number",
        );
    }
}
