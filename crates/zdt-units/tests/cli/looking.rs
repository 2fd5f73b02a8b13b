//! Commands that look: status, doctor, events, history, releases.

use std::fs;

use super::{SHOP, directory_with, transcript};

/// Three restarts as they are in the file, the last of them cut off, and one of a kind that is not known here.
const EVENTS: &str = r#"
{"time":"2026-11-20T20:29:15.000Z","v":1,"restart_id":"a1","service":"shop","elapsed_ms":0.1,"kind":"planned","operation":"deploy","release":"v2","strategy":"queue","steps":[],"rollback":[],"dry_run":false,"alias":"SERVICE_RESTART_START"}
{"time":"2026-11-20T20:29:15.100Z","v":1,"restart_id":"a1","service":"shop","elapsed_ms":100.0,"kind":"step_failed","phase":"forward","step":2,"reason":"it ended with status 1","hint":null}
{"time":"2026-11-20T20:29:16.500Z","v":1,"restart_id":"a1","service":"shop","elapsed_ms":1500.0,"kind":"finished","outcome":"rolled_back","alias":"ROLLBACK_SUCCESS"}
{"time":"2026-11-21T08:00:00.000Z","v":1,"restart_id":"b2","service":"blog","elapsed_ms":0.1,"kind":"planned","strategy":"standby","steps":[],"rollback":[],"dry_run":false}
{"time":"2026-11-21T08:00:00.100Z","v":1,"restart_id":"b2","service":"blog","elapsed_ms":100.0,"kind":"beamed"}
{"time":"2026-11-21T08:00:02.000Z","v":1,"restart_id":"b2","service":"blog","elapsed_ms":2000.0,"kind":"finished","outcome":"completed"}
{"time":"2026-11-21T09:00:00.000Z","v":1,"restart_id":"c3","serv"#;

fn directory_with_events() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("events.jsonl");
    let (older, newer) = EVENTS.split_at(EVENTS.find("{\"time\":\"2026-11-21").unwrap());
    fs::write(directory.path().join("events.jsonl.1"), older).unwrap();
    fs::write(&log, newer).unwrap();
    let text = format!("{SHOP}[events]\nfile = {log:?}\n");
    fs::write(directory.path().join("zdt.toml"), text).unwrap();
    directory
}

fn with_dir(directory: &tempfile::TempDir, arguments: &[&str]) -> String {
    let shown = transcript(directory.path(), arguments);
    shown.replace(&directory.path().display().to_string(), "DIR")
}

