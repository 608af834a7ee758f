//! Deadlines when the thread stands still.

use super::*;

/// The thread stands still, as on a virtual machine that is moved, and the bytes of the peer arrive afterwards.
#[tokio::test]
async fn a_pause_of_the_server_makes_no_peer_late() {
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
