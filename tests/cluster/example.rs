//! The cluster in one command works: `examples/cluster/run.sh`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support;
use crate::support::redis::binary;

/// Longest run of the script, which waits at most 20 seconds for each of its processes.
const LONGEST: Duration = Duration::from_secs(120);

#[test]
fn a_message_goes_from_a_node_to_another_through_the_proxy() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/cluster/run.sh");
    let mut command = Command::new("bash");
    command.arg(&script).arg("--check").env("THRONG", support::binary()).env("REDIS_SERVER", binary());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"THRONG_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut script = command.spawn().expect("bash runs");
    let deadline = Instant::now() + LONGEST;
    while script.try_wait().expect("a child of ours").is_none() {
        if Instant::now() > deadline {
            // The script ends its processes when it gets this signal, which a kill would not let it do.
            support::server::signal(&script, "TERM");
            break;
        }
        // Polls, because there is no wait for a child's end with a bound.
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = script.wait_with_output().expect("a child of ours");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{errors}");
    assert!(said.contains("a message went from node-"), "{said}");
}
