//! A restart as people read it while it happens.

use std::time::Duration;

use crate::event::{Event, EventKind, Left, Outcome, Phase};
use crate::model::span;
use crate::observe::Active;
use crate::plan::headline;
use crate::tool::Tool;

/// The lines for one event; many events need none.
pub fn lines(event: &Event) -> String {
    lines_at(event, &format!("{:>9.3}s", event.elapsed.as_secs_f64()))
}

/// The same with the service in front of each that does not name it, where several are told of at once.
pub fn lines_of_many(event: &Event) -> String {
    let lines = lines(event);
    let is_named = matches!(
        event.kind,
        EventKind::Planned { .. } | EventKind::Unchanged | EventKind::Skipped
    );
    match event.service.as_str() {
        "" => lines,
        _ if is_named => lines,
        service => lines
            .lines()
            .map(|line| format!("{service}: {line}\n"))
            .collect(),
    }
}

/// The same without the time in front.
pub(super) fn untimed(event: &Event) -> String {
    lines_at(event, "").trim().to_owned()
}

fn lines_at(event: &Event, at: &str) -> String {
    let note = |text: String| format!("{at}     {text}\n");
    match &event.kind {
        EventKind::Planned {
            operation,
            release,
            strategy,
            notes,
            manager,
            ..
        } => {
            let by = match manager {
                Tool::Launcher => "by the launcher, ",
                Tool::Systemctl | Tool::UserSystemctl => "",
            };
            let (id, service) = (&event.restart_id, &event.service);
            let what = headline(operation, service, release.as_deref());
            let mut out = match strategy.as_str() {
                "foreign" => format!("{what} ({by}id {id})\n"),
                _ => format!("{what} (strategy `{strategy}`, {by}id {id})\n"),
            };
            for note in notes {
                out.push_str(&format!("note: {note}\n"));
            }
            out
        }
        EventKind::Refused { reasons } => {
            let mut out = String::new();
            for (index, reason) in reasons.iter().enumerate() {
                out.push_str(&format!("error: {}\n", reason.message));
                // What several have in common is said once, after the last of them.
                let next = reasons.get(index + 1);
                if next.is_none_or(|next| next.hint != reason.hint) {
                    out.push_str(&format!("\nhint: {}\n\n", reason.hint));
                }
            }
            out.push_str("nothing was touched\n");
            out
        }
        EventKind::StepStarted {
            phase, step, text, ..
        } => match phase {
            Phase::Forward => format!("{at}  {step}. {text}\n"),
            Phase::Rollback => format!("{at}  back {step}. {text}\n"),
        },
        EventKind::UnitState { unit, active, sub } => note(format!("`{unit}` is {active} ({sub})")),
        EventKind::Killed { unit } => note(format!(
            "warning: `{unit}` did not end in time and was killed; requests that were still in it are lost"
        )),
        EventKind::Replaced { before, now, .. } => note(match before {
            Some(before) => format!("process {} took the place of {}", now.pid, before.pid),
            None => format!("process {} runs", now.pid),
        }),
        EventKind::Note { text } => note(format!("note: {text}")),
        EventKind::Gap {
            addresses,
            connections,
            refused,
            from_ms,
            until_ms,
        } => note(gap(
            addresses,
            *connections,
            *refused,
            from_ms.zip(*until_ms),
        )),
        EventKind::Status { text, .. } => note(format!("it says: {}", printable(text))),
        EventKind::Untaken { connections: 0, .. } => String::new(),
        EventKind::Untaken {
            pid, connections, ..
        } => note(format!(
            "warning: {}",
            crate::event::untaken(*pid, *connections)
        )),
        EventKind::NotReady { answer } => note(format!("not yet: {answer}")),
        EventKind::Unidentified { url } => note(format!(
            "warning: `{url}` does not say which process answers, so its answers are taken on trust"
        )),
        EventKind::StepFailed {
            reason,
            hint,
            output,
            ..
        } => {
            let mut out = note(format!("error: {reason}"));
            for line in output {
                out.push_str(&note(format!("  | {}", printable(line))));
            }
            if let Some(hint) = hint {
                out.push_str(&note(format!("hint: {hint}")));
            }
            out
        }
        EventKind::LeftAs {
            service,
            beside,
            standby_limit_ms,
            sockets,
            companions,
            manager,
        } => {
            let how = left(service, beside, companions, sockets);
            how + &what_to_do(service, beside, *standby_limit_ms, sockets, *manager)
        }
        EventKind::ByHand { commands } => {
            let lines: Vec<String> = commands
                .iter()
                .map(|line| format!("    {line}\n"))
                .collect();
            format!(
                "\nwhat is left to do, by hand, when the cause is mended:\n{}\n",
                lines.concat()
            )
        }
        EventKind::BrokenOff => format!(
            "\nthe way back was interrupted; `zdt-units recover {}` goes it again\n\n",
            event.service
        ),
        EventKind::Unchanged => format!("`{}` is unchanged, and is left alone\n", event.service),
        EventKind::Skipped => format!(
            "`{}` was not begun, because another one failed\n",
            event.service
        ),
        EventKind::Finished { outcome } => match outcome {
            Outcome::Completed => format!("{at}  done\n"),
            Outcome::Lossy => format!("{at}  done, but requests were lost\n"),
            Outcome::Stopped => format!("{at}  stopped before anything was changed\n"),
            Outcome::RolledBack => format!("{at}  rolled back; the release of before serves\n"),
            Outcome::LookNow => format!("{at}  failed and not taken back: look now\n"),
        },
        // Said by the next step, by the end, or before the beginning.
        EventKind::OutOfRotation {
            server,
            says,
            changed,
            in_flight,
            warning,
            ..
        } => {
            let out = rotation(server, "out of rotation", *changed, says.as_deref());
            let left = in_flight.filter(|left| *left > 0);
            let left = left.map(|left| format!("not all that was there has ended: {left} left"));
            let warnings = left.iter().chain(warning);
            let warnings = warnings.map(|warning| note(format!("warning: {warning}")));
            note(out) + &warnings.collect::<String>()
        }
        EventKind::InRotation {
            server,
            says,
            changed,
            ..
        } => note(rotation(server, "in rotation", *changed, says.as_deref())),
        EventKind::StepCompleted { .. }
        | EventKind::InstallPlanned { .. }
        | EventKind::UninstallPlanned { .. } => String::new(),
    }
}

