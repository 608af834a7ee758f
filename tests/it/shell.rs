//! Runs the shell lines of the manual and of `--help`, each as it stands, in a folder of its own. A new line is run as
//! well, unless it is named here with the reason why not.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::manual::blocks;
use crate::support::log::Log;
use crate::support::server::{Server, run, throng};
use crate::support::tls::Authority;
use crate::support::tls_server::listening;
use crate::support::{binary, eventually};

/// The beginnings of lines that are not run, each with the reason.
const SKIPPED: &[(&str, &str)] = &[
    ("cargo build --release", "builds for minutes; the next line needs it"),
    ("benches/targets.py", "measures for hours, and needs the lab"),
    ("benches/peers/run.py", "measures for minutes, and needs the packages of other servers"),
    ("cargo run --release", "builds for minutes; what it starts is started here as `throng`"),
    ("cargo install", "builds for minutes, and installs what it builds"),
    ("cargo test --release", "builds for minutes; tests/run does it"),
    ("tests/run", "runs this test"),
    ("examples/cluster/run.sh", "builds for minutes; the tests of clusters run it with --check"),
    ("throng chat wss://chat.example.org ", "there is no such server"),
    ("packaging/deb.sh", "builds for minutes; tests/package.sh runs it"),
    ("sudo ", "changes the machine; tests/package.sh does it in a scratch root"),
    ("docker ", "needs a container engine; tests/image.py makes the stages by hand"),
    ("kubectl ", "needs a cluster; tests/deployment.sh validates the manifests"),
    ("throng bench compare ", "needs results; tests/it/bench_compare.rs makes some"),
    ("throng bench fanout --protocol ", "needs such a server; tests/protocols.sh has one of each"),
    ("throng history ", "there is no such folder; tests/it/history_damage.rs runs it on one"),
];

/// The beginnings of lines that run until they are ended, each with a text that they print or write before that.
const GOES_ON: &[(&str, &str)] =
    &[("curl -N ", "data: {"), ("sleep infinity | throng chat ", "\"connected\"")];

/// The key of the examples.
const KEY: &str = "an-example-key-of-16";

/// The server of the test.
struct Target {
    /// Address without TLS.
    plain: String,
    /// Port with TLS, for which the certificate is in the folder.
    secure_port: u16,
}

/// Replaces the server of the example by the server of the test, and reduces the work as far as possible.
fn rewritten(line: &str, target: &Target) -> String {
    let Target { plain: server, secure_port } = target;
    let mut line = line.replace("127.0.0.1:8080", server).replace("127.0.0.1:9000", "127.0.0.1:0");
    line = line.replace("localhost:8443", &format!("localhost:{secure_port}"));
    line = line.replace("http://chat.example/", &format!("http://{server}/"));
    // The examples name other WebSocket servers, and a rate that a build for tests cannot keep.
    for other in ["127.0.0.1:9001/", "127.0.0.1:9002/"] {
        line = line.replace(other, &format!("{server}/ws?raw"));
    }
    line = line.replace("--rate 20000", "--rate 200").replace("--rounds 7", "--rounds 2");
    line = line.replace("--duration 10s", "--seconds 1");
    line = line.replace("throng chat --user", &format!("throng chat ws://{server} --user"));
    line = line.replace("throng api ", &format!("throng api --url http://{server} "));
    if line.contains("throng bench ") {
        if line.contains("bench rooms ") {
            line += " --rooms 2";
        }
        let times = if line.contains("bench connect ") { &[][..] } else { &["--seconds 1", "--warm-up 0.2"] };
        for short in ["--connections 10", "--settle 0.2"].iter().chain(times) {
            let flag = short.split(' ').next().unwrap_or_default();
            line = if line.contains(flag) { line } else { format!("{line} {short}") };
        }
    }
    line
}

/// Returns the lines under `Examples:` in every help text.
fn examples_of_help() -> Vec<String> {
    let help = |arguments: &[&str]| {
        String::from_utf8(run(&[arguments, &["--help"]].concat(), &[]).stdout).expect("UTF-8")
    };
    let top = help(&[]);
    let commands = top.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| line.starts_with("  "));
    let commands = commands.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    let texts: Vec<String> = commands.map(|name| help(&[name])).collect();
    let examples = |text: &str| -> Vec<String> {
        let lines = text.lines().skip_while(|line| *line != "Examples:").skip(1);
        lines.map_while(|line| line.strip_prefix("  ")).map(str::to_owned).collect()
    };
    texts.iter().chain([&top]).flat_map(|text| examples(text)).collect()
}

/// A running line, with all processes that it started. It ends with the test.
struct Running {
    child: Child,
    output: Log,
    errors: Log,
}

