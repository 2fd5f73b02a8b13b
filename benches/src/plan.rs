//! What a file of many services costs before anything is done: reading it, writing its units, the order of its
//! services and a plan for each. A chain through all of them, and a database that each of them needs.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Instant, SystemTime};

use zdt_units::model::{Model, Service, UnitName};
use zdt_units::observe::{Active, Instance, Observed, UnitState, Watched};
use zdt_units::order::{Order, Schedule};
use zdt_units::plan::{Request, plan};
use zdt_units::render::{Target, render};

use crate::Result;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// How many services there are, each case beside the first.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 1000])]
    pub(crate) services: Vec<usize>,
    /// Rounds, with all cases in each.
    #[arg(long, default_value_t = 15)]
    pub(crate) rounds: usize,
}

pub(crate) struct Measured {
    pub(crate) rounds: usize,
    pub(crate) rows: Vec<Row>,
}

pub(crate) struct Row {
    pub(crate) services: usize,
    /// What each round took, in microseconds a service.
    pub(crate) rounds: Vec<Parts>,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Parts {
    pub(crate) read: f64,
    pub(crate) render: f64,
    pub(crate) order: f64,
    pub(crate) plan: f64,
}

impl Parts {
    pub(crate) fn all(&self) -> f64 {
        self.read + self.render + self.order + self.plan
    }
}

pub(crate) fn measure(args: &Args) -> Result<Measured> {
    let most = args.services.iter().copied().max().unwrap_or_default();
    if args.services.contains(&0) || most > MOST {
        return Err(format!("`--services` takes 1 to {MOST}").into());
    }
    let cases = args.services.iter().map(|&services| Row {
        services,
        rounds: Vec::new(),
    });
    let mut rows: Vec<Row> = cases.collect();
    for _ in 0..args.rounds {
        for row in &mut rows {
            let round = round(row.services, most / row.services)?;
            row.rounds.push(round);
        }
    }
    Ok(Measured {
        rounds: args.rounds,
        rows,
    })
}

/// So that each has an address of its own.
const MOST: usize = 50_000;

/// Few services several times, so that each case plans about as many.
fn round(services: usize, times: usize) -> Result<Parts> {
    let text = zdt_toml(services)?;
    let mut parts = Parts::default();
    for _ in 0..times {
        let began = Instant::now();
        let model = Model::read("zdt.toml", black_box(&text));
        let model = model.map_err(|mistakes| format!("{:?}", mistakes.problems()))?;
        parts.read += since(began);

        let began = Instant::now();
        for unit in render(&model, "zdt.toml", Target::default()).units {
            black_box(unit.to_string());
        }
        parts.render += since(began);

        let began = Instant::now();
        let order = Order::new(&model, |_| true);
        let mut schedule = Schedule::new(&order.after, 4);
        while let Some(place) = schedule.begin() {
            schedule.done(black_box(place), true);
        }
        parts.order += since(began);

        let observed: Vec<Observed> = model.services.iter().map(healthy).collect();
        let began = Instant::now();
        for (service, observed) in model.services.iter().zip(&observed) {
            let plan = plan(&Request::restart(service), observed);
            black_box(plan.map_err(|refused| format!("{refused:?}"))?.to_string());
        }
        parts.plan += since(began);
    }
    let each = |micros: f64| micros / (services * times) as f64;
    Ok(Parts {
        read: each(parts.read),
        render: each(parts.render),
        order: each(parts.order),
        plan: each(parts.plan),
    })
}

fn since(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e6
}

fn zdt_toml(services: usize) -> Result<String> {
    let mut text = "[service.db]\nunit = \"postgresql.service\"\n".to_owned();
    for number in 0..services {
        let before = match number {
            0 => String::new(),
            _ => format!(", \"s{}\"", number - 1),
        };
        let port = 10_000 + number;
        write!(
            text,
            "\n[service.s{number}]\nexec = [\"/srv/s{number}/app\"]\nlisten = \"127.0.0.1:{port}\"\n\
             health = {{ listen = \"127.0.0.2:{port}\" }}\nafter = [\"db\"{before}]\n"
        )?;
    }
    Ok(text)
}

/// All units of it run.
fn healthy(service: &Service) -> Observed {
    let watched = Watched::of(service);
    let active = |unit: &UnitName| UnitState {
        active: Active::Active,
        was_active: true,
        ..UnitState::stopped(unit.clone())
    };
    let instance = Instance {
        pid: 7,
        invocation: "a1".repeat(16),
    };
    Observed {
        service: UnitState {
            instance: Some(instance),
            ..active(&watched.service)
        },
        beside: watched.beside.iter().map(active).collect(),
        newer: Vec::new(),
        program_is_newer: false,
        sockets: watched
            .sockets
            .iter()
            .map(|socket| active(&socket.unit))
            .collect(),
        files: None,
        releases: None,
        rotation: None,
        companions: Vec::new(),
        at: SystemTime::UNIX_EPOCH,
    }
}