fn gap(addresses: &[String], connections: u32, refused: u32, span: Option<(f64, f64)>) -> String {
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let addresses = crate::config::list(&addresses);
    match span {
        Some((from, until)) => format!(
            "measured: nobody listened on {addresses} for {:.1} ms, from {:.3} s to {:.3} s \
             ({refused} of {connections} connections were refused)",
            until - from,
            from / 1000.0,
            until / 1000.0
        ),
        None if refused == 0 => {
            format!("measured: none of {connections} connections to {addresses} was refused")
        }
        None => format!(
            "measured: connections to {addresses} are still refused \
             ({refused} of {connections} were)"
        ),
    }
}

fn left(service: &Left, beside: &[Left], companions: &[Left], sockets: &[Left]) -> String {
    let mut out = "\nhow it was left:\n".to_owned();
    for Left {
        unit, active, sub, ..
    } in std::iter::once(service).chain(beside).chain(companions)
    {
        out.push_str(&format!("  `{unit}` is {active} ({sub})\n"));
    }
    for socket in sockets {
        out.push_str(&match (is_open(socket), socket.refused.first()) {
            (true, _) => format!("  `{}` is open\n", socket.unit),
            (false, Some(address)) => {
                format!(
                    "  `{}` is closed: `{address}` refuses connections\n",
                    socket.unit
                )
            }
            (false, None) => format!("  `{}` is closed ({})\n", socket.unit, socket.result),
        });
    }
    out
}

