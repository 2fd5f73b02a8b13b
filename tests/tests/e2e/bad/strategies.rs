//! In each way that a release can be bad, by each strategy.

use super::*;

const ONE: &[&str] = &["app.service"];
const TWO: &[&str] = &["app@1.service", "app@2.service"];

/// The old process is gone when the new one fails: whoever comes waits in the kernel.
fn by_queue(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let app = App::install(machine, "", ONE)?;
    let load = app.load()?;
    are_taken_back(&app, &["exit", "hang", "unwell", "mute", "end"])?;
    let canary = app.deploy_with("v1", &["--canary"])?;
    assert_eq!(canary.code, Some(4), "{}", canary.stderr);
    a_good_one_follows(&app)?;
    lossless("queue", &load.stop()?);
    a_fall_loses_what_was_in_it(&app)
}

/// The process that serves is not touched by what is seen in the standby. What is wrong only in the
/// service itself is seen while the standby serves.
fn by_standby(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let app = App::install(machine, "strategy = \"standby\"\nhandover = true", ONE)?;
    let load = app.load()?;
    let before = machine.show("app.service", "MainPID")?;
    are_taken_back(&app, &["exit", "hang", "unwell", "mute"])?;
    a_canary_is_taken_back(&app)?;
    assert_eq!(machine.show("app.service", "MainPID")?, before);
    are_taken_back(&app, &["exit app.service", "mute app.service"])?;
    a_good_one_follows(&app)?;
    lossless("standby", &load.stop()?);
    one_that_ends_is_taken_back(&app)
}

/// What the first batch shows never reaches the second; what the second one shows takes the first back.
fn by_rolling(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let rolling = "strategy = \"rolling\"\ninstances = 2\nhandover = true";
    let app = App::install(machine, rolling, TWO)?;
    let load = app.load()?;
    let before = machine.show("app@2.service", "MainPID")?;
    are_taken_back(&app, &["exit", "hang", "unwell", "mute"])?;
    a_canary_is_taken_back(&app)?;
    assert_eq!(machine.show("app@2.service", "MainPID")?, before);
    are_taken_back(&app, &["exit app@2.service", "mute app@2.service"])?;
    a_good_one_follows(&app)?;
    lossless("rolling", &load.stop()?);
    one_that_ends_is_taken_back(&app)
}

/// The successor fails, and its parent goes on; one that fails later gives way to a restart.
fn by_reload(machine: &Machine) -> Result<(), Box<dyn Error>> {
    let app = App::install(machine, "strategy = \"reload\"\nhandover = true", ONE)?;
    let load = app.load()?;
    let before = machine.show("app.service", "MainPID")?;
    are_taken_back(&app, &["exit", "hang"])?;
    assert_eq!(machine.show("app.service", "MainPID")?, before);
    are_taken_back(&app, &["unwell"])?;
    a_good_one_follows(&app)?;
    lossless("reload", &load.stop()?);
    one_that_ends_is_taken_back(&app)
}

/// It does not stay up while it is alone, and no other process was touched.
fn a_canary_is_taken_back(app: &App<'_>) -> Result<(), Box<dyn Error>> {
    let old = app.link("current")?;
    app.make("canary", &[("fault", "end")])?;
    let canary = app.deploy_with("canary", &["--canary"])?;
    println!("canary: {}", why(&canary));
    assert_eq!(canary.code, Some(6), "{}", canary.stderr);
    app.serves(&old)
}

fn one_that_ends_is_taken_back(app: &App<'_>) -> Result<(), Box<dyn Error>> {
    let load = app.load_of_new()?;
    are_taken_back(app, &["end"])?;
    lossless("one that ends", &load.stop()?);
    Ok(())
}

/// Each of `faults` in a release of its own.
fn are_taken_back(app: &App<'_>, faults: &[&str]) -> Result<(), Box<dyn Error>> {
    let old = app.link("current")?;
    for fault in faults {
        let release = fault.replace([' ', '@'], "-");
        app.make(&release, &[("fault", fault)])?;
        let failed = app.is_taken_back(&release, &old)?;
        println!("{fault}: {}", why(&failed));
    }
    Ok(())
}

/// It is deployed as if nothing had been, left for the one before, and taken up again by name.
fn a_good_one_follows(app: &App<'_>) -> Result<(), Box<dyn Error>> {
    let old = app.link("current")?;
    app.make("good", &[])?;
    app.deploy("good")?.ok()?;
    app.serves("good")?;
    assert_eq!(app.failures()?, 0);
    app.zdt(&["rollback", "app"])?.ok()?;
    app.serves(&old)?;
    app.zdt(&["rollback", "app", "good"])?.ok()?;
    app.serves("good")
}

/// The control: nobody can give back what a process held that fell. The old release serves all the same.
fn a_fall_loses_what_was_in_it(app: &App<'_>) -> Result<(), Box<dyn Error>> {
    let load = units::load(
        app.machine,
        &[
            "--stream=name=slow,rate=50,path=/slow?ms=500",
            "--timeout=60s",
        ],
    )?;
    let old = app.link("current")?;
    app.make("abort", &[("fault", "abort")])?;
    app.is_taken_back("abort", &old)?;
    let report = load.stop()?;
    println!(
        "a release that falls, under slow requests: {}",
        report.total.outcomes
    );
    assert!(report.valid, "{report}");
    assert!(report.lost() > 0, "{report}");
    Ok(())
}

pub(super) const TESTS: &[(&str, Test)] = &[
    ("bad::by_queue", by_queue),
    ("bad::by_standby", by_standby),
    ("bad::by_rolling", by_rolling),
    ("bad::by_reload", by_reload),
];
