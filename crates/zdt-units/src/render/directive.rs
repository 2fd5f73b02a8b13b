//! What is known about each directive that we write.

/// One directive: its age, when a changed value counts, and what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Directive {
    pub name: &'static str,
    /// The systemd that first knew it; what is older than 236 says 236.
    pub since: u32,
    pub takes: Takes,
    /// Why a unit of ours has it.
    pub why: &'static str,
}

/// When a changed value of a directive counts for a unit that is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Takes {
    /// As soon as the manager has read the file again.
    Reload,
    /// When the next process is started.
    Restart,
    /// When the socket is opened anew, or at once if someone sets it on the open socket.
    OpenSocket,
    /// Only when the socket is bound anew, which closes the one that is open.
    Rebind,
}

impl Directive {
    /// The directive called `name`; `None` for one that we never write.
    pub fn named(name: &str) -> Option<&'static Self> {
        DIRECTIVES.iter().find(|directive| directive.name == name)
    }
}

const fn row(name: &'static str, since: u32, takes: Takes, why: &'static str) -> Directive {
    Directive {
        name,
        since,
        takes,
        why,
    }
}

/// Ages are from the "Added in version" notes of the manual pages and from systemd's `NEWS`.
const DIRECTIVES: &[Directive] = &[
    row(
        "After",
        236,
        Takes::Reload,
        "other units are started first, its own sockets among them",
    ),
    row(
        "Also",
        236,
        Takes::Reload,
        "`systemctl enable` enables the sockets together with the service",
    ),
    row(
        "AmbientCapabilities",
        236,
        Takes::Restart,
        "nothing of root's power is passed on",
    ),
    row(
        "Backlog",
        236,
        Takes::OpenSocket,
        "how many connections wait while no process accepts; `net.core.somaxconn` caps it",
    ),
    row(
        "BindIPv6Only",
        236,
        Takes::Rebind,
        "what `[::]` takes, whatever `net.ipv6.bindv6only` says",
    ),
    row(
        "CapabilityBoundingSet",
        236,
        Takes::Restart,
        "no capability at all; the manager has bound the ports already",
    ),
    row(
        "DeferAcceptSec",
        236,
        Takes::OpenSocket,
        "the process gets a connection when its first byte is there",
    ),
    row(
        "Description",
        236,
        Takes::Reload,
        "what lists and the journal call it",
    ),
    row("Documentation", 236, Takes::Reload, "where to read more"),
    row(
        "DynamicUser",
        236,
        Takes::Restart,
        "a user of its own, made when it starts",
    ),
    row(
        "Environment",
        236,
        Takes::Restart,
        "variables of the process",
    ),
    row(
        "EnvironmentFile",
        236,
        Takes::Restart,
        "variables from a file that only root has to be able to read",
    ),
    row(
        "ExecReload",
        236,
        Takes::Reload,
        "what `systemctl reload` does",
    ),
    row(
        "ExecStart",
        236,
        Takes::Restart,
        "the program and its arguments; no shell reads them",
    ),
    row("ExecStartPost", 236, Takes::Restart, "what follows a start"),
    row(
        "ExecStop",
        236,
        Takes::Reload,
        "what asks the process to stop, and waits for it",
    ),
    row(
        "FileDescriptorName",
        236,
        Takes::Restart,
        "the name under which the program finds this socket",
    ),
    row(
        "FileDescriptorStoreMax",
        236,
        Takes::Reload,
        "how many descriptors the manager keeps for the next process",
    ),
    row(
        "FreeBind",
        236,
        Takes::Rebind,
        "the address may come up after the socket",
    ),
    row(
        "IPAddressDeny",
        236,
        Takes::Restart,
        "it has no network of its own to use",
    ),
    row(
        "KeyringMode",
        236,
        Takes::Restart,
        "it has a kernel keyring of its own",
    ),
    row(
        "KillMode",
        236,
        Takes::Reload,
        "helpers keep running until the main process has drained",
    ),
    row("KillSignal", 236, Takes::Reload, "what starts the drain"),
    row(
        "LimitNOFILE",
        236,
        Takes::Restart,
        "each connection is a descriptor",
    ),
    row("ListenStream", 236, Takes::Rebind, "where clients connect"),
    row(
        "LoadCredential",
        247,
        Takes::Restart,
        "secrets: readable for this process only, and in no unit file",
    ),
    row(
        "LockPersonality",
        236,
        Takes::Restart,
        "it cannot change how system calls behave",
    ),
    row(
        "MemoryDenyWriteExecute",
        236,
        Takes::Restart,
        "no memory is both written and executed",
    ),
    row(
        "MemoryHigh",
        236,
        Takes::Reload,
        "above it the process is slowed down and memory taken back, but nothing is killed",
    ),
    row("NoDelay", 236, Takes::OpenSocket, "answers leave at once"),
    row(
        "NoNewPrivileges",
        236,
        Takes::Restart,
        "no program that it starts gains rights",
    ),
    row(
        "NonBlocking",
        236,
        Takes::Restart,
        "a start leaves the sockets non-blocking for those who accept from them already",
    ),
    row(
        "NotifyAccess",
        236,
        Takes::Reload,
        "only the main process may say that it is ready",
    ),
    row(
        "PartOf",
        236,
        Takes::Reload,
        "a stop or restart of the target reaches every instance",
    ),
    row("PrivateDevices", 236, Takes::Restart, "no hardware"),
    row("PrivateIPC", 248, Takes::Restart, "System V IPC of its own"),
    row(
        "PrivateNetwork",
        236,
        Takes::Restart,
        "no network of its own; inherited sockets work all the same",
    ),
    row("PrivateTmp", 236, Takes::Restart, "a `/tmp` of its own"),
    row(
        "PrivateUsers",
        236,
        Takes::Restart,
        "of other users it sees only that they are there",
    ),
    row(
        "ProcSubset",
        247,
        Takes::Restart,
        "`/proc` shows processes only",
    ),
    row(
        "ProtectClock",
        245,
        Takes::Restart,
        "it cannot set the clock",
    ),
    row(
        "ProtectControlGroups",
        236,
        Takes::Restart,
        "control groups are read-only",
    ),
    row(
        "ProtectHome",
        236,
        Takes::Restart,
        "home directories are not there",
    ),
    row(
        "ProtectHostname",
        242,
        Takes::Restart,
        "it cannot rename the machine",
    ),
    row("ProtectKernelLogs", 244, Takes::Restart, "no kernel log"),
    row(
        "ProtectKernelModules",
        236,
        Takes::Restart,
        "it cannot load modules",
    ),
    row(
        "ProtectKernelTunables",
        236,
        Takes::Restart,
        "`/proc/sys` and `/sys` are read-only",
    ),
    row(
        "ProtectProc",
        247,
        Takes::Restart,
        "processes of other users are not visible",
    ),
    row(
        "ProtectSystem",
        236,
        Takes::Restart,
        "the file system is read-only",
    ),
    row(
        "RemoveIPC",
        236,
        Takes::Restart,
        "what it leaves in System V IPC is removed",
    ),
    row(
        "RemoveOnStop",
        236,
        Takes::Reload,
        "a stopped socket leaves no file behind",
    ),
    row(
        "Requires",
        236,
        Takes::Reload,
        "a start opens a socket that is missing, and the program never runs without",
    ),
    row(
        "Restart",
        236,
        Takes::Reload,
        "a crashed process is started again, and connections wait for it",
    ),
    row(
        "RestartMaxDelaySec",
        254,
        Takes::Reload,
        "a crash loop slows down to this",
    ),
    row(
        "RestartSec",
        236,
        Takes::Reload,
        "not below 250ms: more than 20 starts in 2 s would close the port",
    ),
    row(
        "RestartSteps",
        254,
        Takes::Reload,
        "how many starts until the slowest pace of a crash loop",
    ),
    row(
        "RestrictAddressFamilies",
        236,
        Takes::Restart,
        "only these kinds of sockets",
    ),
    row(
        "RestrictNamespaces",
        236,
        Takes::Restart,
        "it makes no containers",
    ),
    row(
        "RestrictRealtime",
        236,
        Takes::Restart,
        "it cannot take the processor for itself",
    ),
    row(
        "RestrictSUIDSGID",
        242,
        Takes::Restart,
        "it makes no set-user-id files",
    ),
    row(
        "RuntimeDirectory",
        236,
        Takes::Restart,
        "the directory under `/run` that it may write to",
    ),
    row(
        "RuntimeDirectoryMode",
        236,
        Takes::Restart,
        "nobody else gets at what is in it",
    ),
    row(
        "RuntimeDirectoryPreserve",
        236,
        Takes::Reload,
        "the end of one process leaves it to the others",
    ),
    row(
        "RuntimeMaxSec",
        236,
        Takes::Restart,
        "a standby that was forgotten ends by itself",
    ),
    row(
        "Service",
        236,
        Takes::Reload,
        "the service that accepts from this socket",
    ),
    row("SocketGroup", 236, Takes::OpenSocket, "who may connect"),
    row("SocketMode", 236, Takes::OpenSocket, "who may connect"),
    row(
        "SocketUser",
        236,
        Takes::OpenSocket,
        "who owns the socket's file",
    ),
    row(
        "Sockets",
        236,
        Takes::Restart,
        "all of these are passed, not only the one with the service's own name",
    ),
    row(
        "StartLimitIntervalSec",
        236,
        Takes::Reload,
        "no start limit: reaching it would close the port",
    ),
    row(
        "StateDirectory",
        236,
        Takes::Restart,
        "the directory under `/var/lib` that it may write to",
    ),
    row(
        "StateDirectoryMode",
        236,
        Takes::Restart,
        "nobody else reads its data",
    ),
    row(
        "SystemCallArchitectures",
        236,
        Takes::Restart,
        "no system calls of another architecture",
    ),
    row(
        "SystemCallErrorNumber",
        236,
        Takes::Restart,
        "what is forbidden fails instead of killing the process",
    ),
    row(
        "SystemCallFilter",
        236,
        Takes::Restart,
        "system calls that a server uses",
    ),
    row(
        "TimeoutStartSec",
        236,
        Takes::Reload,
        "a process that is not ready by then is started again",
    ),
    row(
        "TimeoutStopSec",
        236,
        Takes::Reload,
        "longer than the drain, so that a drain that works is never killed",
    ),
    row(
        "Type",
        236,
        Takes::Restart,
        "a restart returns when the new process is ready, not when it was started",
    ),
    row("UMask", 236, Takes::Restart, "files are its own"),
    row("User", 236, Takes::Restart, "who it runs as"),
    row(
        "WantedBy",
        236,
        Takes::Reload,
        "what `systemctl enable` adds it to",
    ),
    row(
        "Wants",
        236,
        Takes::Reload,
        "started too, but their failure is not ours: with `Requires=` it would close the port",
    ),
    row(
        "WatchdogSec",
        236,
        Takes::Restart,
        "a process that does not report for so long is killed and started again",
    ),
    row(
        "WorkingDirectory",
        236,
        Takes::Restart,
        "where relative paths begin",
    ),
];
