//! Requests for pages, without a handshake.

use super::*;

#[tokio::test(start_paused = true)]
async fn pages_are_plain_http() {
    let (heard, _) = ask(b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(heard.contains("content-length: ") && heard.ends_with("\r\n\r\n"), "{heard}");
    let (heard, _) = ask(b"GET /healthz HTTP/1.0\r\n\r\n").await;
    assert!(heard.starts_with("HTTP/1.0 200 OK\r\n") && heard.ends_with("ok\n"), "{heard}");
    let (heard, _) = ask(b"GET http://x/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(heard.ends_with("ok\n"), "{heard}");

    let start = Instant::now();
    let app = Fake::default();
    let (_, heard) = run(&app, async |mut stream| {
        stream.write_all(PAGE.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        hear(&mut stream).await
    })
    .await;
    assert!(heard.ends_with("ok\n") && start.elapsed() < TEN_SECONDS, "half-closed: {heard}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_serves_so_many_requests() {
    let app = Fake::default();
    let limits = HttpLimits { max_requests: 3, ..HttpLimits::default() };
    let (near, far) = duplex(4096);
    let requests = PAGE.repeat(5);
    let (_, heard) =
        tokio::join!(serve(TokioIo::new(near), &app, &limits), say_and_listen(far, requests.as_bytes()));
    assert_eq!(
        (heard.matches("200 OK").count(), heard.matches("connection: close").count()),
        (3, 1),
        "{heard}"
    );
}
