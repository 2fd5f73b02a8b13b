//! Real deployments write metrics, a real node_exporter shows them, and a real Prometheus answers the dashboard.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::bench::{Bench, LIMIT, PROGRAM, script, until};
use super::example;

/// Ended with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(bench: &Bench, program: &str, arguments: &[&str]) -> Server {
    let log = fs::File::create(bench.path(&format!("{program}.log"))).unwrap();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    command.stdout(log.try_clone().unwrap()).stderr(log);
    Server(command.spawn().unwrap())
}

fn free_address() -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().to_string()
}

pub(crate) fn each_query_finds_what_a_deployment_wrote() {
    let bench = &mut Bench::new();
    let (exporter, prometheus) = (free_address(), free_address());
    let _servers = watch(bench, &exporter, &prometheus);
    let ask = |path: &str, query: Option<&str>| ask(&prometheus, path, query);
    deploy(bench, || scraped(&ask));

    let text = fs::read_to_string(example().join("grafana-dashboard.json")).unwrap();
    let board: Value = serde_json::from_str(&text).unwrap();
    let queries = queries(&board);
    assert!(queries.len() > 15, "{queries:?}");
    let released = first_seen(&ask, "zdt_release_info{release=\"v2\"}");
    for (title, query) in &queries {
        // What was not there a minute ago is asked for at the moment when it came.
        let path = match query.contains(" offset 1m") {
            true => format!("query?time={released}"),
            false => "query".to_owned(),
        };
        let numbers = numbers(&ask(&path, Some(query)));
        assert!(!numbers.is_empty(), "{title}: nothing for {query}");
    }
    println!("{} queries of the dashboard, each has data", queries.len());
    // A metric that nobody writes is told from one that is 0.
    let unknown = queries[0].1.replace("zdt_", "zdt_un");
    assert_eq!(numbers(&ask("query", Some(&unknown))), [0.0; 0]);

    // The alerts of the last deployment, and no others.
    let firing = || -> Vec<String> {
        let alerts = ask("alerts", None);
        let alerts = alerts["data"]["alerts"].as_array().unwrap().iter();
        let mut names: Vec<String> = alerts
            .filter(|alert| alert["state"] == "firing")
            .map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    until("the alerts of a deployment that was rolled back", || {
        firing() == ["ZdtBreakerOpen", "ZdtRolledBack"]
    });
    let rules = ask("rules", None);
    let groups = rules["data"]["groups"].as_array().unwrap();
    for rule in groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap())
    {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
}

/// node_exporter, and Prometheus with the files of the example, but more often and at other ports.
fn watch(bench: &Bench, exporter: &str, prometheus: &str) -> [Server; 2] {
    let metrics = bench.path("metrics");
    fs::create_dir(&metrics).unwrap();
    let shown = start(
        bench,
        "prometheus-node-exporter",
        &[
            "--collector.disable-defaults",
            "--collector.textfile",
            &format!("--collector.textfile.directory={metrics}"),
            &format!("--web.listen-address={exporter}"),
        ],
    );
    let config = fs::read_to_string(example().join("prometheus.yml")).unwrap();
    let config = config
        .replace("127.0.0.1:9100", exporter)
        .replace("15s", "500ms");
    fs::write(bench.path("prometheus.yml"), config).unwrap();
    fs::copy(
        example().join("zdt-alerts.yml"),
        bench.path("zdt-alerts.yml"),
    )
    .unwrap();
    let asked = start(
        bench,
        "prometheus",
        &[
            &format!("--config.file={}", bench.path("prometheus.yml")),
            &format!("--storage.tsdb.path={}", bench.path("tsdb")),
            &format!("--web.listen-address={prometheus}"),
        ],
    );
    [shown, asked]
}

/// Two deployments that go well, one that is rolled back; what is there is scraped after each.
fn deploy(bench: &mut Bench, scraped: impl Fn()) {
    let address = free_address();
    let text = format!(
        "{}[service.shop]\nexec = [\"{{{{release.path}}}}/app\", \"demo-app\"]\nlisten = \"{address}\"\n\
         health = {{ http = \"http://{address}/\" }}\nmemory = {{ limit = \"1GiB\", warn = \"512MiB\" }}\n\
         start_timeout = \"10s\"\nrelease = {{ root = \"{}\" }}\n\
         [breaker]\nfailures = 1\n\
         [events]\nmetrics = \"{}/zdt.prom\"\n",
        bench.head(),
        bench.path("releases"),
        bench.path("metrics"),
    );
    fs::create_dir_all(bench.path("releases/v0")).unwrap();
    std::os::unix::fs::symlink(PROGRAM, bench.path("releases/v0/app")).unwrap();
    for (release, program) in [("v1", PROGRAM), ("v2", PROGRAM), ("v3", "false")] {
        let directory = bench.path(release);
        fs::create_dir(&directory).unwrap();
        script(
            &format!("{directory}/app"),
            &format!("exec {program} \"$@\""),
        );
    }
    // A launcher starts only what there is.
    std::os::unix::fs::symlink("v0", bench.path("releases/current")).unwrap();
    bench.write(&text);
    bench.start(&[]);
    for (release, code) in [("v1", 0), ("v2", 0), ("v3", 6)] {
        let from = bench.path(release);
        let ran = bench.run(&["deploy", "shop", "--from", &from, "--release", release]);
        assert_eq!(ran.code, code, "{}", ran.said);
        // As `zdt-metrics.service` does it.
        let now = bench.done(&["status", "--metrics"]);
        fs::write(bench.path("metrics/zdt-now.prom.new"), now).unwrap();
        fs::rename(
            bench.path("metrics/zdt-now.prom.new"),
            bench.path("metrics/zdt-now.prom"),
        )
        .unwrap();
        scraped();
    }
}

/// Waits until Prometheus has what was written before now, and once more.
fn scraped(ask: &impl Fn(&str, Option<&str>) -> Value) {
    for _ in 0..2 {
        let now = "time() - timestamp(zdt_serving)";
        let age = || numbers(&ask("query", Some(now))).first().copied();
        let asked = Instant::now();
        until("a scrape", || {
            age().is_some_and(|age| age < asked.elapsed().as_secs_f64())
        });
    }
}

/// When Prometheus had it for the first time.
fn first_seen(ask: &impl Fn(&str, Option<&str>) -> Value, metric: &str) -> f64 {
    let answer = ask("query", Some(&format!("{metric}[1h]")));
    let first = &answer["data"]["result"][0]["values"][0][0];
    first
        .as_f64()
        .unwrap_or_else(|| panic!("no {metric}: {answer}"))
}

/// Of each panel, annotation and variable, with what Grafana puts in.
fn queries(board: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let filled = |query: &str| {
        query
            .replace("$service", ".+")
            .replace("$__rate_interval", "1m")
    };
    for panel in board["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let title = panel["title"].as_str().unwrap().to_owned();
            found.push((title, filled(target["expr"].as_str().unwrap())));
        }
    }
    for annotation in board["annotations"]["list"].as_array().unwrap() {
        let name = annotation["name"].as_str().unwrap().to_owned();
        found.push((name, filled(annotation["expr"].as_str().unwrap())));
    }
    for variable in board["templating"]["list"].as_array().unwrap() {
        if let Some(query) = variable["query"]["query"].as_str() {
            let of = query.strip_prefix("label_values(").unwrap();
            let (metric, label) = of.trim_end_matches(')').split_once(", ").unwrap();
            found.push((label.to_owned(), format!("count by ({label}) ({metric})")));
        }
    }
    found
}

fn numbers(answer: &Value) -> Vec<f64> {
    let samples = answer["data"]["result"].as_array().into_iter().flatten();
    let values = samples.filter_map(|sample| sample["value"][1].as_str()?.parse().ok());
    values.filter(|value: &f64| value.is_finite()).collect()
}

/// Null while it starts.
fn ask(prometheus: &str, path: &str, query: Option<&str>) -> Value {
    let mut request = ureq::get(format!("http://{prometheus}/api/v1/{path}"));
    if let Some(query) = query {
        request = request.query("query", query);
    }
    let request = request
        .config()
        .timeout_global(Some(LIMIT.min(Duration::from_secs(10))))
        .build();
    let Ok(mut answer) = request.call() else {
        return Value::Null;
    };
    let text = answer.body_mut().read_to_string().unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}
