//! `zdt-units balancer`: a server out of rotation, in it again, or shown.

use std::io::Write as _;

use serde::Serialize;

use super::named::find;
use super::operation::runtime;
use super::{Failed, note, print, said, scope};
use crate::balancer::{Pool, Server};
use crate::cli::{BalancerArgs, BalancerVerb};
use crate::exit_code;
use crate::host::balancer::{Done, last_up, look, put_back, take_out};
use crate::host::{Effect, Failure};
use crate::model::{Balancer, Member, Rotation, span};

pub(super) fn run(args: &BalancerArgs) -> Result<u8, Failed> {
    let (service, rotation) = meant(args)?;
    runtime()?.block_on(async {
        match args.verb {
            BalancerVerb::Drain => drain(args, &service, &rotation).await,
            BalancerVerb::Restore => restore(args, &service, &rotation).await,
            BalancerVerb::Show => show(args, &rotation).await,
        }
    })
}

/// By the flags, or by `zdt.toml`; with the name of the service.
fn meant(args: &BalancerArgs) -> Result<(String, Rotation), Failed> {
    let balancer = match (&args.haproxy, &args.nginx, &args.traefik) {
        (Some(control), ..) => Balancer::Haproxy {
            control: control.clone(),
        },
        (None, Some(file), _) => nginx(args, Balancer::nginx(file.clone())),
        (None, None, Some(file)) => Balancer::Traefik {
            file: file.clone(),
            api: args.api,
        },
        (None, None, None) => return of_service(args),
    };
    let server = Member::parse(&args.what).map_err(Failed::usage)?;
    let rotation = Rotation {
        settle: args.settle.unwrap_or(balancer.settle()),
        timeout: args.timeout.unwrap_or(Rotation::TIMEOUT),
        balancer,
        server,
    };
    Ok((rotation.server.backend.clone(), rotation))
}

fn nginx(args: &BalancerArgs, balancer: Balancer) -> Balancer {
    let given = |words: &[String], default| match words.is_empty() {
        true => default,
        false => words.to_vec(),
    };
    match balancer {
        Balancer::Nginx { file, test, reload } => Balancer::Nginx {
            file,
            test: given(&args.test, test),
            reload: given(&args.reload, reload),
        },
        other => other,
    }
}

fn of_service(args: &BalancerArgs) -> Result<(String, Rotation), Failed> {
    let (read, _) = scope::reach(&args.config, false, &args.control)?;
    let service = find(&read.model, &args.what)?;
    let Some(rotation) = service.rotation.clone() else {
        let what = format!(
            "`zdt.toml` does not say where `{}` is taken out of rotation",
            service.name
        );
        return Err(Failed::said(exit_code::USAGE, what)
            .hint("add `balancer = { haproxy = \"/run/haproxy/admin.sock\", server = \"BACKEND/SERVER\" }`, or name the balancer: `--haproxy`, `--nginx`, `--traefik`"));
    };
    let rotation = Rotation {
        settle: args.settle.unwrap_or(rotation.settle),
        timeout: args.timeout.unwrap_or(rotation.timeout),
        ..rotation
    };
    Ok((service.name.to_string(), rotation))
}

async fn drain(args: &BalancerArgs, service: &str, rotation: &Rotation) -> Result<u8, Failed> {
    if !args.last
        && let Some(pool) = look(rotation).await.map_err(failed)?
        && pool.is_last_up(&rotation.server.server)
    {
        let refused = last_up(rotation);
        return Err(said(exit_code::REFUSED, refused));
    }
    let done = take_out(service, rotation, args.last).await;
    tell(args, rotation, "out", &done.map_err(failed)?)
}

async fn restore(args: &BalancerArgs, service: &str, rotation: &Rotation) -> Result<u8, Failed> {
    let done = put_back(service, rotation).await;
    tell(args, rotation, "in", &done.map_err(failed)?)
}

async fn show(args: &BalancerArgs, rotation: &Rotation) -> Result<u8, Failed> {
    let Some(pool) = look(rotation).await.map_err(failed)? else {
        let what = format!("{} only does, and says nothing", rotation.balancer);
        return Err(Failed::said(exit_code::STOPPED, what));
    };
    let asked = pool.server(&rotation.server.server);
    let asked = asked
        .map_err(|trouble| Failed::said(exit_code::STOPPED, trouble.what).hint(trouble.hint))?;
    match args.json {
        true => print(&format!(
            "{}\n",
            object(&Shown {
                server: asked,
                pool: &pool
            })
        ))?,
        false => print(&table(&pool, asked))?,
    }
    Ok(exit_code::DONE)
}

/// What `--json` prints of a change; see `docs/balancers.md`.
#[derive(Serialize)]
struct Changed<'a> {
    v: u32,
    changed: bool,
    server: String,
    /// `in` or `out`.
    rotation: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    says: &'a Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_flight: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: &'a Option<String>,
}

#[derive(Serialize)]
struct Shown<'a> {
    server: &'a Server,
    pool: &'a Pool,
}

fn object(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("names and numbers only")
}

fn tell(
    args: &BalancerArgs,
    rotation: &Rotation,
    now: &'static str,
    done: &Done,
) -> Result<u8, Failed> {
    let server = &rotation.server;
    if args.json {
        let changed = Changed {
            v: 1,
            changed: done.changed,
            server: server.to_string(),
            rotation: now,
            says: &done.says,
            in_flight: done.in_flight,
            warning: &done.warning,
        };
        print(&format!("{}\n", object(&changed)))?;
    }
    let how = match now {
        "out" => "out of rotation",
        _ => "in rotation",
    };
    let told = match done.changed {
        true => format!("`{server}` is {how}\n"),
        false => format!("`{server}` was {how} already; nothing was changed\n"),
    };
    let _ = std::io::stderr().write_all(told.as_bytes());
    if let Some(left) = done.in_flight.filter(|left| *left > 0) {
        let left = rotation.balancer.left_there(left);
        note(&[format!("after {} {left}", span(rotation.timeout))]);
    }
    if let Some(warning) = &done.warning {
        let _ = writeln!(std::io::stderr(), "warning: {warning}");
    }
    Ok(exit_code::DONE)
}

fn table(pool: &Pool, asked: &Server) -> String {
    let width = pool.servers.iter().map(|server| server.name.len()).max();
    let width = width.unwrap_or_default();
    let mut text = String::new();
    for server in &pool.servers {
        let mark = match server.name == asked.name {
            true => '*',
            false => ' ',
        };
        let (name, state, says) = (&server.name, server.state.to_string(), &server.says);
        text.push_str(&format!("{mark} {name:width$}  {state:4}  {says}"));
        if let Some(number) = server.in_flight {
            text.push_str(&format!("  {number} in flight"));
        }
        text.push('\n');
    }
    text
}

fn failed(failure: Failure) -> Failed {
    let code = match failure.effect {
        Effect::None => exit_code::STOPPED,
        Effect::Possible => exit_code::LOOK_NOW,
    };
    said(code, failure)
}
