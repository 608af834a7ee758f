//! Asks Sentinels where their master is.

use bytes::Bytes;

use super::super::script::Reply;
use super::connect::ask_once;
use super::reason::DownReason;
use super::settings::{Sentinels, ServerSettings};

/// Asks one Sentinel after the other for the master's host and port. The one that answers is asked first from now on.
///
/// # Errors
/// No Sentinel names a master.
pub(super) async fn find_master(sentinels: &Sentinels) -> Result<(String, u16), DownReason> {
    let Sentinels { servers, master_name } = sentinels;
    let in_turn = servers.lock().clone();
    let mut failures = Vec::new();
    for (index, server) in in_turn.iter().enumerate() {
        match master_of(server, master_name).await {
            Ok(master) => {
                servers.lock().rotate_left(index);
                return Ok(master);
            }
            Err(failure) => failures.push(format!("{server}: {failure}")),
        }
    }
    Err(DownReason::NoMaster(failures.join("; ")))
}

/// Asks every Sentinel for the master's host and port. Returns the name of each, and its answer or why there is none.
pub async fn masters_of(sentinels: &Sentinels) -> Vec<(String, Result<(String, u16), String>)> {
    let servers = sentinels.servers.lock().clone();
    let mut answers = Vec::with_capacity(servers.len());
    for server in &servers {
        answers.push((server.to_string(), master_of(server, &sentinels.master_name).await));
    }
    answers
}

/// Asks one Sentinel for the master.
async fn master_of(sentinel: &ServerSettings, master_name: &str) -> Result<(String, u16), String> {
    let args = [Bytes::from("get-master-addr-by-name"), Bytes::from(master_name.to_owned())];
    match ask_once(sentinel, "SENTINEL", &args).await {
        Ok(Reply::Nil) => Err(format!("it knows no redis.master_name {master_name:?}")),
        Ok(reply) => address(&reply).ok_or_else(|| "its answer is malformed".to_owned()),
        Err(reason) => Err(reason.to_string()),
    }
}

/// Lets another Sentinel be asked first: the master that was named cannot be used.
pub(super) fn doubt(sentinels: &Sentinels) {
    let mut servers = sentinels.servers.lock();
    if !servers.is_empty() {
        servers.rotate_left(1);
    }
}

/// Reads a host and a port.
fn address(reply: &Reply) -> Option<(String, u16)> {
    let [host, port] = reply.array()? else { return None };
    let port = port.text()?.parse().ok().filter(|port| *port != 0)?;
    Some((host.text()?.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_strictly() {
        let word = |word: &'static str| Reply::Bytes(Bytes::from_static(word.as_bytes()));
        let of = |words: &[&'static str]| address(&Reply::Array(words.iter().copied().map(word).collect()));
        assert_eq!(of(&["::1", "6379"]), Some(("::1".to_owned(), 6379)));
        for wrong in [&["h"][..], &["h", "0"], &["h", "x"], &["h", "70000"], &["h", "1", "2"]] {
            assert_eq!(of(wrong), None, "{wrong:?}");
        }
        assert_eq!(address(&Reply::Nil), None);
    }
}
