//! Checks with axe-core, which finds obstacles for people with a screen reader, a keyboard alone or weak eyes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::page::Page;

/// The version is pinned, because new rules must not fail a commit that passed yesterday.
const VERSION: &str = "4.14.1";

/// The sets of rules that are checked. `best-practice` goes beyond the levels A and AA of WCAG 2.2.
const RUN: &str = "const done = arguments[arguments.length - 1];
    const values = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
    axe.run(document, { runOnly: { type: 'tag', values } }).then(
        ({ violations, incomplete, passes }) => done({
            passed: passes.length,
            violations: violations.map((rule) => `${rule.id}: ${rule.help}\\n` + rule.nodes.map((node) =>
                `    ${node.target}: ${node.failureSummary.replaceAll('\\n', ' ')}`).join('\\n')),
        }),
        (error) => done({ passed: 0, violations: [String(error)] }),
    )";

/// Fewest rules that pass on any of the server's pages: fewer mean that the script has looked at an empty page.
const LEAST_PASSED: u64 = 15;

/// Fails with every violation that axe-core finds in the page as it is shown now.
pub(crate) async fn expect_no_violation(page: &Page<'_>, what: &str) {
    let script = std::fs::read_to_string(script()).expect("axe-core");
    page.run(&script, vec![]).await;
    let report = page.run_async(RUN).await;
    let violations: Vec<&str> =
        report["violations"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert!(violations.is_empty(), "{what}:\n{}", violations.join("\n"));
    let passed = report["passed"].as_u64().unwrap_or_default();
    assert!(passed >= LEAST_PASSED, "{what}: only {passed} rules passed");
}

/// Returns the path of axe-core, which npm downloads the first time.
fn script() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("axe-{VERSION}"));
    let script = folder.join("node_modules/axe-core/axe.min.js");
    std::fs::create_dir_all(&folder).expect("a folder in target");
    // One test downloads it, and the others wait.
    let lock = File::create(folder.join("lock")).expect("a file in target");
    lock.lock().expect("a lock");
    if !script.exists() {
        fetch(&folder);
    }
    script
}

fn fetch(folder: &Path) {
    let npm = Command::new("npm")
        .args(["install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"])
        .arg(folder)
        .arg(format!("axe-core@{VERSION}"))
        .output();
    let why = match npm {
        Ok(output) if output.status.success() => return,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => format!("npm does not run ({error}); tests/run installs it"),
    };
    panic!("axe-core {VERSION} is fetched once with npm, which did not work: {why}");
}
