//! Requests with a body.

use super::*;

fn post(head: &str, body: &str) -> String {
    format!("POST /call HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}\r\n{body}")
}

#[tokio::test(start_paused = true)]
async fn a_body_is_read_whole_within_its_bounds() {
    for (request, expected) in [
        (post("Content-Length: 5\r\n", "hello"), "POST Ok(\"hello\")"),
        (post("Content-Length: 0\r\n", ""), "POST Ok(\"\")"),
        (post("Transfer-Encoding: chunked\r\n", "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"), "POST Ok(\"hello\")"),
        (post("Content-Length: 6\r\n", "hello!"), "POST Err(TooLarge)"),
        (post("Content-Length: 6\r\n", ""), "POST Err(TooLarge)"),
        (post("Transfer-Encoding: chunked\r\n", "6\r\nhello!\r\n0\r\n\r\n"), "POST Err(TooLarge)"),
        ("GET /call HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(), "GET Ok(\"\")"),
    ] {
        let (heard, refusals) = ask(request.as_bytes()).await;
        assert!(heard.starts_with("HTTP/1.1 200 OK\r\n") && heard.ends_with(expected), "{request}: {heard}");
        assert_eq!(refusals, []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_is_given_up() {
    let app = Fake::default();
    let start = Instant::now();
    let (_, heard) = run(&app, async |mut stream| {
        stream.write_all(post("Content-Length: 5\r\n", "hell").as_bytes()).await.unwrap();
        hear_head(&mut stream).await
    })
    .await;
    assert!(heard.starts_with("HTTP/1.1 200 OK\r\n"), "{heard}");
    assert!(start.elapsed() >= TEN_SECONDS, "after {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_host_is_refused_before_its_body_is_read() {
    let (heard, refusals) = ask(b"POST /call HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello").await;
    assert!(heard.starts_with("HTTP/1.1 400 "), "{heard}");
    assert_eq!(refusals, [Refusal::Malformed(Check::Host)]);
}
