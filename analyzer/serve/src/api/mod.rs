//! The calls, and what answers each.
//!
//! | call | answer |
//! |---|---|
//! | `query`, `query_range` | as Prometheus: `limit`, `timeout`, `lookback_delta`; `stats` is not answered |
//! | `series`, `labels`, `label/NAME/values` | as Prometheus |
//! | `metadata`, `targets/metadata` | types that the captures told; no help texts, no units; no targets |
//! | `query_exemplars` | none: captures hold no exemplars |
//! | `format_query`, `parse_query` | as Prometheus |
//! | `rules`, `alerts` | those of `--rules`, as they stood at the last sample |
//! | `targets`, `scrape_pools`, `alertmanagers` | none: nothing is scraped or notified |
//! | `status/buildinfo`, `runtimeinfo`, `flags`, `tsdb`, `config`, `walreplay` | of this server, no paths |
//! | `/federate`, `/metrics`, `/-/ready`, `/-/healthy` | as Prometheus |
//! | `read` | samples for a Prometheus with `remote_read` |
//! | `admin/…`, `write`, anything else | 404 |

mod expressions;
mod federate;
mod query;
mod read;
mod rules;
mod series;
mod status;

use std::time::Instant;

use serde_json::json;

use crate::own::Own;
use crate::{Failure, Guard, Request, Response, Served};

/// The API over what is served.
pub struct Api {
    pub served: Served,
    guard: Guard,
    own: Own,
}

/// Methods of calls that take a form.
const WITH_FORM: &str = "GET, OPTIONS, POST";
/// Methods of the others.
const PLAIN: &str = "GET, OPTIONS";
/// Method of those whose body is no form.
const WITH_BODY: &str = "POST, OPTIONS";

impl Api {
    /// Serves to whom the guard lets.
    pub fn new(served: Served, guard: Guard) -> Self {
        Self { served, guard, own: Own::default() }
    }

    /// Answers a request that waits since `asked`.
    pub fn answer(&self, request: &Request, asked: Instant) -> Response {
        if let Some(refused) = self.guard.refuses(request) {
            return refused;
        }
        let (call, answer) = self.call(request, asked);
        let mut answer = answer.unwrap_or_else(Response::from);
        self.own.answered(call, answer.status, asked.elapsed());
        if request.gzip {
            answer = answer.packed();
        }
        answer.headers.extend(self.guard.headers(request));
        answer
    }

    /// Whether a request is a call; else it asks for a page, which may take long to make.
    pub fn is_call(&self, request: &Request) -> bool {
        let segments = request.segments();
        known(&segments.iter().map(String::as_str).collect::<Vec<_>>()).is_some()
    }