fn is_open(socket: &Left) -> bool {
    socket.active == Active::Active && socket.refused.is_empty()
}

fn what_to_do(
    service: &Left,
    beside: &[Left],
    limit: Option<u64>,
    sockets: &[Left],
    tool: Tool,
) -> String {
    let unit = &service.unit;
    let closed = !sockets.iter().all(is_open);
    let command = tool.command();
    let logs = |unit: &str| tool.logs(unit);
    match (closed, beside, service.active) {
        (false, [standby], _) if !unit.contains('@') => by_standby(service, standby, limit, tool),
        (false, [_, ..], _) => by_instances(service, beside, tool),
        (true, ..) => format!(
            "\nclients are refused. see `{}`, mend it, then `{}`\n",
            logs(unit),
            tool.start_over(&[unit], unit)
        ),
        (false, [], Active::Active | Active::Reloading) if sockets.is_empty() => {
            format!("\nsee `{}` and `{}`\n", logs(unit), tool.status(unit))
        }
        (false, [], _) if sockets.is_empty() => {
            format!(
                "\nsee `{}`, mend it, then `{command} restart {unit}`\n",
                logs(unit)
            )
        }
        (false, [], Active::Active | Active::Reloading) => format!(
            "\nthe process accepts connections. see `{}` and `{}`\n",
            logs(unit),
            tool.status(unit)
        ),
        (false, [], _) => format!(
            "\nclients wait and are not refused. see `{}`, mend it, then `{command} restart {unit}`\n",
            logs(unit)
        ),
    }
}

fn by_standby(service: &Left, standby: &Left, limit: Option<u64>, tool: Tool) -> String {
    let command = tool.command();
    let (unit, other) = (&service.unit, &standby.unit);
    match (service.active, standby.active) {
        (Active::Active, Active::Inactive | Active::Failed) => match tool {
            Tool::Launcher => format!("\n`{unit}` serves. see `{}`\n", tool.logs(other)),
            Tool::Systemctl | Tool::UserSystemctl => {
                format!("\n`{unit}` serves. see `journalctl --unit {other}` and `--unit {unit}`\n")
            }
        },
        (Active::Active, _) => format!(
            "\n`{unit}` serves, and so may `{other}`, which `{command} stop {other}` ends\n"
        ),
        (_, Active::Active) => {
            let limit = limit.map(Duration::from_millis).map(span);
            let limit = limit.map_or_else(String::new, |limit| {
                format!("; it ends by itself {limit} after its start")
            });
            format!(
                "\n`{other}` serves, so clients do not notice{limit}. see `{}`, mend it, then\n\
                 \x20 {command} restart {unit}\n  {command} stop {other}\n",
                tool.logs(unit)
            )
        }
        _ => format!(
            "\nclients wait and are not refused. see `{}`, mend it, then `{command} restart {unit}`\n",
            tool.logs(unit)
        ),
    }
}

fn by_instances(first: &Left, others: &[Left], tool: Tool) -> String {
    let all = || std::iter::once(first).chain(others);
    let serving = all().filter(|left| left.active == Active::Active).count();
    let name = first.unit.split('@').next().unwrap_or_default();
    let clients = match serving {
        0 => "clients wait and are not refused".to_owned(),
        some => format!("{some} of {} serve", all().count()),
    };
    format!(
        "\n{clients}. see `{}`, mend it, then `zdt-units restart {name}`\n",
        match tool {
            Tool::Launcher => tool.logs(name),
            Tool::Systemctl | Tool::UserSystemctl => tool.logs(format_args!("'{name}@*'")),
        }
    )
}

fn rotation(server: &str, how: &str, changed: bool, says: Option<&str>) -> String {
    let before = match changed {
        true => "",
        false => ", as before",
    };
    let says = says.map_or_else(String::new, |says| format!(" ({})", printable(says)));
    format!("`{server}` is {how}{before}{says}")
}

/// A program's words go to a terminal, so control characters stay out.
fn printable(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect()
}
