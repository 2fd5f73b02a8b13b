//! Runs `zdt-units verify` on a program, and checks which clients lost.

use std::collections::BTreeSet;
use std::process::Command;

use zdt_units::verify::result::{Client, Status, VerdictKind, Verified};

pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_zdt-units");

/// Short rests, so that the whole table meets two restarts in some seconds.
const BRIEFLY: [&str; 4] = ["--restarts=2", "--pause=300ms", "--idle=300ms", "--json"];

pub(super) struct Run {
    pub(super) code: i32,
    verified: Option<Verified>,
    pub(super) told: String,
}

pub(super) fn run(flags: &[&str], program: &[&str], prepare: impl FnOnce(&mut Command)) -> Run {
    let mut command = Command::new(PROGRAM);
    command
        .arg("verify")
        .args(BRIEFLY)
        .args(flags)
        .arg("--")
        .args(program);
    prepare(&mut command);
    let output = command.output().unwrap();
    Run {
        code: output.status.code().unwrap(),
        verified: serde_json::from_slice(&output.stdout).ok(),
        told: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Run {
    pub(super) fn verified(&self) -> &Verified {
        self.verified
            .as_ref()
            .unwrap_or_else(|| panic!("{}", self.told))
    }

    pub(super) fn client(&self, name: &str) -> &Client {
        self.verified().client(name).unwrap()
    }

    pub(super) fn named(&self, status: Status) -> BTreeSet<&str> {
        let clients = self.verified().clients.iter();
        let named = clients.filter(|client| client.status == status);
        named.map(|client| client.name.as_str()).collect()
    }

    /// For a report: what each client lost.
    fn summary(&self) -> String {
        let lost = self
            .verified()
            .clients
            .iter()
            .filter(|client| client.lost > 0);
        let lost = lost.map(|client| {
            let losses = client.losses.iter();
            let losses = losses.map(|loss| format!("{} {}", loss.count, loss.class));
            let losses = losses.collect::<Vec<_>>().join(", ");
            format!(
                "{} {} of {} ({losses})",
                client.name, client.lost, client.sent
            )
        });
        let lost = lost.collect::<Vec<_>>().join("; ");
        format!("{}: {lost}", self.verified().verdict.says)
    }

    /// These clients lost something, all others passed; those in `maybe` do either.
    pub(super) fn check(&self, what: &str, lost: &[&str], maybe: &[&str]) {
        println!("{what}: {}", self.summary());
        let set = |names: &[&'static str]| names.iter().copied().collect::<BTreeSet<_>>();
        let seen = self.named(Status::Lost);
        let expected: BTreeSet<&str> = lost.iter().copied().collect();
        let maybe: BTreeSet<&str> = maybe.iter().copied().collect();
        assert!(expected.is_subset(&seen), "{what}: {seen:?}\n{}", self.told);
        let others: Vec<_> = seen.difference(&expected).collect();
        let unexpected = others.iter().any(|name| !maybe.contains(**name));
        assert!(!unexpected, "{what}: {seen:?}\n{}", self.told);
        assert_eq!(self.named(Status::NotMet), set(&[]), "{what}");
        for client in &self.verified().clients {
            if client.status == Status::Passed {
                assert_eq!(client.met, 2, "{what}: {}", client.name);
            }
        }
        let (code, kind) = match lost.is_empty() {
            true => (0, VerdictKind::Lossless),
            false => (9, VerdictKind::Lossy),
        };
        let verdict = &self.verified().verdict;
        assert_eq!(
            (self.code, verdict.kind),
            (code, kind),
            "{what}: {}",
            verdict.says
        );
    }
}
