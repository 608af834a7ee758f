//! `throng bench --ramp`: a rate that rises, and the latency at each rate.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::bench::{SHORT, bench_ok, number, open, take_frame};
use crate::support::server::run;

/// Number of messages after which the server stalls, which is in the second second of the ramp below.
const BEFORE_STALL: usize = 60;
/// Length of the stall: no message arrives in several of the seconds.
const STALL: Duration = Duration::from_secs(4);

#[test]
fn the_rate_rises_evenly_and_every_window_names_it() {
    let load = ["fanout", "-c", "5", "--ramp", "50..250", "--settle", "0", "--workers", "1"];
    let report = bench_ok(&[&load[..], &["--seconds", "2", "--warm-up", "0.2"]].concat());
    assert_eq!(
        number(&report, "/whole_run/sent"),
        10.0 + 2.0 * 150.0,
        "0.2 s of 50/s and a trapeze: {report:#}"
    );
    for (field, value) in [("/ramp/from_per_s", 50.0), ("/ramp/to_per_s", 250.0)] {
        assert_eq!(number(&report, field), value, "{report:#}");
    }
    let windows = report["windows"].as_array().expect("windows");
    let rates: Vec<f64> = windows.iter().map(|it| number(it, "/offered_per_s")).collect();
    assert!(rates.is_sorted() && rates.iter().all(|it| (50.0..=250.0).contains(it)), "{rates:?}");
    assert!((90.0..180.0).contains(&rates[0]), "about 100 in the first second: {rates:?}");
    let steady = bench_ok(&[&["fanout", "-c", "2", "--rate", "50"], SHORT].concat());
    assert!(
        steady.get("ramp").is_none() && steady["windows"][0].get("offered_per_s").is_none(),
        "{steady:#}"
    );
}

/// A server that stalls as the rate rises is out of bounds from there on, however busy this machine is. The messages
/// that were due meanwhile count from when they were due.
#[test]
fn the_rate_at_which_p99_leaves_its_bounds_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let html = folder.path().join("report.html");
    let url = format!("ws://{}/", stalling());
    let load =
        ["echo", "-c", "1", "--ramp", "20..100", "--seconds", "6", "--warm-up", "0.1", "--settle", "0"];
    let report = bench_ok(&[&load[..], &["--url", &url]].concat());
    let rate = number(&report, "/ramp/tenfold_p99_at_per_s");
    assert!((30.0..=90.0).contains(&rate), "{report:#}");
    assert!(number(&report, "/latency_us/max") > 3e6, "{report:#}");
    let files = ["--url", &url, "--report", html.to_str().expect("text")];
    let output = run(&[&["bench"], &load[..], &files].concat(), &[]);
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && table.contains("from 20 to 100 messages/s on schedule"), "{output:?}");
    assert!(table.contains("p99 was first above 10 × the "), "{table}");
    assert!(table.contains(" of the first second, at "), "{table}");
    let page = std::fs::read_to_string(html).expect("a file");
    assert!(
        page.contains("aria-label=\"Latency over offered rate\"") && page.contains(">offered<"),
        "{page}"
    );
}

#[test]
fn a_ramp_that_does_not_rise_is_wrong_usage() {
    for (arguments, part) in [
        (&["--ramp", "5..5"][..], "the lower one first, as in 1000..50000"),
        (&["--ramp", "5..50", "--rate", "5"], "cannot be used with"),
        (&["--ramp", "5..50", "--seconds", "1"], "needs --seconds of at least 2"),
        (&["--ramp", "5..1e9"], "must be at most"),
    ] {
        let output = run(&[&["bench", "fanout"], arguments].concat(), &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(64) && said.contains(part), "{part}: {said}");
    }
}

/// Starts an echo server that stalls once for each client.
fn stalling() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

fn serve(mut stream: TcpStream) -> Option<()> {
    let mut pending = open(&mut stream)?;
    for number in 0.. {
        let (opcode, payload) = take_frame(&mut stream, &mut pending)?;
        if number == BEFORE_STALL {
            // The stall that the load generator must notice.
            std::thread::sleep(STALL);
        }
        stream.write_all(&[&[0x80 | opcode, payload.len() as u8], payload.as_slice()].concat()).ok()?;
    }
    None
}
