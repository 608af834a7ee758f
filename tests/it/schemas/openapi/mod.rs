//! Tests that `docs/openapi.yaml` is true: it has every call of the server API and every error, and every answer of a
//! live server is as it says.

mod document;
mod live;
mod refused;
mod request;
mod witness;
mod written;
