//! The client against servers that answer well, badly, slowly and without end.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;

const LONG: Duration = Duration::from_secs(60);

/// A server that answers each request on a connection with the same bytes and tells what it was asked.
struct Server {
    address: SocketAddr,
    asked: mpsc::Receiver<String>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    async fn start(answer: &'static str, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, asked) = mpsc::channel(100);
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Relaxed);
                let (tell, tls) = (tell.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(socket, answer, tell).await,
                        Some(tls) => {
                            let accepted = tokio_rustls::TlsAcceptor::from(tls).accept(socket).await;
                            serve(accepted?, answer, tell).await
                        }
                    }
                });
            }
        });
        Self { address, asked, connections }
    }

    fn url(&self, scheme: &str, host: &str) -> Url {
        Url::parse(&format!("{scheme}://{host}:{}/hook?a=b", self.address.port())).unwrap()
    }
}

/// Answers every request whose body ends in a full stop.
async fn serve(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    answer: &str,
    tell: mpsc::Sender<String>,
) -> io::Result<()> {
    let mut request = String::new();
    let mut buffer = vec![0; 4096];
    loop {
        let read = socket.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        request.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        if request.ends_with('.') {
            tell.send(std::mem::take(&mut request)).await.unwrap();
            socket.write_all(answer.as_bytes()).await?;
        }
    }
}

fn key(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys").join(format!("TEST-ONLY-{name}.pem"))
}

fn tls() -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = trust::certificates(&key("localhost.certificate")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(&trust::read(&key("localhost.private")).unwrap()).unwrap();
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap())
}

async fn post(client: &Client, url: &Url, deadline: Duration, max_body: usize) -> Result<Response, Error> {
    let headers = vec![("webhook-id".to_owned(), "msg 1".to_owned())];
    let request = Request { method: Method::Post, url, headers, body: Bytes::from_static(b"one event.") };
    client.request(request, deadline, max_body).await
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nRetry-After: 7\r\n\r\ndone";

#[tokio::test]
async fn a_request_is_written_and_its_answer_read() {
    let mut server = Server::start(OK, None).await;
    let client = Client::new(Some(&key("localhost.certificate"))).unwrap();
    for _ in 0..3 {
        let answer = post(&client, &server.url("http", "127.0.0.1"), LONG, 4).await.unwrap();
        assert_eq!(
            (answer.status, &answer.body[..], answer.header("retry-after")),
            (200, &b"done"[..], Some("7"))
        );
        let asked = server.asked.recv().await.unwrap();
        let (head, body) = asked.split_once("\r\n\r\n").unwrap();
        let host = format!("host: 127.0.0.1:{}", server.address.port());
        for line in ["POST /hook?a=b HTTP/1.1", "webhook-id: msg 1", "content-length: 10", &host] {
            assert!(head.lines().any(|found| found == line), "no {line} in {head}");
        }
        assert!(head.contains("user-agent: throng/"), "{head}");
        assert_eq!(body, "one event.");
    }
    assert_eq!(server.connections.load(Relaxed), 1, "the connection is used again");
}

#[tokio::test]
async fn any_status_is_an_answer_and_redirects_are_not_followed() {
    let mut server =
        Server::start("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", None).await;
    let client = Client::new(None).unwrap();
    let answer = post(&client, &server.url("http", "127.0.0.1"), LONG, 100).await.unwrap();
    assert_eq!((answer.status, answer.header("Location")), (302, Some("/elsewhere")));
    server.asked.recv().await.unwrap();
    assert!(server.asked.try_recv().is_err(), "it was asked once");
}

#[tokio::test]
async fn answers_have_a_deadline_and_a_bound() {
    let client = Client::new(None).unwrap();
    let short = Duration::from_millis(50);
    for hanging in ["", "HTTP/1.1 200 OK\r\nContent-", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndo"] {
        let server = Server::start(hanging, None).await;
        let error = post(&client, &server.url("http", "127.0.0.1"), short, 100).await.unwrap_err();
        assert!(matches!(error, Error::Deadline), "{hanging:?}: {error:?}");
    }
    for long in [OK, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndone\r\n0\r\n\r\n"] {
        let server = Server::start(long, None).await;
        let error = post(&client, &server.url("http", "127.0.0.1"), LONG, 3).await.unwrap_err();
        assert!(matches!(error, Error::TooLong), "{long:?}: {error:?}");
    }
    for wrong in ["SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 200 OK\r\nNo colon\r\n\r\n"] {
        let server = Server::start(wrong, None).await;
        let error = post(&client, &server.url("http", "127.0.0.1"), LONG, 100).await.unwrap_err();
        assert!(matches!(error, Error::Failed(_)), "{wrong:?}: {error:?}");
    }
    let server = Server::start(OK, None).await;
    let (gone, url) = (server.address, server.url("http", "127.0.0.1"));
    drop(server);
    let nobody = Url::parse("http://127.0.0.1:1/").unwrap();
    assert!(matches!(post(&client, &nobody, LONG, 100).await, Err(Error::Unreached(_))), "{gone} {url}");
}

#[tokio::test]
async fn a_certificate_must_be_trusted_and_fit_the_name() {
    let mut server = Server::start(OK, Some(tls())).await;
    let client = Client::new(Some(&key("localhost.certificate"))).unwrap();
    assert_eq!(post(&client, &server.url("https", "localhost"), LONG, 4).await.unwrap().status, 200);
    assert!(server.asked.recv().await.unwrap().starts_with("POST /hook?a=b HTTP/1.1\r\n"));
    let strangers = Client::new(Some(&key("stranger.certificate"))).unwrap();
    for (client, host) in
        [(&strangers, "localhost"), (&client, "127.0.0.1"), (&Client::new(None).unwrap(), "localhost")]
    {
        let error = post(client, &server.url("https", host), LONG, 4).await.unwrap_err();
        assert!(matches!(&error, Error::Unreached(text) if text.contains("certificate")), "{host}: {error}");
    }
    let error = Client::new(Some(&key("no-such-file"))).unwrap_err();
    assert!(error.contains("no-such-file"), "{error}");
}

#[tokio::test]
async fn http_reaches_near_addresses_alone() {
    let server = Server::start(OK, None).await;
    let client = Client::new(None).unwrap();
    assert_eq!(post(&client, &server.url("http", "localhost"), LONG, 4).await.unwrap().status, 200);
    // A name that resolves, without any name server, to an address that is neither loopback nor private.
    let far = Url::parse("http://134744072:80/").unwrap();
    let error = post(&client, &far, LONG, 4).await.unwrap_err();
    assert!(matches!(error, Error::NotPrivate), "{error:?}");
}
