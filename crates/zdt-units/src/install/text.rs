//! Unit files as they are on disk, ours and those of others.

use crate::model::Name;
use crate::render::MARK;

/// One unit file, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitText {
    pub entries: Vec<Entry>,
}

/// One directive where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub section: String,
    pub key: String,
    pub value: String,
}

impl UnitText {
    /// Reads what `systemd.syntax(7)` describes; a line that it does not allow is skipped.
    pub fn read(text: &str) -> Self {
        let mut entries = Vec::new();
        let mut section = String::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(name) = line
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
            {
                section = name.to_owned();
                continue;
            }
            let mut whole = line.to_owned();
            while whole.ends_with('\\') {
                whole.pop();
                let next = lines.next().map(str::trim).unwrap_or_default();
                if !next.starts_with(['#', ';']) {
                    whole.push(' ');
                    whole.push_str(next);
                } else {
                    whole.push('\\');
                }
            }
            if let Some((key, value)) = whole.split_once('=') {
                entries.push(Entry {
                    section: section.clone(),
                    key: key.trim().to_owned(),
                    value: value.trim().to_owned(),
                });
            }
        }
        Self { entries }
    }

    /// The values of one directive in their order; an empty one forgets those before it.
    pub fn values(&self, section: &str, key: &str) -> Vec<&str> {
        let mut values = Vec::new();
        for entry in &self.entries {
            if entry.section == section && entry.key == key {
                match entry.value.as_str() {
                    "" => values.clear(),
                    value => values.push(value),
                }
            }
        }
        values
    }

    /// The value that counts of a directive which has one.
    pub fn value(&self, section: &str, key: &str) -> Option<&str> {
        self.values(section, key).pop()
    }

    /// This file with `drop_in` read after it.
    pub fn with(mut self, drop_in: &Self) -> Self {
        self.entries.extend(drop_in.entries.iter().cloned());
        self
    }

    /// Each directive once, in the order of the text.
    pub fn keys(&self) -> Vec<(&str, &str)> {
        let mut keys = Vec::new();
        for entry in &self.entries {
            let key = (entry.section.as_str(), entry.key.as_str());
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }

    /// What `systemctl enable` links it into: `multi-user.target.wants`.
    pub fn wanted_in(&self) -> Vec<String> {
        self.values("Install", "WantedBy")
            .iter()
            .flat_map(|value| value.split_ascii_whitespace())
            .map(|target| format!("{target}.wants"))
            .collect()
    }
}

/// Whether this program wrote the file.
pub(crate) fn is_ours(text: &str) -> bool {
    text.lines()
        .take_while(|line| line.starts_with('#'))
        .any(|line| line.contains(MARK))
}

/// The service of `zdt.toml` that a unit of ours belongs to.
pub fn owner(unit: &str, text: &UnitText) -> Option<Name> {
    let (stem, kind) = unit.rsplit_once('.')?;
    let own = || Name::parse(stem.split('@').next()?).ok();
    match kind {
        "service" => text
            .values("Service", "Environment")
            .iter()
            .find_map(|value| value.trim_matches('"').strip_prefix("ZDT_SERVICE="))
            .and_then(|name| Name::parse(name).ok())
            .or_else(own),
        "socket" => match text.value("Socket", "Service") {
            Some(service) => Name::parse(service.split(['.', '@']).next()?).ok(),
            None => own(),
        },
        _ => own(),
    }
}

/// One spelling for values that can be written in several: spans in
/// microseconds, `yes` and `no`, modes without leading zeros.
pub(super) fn canonical(key: &str, value: &str) -> String {
    let span = || {
        let span = match value.parse::<u64>() {
            Ok(seconds) => std::time::Duration::from_secs(seconds),
            Err(_) => humantime::parse_duration(value).ok()?,
        };
        Some(span.as_micros().to_string())
    };
    let spelled = match (key, value) {
        ("SocketMode", mode) => Some(mode.trim_start_matches('0').to_owned()),
        (_, "true" | "on" | "1") if key == "NoDelay" => Some("yes".to_owned()),
        (key, "infinity") if key.ends_with("Sec") => Some(u64::MAX.to_string()),
        (key, _) if key.ends_with("Sec") => span(),
        _ => None,
    };
    spelled.unwrap_or_else(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_systemd_reads_it() {
        let text = UnitText::read(
            "# [Unit]\n[Service]\nExecStart=/bin/a \\\n  # not part of it\n  --b\n\
             Environment=A=1\nEnvironment=\nEnvironment=B=2 \n;x=y\nnonsense\n",
        );
        assert_eq!(text.values("Service", "Environment"), ["B=2"]);
        assert_eq!(
            text.keys(),
            [("Service", "ExecStart"), ("Service", "Environment")]
        );
    }

    #[test]
    fn a_span_is_told_in_microseconds_and_for_ever_is_the_most() {
        let told = ["5", "500ms", "infinity", "soon"].map(|span| canonical("TimeoutStopSec", span));
        assert_eq!(told, ["5000000", "500000", "18446744073709551615", "soon"]);
    }

    #[test]
    fn every_unit_of_ours_names_its_service() {
        let check = |unit: &str, text: &str, expected: Option<&str>| {
            let found = owner(unit, &UnitText::read(text));
            assert_eq!(found.as_ref().map(Name::as_str), expected, "{unit}");
        };
        check("shop.socket", "", Some("shop"));
        check("x.socket", "[Socket]\nService=shop.service\n", Some("shop"));
        check("x.socket", "[Socket]\nService=shop@1.service", Some("shop"));
        check("shop.target", "", Some("shop"));
        check("shop@.service", "", Some("shop"));
        let standby = "[Service]\nEnvironment=LOG=1\nEnvironment=ZDT_SERVICE=shop\n";
        check("shop-standby.service", standby, Some("shop"));
    }

    #[test]
    fn a_value_has_one_spelling() {
        let check = |key, one, two| assert_eq!(canonical(key, one), canonical(key, two));
        check("TimeoutStopSec", "90", "1m 30s");
        check("DeferAcceptSec", "5", "5s");
        check("SocketMode", "0660", "660");
        check("NoDelay", "true", "yes");
    }
}
