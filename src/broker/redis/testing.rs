//! Servers for tests: real processes on free ports of this machine, each in a temporary folder.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use redis::{Connection, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};
use tempfile::TempDir;

use super::script::{Call, Reply, ServerError};

/// How long a server may take until it answers, and until it has done what a test waits for.
const PATIENCE: Duration = Duration::from_secs(30);
/// The line of a server's log after which it accepts connections.
const READY: &str = "Ready to accept connections";
/// How often a server is started that finds its port taken: another process can be faster.
const ATTEMPTS: usize = 10;

/// A running server. It ends with the test.
pub(crate) struct Server {
    process: Child,
    folder: TempDir,
    port: u16,
    /// 0 when the server is no part of a cluster.
    cluster_port: u16,
    options: Vec<String>,
}

impl Server {
    /// Starts a server with further options, such as `["--maxmemory", "4mb"]`. It keeps nothing on disk unless it is
    /// told to `SAVE`.
    pub(crate) fn start(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let (process, port) = start(&folder, free_port, &options);
        Self { process, folder, port, cluster_port: 0, options }
    }

    /// Starts a node of a Redis Cluster that owns no slot and knows no other node.
    pub(crate) fn start_cluster_without_slots() -> Self {
        let bus = free_port();
        let options = ["--cluster-enabled", "yes", "--cluster-port", &bus.to_string()];
        let mut server = Self::start(&options);
        server.cluster_port = bus;
        server
    }

    /// Starts a Redis Cluster of one node that owns all slots.
    pub(crate) fn start_cluster() -> Self {
        let server = Self::start_cluster_without_slots();
        let mut connection = server.connect();
        let _: () = redis::cmd("CLUSTER")
            .arg("ADDSLOTSRANGE")
            .arg(0)
            .arg(16383)
            .query(&mut connection)
            .expect("the server answers");
        server.wait_until("CLUSTER", "INFO", "cluster_state:ok");
        server
    }

    /// Returns the server's port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the port for the other nodes of a Redis Cluster.
    pub(crate) fn cluster_port(&self) -> u16 {
        self.cluster_port
    }

    /// Opens a connection that speaks RESP3.
    pub(crate) fn connect(&self) -> Connection {
        connect("", self.port).expect("the server accepts connections")
    }

    /// Opens a connection of a user who needs no password.
    pub(crate) fn connect_as(&self, user: &str) -> Connection {
        connect(&format!("{user}:none@"), self.port).expect("the user may connect")
    }

    /// Returns the number of the server's process.
    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Ends the server and starts it again with what it had on disk.
    pub(crate) fn restart(&mut self) {
        self.end();
        let port = self.port;
        (self.process, _) = start(&self.folder, || port, &self.options);
    }

