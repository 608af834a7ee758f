//! A real server for tests of scripts, on a free port of this machine, in a temporary folder.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tempfile::TempDir;

use crate::broker::redis::script::{Call, Reply};

const PATIENCE: Duration = Duration::from_secs(20);
/// The rights that the documentation asks for. The scripts must do with them.
const RIGHTS: &str = "~throng:* &throng:* +evalsha +eval +script|load +info +spublish +ssubscribe +sunsubscribe +hmget \
    +hget +hset +hdel +hgetall +xadd +xrange +expire +del +zadd +zrange +zremrangebyscore +time +cluster|shards \
    +cluster|slots +asking +ping +hello +client|setname";

/// A running server with two connections: one with the rights of a node, and one with all.
pub(in crate::broker::redis) struct Server {
    process: Child,
    node: Connection,
    admin: Connection,
    _folder: TempDir,
}

impl Server {
    /// Starts a server and waits until it answers. `THRONG_TEST_REDIS` names another program than `redis-server`.
    pub(in crate::broker::redis) fn start() -> Self {
        let program = env::var_os("THRONG_TEST_REDIS").unwrap_or_else(|| "redis-server".into());
        // The listener that found the free port is closed before the server listens there. Another process may get the
        // port in between; then the server ends, and another port is tried.
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let folder = tempfile::tempdir().unwrap();
            let mut process = Command::new(&program)
                .args([
                    "--port",
                    &port.to_string(),
                    "--bind",
                    "127.0.0.1",
                    "--save",
                    "",
                    "--appendonly",
                    "no",
                ])
                .arg("--dir")
                .arg(folder.path())
                .stdout(Stdio::null())
                .spawn()
                .unwrap_or_else(|error| panic!("{} cannot be started: {error}", program.display()));
            if let Some(mut admin) = Connection::to_new(port, &mut process) {
                let mut words = vec!["ACL", "SETUSER", "node", "on", ">secret"];
                words.extend(RIGHTS.split_whitespace());
                admin.ask(&words).unwrap();
                let mut node = Connection::open(port).unwrap();
                node.ask(&["AUTH", "node", "secret"]).unwrap();
                return Self { process, node, admin, _folder: folder };
            }
        }
        panic!("{} does not stay up on any of ten ports", program.display());
    }

    /// Calls a script with the rights of a node.
    pub(in crate::broker::redis) fn call(&mut self, call: &Call) -> Result<Reply, String> {
        let count = call.keys.len().to_string();
        let mut words: Vec<&[u8]> = vec![b"EVAL", call.script.text.as_bytes(), count.as_bytes()];
        words.extend(call.keys.iter().chain(&call.args).map(|word| &word[..]));
        self.node.ask(&words)
    }

    /// Runs a command with all rights.
    pub(in crate::broker::redis) fn admin(&mut self, words: &[&str]) -> Reply {
        self.admin.ask(words).unwrap()
    }

    /// Returns the names of all keys, in order.
    pub(in crate::broker::redis) fn keys(&mut self) -> Vec<String> {
        let mut keys = strings(&self.admin(&["KEYS", "*"]));
        keys.sort();
        keys
    }

    /// Returns the pairs of a hash, in the order of the fields.
    pub(in crate::broker::redis) fn hash(&mut self, key: &str) -> Vec<(String, String)> {
        let flat = strings(&self.admin(&["HGETALL", key]));
        let mut pairs: Vec<_> = flat.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        pairs.sort();
        pairs
    }

    /// Returns how many seconds a key has to live; negative when it has no end, or is not there.
    pub(in crate::broker::redis) fn life(&mut self, key: &str) -> i64 {
        let Reply::Int(seconds) = self.admin(&["TTL", key]) else { panic!("no number") };
        seconds
    }

    /// Returns the server's time in Unix milliseconds.
    pub(in crate::broker::redis) fn now_ms(&mut self) -> u64 {
        let time = strings(&self.admin(&["TIME"]));
        time[0].parse::<u64>().unwrap() * 1_000 + time[1].parse::<u64>().unwrap() / 1_000
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill(); // It may have ended by itself.
        let _ = self.process.wait();
    }
}

/// Returns the strings of a list.
pub(in crate::broker::redis) fn strings(reply: &Reply) -> Vec<String> {
    let Reply::Array(items) = reply else { panic!("{reply:?} is no list") };
    let text = |item: &Reply| match item {
        Reply::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => panic!("{other:?} is no string"),
    };
    items.iter().map(text).collect()
}

/// A connection that speaks RESP2, one command at a time.
struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    fn open(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Connects to a server that is just starting; gives up when its process has ended.
    fn to_new(port: u16, process: &mut Child) -> Option<Self> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(connection) = Self::open(port) {
                return Some(connection);
            }
            if process.try_wait().unwrap().is_some() {
                return None;
            }
            assert!(Instant::now() < deadline, "the server does not listen");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn ask<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Result<Reply, String> {
        let mut command = format!("*{}\r\n", words.len()).into_bytes();
        for word in words.iter().map(AsRef::as_ref) {
            command.extend(format!("${}\r\n", word.len()).bytes());
            command.extend(word);
            command.extend(b"\r\n");
        }
        self.stream.get_mut().write_all(&command).unwrap();
        self.read()
    }

    fn read(&mut self) -> Result<Reply, String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        let line = line.trim_end();
        let (kind, rest) = line.split_at(1);
        let number = || rest.parse::<i64>().unwrap();
        Ok(match kind {
            "+" => Reply::Bytes(Bytes::from(rest.to_owned())),
            "-" => return Err(rest.to_owned()),
            ":" => Reply::Int(number()),
            "$" | "*" if number() < 0 => Reply::Nil,
            "$" => {
                let mut bytes = vec![0; number() as usize + 2];
                self.stream.read_exact(&mut bytes).unwrap();
                bytes.truncate(bytes.len() - 2);
                Reply::Bytes(bytes.into())
            }
            "*" => Reply::Array((0..number()).map(|_| self.read()).collect::<Result<_, _>>()?),
            _ => panic!("{line:?} is no answer of a server"),
        })
    }
}
