//! Which proxy a URL is fetched through, as Go's programs decide it: `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY` with networks (`10.0.0.0/8`).

use std::net::IpAddr;

/// The proxy for a URL by the environment; null: none.
pub fn of_environment(url: &str) -> Option<String> {
    let variable = |name: &str| {
        [name.to_owned(), name.to_lowercase()]
            .iter()
            .find_map(|name| std::env::var(name).ok())
            .filter(|value| !value.is_empty())
    };
    let proxy = variable(if url.starts_with("https:") { "HTTPS_PROXY" } else { "HTTP_PROXY" })?;
    (!excepted(url, &variable("NO_PROXY").unwrap_or_default())).then_some(proxy)
}

/// Whether `NO_PROXY` names the host of a URL: by name, by a name that it ends in, by address or by network. Loopback always is.
fn excepted(url: &str, exceptions: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest).split(['/', '?']).next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (authority, ""),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    exceptions.split(',').map(|one| one.trim().to_lowercase()).filter(|one| !one.is_empty()).any(|one| {
        if one == "*" {
            return true;
        }
        if let (Some(address), Some((network, bits))) = (address, one.split_once('/')) {
            return network.parse().is_ok_and(|network| within(address, network, bits.parse().unwrap_or(u32::MAX)));
        }
        let one = match one.rsplit_once(':') {
            Some((name, wanted)) if !name.contains(':') => {
                if wanted != port {
                    return false;
                }
                name.to_owned()
            }
            _ => one,
        };
        let name = one.trim_start_matches("*.").trim_start_matches('.');
        host == name && !one.starts_with('.') || host.ends_with(&format!(".{name}"))
    })
}

fn within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let (a, b, width) = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
        _ => return false,
    };
    bits <= width && (bits == 0 || (a ^ b) >> (width - bits) == 0)
}

#[cfg(test)]
mod tests {
    use super::excepted;

    #[test]
    fn exceptions_are_names_ends_of_names_addresses_and_networks() {
        for (url, exceptions, wanted) in [
            ("https://10.96.0.1:443/api", "10.0.0.0/8", true),
            ("https://11.96.0.1:443", "10.0.0.0/8,172.16.0.0/12", false),
            ("https://api.cluster.local:6443", ".cluster.local", true),
            ("https://api.cluster.local", "cluster.local", true),
            ("https://cluster.local", ".cluster.local", false),
            ("https://mycluster.local", "cluster.local", false),
            ("https://api.example.com:6443", "api.example.com:6443", true),
            ("https://api.example.com:443", "api.example.com:6443", false),
            ("https://[fd00::1]:6443/x", "fd00::/8", true),
            ("https://1.2.3.4", "*", true),
            ("http://127.0.0.1:10249/metrics", "", true),
            ("https://1.2.3.4", "1.2.3.0/99, ,x/y", false),
        ] {
            assert_eq!(excepted(url, exceptions), wanted, "{url} {exceptions}");
        }
    }
}
