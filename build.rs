//! The build script: tells the compiler which commit is built, for `throng --version`.
//!
//! It never fails: without git or a checkout, the version simply has no commit. `BUILD_COMMIT` in the environment names
//! the commit where there is no checkout, such as in a container. Debug builds have none, or each commit would
//! compile everything again.

use std::path::Path;
use std::process::Command;

/// Most characters of a commit.
const MAX_COMMIT: usize = 40;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=BUILD_COMMIT");
    let given = std::env::var("BUILD_COMMIT").ok();
    let commit = given.or_else(|| if is_release() { commit_of_checkout() } else { None });
    // A wrong value must not become a line of the compiler's.
    let is_commit = |text: &String| {
        (1..=MAX_COMMIT).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    if let Some(commit) = commit.filter(is_commit) {
        // `cargo run` gives it to the program, too, for which a variable that begins with THRONG_ is a setting.
        println!("cargo::rustc-env=BUILD_COMMIT={commit}");
    }
}

/// Returns whether the profile is `release` or inherits from it.
fn is_release() -> bool {
    std::env::var("PROFILE").is_ok_and(|profile| profile == "release")
}

/// Returns the commit of the checkout, and lets cargo run this again when there is another.
fn commit_of_checkout() -> Option<String> {
    let root = std::env::var("CARGO_MANIFEST_DIR").ok()?;
    // Without this, git would look in the folders above and find another project.
    if !Path::new(&root).join(".git").exists() {
        return None;
    }
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(&root).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    // Every commit and checkout adds a line to the second file. A file that does not exist would always run this.
    for name in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", name])?;
        let path = Path::new(&root).join(path);
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}
