//! Answers and errors in the HTTP API's form.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use syncline_promql::{EvalError, ParseError, error_to_json, eval_error_to_json, parse_error_to_json};

/// Smaller bodies are not worth packing.
const WORTH_PACKING: usize = 1_400;

/// An answer in one piece.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Header `Content-Type`.
    pub content_type: &'static str,
    /// Other headers.
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// JSON as the API wraps it: `{"status":"success","data":…}`.
    pub fn data(data: &Value) -> Self {
        Self::with_warnings(data, &[])
    }

    /// The same, with warnings.
    pub fn with_warnings(data: &Value, warnings: &[String]) -> Self {
        let mut body = format!(r#"{{"status":"success","data":{data}"#);
        if !warnings.is_empty() {
            body.push_str(&format!(r#","warnings":{}"#, Value::from(warnings)));
        }
        body.push('}');
        Self::json(body)
    }

    /// JSON that is written already.
    pub fn json(body: String) -> Self {
        Self { status: 200, content_type: "application/json", headers: Vec::new(), body: body.into_bytes() }
    }

    /// Text as Go's HTTP server gives it.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        let headers = vec![("X-Content-Type-Options", "nosniff".to_owned())];
        Self { status, content_type: "text/plain; charset=utf-8", headers, body: text.into().into_bytes() }
    }

    /// The body packed, where that is worth it and it is not packed already.
    pub fn packed(mut self) -> Self {
        if self.body.len() < WORTH_PACKING || self.headers.iter().any(|(name, _)| *name == "Content-Encoding") {
            return self;
        }
        let mut packer = GzEncoder::new(Vec::with_capacity(self.body.len() / 4), Compression::fast());
        if let Ok(packed) = packer.write_all(&self.body).and_then(|()| packer.finish()) {
            self.body = packed;
            self.headers.push(("Content-Encoding", "gzip".to_owned()));
        }
        self
    }
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub status: u16,
    /// `errorType`.
    pub kind: &'static str,
    pub message: String,
}

impl Failure {
    /// What cannot be asked so.
    pub fn bad_data(message: impl Into<String>) -> Self {
        Self { status: 400, kind: "bad_data", message: message.into() }
    }

    /// A parameter that cannot be read.
    pub fn parameter(name: &str, why: impl std::fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter \"{name}\": {why}"))
    }

    /// What the server cannot do now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { status: 503, kind: "unavailable", message: message.into() }
    }

    /// No time left.
    pub fn timeout(message: impl Into<String>) -> Self {
        Self { status: 503, kind: "timeout", message: message.into() }
    }
}

impl From<Failure> for Response {
    fn from(failure: Failure) -> Self {
        Self { status: failure.status, ..Self::json(error_to_json(failure.kind, &failure.message)) }
    }
}

/// An expression that is none.
pub(crate) fn unreadable(error: &ParseError) -> Response {
    Response { status: 400, ..Response::json(parse_error_to_json(error)) }
}

/// An expression that could not be evaluated.
pub(crate) fn failed(error: &EvalError) -> Response {
    let status = match error {
        EvalError::BadData(_) => 400,
        EvalError::Execution(_) => 422,
        EvalError::Timeout => 503,
    };
    Response { status, ..Response::json(eval_error_to_json(error)) }
}
