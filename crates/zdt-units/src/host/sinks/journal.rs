//! The journal's native protocol: fields with names, so that `journalctl` finds them.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::event::{EventKind, Record};
use crate::report::brief;

const SOCKET: &str = "/run/systemd/journal/socket";

/// A journal that is stuck delays a restart by this, once.
const LIMIT: Duration = Duration::from_millis(200);

/// A datagram has its bounds; longer texts are cut.
const LONGEST: usize = 32 * 1024;

#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    user: bool,
}

impl Journal {
    /// Nothing where there is no journal.
    pub(super) fn new(user: bool) -> Option<Self> {
        let socket = UnixDatagram::unbound().ok()?;
        socket.connect(SOCKET).ok()?;
        socket.set_write_timeout(Some(LIMIT)).ok()?;
        Some(Self { socket, user })
    }

    pub(super) fn send(&self, record: &Record) -> io::Result<()> {
        self.socket.send(&datagram(record, self.user)).map(drop)
    }
}

fn datagram(record: &Record, user: bool) -> Vec<u8> {
    let kind = &record.event.kind;
    let mut datagram = Vec::new();
    push(&mut datagram, "MESSAGE", &brief::line(record));
    let level = kind.level() as u8;
    push(&mut datagram, "PRIORITY", &level.to_string());
    push(&mut datagram, "SYSLOG_IDENTIFIER", "zdt-units");
    if let Some(id) = message_id(kind.name()) {
        push(&mut datagram, "MESSAGE_ID", id);
    }
    if let Some(unit) = unit(record) {
        let field = match user {
            false => "OBJECT_SYSTEMD_UNIT",
            true => "OBJECT_SYSTEMD_USER_UNIT",
        };
        push(&mut datagram, field, &unit);
    }
    for (name, value) in record.fields() {
        push(&mut datagram, name, &value);
    }
    datagram
}

/// Under which unit `journalctl --unit` shows it.
fn unit(record: &Record) -> Option<String> {
    let service = &record.event.service;
    match &record.event.kind {
        EventKind::UnitState { unit, .. }
        | EventKind::Killed { unit }
        | EventKind::Status { unit, .. }
        | EventKind::Replaced { unit, .. }
        | EventKind::Untaken { unit, .. } => Some(unit.clone()),
        _ if service.is_empty() => None,
        _ => Some(match record.context.strategy.as_str() {
            "rolling" => format!("{service}.target"),
            _ => format!("{service}.service"),
        }),
    }
}

/// Values with line breaks are sent with their length.
fn push(datagram: &mut Vec<u8>, name: &str, value: &str) {
    let mut end = value.len().min(LONGEST);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    let value = &value[..end];
    datagram.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        datagram.push(b'\n');
        datagram.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        datagram.push(b'=');
    }
    datagram.extend_from_slice(value.as_bytes());
    datagram.push(b'\n');
}

/// `journalctl MESSAGE_ID=…`; in the table of `docs/events.md` too.
fn message_id(kind: &str) -> Option<&'static str> {
    let known = MESSAGE_IDS.iter().find(|(name, _)| *name == kind);
    known.map(|(_, id)| *id)
}

/// Made by `systemd-id128 new`, once for ever.
const MESSAGE_IDS: &[(&str, &str)] = &[
    ("planned", "4082f42c875a291317f7e6b598a14831"),
    ("refused", "cc7b32e6697f6fa520553cd1c26589ce"),
    ("step_started", "55677ee486dfd5957a460f805614eae9"),
    ("install_planned", "ea81ebdb71eb5af19a511f9ae0e2e9dd"),
    ("uninstall_planned", "503b80fdd03b756fced4386a667faf29"),
    ("note", "4ba566f1fb4132433e2645b0fa92fc42"),
    ("gap", "9637826e3eaf418ff858a3a48bd8098b"),
    ("unit_state", "d121bde4c6be17e44821092de2781b41"),
    ("killed", "d690efae4aa2b2fdf54d0c7c085953a9"),
    ("replaced", "f5aed48cd6c3a6a10dfd9c5d09253895"),
    ("status", "6976007d563d51b713cccd53643229b4"),
    ("untaken", "f295fbf97e280c64544b04287c40f644"),
    ("not_ready", "25cde70971e51a906011483d2d32dd8f"),
    ("unidentified", "4764d3a55248293b662220c163a9c54d"),
    ("out_of_rotation", "0f8c1f6be9d24d3f9c07a1d5e2b6a4c1"),
    ("in_rotation", "5d2a9e7c41b04f6e8a3bd90c7f15e862"),
    ("step_completed", "519d33e75aea61a82c9a6447d83ea513"),
    ("step_failed", "77515613ca63d2db9e0c79f821752e99"),
    ("left_as", "88dfb372ae0f900b1a00c3c23423b5bf"),
    ("finished", "85b890ddfe271ed47c796aeef7448a71"),
    ("by_hand", "0500bdc884caa66ed78da32ce9dcd2fe"),
    ("broken_off", "4ae7fa30d056476f9660709e719bdd95"),
    ("unchanged", "920d15a6faf217b990bfa6208f32489a"),
    ("skipped", "b6edd7190ea0f37470ec4a59a9c9b683"),
];

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "reads the document")]
mod tests {
    use std::collections::BTreeSet;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::event::{Event, KINDS, Records};

    #[test]
    fn each_kind_has_an_id_of_its_own() {
        let kinds: Vec<&str> = MESSAGE_IDS.iter().map(|(kind, _)| *kind).collect();
        for kind in KINDS {
            assert!(
                kinds.contains(kind),
                "add a line for `{kind}` with the output of `systemd-id128 new`"
            );
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/events.md");
        let document = std::fs::read_to_string(path).unwrap();
        for (kind, id) in MESSAGE_IDS {
            let row = format!("| `{kind}` | `{id}` |");
            assert!(document.contains(&row), "no {row} in `docs/events.md`");
        }
        let ids: BTreeSet<&str> = MESSAGE_IDS.iter().map(|(_, id)| *id).collect();
        assert_eq!(ids.len(), MESSAGE_IDS.len());
        assert_eq!(kinds.len(), KINDS.len());
    }

    #[test]
    fn a_datagram_has_the_fields() {
        let kind = EventKind::StepFailed {
            phase: crate::event::Phase::Forward,
            step: 2,
            reason: "it said:\nno".to_owned(),
            hint: None,
            output: Vec::new(),
        };
        let event = Event::new("5f0c", "shop", Duration::from_millis(1250), kind);
        let record = Records::default().take(event, SystemTime::UNIX_EPOCH);
        let sent = datagram(&record, false);
        let message = "restart of `shop`: step 2 failed: it said:\nno";
        let mut expected = b"MESSAGE\n".to_vec();
        expected.extend_from_slice(&(message.len() as u64).to_le_bytes());
        expected.extend_from_slice(message.as_bytes());
        expected.extend_from_slice(
            format!(
                "\nPRIORITY=3\nSYSLOG_IDENTIFIER=zdt-units\nMESSAGE_ID={}\n\
                 OBJECT_SYSTEMD_UNIT=shop.service\nZDT_KIND=step_failed\nZDT_SERVICE=shop\n\
                 ZDT_RESTART_ID=5f0c\nZDT_ELAPSED_MS=1250\n",
                message_id("step_failed").unwrap()
            )
            .as_bytes(),
        );
        assert_eq!(
            String::from_utf8_lossy(&sent),
            String::from_utf8_lossy(&expected)
        );
        assert_eq!(sent, expected);
    }
}
