//! Errors of a server that say where a call belongs, or when, and nothing about the call itself.

use super::super::script::ServerError;

/// The reason why a server cannot carry out a call here or now. The call was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// Another server has the slot, or will have it: the map of the slots must be read again.
    Elsewhere,
    /// The server can carry out the call later.
    Later,
}

/// Returns the obstacle that an error names; `None` when the server refuses the call itself.
#[must_use]
pub fn obstacle(error: &ServerError) -> Option<Obstacle> {
    match error.code.as_str() {
        "MOVED" | "CLUSTERDOWN" | "MASTERDOWN" | "READONLY" | "LOADING" => Some(Obstacle::Elsewhere),
        // The keys of a slot are being moved (ASK: this one already was), or another script takes long.
        "TRYAGAIN" | "ASK" | "BUSY" => Some(Obstacle::Later),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_about_the_way_are_told_from_refusals() {
        let of = |line: &str| {
            let (code, text) = line.split_once(' ').unwrap_or((line, ""));
            obstacle(&ServerError::new(code, text))
        };
        for line in [
            "MOVED 3999 127.0.0.1:6381",
            "CLUSTERDOWN Hash slot not served",
            "MASTERDOWN Link with MASTER is down",
            "READONLY You can't write against a read only replica.",
            "LOADING Redis is loading the dataset in memory",
        ] {
            assert_eq!(of(line), Some(Obstacle::Elsewhere), "{line}");
        }
        for line in
            ["TRYAGAIN Multiple keys request during rehashing of slot", "ASK 1 h:2", "BUSY Redis is busy"]
        {
            assert_eq!(of(line), Some(Obstacle::Later), "{line}");
        }
        for line in ["OOM command not allowed", "NOREPLICAS Not enough good replicas", "NOPERM", "ERR MOVED"]
        {
            assert_eq!(of(line), None, "{line}");
        }
    }
}
