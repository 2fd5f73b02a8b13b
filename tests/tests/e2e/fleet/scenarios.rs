//! What the playbooks do, and what clients of the balancer see of it.

use std::error::Error;

use serde_json::Value;
use zdt_units::probe::Report;

use super::balancer::Front;
use super::play::Ended;
use super::setup::{Fleet, WEB};

/// More than one host has in hand at any time of this load.
const IN_FLIGHT: u64 = 5;

type Done = Result<(), Box<dyn Error>>;

/// Everywhere, one host after the other.
pub(super) fn a_new_release_serves_everywhere(fleet: &Fleet, front: Front, release: &str) -> Done {
    fleet.release(release, "")?;
    let load = fleet.load()?;
    let ended = rolling(fleet, front, release)?.ok()?;
    lossless(front, "a new release", &load.stop()?, &ended);
    assert_eq!(fleet.serve()?, [release; 3]);

    let mut turns = Vec::new();
    for name in WEB {
        turns.push(deployment(fleet, name, release)?);
    }
    let one_by_one = turns.windows(2).all(|pair| pair[0].1 < pair[1].0);
    assert!(one_by_one, "{turns:?}");
    all_are_in(fleet, front)
}

/// The second host gets a release that is unwell: it serves the one before again, and the third one never hears of it.
pub(super) fn a_bad_host_ends_it(fleet: &Fleet, front: Front, before: &str, release: &str) -> Done {
    fleet.release(release, "")?;
    fleet.release("bad", "unwell")?;
    let load = fleet.load()?;
    let bad = "files/shop-{{ 'bad' if inventory_hostname == 'web2' else zdt_release }}.tar.gz";
    let releases = format!(
        r#"{{"zdt_releases": [{{"service": "shop", "release": "{release}", "src": "{bad}"}}]}}"#
    );
    let flags = ["-e", &releases];
    let ended = rolling_with(fleet, front, release, &flags)?;
    assert_eq!(ended.code, Some(2), "{}", ended.said);
    let left = "web2 serves what it served before, and is back in the balancer.";
    assert!(ended.said.contains(left), "{}", ended.said);
    lossless(front, "a bad second host", &load.stop()?, &ended);
    assert_eq!(fleet.serve()?, [release, before, before]);
    // The third was not even asked.
    assert!(!ended.said.contains("[web3"), "{}", ended.said);
    all_are_in(fleet, front)
}

/// The third host is cut off in its own turn.
pub(super) fn a_host_is_lost_in_its_turn(fleet: &Fleet, release: &str) -> Done {
    fleet.release(release, "")?;
    let load = fleet.load()?;
    let mut play = fleet.start(&arguments(Front::Haproxy, release))?;
    play.await_word(&["changed: [web3 -> lb1"])?;
    fleet.network.cut_off("web3")?;
    let ended = play.end()?;
    assert_eq!(ended.code, Some(2), "{}", ended.said);
    let left = "web3 IS OUT OF THE BALANCER AND STAYS OUT";
    assert!(ended.said.contains(left), "{}", ended.said);
    lossless(Front::Haproxy, "cut off in its turn", &load.stop()?, &ended);
    fleet.network.rejoin("web3")?;
    // Its check passes again, and nobody sends it requests.
    fleet.await_state(Front::Haproxy, "web3", "out")?;
    let load = fleet.load()?;
    let ended = rolling_with(fleet, Front::Haproxy, release, &["--limit=balancer,web3"])?.ok()?;
    lossless(Front::Haproxy, "and back", &load.stop()?, &ended);
    assert_eq!(fleet.serve()?, [release; 3]);
    all_are_in(fleet, Front::Haproxy)
}

