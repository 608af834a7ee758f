//! The file of a Unix socket: made for a server, left alone while another one listens there, and removed at the end.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use socket2::{Domain, SockAddr, Socket, Type};

/// The file of a bound socket, which is removed with this value, unless another file is in its place.
///
/// To be dropped before the socket: while that listens, no other server replaces the file, whose number could be given
/// to the next one.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and number of the file.
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            // It may be gone already, or the folder may have become read-only: the next server replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Binds a socket to a path, and gives its file the permissions `mode`. Nobody can connect before the socket listens,
/// so that nobody connects with other permissions. A file that a dead server has left is replaced.
///
/// # Errors
/// A server listens there, there is something else than a socket, or the folder cannot be written to.
pub(super) fn bind(path: &Path, mode: u32) -> io::Result<(Socket, SocketFile)> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            check_dead(path, &address)?;
            fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        bound => bound?,
    }
    let file = SocketFile { path: path.to_owned(), identity: identity(path)? };
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok((socket, file))
}

/// Checks whether a socket could be bound to a path, and changes nothing.
///
/// # Errors
/// Those of [`bind`].
pub(super) fn check(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok() {
        check_dead(path, &SockAddr::unix(path)?)?;
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
}

/// Checks that the file at a path is a socket at which nobody listens.
fn check_dead(path: &Path, address: &SockAddr) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "there is a file that is no socket"));
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    match probe.connect(address) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        // Otherwise somebody listens, or that is not known.
        _ => Err(ErrorKind::AddrInUse.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_if_nobody_listens_and_removed_if_it_is_still_the_own_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        check(&path).unwrap();
        let (first, first_file) = bind(&path, 0o640).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
        first.listen(1).unwrap();
        assert_eq!(bind(&path, 0o640).unwrap_err().kind(), ErrorKind::AddrInUse);
        assert_eq!(check(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
        // A killed server leaves its file behind. Its number is not given away while the file has another name.
        drop(first);
        fs::hard_link(&path, folder.path().join("other")).unwrap();
        check(&path).unwrap();
        let (_second, second_file) = bind(&path, 0o600).unwrap();
        drop(first_file);
        assert!(path.exists(), "it is the second one's");
        drop(second_file);
        assert!(!path.exists());
    }

    #[test]
    fn nothing_but_a_socket_is_ever_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes");
        fs::write(&path, "kept").unwrap();
        for error in [bind(&path, 0o600).map(drop).unwrap_err(), check(&path).unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
        let missing = folder.path().join("none/socket");
        assert_eq!(bind(&missing, 0o600).map(drop).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(check(&missing).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
