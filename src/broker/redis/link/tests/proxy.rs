//! A proxy before a real server, which withholds or adds pushes.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::*;

/// A proxy. It tells the connection of the subscriptions by the pushes that have come on it.
pub(super) struct Proxy {
    port: u16,
    orders: watch::Sender<Orders>,
    requests: watch::Receiver<Vec<u8>>,
}

#[derive(Clone, Default)]
struct Orders {
    is_mute: bool,
    injected: &'static [u8],
}

impl Proxy {
    pub(super) async fn start(server: &TestServer) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (orders, ordered) = watch::channel(Orders::default());
        let (seen, requests) = watch::channel(Vec::new());
        let server_port = server.port;
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server_port)).await.unwrap();
                tokio::spawn(forward(client, server, ordered.clone(), seen.clone()));
            }
        });
        Self { port, orders, requests }
    }

    /// Returns settings that lead to the server through this.
    pub(super) fn settings(&self, server: &TestServer) -> ServerSettings {
        ServerSettings { port: self.port, ..server.settings() }
    }

    /// Withholds pushes, or no longer.
    pub(super) fn mute(&self, is_mute: bool) {
        self.orders.send_modify(|orders| orders.is_mute = is_mute);
    }

    /// Sends bytes to the client as if the server had pushed them.
    pub(super) fn inject(&self, bytes: &'static [u8]) {
        self.orders.send_modify(|orders| orders.injected = bytes);
    }

    /// Waits until the last bytes of a client have contained a text.
    pub(super) async fn wait_for_request(&self, text: &str) {
        let has_text = |request: &Vec<u8>| String::from_utf8_lossy(request).contains(text);
        let mut requests = self.requests.clone();
        tokio::time::timeout(PATIENCE, requests.wait_for(has_text)).await.expect("no request came").unwrap();
    }
}

/// Forwards in both directions until a side closes.
async fn forward(
    client: TcpStream,
    server: TcpStream,
    mut orders: watch::Receiver<Orders>,
    seen: watch::Sender<Vec<u8>>,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut request, mut answer) = (vec![0; 65_536], vec![0; 65_536]);
    let mut has_pushes = false;
    orders.mark_unchanged();
    loop {
        let written = tokio::select! {
            read = from_client.read(&mut request) => {
                let len @ 1.. = read.unwrap_or(0) else { return };
                let written = to_server.write_all(&request[..len]).await;
                // Nobody waits for requests when the test ends.
                _ = seen.send(request[..len].to_vec());
                written
            }
            read = from_server.read(&mut answer) => {
                let len @ 1.. = read.unwrap_or(0) else { return };
                let is_push = answer[..len].starts_with(b">");
                has_pushes |= is_push;
                if is_push && orders.borrow().is_mute {
                    continue;
                }
                to_client.write_all(&answer[..len]).await
            }
            Ok(()) = orders.changed(), if has_pushes => {
                let injected = orders.borrow_and_update().injected;
                to_client.write_all(injected).await
            }
        };
        if written.is_err() {
            return;
        }
    }
}
