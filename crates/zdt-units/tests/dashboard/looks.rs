//! Who hears it, who has no mouse, who needs contrast, and who has a phone. Each look finds a flaw that is put in.

use std::time::Duration;

use serde_json::Value;

use super::browser::{Browser, Node};
use super::place::{Place, Process};

pub(super) fn it_is_heard_and_reached_by_keyboard(browser: &str) {
    let place = Place::start(Duration::ZERO, "");
    place.restart("shop");
    let mut page = Browser::start(browser);
    page.open(&place.url());
    page.until("document.getElementById('stream').textContent == 'Live'");
    page.until(
        "document.querySelectorAll('#doctor table').length + \
                document.getElementById('doctor').innerText.includes('Nothing found') > 0",
    );
    place.hold_starts();
    let mut restart = place.begin(&["restart", "shop"]);
    page.until("document.querySelectorAll('#now tbody tr').length > 1");
    for width in [1280, 375] {
        page.size(width);
        assert_eq!(unheard(&page.heard()), Vec::<String>::new(), "{width}");
    }
    goes_on(&mut restart);
    place.let_start();
    let _ = restart.0.wait();

    page.size(1280);
    let mut reached = Vec::new();
    for _ in 0..9 {
        page.press("Tab");
        let focused = "(() => { const e = document.activeElement, s = getComputedStyle(e); \
            const seen = s.outlineStyle != 'none' && parseFloat(s.outlineWidth) >= 2 && e.getBoundingClientRect().top >= 0; \
            return (e.textContent.trim() || e.tagName) + (seen ? '' : ', unseen'); })()";
        reached.push(page.text(focused));
    }
    assert_eq!(
        reached,
        [
            "Skip to the content",
            "Right now",
            "Services",
            "Recent operations",
            "Releases",
            "Doctor",
            "Recent events",
            "Pause",
            "status.json"
        ]
        .map(str::to_owned)
    );
    // What has the focus keeps it while parts are filled.
    page.value("document.querySelector('nav a').focus(); window.at = document.querySelector('#looked time').dateTime; 0");
    page.until("document.querySelector('#looked time').dateTime != at");
    assert_eq!(page.text("document.activeElement.textContent"), "Right now");
    page.value("document.getElementById('pause').focus(); 0");
    page.press("Enter");
    page.until("document.getElementById('pause').textContent == 'Go on' && document.getElementById('stream').textContent == 'Paused'");

    // A flawed page is found out.
    page.value(
        "document.querySelector('caption').remove(); document.getElementById('pause').textContent = ''; \
         document.querySelector('#services th:nth-child(3)').replaceWith(document.createElement('td')); \
         document.getElementById('said').removeAttribute('role'); document.getElementById('said').removeAttribute('aria-live'); \
         document.querySelector('h2').replaceWith(document.createElement('p')); \
         document.querySelector('nav').removeAttribute('aria-label'); 0",
    );
    let flaws = unheard(&page.heard());
    println!("{flaws:#?}");
    assert_eq!(flaws.len(), 6, "{flaws:?}");
    assert_eq!(page.console, Vec::<String>::new());
}

/// Its steps were among what was looked at.
fn goes_on(restart: &mut Process) {
    let ended = restart.0.try_wait().unwrap();
    assert_eq!(ended, None, "the restart did not wait");
}

/// What is missing for somebody who only hears the page.
fn unheard(heard: &[Node]) -> Vec<String> {
    let mut flaws = Vec::new();
    let all =
        |role: &str| -> Vec<&Node> { heard.iter().filter(|node| node.role == role).collect() };
    for role in ["banner", "main", "contentinfo"] {
        if all(role).len() != 1 {
            flaws.push(format!("{} of {role}", all(role).len()));
        }
    }
    for role in [
        "navigation",
        "table",
        "region",
        "button",
        "link",
        "columnheader",
        "rowheader",
        "heading",
    ] {
        for node in all(role) {
            if node.name.is_empty() {
                flaws.push(format!("{role} without a name"));
            }
        }
    }
    let headings: Vec<String> = all("heading")
        .iter()
        .map(|node| node.level.clone())
        .collect();
    let is_one = headings.iter().filter(|level| *level == "1").count() == 1;
    let sections = headings.iter().filter(|level| *level == "2").count();
    let skips = headings
        .windows(2)
        .any(|pair| pair[1].parse::<u8>().unwrap_or(9) > pair[0].parse::<u8>().unwrap_or(0) + 1);
    if !is_one || sections != 6 || skips || headings[0] != "1" {
        flaws.push(format!("headings of levels {headings:?}"));
    }
    // The names of columns that are not shown as columns are there all the same.
    let columns = all("columnheader").len();
    let rows = all("rowheader").len();
    if all("table").len() < 3 || columns < 3 * all("table").len() || rows < 8 {
        flaws.push(format!(
            "{} tables, {columns} columns, {rows} rows",
            all("table").len()
        ));
    }
    let services = [
        "Service", "State", "Release", "Process", "Up", "Live", "Queue", "Health",
    ];
    let is_there = |name: &str| {
        heard
            .iter()
            .any(|node| node.role == "columnheader" && node.name == name)
    };
    if !services.iter().all(|name| is_there(name)) {
        flaws.push("the columns of the services".to_owned());
    }
    if !all("status").iter().any(|node| node.live == "polite") {
        flaws.push("nothing is said of what runs".to_owned());
    }
    flaws
}

