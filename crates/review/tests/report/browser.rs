//! The page in a real browser: Debian's Chromium through its own driver. Skipped where they are missing.
//!
//! With `DEEP_REVIEW_SCREENSHOTS=DIR` pictures of the page are left in that folder.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use review::report;
use serde_json::{Value, json};

use crate::hostile::hostile;
use crate::sample::sample;

/// A request to the driver; starting a browser on a busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(120);

struct Browser {
    driver: Child,
    port: u16,
    session: String,
    folder: tempfile::TempDir,
}

impl Browser {
    /// `None` when there is no browser here.
    fn start() -> Option<Self> {
        for program in ["chromium", "chromedriver"] {
            testutils::program_or_skip(testutils::Need::Browser, program)?;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            // What the browser leaves there when it is killed goes with the folder.
            .env("TMPDIR", folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|l| {
                l.strip_suffix('.')?
                    .rsplit_once("successfully on port ")?
                    .1
                    .parse()
                    .ok()
            })
            .expect("the driver names its port");
        // The driver must not block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let mut browser = Self {
            driver,
            port,
            session: String::new(),
            folder,
        };
        let profile = browser.folder.path().join("profile");
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            &format!("--user-data-dir={}", profile.display()),
        ];
        let answer = browser.call(
            "POST",
            "/session",
            &json!({ "capabilities": { "alwaysMatch": {
                "browserName": "chrome",
                "unhandledPromptBehavior": "ignore",
                "goog:chromeOptions": { "args": arguments },
                "goog:loggingPrefs": { "performance": "ALL", "browser": "ALL" },
            }}}),
        );
        browser.session = answer["sessionId"].as_str().unwrap().to_owned();
        // What the browser loads for its own first tab is not of interest.
        browser.post("url", &json!({ "url": "about:blank" }));
        browser.requests();
        Some(browser)
    }

    /// One WebDriver call over plain HTTP.
    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let body = if method == "POST" {
            body.to_string()
        } else {
            String::new()
        };
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.port,
            body.len()
        )
        .unwrap();
        let mut answer = Vec::new();
        let mut buffer = [0; 65_536];
        // The driver may keep the connection open, so the length decides.
        loop {
            let read = stream.read(&mut buffer).unwrap();
            answer.extend_from_slice(&buffer[..read]);
            let head = answer.windows(4).position(|w| w == b"\r\n\r\n");
            if let Some(head) = head {
                let length: usize = String::from_utf8_lossy(&answer[..head])
                    .lines()
                    .find_map(|l| {
                        let (name, value) = l.split_once(':')?;
                        name.eq_ignore_ascii_case("content-length")
                            .then(|| value.trim().parse().ok())?
                    })
                    .unwrap_or(0);
                if answer.len() >= head + 4 + length {
                    answer.drain(..head + 4);
                    break;
                }
            }
            assert!(read > 0, "the driver closed the connection");
        }
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        let value = answer["value"].clone();
        assert!(value["error"].is_null(), "{method} {path}: {value}");
        value
    }

    fn post(&self, what: &str, body: &Value) -> Value {
        self.call("POST", &format!("/session/{}/{what}", self.session), body)
    }

    fn open(&self, name: &str, page: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, page).unwrap();
        self.post(
            "url",
            &json!({ "url": format!("file://{}", path.display()) }),
        );
        path
    }

    /// Runs our script in the page (the driver's own way around the page's policy).
    fn run(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({ "script": script, "args": [] }))
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post(
            "goog/cdp/execute",
            &json!({ "cmd": command, "params": parameters }),
        )
    }

    fn scheme(&self, scheme: &str) {
        self.devtools(
            "Emulation.setEmulatedMedia",
            &json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] }),
        );
    }

    fn size(&self, width: u32, height: u32) {
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            &json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false }),
        );
    }

    fn shown(&self) -> Vec<String> {
        let ids = self.run(
            "return [...document.querySelectorAll('#findings .finding')].filter(f => f.offsetParent !== null).map(f => f.id)",
        );
        ids.as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_str().unwrap().to_owned())
            .collect()
    }

    /// Addresses that the browser asked for, as it logged them.
    fn requests(&self) -> Vec<String> {
        let log = self.post("se/log", &json!({ "type": "performance" }));
        log.as_array()
            .unwrap()
            .iter()
            .filter_map(|entry| {
                let message: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
                let message = &message["message"];
                (message["method"] == "Network.requestWillBeSent").then(|| {
                    message["params"]["request"]["url"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned()
                })
            })
            .collect()
    }

    fn picture(&self, name: &str, whole: bool) {
        let Some(folder) = std::env::var_os("DEEP_REVIEW_SCREENSHOTS") else {
            return;
        };
        let answer = self.devtools(
            "Page.captureScreenshot",
            &json!({ "format": "png", "captureBeyondViewport": whole, "optimizeForSpeed": false }),
        );
        let bytes = STANDARD.decode(answer["data"].as_str().unwrap()).unwrap();
        std::fs::write(Path::new(&folder).join(name), bytes).unwrap();
    }

    fn whole_page(&self, name: &str, width: u32) {
        self.size(width, 900);
        let height = self.run("return document.documentElement.scrollHeight");
        self.size(width, u32::try_from(height.as_u64().unwrap()).unwrap());
        self.picture(name, true);
        self.size(width, 900);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            self.call(
                "DELETE",
                &format!("/session/{}", self.session),
                &Value::Null,
            );
        } else if !self.session.is_empty() {
            // A failed test must leave no browser behind either; a second panic would abort.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                self.call(
                    "DELETE",
                    &format!("/session/{}", self.session),
                    &Value::Null,
                )
            }));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

