//! Whole connections in memory, on a paused clock; one on a real socket, because only that can be reset.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

use super::*;
use crate::admission::{Check, Refusal};

mod calls;
mod first;
mod pauses;
mod plain;

const HANDSHAKE: &str = "GET /ws?room=a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
     Sec-WebSocket-Protocol: throng.v1, bearer, canary\r\n\r\n";
const FRAME: &[u8] = b"\x81\x82\0\0\0\0hi";
const PAGE: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
const TEN_SECONDS: Duration = Duration::from_secs(10);

/// Counts the admitted connections.
struct Guard(Rc<Cell<usize>>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[derive(Default)]
struct Fake {
    admit_takes: Duration,
    refuse: Option<Refusal>,
    refusals: RefCell<Vec<Refusal>>,
    inside: Rc<Cell<usize>>,
}

impl App for Fake {
    type Endpoint = &'static str;
    type Connection = Guard;

    fn route(&self, path: &str) -> Route<&'static str> {
        match path {
            "/ws" => Route::WebSocket("echo"),
            "/" | "/healthz" | "/large" => Route::Page,
            "/call" => Route::Call,
            _ => Route::Unknown,
        }
    }

    async fn page(&self, request: Request<'_>) -> Result<Response, Refusal> {
        Ok(match request.path() {
            "/large" => respond::text(hyper::StatusCode::OK, vec![b'x'; 1 << 20]),
            path => pages::file(path).map_or_else(pages::healthz, |file| file.response(request)),
        })
    }

    async fn call(&self, request: Request<'_>, body: RequestBody) -> Result<Response, Refusal> {
        let read = body.read(5).await.map(|body| String::from_utf8(body).expect("UTF-8"));
        Ok(respond::json(hyper::StatusCode::OK, format!("{} {read:?}", request.method())))
    }

    async fn admit(&self, endpoint: &str, request: Request<'_>) -> Result<Upgrade<Guard>, Refusal> {
        assert_eq!((endpoint, request.query("room").as_deref()), ("echo", Some("a")));
        sleep(self.admit_takes).await;
        if let Some(refusal) = self.refuse {
            return Err(refusal);
        }
        self.inside.set(self.inside.get() + 1);
        let subprotocol = upgrade::select(&["throng.v1"], request.offered());
        Ok(Upgrade { connection: Guard(self.inside.clone()), subprotocol, extensions: None })
    }

    fn refused(&self, refusal: &Refusal) {
        self.refusals.borrow_mut().push(*refusal);
    }
}

type End = Served<TokioIo<DuplexStream>, Guard>;

/// Serves one connection to `client`.
async fn run<R>(app: &Fake, client: impl AsyncFnOnce(DuplexStream) -> R) -> (End, R) {
    let (near, far) = duplex(4096);
    let limits = HttpLimits::default();
    tokio::join!(serve(TokioIo::new(near), app, &limits), client(far))
}

/// Writes everything and reads to the end. A write may fail when the connection is closed half-way.
async fn say_and_listen(mut stream: DuplexStream, bytes: &[u8]) -> String {
    let (mut reader, mut writer) = tokio::io::split(&mut stream);
    let (_, heard) = tokio::join!(writer.write_all(bytes), hear(&mut reader));
    heard
}

