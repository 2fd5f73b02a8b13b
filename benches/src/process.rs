//! What the kernel says of a process.

use std::fs;
use std::time::Duration;

use crate::Result;

/// The CPU time of all its threads. Its resolution is that of the kernel's accounting, 10 ms on most machines.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything; the fields are counted from behind it.
    let (_, fields) = stat.rsplit_once(") ").ok_or("no name in `stat`")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.unwrap_or(100);
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// The CPU time of its main thread, exactly. PID 1 of systemd has no other.
pub(crate) fn cpu_time_of_main_thread(pid: u32) -> Result<Duration> {
    let schedstat = fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
    let nanoseconds = schedstat.split(' ').next().unwrap_or_default();
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}

/// The children of a process.
pub(crate) fn children(pid: u32) -> Result<Vec<u32>> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let children = text.split_whitespace().map(str::parse);
    Ok(children.collect::<std::result::Result<_, _>>()?)
}
