//! What kube-proxy's chains are called in nftables mode.
//!
//! ```text
//! service-JKB34KST-default/test/tcp/http                          every endpoint of a Service port
//! local-JKB34KST-default/test/tcp/http                            the node's own endpoints only
//! external-GCGJYZ2R-default/web-nodeport/tcp/http                 node port, load balancer (also `firewall-`, `affinity-`)
//! endpoint-5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80               one endpoint (up to 1.35)
//! ```
//!
//! A name that would be longer than 235 characters is cut and ends in `...`: it then tells what stands ahead of that.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Roles of chains that belong to one Service port.
const ROLES: [&str; 6] = ["service", "local", "external", "firewall", "endpoint", "affinity"];

/// A chain's name, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainName {
    /// `service`, `local`, `external`, `firewall`, `endpoint`, `affinity`.
    pub role: &'static str,
    /// `namespace/service:port`, as the comments of iptables rules write it.
    pub service: Option<String>,
    /// `tcp`, `udp`, `sctp`.
    pub protocol: Option<String>,
    /// Address and port of an endpoint chain.
    pub endpoint: Option<(String, i32)>,
}

/// Takes the name of a chain apart; `None` for a chain that belongs to no Service.
pub fn chain_name(name: &str) -> Option<ChainName> {
    let (role, rest) = name.split_once('-')?;
    let role = ROLES.iter().find(|known| **known == role)?;
    let (hash, rest) = rest.split_once('-')?;
    let base32 = |byte: u8| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte);
    if hash.len() != 8 || !hash.bytes().all(base32) {
        return None;
    }
    let mut found = ChainName { role, ..ChainName::default() };
    let (service, endpoint) = match rest.split_once("__") {
        Some((service, endpoint)) => (service, Some(endpoint)),
        None => (rest, None),
    };
    let mut parts = service.splitn(4, '/');
    if let (Some(namespace), Some(name), Some(protocol), Some(port)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
        && !rest.ends_with("...")
    {
        // A port without a name ends the chain's name in a slash; the comments write no colon then.
        let port = if port.is_empty() { String::new() } else { format!(":{port}") };
        found.service = Some(format!("{namespace}/{name}{port}"));
        found.protocol = Some(protocol.to_owned());
    }
    found.endpoint = endpoint.and_then(|endpoint| {
        let (address, port) = endpoint.rsplit_once('/')?;
        Some((address_of(address)?, port.parse().ok()?))
    });
    Some(found)
}

/// An address as chain names write it: of IPv6 with points for colons.
fn address_of(text: &str) -> Option<String> {
    if text.parse::<Ipv4Addr>().is_ok() {
        return Some(text.to_owned());
    }
    text.replace('.', ":").parse::<Ipv6Addr>().ok().map(|address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::chain_name;

    #[test]
    fn takes_names_apart() {
        let found = chain_name("service-JKB34KST-default/test/tcp/http").expect("a Service's chain");
        assert_eq!((found.role, found.service.as_deref()), ("service", Some("default/test:http")));
        assert_eq!(found.protocol.as_deref(), Some("tcp"));
        let found = chain_name("endpoint-5OJB2KTY-ns1/svc1/udp/__10.180.0.1/80").expect("an endpoint's chain");
        assert_eq!(found.service.as_deref(), Some("ns1/svc1"));
        assert_eq!(found.endpoint, Some(("10.180.0.1".to_owned(), 80)));
        let found = chain_name("endpoint-5OJB2KTY-ns1/svc1/tcp/p80__fd00.180.0.0.0.0.0.1/80").expect("IPv6");
        assert_eq!(found.endpoint, Some(("fd00:180::1".to_owned(), 80)));
        let found = chain_name("service-JKB34KST-default/a-name-that-was-cut/tc...").expect("a cut name");
        assert_eq!(found.service, None);
        for other in ["services", "service-endpoints-check", "nat-prerouting", "firewall-check", "service-abc-x/y/z/"] {
            assert_eq!(chain_name(other), None, "{other}");
        }
    }
}
