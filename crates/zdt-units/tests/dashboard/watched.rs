//! A restart seen in a browser that is not told to look again, and one that runs no script.

use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use super::browser::Browser;
use super::place::{PROGRAM, Place, Process, until};

/// Under load, step by step, on the page that was loaded before.
pub(super) fn a_restart_is_watched_live(browser: &str) {
    let place = Place::start(Duration::ZERO, "");
    let mut page = Browser::start(browser);
    page.open(&place.url());
    page.until("document.getElementById('stream').textContent == 'Live'");
    // It is gone if the page is loaded again.
    page.value(
        "window.said = []; new MutationObserver(() => \
         said.push(document.getElementById('said').textContent.trim())\
         ).observe(document.getElementById('said'), { childList: true, subtree: true }); 0",
    );
    // Connections that stay: one for each request is there in one of ten looks only.
    let mut load = Command::new(PROGRAM);
    load.args(["probe", "--rate=100", "--keep-alive=2", "--for=30s"])
        .arg("--json")
        .arg(place.shop_at.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _load = Process::start(&mut load);
    page.until("Number(document.querySelector('#services td[data-name=Live]').textContent) > 0");

    // What is looked at lasts until it was seen.
    place.hold_starts();
    let mut restart = place.begin(&["restart", "shop"]);
    // The first step is over in some milliseconds, and may be seen as running before.
    let states = "[...document.querySelectorAll('#now td[data-name=State]')].map(td => td.innerText.trim()).join()";
    page.until(&format!("{states} == 'done,running,to do'"));
    page.until(
        "document.querySelector('#services td[data-name=State]').innerText.includes('starting')",
    );
    page.until("said.join().includes('restart shop: step 2 of 3, restart shop.service')");
    let during = restart.0.try_wait().unwrap();
    assert_eq!(during, None, "the steps came after the end");
    place.let_start();
    page.until("document.querySelectorAll('#restarts tbody tr').length == 1");
    let row = page.text("document.querySelector('#restarts tbody tr').innerText");
    let said = page.value("said").to_string();
    println!("{row}\n{said}");
    assert!(
        row.contains("restart shop") && row.contains("done"),
        "{row}"
    );
    page.until("document.getElementById('said').textContent == 'No operation is running.'");
    let ended = until("end of the restart", || restart.0.try_wait().unwrap());
    assert!(ended.success());
    assert_eq!(page.console, Vec::<String>::new());

    // It says that it lost the server, and goes on with the next one without being told.
    let mut place = place;
    place.dashboard.take();
    page.until("document.getElementById('stream').dataset.state == 'lost'");
    let mut again = place.command(&["dashboard", "--listen"]);
    again
        .arg(place.dashboard_at.to_string())
        .stderr(Stdio::null());
    place.dashboard = Some(Process::start(&mut again));
    page.until("document.getElementById('stream').dataset.state == 'live'");
    page.until("said.length > 0");
}

pub(super) fn without_script_the_tables_are_there(browser: &str) {
    let place = Place::start(Duration::ZERO, "");
    place.restart("shop");
    let mut page = Browser::start(browser);
    page.call(
        "Emulation.setScriptExecutionDisabled",
        json!({ "value": true }),
    );
    page.open(&place.url());
    let heard = page.heard();
    let tables: Vec<&str> = heard
        .iter()
        .filter(|node| node.role == "table")
        .map(|node| node.name.split([':', '.']).next().unwrap())
        .collect();
    assert_eq!(
        tables,
        [
            "As zdt-units status says it",
            "The youngest first",
            "The youngest first; all of them with zdt-units events --follow"
        ]
    );
    let cells = |wanted: &str| {
        heard
            .iter()
            .filter(|node| node.role == "rowheader" && node.name == wanted)
            .count()
    };
    assert_eq!((cells("shop"), cells("restart shop")), (1, 1));
    let has = |role: &str, name: &str| {
        heard
            .iter()
            .any(|node| node.role == role && node.name == name)
    };
    assert!(has("link", "Look again"), "{heard:?}");
    // What needs a script is not offered.
    assert!(!has("button", "Pause"));
    assert_eq!(page.console, Vec::<String>::new());
}

/// What a program or a file says is shown as it is.
pub(super) fn markup_is_text(browser: &str) {
    let place = Place::start(Duration::ZERO, "");
    let markup =
        r#"<img src=x onerror=console.log(1)><script>console.log(2)</script></table><h1>x</h1>"#;
    let mut events = File::options().create(true).append(true).open({
        let path = place.events();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    });
    let events = events.as_mut().unwrap();
    let mut tell = |kind: serde_json::Value| {
        let mut line = json!({
            "time": "2026-11-22T00:00:00.000Z", "v": 1, "restart_id": markup, "service": markup, "elapsed_ms": 1.0,
        });
        line.as_object_mut()
            .unwrap()
            .extend(kind.as_object().unwrap().clone());
        writeln!(events, "{line}").unwrap();
    };
    tell(
        json!({ "kind": "planned", "operation": markup, "release": markup, "strategy": markup,
        "steps": [markup], "rollback": [], "dry_run": false }),
    );
    tell(json!({ "kind": "status", "unit": markup, "text": markup }));
    tell(json!({ "kind": "killed", "unit": markup }));
    tell(
        json!({ "kind": "step_failed", "phase": "forward", "step": 1, "reason": markup, "hint": markup }),
    );
    tell(json!({ "kind": "finished", "outcome": "look_now" }));
    let mut page = Browser::start(browser);
    page.open(&place.url());
    page.until("document.getElementById('stream').textContent == 'Live'");
    page.until("document.getElementById('restarts').innerText.includes('<img src=x')");
    page.until("document.getElementById('events').innerText.includes('<script>console.log(2)')");
    assert_eq!(
        page.value("document.images.length + document.scripts.length"),
        1
    );
    assert_eq!(page.value("document.querySelectorAll('h1').length"), 1);
    assert_eq!(page.console, Vec::<String>::new());
}
