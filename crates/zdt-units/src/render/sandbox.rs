//! What the process may not do. `systemd-analyze security` of systemd 252 rates a
//! sandboxed service 1.2, and one without a network 0.4; that of 262 0.1 and 0.2 less.

use super::Manager;
use crate::model::{Name, Network, Sandbox, Service, User};
use crate::unit_file::{Section, Value};

pub(super) fn write(service: &Service, manager: Manager, section: &mut Section) {
    if manager == Manager::User {
        return of_user(service, section);
    }
    let Sandbox::On {
        network,
        state,
        jit,
    } = &service.sandbox
    else {
        match &service.user {
            User::Named(user) | User::Dynamic(user) => section.set("User", user),
            User::Root => {
                section.comment("no sandbox and no user were asked for: this runs as root")
            }
        };
        return;
    };
    section.comment("--- sandbox ---");
    match &service.user {
        User::Dynamic(user) => {
            section.set("DynamicUser", "yes").set("User", user);
        }
        User::Named(user) => {
            section.set("User", user);
        }
        User::Root => {}
    }
    state_directory(state.as_ref(), section);
    for (key, value) in FENCE_OF_ROOT {
        section.set(key, *value);
    }
    fence(*jit, section);
    match network {
        Network::Outbound => {
            section.set("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6");
        }
        Network::Nothing => {
            section
                .comment("no network of its own; inherited sockets work all the same")
                .set("PrivateNetwork", "yes")
                .set("IPAddressDeny", "any")
                .comment("AF_UNIX stays, or the process could tell systemd and the journal nothing")
                .set("RestrictAddressFamilies", "AF_UNIX");
        }
    }
}

/// A user's own manager has no rights to give up and few to take away.
fn of_user(service: &Service, section: &mut Section) {
    let Sandbox::On { state, jit, .. } = &service.sandbox else {
        return;
    };
    section.comment("--- sandbox, as far as a user's own manager can ---");
    state_directory(state.as_ref(), section);
    fence(*jit, section);
}

fn fence(jit: bool, section: &mut Section) {
    for (key, value) in FENCE {
        match (*key, jit) {
            ("MemoryDenyWriteExecute", true) => {
                section.comment("it compiles while it runs").set(key, "no")
            }
            _ => section.set(key, *value),
        };
    }
}

fn state_directory(state: Option<&Name>, section: &mut Section) {
    if let Some(state) = state {
        section
            .set("StateDirectory", Value::text(state.as_str()))
            .set("StateDirectoryMode", "0700");
    }
}

/// Only the manager of the system can do these.
const FENCE_OF_ROOT: &[(&str, &str)] = &[
    ("CapabilityBoundingSet", ""),
    ("AmbientCapabilities", ""),
    ("ProtectSystem", "strict"),
    ("ProtectHome", "yes"),
    ("PrivateTmp", "yes"),
    ("PrivateDevices", "yes"),
    ("PrivateUsers", "yes"),
    ("PrivateIPC", "yes"),
    ("ProtectHostname", "yes"),
    ("ProtectClock", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectControlGroups", "yes"),
    ("ProtectProc", "invisible"),
    ("ProcSubset", "pid"),
    ("RemoveIPC", "yes"),
    ("KeyringMode", "private"),
];

/// Any manager can do these.
const FENCE: &[(&str, &str)] = &[
    ("UMask", "0077"),
    ("NoNewPrivileges", "yes"),
    ("RestrictNamespaces", "yes"),
    ("RestrictRealtime", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("LockPersonality", "yes"),
    ("MemoryDenyWriteExecute", "yes"),
    ("SystemCallArchitectures", "native"),
    ("SystemCallFilter", "@system-service"),
    ("SystemCallFilter", "~@privileged @resources"),
    ("SystemCallErrorNumber", "EPERM"),
];
