//! The plans that `docs/operate.md` shows are those that are made for the services that it shows.
//!
//! `BLESS=1 cargo test -p zdt-units --test operate` writes them.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "reads the document"
)]

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use zdt_units::model::{Model, ReleaseName, Service, UnitName};
use zdt_units::observe::{Active, Instance, Observed, UnitState, Watched};
use zdt_units::plan::{Operation, Options, Request, plan};
use zdt_units::release::{Found, Kind, Mark, Record, Releases};

#[test]
fn the_plans_on_the_page_are_made_of_the_services_on_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operate.md");
    let mut page = fs::read_to_string(&path).unwrap();
    let deploy = Operation::Deploy {
        release: release("v2"),
        from: "/home/ci/shop".into(),
    };
    for (name, file, strategy, operation) in [
        ("deploy standby", 1, "standby", deploy),
        ("restart queue", 0, "queue", Operation::Restart),
        ("restart standby", 0, "standby", Operation::Restart),
        ("restart rolling", 0, "rolling", Operation::Restart),
        ("restart reload", 0, "reload", Operation::Restart),
    ] {
        let text = page.split("```toml\n").nth(file + 1).unwrap();
        let text = text.split("```").next().unwrap();
        let strategy = format!("strategy = \"{strategy}\"");
        let text = text.replace("strategy = \"standby\"", &strategy);
        let shown = format!("```text\n{}```\n", planned(&text, operation));
        let begin = format!("<!-- plan: {name} -->\n");
        let from = page.find(&begin).expect(name) + begin.len();
        let to = from + page[from..].find("<!-- end -->").expect(name);
        page.replace_range(from..to, &shown);
    }
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap() == page,
        "{} is not up to date",
        path.display()
    );
}

/// For the only service in `text`, which is well and serves `v1`.
fn planned(text: &str, operation: Operation) -> String {
    let model = Model::read("zdt.toml", text).unwrap();
    let service = &model.services[0];
    let request = Request {
        service,
        companions: Vec::new(),
        operation,
        options: Options::default(),
    };
    plan(&request, &observed(service)).unwrap().to_string()
}

fn observed(service: &Service) -> Observed {
    let watched = Watched::of(service);
    let at_rest = |unit: &UnitName| unit.as_str().contains("standby");
    let beside = watched.beside.iter();
    let state = |unit: &UnitName| match at_rest(unit) {
        true => UnitState::stopped(unit.clone()),
        false => running(unit),
    };
    Observed {
        service: running(&watched.service),
        beside: beside.map(state).collect(),
        newer: Vec::new(),
        companions: Vec::new(),
        program_is_newer: false,
        sockets: watched
            .sockets
            .iter()
            .map(|socket| running(&socket.unit))
            .collect(),
        files: None,
        releases: Some(releases()),
        rotation: None,
        at: SystemTime::UNIX_EPOCH,
    }
}

fn running(unit: &UnitName) -> UnitState {
    let is_service = unit.as_str().ends_with(".service");
    UnitState {
        active: Active::Active,
        was_active: true,
        instance: is_service.then(|| Instance {
            pid: 178,
            invocation: "a1".repeat(16),
        }),
        ..UnitState::stopped(unit.clone())
    }
}

fn releases() -> Releases {
    let mut record = Record::new(release("v1"), SystemTime::UNIX_EPOCH);
    record.mark(Mark::Served, SystemTime::UNIX_EPOCH);
    Releases {
        current: Some(release("v1")),
        next: Some(release("v1")),
        blocked: Vec::new(),
        all: vec![Found {
            name: release("v1"),
            kind: Kind::Ours(Box::new(record)),
        }],
    }
}

fn release(name: &str) -> ReleaseName {
    ReleaseName::parse(name).unwrap()
}
