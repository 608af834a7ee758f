//! A browser for one test: the driver as a child process, and one session with it.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::common::command::FormatRequestData;
use thirtyfour::{
    ChromeCapabilities, ChromiumLikeCapabilities, DesiredCapabilities, LoggingPrefsLogLevel, RequestData,
    SessionId, WebDriver,
};

use crate::page::{POLL, Page};
use crate::support::PATIENCE;

/// The shell command that runs the driver as long as its parent holds the other end of the pipe, so that no process is
/// left when the tests are killed. The browser ends when the driver does: see `--remote-debugging-pipe`.
const UNTIL_THE_PIPE_CLOSES: &str = "chromedriver --port=0 </dev/null & read -r _; kill $!; wait";

const ARGUMENTS: &[&str] = &[
    "--headless=new",
    "--window-size=1280,800",
    // Ends the browser with its driver, even if that is killed.
    "--remote-debugging-pipe",
    // A window in front must not slow down the one behind it.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-breakpad",
    "--disable-crash-reporter",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-gpu",
    "--force-device-scale-factor=1",
    "--hide-scrollbars",
    "--lang=en-GB",
    "--no-first-run",
];

/// The parts of Chromium whose work is traced: the tasks of threads, and marks of pages.
const TRACED: &str = "disabled-by-default-devtools.timeline,blink.user_timing";

/// Console messages that tests expect: there is no server, which a browser may ask late for the icon of its page, a
/// stream ended with its server, or the dashboard's feed needs another key.
const EXPECTED: &[&str] = &[
    "Error while trying to use the following icon from the Manifest",
    "WebSocket connection to 'ws://",
    "net::ERR_CONNECTION_REFUSED",
    "net::ERR_INCOMPLETE_CHUNKED_ENCODING",
    "/api/stats/stream - Failed to load resource: the server responded with a status of 401",
    "/api/disconnect - Failed to load resource: the server responded with a status of 403",
];

/// A running browser. The fields are dropped in this order: the session ends in good order, or by force.
pub(crate) struct Browser {
    session: WebDriver,
    _driver: Driver,
}

struct Driver {
    child: Child,
    port: u16,
    /// Profiles, sockets and other files of the browser.
    folder: TempDir,
}

