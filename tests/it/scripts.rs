//! The scripts that measure and draw for the manual, as far as a moment can try them.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::{binary, sized};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn python(arguments: &[&str]) -> Output {
    let output = Command::new("python3").args(arguments).current_dir(ROOT).output();
    output.unwrap_or_else(|error| panic!("python3: {error}; tests/run installs it"))
}

/// The command either finds everything or names each package that is missing. With `THRONG_LONG=1` the servers whose
/// packages are there are measured for a moment.
#[test]
fn the_comparison_finds_its_servers_or_says_what_is_missing() {
    let script = "benches/peers/run.py";
    for peer in ["throng", "gorilla", "ws", "socketio", "fastapi"] {
        let server = binary();
        let output = python(&[script, "--check", "--server", &server, peer]);
        let (said, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let is_whole = match output.status.code() {
            Some(0) => said == "nothing is missing\n",
            Some(69) => peer != "throng" && said.lines().all(|line| line.starts_with("missing: ")),
            _ => false,
        };
        assert!(is_whole && errors.is_empty(), "{peer}: {:?}: {said}{errors}", output.status);
        assert!(!said.contains("its source"), "{said}");
        if sized(0, 1) == 1 && output.status.success() {
            let quick =
                ["--rounds", "1", "--seconds", "1", "--connections", "50", "--idle", "50", "--rate", "5"];
            let output = python(&[&[script, "--server", &server], &quick[..], &[peer]].concat());
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{peer}: {errors}");
        }
    }
    for (wrong, why) in [("nobody", "there are only"), ("--write", "name none with --write")] {
        let output = python(&[script, "throng", wrong]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && errors.contains(why), "{wrong}: {errors}");
    }
}

/// The recording of the README draws what the terminal shows, or nothing: a sequence that it does not know ends it.
#[test]
fn the_recording_knows_every_sequence_that_it_draws() {
    let draw = |written: &str| {
        let program = "import sys; sys.dont_write_bytecode = True; sys.path.insert(0, 'docs/pictures')\n\
                       from screen import Screen; import svg\n\
                       screen = Screen(12, 2); [screen.feed(part) for part in sys.argv[1].split('|')]\n\
                       print(screen.text()); print(''.join(map(svg.drawn, screen.cells)))";
        python(&["-c", program, written])
    };
    let output = draw("$ a\r\n\x1b[1;7m b\x1b[0m \x1b[|38;5;2mc\x1b[2;7H\x1b[22;39m千<\x1b[?25h");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let drawn = said.strip_prefix("$ a\n b c  千<\n").unwrap_or_else(|| panic!("{said:?} {errors}"));
    for part in
        [">$ a</text>", " class=\"b\" fill=\"#16181d\">b</text>", "fill=\"#57c98b\">c<", ">千<", ">&lt;<"]
    {
        assert!(drawn.contains(part), "{part} in {drawn}");
    }
    for unknown in ["\x1b[4m", "\x1b[41m", "\x1b[3J", "\x1b]0;title\x07", "\x1b[?7h", "\x07"] {
        let output = draw(unknown);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.starts_with("unknown "), "{unknown:?}: {errors}");
    }
    assert!(Path::new(ROOT).join("docs/pictures/terminal.svg").is_file());
}
