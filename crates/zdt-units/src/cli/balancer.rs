//! `balancer`: servers out of rotation, and in it again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, ValueEnum};

use super::{ConfigArgs, ControlArgs};
use crate::model::{Balancer, Control, Mistake};

/// Take a server out of rotation at its load balancer, put it back, or show how it is
///
/// With `--haproxy`, `--nginx` or `--traefik`, WHAT is `BACKEND/SERVER`; without, it is a service,
/// and its key `balancer` in `zdt.toml` says the rest. `drain` lets new requests go elsewhere and
/// waits until nothing is in flight there; `restore` waits until the balancer sends it requests
/// again. What is so already is left as it is.
///
/// Exit status: 0 done, or it was so already; 4 refused: it is the last server that is up; 5 it
/// failed and nothing was changed; 7 something was changed, and a person has to look.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("balancer").multiple(false))]
pub struct BalancerArgs {
    pub verb: BalancerVerb,

    /// `BACKEND/SERVER` as the balancer has it, or a service of `zdt.toml`
    #[arg(value_name = "WHAT")]
    pub what: String,

    /// HAProxy's runtime API: the path of its `stats socket`, or HOST:PORT
    #[arg(long, value_name = "SOCKET", group = "balancer", value_parser = control)]
    pub haproxy: Option<Control>,

    /// The nginx file with `upstream BACKEND`; SERVER is its address, or NAME of `# zdt: NAME` behind it
    #[arg(long, value_name = "FILE", group = "balancer")]
    pub nginx: Option<PathBuf>,

    /// The YAML file of Traefik's file provider with the service; SERVER as for nginx
    #[arg(long, value_name = "FILE", group = "balancer")]
    pub traefik: Option<PathBuf>,

    /// Traefik's API, IP:PORT: it says when Traefik has taken the change, and that it did
    #[arg(long, value_name = "ADDRESS", requires = "traefik", value_parser = api)]
    pub api: Option<SocketAddr>,

    /// Also the last server that is up
    #[arg(long)]
    pub last: bool,

    /// Wait at most so long until nothing is in flight there, or until it is up again [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,

    /// Wait so long after the balancer was told [default: 0s, with Traefik 5s]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub settle: Option<Duration>,

    #[command(flatten)]
    pub config: ConfigArgs,

    #[command(flatten)]
    pub control: ControlArgs,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,

    /// How nginx tests its files; all words that follow, up to `;` [default: nginx -t]
    #[arg(
        long,
        value_name = "ARGV",
        num_args = 1..,
        allow_hyphen_values = true,
        value_terminator = ";",
        requires = "nginx"
    )]
    pub test: Vec<String>,

    /// How nginx is told; all words that follow, up to `;` [default: systemctl reload nginx]
    #[arg(
        long,
        value_name = "ARGV",
        num_args = 1..,
        allow_hyphen_values = true,
        value_terminator = ";",
        requires = "nginx"
    )]
    pub reload: Vec<String>,
}

/// What is done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BalancerVerb {
    Drain,
    Restore,
    Show,
}

fn control(text: &str) -> Result<Control, String> {
    Control::parse(text).map_err(in_a_line)
}

fn api(text: &str) -> Result<SocketAddr, String> {
    Balancer::traefik_api(text).map_err(in_a_line)
}

fn in_a_line(mistake: Mistake) -> String {
    match mistake.hint {
        Some(hint) => format!("{}; {hint}", mistake.message),
        None => mistake.message,
    }
}
