//! What a person looks at services with, and mends them with. Pure: only words.

use std::fmt::Display;

/// The commands of a service manager, as hints name them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tool {
    #[default]
    Systemctl,
    /// Of a user's own manager.
    UserSystemctl,
    /// This program, where a launcher runs the services.
    Launcher,
}

impl Tool {
    /// Whom it asks.
    pub fn manager(self) -> &'static str {
        match self {
            Self::Systemctl | Self::UserSystemctl => "systemd",
            Self::Launcher => "the launcher",
        }
    }

    /// What comes before `restart UNIT`.
    pub fn command(self) -> &'static str {
        match self {
            Self::Systemctl => "systemctl",
            Self::UserSystemctl => "systemctl --user",
            Self::Launcher => "zdt-units unit",
        }
    }

    /// What shows the words of `unit`.
    pub fn logs(self, unit: impl Display) -> String {
        match self {
            Self::Systemctl | Self::UserSystemctl => format!("journalctl --unit {unit}"),
            Self::Launcher => format!("zdt-units logs {unit}"),
        }
    }

    /// Where to read on about `unit`.
    pub fn see(self, unit: impl Display) -> String {
        format!("see `{}`", self.logs(unit))
    }

    /// What starts `unit` again where it, or others of `failed`, have failed too often.
    pub fn start_over(self, failed: &[&dyn Display], unit: impl Display) -> String {
        let command = self.command();
        match self {
            Self::Systemctl | Self::UserSystemctl => {
                let failed: Vec<String> = failed.iter().map(ToString::to_string).collect();
                let failed = failed.join(" ");
                format!("{command} reset-failed {failed}; {command} restart {unit}")
            }
            // It forgets what failed when it is told to start it.
            Self::Launcher => format!("{command} restart {unit}"),
        }
    }
}