pub(super) fn it_fits_and_can_be_read(browser: &str) {
    let more = format!(
        "[service.a-name-that-is-as-long-as-i]\nexec = [\"/bin/sh\", \"-c\", \"exit 3\"]\nlisten = \"{}\"\n\
         sandbox = \"none\"\n",
        super::place::address()
    );
    let place = Place::start(Duration::ZERO, &more);
    place.restart("shop");
    let mut page = Browser::start(browser);
    page.open(&place.url());
    page.until("document.getElementById('stream').textContent == 'Live'");
    place.hold_starts();
    let mut restart = place.begin(&["restart", "shop"]);
    page.until("document.querySelectorAll('#now tbody tr').length > 1");
    let mut least = f64::MAX;
    for scheme in ["light", "dark"] {
        page.colours(scheme);
        for width in [320, 375, 768, 900, 1280, 1600] {
            page.size(width);
            let seen = page.value(LOOK);
            assert_eq!(seen["overflow"], 0, "{scheme} {width}: {seen}");
            let contrast = seen["contrast"].as_f64().unwrap();
            assert!(contrast >= 4.5, "{scheme} {width}: {seen}");
            assert!(seen["smallest"].as_f64().unwrap() >= 11.0, "{seen}");
            least = least.min(contrast);
        }
    }
    println!("the least contrast of a text is {least:.2}");
    goes_on(&mut restart);
    place.let_start();
    let _ = restart.0.wait();
    // What is printed is dark on white, and nothing is left out at the edge.
    let media: Value = serde_json::json!({ "media": "print", "features": [{ "name": "prefers-color-scheme", "value": "dark" }] });
    page.call("Emulation.setEmulatedMedia", media);
    // A4 between its margins.
    page.size(688);
    let seen = page.value(LOOK);
    assert!(
        seen["contrast"].as_f64().unwrap() >= 4.5 && seen["overflow"] == 0,
        "{seen}"
    );
    assert_eq!(
        page.text("getComputedStyle(document.body).backgroundColor"),
        "rgb(255, 255, 255)"
    );
    let moves = "[...document.querySelectorAll('*')].filter(e => getComputedStyle(e).animationName != 'none' || \
        parseFloat(getComputedStyle(e).transitionDuration) > 0).length";
    assert_eq!(page.value(moves), 0);

    // A flawed page is found out.
    page.colours("light");
    page.size(375);
    page.value(
        "const p = document.createElement('p'); p.textContent = 'pale'; p.style.color = '#aaa'; p.style.width = '600px'; \
         document.querySelector('footer').append(p); 0",
    );
    let seen = page.value(LOOK);
    assert!(seen["overflow"].as_i64().unwrap() > 200, "{seen}");
    assert!(
        seen["contrast"].as_f64().unwrap() < 3.0 && seen["where"] == "pale",
        "{seen}"
    );
    assert_eq!(page.console, Vec::<String>::new());
}

/// Beyond the right edge; the least contrast of a text with what is behind it; the smallest text.
const LOOK: &str = r#"(() => {
  const colour = text => {
    const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number);
    return { r, g, b, a };
  };
  const light = ({ r, g, b }) => {
    const part = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const c = colour(getComputedStyle(e).backgroundColor);
      if (c.a == 1) return c;
    }
    return { r: 255, g: 255, b: 255 };
  };
  let contrast = 21, where = "", smallest = 99;
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !element.checkVisibility() || element.closest("script, svg")) continue;
    const style = getComputedStyle(element);
    const [one, other] = [light(colour(style.color)), light(behind(element))].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < contrast) [contrast, where] = [ratio, texts.currentNode.data.trim()];
    smallest = Math.min(smallest, parseFloat(style.fontSize));
  }
  const overflow = Math.max(0, document.scrollingElement.scrollWidth - innerWidth);
  return { overflow, contrast, where, smallest };
})()"#;
