//! Deadlines and a thread that stands still.

use super::*;

/// The thread stands still, as in a machine that is moved, and what the peer sent arrives behind that.
#[tokio::test]
async fn nobody_is_late_because_we_stood_still() {
    let app = Fake::default();
    let limits = HttpLimits { handshake_timeout: Duration::from_millis(300), ..HttpLimits::default() };
    for answers in [true, false] {
        let (near, mut far) = duplex(4096);
        let (served, ()) = tokio::join!(serve(TokioIo::new(near), &app, &limits), async {
            far.write_all(&HANDSHAKE.as_bytes()[..20]).await.unwrap();
            std::thread::sleep(Duration::from_millis(900));
            sleep(Duration::from_millis(100)).await;
            if answers {
                far.write_all(&HANDSHAKE.as_bytes()[20..]).await.unwrap();
            }
            sleep(Duration::from_millis(1)).await;
            assert!(answers || hear(&mut far).await.starts_with("HTTP/1.1 408 "), "but not for ever");
        });
        assert_eq!(matches!(served, Served::Upgraded { .. }), answers);
    }
}
