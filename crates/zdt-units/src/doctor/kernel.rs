//! How much a queue holds, and what the kernel does when it is full.

use super::{Findings, Machine, Subject};
use crate::model::span;

/// Of the kernel since 5.4; a queue that is shorter by choice is not cut.
const USUAL: u32 = 4096;

pub(super) fn examine_queues(subject: &Subject, machine: &Machine, found: &mut Findings) {
    for socket in &subject.sockets {
        let unit = &socket.state.unit;
        if let Some(most) = machine.somaxconn
            && most < socket.backlog.min(USUAL)
        {
            found.add(
                "ZDT-D040",
                unit,
                format!("`{unit}` asks for a queue of {}, and net.core.somaxconn allows {most}", socket.backlog),
                format!("`sysctl -w net.core.somaxconn={USUAL}`, a file in `/etc/sysctl.d`, and open the socket anew"),
            );
        }
        let Some(queue) = socket.queue else {
            continue;
        };
        if let Some(limit) = queue.limit.filter(|limit| queue.waiting * 5 > limit * 4) {
            found.add(
                "ZDT-D046",
                unit,
                format!(
                    "{} of {limit} connections wait in the queue of `{unit}`",
                    queue.waiting
                ),
                "`zdt-units status` shows whether the service takes them",
            );
        }
        let starts = subject
            .services
            .iter()
            .filter_map(|service| service.start_took)
            .max();
        if let (Some(limit), Some(rate), Some(start)) = (queue.limit, machine.rate, starts) {
            let needed = f64::from(rate.per_second) * start.as_secs_f64();
            if needed > f64::from(limit) + 1.0 {
                let whose = match rate.measured {
                    true => "new connections a second on this machine",
                    false => "new connections a second",
                };
                found.add(
                    "ZDT-D041",
                    unit,
                    format!(
                        "the last start took {}; with {} {whose} that is {needed:.0}, and the queue of `{unit}` holds {}",
                        span(std::time::Duration::from_millis(u64::try_from(start.as_millis()).unwrap_or(u64::MAX))),
                        rate.per_second,
                        u64::from(limit) + 1
                    ),
                    "`strategy = \"standby\"` in `zdt.toml`, or a longer `backlog` and net.core.somaxconn",
                );
            }
        }
    }
}

pub(super) fn examine(machine: &Machine, found: &mut Findings) {
    if machine.abort_on_overflow == Some(true) {
        found.add(
            "ZDT-D042",
            "net.ipv4.tcp_abort_on_overflow",
            "net.ipv4.tcp_abort_on_overflow is 1",
            "`sysctl -w net.ipv4.tcp_abort_on_overflow=0`, and take it out of `/etc/sysctl.d`",
        );
    }
    if let Some(overflows) = machine.overflows.filter(|overflows| *overflows > 0) {
        found.add(
            "ZDT-D045",
            "TcpExt.ListenOverflows",
            format!("{overflows} connections found a full queue since boot"),
            "`zdt-units status --watch` shows whose; `ss -ltn` shows every queue",
        );
    }
}
