//! Headless Chromium with a virtual authenticator, driven over the Chrome DevTools Protocol. No Node, no WebDriver.
//!
//! `CHROMIUM=` overrides the path of the browser.

use std::{
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::{SinkExt, StreamExt};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

/// How long the browser gets to start, and a page to do what a test waits for. A loaded machine with two cores needs most of it.
const PATIENCE: Duration = Duration::from_mins(1);

/// A browser with a profile of its own; it and its children are killed when this is dropped.
pub struct Chromium {
    child: Child,
    /// Goes when the browser has gone.
    _profile: TempDir,
    endpoint: String,
}

impl Chromium {
    /// Starts the browser and waits until it takes commands.
    pub async fn launch() -> Self {
        let program = std::env::var_os("CHROMIUM").map_or_else(|| PathBuf::from("/usr/bin/chromium"), PathBuf::from);
        let profile = TempDir::new().unwrap();
        let child = Command::new(&program)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"])
            .args(["--remote-debugging-port=0", "--hide-scrollbars", "about:blank"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|e| panic!("{} does not start ({e}): install it or set CHROMIUM", program.display()));
        let endpoint = devtools_endpoint(profile.path()).await;
        Self { child, _profile: profile, endpoint }
    }

    /// A fresh tab, with its own connection, showing nothing.
    pub async fn page(&self) -> Page {
        let (socket, _) = connect_async(&self.endpoint).await.unwrap();
        let mut page = Page { socket, session: None, last_id: 0, complaints: Vec::new() };
        let context = page.call("Target.createBrowserContext", json!({"disposeOnDetach": true})).await;
        let target = page.call("Target.createTarget", json!({"url": "about:blank", "browserContextId": context["browserContextId"]})).await;
        let attached = page.call("Target.attachToTarget", json!({"targetId": target["targetId"], "flatten": true})).await;
        page.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            page.call(domain, json!({})).await;
        }
        page
    }
}

impl Drop for Chromium {
    /// The program is often a script around the browser: the whole process group has to go.
    fn drop(&mut self) {
        if let Some(group) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// The browser writes where it listens into its profile: a port and a path, a line each.
async fn devtools_endpoint(profile: &Path) -> String {
    let file = profile.join("DevToolsActivePort");
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if let Ok(text) = tokio::fs::read_to_string(&file).await
            && let Some((port, path)) = text.trim_end().split_once('\n')
        {
            return format!("ws://127.0.0.1:{port}{path}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the browser does not listen after {PATIENCE:?}");
}

/// The `protocol` of a virtual authenticator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// CTAP 2.1, with resident keys and user verification.
    Ctap2,
    /// CTAP 1: a second factor of the first generation, which verifies no user.
    U2f,
}

/// The `transport` of a virtual authenticator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Usb,
    Internal,
}

/// A tab.
pub struct Page {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: Option<String>,
    last_id: u64,
    complaints: Vec<String>,
}

impl Page {
    /// One command of the DevTools protocol and its result; panics with the browser's words when it refuses.
    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let mut request = json!({"id": self.last_id, "method": method, "params": params});
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        self.socket.send(Message::text(request.to_string())).await.unwrap();
        timeout(PATIENCE, self.answer(method)).await.unwrap_or_else(|_| panic!("{method} has no answer after {PATIENCE:?}"))
    }

    /// Reads up to the answer of the last command; what the page complains of meanwhile is kept.
    async fn answer(&mut self, method: &str) -> Value {
        loop {
            let message = self.socket.next().await.expect("the browser is gone").unwrap();
            let Message::Text(text) = message else { continue };
            let mut value: Value = serde_json::from_str(text.as_str()).unwrap();
            if value["id"] == json!(self.last_id) {
                assert!(value.get("error").is_none(), "{method}: {}", value["error"]);
                return value["result"].take();
            }
            match value["method"].as_str() {
                Some("Runtime.exceptionThrown") => self.complaints.push(value["params"]["exceptionDetails"].to_string()),
                Some("Log.entryAdded") if value["params"]["entry"]["level"] == "error" => {
                    self.complaints.push(value["params"]["entry"].to_string());
                }
                _ => {}
            }
        }
    }

    /// Exceptions that nothing caught and errors in the console, breaches of the Content-Security-Policy among them.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// Gives the tab an authenticator whose user always agrees. Returns its id.
    pub async fn add_authenticator(&mut self, protocol: Protocol, transport: Transport) -> String {
        let ctap2 = protocol == Protocol::Ctap2;
        self.call("WebAuthn.enable", json!({})).await;
        let options = json!({
            "protocol": if ctap2 { "ctap2" } else { "u2f" },
            "transport": match transport { Transport::Usb => "usb", Transport::Internal => "internal" },
            "hasResidentKey": ctap2,
            "hasUserVerification": ctap2,
            "isUserVerified": ctap2,
            "automaticPresenceSimulation": true,
        });
        let added = self.call("WebAuthn.addVirtualAuthenticator", json!({"options": options})).await;
        added["authenticatorId"].as_str().unwrap().to_owned()
    }

    /// Whether an authenticator's user agrees at once, or never.
    pub async fn set_presence(&mut self, authenticator: &str, is_there: bool) {
        self.call("WebAuthn.setAutomaticPresenceSimulation", json!({"authenticatorId": authenticator, "enabled": is_there})).await;
    }

    /// What an authenticator holds, private keys too.
    pub async fn credentials(&mut self, authenticator: &str) -> Vec<Value> {
        let held = self.call("WebAuthn.getCredentials", json!({"authenticatorId": authenticator})).await;
        held["credentials"].as_array().unwrap().clone()
    }

    /// Gives an authenticator a credential that another one held.
    pub async fn add_credential(&mut self, authenticator: &str, credential: &Value) {
        self.call("WebAuthn.addCredential", json!({"authenticatorId": authenticator, "credential": credential})).await;
    }

    /// Opens `url`; returns when the document's own scripts can run.
    pub async fn navigate(&mut self, url: &str) {
        let result = self.call("Page.navigate", json!({"url": url})).await;
        assert!(result.get("errorText").is_none(), "{url}: {}", result["errorText"]);
        self.wait_for(&format!("location.href.startsWith({}) && document.readyState === 'complete'", json!(url))).await;
    }

    /// The value of a JavaScript expression, awaited if it is a promise.
    pub async fn evaluate(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true});
        let mut result = self.call("Runtime.evaluate", params).await;
        assert!(result.get("exceptionDetails").is_none(), "{expression}: {}", result["exceptionDetails"]);
        result["result"]["value"].take()
    }

    /// The value of an expression that is a string.
    pub async fn text(&mut self, expression: &str) -> String {
        let value = self.evaluate(expression).await;
        value.as_str().unwrap_or_else(|| panic!("{expression} is {value}")).to_owned()
    }

    /// Waits until `condition` holds; panics with what the page complained of when it never does.
    pub async fn wait_for(&mut self, condition: &str) {
        let started = Instant::now();
        while self.evaluate(&format!("Boolean({condition})")).await != json!(true) {
            assert!(started.elapsed() < PATIENCE, "after {PATIENCE:?} still not: {condition}\n{:?}", self.complaints);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Puts the keyboard's focus on an element and types into it.
    pub async fn type_into(&mut self, selector: &str, text: &str) {
        self.evaluate(&format!("document.querySelector({}).select()", json!(selector))).await;
        self.call("Input.insertText", json!({"text": text})).await;
    }

    /// Presses one key, such as `Enter` or `Tab`, wherever the focus is.
    pub async fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Tab" => (9, ""),
            _ => panic!("no key {key}"),
        };
        for kind in ["keyDown", "keyUp"] {
            let event = json!({"type": kind, "key": key, "code": key, "text": text, "windowsVirtualKeyCode": code});
            self.call("Input.dispatchKeyEvent", event).await;
        }
    }

    /// How wide the page is, and whether its user prefers the dark.
    pub async fn view(&mut self, width: u32, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features})).await;
        let metrics = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// The whole page as a PNG.
    pub async fn screenshot(&mut self, path: &Path) {
        let shot = self.call("Page.captureScreenshot", json!({"format": "png", "captureBeyondViewport": true})).await;
        std::fs::write(path, STANDARD.decode(shot["data"].as_str().unwrap()).unwrap()).unwrap();
    }
}
