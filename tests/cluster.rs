//! Many nodes on one engine, from outside: real servers of Redis or Valkey, several processes of the binary, clients
//! that reconnect to any of them, a checker of all that they were sent, and the faults that must not break a promise.

#[path = "cluster/api.rs"]
mod api;
#[path = "cluster/carried.rs"]
mod carried;
#[path = "cluster/chaos/mod.rs"]
mod chaos;
#[path = "cluster/chat.rs"]
mod chat;
#[path = "cluster/checker/mod.rs"]
mod checker;
#[path = "cluster/dashboard.rs"]
mod dashboard;
#[path = "cluster/doctor.rs"]
mod doctor;
#[path = "cluster/engines/mod.rs"]
mod engines;
#[path = "cluster/example.rs"]
mod example;
#[path = "cluster/listed.rs"]
mod listed;
#[path = "cluster/load/mod.rs"]
mod load;
#[path = "cluster/nodes/mod.rs"]
mod nodes;
#[path = "cluster/revoke.rs"]
mod revoke;
#[path = "cluster/sse.rs"]
mod sse;
#[path = "cluster/start.rs"]
mod start;
#[path = "cluster/storm/mod.rs"]
mod storm;
#[path = "it/support/mod.rs"]
#[expect(dead_code, reason = "shared with the integration tests, which need more of it")]
mod support;
#[path = "cluster/webhooks.rs"]
mod webhooks;
#[path = "cluster/who/mod.rs"]
mod who;
