//! What `--dry-run` prints is what happens.

use std::collections::BTreeMap;
use std::error::Error;

use zdt_e2e::machine::Machine;

use super::{Told, app, install, zdt};
use crate::Test;

pub(super) const TESTS: &[(&str, Test)] = &[(
    "chain::what_is_printed_before_is_what_happens",
    what_is_printed_before_is_what_happens,
)];

const RELEASE: &str = r#"
[service.shop]
exec = ["{{release.path}}/bin/app"]
listen = "127.0.0.1:8085"
release = { root = "/srv/shop" }
check = { command = ["/bin/true"] }
migrate = { command = ["/bin/true"], down = ["/bin/true"] }
warm = { command = ["/bin/true"] }
bake = "200ms"
after = ["queue", "standby"]
"#;

const SERVICES: [&str; 6] = ["shop", "queue", "standby", "rolling", "reload", "other"];

fn what_is_printed_before_is_what_happens(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let other = "[Service]\nExecStart=/bin/sleep infinity\n";
    machine.install(&[("other.service", other)])?;
    machine.systemctl(&["start", "other"])?.ok()?;
    let config = [
        RELEASE,
        &app("queue", 8080, "after = [\"other\"]"),
        &app("standby", 8081, "strategy = \"standby\""),
        &app(
            "rolling",
            8082,
            "strategy = \"rolling\"\ninstances = 3\nbake = \"200ms\"",
        ),
        &app("reload", 8083, "strategy = \"reload\"\nhandover = true"),
        "[service.other]\nunit = \"other.service\"\n",
    ];
    install(machine, &config.concat())?;
    let deploy = |name| {
        [
            "deploy",
            "shop",
            "--from",
            "/opt/zdt/bin/app",
            "--release",
            name,
        ]
    };
    // Until then it has nothing to run, and systemd tries again and again.
    zdt(machine, &deploy("v1"))?.ok()?;
    for call in [
        &["restart", "--all"][..],
        &["restart", "rolling", "--canary"],
        &deploy("v2"),
        &["rollback", "shop"],
        &deploy("v2"),
        &["restart", "--all", "--force", "--skip-migrations"],
    ] {
        let text = zdt(machine, &[call, &["--dry-run"]].concat())?.ok()?.stdout;
        let json = zdt(machine, &[call, &["--dry-run", "--json"]].concat())?.ok()?;
        let done = Told::read(&zdt(machine, &[call, &["--json"]].concat())?.ok()?)?;
        let printed = printed(&text);
        let happened = happened(&done);
        let steps: usize = happened.values().map(Vec::len).sum();
        println!("{}: {} plans, {steps} steps", call.join(" "), printed.len());
        assert!(steps > 0);
        assert_eq!(printed, happened, "{text}");
        let plans = |told: &Told| {
            let planned = told.of_kind("planned").map(|plan| {
                let mut plan = plan.clone();
                for own in ["alias", "restart_id", "dry_run", "time", "elapsed_ms"] {
                    plan.as_object_mut().map(|plan| plan.remove(own));
                }
                (plan["service"].to_string(), plan)
            });
            planned.collect::<BTreeMap<_, _>>()
        };
        assert_eq!(plans(&Told::read(&json)?), plans(&done));
    }
    Ok(())
}

/// The steps of each service, in the words of the plan.
fn printed(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut plans = BTreeMap::new();
    for plan in text.split("\n\n") {
        let headline = plan.lines().next().unwrap_or_default();
        let mut named = headline.split('`').skip(1).step_by(2);
        let Some(service) = named.find(|name| SERVICES.contains(name)) else {
            panic!("no service in `{headline}`");
        };
        let steps = plan
            .lines()
            .filter(|line| line.starts_with(|first: char| first.is_ascii_digit()));
        let steps = steps.map(|line| {
            let end = line.rfind(" (limit ").unwrap_or(line.len());
            line[..end].to_owned()
        });
        plans.insert(service.to_owned(), steps.collect());
    }
    plans
}

/// The steps that were begun for each service, in the same form.
fn happened(told: &Told) -> BTreeMap<String, Vec<String>> {
    let mut plans: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in told.of_kind("step_started") {
        let service = event["service"].as_str().unwrap_or_default();
        let text = event["text"].as_str().unwrap_or_default();
        let step = format!("{}. {text}", event["step"]);
        plans.entry(service.to_owned()).or_default().push(step);
    }
    plans
}
