//! Writes results: as a table or as JSON to standard output, and to files.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use super::arguments::Output;

/// Returns the path if it is that of a file, and not `-` for standard output.
fn file(path: &Path) -> Option<&Path> {
    (path != Path::new("-")).then_some(path)
}

/// Checks before a run that its results can be written after it. Files that exist stay as they are.
///
/// # Errors
/// A file cannot be written; the error names it.
pub(super) fn check(output: &Output) -> anyhow::Result<()> {
    let json = output.json.as_deref().and_then(file);
    for path in json.into_iter().chain(output.report.as_deref()) {
        try_open(path).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn try_open(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        // The reader of a pipe would see its end.
        Ok(it) if !it.is_file() && !it.is_dir() => Ok(()),
        Ok(_) => OpenOptions::new().append(true).open(path).map(drop),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            match OpenOptions::new().write(true).create_new(true).open(path) {
                Ok(_) => fs::remove_file(path),
                // It is a link to a file that does not exist yet.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

/// Writes a result: as a table to standard output, or as JSON there or to a file, and as a page to a file.
pub(super) fn write(
    result: &impl Serialize,
    text: impl Fn() -> String,
    page: impl Fn() -> String,
    output: &Output,
) -> anyhow::Result<()> {
    let json = || simd_json::serde::to_string(result).context("cannot write the result as JSON");
    let mut stdout = io::stdout().lock();
    match output.json.as_deref() {
        Some(path) if file(path).is_none() => writeln!(stdout, "{}", json()?)?,
        path => {
            write!(stdout, "{}", text())?;
            if let Some(path) = path {
                save(path, &format!("{}\n", json()?))?;
            }
        }
    }
    output.report.as_deref().map_or(Ok(()), |path| save(path, &page()))
}

fn save(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
