//! The exchange by example; `model` tries it under random schedules, `engine` with a real engine.

mod checks;
mod engine;
mod model;
mod occupied;
mod scenarios;
mod server;
mod wire;
mod world;
