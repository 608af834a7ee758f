//! The guarantees of `throng.v1` under faults: clients are cut off at any byte, resume from any position, send messages
//! twice and do not read. Also a mixed load of many rooms. With `THRONG_LONG=1` the tests run for minutes,
//! and the mixed load for as many seconds as `THRONG_MIXED_SECONDS` says.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::task::{LocalSet, spawn_blocking};

use crate::support::checker::{Counts, Report};
use crate::support::fake::{self, FAULTS, Fault};
use crate::support::server::{Server, Settings};
use crate::support::swarm::{Swarm, World};
use crate::support::{PATIENCE, sized};

const MIB: f64 = 1024.0 * 1024.0;

/// Short histories and queues, so that positions are lost and laggards are dropped within a test.
const HARSH: Settings<'static> = &[
    ("workers", "2"),
    ("chat.duplicate", "allow"),
    ("history.messages", "64"),
    ("queue.max_messages", "128"),
    ("socket.send_buffer", "4KiB"),
    ("presence.interval", "1s"),
];

const STORM: World = World {
    clients: 40,
    per_user: 2,
    rooms: 7,
    rooms_each: 4,
    at_once: 16,
    cuts: 80,
    stalls: 20,
    moves: 100,
    asks: 120,
    keyed: 50,
    is_lossy: false,
    is_durable: false,
    round: 0,
};

/// Returns whether a load lasts at a step: for a number of steps, or for a time with `THRONG_LONG=1`.
fn lasts(steps: usize, long: Duration) -> impl Fn(usize) -> bool {
    let is_long = sized(0, 1) == 1;
    let deadline = Instant::now() + long;
    move |done| if is_long { Instant::now() < deadline } else { done < steps }
}

/// Runs a load against the tests' own server, which breaks a promise; returns the counts and the report.
async fn storm_over(fault: Fault) -> (Counts, Report) {
    let address = fake::serve(fault).await;
    let mut swarm = Swarm::gather(vec![address], STORM, 3).await;
    for _ in 0..1500 {
        if swarm.is_broken() {
            break;
        }
        swarm.step().await;
    }
    swarm.finish().await
}

#[tokio::test]
async fn the_judge_finds_a_server_that_breaks_a_promise() {
    let all = async {
        let (counts, report) = storm_over(Fault::Nothing).await;
        println!("{counts:?}");
        report.expect_clean();
        for fault in FAULTS {
            let (_, report) = storm_over(fault).await;
            let first = report.violations.first().unwrap_or_else(|| panic!("{fault:?} was not noticed"));
            println!("{fault:?}: {first}");
        }
    };
    LocalSet::new().run_until(all).await;
}

/// The judge must also find the real server when it breaks one promise on purpose.
#[cfg(feature = "fault-injection")]
#[tokio::test]
async fn the_judge_finds_the_real_server_when_it_breaks_a_promise() {
    let all = async {
        for fault in ["skip-offset", "drop-dedupe", "ignore-epoch", "forget-leave", "forget-private-key"] {
            let broken = format!("BREAK_THRONG={fault}");
            let server = Server::launch(&["env", &broken], "127.0.0.1:0", HARSH);
            let mut swarm = Swarm::gather(server.addresses(), STORM, 7).await;
            for _ in 0..3000 {
                if swarm.is_broken() {
                    break;
                }
                swarm.step().await;
            }
            let (_, report) = swarm.finish().await;
            let first = report.violations.first().unwrap_or_else(|| panic!("{fault} was not noticed"));
            println!("{fault}: {first}");
        }
    };
    LocalSet::new().run_until(all).await;
}

async fn storm(settings: Settings<'_>, world: World, steps: usize) -> Counts {
    let server = Server::start(settings);
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut swarm = Swarm::gather(server.addresses(), world, seed).await;
    let (goes_on, mut done) = (lasts(steps, Duration::from_secs(30)), 0);
    while goes_on(done) && !swarm.is_broken() {
        swarm.step().await;
        done += 1;
    }
    let (counts, report) = swarm.finish().await;
    println!("{done} steps, {counts:?}");
    report.expect_clean();
    // Without these events the test proves nothing.
    for (what, count) in [
        ("recovered", counts.recovered),
        ("not recovered", counts.not_recovered),
        ("duplicates", counts.duplicates),
    ] {
        assert!(count > 0, "nothing was {what} in {counts:?}");
    }
    counts
}

#[tokio::test]
async fn the_guarantees_hold_whenever_connections_break() {
    LocalSet::new().run_until(storm(HARSH, STORM, 2500)).await;
}

