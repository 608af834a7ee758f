//! A client of Redis for the rig: one command on one connection, in RESP2. It shares no code with the server.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait for a connection and for each read. A server that sleeps or is stopped answers later or never.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Longest bulk string that is read. The rig asks for names and numbers.
const MAX_BULK: usize = 16 << 20;

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Nil,
    Int(i64),
    Text(String),
    List(Vec<Reply>),
    /// An error of the server, which begins with its code: `MOVED 1 127.0.0.1:7000`.
    Error(String),
}

impl Reply {
    /// Returns the text of a simple or bulk string; empty for any other reply.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }

    /// Returns the elements of a list; none for any other reply.
    pub(crate) fn list(&self) -> &[Self] {
        match self {
            Self::List(list) => list,
            _ => &[],
        }
    }

    /// Returns the texts of a list.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.list().iter().map(|item| item.text().to_owned()).collect()
    }
}

/// Sends a command on a new connection and returns its reply.
pub(crate) fn call(address: SocketAddr, words: &[&str]) -> io::Result<Reply> {
    let mut stream = send(address, words)?;
    read(&mut BufReader::new(&mut stream))
}

/// Sends a command on a new connection and does not wait for its reply. The command is carried out as long as the
/// connection that is returned lives.
pub(crate) fn send(address: SocketAddr, words: &[&str]) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    stream.write_all(&bytes)?;
    Ok(stream)
}

fn invalid(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no RESP2: {line:?}"))
}

fn read(from: &mut impl BufRead) -> io::Result<Reply> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let line = line.trim_end();
    let (kind, rest) = line.split_at_checked(1).ok_or_else(|| invalid(line))?;
    let number = || rest.parse::<i64>().map_err(|_| invalid(line));
    Ok(match kind {
        "+" => Reply::Text(rest.to_owned()),
        "-" => Reply::Error(rest.to_owned()),
        ":" => Reply::Int(number()?),
        "$" | "*" if number()? < 0 => Reply::Nil,
        "$" => {
            let length = usize::try_from(number()?).map_err(|_| invalid(line))?;
            if length > MAX_BULK {
                return Err(invalid(line));
            }
            let mut bytes = vec![0; length + 2];
            from.read_exact(&mut bytes)?;
            bytes.truncate(length);
            Reply::Text(String::from_utf8_lossy(&bytes).into_owned())
        }
        "*" => Reply::List((0..number()?).map(|_| read(from)).collect::<io::Result<_>>()?),
        _ => return Err(invalid(line)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_of_every_kind_are_read() {
        let bytes = b"*6\r\n+OK\r\n-ERR no\r\n:-7\r\n$3\r\na\r\n\r\n$-1\r\n*0\r\n";
        let expected = vec![
            Reply::Text("OK".into()),
            Reply::Error("ERR no".into()),
            Reply::Int(-7),
            Reply::Text("a\r\n".into()),
            Reply::Nil,
            Reply::List(vec![]),
        ];
        assert_eq!(read(&mut &bytes[..]).expect("a reply"), Reply::List(expected));
        for wrong in ["", "\r\n", "?\r\n", ":x\r\n", "$5\r\nab\r\n", "$99999999999\r\n"] {
            assert!(read(&mut wrong.as_bytes()).is_err(), "{wrong:?} is a reply");
        }
    }
}
