//! The codes: a contract. A number is never given again, and never means something else.

use std::fmt::{self, Write};

use serde::Serialize;

/// How bad a finding is; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A port is closed or can close, or requests will be lost.
    Danger,
    /// Clients may wait long, or the next restart will not be proved.
    Warning,
    /// Good to know.
    Note,
}

/// What a finding of this number means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    pub id: &'static str,
    pub severity: Severity,
    pub title: &'static str,
    pub why: &'static str,
}

const fn danger(id: &'static str, title: &'static str, why: &'static str) -> Code {
    Code {
        id,
        severity: Severity::Danger,
        title,
        why,
    }
}

const fn warning(id: &'static str, title: &'static str, why: &'static str) -> Code {
    Code {
        id,
        severity: Severity::Warning,
        title,
        why,
    }
}

const fn note(id: &'static str, title: &'static str, why: &'static str) -> Code {
    Code {
        id,
        severity: Severity::Note,
        title,
        why,
    }
}

/// Every code, in order. What is here is tested both ways.
pub const CODES: &[Code] = &[
    danger(
        "ZDT-D001",
        "A start limit closes the port",
        "when a service may not start any more, systemd fails the socket that started it; crashes and manual restarts both count",
    ),
    danger(
        "ZDT-D002",
        "The trigger limit closes the port",
        "a service that is not started again by itself is started by each waiting connection, faster than systemd allows a socket to",
    ),
    danger(
        "ZDT-D003",
        "A condition of the service closes the port",
        "a start that is skipped leaves the connection waiting, which asks for the next start, until the trigger limit closes the port",
    ),
    danger(
        "ZDT-D004",
        "The service stops, or cannot start, with another unit",
        "`Restart=` does not count where a unit that is required fails: the waiting connections ask again until the port closes",
    ),
    danger(
        "ZDT-D005",
        "The socket stops with another unit",
        "a socket that stops closes its port, and everybody in its queue is reset",
    ),
    danger(
        "ZDT-D006",
        "A unit cannot be loaded",
        "a connection to the socket of a service that cannot be loaded fails the socket",
    ),
    danger(
        "ZDT-D007",
        "The socket is closed",
        "new clients are refused; a process that still runs serves from its own copy until it ends",
    ),
    danger(
        "ZDT-D008",
        "The port is closed although the socket is active",
        "an address that changed while the socket ran is dropped at the next `daemon-reload`, and the unit goes on counting as active",
    ),
    danger(
        "ZDT-D009",
        "The queue is thrown away",
        "`FlushPending=` closes every waiting connection when the service ends",
    ),
    danger(
        "ZDT-D010",
        "The program does not take a socket",
        "the kernel goes on queueing for it: clients connect, and hang",
    ),
    danger(
        "ZDT-D011",
        "The process does not have the socket",
        "it serves something else, or nothing: the socket was opened, or opened anew, after it started",
    ),
    danger(
        "ZDT-D012",
        "Another process listens at the address",
        "clients reach the one or the other, and the socket cannot be opened again",
    ),
    danger(
        "ZDT-D013",
        "Two socket units have the same address",
        "which of them gets it depends on the order of the boot",
    ),
    danger(
        "ZDT-D014",
        "Nothing holds the port during a restart",
        "a program that binds by itself closes its port when it ends, and everybody is refused until the next one has bound",
    ),
    note(
        "ZDT-D016",
        "A process for each connection",
        "with `Accept=yes` systemd accepts and a restart of the service is no matter; most of what is examined here does not apply",
    ),
    warning(
        "ZDT-D017",
        "The socket is not opened at boot",
        "after a reboot the port is closed until somebody starts the socket",
    ),
    warning(
        "ZDT-D018",
        "The service does not require its socket",
        "when the socket is closed the service goes on from its own copy, and the next start of it gets none",
    ),
    danger(
        "ZDT-D020",
        "systemd kills the process before it has drained",
        "requests that are still in it are cut, and `systemctl restart` exits with 0 all the same",
    ),
    warning(
        "ZDT-D021",
        "Processes are left behind",
        "with `KillMode=process` or `none` helpers of the old release go on beside the new one, with its sockets",
    ),
    warning(
        "ZDT-D022",
        "A wrapper is the main process",
        "the sockets (`LISTEN_PID`), SIGTERM and READY=1 are the wrapper's, and a program that looks takes none of them",
    ),
    warning(
        "ZDT-D030",
        "systemd does not know when the program is ready",
        "`systemctl restart` returns before the program serves, and a release that cannot start looks like a good one",
    ),
    warning(
        "ZDT-D031",
        "A start may take for ever",
        "a release that hangs at its start is never given up, and clients wait in the queue until they give up",
    ),
    danger(
        "ZDT-D032",
        "The service does not stay up",
        "connections wait in the queue for a process that does not come",
    ),
    warning(
        "ZDT-D040",
        "The kernel cuts the queue",
        "`Backlog=` above net.core.somaxconn is cut without a word",
    ),
    warning(
        "ZDT-D041",
        "The queue is shorter than a start",
        "a TCP client whose connection finds the queue full tries again after 1 s, 2 s and more, and then fails",
    ),
    warning(
        "ZDT-D042",
        "A full queue resets connections",
        "with tcp_abort_on_overflow a client that would try again is reset",
    ),
    warning(
        "ZDT-D043",
        "The queue of a Unix socket is short",
        "on a Unix socket a full queue is an error at once (EAGAIN, 502 from nginx), not a wait",
    ),
    warning(
        "ZDT-D044",
        "Each process has a queue of its own",
        "with `ReusePort=` what waits in the queue of a socket that closes is reset",
    ),
    note(
        "ZDT-D045",
        "Connections have found a full queue",
        "each of them waited a second or more; the counter is of the whole machine and never goes back",
    ),
    warning(
        "ZDT-D046",
        "A queue is almost full",
        "the service takes connections more slowly than they come, or does not run",
    ),
    warning(
        "ZDT-D050",
        "systemd has not read the files as they are",
        "the next start is made from what systemd read before",
    ),
    warning(
        "ZDT-D051",
        "The units are not what `zdt.toml` says",
        "a guarantee that holds for the generated units need not hold for others",
    ),
    note(
        "ZDT-D052",
        "This systemd is too old for something",
        "what it does not know it ignores",
    ),
    danger(
        "ZDT-D060",
        "Connections cannot be handed over",
        "without a descriptor store systemd closes what the old process gives it to keep",
    ),
    warning(
        "ZDT-D061",
        "A standby was left running",
        "it goes on with the release that it was started with, and takes its share of the connections",
    ),
    warning(
        "ZDT-D062",
        "The number of instances is not the one that is wanted",
        "a rolling restart counts on the others while one is replaced",
    ),
    warning(
        "ZDT-D063",
        "Fewer files than connections",
        "each connection is a file: above the limit accepting stops, and the queue fills",
    ),
    warning(
        "ZDT-D064",
        "The health endpoint does not answer 200",
        "a restart proves the new process by it, and fails without",
    ),
    danger(
        "ZDT-D065",
        "The link to the release is broken",
        "the process that runs goes on; the next start fails",
    ),
    danger(
        "ZDT-D066",
        "An operation broke off",
        "what was half done is still half done, and the next operation is refused",
    ),
    warning(
        "ZDT-D067",
        "The balancer sends no requests here",
        "the service is well and serves nobody; the other hosts carry its load, and nobody notices until the next one goes down",
    ),
    warning(
        "ZDT-D068",
        "The balancer cannot be asked",
        "whether requests come here is not known, and the next restart ends before it begins",
    ),
    warning(
        "ZDT-D070",
        "A disk is almost full",
        "releases, records and the program's own data need room",
    ),
    warning(
        "ZDT-D080",
        "Something could not be looked at",
        "what is not seen is not known to be right",
    ),
];

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Danger => "danger",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// The table of `docs/doctor.md`.
pub fn page() -> String {
    let mut page = "| Code | Severity | Finding | Why |\n| --- | --- | --- | --- |\n".to_owned();
    for code in CODES {
        let Code {
            id,
            severity,
            title,
            why,
        } = code;
        writeln!(page, "| `{id}` | {severity} | {title} | {why} |").expect("a string takes all");
    }
    page
}