#[test]
fn page_works_with_mouse_keyboard_and_themes() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let report = sample();
    browser.size(1200, 900);
    browser.scheme("light");
    let path = browser.open("report.html", &report::html(&report));

    filters(&browser, &report);
    keyboard(&browser);
    themes(&browser);
    narrow(&browser);

    // Nothing but the file itself was asked for.
    assert_eq!(browser.requests(), [format!("file://{}", path.display())]);
    let complaints = browser.post("se/log", &json!({ "type": "browser" }));
    assert_eq!(complaints, json!([]));
}

fn filters(browser: &Browser, report: &review::model::Report) {
    let all: Vec<String> = report.findings.iter().map(|f| f.id.clone()).collect();
    assert_eq!(browser.shown(), all);
    browser.run("document.querySelector('.toggle.suggestion').click()");
    let without: Vec<String> = all
        .iter()
        .filter(|id| !id.starts_with('S'))
        .cloned()
        .collect();
    assert_eq!(browser.shown(), without);
    assert_eq!(
        browser.run("return document.getElementById('shown').textContent"),
        format!("{} of {}", without.len(), all.len())
    );
    browser.run("document.querySelector('.toggle.suggestion').click()");

    let choose = |id: &str, text: &str| {
        browser.run(&format!(
            "const s = document.getElementById('{id}'); s.value = [...s.options].find(o => o.text === {}).value; s.dispatchEvent(new Event('change'))",
            json!(text)
        ));
    };
    choose("by-reviewer", "clippy");
    let of_clippy: Vec<String> = report
        .findings
        .iter()
        .filter(|f| f.voices.iter().any(|v| v.reviewer == "clippy"))
        .map(|f| f.id.clone())
        .collect();
    assert!(!of_clippy.is_empty() && of_clippy.len() < all.len());
    assert_eq!(browser.shown(), of_clippy);
    choose("by-file", "src/download/mod.rs");
    assert_eq!(browser.shown(), Vec::<String>::new());
    assert_eq!(
        browser.run("return document.getElementById('nothing').offsetParent !== null"),
        true
    );
    browser.run("document.getElementById('reset').click()");
    choose("by-file", "src/download/mod.rs");
    assert_eq!(browser.shown().len(), 1);
    choose("by-file", "All files");

    let search = |text: &str| {
        browser.run(&format!(
            "const i = document.getElementById('by-text'); i.value = {}; i.dispatchEvent(new Event('input'))",
            json!(text)
        ));
    };
    search("DOUBLES range");
    assert_eq!(browser.shown(), all[..1]);
    // A link to a finding that the filter hides lifts the filter.
    browser.run(&format!("location.hash = '{}'", all[1]));
    let lifted = browser.post(
        "execute/async",
        &json!({ "script": "const done = arguments[0]; setTimeout(() => done(document.getElementById('by-text').value), 0)", "args": [] }),
    );
    assert_eq!(lifted, "");
    assert_eq!(browser.shown(), all);
}

