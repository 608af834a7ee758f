//! Tells a service manager how the server is, over the socket that `NOTIFY_SOCKET` names: `sd_notify(3)` of systemd,
//! for units with `Type=notify` and `WatchdogSec=`. Without that variable nothing is told.

use std::ffi::{OsStr, OsString};
use std::future::Future;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::{MissedTickBehavior, interval};

use super::failure::{Failure, USAGE};
use crate::server::StopReason;

/// The way to the service manager, if there is one. Clones share the socket.
#[derive(Debug, Clone, Default)]
pub struct Notifier(Option<Arc<Manager>>);

#[derive(Debug)]
struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
    /// Time after which a silent server is taken for one that hangs.
    watchdog: Option<Duration>,
}

impl Notifier {
    /// Reads the variables that a service manager sets for this process.
    ///
    /// # Errors
    /// They cannot be understood ([`USAGE`]). The manager would wait in vain otherwise.
    pub fn from_environment() -> Result<Self, Failure> {
        Self::from_variables(|name| std::env::var_os(name)).map_err(|error| Failure::new(USAGE, error))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> anyhow::Result<Self> {
        let Some(path) = variable("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else {
            return Ok(Self::default());
        };
        let address = address(&path).with_context(|| format!("NOTIFY_SOCKET = {path:?}"))?;
        let number = |name: &str| match variable(name) {
            Some(text) => {
                let number = text.to_str().and_then(|text| text.parse::<u64>().ok());
                number.map(Some).ok_or_else(|| anyhow!("{name} = {text:?}: must be a whole number"))
            }
            None => Ok(None),
        };
        // The variables may be those of a parent that is watched itself.
        let is_ours = number("WATCHDOG_PID")?.is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog =
            number("WATCHDOG_USEC")?.filter(|time| is_ours && *time > 0).map(Duration::from_micros);
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not stop the server.
        socket.set_nonblocking(true)?;
        Ok(Self(Some(Arc::new(Manager { socket, address, watchdog }))))
    }

    /// Tells that the server is up, or up again after a reload.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// Tells that the server reads its settings again. [`ready`](Self::ready) ends that.
    pub fn reloading(&self) {
        // systemd compares this time, of the same clock, with that of its request.
        let now = clock_gettime(ClockId::Monotonic);
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1_000));
    }

    /// Wraps the future that stops a server: tells that the server is up when it is polled first, which is when the
    /// server accepts connections, then often enough that it is alive, and at the end that it stops. The thread that
    /// accepts connections polls it, so the watchdog notices when that thread hangs.
    ///
    /// # Cancel safety
    /// Dropping the future drops `stop`, and the manager is told nothing more.
    pub async fn around(self, stop: impl Future<Output = StopReason>) -> StopReason {
        self.ready();
        let mut stop = pin!(stop);
        let reason = match self.0.as_ref().and_then(|manager| manager.watchdog) {
            None => stop.await,
            Some(watchdog) => {
                // Half of the time, as systemd advises.
                let mut ticks = interval((watchdog / 2).max(Duration::from_millis(1)));
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    tokio::select! {
                        reason = &mut stop => break reason,
                        _ = ticks.tick() => self.send("WATCHDOG=1"),
                    }
                }
            }
        };
        self.send("STOPPING=1");
        reason
    }

    fn send(&self, text: &str) {
        let Some(manager) = &self.0 else { return };
        if let Err(error) = manager.socket.send_to_addr(text.as_bytes(), &manager.address) {
            tracing::warn!(%error, text, "the service manager cannot be told");
        }
    }
}

/// Reads an address: the path of a socket, or `@` and an abstract name.
fn address(path: &OsStr) -> io::Result<SocketAddr> {
    match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(path),
        _ => Err(io::Error::other("must begin with / or @")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notifier(variables: &[(&str, &str)]) -> anyhow::Result<Notifier> {
        let value = |name: &str| variables.iter().find(|(each, _)| *each == name).map(|(_, value)| value);
        Notifier::from_variables(|name| value(name).map(OsString::from))
    }

    fn watchdog(pid: &str, time: &str) -> Option<Duration> {
        let variables = [("NOTIFY_SOCKET", "@x"), ("WATCHDOG_PID", pid), ("WATCHDOG_USEC", time)];
        notifier(&variables).unwrap().0.unwrap().watchdog
    }

    #[test]
    fn without_a_manager_nothing_is_told_and_wrong_variables_are_mistakes() {
        assert!(notifier(&[("WATCHDOG_USEC", "soon")]).unwrap().0.is_none());
        assert!(notifier(&[("NOTIFY_SOCKET", "")]).unwrap().0.is_none());
        assert!(notifier(&[("NOTIFY_SOCKET", "vsock:2:1234")]).is_err());
        assert!(notifier(&[("NOTIFY_SOCKET", "@x"), ("WATCHDOG_USEC", "soon")]).is_err());
    }

    #[test]
    fn the_watchdog_of_another_process_is_not_ours() {
        let own = std::process::id().to_string();
        assert_eq!(watchdog(&own, "3000000"), Some(Duration::from_secs(3)));
        assert_eq!(watchdog("1", "3000000"), None);
        assert_eq!(watchdog(&own, "0"), None);
    }

    #[tokio::test]
    async fn an_abstract_socket_hears_the_life_of_a_server() {
        let name = format!("throng-test-{}", std::process::id());
        let at = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&at).unwrap();
        manager.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        // Read while the server lives: the system keeps a few messages of such a socket and refuses the others.
        let listening = std::thread::spawn(move || {
            let mut heard = Vec::new();
            while !heard.last().is_some_and(|text: &String| text.starts_with("RELOADING=1")) {
                let mut bytes = [0; 256];
                let length = manager.recv(&mut bytes).unwrap();
                heard.push(String::from_utf8(bytes[..length].to_vec()).unwrap());
            }
            heard
        });
        let notifier =
            notifier(&[("NOTIFY_SOCKET", &format!("@{name}")), ("WATCHDOG_USEC", "2000")]).unwrap();
        let reason = notifier.clone().around(async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            StopReason::Restarting
        });
        assert_eq!(reason.await, StopReason::Restarting);
        notifier.reloading();
        let heard = listening.join().unwrap();
        let [ready, lives @ .., stopping, reloading] = &heard[..] else { panic!("{heard:?}") };
        assert_eq!((ready.as_str(), stopping.as_str()), ("READY=1", "STOPPING=1"));
        assert!(!lives.is_empty() && lives.iter().all(|text| text == "WATCHDOG=1"), "{heard:?}");
        assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    }
}
