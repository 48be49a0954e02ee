//! A request in one piece: what it asks, whom it believes to talk to, what its client takes.

use percent_encoding::percent_decode_str;

/// A request, its body read.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path as it came, without the query.
    pub path: String,
    /// Parameters in order, those of the body ahead of those of the URL.
    pub parameters: Vec<(String, String)>,
    /// The body, where it is no form.
    pub body: Vec<u8>,
    /// Header `Host`.
    pub host: Option<String>,
    /// Header `Origin`.
    pub origin: Option<String>,
    /// Whether `Accept-Encoding` names gzip.
    pub gzip: bool,
}

impl Request {
    /// A request of a method and a URL's path and query; `form` is the body of `application/x-www-form-urlencoded`.
    pub fn new(method: &str, url: &str, form: &[u8]) -> Self {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let pairs = |bytes| form_urlencoded::parse(bytes).into_owned().collect::<Vec<(String, String)>>();
        let mut parameters = pairs(form);
        parameters.extend(pairs(query.as_bytes()));
        Self { method: method.to_owned(), path: path.to_owned(), parameters, ..Self::default() }
    }

    /// The first value of a parameter, empty where it is not given.
    pub fn get(&self, name: &str) -> &str {
        let found = self.parameters.iter().find(|(own, _)| own == name);
        found.map_or("", |(_, value)| value)
    }

    /// All values of a parameter.
    pub fn all<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r str> {
        self.parameters.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The parts of the path between slashes, decoded one by one.
    pub fn segments(&self) -> Vec<String> {
        let parts = self.path.trim_start_matches('/').split('/');
        parts.map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_goes_ahead_of_the_url() {
        let request = Request::new("POST", "/api/v1/query?query=a&match[]=1&match%5B%5D=2", b"query=b%20c&time=+1");
        assert_eq!((request.get("query"), request.get("time"), request.get("none")), ("b c", " 1", ""));
        assert_eq!(request.all("match[]").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(Request::new("GET", "/label/a%2Fb/values", b"").segments(), ["label", "a/b", "values"]);
    }
}
