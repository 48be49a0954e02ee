//! What kube-proxy's rule comments name.
//!
//! ```text
//! default/test:http cluster IP
//! default/test:http -> 10.244.0.252:8080
//! masquerade traffic for default/web-nodeport:http external destinations
//! kubernetes service portals                                       (names nothing)
//! ```

/// `namespace/service:port` (as written; a port without a name leaves `namespace/service` or a trailing colon).
pub fn service(comment: &str) -> Option<&str> {
    comment.split_whitespace().find(|word| is_service(word))
}

/// The endpoint behind the arrow, where the comment has one.
pub fn endpoint(comment: &str) -> Option<(String, Option<i32>)> {
    let (_, behind) = comment.split_once(" -> ")?;
    Some(address_and_port(behind.split_whitespace().next()?))
}

fn is_service(word: &str) -> bool {
    let Some((namespace, rest)) = word.split_once('/') else { return false };
    let (name, port) = rest.split_once(':').unwrap_or((rest, ""));
    let dns = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    !namespace.is_empty() && !name.is_empty() && dns(namespace) && dns(port) && name.split('.').all(dns)
        // `0x4000/0x4000` and `10.0.0.0/8` have the same shape; a Service's name begins with a letter.
        && name.starts_with(|first: char| first.is_ascii_lowercase())
}

/// `10.244.0.1:8080`, `[fd00::1]:8080`, `10.244.0.1`, `fd00::1`: address without brackets, and port.
pub fn address_and_port(text: &str) -> (String, Option<i32>) {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']').unwrap_or((rest, ""));
        return (address.to_owned(), port.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match text.split_once(':') {
        Some((address, port)) if !port.contains(':') => (address.to_owned(), port.parse().ok()),
        _ => (text.to_owned(), None),
    }
}

/// Name of an IP protocol as iptables writes it (a name or a number), lower case; `None` for any.
pub fn protocol(word: &str) -> Option<String> {
    Some(match word {
        "0" | "all" => return None,
        "6" => "tcp".to_owned(),
        "17" => "udp".to_owned(),
        "132" => "sctp".to_owned(),
        other => other.to_ascii_lowercase(),
    })
}

#[cfg(test)]
mod tests {
    use super::{address_and_port, endpoint, service};

    #[test]
    fn finds_services_and_endpoints() {
        assert_eq!(service("default/test:http cluster IP"), Some("default/test:http"));
        assert_eq!(service("default/nginx: loadbalancer IP"), Some("default/nginx:"));
        assert_eq!(
            service("masquerade traffic for default/web-nodeport:http external destinations"),
            Some("default/web-nodeport:http")
        );
        assert_eq!(service("kubernetes service nodeports; NOTE: this must be the last rule in this chain"), None);
        assert_eq!(service("mark 0x4000/0x4000 in 10.0.0.0/8"), None);
        assert_eq!(endpoint("default/test:http -> 10.244.0.252:8080"), Some(("10.244.0.252".to_owned(), Some(8080))));
    }

    #[test]
    fn reads_addresses_of_both_families() {
        assert_eq!(address_and_port("[fd00:10::1]:53"), ("fd00:10::1".to_owned(), Some(53)));
        assert_eq!(address_and_port("fd00::1"), ("fd00::1".to_owned(), None));
        assert_eq!(address_and_port("10.0.0.1"), ("10.0.0.1".to_owned(), None));
    }
}
