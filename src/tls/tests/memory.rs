//! The memory of an idle connection.

use std::process::Command;
use std::sync::Arc;

use super::super::Tls;
use super::authority::{Authority, localhost};
use super::peers::{Peers, VERSIONS, client_config};

/// The variable that tells a process of its own to measure. Other tests run beside this one and take memory, too.
const ALONE: &str = "THRONG_TEST_TLS_MEMORY";

/// Connections to measure: so many that the allocator's own memory does not count.
const COUNT: usize = 2000;
/// Most bytes that one may take, keys and all.
const MOST: usize = 3 * 1024 + 768;

/// Returns the bytes of memory of this process that are in use.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn an_idle_connection_takes_little() {
    if std::env::var_os(ALONE).is_some() {
        return measure();
    }
    let name = "tls::tests::memory::an_idle_connection_takes_little";
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--exact", name, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.matches("for each idle connection").count(), VERSIONS.len());
}

fn measure() {
    let authority = Authority::new();
    let server = localhost(&authority, None);
    println!("size_of::<Tls>() = {}", size_of::<Tls>());
    // Those of both versions stay until the end, or the second ones would get the memory of the first.
    let mut connections: Vec<Box<Tls>> = Vec::with_capacity(COUNT * 3);
    for version in VERSIONS {
        let client = Arc::new(client_config(authority.roots(), version));
        let mut open = |count: usize| {
            for _ in 0..count {
                let mut peers = Peers::new(Arc::clone(&server), &client);
                peers.shake_hands(|| usize::MAX);
                peers.ask(b"a message", || 3);
                peers.tell(&[b"an answer"]);
                connections.push(Box::new(peers.tls));
            }
            resident()
        };
        let before = open(COUNT / 10);
        let each = open(COUNT).saturating_sub(before) / COUNT;
        println!("{version:?}: {each} bytes for each idle connection");
        assert!(each <= MOST, "{each}");
    }
}
