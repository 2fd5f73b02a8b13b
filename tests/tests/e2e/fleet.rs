//! Three hosts behind a balancer, rolled by the playbooks of `examples/ansible` over real ssh.

mod balancer;
mod control;
mod play;
mod scenarios;
mod setup;

use std::error::Error;

use zdt_e2e::machine::Machine;

use self::balancer::Front;
use self::setup::Fleet;
use crate::Test;

pub(crate) const TESTS: &[(&str, Test)] = &[
    (
        "fleet::hosts_behind_haproxy_are_rolled_and_nothing_is_lost",
        hosts_behind_haproxy_are_rolled_and_nothing_is_lost,
    ),
    (
        "fleet::hosts_behind_nginx_are_rolled_and_nothing_is_lost",
        hosts_behind_nginx_are_rolled_and_nothing_is_lost,
    ),
    (
        "fleet::the_playbook_that_everybody_copies_loses_requests",
        control::the_playbook_that_everybody_copies_loses_requests,
    ),
];

/// How long a new process takes to start, here and in the control.
const START_UP: &str = "WARMUP_MS=3000\n";

/// The machine of the test is of no use here: the controller shows directories that others do not.
fn hosts_behind_haproxy_are_rolled_and_nothing_is_lost(_: &Machine) -> Result<(), Box<dyn Error>> {
    let fleet = Fleet::boot()?;
    fleet.install("v1")?;
    let haproxy = Front::Haproxy;
    fleet.put_in_front(haproxy)?;
    fleet.settings(START_UP)?;
    scenarios::a_new_release_serves_everywhere(&fleet, haproxy, "v2")?;
    fleet.settings("")?;
    scenarios::a_bad_host_ends_it(&fleet, haproxy, "v2", "v3")?;
    scenarios::a_host_is_lost_in_its_turn(&fleet, "v4")?;
    scenarios::a_host_is_lost_while_it_serves(&fleet, "v4", "v5")?;
    scenarios::all_go_back(&fleet, haproxy, "v4")
}

fn hosts_behind_nginx_are_rolled_and_nothing_is_lost(_: &Machine) -> Result<(), Box<dyn Error>> {
    let fleet = Fleet::boot()?;
    fleet.install("v1")?;
    let nginx = Front::Nginx;
    fleet.put_in_front(nginx)?;
    scenarios::a_new_release_serves_everywhere(&fleet, nginx, "v2")?;
    scenarios::a_bad_host_ends_it(&fleet, nginx, "v2", "v3")?;
    scenarios::a_new_release_serves_everywhere(&fleet, Front::LeftAlone, "v4")
}
