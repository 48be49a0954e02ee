//! Who may ask: no page of another origin, and nobody who was led here by a name that was made to mean this machine (DNS
//! rebinding).
//!
//! A browser sends the name that its page was loaded from as `Host`. Only addresses, `localhost`, and names that the user
//! gave (hosts of `--allow-origin`) are answered; a page of another origin gets no `Access-Control-Allow-Origin`, without
//! which its browser keeps the answer from it.

use std::net::IpAddr;

use crate::{Request, Response};

/// The origins that may read answers.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// As given: `https://grafana.example:3000`.
    origins: Vec<String>,
}

impl Guard {
    /// Origins as browsers write them.
    ///
    /// # Errors
    /// What is no origin, in words.
    pub fn new(origins: &[String]) -> Result<Self, String> {
        for origin in origins {
            let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            let plain =
                |host: &str| !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
            if !host.is_some_and(plain) {
                return Err(format!("`{origin}` is no origin: expected one as http://grafana.example:3000"));
            }
        }
        Ok(Self { origins: origins.iter().map(|origin| origin.to_ascii_lowercase()).collect() })
    }

    /// Why a request is not answered, if it is not.
    pub fn refuses(&self, request: &Request) -> Option<Response> {
        let host = request.host.as_deref()?;
        if self.knows(host) {
            return None;
        }
        let text = "this server answers to addresses and to localhost; name others with --allow-origin http://NAME\n";
        Some(Response::text(403, text))
    }

    /// Headers of answers to an origin that may read them.
    pub fn headers(&self, request: &Request) -> Vec<(&'static str, String)> {
        let origin = request.origin.as_deref().unwrap_or_default();
        if !self.origins.contains(&origin.to_ascii_lowercase()) {
            return Vec::new();
        }
        vec![
            ("Access-Control-Allow-Origin", origin.to_owned()),
            ("Access-Control-Allow-Headers", "Accept, Authorization, Content-Type, Origin".to_owned()),
            ("Access-Control-Allow-Methods", "GET, POST, OPTIONS".to_owned()),
            ("Access-Control-Expose-Headers", "Date".to_owned()),
        ]
    }

    fn knows(&self, host: &str) -> bool {
        let name = without_port(host).to_ascii_lowercase();
        let address = name.trim_start_matches('[').trim_end_matches(']');
        name == "localhost"
            || name.ends_with(".localhost")
            || address.parse::<IpAddr>().is_ok()
            || self
                .origins
                .iter()
                .any(|origin| origin.split_once("://").is_some_and(|(_, own)| without_port(own) == name))
    }
}

/// A host without `:9095`; the brackets of an IPv6 address stay.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|byte| byte.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(host: &str, origin: Option<&str>) -> Request {
        Request { host: Some(host.to_owned()), origin: origin.map(str::to_owned), ..Request::default() }
    }

    #[test]
    fn only_addresses_and_given_names_are_answered() {
        let guard = Guard::new(&["http://grafana.example:3000".to_owned()]).unwrap();
        for host in ["127.0.0.1:9095", "localhost", "LOCALHOST:1", "[::1]:9095", "10.1.2.3", "grafana.example:9095"] {
            assert_eq!(guard.refuses(&asked(host, None)), None, "{host}");
        }
        for host in
            ["evil.example", "evil.example:9095", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "a:b:c"]
        {
            assert_eq!(guard.refuses(&asked(host, None)).map(|answer| answer.status), Some(403), "{host}");
        }
    }

    #[test]
    fn only_given_origins_may_read() {
        let guard = Guard::new(&["http://grafana.example:3000".to_owned()]).unwrap();
        let headers = |origin| guard.headers(&asked("localhost", origin));
        assert_eq!(headers(Some("http://grafana.example:3000"))[0].1, "http://grafana.example:3000");
        for origin in [None, Some("null"), Some("http://grafana.example"), Some("https://grafana.example:3000")] {
            assert!(headers(origin).is_empty(), "{origin:?}");
        }
        assert!(Guard::new(&["*".to_owned()]).is_err());
        assert!(Guard::new(&["http://a/b".to_owned()]).is_err());
    }
}
