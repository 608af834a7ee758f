//! A reload, against a receiver on a socket. The tests of the binary have the rest.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;

use super::*;
use crate::config::{Sources, Url, Webhook};

const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a receiver that answers with the status that is set, and passes the bodies on.
fn receiver(status: Arc<AtomicUsize>) -> (Url, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}/hook", listener.local_addr().unwrap())).unwrap();
    let (tell, told) = mpsc::sync_channel(100);
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let (tell, status) = (tell.clone(), Arc::clone(&status));
            std::thread::spawn(move || {
                let mut reader = BufReader::new(&socket);
                loop {
                    let mut length = 0;
                    let mut line = String::new();
                    while line != "\r\n" {
                        line.clear();
                        if reader.read_line(&mut line).unwrap_or(0) == 0 {
                            return;
                        }
                        if let Some(value) = line.strip_prefix("content-length: ") {
                            length = value.trim().parse().unwrap();
                        }
                    }
                    let mut body = vec![0; length];
                    reader.read_exact(&mut body).unwrap();
                    let status = status.load(Relaxed);
                    write!(&socket, "HTTP/1.1 {status} Said\r\nContent-Length: 0\r\n\r\n").unwrap();
                    tell.send(String::from_utf8(body).unwrap()).unwrap();
                }
            });
        }
    });
    (url, told)
}

fn configured(urls: &[&Url]) -> Config {
    let mut config = Config::load(Sources::new().set("webhooks.linger=0ms").set("node=n")).unwrap();
    let webhook = |url: &&Url| Webhook {
        url: (*url).clone(),
        secrets: vec![config::Secret::new("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX")],
        ..Webhook::default()
    };
    config.webhooks.receivers = urls.iter().map(webhook).collect();
    config
}

/// Returns the types of the events of one request.
fn kinds(body: &str) -> Vec<&str> {
    body.split("\"type\":\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

/// 1. A receiver answers 410 and is told nothing more.
/// 2. A reload adds another one, which is told so. The first one is tried again: it hears how much it has missed.
/// 3. A reload takes it out again: the other one goes on.
#[test]
fn a_reload_switches_a_receiver_on_again_and_adds_another() {
    let status = Arc::new(AtomicUsize::new(410));
    let (first, first_told) = receiver(Arc::clone(&status));
    let (second, second_told) = receiver(Arc::new(AtomicUsize::new(200)));
    let webhooks = Webhooks::new(&configured(&[&first]), Clock::system());
    webhooks.start().unwrap();
    assert_eq!(kinds(&first_told.recv_timeout(PATIENCE).unwrap()), ["resync"]);
    while webhooks.gauges()[0].dropped == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let alice: UserId = "alice".parse().unwrap();
    webhooks.user_came(&alice);
    assert_eq!((webhooks.gauges()[0].dropped, webhooks.gauges()[0].queue), (2, 0));

    status.store(200, Relaxed);
    webhooks.reconfigure(&configured(&[&second, &first]).webhooks).unwrap();
    assert!(second_told.recv_timeout(PATIENCE).unwrap().contains("\"reason\":\"added\""));
    webhooks.note(&Happening::UserOnline(&alice));
    assert_eq!(kinds(&second_told.recv_timeout(PATIENCE).unwrap()), ["user_online"]);
    let body = first_told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(kinds(&body), ["user_online", "resync"], "{body}");
    assert!(body.ends_with("\"dropped\":2}"), "{body}");
    assert_eq!(webhooks.gauges()[1].place, 1);

    webhooks.reconfigure(&configured(&[&second]).webhooks).unwrap();
    webhooks.note(&Happening::UserOffline(&alice));
    assert_eq!(kinds(&second_told.recv_timeout(PATIENCE).unwrap()), ["user_offline"]);
    webhooks.reconfigure(&configured(&[]).webhooks).unwrap();
    assert!(!webhooks.want(WebhookEvent::UserOnline));
    webhooks.stop(PATIENCE);
    assert!(first_told.try_recv().is_err() && second_told.try_recv().is_err());
}

#[test]
fn a_user_who_is_back_when_the_time_is_over_is_not_offline() {
    let (url, told) = receiver(Arc::new(AtomicUsize::new(200)));
    let clock = Clock::manual();
    let webhooks = Webhooks::new(&configured(&[&url]), clock.clone());
    webhooks.start().unwrap();
    told.recv_timeout(PATIENCE).unwrap();
    let [alice, bob]: [UserId; 2] = ["alice", "bob"].map(|name| name.parse().unwrap());
    webhooks.user_left(&alice);
    webhooks.user_left(&bob);
    clock.advance(Duration::from_secs(29));
    webhooks.keep_house(clock.now_ms(), |_| true, |_| true);
    clock.advance(Duration::from_secs(1));
    webhooks.keep_house(clock.now_ms(), |user| user.as_str() != "alice", |_| true);
    let body = told.recv_timeout(PATIENCE).unwrap();
    assert!(kinds(&body) == ["user_offline"] && body.contains("\"user\":\"bob\""), "{body}");
    webhooks.stop(PATIENCE);
    assert!(told.try_recv().is_err(), "alice is online");
}
