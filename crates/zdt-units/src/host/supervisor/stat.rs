//! What `/proc/PID/stat` says; see `proc_pid_stat(5)`.

use std::fs;

/// One process at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// It has ended, and nobody has waited for it yet.
    pub(super) has_ended: bool,
    pub(super) group: i32,
    /// In clock ticks since boot: with the number it means one process and no other.
    pub(super) start_time: u64,
}

impl Stat {
    /// `None`: there is no such process.
    pub(super) fn of(pid: u32) -> Option<Self> {
        // A name may be any bytes.
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        Self::parse(&String::from_utf8_lossy(&stat))
    }

    fn parse(stat: &str) -> Option<Self> {
        // The name before it, in brackets, may have anything in it.
        let (_, after_name) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
        Some(Self {
            has_ended: matches!(*fields.first()?, "Z" | "X"),
            group: fields.get(2)?.parse().ok()?,
            start_time: fields.get(19)?.parse().ok()?,
        })
    }
}

/// The numbers of all processes.
pub(super) fn processes() -> std::io::Result<impl Iterator<Item = u32>> {
    let entries = fs::read_dir("/proc")?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_pretend_to_be_the_rest() {
        let stat = "42 (a) Z 1 2 3) S 1 40 39 0 -1 4194560 5 0 0 0 1 2 3 4 20 0 1 0 98765 1 2 3";
        assert_eq!(
            Stat::parse(stat),
            Some(Stat {
                has_ended: false,
                group: 40,
                start_time: 98765,
            })
        );
    }
}
