//! Prometheus' HTTP API, read-only, over series in memory.
//!
//! ```text
//! connections ── listen (async) ── one whole request ── guard ── api ── one whole answer ── listen ── out
//!                limits, timeouts                        Host      a function of the request and what is served
//! ```
//!
//! Everything async is in [`listen`]; the rest is functions from a request to an answer, and knows no socket. Nothing is
//! written, no path of this machine is named or taken, and what a client may use is bounded ([`Limits`]).
//!
//! JSON, errors and status codes are those of Prometheus 3; where versions differ, the newer one counts. The calls are
//! listed in [`api`].

pub mod api;
mod guard;
pub mod listen;
mod own;
mod request;
mod response;
mod served;
mod times;

pub use guard::Guard;
pub use listen::{Limits, Listening};
pub use request::Request;
pub use response::{Failure, Response};
pub use served::{Clock, Held, Metadata, Pages, Served};
