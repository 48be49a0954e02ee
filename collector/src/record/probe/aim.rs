//! Where a probe aims, and how often: `http://SERVICE.NS:PORT/PATH@200/s`.

use std::fmt;
use std::str::FromStr;

/// Requests per second where none are given.
pub const RATE: f64 = 200.0;
/// Most requests per second: beyond, a client of its own should be used, which does not share the node's CPU.
const MOST: f64 = 2000.0;

/// One target of a probe.
#[derive(Clone, Debug, PartialEq)]
pub struct Aim {
    /// Name or address, as given; IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// Requests per second, new and kept-alive connections together.
    pub rate: f64,
}

impl Aim {
    /// Name and namespace where the host is `SERVICE.NS`, also with `.svc` and a cluster's domain behind them.
    pub fn service(&self) -> Option<(&str, &str)> {
        if self.host.parse::<std::net::IpAddr>().is_ok() {
            return None;
        }
        let mut parts = self.host.split('.');
        let (name, namespace, third) = (parts.next()?, parts.next()?, parts.next());
        (third.is_none_or(|third| third == "svc")).then_some((name, namespace))
    }

    /// `host:port` as the header `Host` has it.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// A word for a file's name.
    pub fn stem(&self) -> String {
        let plain = |letter: char| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '-' };
        format!("{}-{}", self.host.chars().map(plain).collect::<String>(), self.port)
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}@{}/s", self.authority(), self.path, self.rate)
    }
}

impl FromStr for Aim {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            |what: &str| Err(format!("`{text}`: expected http://SERVICE.NS:PORT[/PATH][@RATE/s], found {what}"));
        let Some(rest) = text.strip_prefix("http://") else {
            return match text.split_once("://") {
                Some(("https", _)) => wrong("https: the probe speaks plain HTTP only"),
                _ => wrong("no http://"),
            };
        };
        let (place, rate) = match rest.rsplit_once('@') {
            // What stands ahead of an @ and is no rate behind it would be a password.
            Some((_, behind)) if !behind.starts_with(|first: char| first.is_ascii_digit()) => {
                return wrong("a name and password ahead of the host, which would end up in the capture");
            }
            Some((place, rate)) => match rate_of(rate) {
                Some(rate) => (place, rate),
                None => return wrong(&format!("the rate `{rate}` (200, 200/s or 600/m; at most {MOST}/s)")),
            },
            None => (rest, RATE),
        };
        if place.contains('@') {
            return wrong("a name and password ahead of the host, which would end up in the capture");
        }
        let (authority, path) = match place.find('/') {
            Some(at) => (&place[..at], &place[at..]),
            None => (place, "/"),
        };
        if path.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return wrong("blanks or control characters in the path");
        }
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = match port.map(str::parse::<u16>) {
            None => 80,
            Some(Ok(port)) if port > 0 => port,
            Some(_) => return wrong("no port between 1 and 65535"),
        };
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_' | ':');
        if host.is_empty() || !host.chars().all(allowed) {
            return wrong("no host");
        }
        Ok(Self { host: host.to_owned(), port, path: path.to_owned(), rate })
    }
}

/// Requests per second of `200`, `200/s` or `600/m`.
fn rate_of(text: &str) -> Option<f64> {
    let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
    let per_second = match unit {
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    let rate = number.parse::<f64>().ok()? / per_second;
    (rate > 0.0 && rate <= MOST).then_some(rate)
}

#[cfg(test)]
mod tests {
    use super::Aim;

    #[test]
    fn reads_what_a_user_writes() {
        let read =
            |text: &str| text.parse::<Aim>().map(|aim| format!("{} {} {} {}", aim.host, aim.port, aim.path, aim.rate));
        assert_eq!(read("http://test.default:80@200/s").as_deref(), Ok("test.default 80 / 200"));
        assert_eq!(read("http://test.default").as_deref(), Ok("test.default 80 / 200"));
        assert_eq!(read("http://10.96.0.1:8080/a/b?c=d@600/m").as_deref(), Ok("10.96.0.1 8080 /a/b?c=d 10"));
        assert_eq!(read("http://[fd00::1]:8080@5").as_deref(), Ok("fd00::1 8080 / 5"));
        for wrong in [
            "https://a.b",
            "a.b:80",
            "http://",
            "http://a:0",
            "http://a:http",
            "http://a@0/s",
            "http://a@9999/s",
            "http://a@2/h",
            "http://user:secret@a.b:80",
            "http://user:secret@a.b:80@200/s",
            "http://a/b c",
            "http://a\r\nb",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(read("http://user:secret@a.b").unwrap_err().contains("password"));
    }

    #[test]
    fn knows_a_service_from_an_address() {
        let service = |text: &str| {
            let aim: Aim = text.parse().unwrap();
            aim.service().map(|(name, namespace)| format!("{namespace}/{name}"))
        };
        assert_eq!(service("http://test.default:80").as_deref(), Some("default/test"));
        assert_eq!(service("http://test.default.svc.cluster.local").as_deref(), Some("default/test"));
        assert_eq!(service("http://10.0.0.1"), None);
        assert_eq!(service("http://www.example.org"), None);
        assert_eq!(service("http://test"), None);
    }
}