#[tokio::test]
async fn the_guarantees_hold_where_messages_are_dropped() {
    let mut counts = Counts::default();
    for policy in ["drop_oldest", "drop_newest"] {
        let settings = [HARSH, &[("queue.policy", policy), ("queue.max_messages", "8")]].concat();
        let world = World { is_lossy: true, stalls: 15, ..STORM };
        counts.add(LocalSet::new().run_until(storm(&settings, world, 1500)).await);
    }
    assert!(counts.gaps > 0, "nothing was dropped: {counts:?}");
}

#[tokio::test]
async fn after_a_restart_every_client_learns_that_its_position_is_lost() {
    let restarts = async {
        let mut server = Server::start(HARSH);
        let mut swarm = Swarm::gather(server.addresses(), STORM, 1).await;
        for _ in 0..sized(2, 20) {
            for _ in 0..400 {
                swarm.step().await;
            }
            swarm.pause().await;
            // Dropping the old server kills it while commands are under way.
            server = Server::start(HARSH);
            swarm.move_to(server.addresses());
        }
        let (counts, report) = swarm.finish().await;
        report.expect_clean();
        assert!(counts.not_recovered > 0, "{counts:?}");
    };
    LocalSet::new().run_until(restarts).await;
}

/// Returns settings under which rooms keep every message of the test, in the folder `dir` if there is one.
fn kept(dir: Option<&Path>) -> Vec<(&'static str, String)> {
    let mut settings: Vec<_> = HARSH.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    settings.extend(
        [
            ("history.messages", "1000000"),
            ("history.bytes", "64MiB"),
            ("history.ttl", "1d"),
            ("drain.window", "300ms"),
        ]
        .map(|(key, value)| (key, value.to_owned())),
    );
    settings.extend(dir.map(|dir| ("history.dir", dir.to_str().expect("UTF-8").to_owned())));
    settings
}

/// The way in which a server is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// SIGKILL, with commands under way.
    Kill,
    /// SIGTERM: clients get a close, and the log is closed.
    Terminate,
    /// SIGKILL, and then the loss of half of the log, which the judge must notice.
    KillAndCut,
}

