use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use super::*;
use crate::model::{Model, Service, UnitName};
use crate::observe::{Active, Instance, Load, Observed, UnitState, Watched};
use crate::plan::{Action, Options, Request, plan};
use crate::report::human;

/// How a fake host takes one step.
#[derive(Clone, Copy)]
enum Reply {
    Done,
    /// Done, but the old process had to be killed.
    Kills,
    Refuses,
    Fails,
    Hangs,
}

/// Does what it is told to, in order, and writes down what it was asked.
struct FakeHost {
    replies: Vec<Reply>,
    asked: Vec<String>,
}

impl Host for FakeHost {
    async fn observe(&mut self, watched: &Watched) -> Result<Observed, Failure> {
        let stopped = self.asked.last().is_some_and(|asked| asked == "stop_units");
        let mut observed = observed(watched, Active::Activating);
        if stopped {
            observed.service.active = Active::Active;
            for other in &mut observed.beside {
                other.active = Active::Inactive;
            }
        }
        Ok(observed)
    }

    async fn perform(
        &mut self,
        action: &Action,
        tell: &mut dyn FnMut(EventKind),
    ) -> Result<(), Failure> {
        let reply = self.replies[self.asked.len()];
        self.asked.push(action.kind().to_owned());
        sleep(Duration::from_millis(250)).await;
        if matches!(reply, Reply::Kills) {
            tell(EventKind::Killed {
                unit: "shop.service".to_owned(),
            });
        }
        match reply {
            Reply::Done | Reply::Kills => {
                if let Action::ConfirmInstance { unit, before, .. } = action {
                    tell(EventKind::Replaced {
                        unit: unit.to_string(),
                        before: before.clone(),
                        now: instance(8),
                    });
                }
                Ok(())
            }
            Reply::Refuses => Err(Failure::new("not allowed")
                .hint("run it as root")
                .without_effect()),
            Reply::Fails => Err(Failure::new("it broke")),
            Reply::Hangs => std::future::pending().await,
        }
    }
}

fn instance(pid: u32) -> Instance {
    Instance {
        pid,
        invocation: format!("{pid:032x}"),
    }
}

fn observed(watched: &Watched, active: Active) -> Observed {
    let state = |unit: &UnitName, active| UnitState {
        unit: unit.clone(),
        load: Load::Loaded,
        active,
        was_active: true,
        sub: "some".to_owned(),
        result: "success".to_owned(),
        needs_reload: false,
        instance: Some(instance(7)),
        restarts: 0,
        status: String::new(),
        exit_status: 0,
        refused: Vec::new(),
    };
    Observed {
        releases: None,
        rotation: None,
        service: state(&watched.service, active),
        beside: watched
            .beside
            .iter()
            .map(|unit| state(unit, Active::Active))
            .collect(),
        newer: Vec::new(),
        companions: Vec::new(),
        program_is_newer: false,
        files: None,
        at: SystemTime::UNIX_EPOCH,
        sockets: watched
            .sockets
            .iter()
            .map(|socket| state(&socket.unit, Active::Active))
            .collect(),
    }
}

/// A restart that does not look before it begins.
fn forced(service: &Service) -> Request<'_> {
    let options = Options {
        force: true,
        ..Options::default()
    };
    Request {
        options,
        ..Request::restart(service)
    }
}

fn queue_plan() -> Plan {
    let text = "[service.shop]\nexec = [\"/srv/shop\"]\nlisten = \":80\"\nhealth = { timeout = \"20s\" }\n";
    let model = Model::read("zdt.toml", text).unwrap();
    let service = &model.services[0];
    let observed = observed(&Watched::of(service), Active::Active);
    plan(&forced(service), &observed).unwrap()
}

/// A plan of strategy `standby`: the standby, then the process itself.
fn standby_plan() -> Plan {
    let text = "[service.shop]\nexec = [\"/srv/shop\"]\nlisten = \":80\"\nstrategy = \"standby\"\n";
    let model = Model::read("zdt.toml", text).unwrap();
    let service = &model.services[0];
    let mut observed = observed(&Watched::of(service), Active::Active);
    observed.beside[0] = UnitState::stopped(observed.beside[0].unit.clone());
    plan(&forced(service), &observed).unwrap()
}

/// The same plan with a way back, as strategies with a release to go back to will have.
fn with_rollback() -> Plan {
    let mut plan = queue_plan();
    plan.rollback = plan.steps[..2].to_vec();
    for step in &mut plan.steps {
        step.on_failure = OnFailure::RollBack;
    }
    plan
}

