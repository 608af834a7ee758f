//! The facts in a server's `INFO`, and whether nodes can use the server.

use std::fmt;

use super::reason::DownReason;

/// The oldest major version that has everything: sharded channels, and scripts whose effects are replicated.
const OLDEST_MAJOR: u32 = 7;

/// The facts in a server's `INFO`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// The version of Redis, or the one that Valkey is compatible with.
    pub version: Version,
    /// The version of Valkey, if the server is one.
    pub valkey: Option<Version>,
    /// Whether the server is part of a Redis Cluster.
    pub is_cluster: bool,
    /// Random, new with every start of the server's process.
    pub run_id: String,
    /// Names the data set: new with every promotion, and with every restart that is not a replica's.
    pub replication_id: String,
    /// How many replicas are connected.
    pub replicas: u32,
}

/// A version as three numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// Reads `7.0.15`. The rest, such as `-rc1`, is ignored.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(|c: char| !c.is_ascii_digit());
        let mut next = || parts.next().and_then(|part| part.parse().ok());
        Some(Self(next()?, next().unwrap_or(0), next().unwrap_or(0)))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// Returns the value of a field in the text of `INFO`.
pub(super) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// Reads the sections `server`, `replication` and `persistence` of `INFO`, and checks that the server can be used now.
///
/// # Errors
/// The server is too old, still reads its data, is a replica, or says too little of itself.
pub(super) fn read(info: &str) -> Result<ServerFacts, DownReason> {
    let version = field(info, "redis_version")
        .and_then(Version::parse)
        .ok_or(DownReason::NoFact { field: "redis_version", section: "server" })?;
    if version.0 < OLDEST_MAJOR {
        return Err(DownReason::TooOld(version));
    }
    if field(info, "loading") == Some("1") {
        return Err(DownReason::Loading);
    }
    let replication_id = replication_id(info)?.to_owned();
    let server = |field_name| {
        field(info, field_name).ok_or(DownReason::NoFact { field: field_name, section: "server" })
    };
    Ok(ServerFacts {
        version,
        valkey: field(info, "valkey_version").and_then(Version::parse),
        is_cluster: field(info, "redis_mode") == Some("cluster"),
        run_id: server("run_id")?.to_owned(),
        replication_id,
        replicas: field(info, "connected_slaves").and_then(|count| count.parse().ok()).unwrap_or(0),
    })
}

/// Returns the replication id of a master from the section `replication` of `INFO`.
///
/// # Errors
/// The server is a replica, or hides the id.
pub(super) fn replication_id(info: &str) -> Result<&str, DownReason> {
    let of = |name| field(info, name).ok_or(DownReason::NoFact { field: name, section: "replication" });
    match of("role")? {
        "master" => of("master_replid"),
        role => Err(DownReason::NotMaster { role: role.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nrun_id:aa\r\n\r\n# Persistence\r\n\
                        loading:0\r\n# Replication\r\nrole:master\r\nconnected_slaves:2\r\nmaster_replid:bb\r\n";

    #[test]
    fn a_master_of_a_new_version_can_be_used() {
        let facts = read(INFO).unwrap();
        assert_eq!((facts.version, facts.valkey, facts.is_cluster), (Version(7, 0, 15), None, false));
        assert_eq!((&*facts.run_id, &*facts.replication_id, facts.replicas), ("aa", "bb", 2));
        let valkey = INFO.replace("7.0.15", "7.2.4\r\nvalkey_version:8.0.1-rc1");
        assert_eq!(read(&valkey).unwrap().valkey, Some(Version(8, 0, 1)));
    }

    #[test]
    fn every_obstacle_is_named() {
        let error = |from: &str, to: &str| read(&INFO.replace(from, to)).unwrap_err();
        assert_eq!(error("7.0.15", "6.2.7"), DownReason::TooOld(Version(6, 2, 7)));
        assert_eq!(error("loading:0", "loading:1"), DownReason::Loading);
        assert_eq!(error("role:master", "role:slave"), DownReason::NotMaster { role: "slave".into() });
        let missing = |field, section| DownReason::NoFact { field, section };
        assert_eq!(error("master_replid:bb", ""), missing("master_replid", "replication"));
        assert_eq!(error("run_id:aa", ""), missing("run_id", "server"));
        assert_eq!(read("HTTP/1.1 400"), Err(missing("redis_version", "server")));
    }
}