/// Ends the server and starts it again with the files it has left.
fn start_again(
    mut server: Server,
    how: Stop,
    settings: &[(&'static str, String)],
    dir: Option<&Path>,
) -> Server {
    if how == Stop::Terminate {
        server.terminate();
        let status = server.wait_exit(PATIENCE);
        assert!(status.success(), "{status}");
    }
    drop(server);
    if how == Stop::KillAndCut {
        for entry in std::fs::read_dir(dir.expect("a folder")).expect("files") {
            let file =
                std::fs::OpenOptions::new().write(true).open(entry.expect("a file").path()).expect("a file");
            let length = file.metadata().expect("a length").len();
            file.set_len(length / 2).expect("shorter");
        }
    }
    let settings: Vec<_> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
    Server::start(&settings)
}

/// Runs a load in which the server is ended several times, in the ways of `stops` in turn, after `steps` each.
async fn restarts(dir: Option<&Path>, stops: &[Stop], rounds: usize, steps: usize) -> (Counts, Report) {
    let settings = kept(dir);
    let started: Vec<_> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let mut server = Server::start(&started);
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut swarm = Swarm::gather(server.addresses(), World { is_durable: true, ..STORM }, seed).await;
    for round in 0..rounds {
        for _ in 0..steps {
            swarm.step().await;
        }
        if swarm.is_broken() {
            break;
        }
        // The clients do not wait for the restart: they send, resume and retry while the server is gone.
        let (how, settings, dir) = (stops[round % stops.len()], settings.clone(), dir.map(Path::to_owned));
        let mut starting = spawn_blocking(move || start_again(server, how, &settings, dir.as_deref()));
        server = loop {
            tokio::select! {
                biased;
                started = &mut starting => break started.expect("a server"),
                () = swarm.step() => {}
            }
        };
        swarm.move_to(server.addresses());
    }
    for _ in 0..steps {
        swarm.step().await;
    }
    swarm.finish().await
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_however_a_server_with_a_log_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("history");
    let (stops, rounds) = if sized(0, 1) == 1 {
        (&[Stop::Kill, Stop::Terminate, Stop::Kill][..], 60)
    } else {
        (&[Stop::Kill][..], 1)
    };
    let (counts, report) =
        LocalSet::new().run_until(restarts(Some(&dir), stops, rounds, sized(500, 2000))).await;
    println!("{counts:?}");
    report.expect_clean();
    assert!(counts.recovered > 0 && counts.duplicates > 0, "{counts:?}");
}

#[tokio::test]
async fn the_judge_finds_a_server_that_forgets() {
    // Without a log the server forgets everything, and with half of one it has lost messages.
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("history");
    for (dir, how) in [(None, Stop::Kill), (Some(&*dir), Stop::KillAndCut)] {
        let (_, report) = LocalSet::new().run_until(restarts(dir, &[how], 1, 300)).await;
        let first = report.violations.first().unwrap_or_else(|| panic!("{how:?} was not noticed"));
        println!("{how:?}, {}: {first}", dir.is_some());
    }
}

/// Returns the slope of the line through `samples` by least squares, per second of time.
fn slope(samples: &[(f64, f64)]) -> f64 {
    let count = samples.len() as f64;
    let mean = |part: fn(&(f64, f64)) -> f64| samples.iter().map(part).sum::<f64>() / count;
    let (x, y) = (mean(|sample| sample.0), mean(|sample| sample.1));
    let covariance: f64 = samples.iter().map(|sample| (sample.0 - x) * (sample.1 - y)).sum();
    let variance: f64 = samples.iter().map(|sample| (sample.0 - x).powi(2)).sum();
    covariance / variance
}

#[test]
fn the_slope_of_a_line_is_computed_right() {
    let samples: Vec<_> = (0..9).map(|n| (f64::from(n), 5.0 + 3.0 * f64::from(n))).collect();
    assert!((slope(&samples) - 3.0).abs() < 1e-9);
}

/// Returns the world of the mixed load: most clients publish, some come and go, few are cut off.
fn mixed_world() -> World {
    World {
        // So few that each is told something within seconds, also on a busy machine: a client that retries after
        // minutes would find its key forgotten.
        clients: sized(300, 2_000),
        per_user: 1,
        rooms: sized(30, 200),
        rooms_each: 3,
        at_once: 32,
        cuts: 5,
        stalls: 0,
        moves: 20,
        asks: 75,
        keyed: 0,
        is_lossy: false,
        is_durable: false,
        round: 0,
    }
}

/// Returns the time of the mixed load in long runs: two minutes, or as many seconds as `THRONG_MIXED_SECONDS` says.
fn mixed_time() -> Duration {
    let seconds = std::env::var("THRONG_MIXED_SECONDS").map_or(120, |text| text.parse().expect("a number"));
    Duration::from_secs(seconds)
}

/// Longest time of one swarm, because its judge keeps all that was said.
const SWARM_TIME: Duration = Duration::from_secs(600);

/// Runs the mixed load, one swarm after another in rooms of its own; returns resident bytes by the second since it
/// began.
async fn mixed_load(server: &Server) -> Vec<(f64, f64)> {
    let (began, mut samples) = (Instant::now(), Vec::new());
    let goes_on = lasts(5000, mixed_time());
    // In long runs the clients of one thread keep up with what they are sent, also beside other work of the machine.
    let pause = Duration::from_millis(sized(0, 2) as u64);
    let mut done = 0;
    for round in 0.. {
        let mut swarm = Swarm::gather(server.addresses(), World { round, ..mixed_world() }, 4).await;
        let gathered = Instant::now();
        while goes_on(done) && gathered.elapsed() < SWARM_TIME && !swarm.is_broken() {
            swarm.step().await;
            if pause > Duration::ZERO {
                tokio::time::sleep(pause).await;
            }
            done += 1;
            let seconds = began.elapsed().as_secs_f64();
            if samples.last().is_none_or(|(last, _)| seconds >= last + 1.0) {
                samples.push((seconds, server.rss() as f64));
            }
        }
        let (counts, report) = swarm.finish().await;
        let mib = server.rss() as f64 / MIB;
        println!("{:.0} s, {done} steps, {mib:.1} MiB, {counts:?}", began.elapsed().as_secs_f64());
        report.expect_clean();
        if !goes_on(done) {
            break;
        }
    }
    samples
}

#[tokio::test]
async fn a_mixed_load_does_not_grow_memory() {
    // The histories are so short that they are full before the second half, in which growth is measured.
    // Rooms of an earlier swarm are forgotten soon.
    let settings = [
        ("workers", "2"),
        ("history.messages", "8"),
        ("history.ttl", "30s"),
        ("queue.max_age", "60s"),
        ("heartbeat.timeout", "60s"),
        ("limits.max_connections", "18000"),
    ];
    let server = Server::start(&settings);
    let samples = LocalSet::new().run_until(mixed_load(&server)).await;
    let half: Vec<_> = samples.iter().skip(samples.len() / 2).copied().collect();
    if half.len() < 30 {
        return;
    }
    let (first, last) = (half[0].0, half[half.len() - 1].0);
    let (growth, size) =
        (slope(&half) * (last - first), half.iter().map(|sample| sample.1).sum::<f64>() / half.len() as f64);
    let minutes = (last - first) / 60.0;
    println!("resident size {:.1} MiB, {:+.2} MiB in {minutes:.1} minutes", size / MIB, growth / MIB);
    // The bound is the same for a minute and for hours: a size that is flat does not depend on the time.
    let allowed = (size * 0.02).max(2.0 * MIB);
    assert!(growth < allowed, "grows by {:.2} MiB, {:.2} are allowed", growth / MIB, allowed / MIB);
}
