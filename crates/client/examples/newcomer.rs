//! A whole program on the client: `cargo run -p throng-client --example newcomer ws://127.0.0.1:8080`
use throng_client::{Client, Event};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or("ws://127.0.0.1:8080".into());
    let (client, mut events) = Client::builder(&url).user("alice").room("lobby").connect()?;
    client.say("lobby", "hi").await?;
    while let Some(event) = events.next().await {
        if let Event::Message { user, text, .. } = event {
            println!("{user}: {text}");
        }
    }
    Ok(())
}
