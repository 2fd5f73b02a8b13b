//! Which systemd first knew what we write.

/// The oldest release that the units load on without a warning.
pub const OLDEST_SYSTEMD: u32 = 252;

/// The release that a directive of ours appeared in; `None` for one that we never write.
///
/// Taken from the "Added in version" notes of the manual pages and from
/// systemd's `NEWS`; what is older than 236 says 236.
pub fn since(directive: &str) -> Option<u32> {
    SINCE
        .iter()
        .find(|(name, _)| *name == directive)
        .map(|(_, release)| *release)
}

const SINCE: &[(&str, u32)] = &[
    ("After", 236),
    ("Also", 236),
    ("AmbientCapabilities", 236),
    ("Backlog", 236),
    ("BindIPv6Only", 236),
    ("CapabilityBoundingSet", 236),
    ("DeferAcceptSec", 236),
    ("Description", 236),
    ("Documentation", 236),
    ("DynamicUser", 236),
    ("Environment", 236),
    ("EnvironmentFile", 236),
    ("ExecStart", 236),
    ("FileDescriptorName", 236),
    ("FreeBind", 236),
    ("IPAddressDeny", 236),
    ("KeyringMode", 236),
    ("KillMode", 236),
    ("KillSignal", 236),
    ("LimitNOFILE", 236),
    ("ListenStream", 236),
    ("LockPersonality", 236),
    ("MemoryDenyWriteExecute", 236),
    ("NoDelay", 236),
    ("NoNewPrivileges", 236),
    ("NotifyAccess", 236),
    ("PrivateDevices", 236),
    ("PrivateIPC", 248),
    ("PrivateNetwork", 236),
    ("PrivateTmp", 236),
    ("PrivateUsers", 236),
    ("ProcSubset", 247),
    ("ProtectClock", 245),
    ("ProtectControlGroups", 236),
    ("ProtectHome", 236),
    ("ProtectHostname", 242),
    ("ProtectKernelLogs", 244),
    ("ProtectKernelModules", 236),
    ("ProtectKernelTunables", 236),
    ("ProtectProc", 247),
    ("ProtectSystem", 236),
    ("RemoveIPC", 236),
    ("RemoveOnStop", 236),
    ("Requires", 236),
    ("Restart", 236),
    ("RestartSec", 236),
    ("RestrictAddressFamilies", 236),
    ("RestrictNamespaces", 236),
    ("RestrictRealtime", 236),
    ("RestrictSUIDSGID", 242),
    ("Service", 236),
    ("SocketGroup", 236),
    ("SocketMode", 236),
    ("SocketUser", 236),
    ("Sockets", 236),
    ("StartLimitIntervalSec", 236),
    ("StateDirectory", 236),
    ("StateDirectoryMode", 236),
    ("SystemCallArchitectures", 236),
    ("SystemCallErrorNumber", 236),
    ("SystemCallFilter", 236),
    ("TimeoutStartSec", 236),
    ("TimeoutStopSec", 236),
    ("Type", 236),
    ("UMask", 236),
    ("User", 236),
    ("WantedBy", 236),
    ("Wants", 236),
    ("WatchdogSec", 236),
    ("WorkingDirectory", 236),
];
