//! Files that are damaged, words that make no sense, and programs that talk too much.

use std::time::Instant;

use zdt_e2e::machine::Machine;

use super::{APP, CONFIG, Done, all, call, install, load, lossless, run, shell};
use crate::Test;

pub(super) const TESTS: &[(&str, Test)] = &[
    (
        "hostile::damaged_files_are_named_with_the_way_out",
        damaged_files_are_named_with_the_way_out,
    ),
    (
        "hostile::words_that_make_no_sense_touch_nothing",
        words_that_make_no_sense_touch_nothing,
    ),
    (
        "hostile::ten_megabytes_of_output_are_a_few_lines",
        ten_megabytes_of_output_are_a_few_lines,
    ),
];

const DEPLOY: &str = "deploy app --from /tmp/next --release v3";

fn damaged_files_are_named_with_the_way_out(machine: &Machine) -> Done {
    install(machine)?;
    let load = load(machine)?;

    let record = "/var/lib/zdt/app/running.json";
    let torn = [
        "error: `/var/lib/zdt/app/running.json` is damaged: ",
        "; nothing was touched",
        "`rm /var/lib/zdt/app/running.json` forgets what broke off",
    ];
    for text in [
        "",
        "{",
        r#"{"v":1,"restart_id":"ab","since":"2026-"#,
        "\0\0\0\0",
    ] {
        machine.write_file(record, text, 0o644)?;
        for arguments in ["restart app", DEPLOY, "rollback app", "recover app"] {
            all(machine, &[call(arguments, 5, &torn)])?;
        }
    }
    all(
        machine,
        &[
            call("hold app --max 5s -- true", 5, &torn),
            call("status", 0, &["running.json` is damaged: "]),
            call("doctor app", 0, &["ZDT-D066", "running.json` is damaged: "]),
        ],
    )?;
    shell(machine, &format!("rm {record}; mkdir {record}"))?;
    let taken = [
        "Is a directory",
        "; nothing was touched",
        "hint: something else has this name",
    ];
    all(machine, &[call("restart app", 5, &taken)])?;
    shell(machine, &format!("rmdir {record}"))?;

    let breaker = "/var/lib/zdt/app/breaker.json";
    machine.write_file(breaker, r#"{"v":1,"res"#, 0o644)?;
    let torn = [
        "error: `/var/lib/zdt/app/breaker.json` is damaged: ",
        "; nothing was touched",
        "`rm /var/lib/zdt/app/breaker.json` forgets those failures",
    ];
    all(
        machine,
        &[call("restart app", 5, &torn), call(DEPLOY, 5, &torn)],
    )?;
    shell(machine, &format!("rm {breaker}"))?;

    // Nobody holds it, whatever is written in it.
    for text in [r#"{"pid":12,"sta"#.as_bytes(), b"\xff\xfegarbage"] {
        machine.write_file("/run/zdt/app.lock", text, 0o644)?;
        all(
            machine,
            &[
                call("status", 0, &["serving"]),
                call("restart app", 0, &["done"]),
            ],
        )?;
    }
    shell(machine, "rm /run/zdt/app.lock; mkdir /run/zdt/app.lock")?;
    all(machine, &[call("restart app", 5, &taken)])?;
    shell(machine, "rmdir /run/zdt/app.lock")?;
    for directory in ["/var/lib/zdt", "/run/zdt"] {
        shell(
            machine,
            &format!("mv {directory} {directory}.away; touch {directory}"),
        )?;
        let taken = [
            "; nothing was touched",
            "hint: something else has this name",
        ];
        all(machine, &[call("restart app", 5, &taken)])?;
        shell(
            machine,
            &format!("rm {directory}; mv {directory}.away {directory}"),
        )?;
    }

    let events = "/var/log/zdt/events.jsonl";
    let count = |machine: &Machine| -> Result<usize, Box<dyn std::error::Error>> {
        Ok(run(machine, "events --json")?.ok()?.stdout.lines().count())
    };
    let before = count(machine)?;
    let garbage = r#"printf '\377\376\000garbage\n{"v":1,"time":"nonsense"}\n[1,2]\n\n'"#;
    let spoil = format!(
        "{{ head -n 5 {events}; {garbage}; tail -n +6 {events}; \
           printf '{{\"v\":1,\"time\":\"2026-11'; }} > /tmp/spoiled; mv /tmp/spoiled {events}"
    );
    shell(machine, &spoil)?;
    let left_out = ["note: 4 damaged lines of `/var/log/zdt/events.jsonl` left out"];
    all(
        machine,
        &[call("events", 0, &left_out), call("history", 0, &left_out)],
    )?;
    assert_eq!(count(machine)?, before);
    all(machine, &[call("restart app", 0, &["done"])])?;
    assert!(count(machine)? > before);
    shell(machine, &format!("mv {events} /tmp/events; mkdir {events}"))?;
    let unread = ["failed to read `/var/log/zdt/events.jsonl`: Is a directory"];
    all(
        machine,
        &[
            call("events", 1, &unread),
            call("history", 1, &unread),
            call("status", 0, &unread),
            call(
                "restart app",
                0,
                &["note: events are not written to", "done"],
            ),
        ],
    )?;
    shell(machine, &format!("rmdir {events}; mv /tmp/events {events}"))?;

    shell(
        machine,
        "printf '{\"v\":1,\"na' > /srv/app/releases/.zdt/v1.json",
    )?;
    let torn = [
        "`/srv/app/releases/.zdt/v1.json` is damaged: ",
        "deploy the release under another name, and remove this one by hand",
    ];
    all(
        machine,
        &[
            call("releases app", 0, &torn),
            call("releases app --verify", 8, &torn),
            call(
                "rollback app",
                4,
                &["no release that it could be rolled back to"],
            ),
            call(
                "deploy app --from /tmp/next --release v1",
                5,
                &[
                    "v1.json` is damaged: ",
                    "take another name",
                    "stopped before anything",
                ],
            ),
            call(DEPLOY, 0, &["done"]),
        ],
    )?;
    lossless("damaged files", load)
}

fn words_that_make_no_sense_touch_nothing(machine: &Machine) -> Done {
    install(machine)?;
    machine.write_file(
        CONFIG,
        format!("{APP}[service.plain]\nexec = [\"/bin/true\"]\nlisten = \"127.0.0.1:8081\"\n"),
        0o644,
    )?;
    shell(
        machine,
        "mkdir -p /tmp/other; echo other > /tmp/other/file; cp /etc/passwd /tmp/text.tar.gz; \
         mkfifo /tmp/pipe",
    )?;
    let nope = &[
        "error: there is no service `nope` in `zdt.toml`",
        "hint: there is `app`",
    ];
    let both = &["there are no services `nope` and `neither` in `zdt.toml`"];
    let name = &[
        "does not do as the name of a release",
        "hint: use a letter or a digit",
    ];
    let none_kept = &[
        "does not say where the releases of `plain` are kept",
        "hint: add `release",
    ];
    let before = &["stopped before anything was changed"];
    let litter = "ls -A /srv/app /srv/app/releases";
    let files = machine.run(&["sh", "-c", litter])?.stdout;
    all(
        machine,
        &[
            call("restart nope", 2, nope),
            call("restart nope neither app", 2, both),
            call("restart", 2, &["<SERVICE>"]),
            call("restart app --all", 2, &["cannot be used with"]),
            call("restart app --parallel 0", 2, &["is not in 1.."]),
            call("restart app --wait=-3s", 2, &["invalid value '-3s'"]),
            call("restart app --wait=soon", 2, &["invalid value 'soon'"]),
            call("restart app --canary", 4, &["nothing was touched"]),
            call("recover nope neither", 2, both),
            call("status nope neither", 2, both),
            call("doctor nope", 2, nope),
            call("explain nope", 2, nope),
            call("releases nope", 2, nope),
            call("releases plain", 2, none_kept),
            call("rollback nope", 2, nope),
            call("rollback plain", 2, none_kept),
            call("rollback app ../x", 2, name),
            call(
                "rollback app v9",
                4,
                &["there is no release `v9`", "nothing was touched"],
            ),
            call(
                "rollback app v2",
                4,
                &["`v2` serves already", "nothing was touched"],
            ),
            call("deploy app", 2, &["--from <PATH>"]),
            call("deploy nope --from /tmp/next", 2, nope),
            call("deploy plain --from /tmp/next", 4, &["nothing was touched"]),
            call(
                "deploy app --from /tmp/nope",
                5,
                &["failed to find `/tmp/nope`", "hint: name a"],
            ),
            call("deploy app --from /tmp/next --release ../x", 2, name),
            call("deploy app --from /tmp/next --release .zdt", 2, name),
            // All that is wrong at once.
            call(
                "deploy nope --from /tmp/nope --release ../x",
                2,
                &[
                    "no service `nope`",
                    "`../x` does not do",
                    "failed to find `/tmp/nope`",
                ],
            ),
            call(
                "deploy app --from /srv/app",
                5,
                &["where the releases are kept"],
            ),
            call(
                "deploy app --from /srv/app/releases",
                5,
                &["is where the releases are kept"],
            ),
            call("deploy app --from /", 5, before),
            call(
                "deploy app --from /tmp/pipe",
                5,
                &["neither a directory nor a file"],
            ),
            call(
                "deploy app --from /dev/null",
                5,
                &["neither a directory nor a file"],
            ),
            call(
                "deploy app --from /tmp/text.tar.gz",
                5,
                &["failed to read `/tmp/text.tar.gz`"],
            ),
            call(
                "deploy app --from /tmp/other --release v2",
                5,
                &[
                    "`/srv/app/releases/v2` is there, and is not what is in",
                    "take another name",
                ],
            ),
            call("hold nope --max 5s -- true", 2, nope),
            call("hold app --max=-5s -- true", 2, &["invalid value '-5s'"]),
            call("hold app --max 0s -- true", 2, &["invalid value '0s'"]),
            call("hold app --max 5s", 2, &["<COMMAND>"]),
            call(
                "hold app --max 5s -- no-such-program",
                127,
                &["there is no program"],
            ),
            call("events --since=-5m", 2, &["invalid value '-5m'"]),
            call("events --since yesterday-ish", 2, &["write `1h`"]),
            call("events --kind nope", 2, &["is not a kind of event"]),
            call("history --last 0", 2, &["invalid value '0'"]),
            call("history nope", 0, &["no operation on `nope` has ended yet"]),
        ],
    )?;
    assert_eq!(machine.run(&["sh", "-c", litter])?.stdout, files);
    Ok(())
}

/// Ten lines of what a task printed are told, and none of them fills a screen. Which ones is up to the
/// journal: that of systemd 252 may answer before it has read all, and keeps 10,000 lines at a time.
fn ten_megabytes_of_output_are_a_few_lines(machine: &Machine) -> Done {
    install(machine)?;
    for (what, lines) in [("lines", "fold -w 2000"), ("one line", "cat")] {
        let check = format!("head -c 10000000 /dev/zero | tr '\\\\0' x | {lines}; exit 1");
        let check = format!("check = {{ command = [\"/bin/sh\", \"-c\", \"{check}\"] }}\n");
        machine.write_file(CONFIG, format!("{APP}{check}"), 0o644)?;
        run(machine, "install")?.ok()?;
        let serves = machine.show("app.service", "InvocationID")?;
        let began = Instant::now();
        let deploy = run(
            machine,
            &format!("deploy app --from /tmp/next --release {}", &what[..3]),
        )?;
        println!(
            "10 MB in {what}: {} bytes are told, after {:.1} s",
            deploy.stderr.len(),
            began.elapsed().as_secs_f64()
        );
        assert_eq!(deploy.code, Some(5), "{}", deploy.stderr);
        assert!(deploy.stderr.contains("| xxx"), "{}", deploy.stderr);
        assert!(deploy.stderr.len() < 8000, "{} bytes", deploy.stderr.len());
        assert_eq!(machine.show("app.service", "InvocationID")?, serves);
    }
    Ok(())
}
