//! `format_query` and `parse_query`: what an expression is, without asking it.

use serde_json::Value;
use syncline_promql::{Expr, parse};

use crate::response::unreadable;
use crate::{Request, Response};

/// The expression as Prometheus prints it.
pub(super) fn format(request: &Request) -> Response {
    of(request, |query| Value::from(query.pretty()))
}

/// Its tree.
pub(super) fn parse_query(request: &Request) -> Response {
    of(request, Expr::outline)
}

fn of(request: &Request, what: impl Fn(&Expr) -> Value) -> Response {
    match parse(request.get("query")) {
        Ok(query) => Response::data(&what(&query)),
        Err(error) => unreadable(&error),
    }
}