/// Runs `plan` and returns what was asked of the host, what a person reads, and the outcome.
async fn run(
    plan: &Plan,
    replies: &[Reply],
    interrupt_after: &[Duration],
) -> (Vec<String>, String, Outcome) {
    let mut host = FakeHost {
        replies: replies.to_vec(),
        asked: Vec::new(),
    };
    let (sender, mut interrupts) = Interrupts::channel();
    let press = async {
        for after in interrupt_after {
            sleep(*after).await;
            sender.send(()).unwrap();
        }
        std::future::pending::<()>().await;
    };
    let mut read = String::new();
    let mut sink = |event: Event| read.push_str(&human::lines(&event));
    let run = Run {
        plan,
        restart_id: "5f0c",
        systemctl: "systemctl",
        interrupts: &mut interrupts,
    };
    let outcome = tokio::select! {
        outcome = execute(run, &mut host, &mut sink) => outcome,
        () = press => unreachable!("it never ends"),
    };
    (host.asked, read, outcome)
}

use Reply::{Done, Fails, Hangs, Kills, Refuses};

#[tokio::test(start_paused = true)]
async fn a_restart_goes_through_its_steps_in_order() {
    let (asked, read, outcome) = run(&queue_plan(), &[Done; 3], &[]).await;
    assert_eq!(asked, ["restart_unit", "confirm_instance", "await_ready"]);
    assert_eq!(outcome, Outcome::Completed);
    insta::assert_snapshot!(read, @r#"
    restart `shop` (strategy `queue`, id 5f0c)
        0.000s  1. restart `shop.service` and wait until it is ready
        0.250s  2. confirm that `shop.service` runs a new process and that `shop.socket` stayed open
        0.500s     process 8 took the place of 7
        0.500s  3. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `shop.service`
        0.750s  done
    "#);
}

#[tokio::test(start_paused = true)]
async fn a_killed_process_is_not_a_clean_restart() {
    let (_, read, outcome) = run(&queue_plan(), &[Kills, Done, Done], &[]).await;
    assert_eq!(outcome, Outcome::Lossy);
    assert!(read.ends_with("done, but requests were lost\n"), "{read}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_first_step_stops_before_any_change() {
    let (asked, read, outcome) = run(&queue_plan(), &[Refuses], &[]).await;
    assert_eq!(asked, ["restart_unit"]);
    assert_eq!(outcome, Outcome::Stopped);
    insta::assert_snapshot!(read, @r#"
    restart `shop` (strategy `queue`, id 5f0c)
        0.000s  1. restart `shop.service` and wait until it is ready
        0.250s     error: not allowed
        0.250s     hint: run it as root
        0.250s  stopped before anything was changed
    "#);
}

#[tokio::test(start_paused = true)]
async fn a_failure_without_a_way_back_says_how_things_were_left() {
    let (asked, read, outcome) = run(&queue_plan(), &[Done, Fails], &[]).await;
    assert_eq!(asked, ["restart_unit", "confirm_instance"]);
    assert_eq!(outcome, Outcome::LookNow);
    insta::assert_snapshot!(read, @"
    restart `shop` (strategy `queue`, id 5f0c)
        0.000s  1. restart `shop.service` and wait until it is ready
        0.250s  2. confirm that `shop.service` runs a new process and that `shop.socket` stayed open
        0.500s     error: it broke

    how it was left:
      `shop.service` is activating (some)
      `shop.socket` is open

    clients wait and are not refused. see `journalctl --unit shop.service`, mend it, then `systemctl restart shop.service`

    what is left to do, by hand, when the cause is mended:
        curl -fsS http://127.0.0.1:80/readyz

        0.500s  failed and not taken back: look now
    ");
}

#[tokio::test(start_paused = true)]
async fn a_step_that_takes_too_long_has_failed() {
    // A host that waits by itself says why before that; this one does not.
    let (_, read, outcome) = run(&queue_plan(), &[Done, Done, Hangs], &[]).await;
    assert_eq!(outcome, Outcome::LookNow);
    insta::assert_snapshot!(read, @"
    restart `shop` (strategy `queue`, id 5f0c)
        0.000s  1. restart `shop.service` and wait until it is ready
        0.250s  2. confirm that `shop.service` runs a new process and that `shop.socket` stayed open
        0.500s     process 8 took the place of 7
        0.500s  3. wait until `http://127.0.0.1:80/readyz` answers 200 from the process of `shop.service`
       23.500s     error: it took longer than 20s

    how it was left:
      `shop.service` is activating (some)
      `shop.socket` is open

    clients wait and are not refused. see `journalctl --unit shop.service`, mend it, then `systemctl restart shop.service`

    what is left to do, by hand, when the cause is mended:
        curl -fsS http://127.0.0.1:80/readyz

       23.500s  failed and not taken back: look now
    ");
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_is_the_failure_of_the_step() {
    let after = [Duration::from_secs(1)];
    let (asked, read, outcome) = run(&queue_plan(), &[Hangs], &after).await;
    assert_eq!(asked, ["restart_unit"]);
    assert_eq!(outcome, Outcome::LookNow);
    insta::assert_snapshot!(read, @"
    restart `shop` (strategy `queue`, id 5f0c)
        0.000s  1. restart `shop.service` and wait until it is ready
        1.000s     error: it was interrupted

    how it was left:
      `shop.service` is activating (some)
      `shop.socket` is open

    clients wait and are not refused. see `journalctl --unit shop.service`, mend it, then `systemctl restart shop.service`

    what is left to do, by hand, when the cause is mended:
        systemctl restart shop.service
        curl -fsS http://127.0.0.1:80/readyz

        1.000s  failed and not taken back: look now
    ");
}

#[tokio::test(start_paused = true)]
async fn the_way_back_runs_in_its_own_order() {
    let replies = [Done, Fails, Done, Done];
    let (asked, read, outcome) = run(&with_rollback(), &replies, &[]).await;
    assert_eq!(
        asked,
        [
            "restart_unit",
            "confirm_instance",
            "restart_unit",
            "confirm_instance"
        ]
    );
    assert_eq!(outcome, Outcome::RolledBack);
    insta::assert_snapshot!(read, @r#"
    restart `shop` (strategy `queue`, id 5f0c)
        0.000s  1. restart `shop.service` and wait until it is ready
        0.250s  2. confirm that `shop.service` runs a new process and that `shop.socket` stayed open
        0.500s     error: it broke
        0.500s  back 1. restart `shop.service` and wait until it is ready
        0.750s  back 2. confirm that `shop.service` runs a new process and that `shop.socket` stayed open
        1.000s     process 8 took the place of 7
        1.000s  rolled back; the release of before serves
    "#);
}

#[tokio::test(start_paused = true)]
async fn a_second_interrupt_ends_the_way_back_too() {
    let after = [Duration::from_secs(1), Duration::from_secs(1)];
    let (asked, read, outcome) = run(&with_rollback(), &[Done, Hangs, Hangs], &after).await;
    assert_eq!(asked, ["restart_unit", "confirm_instance", "restart_unit"]);
    assert_eq!(outcome, Outcome::LookNow);
    let last: Vec<&str> = read.lines().rev().take(3).collect();
    let recover = "the way back was interrupted; `zdt-units recover shop` goes it again";
    assert_eq!(last[2], recover, "{read}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_step_after_a_change_is_rolled_back() {
    let mut plan = with_rollback();
    plan.steps.push(plan.steps[0].clone());
    let replies = [Done, Done, Done, Refuses, Done, Done];
    let (_, _, outcome) = run(&plan, &replies, &[]).await;
    assert_eq!(outcome, Outcome::RolledBack);
}

#[tokio::test(start_paused = true)]
async fn a_broken_standby_is_taken_back_and_nothing_else_is_touched() {
    let (asked, read, outcome) = run(&standby_plan(), &[Fails, Done], &[]).await;
    assert_eq!(asked, ["start_unit", "stop_units"]);
    assert_eq!(outcome, Outcome::RolledBack);
    insta::assert_snapshot!(read, @"
    restart `shop` (strategy `standby`, id 5f0c)
        0.000s  1. start `shop-standby.service` and wait until it is ready
        0.250s     error: it broke
        0.250s  back 1. stop `shop-standby.service`

    how it was left:
      `shop.service` is active (some)
      `shop-standby.service` is inactive (some)
      `shop.socket` is open

    `shop.service` serves. see `journalctl --unit shop-standby.service` and `--unit shop.service`
        0.500s  rolled back; the release of before serves
    ");
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_takes_back_what_the_step_did() {
    let after = [Duration::from_secs(1)];
    let (asked, _, outcome) = run(&standby_plan(), &[Done, Hangs, Done], &after).await;
    assert_eq!(asked, ["start_unit", "confirm_instance", "stop_units"]);
    assert_eq!(outcome, Outcome::RolledBack);
}

#[tokio::test(start_paused = true)]
async fn a_standby_goes_on_serving_when_the_other_one_fails() {
    let (asked, read, outcome) = run(&standby_plan(), &[Done, Done, Fails], &[]).await;
    assert_eq!(asked, ["start_unit", "confirm_instance", "restart_unit"]);
    assert_eq!(outcome, Outcome::LookNow);
    insta::assert_snapshot!(read, @"
    restart `shop` (strategy `standby`, id 5f0c)
        0.000s  1. start `shop-standby.service` and wait until it is ready
        0.250s  2. confirm that `shop-standby.service` runs a process and that `shop.socket` stayed open
        0.500s     process 8 runs
        0.500s  3. restart `shop.service` and wait until it is ready
        0.750s     error: it broke

    how it was left:
      `shop.service` is activating (some)
      `shop-standby.service` is active (some)
      `shop.socket` is open

    `shop-standby.service` serves, so clients do not notice; it ends by itself 900s after its start. see `journalctl --unit shop.service`, mend it, then
      systemctl restart shop.service
      systemctl stop shop-standby.service

    what is left to do, by hand, when the cause is mended:
        systemctl restart shop.service
        systemctl stop shop-standby.service

        0.750s  failed and not taken back: look now
    ");
}

#[tokio::test(start_paused = true)]
async fn a_standby_that_cannot_be_stopped_is_told() {
    let (_, read, outcome) = run(&standby_plan(), &[Fails, Fails], &[]).await;
    assert_eq!(outcome, Outcome::LookNow);
    assert!(read.contains("failed and not taken back"), "{read}");
}