async fn hear(reader: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

async fn hear_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Sends `bytes` to a new connection; returns the answer and the refusals that were counted.
async fn ask(bytes: &[u8]) -> (String, Vec<Refusal>) {
    let app = Fake::default();
    let (served, heard) = run(&app, async |stream| say_and_listen(stream, bytes).await).await;
    assert!(matches!(served, Served::Closed));
    (heard, app.refusals.take())
}

/// Sends the segments, one poll apart; returns the 101 and what was left over.
async fn upgrade_in(segments: impl IntoIterator<Item = &[u8]>) -> (String, Vec<u8>) {
    let app = Fake::default();
    let (served, (mut far, heads)) = run(&app, async |mut stream| {
        for segment in segments {
            stream.write_all(segment).await.unwrap();
            tokio::task::yield_now().await;
        }
        let head = hear_head(&mut stream).await;
        (stream, head)
    })
    .await;
    let Served::Upgraded { io, leftover, connection } = served else { panic!("not upgraded: {heads}") };
    assert_eq!(app.inside.get(), 1);
    drop(connection);
    // Bytes that hyper did not read are still in the socket.
    far.shutdown().await.unwrap();
    let mut rest = leftover.to_vec();
    io.into_inner().read_to_end(&mut rest).await.unwrap();
    (heads, rest)
}

#[tokio::test(start_paused = true)]
async fn a_handshake_and_its_first_frame_survive_any_segmentation() {
    let all = [HANDSHAKE.as_bytes(), FRAME].concat();
    for cuts in [&[][..], &[HANDSHAKE.len()], &[40, HANDSHAKE.len() - 2], &[10, HANDSHAKE.len() + 3]] {
        let mut segments = Vec::new();
        let mut rest = all.as_slice();
        for cut in cuts.iter().rev() {
            let (front, back) = rest.split_at(*cut);
            segments.insert(0, back);
            rest = front;
        }
        segments.insert(0, rest);
        let (head, rest) = upgrade_in(segments).await;
        assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
        assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
        assert!(
            head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade\r\n"),
            "{head}"
        );
        assert!(head.contains("sec-websocket-protocol: throng.v1\r\n") && !head.contains("canary"), "{head}");
        assert!(!head.contains("content-length") && !head.contains("transfer-encoding"), "{head}");
        assert_eq!(rest, FRAME, "{cuts:?}");
    }
    let (_, rest) = upgrade_in(all.chunks(1)).await;
    assert_eq!(rest, FRAME, "byte by byte");
}

#[tokio::test(start_paused = true)]
async fn pages_may_come_before_the_handshake() {
    let pipelined = [PAGE.as_bytes(), PAGE.as_bytes(), HANDSHAKE.as_bytes(), FRAME].concat();
    let app = Fake::default();
    let (served, heard) = run(&app, async |mut stream| {
        stream.write_all(&pipelined).await.unwrap();
        let mut heard = String::new();
        while !heard.contains("101 Switching") {
            heard += &hear_head(&mut stream).await;
        }
        heard
    })
    .await;
    assert_eq!(heard.matches("200 OK").count(), 2, "{heard}");
    let Served::Upgraded { leftover, .. } = served else { panic!("not upgraded") };
    assert_eq!(leftover, FRAME);

    let (served, _) = run(&app, async |mut stream| {
        for _ in 0..2 {
            stream.write_all(PAGE.as_bytes()).await.unwrap();
            assert!(hear_head(&mut stream).await.starts_with("HTTP/1.1 200"));
            let mut body = [0; 3];
            stream.read_exact(&mut body).await.unwrap();
            assert_eq!(&body, b"ok\n");
            sleep(TEN_SECONDS - Duration::from_millis(1)).await;
        }
        stream.write_all(HANDSHAKE.as_bytes()).await.unwrap();
        assert!(hear_head(&mut stream).await.contains("HTTP/1.1 101"));
    })
    .await;
    assert!(matches!(served, Served::Upgraded { .. }));
    assert!(app.refusals.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_wrong_request_is_answered_counted_and_closed() {
    let malformed = Refusal::Malformed;
    let edit = |from: &str, to: &str| HANDSHAKE.replacen(from, to, 1);
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (request, status, refusal) in [
        (edit("GET", "POST"), "405 Method Not Allowed", Refusal::Method { allow: "GET" }),
        (edit("GET", "HEAD"), "405 Method Not Allowed", Refusal::Method { allow: "GET" }),
        (edit("HTTP/1.1", "HTTP/1.0"), "400 Bad Request", malformed(Check::HttpVersion)),
        (edit("Host: x\r\n", ""), "400 Bad Request", malformed(Check::Host)),
        (edit("Host: x\r\n", "Host: x\r\nHost: x\r\n"), "400 Bad Request", malformed(Check::Host)),
        (edit("dGhlIHNhbXBsZSBub25jZQ==", "AQID"), "400 Bad Request", malformed(Check::Key)),
        (edit(key, ""), "400 Bad Request", malformed(Check::Key)),
        (edit("\r\n\r\n", "\r\nContent-Length: 2\r\n\r\nhi"), "400 Bad Request", malformed(Check::Body)),
        (
            edit("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
            "400 Bad Request",
            malformed(Check::Body),
        ),
        (edit("Version: 13", "Version: 8"), "426 Upgrade Required", Refusal::Version),
        (edit("Upgrade: websocket", "Upgrade: h2c"), "426 Upgrade Required", Refusal::NoUpgrade),
        ("GET /ws HTTP/1.1\r\nHost: x\r\n\r\n".into(), "426 Upgrade Required", Refusal::NoUpgrade),
        (edit("/ws", "/nothing"), "404 Not Found", Refusal::UnknownPath),
        ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n".into(), "404 Not Found", Refusal::UnknownPath),
        ("CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n".into(), "404 Not Found", Refusal::UnknownPath),
        (PAGE.replace("GET", "POST"), "405 Method Not Allowed", Refusal::Method { allow: "GET, HEAD" }),
        (PAGE.replace("Host: x\r\n", ""), "400 Bad Request", malformed(Check::Host)),
        (PAGE.replace("Host: x", "Host: x\r\nContent-Length: 9"), "400 Bad Request", malformed(Check::Body)),
        (PAGE.replace("Host: x", "Host: x\r\nHost: y"), "400 Bad Request", malformed(Check::Host)),
    ] {
        let (heard, counted) = ask(request.as_bytes()).await;
        let version = if request.contains("HTTP/1.0") { "HTTP/1.0" } else { "HTTP/1.1" };
        assert!(heard.starts_with(&format!("{version} {status}\r\n")), "{request}\n{heard}");
        assert!(heard.contains("connection: close\r\n") || heard.contains("connection: upgrade, close\r\n"));
        assert!(heard.contains(refusal.code()) || request.starts_with("HEAD"), "{request}\n{heard}");
        assert_eq!(counted, [refusal], "{request}");
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_http_are_answered_where_hyper_can_and_counted() {
    let long_header = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    let many_headers = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(101));
    let endless = vec![b'x'; 20_000];
    for (bytes, status, refusal) in [
        (&b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..], "400", Refusal::Malformed(Check::Syntax)),
        (b"GET / HTTP/3.0\r\n\r\n", "400", Refusal::Malformed(Check::Syntax)),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", "400", Refusal::Malformed(Check::Syntax)),
        (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", "400", Refusal::Malformed(Check::Syntax)),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", "400", Refusal::Malformed(Check::Http2)),
        (long_header.as_bytes(), "431", Refusal::HeadTooLarge),
        (many_headers.as_bytes(), "431", Refusal::HeadTooLarge),
        (&endless, "431", Refusal::HeadTooLarge),
    ] {
        let (heard, counted) = ask(bytes).await;
        assert!(heard.starts_with(&format!("HTTP/1.1 {status} ")), "{:?}: {heard}", &bytes[..10]);
        assert!(heard.contains("connection: close\r\n"), "{heard}");
        assert_eq!(counted, [refusal]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_peer_is_closed_at_the_deadline() {
    let start = Instant::now();
    let (heard, counted) = ask(b"").await;
    assert_eq!((heard.as_str(), counted.as_slice()), ("", &[Refusal::Timeout][..]), "silent");
    assert_eq!(start.elapsed().as_secs(), 10);

    let app = Fake::default();
    let start = Instant::now();
    let (_, heard) = run(&app, async |stream| {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let drip = async {
            for byte in HANDSHAKE.as_bytes().chunks(1) {
                sleep(Duration::from_millis(200)).await;
                writer.write_all(byte).await.unwrap();
            }
        };
        tokio::select! {
            () = drip => panic!("all was taken"),
            heard = hear(&mut reader) => heard,
        }
    })
    .await;
    assert!(heard.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{heard}");
    assert_eq!((start.elapsed().as_secs(), app.refusals.take()), (10, vec![Refusal::Timeout]), "dripping");

    let start = Instant::now();
    let (heard, counted) = ask(PAGE.as_bytes()).await;
    assert!(heard.ends_with("ok\n") && counted.is_empty(), "idle is no refusal: {heard} {counted:?}");
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_no_response_is_closed_at_the_deadline() {
    let app = Fake::default();
    let start = Instant::now();
    let (served, ()) = run(&app, async |mut stream| {
        stream.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        sleep(TEN_SECONDS - Duration::from_millis(1)).await;
        let first_part = hear_head(&mut stream).await;
        assert!(first_part.contains("content-length: 1048576"), "still there: {first_part}");
        sleep(Duration::from_secs(2)).await;
        let heard = stream.read_to_end(&mut Vec::new()).await.unwrap();
        assert!(heard < 10_000, "but not for ever: {heard}");
    })
    .await;
    assert!(matches!(served, Served::Closed));
    assert_eq!(start.elapsed().as_secs(), 10 + 1);

    let (near, mut far) = duplex(16);
    let limits = HttpLimits::default();
    let (served, ()) = tokio::join!(serve(TokioIo::new(near), &app, &limits), async {
        far.write_all(HANDSHAKE.as_bytes()).await.unwrap();
        sleep(TEN_SECONDS / 2).await;
        assert_eq!(app.inside.get(), 1);
        sleep(TEN_SECONDS + Duration::from_secs(2)).await;
        assert_eq!(app.inside.get(), 0, "the 101 did not fit, so that no connection was made");
    });
    assert!(matches!(served, Served::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_long_admission_is_not_the_peers_delay() {
    for refuse in [None, Some(Refusal::Conflict)] {
        let app = Fake { admit_takes: Duration::from_secs(30), refuse, ..Fake::default() };
        let (served, head) = run(&app, async |mut stream| {
            sleep(TEN_SECONDS / 2).await;
            stream.write_all(&[HANDSHAKE.as_bytes(), FRAME].concat()).await.unwrap();
            hear_head(&mut stream).await
        })
        .await;
        assert!(head.starts_with(if refuse.is_none() { "HTTP/1.1 101" } else { "HTTP/1.1 409" }), "{head}");
        assert_eq!(matches!(served, Served::Upgraded { .. }), refuse.is_none());
        assert_eq!(app.refusals.take(), Vec::from_iter(refuse));
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_vanishes_leaves_nothing() {
    let app = Fake { admit_takes: Duration::from_secs(1), ..Fake::default() };
    for bytes in [&HANDSHAKE.as_bytes()[..30], HANDSHAKE.as_bytes(), b""] {
        let (served, ()) = run(&app, async |mut stream| stream.write_all(bytes).await.unwrap()).await;
        assert!(matches!(served, Served::Closed));
        assert_eq!((app.inside.get(), app.refusals.take()), (0, vec![]), "{}", bytes.len());
    }
}

/// Regression: closing with unread bytes resets the connection and may destroy the response on its way.
/// 1. The peer sends a request head that is far too large, 2. gets its 431, 3. and has not finished sending.
#[tokio::test]
async fn a_refusal_arrives_although_the_peer_was_still_talking() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (socket, _) = listener.accept().await.unwrap();
    let app = Fake::default();
    let limits = HttpLimits::default();
    client.write_all(&[b'x'; 50_000]).await.unwrap();
    let (_, heard) = tokio::join!(serve(TokioIo::new(socket), &app, &limits), async {
        // A reset would have arrived by now, and the next write would fail.
        sleep(Duration::from_millis(50)).await;
        client.write_all(&[b'x'; 10_000]).await.unwrap();
        hear(&mut client).await
    });
    assert!(heard.starts_with("HTTP/1.1 431 "), "{heard}");
}

#[tokio::test]
async fn the_handshake_fits_in_a_few_kilobytes() {
    let bytes = size_of_val(&serve(TokioIo::new(duplex(16).0), &Fake::default(), &HttpLimits::default()));
    assert!(bytes <= 4096, "{bytes}");
}
