//! The short way of a handshake gives the answers that hyper gives.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::*;

/// Admits every handshake, and keeps what it has seen of it.
#[derive(Default)]
struct Open {
    seen: RefCell<Vec<String>>,
    refuse: bool,
}

impl App for Open {
    type Endpoint = String;
    type Connection = ();

    fn route(&self, path: &str) -> Route<String> {
        match path {
            "/" => Route::Page,
            "/call" => Route::Call,
            _ if path.starts_with("/ws") => Route::WebSocket(path.to_owned()),
            _ => Route::Unknown,
        }
    }

    async fn page(&self, _: Request<'_>) -> Result<Response, Refusal> {
        Ok(pages::healthz())
    }

    async fn call(&self, _: Request<'_>, _: RequestBody) -> Result<Response, Refusal> {
        Ok(pages::healthz())
    }

    async fn admit(&self, endpoint: String, request: Request<'_>) -> Result<Upgrade<()>, Refusal> {
        let origins: Vec<_> = request.origins().map(<[u8]>::to_vec).collect();
        let query: Vec<_> = request.query_pairs().collect();
        let offered = request.offered();
        let cookies: Vec<_> = request.headers("cookie").map(<[u8]>::to_vec).collect();
        let seen = format!("{endpoint} {} {query:?} {offered:?} {origins:?} {cookies:?}", request.path());
        self.seen.borrow_mut().push(seen);
        if self.refuse {
            return Err(Refusal::Draining);
        }
        let extensions = extensions::negotiate(request.headers("sec-websocket-extensions"));
        let subprotocol = upgrade::select(&["throng.v1"], offered);
        Ok(Upgrade { connection: (), subprotocol, extensions: extensions.map(|offer| offer.answer) })
    }

    fn refused(&self, _: &Refusal) {}
}

/// Returns the output of a future that waits for nothing.
fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

/// The result of a handshake: what the application has seen, the answer, and the bytes behind the handshake.
type Outcome = (Vec<String>, String, Vec<u8>);

/// Takes the short way; `None` when the bytes are not for it.
fn in_short(bytes: &[u8]) -> Option<Outcome> {
    let app = Open::default();
    let request = FirstRequest::parse(&bytes.to_vec().into())?;
    let admitted = at_once(request.admit(&app));
    let Some(admitted) = admitted else {
        assert!(app.seen.borrow().is_empty(), "the application was asked");
        return None;
    };
    let accepted = admitted.expect("everything is admitted");
    let answer = String::from_utf8(accepted.answer).expect("UTF-8");
    Some((app.seen.take(), answer, accepted.leftover.to_vec()))
}

/// Lets hyper handle the same bytes; `None` when it does not upgrade.
async fn with_hyper(bytes: &[u8]) -> Option<Outcome> {
    let app = Open::default();
    let (near, far) = duplex(64 * 1024);
    let limits = HttpLimits::default();
    let client = async move {
        let mut far = far;
        far.write_all(bytes).await.expect("space");
        far.shutdown().await.expect("open");
        hear(&mut far).await
    };
    let serving = async {
        let served = serve(TokioIo::new(near), &app, &limits).await;
        match served {
            Served::Upgraded { leftover, .. } => Some(leftover.to_vec()),
            Served::Closed => None,
        }
    };
    let (leftover, answer) = tokio::join!(serving, client);
    let (front, back) = answer.split_once("date: ").unwrap_or((&answer, "\r\n"));
    let answer = [front, back.split_once("\r\n").expect("a line").1].concat();
    Some((app.seen.take(), answer, leftover?))
}

fn alike(bytes: &[u8]) -> Option<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let short = in_short(bytes);
    if short.is_some() {
        let long = runtime.expect("a runtime").block_on(with_hyper(bytes));
        assert_eq!(short, long, "{:?}", String::from_utf8_lossy(bytes));
    }
    short
}

const MORE: &str = "Origin: https://a.example\r\nCookie: a=b; c=d\r\nUser-Agent: x\r\n\
     Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

#[test]
fn a_whole_handshake_takes_the_short_way_and_gets_the_same_answer() {
    let more = HANDSHAKE.replacen("\r\n\r\n", &format!("\r\n{MORE}"), 1);
    for handshake in [HANDSHAKE, &more] {
        for frames in [&b""[..], FRAME, &[0xff; 300]] {
            let (seen, answer, leftover) =
                alike(&[handshake.as_bytes(), frames].concat()).expect("the short way");
            assert_eq!((seen.len(), leftover.as_slice()), (1, frames));
            assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        }
    }
}

#[test]
fn everything_but_a_handshake_is_left_to_hyper() {
    let with = |line: &str| HANDSHAKE.replacen("\r\n\r\n", &format!("\r\n{line}\r\n\r\n"), 1);
    let many: String = (0..40).map(|n| format!("X-{n}: y\r\n")).collect();
    for request in [
        PAGE.to_owned(),
        HANDSHAKE.replacen("GET", "POST", 1),
        HANDSHAKE.replacen("HTTP/1.1", "HTTP/1.0", 1),
        HANDSHAKE.replacen("/ws", "/call", 1),
        HANDSHAKE.replacen("/ws", "/nowhere", 1),
        HANDSHAKE.replacen("Host: x", "Host: a b", 1),
        HANDSHAKE.replacen("Upgrade: websocket", "Upgrade: h2c", 1),
        with("Content-Length: 0"),
        with("Transfer-Encoding: chunked"),
        with("Expect: 100-continue"),
        with("a line without a colon"),
        with(many.trim_end()),
        "\x16\x03\x01\x02\x01\x01\x02\r\n\r\n".to_owned(),
    ] {
        assert_eq!(in_short(request.as_bytes()), None, "{request}");
    }
    for end in 0..HANDSHAKE.len() {
        assert_eq!(in_short(&HANDSHAKE.as_bytes()[..end]), None, "the first {end} bytes");
    }
}

#[test]
fn a_refusal_of_the_application_is_returned() {
    let app = Open { refuse: true, ..Open::default() };
    let request = FirstRequest::parse(&HANDSHAKE.as_bytes().into()).expect("a whole head");
    let admitted = at_once(request.admit(&app));
    assert!(matches!(admitted, Some(Err(Refusal::Draining))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_handshake_with_errors_in_it_is_never_understood_in_another_way(
        edits in prop::collection::vec((0..400_usize, any::<u8>(), 0..3), 1..4),
        ascii in prop::bool::weighted(0.8),
    ) {
        let mut bytes = HANDSHAKE.replacen("\r\n\r\n", &format!("\r\n{MORE}"), 1).into_bytes();
        for (at, byte, kind) in edits {
            let (at, byte) = (at % bytes.len(), if ascii { byte & 0x7f } else { byte });
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        alike(&bytes);
    }
}
