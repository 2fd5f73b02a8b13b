//! Chromium, told what to do by its own protocol.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::protocol::WebSocket;
use tokio_tungstenite::tungstenite::{Message, client};

use super::place::{LIMIT, Process};

const FLAGS: &str = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
    --disable-background-networking --disable-component-update --disable-sync \
    --disable-dev-shm-usage --hide-scrollbars --remote-debugging-port=0";

/// One with one page.
pub(super) struct Browser {
    socket: WebSocket<TcpStream>,
    session: Option<String>,
    asked: u64,
    /// What the page and the browser wrote to the console.
    pub(super) console: Vec<String>,
    _process: Process,
    _profile: TempDir,
}

impl Browser {
    pub(super) fn start(program: &str) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new(program);
        command
            .args(FLAGS.split_whitespace())
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut process = Process::start(&mut command);
        let mut lines = BufReader::new(process.0.stderr.take().unwrap()).lines();
        let url = lines
            .find_map(|line| {
                Some(
                    line.ok()?
                        .strip_prefix("DevTools listening on ")?
                        .to_owned(),
                )
            })
            .unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        let address = url
            .strip_prefix("ws://")
            .unwrap()
            .split('/')
            .next()
            .unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let (socket, _) = client(url.as_str(), stream).unwrap();
        let mut browser = Self {
            socket,
            session: None,
            asked: 0,
            console: Vec::new(),
            _process: process,
            _profile: profile,
        };
        let page = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Accessibility"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    pub(super) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.asked += 1;
        let mut question = json!({ "id": self.asked, "method": method });
        question["params"] = parameters;
        if let Some(session) = &self.session {
            question["sessionId"] = json!(session);
        }
        self.socket
            .send(Message::text(question.to_string()))
            .unwrap();
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < LIMIT, "{method} is not answered");
            let Message::Text(text) = self.socket.read().unwrap() else {
                continue;
            };
            let mut said: Value = serde_json::from_str(&text).unwrap();
            if said["id"] == self.asked {
                assert!(said["error"].is_null(), "{method}: {said}");
                return said["result"].take();
            }
            let is_of_console = [
                "Runtime.consoleAPICalled",
                "Runtime.exceptionThrown",
                "Log.entryAdded",
            ];
            if is_of_console.iter().any(|method| said["method"] == *method) {
                self.console.push(said["params"].to_string());
            }
        }
    }

    /// The value of a script, once it is there.
    pub(super) fn value(&mut self, script: &str) -> Value {
        let question = json!({ "expression": script, "returnByValue": true, "awaitPromise": true });
        let mut answer = self.call("Runtime.evaluate", question);
        assert!(answer["exceptionDetails"].is_null(), "{script}: {answer}");
        answer["result"]["value"].take()
    }

    pub(super) fn text(&mut self, script: &str) -> String {
        let value = self.value(script);
        value
            .as_str()
            .unwrap_or_else(|| panic!("{script}: {value}"))
            .to_owned()
    }

    /// Waits until `script` is true.
    pub(super) fn until(&mut self, script: &str) {
        let began = Instant::now();
        while self.value(script) != json!(true) {
            if began.elapsed() > LIMIT {
                let page = self.text("document.body ? document.body.innerText : 'no page'");
                panic!("never {script}; {:?}; {page}", self.console);
            }
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    pub(super) fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
        self.until("document.readyState == 'complete' && document.getElementById('main') != null");
    }

    pub(super) fn size(&mut self, width: u32) {
        let size =
            json!({ "width": width, "height": 812, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    pub(super) fn colours(&mut self, scheme: &str) {
        let scheme = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": scheme }));
    }

    pub(super) fn press(&mut self, key: &str) {
        // A button is pressed by the character, not by the key.
        let (code, down, text) = match key {
            "Enter" => (13, "keyDown", "\r"),
            _ => (9, "rawKeyDown", ""),
        };
        for kind in [down, "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let event = json!({
                "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text,
            });
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// What a screen reader is told, without what it passes over.
    pub(super) fn heard(&mut self) -> Vec<Node> {
        let tree = self.call("Accessibility.getFullAXTree", json!({}));
        let nodes = tree["nodes"].as_array().unwrap();
        let text = |node: &Value, key: &str| node[key]["value"].as_str().unwrap_or("").to_owned();
        let property = |node: &Value, name: &str| {
            let all = node["properties"].as_array();
            let mut all = all.into_iter().flatten();
            let found = all.find(|property| property["name"] == name);
            found
                .map(|found| found["value"]["value"].to_string())
                .unwrap_or_default()
        };
        let heard = nodes.iter().filter(|node| node["ignored"] != true);
        let node = |node| Node {
            role: text(node, "role"),
            name: text(node, "name"),
            level: property(node, "level"),
            live: property(node, "live").trim_matches('"').to_owned(),
        };
        heard.map(node).collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) role: String,
    pub(super) name: String,
    pub(super) level: String,
    pub(super) live: String,
}
