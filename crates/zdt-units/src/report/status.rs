//! [`Status`] as a table, or as a list where the terminal is too narrow for one.

use std::fmt::Write;

use owo_colors::{OwoColorize, Style};

use crate::status::{ServiceStatus, SocketStatus, State, Status, age};

/// How wide a line may be, and whether colours are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub width: usize,
    pub colour: bool,
}

const HEAD: [&str; 8] = [
    "SERVICE", "STATE", "RELEASE", "PID", "UP", "LIVE", "QUEUE", "HEALTH",
];
const STATE: usize = 1;
const NOTHING: &str = "-";

/// The whole text; every line ends with a line break.
pub fn text(status: &Status, look: Look) -> String {
    let mut text = format!("{}\n\n", status.manager);
    let rows: Vec<[String; 8]> = status.services.iter().map(row).collect();
    let mut widths: [usize; 8] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([HEAD[column].len()]).max().unwrap_or_default()
    });
    if !fits(&widths, look.width) {
        for (column, width) in widths.iter_mut().enumerate() {
            if rows.iter().all(|row| row[column] == NOTHING) {
                *width = 0;
            }
        }
    }
    if fits(&widths, look.width) {
        line(&mut text, &HEAD.map(str::to_owned), &widths, None);
        for (row, service) in rows.iter().zip(&status.services) {
            line(&mut text, row, &widths, Some(style(service, look)));
        }
    } else {
        list(&mut text, &rows, status, look);
    }
    text.push('\n');
    for service in &status.services {
        remarks(&mut text, service, status.new_connections);
    }
    for service in &status.services {
        for problem in &service.problems {
            let word = painted("problem", Style::new().red(), look);
            writeln!(text, "{word}: {problem}").expect("a string takes all");
        }
    }
    for note in &status.notes {
        writeln!(text, "note: {note}").expect("a string takes all");
    }
    text
}

fn row(service: &ServiceStatus) -> [String; 8] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| NOTHING.to_owned());
    let mut state = service.state.word().to_owned();
    if let Some((serving, wanted)) = service.instances {
        state = format!("{state} {serving}/{wanted}");
    }
    if service.standby {
        state.push_str(" + standby");
    }
    let release = match (&service.release, &service.generation) {
        (Some(release), Some(generation)) => Some(format!("{release} #{generation}")),
        (None, Some(generation)) => Some(format!("#{generation}")),
        (release, None) => release.clone(),
    };
    let queue = fullest(service).and_then(|socket| {
        let waiting = socket.waiting?;
        Some(match socket.waiting_limit {
            Some(limit) => format!("{waiting}/{limit}"),
            None => waiting.to_string(),
        })
    });
    let live: usize = service.sockets.iter().map(|socket| socket.live).sum();
    let live = (!service.sockets.is_empty()).then(|| live.to_string());
    [
        service.name.clone(),
        state,
        or_dash(release),
        or_dash(service.pid.map(|pid| pid.to_string())),
        or_dash(service.up_seconds.map(age)),
        or_dash(live),
        or_dash(queue),
        or_dash(service.health.clone()),
    ]
}

/// Of several queues the one that is full first.
fn fullest(service: &ServiceStatus) -> Option<&SocketStatus> {
    let room = |socket: &&SocketStatus| {
        let limit = socket.waiting_limit.unwrap_or(u32::MAX);
        limit.saturating_sub(socket.waiting.unwrap_or_default())
    };
    service.sockets.iter().min_by_key(room)
}

fn style(service: &ServiceStatus, look: Look) -> Style {
    match (look.colour, service.state) {
        (false, _) => Style::new(),
        (true, _) if !service.problems.is_empty() => Style::new().red(),
        (true, State::Serving) => Style::new().green(),
        (true, State::Failed | State::Crashing) => Style::new().red(),
        (true, _) => Style::new().yellow(),
    }
}

fn painted(word: &str, style: Style, look: Look) -> String {
    match look.colour {
        true => word.style(style).to_string(),
        false => word.to_owned(),
    }
}

/// Two spaces are between columns; one of no width is left out.
fn fits(widths: &[usize; 8], room: usize) -> bool {
    let shown = widths.iter().filter(|width| **width > 0);
    shown.map(|width| width + 2).sum::<usize>() <= room + 2
}

fn line(text: &mut String, cells: &[String; 8], widths: &[usize; 8], state: Option<Style>) {
    let mut line = String::new();
    let cells = cells.iter().zip(widths).enumerate();
    for (column, (cell, width)) in cells.filter(|(_, (_, width))| **width > 0) {
        if column > 0 {
            line.push_str("  ");
        }
        // Colours have no width, so the padding is made first.
        let padded = format!("{cell:<width$}");
        match state.filter(|style| column == STATE && *style != Style::new()) {
            Some(style) => line.push_str(&padded.style(style).to_string()),
            None => line.push_str(&padded),
        }
    }
    text.push_str(line.trim_end());
    text.push('\n');
}

fn list(text: &mut String, rows: &[[String; 8]], status: &Status, look: Look) {
    for (index, (row, service)) in rows.iter().zip(&status.services).enumerate() {
        if index > 0 {
            text.push('\n');
        }
        for (column, (head, cell)) in HEAD.iter().zip(row).enumerate() {
            let cell = match column {
                STATE => painted(cell, style(service, look), look),
                _ => cell.clone(),
            };
            if cell != NOTHING {
                writeln!(text, "{head:<7}  {cell}").expect("a string takes all");
            }
        }
    }
}

