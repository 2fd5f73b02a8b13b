//! What a person looks at services with, and mends them with. Pure: only words.

use std::fmt::Display;

use serde::{Deserialize, Serialize};

/// The commands of a service manager, as hints name them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tool {
    #[default]
    #[serde(rename = "systemd")]
    Systemctl,
    /// Of a user's own manager.
    #[serde(rename = "user_systemd")]
    UserSystemctl,
    /// This program, where a launcher runs the services.
    #[serde(rename = "launcher")]
    Launcher,
}

impl Tool {
    /// Events name only another manager than systemd.
    pub(crate) fn is_systemd(&self) -> bool {
        matches!(self, Self::Systemctl | Self::UserSystemctl)
    }

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

    /// What shows how `unit` is.
    pub fn status(self, unit: impl Display) -> String {
        match self {
            Self::Systemctl | Self::UserSystemctl => format!("systemctl status {unit}"),
            Self::Launcher => "zdt-units status".to_owned(),
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