impl Driver {
    fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        let mut child = Command::new("sh")
            .args(["-c", UNTIL_THE_PIPE_CLOSES])
            .env("TMPDIR", folder.path())
            .env("TZ", "UTC")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sh runs");
        let output = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let port = output.lines().map_while(Result::ok).find_map(|line| {
            line.split_once("started successfully on port ")?.1.trim_end_matches('.').parse().ok()
        });
        let Some(port) = port else {
            let end = child.wait_with_output().expect("a child of ours");
            panic!(
                "chromedriver does not start ({}); tests/run installs chromium and chromium-driver",
                String::from_utf8_lossy(&end.stderr).trim()
            );
        };
        Self { child, port, folder }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
        // After a panic the browser ends a little later than its driver, and writes to its folder until then.
        let deadline = Instant::now() + PATIENCE;
        while has_users(self.folder.path()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Whether a process lives that has this folder for its temporary files.
fn has_users(folder: &Path) -> bool {
    let wanted = format!("TMPDIR={}", folder.display());
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let environments = processes.filter_map(|process| std::fs::read(process.path().join("environ")).ok());
    environments.into_iter().any(|all| all.split(|byte| *byte == 0).any(|one| one == wanted.as_bytes()))
}

/// A command of Chromium's own protocol, for actions that WebDriver cannot express.
#[derive(Debug)]
struct DevTools(&'static str, Value);

impl FormatRequestData for DevTools {
    fn format_request(&self, session: &SessionId) -> RequestData {
        RequestData::new(Method::POST, format!("/session/{session}/goog/cdp/execute"))
            .add_body(json!({"cmd": self.0, "params": self.1}))
    }
}

impl Browser {
    /// Starts a browser, with one empty window that no test uses.
    pub(crate) async fn start() -> Self {
        Self::start_with(wishes()).await
    }

    /// Starts a browser that records a trace of what its threads do, for [`Browser::trace`].
    pub(crate) async fn start_traced() -> Self {
        let mut wishes = wishes();
        wishes.set_logging_prefs("performance", LoggingPrefsLogLevel::All).expect("a level");
        let options = json!({"traceCategories": TRACED, "enableNetwork": false});
        wishes.add_experimental_option("perfLoggingPrefs", options).expect("an option");
        Self::start_with(wishes).await
    }

    async fn start_with(wishes: ChromeCapabilities) -> Self {
        let driver = Driver::start();
        let session = WebDriver::builder(format!("http://127.0.0.1:{}", driver.port), wishes)
            .request_timeout(PATIENCE)
            .await
            .unwrap_or_else(|error| panic!("the browser does not start: {error}"));
        Self { session, _driver: driver }
    }

    /// Opens a new window at an address, and waits until the page is loaded and its script has run.
    pub(crate) async fn open(&self, address: &str) -> Page<'_> {
        let window = self.session.new_window().await.expect("a window");
        self.session.switch_to_window(window.clone()).await.expect("the window is there");
        self.session.goto(address).await.unwrap_or_else(|error| panic!("{address}: {error}"));
        // On a busy machine the driver takes the empty page of a new window for the requested one, and scripts fail
        // until that is loaded. The page may have removed the part behind `#` by then.
        let is_there = format!(
            "return location.href.split('#')[0] === {} && document.readyState === 'complete'",
            Value::from(address.split('#').next())
        );
        let deadline = Instant::now() + PATIENCE;
        while !self.session.execute(&is_there, vec![]).await.is_ok_and(|answer| *answer.json() == true) {
            assert!(Instant::now() < deadline, "{address} does not come");
            tokio::time::sleep(POLL).await;
        }
        Page::new(self, window)
    }

    pub(crate) fn session(&self) -> &WebDriver {
        &self.session
    }

    /// Executes a DevTools command in the window that is switched to; returns its answer.
    pub(crate) async fn devtools(&self, command: &'static str, parameters: Value) -> Value {
        let answer = self.session.cmd(DevTools(command, parameters.clone())).await;
        let answer = answer.unwrap_or_else(|error| panic!("{command} {parameters}: {error}"));
        answer.value_json().unwrap_or_default()
    }

    /// Returns the events of the trace since the last call, in the order of their times.
    pub(crate) async fn trace(&self) -> Vec<Value> {
        let entries = self.session.get_log("performance").await.expect("a trace");
        let parts = entries.iter().filter_map(|entry| serde_json::from_str::<Value>(&entry.message).ok());
        let mut events: Vec<Value> = parts
            .filter(|part| part["message"]["method"] == "Tracing.dataCollected")
            .map(|part| part["message"]["params"].clone())
            .collect();
        events.sort_by(|a, b| a["ts"].as_f64().partial_cmp(&b["ts"].as_f64()).expect("a time is a number"));
        events
    }

    /// Returns the console messages since the last call.
    pub(crate) async fn console(&self) -> Vec<String> {
        let entries = self.session.browser_log().await.expect("the console");
        entries.into_iter().map(|entry| entry.message).collect()
    }

    /// Returns the messages of [`Browser::console`] that are not expected.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let is_expected = |text: &str| EXPECTED.iter().any(|part| text.contains(part));
        self.console().await.into_iter().filter(|text| !is_expected(text)).collect()
    }

    /// Ends the browser. Asserts that the console has no unexpected messages, such as a refusal by the
    /// Content-Security-Policy.
    pub(crate) async fn finish(self) {
        let complaints = self.complaints().await;
        assert!(complaints.is_empty(), "in the console: {complaints:#?}");
        self.session.clone().quit().await.expect("the session ends");
    }
}

fn wishes() -> ChromeCapabilities {
    let mut wishes = DesiredCapabilities::chrome();
    let mut add = |argument: &str| wishes.add_arg(argument).expect("an argument");
    ARGUMENTS.iter().for_each(|argument| add(argument));
    // Chromium refuses to run as root with its sandbox, and tests run as root in most containers.
    if std::fs::metadata("/proc/self").expect("/proc").uid() == 0 {
        add("--no-sandbox");
    }
    wishes.set_browser_log_level(LoggingPrefsLogLevel::All).expect("a level");
    wishes
}
