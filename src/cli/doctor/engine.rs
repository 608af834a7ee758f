//! Checks the engine: how the settings reach it, and what its servers say.

use crate::broker::redis::inspect::inspect;
use crate::config::{Config, Engine, Finding};

/// Runs the checks.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    match config.engine {
        Engine::Memory => {
            vec![Finding::ok("engine", "rooms are in the memory of this process: there is one node")]
        }
        Engine::Redis => {
            let mut found = vec![secrecy(config)];
            found.extend(inspect(config).unwrap_or_else(|error| {
                let text = format!("the servers of `redis.addresses` cannot be asked: {error}");
                vec![Finding::error("engine", text, "raise the limits of open files and of threads")]
            }));
            found
        }
    }
}

/// Checks that nobody on the way can read what is sent, and that not everybody can connect.
fn secrecy(config: &Config) -> Finding {
    let redis = &config.redis;
    let subject = "engine access";
    let Some(remote) = redis.addresses.iter().find(|address| !address.is_loopback()) else {
        return Finding::ok(subject, "all of `redis.addresses` are on this machine");
    };
    if redis.password.is_none() && redis.cert_file.is_none() {
        let text =
            format!("{remote} is another machine, and neither a password nor a certificate is shown to it");
        let advice = "set `redis.password_file` on all nodes and a user on the servers: without it, everybody who \
                      reaches a server can read and change all rooms";
        return Finding::warning(subject, text, advice);
    }
    if !redis.tls {
        let text =
            format!("{remote} is another machine, and password and messages travel to it in the clear");
        return Finding::warning(subject, text, "set `redis.tls`, unless the network is yours alone");
    }
    Finding::ok(subject, "connections are encrypted, and the servers are shown a password or certificate")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Level, Sources};

    #[test]
    fn a_connection_that_leaves_the_machine_is_protected() {
        let remote = "redis.addresses=redis.example:6379";
        let password = "redis.password=an-example-password";
        for (pairs, level, text) in [
            (&[][..], Level::Ok, "on this machine"),
            (&[remote], Level::Warning, "redis.example:6379 is another machine, and neither a password"),
            (&[remote, "redis.tls=true"], Level::Warning, "neither a password"),
            (&[remote, password], Level::Warning, "in the clear"),
            (&[remote, password, "redis.tls=true"], Level::Ok, "encrypted"),
        ] {
            let sources =
                pairs.iter().fold(Sources::new().set("engine=redis"), |sources, pair| sources.set(pair));
            let finding = secrecy(&Config::load(sources).expect("no mistakes"));
            assert!(finding.level == level && finding.text.contains(text), "{pairs:?}: {finding:?}");
        }
    }
}
