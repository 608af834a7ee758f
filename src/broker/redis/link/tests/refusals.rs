//! Servers that cannot be used, and how the link says so.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::config::Secret;

#[tokio::test]
async fn a_wrong_password_is_named_and_never_shown() {
    let server = TestServer::start_with(&[("requirepass", "right-password")]);
    let with = |password: Option<&str>| {
        let mut settings = server.settings();
        settings.password = password.map(Secret::new);
        settings
    };
    let settings = with(Some("wrong-password"));
    assert!(!format!("{settings:?}").contains("wrong-password"));
    let reason = Tried::start(settings).wait_for_down().await;
    assert!(matches!(&reason, DownReason::LoginRefused(error) if error.code == "WRONGPASS"), "{reason:?}");
    assert!(!format!("{reason:?} {reason}").contains("wrong-password"));
    let reason = Tried::start(with(None)).wait_for_down().await;
    assert!(matches!(&reason, DownReason::LoginRefused(_)), "{reason:?}");
    Tried::start(with(Some("right-password"))).wait_for_up().await;
}

#[tokio::test]
async fn a_user_without_rights_is_told_which_command_is_refused() {
    let acl = "on >secret ~* &* +hello +info +client|setname";
    let server = TestServer::start_with(&[("user", &format!("chat {acl}"))]);
    let mut settings = server.settings();
    settings.username = Some("chat".into());
    settings.password = Some(Secret::new("secret"));
    let reason = Tried::start(settings.clone()).wait_for_down().await;
    assert!(
        matches!(&reason, DownReason::CommandRefused { command: "SSUBSCRIBE", error } if error.code == "NOPERM")
    );
    server.run("ACL SETUSER chat +ssubscribe +spublish");
    Tried::start(settings).wait_for_up().await;
}

#[tokio::test]
async fn a_replica_is_refused() {
    let master = TestServer::start();
    let replica = TestServer::start_with(&[("replicaof", &format!("127.0.0.1 {}", master.port))]);
    let reason = Tried::start(replica.settings()).wait_for_down().await;
    assert_eq!(reason, DownReason::NotMaster { role: "slave".into() });
}

/// Starts a server that reads requests and answers each with one of the texts, the last one for ever. None: it is
/// silent.
async fn fake(answers: &'static [&'static str]) -> ServerSettings {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = vec![0; 4_096];
                let mut answers = answers.iter();
                while socket.read(&mut buffer).await.is_ok_and(|len| len > 0) {
                    if let Some(answer) = answers.next()
                        && socket.write_all(answer.as_bytes()).await.is_err()
                    {
                        return;
                    }
                }
            });
        }
    });
    let mut settings = ServerSettings::new("127.0.0.1", port, "q");
    settings.timings.connect = Duration::from_millis(300);
    settings.timings.answer = Duration::from_millis(300);
    settings
}

async fn refusal(answers: &'static [&'static str]) -> DownReason {
    Tried::start(fake(answers).await).wait_for_down().await
}

#[tokio::test]
async fn an_old_version_is_named() {
    let answers = &[
        "%1\r\n+server\r\n+redis\r\n",
        "+OK\r\n",
        "+redis_version:6.2.7\r\n",
        "+loading:0\r\n",
        "+role:master\r\n",
    ];
    assert_eq!(refusal(answers).await, DownReason::TooOld(Version(6, 2, 7)));
    let before_resp3 = refusal(&["-ERR unknown command `HELLO`, with args beginning with: `3`\r\n"]).await;
    assert!(matches!(before_resp3, DownReason::NotRedis(_)), "{before_resp3:?}");
    assert!(before_resp3.to_string().contains("7.0 or later"), "{before_resp3}");
}

#[tokio::test]
async fn nonsense_is_recognised() {
    let reason = refusal(&["HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"]).await;
    assert!(matches!(reason, DownReason::NotRedis(_)), "{reason:?}");
    // Answers to the greeting that are right in form alone, the second one in kind, too.
    let reason = refusal(&["+hello\r\n"]).await;
    assert!(matches!(reason, DownReason::NotRedis(_)), "{reason:?}");
    let reason = refusal(&["%0\r\n"]).await;
    assert_eq!(reason, DownReason::AnswerDeadline(Duration::from_millis(300)));
}

#[tokio::test]
async fn a_silent_server_is_left_after_the_deadline() {
    assert_eq!(refusal(&[]).await, DownReason::ConnectDeadline(Duration::from_millis(300)));
}

#[tokio::test]
async fn an_unreachable_server_is_told_once_and_tried_again() {
    let mut server = TestServer::start();
    server.kill();
    let mut tried = Tried::start(server.settings());
    assert!(matches!(tried.wait_for_down().await, DownReason::Unreachable(_)));
    server.restart();
    // Attempts that fail for the same reason say nothing.
    tried.wait_for_up().await;
}

#[tokio::test]
async fn a_name_is_resolved() {
    let server = TestServer::start();
    let mut settings = server.settings();
    settings.host = "localhost".into();
    Tried::start(settings.clone()).wait_for_up().await;
    settings.host = "no-such-host.invalid".into();
    settings.timings.connect = PATIENCE;
    assert!(matches!(Tried::start(settings).wait_for_down().await, DownReason::Unreachable(_)));
}
