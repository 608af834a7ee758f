use clap::Parser;

use super::super::arguments::{Arguments, Command};
use super::super::ramp::Ramp;
use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    bench: Arguments,
}

const URL: &str = "ws://127.0.0.1:9/ws/chat/u{i}?room={r}";

fn scenario(arguments: &[&str]) -> anyhow::Result<Scenario> {
    match Line::try_parse_from(["bench"].iter().chain(arguments))?.bench.command {
        Command::Run(scenario) => Ok(*scenario),
        Command::Compare(_) => anyhow::bail!("not a scenario"),
    }
}

fn planned(arguments: &[&str]) -> anyhow::Result<Plan> {
    plan(&scenario(arguments)?, URL, None)
}

#[test]
fn every_scenario_has_a_plan_by_default_and_every_wrong_value_is_refused() {
    for scenario in ["fanout", "rooms", "connect", "idle", "slow", "storm", "echo"] {
        let plan = planned(&[scenario]).expect(scenario);
        assert_eq!(plan.scenario, scenario);
        assert_eq!(plan.connections, if scenario == "echo" { 100 } else { 1_000 });
        let in_flight = match scenario {
            "fanout" => 32,
            "slow" => 8,
            _ => 1,
        };
        assert_eq!(plan.pace, Pace::InFlight(in_flight), "{scenario}");
    }
    let few = planned(&["echo", "-c", "7", "--in-flight", "5"]).expect("a plan");
    assert_eq!((few.connections, few.publishers, few.pace), (7, 7, Pace::InFlight(5)));
    for wrong in [
        &["fanout", "--connections", "0"][..],
        &["fanout", "--connections", "10", "--publishers", "11"],
        &["fanout", "--size", "20"],
        &["fanout", "--template", "nothing to fill in"],
        &["fanout", "--template", "{\"a#\":\"%s\"}"],
        &["fanout", "--mark", "a"],
        &["fanout", "--mark", "ä"],
        &["fanout", "--rate", "0"],
        &["fanout", "--rate", "NaN"],
        &["fanout", "--rate", "5", "--in-flight", "1"],
        &["fanout", "--ramp", "5..5"],
        &["fanout", "--ramp", "1..1e9"],
        &["fanout", "--ramp", "1..5", "--seconds", "1"],
        &["fanout", "--ramp", "1..5", "--rate", "5"],
        &["fanout", "--in-flight", "0"],
        &["fanout", "--seconds", "0"],
        &["fanout", "--seconds", "-1"],
        &["fanout", "--warm-up", "1e9"],
        &["fanout", "--sample", "0"],
        &["fanout", "--concurrency", "0"],
        &["fanout", "--spawn", "--url", URL],
        &["fanout", "--url", URL, "--workers", "1"],
        &["fanout", "--connections", "100000000"],
        &["rooms", "--connections", "10", "--rooms", "11"],
        &["rooms", "--rooms", "0"],
        &["slow", "--stall", "100"],
        &["slow", "--connections", "10", "--publishers", "10"],
        &["storm", "--rounds", "0"],
        &["idle", "--hold", "-1"],
        &["nothing"],
        &[],
    ] {
        assert!(planned(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn publishers_sit_in_every_room_and_a_share_is_rounded() {
    let plan = planned(&["rooms", "--connections", "20", "--rooms", "5"]).expect("a plan");
    assert_eq!((plan.publishers, (0..5).map(|i| plan.room(i)).collect::<Vec<_>>()), (5, vec![0, 1, 2, 3, 4]));
    let slow = planned(&["slow", "--connections", "25", "--stall", "10"]).expect("a plan");
    assert_eq!(slow.workload, Workload::Traffic { stalled: 3 });
    let rising = planned(&["echo", "--ramp", "10..1000"]).expect("a plan");
    assert_eq!(rising.pace, Pace::Ramp(Ramp { from: 10.0, to: 1_000.0 }));
    let open = planned(&["echo", "--rate", "1000"]).expect("a plan");
    assert_eq!(
        (open.pace, open.publishers, open.receivers),
        (Pace::PerSecond(1000.0), 100, Receivers::Publisher)
    );
}

/// The options about certificates are for the server that has one.
#[test]
fn a_server_with_tls_is_compared_with_one_without() {
    let both = ["connect", "--insecure", "--url", "a=ws://127.0.0.1:9/", "--url", "b=wss://127.0.0.1:8/"];
    let both = scenario(&both).expect("a line");
    let tls = |url| plan(&both, url, None).expect("a plan").target.tls.is_some();
    assert_eq!((tls("ws://127.0.0.1:9/"), tls("wss://127.0.0.1:8/")), (false, true));
    assert!(planned(&["connect", "--insecure", "--url", URL]).is_err(), "there is nothing to trust");
}

#[test]
fn settings_of_the_command_line_come_last() {
    let scenario = scenario(&["fanout", "--size", "5000", "--set", "log.level=warn"]).expect("a line");
    let settings = server_settings(&scenario).expect("settings");
    assert_eq!(settings.last().map(String::as_str), Some("log.level=warn"));
    assert!(settings.contains(&"chat.max_message_chars=10000".into()), "{settings:?}");
}