impl Running {
    fn start(line: &str, folder: &Path, path: &str) -> Self {
        // The last one is no setting, but the key of the calls of the API, which an earlier line has set.
        let settings = [("listen", "127.0.0.1:0"), ("drain.window", "0ms"), ("api_key", KEY)];
        // The last argument is the binary, which bash takes as its own name.
        let mut command = throng(&["bash", "-c", line], &settings);
        command.current_dir(folder).env("PATH", path).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("bash runs");
        // `throng token` prints a token.
        let output = Log::follow_result(child.stdout.take().expect("stdout is piped"));
        let errors = Log::follow(child.stderr.take().expect("stderr is piped"), &command);
        Self { child, output, errors }
    }

    /// Kills all processes of the line.
    fn end(&mut self) {
        let group = format!("-{}", self.child.id());
        // It fails if no process is left, which is as good.
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.child.wait();
    }

    fn said(&self) -> String {
        format!("{}\n{}", self.output.text(), self.errors.text())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Returns whether the line starts a server.
fn serves(line: &str) -> bool {
    let mut words = line.split_whitespace().skip_while(|word| word.starts_with("THRONG_"));
    let is_throng = words.next() == Some("throng");
    let mut flags = words.take_while(|word| *word != "#");
    is_throng
        && flags.next().is_none_or(|first| first == "serve" || first.starts_with("--") && first != "--help")
}

/// Runs one line until its effect can be seen.
fn check(line: &str, target: &Target, folder: &Path, path: &str) {
    let line = &rewritten(line, target);
    println!("$ {line}");
    let mut running = Running::start(line, folder, path);
    if serves(line) {
        running.errors.wait_for_line(line, |said| said.contains("listening"));
    } else if let Some((_, sign)) = GOES_ON.iter().find(|(start, _)| line.starts_with(start)) {
        let written = || {
            let files = std::fs::read_dir(folder).expect("a folder").flatten();
            let texts = files.filter_map(|file| std::fs::read_to_string(file.path()).ok());
            texts.collect::<String>() + &running.output.text()
        };
        eventually(line, || written().contains(sign));
    } else {
        let mut status = None;
        eventually(line, || {
            status = running.child.try_wait().expect("a child of ours");
            status.is_some()
        });
        running.errors.wait_for_end();
        assert!(status.is_some_and(|status| status.success()), "{line}: {status:?}\n{}", running.said());
    }
    running.end();
}

/// Returns a program that the line needs and this machine does not have.
fn missing(line: &str) -> Option<&'static str> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    ["curl", "promtool", "taskset"].into_iter().find(|program| {
        let is_there = Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok();
        line.contains(program) && !(is_there && (*program != "taskset" || cores >= 2))
    })
}

#[test]
fn every_shell_line_of_the_manual_and_of_help_does_what_it_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let programs = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::symlink(binary(), programs.path().join("throng")).expect("a link");
    let rest = std::env::var("PATH").expect("a PATH in UTF-8");
    let path = format!("{}:{rest}", programs.path().display());
    let mut file = std::fs::File::create(folder.path().join("throng.toml")).expect("a file");
    file.write_all(blocks("toml").concat().as_bytes()).expect("written");

    let examples = folder.path().join("examples");
    std::fs::create_dir(&examples).expect("a folder");
    let prometheus = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/prometheus");
    std::os::unix::fs::symlink(prometheus, examples.join("prometheus")).expect("a link");

    let authority = Authority::new("An Authority");
    let files = authority.issue("server", &["localhost"]);
    for (from, name) in
        [(authority.file(), "ca.pem"), (files.cert.clone(), "server.crt"), (files.key.clone(), "server.key")]
    {
        std::fs::copy(from, folder.path().join(name)).expect("copied");
    }
    let own = [("api.keys", KEY), ("tls.listen", "127.0.0.1:0")];
    let server = Server::start(&[&own[..], &files.settings()].concat());
    let secure = listening(&server, "listening for TLS");
    let target = || Target { plain: server.address().to_string(), secure_port: secure.port() };
    let of_manual = blocks("sh").into_iter().flat_map(str::lines).map(str::to_owned);
    let of_help = examples_of_help();
    assert!(of_help.len() >= 5, "only {of_help:?} in the texts of help");
    let mut unused: Vec<_> = SKIPPED.to_vec();
    let mut count = 0;
    for line in of_manual.chain(of_help).filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        if let Some((start, why)) = SKIPPED.iter().find(|(start, _)| line.starts_with(start)) {
            println!("skipped: {line}: {why}");
            unused.retain(|(unused, _)| unused != start);
        } else if let Some(program) = missing(&line) {
            println!("skipped: {line}: there is no {program} for it on this machine");
        } else {
            check(&line, &target(), folder.path(), &path);
            count += 1;
        }
    }
    assert!(unused.is_empty(), "nothing begins like this any more: {unused:?}");
    assert!(count >= 12, "only {count} lines were run");
}
