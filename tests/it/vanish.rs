//! A peer that vanishes without a FIN: a link between two network namespaces goes down.
//!
//! Needs root and iproute2; without them the test prints that and passes.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Instant;

use crate::support::eventually;
use crate::support::raw::Socket;
use crate::support::server::Server;

/// A network namespace with one end of a link; the other end is in the test's own. Dropping it removes both.
struct Link {
    namespace: String,
    near: String,
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output().map_err(|error| error.to_string())?;
    let problem = || format!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(()) } else { Err(problem()) }
}

impl Link {
    const NEAR: &str = "10.213.77.1/30";
    const FAR: &str = "10.213.77.2/30";
    const SERVER: &str = "10.213.77.2:0";

    fn up() -> Result<Self, String> {
        let id = std::process::id();
        let (namespace, near, far) = (format!("throng-{id}"), format!("tn{id}"), format!("tf{id}"));
        ip(&["netns", "add", &namespace])?;
        let link = Self { namespace, near };
        let inside = ["-n", link.namespace.as_str()];
        ip(&["link", "add", &link.near, "type", "veth", "peer", "name", &far, "netns", &link.namespace])?;
        ip(&["addr", "add", Self::NEAR, "dev", &link.near])?;
        ip(&["link", "set", &link.near, "up"])?;
        ip(&[&inside[..], &["addr", "add", Self::FAR, "dev", &far]].concat())?;
        ip(&[&inside[..], &["link", "set", &far, "up"]].concat())?;
        ip(&[&inside[..], &["link", "set", "lo", "up"]].concat())?;
        Ok(link)
    }

    fn down(&self) {
        ip(&["link", "set", &self.near, "down"]).expect("the link goes down");
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = ip(&["link", "del", &self.near]);
        let _ = ip(&["netns", "del", &self.namespace]);
    }
}

#[test]
fn a_peer_whose_link_goes_down_is_dropped() {
    let link = match Link::up() {
        Ok(link) => link,
        Err(problem) => {
            println!("skipped: {problem}");
            return;
        }
    };
    let wrapper = ["ip", "netns", "exec", link.namespace.as_str()];
    let settings = [("heartbeat.interval", "1s"), ("heartbeat.timeout", "1s"), ("log.level", "debug")];
    let server = Server::launch(&wrapper, Link::SERVER, &settings);
    assert_ne!(server.address(), SocketAddr::from(([10, 213, 77, 2], 0)), "a port was picked");
    let _idle = Socket::open(server.address(), "/ws");
    let _chatting = Socket::open(server.address(), "/ws/chat/alice");
    let cut = Instant::now();
    link.down();
    // Only the log still reaches the test.
    eventually("both silent connections are dropped", || {
        // The heartbeat drops it, or the kernel, which could not deliver the ping (TCP_USER_TIMEOUT).
        server.log().count(|line| {
            line.get("endpoint").is_some() && matches!(line["code"].as_u64(), Some(3008 | 1006))
        }) == 2
    });
    assert!(cut.elapsed().as_secs() < 15, "{:?}", cut.elapsed());
}
