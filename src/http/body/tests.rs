//! A body in parts, over a whole connection in memory, on a paused clock.

use std::cell::RefCell;
use std::future::pending;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::{sleep, timeout};

use super::*;
use crate::admission::Refusal;
use crate::http::{App, HttpLimits, Request, RequestBody, Response, Route, Served, Upgrade, respond, serve};

const REQUEST: &[u8] = b"GET /parts HTTP/1.1\r\nHost: x\r\n\r\n";

/// Answers one request with the given parts, and further ones with a refusal.
struct Feeding(RefCell<Option<mpsc::Receiver<Bytes>>>);

impl App for Feeding {
    type Endpoint = ();
    type Connection = ();

    fn route(&self, _: &str) -> Route<()> {
        Route::Page
    }

    async fn page(&self, _: Request<'_>) -> Result<Response, Refusal> {
        self.0.take().map(respond::events).ok_or(Refusal::TooManyViewers)
    }

    async fn call(&self, _: Request<'_>, _: RequestBody) -> Result<Response, Refusal> {
        pending().await
    }

    async fn admit(&self, (): (), _: Request<'_>) -> Result<Upgrade<()>, Refusal> {
        pending().await
    }

    fn refused(&self, _: &Refusal) {}
}

/// Serves one connection to `client`, whose side of the stream buffers `space` bytes.
async fn run<R>(
    parts: mpsc::Receiver<Bytes>,
    space: usize,
    client: impl AsyncFnOnce(DuplexStream) -> R,
) -> (Served<TokioIo<DuplexStream>, ()>, R) {
    let (near, far) = duplex(space);
    let (app, limits) = (Feeding(RefCell::new(Some(parts))), HttpLimits::default());
    tokio::join!(serve(TokioIo::new(near), &app, &limits), client(far))
}

/// Reads until the received text ends with `end`.
async fn read_to(stream: &mut DuplexStream, end: &str) -> String {
    let mut heard = Vec::new();
    while !heard.ends_with(end.as_bytes()) {
        heard.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(heard).unwrap()
}

#[tokio::test(start_paused = true)]
async fn parts_go_out_as_they_come_and_the_connection_ends_with_them() {
    let (sender, parts) = mpsc::channel(1);
    let (served, ()) = run(parts, 4096, async |mut stream| {
        stream.write_all(REQUEST).await.unwrap();
        let head = read_to(&mut stream, "\r\n\r\n").await;
        assert!(head.contains("content-type: text/event-stream") && head.contains("connection: close"));
        assert!(head.contains("cache-control: no-store"), "{head}");
        for part in ["first", "second"] {
            sender.send(Bytes::from(part)).await.unwrap();
            assert!(read_to(&mut stream, part).await.ends_with(part));
            // Far longer than the timeouts of a request or a page, which do not run while the server has nothing to
            // send.
            sleep(Duration::from_secs(3600)).await;
        }
        drop(sender);
        assert_eq!(read_to(&mut stream, "\r\n0\r\n\r\n").await, "\r\n0\r\n\r\n");
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "closed");
    })
    .await;
    assert!(matches!(served, Served::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_nothing_is_closed() {
    let (sender, parts) = mpsc::channel(1);
    let started = Instant::now();
    let (served, ended) = run(parts, 1024, async |mut stream| {
        stream.write_all(REQUEST).await.unwrap();
        read_to(&mut stream, "\r\n\r\n").await;
        // hyper and the stream buffer 32 KiB, and then no more.
        let part = Bytes::from(vec![b'x'; 4096]);
        let mut taken = 0;
        while timeout(Duration::from_secs(1), sender.send(part.clone())).await == Ok(Ok(())) {
            taken += 1;
        }
        assert!(taken <= 8, "{taken} parts were taken for somebody who does not read");
        assert!(!sender.is_closed(), "not yet");
        sender.closed().await;
        let ended = started.elapsed();
        drop(stream);
        ended
    })
    .await;
    assert!(matches!(served, Served::Closed));
    assert_eq!(ended.as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_slowly_stays() {
    let (sender, parts) = mpsc::channel(1);
    let (_, ()) = run(parts, 4096, async |mut stream| {
        stream.write_all(REQUEST).await.unwrap();
        read_to(&mut stream, "\r\n\r\n").await;
        let feed = async {
            for _ in 0..20 {
                sender.send(Bytes::from(vec![b'x'; 4096])).await.unwrap();
            }
            drop(sender);
        };
        let read = async {
            let mut heard = 0;
            let mut some = vec![0; 4096];
            loop {
                match stream.read(&mut some).await.unwrap() {
                    0 => return heard,
                    count => heard += count,
                }
                sleep(Duration::from_secs(1)).await;
            }
        };
        let ((), heard) = tokio::join!(feed, read);
        assert!(heard > 20 * 4096, "{heard}");
    })
    .await;
}