/// The third host is cut off while it serves, and the first one has its turn.
pub(super) fn a_host_is_lost_while_it_serves(fleet: &Fleet, before: &str, release: &str) -> Done {
    fleet.release(release, "")?;
    let load = fleet.load()?;
    let mut play = fleet.start(&arguments(Front::Haproxy, release))?;
    play.await_word(&["changed: [web1 -> lb1"])?;
    fleet.network.cut_off("web3")?;
    let ended = play.end()?;
    assert_eq!(ended.code, Some(2), "{}", ended.said);
    assert!(
        ended.said.contains("web3 was not touched."),
        "{}",
        ended.said
    );
    let report = load.stop()?;
    tell(Front::Haproxy, "cut off while it serves", &report, &ended);
    assert!(report.valid, "{report}");
    // What was in flight there at that moment, about one in two milliseconds; all else went elsewhere.
    assert!(report.lost() <= IN_FLIGHT, "{report}");

    fleet.network.rejoin("web3")?;
    assert_eq!(fleet.serve()?, [release, release, before]);
    let ended = rolling_with(fleet, Front::Haproxy, release, &["--limit=balancer,web3"])?.ok()?;
    println!("and back: {:.1?}", ended.took);
    assert_eq!(fleet.serve()?, [release; 3]);
    all_are_in(fleet, Front::Haproxy)
}

pub(super) fn all_go_back(fleet: &Fleet, front: Front, release: &str) -> Done {
    let load = fleet.load()?;
    let mut arguments = arguments(front, release);
    arguments[0] = "rollback.yml".to_owned();
    let ended = fleet.play(&arguments)?.ok()?;
    lossless(front, "back to the release before", &load.stop()?, &ended);
    assert_eq!(fleet.serve()?, [release; 3]);
    all_are_in(fleet, front)
}

fn rolling(fleet: &Fleet, front: Front, release: &str) -> Result<Ended, Box<dyn Error>> {
    rolling_with(fleet, front, release, &[])
}

fn rolling_with(
    fleet: &Fleet,
    front: Front,
    release: &str,
    flags: &[&str],
) -> Result<Ended, Box<dyn Error>> {
    let mut arguments = arguments(front, release);
    arguments.extend(flags.iter().map(|&flag| flag.to_owned()));
    fleet.play(&arguments)
}

fn arguments(front: Front, release: &str) -> Vec<String> {
    let mut arguments = vec!["rolling.yml".to_owned()];
    for variable in [
        format!("zdt_release={release}"),
        format!("zdt_balancer={}", front.name()),
        format!("zdt_balancer_at={}", front.at()),
        "zdt_ready_tries=5".to_owned(),
    ] {
        arguments.extend(["-e".to_owned(), variable]);
    }
    arguments
}

/// When the deployment of `release` began on a host, and when it ended. All hosts have one clock.
fn deployment(
    fleet: &Fleet,
    name: &str,
    release: &str,
) -> Result<(String, String), Box<dyn Error>> {
    let events = fleet
        .network
        .host(name)
        .run(&["zdt-units", "events", "shop", "--json"])?
        .ok()?;
    let mut times = Vec::new();
    let mut of_it = String::new();
    for line in events.stdout.lines() {
        let event: Value = serde_json::from_str(line)?;
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        if event["kind"] == "planned" && event["release"] == release {
            of_it = text("restart_id");
        }
        if text("restart_id") == of_it {
            times.push(text("time"));
        }
    }
    let ends = times.first().cloned().zip(times.last().cloned());
    Ok(ends.ok_or_else(|| format!("no deployment of {release} on {name}: {}", events.stdout))?)
}

fn all_are_in(fleet: &Fleet, front: Front) -> Done {
    if let Front::LeftAlone = front {
        return Ok(());
    }
    for name in WEB {
        assert_eq!(fleet.state(front, name)?, "up", "{name}");
    }
    Ok(())
}

fn lossless(front: Front, what: &str, report: &Report, ended: &Ended) {
    tell(front, what, report, ended);
    assert!(report.valid, "{report}");
    // It is no proof that nothing was lost where nothing was sent.
    assert!(
        report.total.outcomes.ok >= 900 * ended.took.as_secs(),
        "{report}"
    );
    assert_eq!(report.lost(), 0, "{report}\n{}", ended.said);
}

fn tell(front: Front, what: &str, report: &Report, ended: &Ended) {
    println!(
        "{}, {what}: {}; the play took {:.1?}",
        front.name(),
        crate::restart::summary(report),
        ended.took
    );
}