    fn call(&self, request: &Request, asked: Instant) -> (&'static str, Result<Response, Failure>) {
        let segments = request.segments();
        let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        let Some((call, methods)) = known(&parts) else {
            let page = if request.method == "GET" { self.served.pages.page(&segments.join("/")) } else { None };
            return ("page", Ok(page.unwrap_or_else(|| Response::text(404, "404 page not found\n"))));
        };
        match request.method.as_str() {
            "OPTIONS" => return (call, Ok(Response { status: 204, ..Response::text(204, "") })),
            "GET" if methods != WITH_BODY => {}
            "POST" if methods != PLAIN => {}
            _ => {
                let mut refused = Response::text(405, "Method Not Allowed\n");
                refused.headers.push(("Allow", methods.to_owned()));
                return (call, Ok(refused));
            }
        }
        let empty = |name: &str| Ok(Response::data(&json!({ name: [] })));
        let answer = match parts.as_slice() {
            ["-", state] => Ok(Response::text(200, format!("Prometheus Server is {}.\n", capital(state)))),
            ["metrics"] => Ok(federate::exposition(self.own.text(&self.served))),
            ["federate"] => Ok(federate::federate(&self.served, request)),
            ["api", "v1", call @ ..] => match call {
                ["query"] => query::instant(&self.served, request, asked),
                ["query_range"] => query::range(&self.served, request, asked),
                ["query_exemplars"] => query::exemplars(&self.served, request),
                ["format_query"] => Ok(expressions::format(request)),
                ["parse_query"] => Ok(expressions::parse_query(request)),
                ["series"] => series::series(&self.served, request),
                ["labels"] => series::label_names(&self.served, request),
                ["label", name, _] => series::label_values(&self.served, request, name),
                ["metadata"] => series::metadata(&self.served, request),
                ["read"] => read::read(&self.served, request),
                ["rules"] => rules::rules(&self.served, request),
                ["alerts"] => Ok(Response::data(&json!({ "alerts": self.served.alerts }))),
                ["alertmanagers"] => {
                    Ok(Response::data(&json!({ "activeAlertmanagers": [], "droppedAlertmanagers": [] })))
                }
                ["targets"] => {
                    Ok(Response::data(&json!({ "activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {} })))
                }
                ["targets", _] => Ok(Response::data(&json!([]))),
                ["scrape_pools"] => empty("scrapePools"),
                ["status", what] => status::status(&self.served, request, what),
                _ => Ok(Response::text(404, "404 page not found\n")),
            },
            _ => Ok(Response::text(404, "404 page not found\n")),
        };
        (call, answer)
    }
}

/// The name and the methods of a call.
fn known(parts: &[&str]) -> Option<(&'static str, &'static str)> {
    Some(match parts {
        ["-", "ready"] => ("ready", PLAIN),
        ["-", "healthy"] => ("healthy", PLAIN),
        ["metrics"] => ("metrics", PLAIN),
        ["federate"] => ("federate", PLAIN),
        ["api", "v1", call @ ..] => match call {
            ["query"] => ("query", WITH_FORM),
            ["query_range"] => ("query_range", WITH_FORM),
            ["query_exemplars"] => ("query_exemplars", WITH_FORM),
            ["format_query"] => ("format_query", WITH_FORM),
            ["parse_query"] => ("parse_query", WITH_FORM),
            ["series"] => ("series", WITH_FORM),
            ["labels"] => ("labels", WITH_FORM),
            ["label", _, "values"] => ("label_values", PLAIN),
            ["metadata"] => ("metadata", PLAIN),
            ["read"] => ("read", WITH_BODY),
            ["rules"] => ("rules", PLAIN),
            ["alerts"] => ("alerts", PLAIN),
            ["alertmanagers"] => ("alertmanagers", PLAIN),
            ["targets"] => ("targets", PLAIN),
            ["targets", "metadata"] => ("targets_metadata", PLAIN),
            ["scrape_pools"] => ("scrape_pools", PLAIN),
            ["status", "buildinfo" | "runtimeinfo" | "flags" | "tsdb" | "config" | "walreplay"] => ("status", PLAIN),
            _ => return None,
        },
        _ => return None,
    })
}

fn capital(state: &str) -> &'static str {
    if state == "ready" { "Ready" } else { "Healthy" }
}

/// The parameter `limit`; 0: none.
fn limit(request: &Request) -> Result<usize, Failure> {
    let text = request.get("limit");
    if text.is_empty() {
        return Ok(0);
    }
    let wrong = |why: &str| Failure::parameter("limit", why);
    let number: i64 = text.parse().map_err(|_| wrong(&format!("strconv.Atoi: parsing {text:?}: invalid syntax")))?;
    usize::try_from(number).map_err(|_| wrong("limit must be non-negative"))
}

/// A time that may be left out.
fn time(request: &Request, name: &str, otherwise: i64) -> Result<i64, Failure> {
    let text = request.get(name);
    if text.is_empty() {
        return Ok(otherwise);
    }
    crate::times::time(text).ok_or_else(|| {
        let why = format!("Invalid time value for '{name}': cannot parse {text:?} to a valid timestamp");
        Failure::parameter(name, why)
    })
}

/// What is said where a limit cut.
const TRUNCATED: &str = "results truncated due to limit";

#[cfg(test)]
mod tests;
