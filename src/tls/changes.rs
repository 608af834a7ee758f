//! Notices that files have changed, by what the system knows of them.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The state of some files at one time. A file that is replaced or written to has another stamp, also one
/// behind a symbolic link that leads elsewhere now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp(Vec<Option<[i64; 5]>>);

impl Stamp {
    /// Looks at the files. A file that cannot be looked at has a stamp, too. Blocks for as long as the system needs.
    #[must_use]
    pub fn of<'a>(files: impl IntoIterator<Item = &'a Path>) -> Self {
        let stamp = |path: &Path| {
            let file = std::fs::metadata(path).ok()?;
            let (size, inode) = (file.size().cast_signed(), file.ino().cast_signed());
            Some([file.mtime(), file.mtime_nsec(), file.ctime_nsec(), size, inode])
        };
        Self(files.into_iter().map(stamp).collect())
    }
}