#[test]
fn events_are_shown_in_the_order_in_which_they_came() {
    let directory = directory_with_events();
    let shown = |arguments: &[&str]| with_dir(&directory, &[&["events"], arguments].concat());
    insta::assert_snapshot!(shown(&[]), @"
    $ zdt-units events
    2026-11-20T20:29:15.000Z  deploy of `shop` to `v2` begins (strategy `queue`)
    2026-11-20T20:29:15.100Z  deploy of `shop` to `v2`: step 2 failed: it ended with status 1
    2026-11-20T20:29:16.500Z  deploy of `shop` to `v2`: rolled back, the release of before serves, after 1.5 s (it ended with status 1)
    2026-11-21T08:00:00.000Z  restart of `blog` begins (strategy `standby`)
    2026-11-21T08:00:02.000Z  restart of `blog`: done, after 2.0 s
    stderr: note: 1 damaged line of `DIR/events.jsonl` left out, as a full disk or a power cut leaves them
    exit status 0
    ");
    insta::assert_snapshot!(shown(&["shop", "--kind", "failed", "--since", "2026-11-20"]), @"
    $ zdt-units events shop --kind failed --since 2026-11-20
    2026-11-20T20:29:15.100Z  deploy of `shop` to `v2`: step 2 failed: it ended with status 1
    2026-11-20T20:29:16.500Z  deploy of `shop` to `v2`: rolled back, the release of before serves, after 1.5 s (it ended with status 1)
    stderr: note: 1 damaged line of `DIR/events.jsonl` left out, as a full disk or a power cut leaves them
    exit status 0
    ");
    insta::assert_snapshot!(shown(&["blog", "--json", "--since", "2026-11-21T08:00:00.05Z"]), @r#"
    $ zdt-units events blog --json --since 2026-11-21T08:00:00.05Z
    {"time":"2026-11-21T08:00:00.100Z","v":1,"restart_id":"b2","service":"blog","elapsed_ms":100.0,"kind":"beamed"}
    {"time":"2026-11-21T08:00:02.000Z","v":1,"restart_id":"b2","service":"blog","elapsed_ms":2000.0,"kind":"finished","outcome":"completed"}
    stderr: note: 1 damaged line of `DIR/events.jsonl` left out, as a full disk or a power cut leaves them
    exit status 0
    "#);
    insta::assert_snapshot!(shown(&["--kind", "finishd"]), @"
    $ zdt-units events --kind finishd
    stderr: error: invalid value 'finishd' for '--kind <KIND>': `finishd` is not a kind of event; did you mean `finished`?
    stderr:
    stderr: For more information, try '--help'.
    exit status 2
    ");
}

#[test]
fn history_counts_what_ended() {
    let directory = directory_with_events();
    insta::assert_snapshot!(with_dir(&directory, &["history"]), @"
    $ zdt-units history
    service  count    failed  rolled back  lossy    min    avg    p95    max  last
    blog         1         0            0      0  2.0 s  2.0 s  2.0 s  2.0 s  2026-11-21T08:00:02Z restart: completed
    shop         1  1 (100%)     1 (100%)      0  1.5 s  1.5 s  1.5 s  1.5 s  2026-11-20T20:29:16Z deploy v2: rolled back
    all          2   1 (50%)      1 (50%)      0  1.5 s  1.8 s  2.0 s  2.0 s  2026-11-21T08:00:02Z restart: completed
    stderr: note: 1 damaged line of `DIR/events.jsonl` left out, as a full disk or a power cut leaves them
    exit status 0
    ");
    insta::assert_snapshot!(with_dir(&directory, &["history", "shop", "--json"]), @r#"
    $ zdt-units history shop --json
    {
      "services": [
        {
          "service": "shop",
          "count": 1,
          "failed": 1,
          "rolled_back": 1,
          "lossy": 0,
          "failure_rate": 1.0,
          "rollback_rate": 1.0,
          "min_seconds": 1.5,
          "avg_seconds": 1.5,
          "p95_seconds": 1.5,
          "max_seconds": 1.5,
          "last": {
            "time": "2026-11-20T20:29:16Z",
            "service": "shop",
            "operation": "deploy",
            "release": "v2",
            "outcome": "rolled_back"
          }
        }
      ],
      "total": {
        "service": "",
        "count": 1,
        "failed": 1,
        "rolled_back": 1,
        "lossy": 0,
        "failure_rate": 1.0,
        "rollback_rate": 1.0,
        "min_seconds": 1.5,
        "avg_seconds": 1.5,
        "p95_seconds": 1.5,
        "max_seconds": 1.5,
        "last": {
          "time": "2026-11-20T20:29:16Z",
          "service": "shop",
          "operation": "deploy",
          "release": "v2",
          "outcome": "rolled_back"
        }
      }
    }
    stderr: note: 1 damaged line of `DIR/events.jsonl` left out, as a full disk or a power cut leaves them
    exit status 0
    "#);
    fs::remove_file(directory.path().join("events.jsonl")).unwrap();
    fs::remove_file(directory.path().join("events.jsonl.1")).unwrap();
    insta::assert_snapshot!(with_dir(&directory, &["history"]), @"
    $ zdt-units history
    stderr: note: no operation has ended yet in `DIR/events.jsonl`
    exit status 0
    ");
}

#[test]
fn events_that_are_not_written_down_cannot_be_read() {
    let directory = directory_with(&format!("{SHOP}[events]\nfile = false\n"));
    insta::assert_snapshot!(transcript(directory.path(), &["events"]), @"
    $ zdt-units events
    stderr: error: `[events]` has `file = false`, so nothing is written down
    stderr:
    stderr: hint: the journal may have it: `journalctl --identifier zdt-units`
    exit status 3
    ");
}

#[test]
fn releases_are_listed() {
    let directory = directory_with("");
    let root = directory.path().join("shop");
    let text = format!(
        "{}release = {{ root = \"{}\" }}\n",
        SHOP.replace("/bin/true", "{{release.path}}/bin/shop"),
        root.display()
    );
    fs::write(directory.path().join("zdt.toml"), text).unwrap();
    let said = |arguments: &[&str]| {
        let said = transcript(directory.path(), arguments);
        said.replace(root.to_str().unwrap(), "/srv/shop")
    };
    insta::assert_snapshot!(said(&["releases", "shop"]), @"
    $ zdt-units releases shop
    stderr: note: there is no release in `/srv/shop/releases`; `zdt-units deploy shop --from PATH` brings the first one
    exit status 0
    ");

    let records = root.join("releases/.zdt");
    fs::create_dir_all(&records).unwrap();
    let served = |first: &str, last: &str| {
        format!("\"served\": {{\"first\": \"{first}\", \"last\": \"{last}\"}}")
    };
    let day = |day: u32| format!("2026-01-{day:02}T12:00:00.000Z");
    let all = [
        ("v1", served(&day(1), &day(1))),
        (
            "v2",
            format!("\"migrated\": \"{}\", {}", day(2), served(&day(2), &day(2))),
        ),
        ("v3", format!("\"failed\": \"{}\"", day(3))),
    ];
    for (number, (name, fate)) in all.iter().enumerate() {
        fs::create_dir(root.join("releases").join(name)).unwrap();
        let created = day(u32::try_from(number).unwrap() + 1);
        // The checksum of nothing at all.
        let record = format!(
            "{{\"v\": 1, \"name\": \"{name}\", \"created\": \"{created}\", \"source\": \"/tmp/{name}\", \
             \"checksum\": \"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\", \
             \"files\": 2, \"bytes\": 3000000, {fate}}}"
        );
        fs::write(records.join(format!("{name}.json")), record).unwrap();
    }
    fs::create_dir(root.join("releases/theirs")).unwrap();
    fs::create_dir(root.join("releases/bad")).unwrap();
    fs::write(records.join("bad.json"), "{").unwrap();
    fs::write(root.join("releases/v1/added"), "").unwrap();
    std::os::unix::fs::symlink("releases/v2", root.join("current")).unwrap();
    std::os::unix::fs::symlink("releases/v3", root.join("next")).unwrap();
    insta::assert_snapshot!(said(&["releases", "shop", "--verify"]), @"
    $ zdt-units releases shop --verify
    release               created      size                served  state
    v3       2026-01-03T12:00:00Z  2.86 MiB                     -  next, failed, intact
    v2       2026-01-02T12:00:00Z  2.86 MiB  2026-01-02T12:00:00Z  current, migrated, intact
    v1       2026-01-01T12:00:00Z  2.86 MiB  2026-01-01T12:00:00Z  previous, changed
    bad                         -         -                     -  damaged record
    theirs                      -         -                     -  not deployed
    stderr: note: `/srv/shop/releases/.zdt/bad.json` is damaged: EOF while parsing an object at line 1 column 1; deploy the release under another name, and remove this one by hand
    stderr: note: `v1` is not what was deployed
    exit status 8
    ");
    let said = said(&["releases", "shop", "--json"]);
    let mut listed: serde_json::Value = serde_json::from_str(said.lines().nth(1).unwrap()).unwrap();
    let releases = listed["releases"].as_array_mut().unwrap();
    releases.retain(|release| release["name"] == "v2" || release["name"] == "bad");
    assert_eq!(
        listed,
        serde_json::json!({
            "v": 1,
            "service": "shop",
            "root": "/srv/shop",
            "current": "v2",
            "next": "v3",
            "serving": "v2",
            "previous": "v1",
            "releases": [
                {
                    "name": "v2",
                    "state": ["current", "migrated"],
                    "record": {
                        "v": 1,
                        "name": "v2",
                        "created": day(2),
                        "source": "/tmp/v2",
                        "checksum": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                        "files": 2,
                        "bytes": 3_000_000,
                        "migrated": day(2),
                        "served": { "first": day(2), "last": day(2) },
                    },
                },
                { "name": "bad", "state": ["damaged record"], "record": null },
            ],
        })
    );
}

#[test]
fn releases_that_are_not_kept_have_no_list() {
    let directory = directory_with(SHOP);
    insta::assert_snapshot!(transcript(directory.path(), &["releases", "shop"]), @r#"
    $ zdt-units releases shop
    stderr: error: `zdt.toml` does not say where the releases of `shop` are kept
    stderr:
    stderr: hint: add `release = { root = "/srv/NAME" }`, and `{{release.path}}` to `exec`
    exit status 2
    "#);
    insta::assert_snapshot!(
        transcript(directory.path(), &["rollback", "shop", "../v1"]),
        @"
    $ zdt-units rollback shop ../v1
    stderr: error: `../v1` does not do as the name of a release
    stderr:
    stderr: hint: use a letter or a digit, then up to 99 letters, digits, `.`, `_`, `+` and `-`
    exit status 2
    "
    );
}

#[test]
fn what_is_looked_at_has_to_be_there() {
    let directory = directory_with(SHOP);
    let transcripts = [
        ["status", "shap"].as_slice(),
        &["doctor", "shap"],
        &["doctor", "--unit", "a b"],
        &["doctor", "--unit", "shop.target"],
        &["status", "--watch=soon"],
    ]
    .map(|arguments| transcript(directory.path(), arguments));
    insta::assert_snapshot!(transcripts.join("\n"), @r"
    $ zdt-units status shap
    stderr: error: there is no service `shap` in `zdt.toml`
    stderr:
    stderr: hint: did you mean `shop`?
    exit status 2

    $ zdt-units doctor shap
    stderr: error: there is no service `shap` in `zdt.toml`
    stderr:
    stderr: hint: did you mean `shop`?
    exit status 2

    $ zdt-units doctor --unit a b
    stderr: error: `a b.service` does not do as the name of a unit
    stderr:
    stderr: hint: `systemd-escape` turns other text into a unit name
    exit status 2

    $ zdt-units doctor --unit shop.target
    stderr: error: `shop.target` is neither a service nor a socket unit
    exit status 2

    $ zdt-units status --watch=soon
    stderr: error: invalid value 'soon' for '--watch[=<TIME>]': expected number at 0
    stderr:
    stderr: For more information, try '--help'.
    exit status 2
    ");
}