/// Why it runs, and how long its queue holds.
fn remarks(text: &mut String, service: &ServiceStatus, rate: Option<f64>) {
    let mut remarks = Vec::new();
    if let Some(by) = &service.started_by {
        remarks.push(format!("started by {by}"));
    }
    let holds = fullest(service).and_then(|socket| socket.holds_seconds);
    if let (Some(holds), Some(rate)) = (holds, rate) {
        remarks.push(format!(
            "its queue holds {holds:.1} s at {rate:.0}/s, all new connections of this machine"
        ));
    }
    let several = service.units.len() > 1;
    for unit in &service.units {
        remarks.extend(unit.text().map(|text| match several {
            true => format!("`{}`: {text}", unit.unit),
            false => text,
        }));
    }
    if !remarks.is_empty() {
        writeln!(text, "{}: {}", service.name, remarks.join("; ")).expect("a string takes all");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Status {
        Status {
            manager: "systemd 252 of this machine".to_owned(),
            new_connections: Some(1000.0),
            services: vec![
                ServiceStatus {
                    name: "shop".to_owned(),
                    unit: "shop.service".to_owned(),
                    state: State::Serving,
                    release: Some("v2".to_owned()),
                    generation: Some("3".to_owned()),
                    pid: Some(188),
                    up_seconds: Some(9000),
                    started_by: Some("the boot".to_owned()),
                    health: Some("200".to_owned()),
                    sockets: vec![
                        SocketStatus {
                            unit: "shop.socket".to_owned(),
                            live: 100,
                            waiting: Some(0),
                            waiting_limit: Some(4096),
                            holds_seconds: Some(4.1),
                        },
                        SocketStatus {
                            unit: "shop-admin.socket".to_owned(),
                            live: 3,
                            waiting: Some(0),
                            waiting_limit: Some(8192),
                            holds_seconds: Some(8.2),
                        },
                    ],
                    standby: true,
                    ..ServiceStatus::default()
                },
                ServiceStatus {
                    name: "api".to_owned(),
                    state: State::Failed,
                    instances: Some((0, 3)),
                    problems: vec!["`api@1.service` has failed (exit-code): …".to_owned()],
                    ..ServiceStatus::default()
                },
            ],
            notes: vec!["no limits of queues".to_owned()],
        }
    }

    #[test]
    fn a_table_where_there_is_room() {
        let look = Look {
            width: 80,
            colour: false,
        };
        insta::assert_snapshot!(text(&example(), look), @r"
        systemd 252 of this machine

        SERVICE  STATE              RELEASE  PID  UP   LIVE  QUEUE   HEALTH
        shop     serving + standby  v2 #3    188  2 h  103   0/4096  200
        api      failed 0/3         -        -    -    -     -       -

        shop: started by the boot; its queue holds 4.1 s at 1000/s, all new connections of this machine
        problem: `api@1.service` has failed (exit-code): …
        note: no limits of queues
        ");
    }

    #[test]
    fn a_list_where_there_is_none() {
        let look = Look {
            width: 40,
            colour: false,
        };
        insta::assert_snapshot!(text(&example(), look), @r"
        systemd 252 of this machine

        SERVICE  shop
        STATE    serving + standby
        RELEASE  v2 #3
        PID      188
        UP       2 h
        LIVE     103
        QUEUE    0/4096
        HEALTH   200

        SERVICE  api
        STATE    failed 0/3

        shop: started by the boot; its queue holds 4.1 s at 1000/s, all new connections of this machine
        problem: `api@1.service` has failed (exit-code): …
        note: no limits of queues
        ");
    }

    fn twenty() -> Status {
        let long = ["a".repeat(31)];
        let names = (1..20).map(|number| format!("worker-{number:02}"));
        let services = names.chain(long).map(|name| ServiceStatus {
            unit: format!("{name}.service"),
            name,
            state: State::Serving,
            pid: Some(4_194_303),
            up_seconds: Some(9000),
            sockets: vec![SocketStatus {
                waiting: Some(0),
                waiting_limit: Some(4096),
                ..SocketStatus::default()
            }],
            ..ServiceStatus::default()
        });
        Status {
            manager: "systemd 252 of this machine".to_owned(),
            new_connections: None,
            services: services.collect(),
            notes: Vec::new(),
        }
    }

    fn seen(columns: usize, lines: std::ops::Range<usize>) -> String {
        let look = Look {
            width: columns,
            colour: false,
        };
        let text = text(&twenty(), look);
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest.unwrap() <= columns, "{text}");
        let lines: Vec<&str> = text.lines().skip(lines.start).take(lines.len()).collect();
        lines.join("\n")
    }

    #[test]
    fn many_services_and_a_long_name_fit_a_terminal_without_empty_columns() {
        insta::assert_snapshot!(seen(80, 20..23), @r"
        worker-18                        serving  4194303  2 h  0     0/4096
        worker-19                        serving  4194303  2 h  0     0/4096
        aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa  serving  4194303  2 h  0     0/4096
        ");
    }

    #[test]
    fn many_services_and_a_long_name_fit_half_a_terminal() {
        insta::assert_snapshot!(seen(40, 128..141), @r"
        SERVICE  worker-19
        STATE    serving
        PID      4194303
        UP       2 h
        LIVE     0
        QUEUE    0/4096

        SERVICE  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        STATE    serving
        PID      4194303
        UP       2 h
        LIVE     0
        QUEUE    0/4096
        ");
    }

    #[test]
    fn colours_do_not_move_anything() {
        let plain = text(
            &example(),
            Look {
                width: 80,
                colour: false,
            },
        );
        let coloured = text(
            &example(),
            Look {
                width: 80,
                colour: true,
            },
        );
        assert!(coloured.contains("\u{1b}[32m"), "{coloured:?}");
        let mut without = String::new();
        let mut parts = coloured.split('\u{1b}');
        without.push_str(parts.next().unwrap_or_default());
        for part in parts {
            without.push_str(part.split_once('m').unwrap().1);
        }
        assert_eq!(without, plain);
    }
}
