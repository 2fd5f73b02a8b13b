//! What to do with which change when. Pure: moments are given, from one beginning.

use std::path::{Component, Path};
use std::time::Duration;

use super::{LONGEST, QUIET};

/// Whether something is going on, and what has changed since it began.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rounds {
    /// A build or a restart; the first one begins by itself.
    busy: bool,
    /// The first change that no round knows, and the last.
    changes: Option<(Duration, Duration)>,
}

impl Default for Rounds {
    fn default() -> Self {
        Self {
            busy: true,
            changes: None,
        }
    }
}

impl Rounds {
    /// Something is another thing now. Whether it is the first that the next round is for.
    pub(super) fn changed(&mut self, now: Duration) -> bool {
        let before = self.changes;
        self.changes = Some(before.map_or((now, now), |(first, _)| (first, now)));
        before.is_none()
    }

    /// When the next round begins, if nothing else happens: after a moment of quiet, as an editor or a checkout
    /// changes many files at once, but soon also where it is never quiet.
    pub(super) fn due(&self) -> Option<Duration> {
        let (first, last) = self.changes.filter(|_| !self.busy)?;
        Some((last + QUIET).min(first + LONGEST))
    }

    /// It is for everything up to now.
    pub(super) fn begin(&mut self) {
        self.busy = true;
        self.changes = None;
    }

    /// What changed meanwhile gets one round more.
    pub(super) fn ended(&mut self, now: Duration) {
        self.busy = false;
        if let Some((first, _)) = &mut self.changes {
            *first = now;
        }
    }
}

/// Directories that tools write to while they build, and those of version control.
const DIRECTORIES: &[&str] = &[
    "target",
    ".git",
    ".hg",
    ".jj",
    ".svn",
    "node_modules",
    "__pycache__",
    ".venv",
];

/// Whether a path below what is watched is nobody's source: built, of version control, or a file that an editor
/// needs for a moment.
pub(super) fn is_ignored(inside: &Path) -> bool {
    let mut parts = inside.components();
    let directory = |part: Component<'_>| {
        let name = part.as_os_str();
        DIRECTORIES.iter().any(|ignored| name == *ignored)
    };
    if parts.any(directory) {
        return true;
    }
    let Some(name) = inside.file_name().map(|name| name.to_string_lossy()) else {
        return false;
    };
    name.ends_with('~')
        || name.starts_with(".#")
        || (name.starts_with('#') && name.ends_with('#'))
        || name == "4913"
        || [".swp", ".swx", ".swo", ".tmp"]
            .iter()
            .any(|suffix| name.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn many_changes_at_once_are_one_round_after_a_moment_of_quiet() {
        let mut rounds = Rounds::default();
        rounds.ended(ms(0));
        assert_eq!(rounds.due(), None);
        assert!(rounds.changed(ms(1000)));
        assert!(!rounds.changed(ms(1050)));
        assert_eq!(rounds.due(), Some(ms(1150)));
        rounds.begin();
        assert_eq!(rounds.due(), None);
        rounds.ended(ms(5000));
        assert_eq!(rounds.due(), None);
    }

    #[test]
    fn what_changes_during_a_round_gets_one_more() {
        let mut rounds = Rounds::default();
        rounds.changed(ms(10));
        rounds.changed(ms(20));
        assert_eq!(rounds.due(), None);
        rounds.ended(ms(3000));
        // Long quiet: at once.
        assert!(rounds.due().unwrap() <= ms(3000));
        rounds.begin();
        rounds.ended(ms(4000));
        assert_eq!(rounds.due(), None);
    }

    #[test]
    fn a_round_begins_also_where_it_is_never_quiet() {
        let mut rounds = Rounds::default();
        rounds.ended(ms(0));
        for change in 0..100 {
            rounds.changed(ms(100 + 50 * change));
        }
        assert_eq!(rounds.due(), Some(ms(100) + LONGEST));
    }

    #[test]
    fn what_is_built_or_only_for_a_moment_does_not_count() {
        let ignored = |path: &str| is_ignored(Path::new(path));
        for path in [
            "target/debug/shop",
            "crates/a/target/x",
            ".git/index.lock",
            "web/node_modules/a.js",
            "src/.main.rs.swp",
            "src/main.rs~",
            "src/.#main.rs",
            "src/#main.rs#",
            "src/4913",
        ] {
            assert!(ignored(path), "{path}");
        }
        for path in ["src/main.rs", "zdt.toml", "src/targets.rs", ".env", ""] {
            assert!(!ignored(path), "{path}");
        }
    }
}
