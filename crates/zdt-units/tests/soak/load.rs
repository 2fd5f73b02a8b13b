//! Clients of all services of a launcher, together a thousand requests a second.

use futures_util::future::join_all;
use tokio::sync::watch;
use zdt_units::probe::{Live, Load, Pattern, Report, Stream, run_live};

use super::launcher::Service;
use super::soon;

const RATE: f64 = 1000.0;

/// Connections that the clients of a service keep open.
pub(super) const KEPT: usize = 16;

/// Counters of each service, in the order of the services.
#[derive(Clone)]
pub(super) struct Clients(Vec<Live>);

impl Clients {
    pub(super) fn of(&self, service: usize) -> &Live {
        &self.0[service]
    }

    /// Waits until each service has answered so many more.
    pub(super) async fn answered(&self, more: u64) {
        let each = self.0.iter().map(|live| live.until_ok(live.ok() + more));
        soon("some answers", join_all(each)).await;
    }
}

/// New connections, and as many requests on kept ones, as long as `work` takes.
pub(super) async fn during<T>(
    services: &[Service],
    work: impl AsyncFnOnce(Clients) -> T,
) -> (T, Vec<Report>) {
    let rate = RATE / 2.0 / services.len() as f64;
    let stream = |name: &str, pattern| Stream {
        name: name.to_owned(),
        rate,
        pattern,
        ..Stream::default()
    };
    let (stop, stopped) = watch::channel(false);
    let clients = Clients(services.iter().map(|_| Live::new()).collect());
    let loads = services.iter().zip(&clients.0).map(|(service, live)| {
        let load = Load {
            target: service.address.into(),
            streams: vec![
                stream("new", Pattern::New),
                stream("kept", Pattern::KeepAlive { connections: KEPT }),
            ],
        };
        let stopped = ended(stopped.clone());
        async move { run_live(&load, live, stopped).await }
    });
    let work = async {
        let done = work(clients.clone()).await;
        let _ = stop.send(true);
        done
    };
    let (done, reports) = tokio::join!(work, join_all(loads));
    for report in &reports {
        assert!(report.valid, "{report}");
    }
    (done, reports)
}

async fn ended(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

pub(super) fn sent(reports: &[Report]) -> u64 {
    let sent = reports.iter().map(|report| report.total.outcomes.scheduled);
    sent.sum()
}

pub(super) fn lost(reports: &[Report]) -> u64 {
    reports.iter().map(Report::lost).sum()
}

/// Nobody lost anything.
pub(super) fn assert_nothing_lost(reports: &[Report]) {
    for report in reports {
        assert_eq!(report.lost(), 0, "{report}");
    }
}