    /// Waits until what a command answers contains a text.
    pub(crate) fn wait_until(&self, command: &str, argument: &str, text: &str) {
        let mut connection = self.connect();
        let end = Instant::now() + PATIENCE;
        loop {
            let answer: String =
                redis::cmd(command).arg(argument).query(&mut connection).expect("the server answers");
            if answer.contains(text) {
                return;
            }
            assert!(Instant::now() < end, "{command} {argument} does not show {text}: {answer}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the server at once (SIGKILL), if it runs.
    pub(crate) fn end(&mut self) {
        self.process.kill().expect("the server is a process of ours");
        self.process.wait().expect("the server is a process of ours");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// Carries out a call as a link does: by the script's digest, and with its text when the server does not know it.
pub(crate) fn run(connection: &mut Connection, call: &Call) -> RedisResult<Reply> {
    match eval(connection, "EVALSHA", call.script.sha(), call) {
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
            eval(connection, "EVAL", call.script.text, call)
        }
        other => other,
    }
}

fn eval(connection: &mut Connection, command: &str, script: &str, call: &Call) -> RedisResult<Reply> {
    let mut command = redis::cmd(command);
    command.arg(script).arg(call.keys.len());
    for part in call.keys.iter().chain(&call.args) {
        command.arg(&**part);
    }
    command.query::<Value>(connection).map(reply_of)
}

fn reply_of(value: Value) -> Reply {
    match value {
        Value::Nil => Reply::Nil,
        Value::Int(number) => Reply::Int(number),
        Value::BulkString(bytes) => Reply::Bytes(bytes.into()),
        Value::SimpleString(text) => Reply::Bytes(text.into()),
        Value::Okay => Reply::Bytes("OK".into()),
        Value::Array(values) => Reply::Array(values.into_iter().map(reply_of).collect()),
        Value::Map(pairs) => {
            Reply::Map(pairs.into_iter().map(|(key, value)| (reply_of(key), reply_of(value))).collect())
        }
        other => panic!("no script returns {other:?}"),
    }
}

/// Returns the first word of an error, such as `OOM`.
pub(crate) fn code_of(error: &RedisError) -> &str {
    error.code().unwrap_or_default()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// Starts a server, and tries it again, with the next port, while it ends at once.
fn start(folder: &TempDir, mut port: impl FnMut() -> u16, options: &[String]) -> (Child, u16) {
    let mut log = String::new();
    for _ in 0..ATTEMPTS {
        let port = port();
        match spawn(folder, port, options) {
            Ok(process) => return (process, port),
            Err(reason) => log = reason,
        }
    }
    panic!("redis-server does not start with {options:?}: {log}");
}

/// Starts the process, `redis-server` or the program that `THRONG_TEST_REDIS` names, and waits until it accepts
/// connections. A server with a certificate accepts those with TLS only. If the process ends before, its log is
/// returned as the error.
fn spawn(folder: &TempDir, port: u16, options: &[String]) -> Result<Child, String> {
    let program = std::env::var("THRONG_TEST_REDIS").unwrap_or_else(|_| "redis-server".to_owned());
    let has_tls = options.iter().any(|option| option == "--tls-cert-file");
    let mut command = Command::new(&program);
    command.args(["--bind", "127.0.0.1", "--save", "", "--dir"]).arg(folder.path());
    command.args(["--port", "0", if has_tls { "--tls-port" } else { "--port" }, &port.to_string()]);
    command.args(options).stdin(Stdio::null()).stdout(Stdio::piped());
    let process = command.spawn();
    let mut process =
        process.unwrap_or_else(|error| panic!("{program} cannot be started, install it: {error}"));
    let lines = BufReader::new(process.stdout.take().expect("it is a pipe")).lines();
    let (started, is_started) = mpsc::sync_channel(1);
    // Reads to the end: a full pipe would stop the server.
    thread::spawn(move || {
        let mut log = String::new();
        for line in lines.map_while(Result::ok) {
            if line.contains(READY) {
                // A test that waits for this no longer has failed.
                let _ = started.send(Ok(()));
            }
            log.push_str(&line);
            log.push('\n');
        }
        let _ = started.send(Err(log)); // As above.
    });
    match is_started.recv_timeout(PATIENCE) {
        Ok(Ok(())) => Ok(process),
        Ok(Err(log)) => {
            process.wait().expect("the server is a process of ours");
            Err(log)
        }
        Err(_) => {
            process.kill().expect("the server is a process of ours");
            panic!("redis-server is not ready at port {port} within {PATIENCE:?}");
        }
    }
}

/// Opens a connection. `user` is empty, or as it stands in a URL.
fn connect(user: &str, port: u16) -> RedisResult<Connection> {
    let url = format!("redis://{user}127.0.0.1:{port}/?protocol=resp3");
    let connection = redis::Client::open(url)?.get_connection()?;
    connection.set_read_timeout(Some(PATIENCE))?;
    Ok(connection)
}

impl From<Value> for Reply {
    fn from(value: Value) -> Self {
        let all = |values: Vec<Value>| values.into_iter().map(Self::from).collect();
        match value {
            Value::Nil => Self::Nil,
            Value::Int(number) => Self::Int(number),
            Value::Boolean(is_true) => Self::Int(is_true.into()),
            Value::BulkString(bytes) | Value::BigNumber(bytes) => Self::Bytes(bytes.into()),
            Value::SimpleString(text) | Value::VerbatimString { text, .. } => Self::Bytes(text.into()),
            Value::Okay => Self::Bytes(Bytes::from_static(b"OK")),
            Value::Double(number) => Self::Bytes(number.to_string().into()),
            Value::Array(values) | Value::Set(values) | Value::Push { data: values, .. } => {
                Self::Array(all(values))
            }
            Value::Map(pairs) => {
                Self::Map(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
            }
            Value::Attribute { data, .. } => Self::from(*data),
            Value::ServerError(error) => {
                Self::Error(ServerError::new(error.code(), error.details().unwrap_or_default()))
            }
            // The crate may come to know more kinds of values; no command or script here returns any.
            _ => Self::Nil,
        }
    }
}
