//! Standard input and output, each with a thread of its own, because reading and writing them may block for ever.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::thread;

use tokio::sync::{mpsc, oneshot};

/// Longest line that is read, in bytes: far more than a server accepts with its default limits.
const MAX_LINE: u64 = 64 * 1024;
/// Most lines that are read ahead.
const READ_AHEAD: usize = 16;
/// Most lines that wait to be written. When the queue is full, the chat waits and does not read its events; the client
/// handles that.
const WRITE_QUEUE: usize = 256;

/// A line of standard input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum InputLine {
    /// The line without its end. Bytes that are not UTF-8 are replaced.
    Line(String),
    /// The line was longer than 64 KiB and was skipped.
    TooLong,
}

/// The lines of standard input.
pub(super) struct InputLines(mpsc::Receiver<io::Result<InputLine>>);

impl InputLines {
    /// Starts a thread that reads lines until the input ends. It may outlive this value, because a blocking read cannot
    /// be interrupted; it ends with the process.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub(super) fn read(input: impl Read + Send + 'static) -> io::Result<Self> {
        let (sender, lines) = mpsc::channel(READ_AHEAD);
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

    /// Waits for the next line and returns it, or `None` at the end of the input.
    ///
    /// # Cancel safety
    /// Cancel safe: no line is lost.
    pub(super) async fn next(&mut self) -> io::Result<Option<InputLine>> {
        self.0.recv().await.transpose()
    }
}

fn next_line(input: &mut impl BufRead) -> io::Result<Option<InputLine>> {
    let mut line = Vec::new();
    if input.take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.pop_if(|byte| *byte == b'\n').is_some() || (line.len() as u64) < MAX_LINE {
        return Ok(Some(InputLine::Line(String::from_utf8_lossy(&line).into_owned())));
    }
    input.skip_until(b'\n')?;
    Ok(Some(InputLine::TooLong))
}

/// Writes lines to standard output.
pub(super) struct Printer {
    lines: mpsc::Sender<String>,
    ended: oneshot::Receiver<io::Result<()>>,
}

/// The output cannot be written any more. [`Printer::finish`] says why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OutputClosed;

impl Printer {
    /// Starts a thread that writes lines.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub(super) fn start(mut output: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, mut receiver) = mpsc::channel::<String>(WRITE_QUEUE);
        let (end, ended) = oneshot::channel();
        thread::Builder::new().name("output".into()).spawn(move || {
            let mut write = || {
                while let Some(mut line) = receiver.blocking_recv() {
                    line.push('\n');
                    output.write_all(line.as_bytes())?;
                    // Flushed when no line waits: a reader sees every line at once, and a burst costs one flush.
                    if receiver.is_empty() {
                        output.flush()?;
                    }
                }
                output.flush()
            };
            let result = write();
            drop(receiver);
            // The receiver is gone when the chat ended without `finish`.
            let _ = end.send(result);
        })?;
        Ok(Self { lines, ended })
    }

    /// Queues a line, and waits while the queue is full.
    ///
    /// # Cancel safety
    /// Dropping the future while it waits drops the line.
    pub(super) async fn print(&self, line: String) -> Result<(), OutputClosed> {
        self.lines.send(line).await.map_err(|_| OutputClosed)
    }

    /// Resolves once the output cannot be written any more.
    pub(super) fn closed(&self) -> impl Future<Output = ()> + use<> {
        let lines = self.lines.clone();
        async move { lines.closed().await }
    }

    /// Waits until every line is written. Every future of [`Printer::closed`] must be dropped before. A reader that has
    /// closed the pipe (`| head`) is no error.
    ///
    /// # Errors
    /// The error that writing returned.
    pub(super) async fn finish(self) -> io::Result<()> {
        drop(self.lines);
        match self.ended.await {
            Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            Ok(_) => Ok(()),
            Err(_) => Err(io::Error::other("the output thread has panicked")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_read_whole_and_long_ones_are_skipped() {
        let long = vec![b'x'; MAX_LINE as usize * 3];
        let most = vec![b'y'; MAX_LINE as usize - 1];
        let input = [b"one\r\n\nt\xff\n", &long[..], b"\n", &most, b"\nlast"].concat();
        let mut lines = InputLines::read(io::Cursor::new(input)).expect("a thread");
        let mut seen = Vec::new();
        while let Some(line) = lines.next().await.expect("read") {
            seen.push(line);
        }
        let line = |text: &str| InputLine::Line(text.into());
        let most = String::from_utf8(most).expect("ASCII");
        assert_eq!(
            seen,
            [line("one\r"), line(""), line("t\u{fffd}"), InputLine::TooLong, line(&most), line("last")]
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
    async fn only_a_closed_pipe_is_no_error() {
        for (kind, result) in [
            (io::ErrorKind::BrokenPipe, Ok(())),
            (io::ErrorKind::StorageFull, Err(io::ErrorKind::StorageFull)),
        ] {
            let printer = Printer::start(Broken(kind)).expect("a thread");
            printer.print("line".into()).await.expect("not known yet");
            printer.closed().await;
            assert_eq!(printer.print("line".into()).await, Err(OutputClosed));
            assert_eq!(printer.finish().await.map_err(|error| error.kind()), result);
        }
    }
}
