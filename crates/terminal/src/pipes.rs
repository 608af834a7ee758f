//! Standard input and output, each with a thread of its own: reading and writing them may block for ever.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::thread;

use tokio::sync::{mpsc, oneshot};

/// Longest line that is read, in bytes: far more than a server takes, unless its limits were raised very much.
const MAX_LINE: u64 = 64 * 1024;
/// Lines that are read ahead.
const AHEAD: usize = 16;
/// Lines that wait to be written. When they are full, the chat stands still, which the client has an answer to.
const BEHIND: usize = 256;

/// A line of the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// Without its end; what is not UTF-8 is replaced.
    Line(String),
    /// It was longer than 64 KiB, and is gone.
    TooLong,
}

/// Lines as they come.
pub(super) struct Lines(mpsc::Receiver<io::Result<Typed>>);

impl Lines {
    /// Begins to read. The thread goes when the input ends, or with the process.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub(super) fn read(input: impl Read + Send + 'static) -> io::Result<Self> {
        let (sender, lines) = mpsc::channel(AHEAD);
        thread::Builder::new().name("input".into()).spawn(move || {
            let mut input = BufReader::new(input);
            while let Some(line) = next_line(&mut input).transpose() {
                let is_last = line.is_err();
                if sender.blocking_send(line).is_err() || is_last {
                    return;
                }
            }
        })?;
        Ok(Self(lines))
    }

    /// The next line; `None` at the end of the input.
    ///
    /// # Cancel safety
    /// Cancel safe: no line is lost.
    pub(super) async fn next(&mut self) -> io::Result<Option<Typed>> {
        self.0.recv().await.transpose()
    }
}

fn next_line(input: &mut impl BufRead) -> io::Result<Option<Typed>> {
    let mut line = Vec::new();
    if input.take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.pop_if(|byte| *byte == b'\n').is_some() || (line.len() as u64) < MAX_LINE {
        return Ok(Some(Typed::Line(String::from_utf8_lossy(&line).into_owned())));
    }
    input.skip_until(b'\n')?;
    Ok(Some(Typed::TooLong))
}

/// Writes lines.
pub(super) struct Printer {
    lines: mpsc::Sender<String>,
    ended: oneshot::Receiver<io::Result<()>>,
}

/// Nothing can be written any more; [`Printer::finish`] says why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Closed;

impl Printer {
    /// Begins to write.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub(super) fn start(mut output: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, mut receiver) = mpsc::channel::<String>(BEHIND);
        let (end, ended) = oneshot::channel();
        thread::Builder::new().name("output".into()).spawn(move || {
            let mut write = || {
                while let Some(mut line) = receiver.blocking_recv() {
                    line.push('\n');
                    output.write_all(line.as_bytes())?;
                    // Whoever reads along sees every line; a burst is written as one.
                    if receiver.is_empty() {
                        output.flush()?;
                    }
                }
                output.flush()
            };
            let result = write();
            drop(receiver);
            // Nobody there: then nobody wants to know.
            let _ = end.send(result);
        })?;
        Ok(Self { lines, ended })
    }

    /// Hands a line over, waiting for space.
    ///
    /// # Cancel safety
    /// When it is dropped while it waits, the line is not written.
    pub(super) async fn print(&self, line: String) -> Result<(), Closed> {
        self.lines.send(line).await.map_err(|_| Closed)
    }

    /// Resolves when nothing can be written any more, though nobody tries.
    pub(super) fn gone(&self) -> impl Future<Output = ()> + use<> {
        let lines = self.lines.clone();
        async move { lines.closed().await }
    }

    /// Waits until everything is written; every [`Printer::gone`] must be dropped before. Somebody who has read enough
    /// (`| head`) is no error.
    ///
    /// # Errors
    /// What writing met.
    pub(super) async fn finish(self) -> io::Result<()> {
        drop(self.lines);
        match self.ended.await {
            Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            Ok(_) => Ok(()),
            Err(_) => Err(io::Error::other("the thread that writes is gone")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_come_whole_and_long_ones_are_skipped() {
        let long = vec![b'x'; MAX_LINE as usize * 3];
        let most = vec![b'y'; MAX_LINE as usize - 1];
        let input = [b"one\r\n\nt\xff\n", &long[..], b"\n", &most, b"\nlast"].concat();
        let mut lines = Lines::read(io::Cursor::new(input)).expect("a thread");
        let mut seen = Vec::new();
        while let Some(line) = lines.next().await.expect("read") {
            seen.push(line);
        }
        let line = |text: &str| Typed::Line(text.into());
        let most = String::from_utf8(most).expect("ASCII");
        assert_eq!(
            seen,
            [line("one\r"), line(""), line("t\u{fffd}"), Typed::TooLong, line(&most), line("last")]
        );
    }

    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_reader_who_has_seen_enough_is_no_error_and_others_are() {
        for (kind, result) in [
            (io::ErrorKind::BrokenPipe, Ok(())),
            (io::ErrorKind::StorageFull, Err(io::ErrorKind::StorageFull)),
        ] {
            let printer = Printer::start(Broken(kind)).expect("a thread");
            printer.print("line".into()).await.expect("not known yet");
            printer.gone().await;
            assert_eq!(printer.print("line".into()).await, Err(Closed));
            assert_eq!(printer.finish().await.map_err(|error| error.kind()), result);
        }
    }
}
