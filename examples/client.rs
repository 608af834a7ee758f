//! `cargo run --example client 'ws://127.0.0.1:8080/ws/chat/carol?room=lobby'`
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::time::{Duration, Instant, sleep, timeout};
use tokio_tungstenite::{connect_async, tungstenite::ClientRequestBuilder};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("to which URL?")?;
    let (mut typed, mut epoch, mut offset, mut ceiling_ms) = (BufReader::new(stdin()).lines(), None, 0, 250);
    loop {
        let (started, mut advice) = (Instant::now(), Value::Null);
        let uri = epoch.as_ref().map_or(url.clone(), |it| format!("{url}&resume={it}:{offset}")).parse()?;
        let request = ClientRequestBuilder::new(uri).with_sub_protocol("throng.v1");
        let mut connection = Box::pin(connect_async(request)).await;
        while let Ok((socket, _)) = &mut connection {
            tokio::select! {
                Ok(Some(line)) = typed.next_line() => {
                    _ = socket.send(json!({"type": "message", "message": line}).to_string().into()).await;
                }
                frame = timeout(Duration::from_secs(60), socket.next()) => {
                    let Ok(Some(Ok(frame))) = frame else { break };
                    let told: Value = serde_json::from_slice(&frame.into_data()).unwrap_or_default();
                    let text = |field| told[field].as_str().unwrap_or("--");
                    match text("type") {
                        "message" | "direct" | "error" => println!("{}: {}", text("user"), text("message")),
                        "heartbeat" => _ = socket.send(r#"{"type":"heartbeat_ack"}"#.into()).await,
                        "disconnect" => advice = told.clone(),
                        "welcome" | "gap" if epoch.is_some() && told["recovered"] != true => println!("-- missed some"),
                        _ => {}
                    }
                    epoch = told["epoch"].as_str().map(str::to_owned).or(epoch);
                    offset = told["offset"].as_u64().unwrap_or(offset);
                }
            }
        }
        if advice["reconnect"] == false {
            println!("-- closed for good: {}", advice["reason"]);
            std::process::exit(1);
        }
        ceiling_ms = if started.elapsed().as_secs() > 30 { 500 } else { 20_000.min(2 * ceiling_ms) };
        let delay_ms = advice["after_ms"].as_u64().unwrap_or_else(|| fastrand::u64(0..ceiling_ms));
        println!("-- reconnecting in {delay_ms} ms");
        sleep(Duration::from_millis(delay_ms)).await;
    }
}
