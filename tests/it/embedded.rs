//! A server inside another program, which loads a configuration and does not know the machine.

use std::thread;

use throng::config::{Config, Sources};
use throng::{ReloadError, Server, StopReason};
use tokio::sync::oneshot;

use crate::support::raw::Socket;

#[test]
fn settings_that_depend_on_the_machine_are_filled_in_even_if_some_are_set() {
    let settings = ["listen=127.0.0.1:0", "workers=2", "drain.window=0ms"];
    let sources = settings.into_iter().fold(Sources::new(), Sources::set);
    let server = Server::bind(Config::load(sources).expect("good settings")).expect("a port is free");
    let address = server.local_addr().expect("an IP address");
    let (stop, stopped) = oneshot::channel();
    let running = thread::spawn(move || server.run(async { stopped.await.unwrap_or(StopReason::GoingAway) }));

    // Without `limits.max_connections` the handshake would be refused.
    let mut socket = Socket::open(address, "/ws/chat/ann");
    assert!(socket.read_text().contains("ann"), "the chat greets its member");
    stop.send(StopReason::Restarting).expect("the server runs");
    assert_eq!(socket.read_close().0, 1012);
    running.join().expect("the server does not panic").expect("it runs to its end");
}

#[test]
fn the_program_around_a_server_can_reload_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("throng.toml");
    let write = |user: &str| std::fs::write(&file, format!("[api]\nuser = '{user}'\n")).expect("written");
    write("first");
    let sources = Sources::new().file_at(&file).set("listen=127.0.0.1:0").set("drain.window=0ms");
    let config = Config::load(sources.clone()).expect("good settings");
    let mut server = Server::bind(config).expect("a port is free");
    let (noted, notes) = std::sync::mpsc::sync_channel(9);
    let reloader =
        server.reload_from(sources, move |config| noted.send(config.api.user.clone()).expect("open"));
    assert!(matches!(reloader.reload(), Err(ReloadError::NotRunning)));
    let address = server.local_addr().expect("an IP address");
    let (stop, stopped) = oneshot::channel();
    let running = thread::spawn(move || server.run(async { stopped.await.unwrap_or(StopReason::GoingAway) }));
    let mut socket = Socket::open(address, "/ws/chat/ann");
    assert!(socket.read_text().contains("ann"));

    write("second");
    assert_eq!(reloader.reload().expect("no mistakes").changed, ["api.user"]);
    write("x");
    assert!(matches!(reloader.reload(), Err(ReloadError::Config(errors)) if errors.0.len() == 1));
    assert_eq!(notes.try_iter().collect::<Vec<_>>(), ["second"]);
    stop.send(StopReason::Restarting).expect("the server runs");
    assert_eq!(socket.read_close().0, 1012);
    running.join().expect("the server does not panic").expect("it runs to its end");
    assert!(matches!(reloader.reload(), Err(ReloadError::NotRunning)));
}
