//! A chat server inside another program, which stops it with Ctrl-C: `cargo run --example embedded`
//!
//! The program decides where the settings come from, when the server stops, and what happens to its log lines.
use std::error::Error;
use std::thread;

use throng::config::{Config, Sources};
use throng::{Server, StopReason};

fn main() -> Result<(), Box<dyn Error>> {
    // The same keys as in a configuration file. Port 0 lets the system choose a free port; `Sources::file` and
    // `Sources::environment` add the layers that the binary reads.
    let config = Config::load(Sources::new().set("listen=127.0.0.1:0").set("drain.window=1s"))?;

    // From here on clients can connect: they wait in the kernel's queue until the server runs. An address that is in
    // use is an error here, and no surprise later.
    let server = Server::bind(config)?;
    for address in server.addresses() {
        println!("listening on {address}");
    }

    // `run` blocks, so that it gets a thread of its own while the program does something else.
    let running = thread::spawn(move || {
        server.run(async {
            // Any future can stop the server: a signal, a channel, a timer. It runs inside a tokio runtime.
            if let Err(error) = tokio::signal::ctrl_c().await {
                eprintln!("cannot wait for Ctrl-C, stopping: {error}");
            }
            StopReason::GoingAway
        })
    });

    // Every client gets a close frame within `drain.window`; then `run` returns.
    running.join().map_err(|_| "the server panicked")??;
    println!("stopped");
    Ok(())
}
