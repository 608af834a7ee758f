//! The parts of the binary that an installation needs: its health check, what it tells a service manager, its version,
//! and the files about its command line.

use std::os::unix::net::UnixDatagram;
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use crate::support::server::{Server, run, signal, throng};
use crate::support::{PATIENCE, eventually};

fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

#[test]
fn health_is_0_for_a_server_that_is_well_and_1_for_none() {
    let server = Server::start(&[]);
    let url = format!("http://{}", server.address());
    let code = |arguments: &[&str]| run(&[&["health", "--url"], arguments].concat(), &[]).status.code();
    assert_eq!(code(&[&url]), Some(0));
    assert_eq!(code(&[&url, "--ready"]), Some(0));
    // There is no such page.
    assert_eq!(code(&[&format!("{url}/nowhere/")]), Some(1));
    drop(server);
    let output = run(&["health", "--url", &url], &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&format!("{url}/healthz: ")), "{said}");
}

#[test]
fn health_asks_at_a_unix_socket_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let listen = format!("unix:{}", folder.path().join("socket").display());
    let server = Server::launch(&[], &format!("127.0.0.1:0, {listen}"), &[]);
    assert_eq!(run(&["health", "--url", &listen], &[]).status.code(), Some(0));
    assert_eq!(run(&["health", "--ready", "--url", &listen], &[]).status.code(), Some(0));
    drop(server);
    let output = run(&["health", "--url", &listen], &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&format!("{listen}/healthz: ")), "{said}");
}

#[test]
fn the_version_has_commit_and_features_and_its_short_form_has_not() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(printed(&run(&["-V"], &[])), format!("throng {version}\n"));
    let long = printed(&run(&["--version"], &[]));
    assert!(long.starts_with(&format!("throng {version}\ncommit: ")), "{long}");
    assert!(long.lines().any(|line| line.starts_with("features: bench, chat, client, ")), "{long}");
}

#[test]
fn completions_of_every_shell_and_pages_of_every_command_are_there() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        // More than a pipe holds, so it has to be read while the command runs.
        let script = throng(&[], &[]).args(["completions", shell]).output().expect("throng runs");
        let script = printed(&script);
        assert!(script.contains("check-config") && script.contains("log-format"), "{shell}: {script}");
    }
    assert!(printed(&run(&["man"], &[])).contains(".TH throng 1"));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("UTF-8");
    assert_eq!(run(&["man", path], &[]).status.code(), Some(0));
    for (name, text) in
        [("throng", "throng\\-health(1)"), ("throng-health", "\\-\\-ready"), ("throng-api-room", "room")]
    {
        let page = std::fs::read_to_string(folder.path().join(format!("{name}.1"))).expect("a page");
        assert!(page.contains(text), "{name}: {page}");
    }
    assert_eq!(run(&["man", "/no/such/folder"], &[]).status.code(), Some(69));
}

/// The server's process, killed when a test fails.
struct Watched(Child);

impl Drop for Watched {
    fn drop(&mut self) {
        // It has ended already, unless the test fails.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// 1. A service manager starts a server and hears when it is up and that it lives. 2. It asks for a reload and hears of
///    its beginning and end. 3. It stops the server and hears that, too.
#[test]
fn a_service_manager_hears_of_start_life_reload_and_stop() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(PATIENCE)).expect("a bound");
    let hear = |skipped: &str| loop {
        let mut bytes = [0; 256];
        let length = manager.recv(&mut bytes).expect("the server tells something");
        let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
        if text != skipped {
            break text;
        }
    };
    let mut command = throng(&[], &[("listen", "127.0.0.1:0"), ("drain.window", "0ms")]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000").stderr(Stdio::null());
    let mut server = Watched(command.spawn().expect("throng starts"));
    assert_eq!(hear(""), "READY=1");
    assert_eq!([hear(""), hear("")], ["WATCHDOG=1", "WATCHDOG=1"]);
    signal(&server.0, "HUP");
    assert!(hear("WATCHDOG=1").starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(hear("WATCHDOG=1"), "READY=1");
    signal(&server.0, "TERM");
    assert_eq!(hear("WATCHDOG=1"), "STOPPING=1");
    let mut status = None;
    eventually("the end", || {
        status = server.0.try_wait().expect("a child of ours");
        status.is_some()
    });
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
    manager.set_read_timeout(Some(Duration::from_millis(50))).expect("a bound");
    assert!(manager.recv(&mut [0; 256]).is_err(), "nothing comes after the end");
}