fn keyboard(browser: &Browser) {
    let press = |key: &str| {
        browser.post(
            "actions",
            &json!({ "actions": [{ "type": "key", "id": "k", "actions": [
                { "type": "keyDown", "value": key }, { "type": "keyUp", "value": key } ] }] }),
        );
    };
    browser.run("document.activeElement.blur()");
    press("/");
    assert_eq!(browser.run("return document.activeElement.id"), "by-text");
    press("\u{e00c}");
    press("j");
    press("j");
    let at = "return document.activeElement.closest('.finding').id";
    let second = browser.shown()[1].clone();
    assert_eq!(browser.run(at), second.as_str());
    let open = "return document.activeElement.parentElement.open";
    let before = browser.run(open);
    press("\u{e007}");
    assert_ne!(
        browser.run(open),
        before,
        "Enter opens and closes a finding"
    );
    press("\u{e007}");
    press("k");
    assert_eq!(browser.run(at), browser.shown()[0].as_str());
}

fn themes(browser: &Browser) {
    let paper = || {
        browser
            .run("return getComputedStyle(document.body).backgroundColor")
            .as_str()
            .unwrap()
            .to_owned()
    };
    let light = paper();
    browser.scheme("dark");
    let dark = paper();
    assert_ne!(light, dark);
    browser.run("document.getElementById('theme').click()");
    assert_eq!(paper(), light, "light, though the system is dark");
    browser.run("document.getElementById('theme').click()");
    browser.scheme("light");
    assert_eq!(paper(), dark, "dark, though the system is light");
    browser.run("document.getElementById('theme').click(); scrollTo(0, 0)");
    assert_eq!(paper(), light);
    browser.run("history.replaceState(null, '', location.pathname); document.activeElement.blur()");
    browser.whole_page("light.png", 1200);
    browser.size(1200, 1000);
    browser.picture("top-light.png", false);
    browser.scheme("dark");
    browser.whole_page("dark.png", 1200);
    browser.size(1200, 1000);
    browser.picture("top-dark.png", false);
    browser.scheme("light");
}

fn narrow(browser: &Browser) {
    browser.size(380, 800);
    let too_wide = browser.run("return document.documentElement.scrollWidth > innerWidth");
    assert_eq!(too_wide, false, "a phone need not scroll sideways");
    browser.whole_page("narrow.png", 380);
    let pdf = browser.devtools("Page.printToPDF", &json!({ "preferCSSPageSize": true }));
    let bytes = STANDARD.decode(pdf["data"].as_str().unwrap()).unwrap();
    assert!(bytes.starts_with(b"%PDF"));
    if let Some(folder) = std::env::var_os("DEEP_REVIEW_SCREENSHOTS") {
        std::fs::write(Path::new(&folder).join("print.pdf"), bytes).unwrap();
    }
}

#[test]
fn reviewer_text_never_runs_as_script() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let path = browser.open("hostile.html", &report::html(&hostile()));
    // Give what might run every chance: open all, walk over everything, click what is a link.
    browser.run(
        "document.querySelectorAll('details').forEach(d => { d.open = true });
         document.querySelectorAll('main *').forEach(e => { e.focus?.(); e.dispatchEvent(new MouseEvent('mouseover', {bubbles: true})) });
         document.querySelectorAll('a').forEach(a => { if (!/^(https?|mailto):/.test(a.protocol)) a.click() })",
    );
    assert_eq!(browser.run("return window.pwned === undefined"), true);
    assert_eq!(
        browser.run(
            "return [...document.querySelectorAll('*')].filter(e => [...e.attributes].some(a => /^on|^style$|^src/.test(a.name))).length"
        ),
        0
    );
    assert_eq!(
        browser.run("return [...document.querySelectorAll('a')].map(a => a.protocol).filter(p => !/^(https?|mailto|file):$/.test(p))"),
        json!([])
    );
    // The page is whole: our own footer is its last part, and our script worked.
    assert_eq!(
        browser.run("return document.body.lastElementChild.previousElementSibling.tagName"),
        "FOOTER"
    );
    assert_eq!(
        browser.run("return document.querySelectorAll('script').length"),
        1
    );
    assert!(!browser.shown().is_empty());
    assert_eq!(browser.requests(), [format!("file://{}", path.display())]);
}
