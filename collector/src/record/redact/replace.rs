//! One line of a capture, with its names and addresses replaced: a pure function of the line and the table.
//!
//! ```text
//! {"name":"cart-7d9f-x2x","namespace":"shop"}      a name stands between quotes, slashes, colons, dashes …
//! service-JKB34KST-shop/cart/tcp/http               the hash stays: it is one of the rules' own words
//! 1  0  0 KUBE-SVC-AB…  6  -- * * 0.0.0.0/0   10.96.0.9    /* shop/cart:http */     columns keep their places
//! ```
//!
//! The longest name that stands somewhere wins, from left to right. A JSON key, the key of a label (`app="…"`) and what
//! `words` lists stay. All else of the line stays byte for byte, but for blanks that fill a column.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::addresses::{Key, v4, v6};
use super::maps;

/// What is replaced by what.
pub struct Table {
    key: Key,
    /// Names with what stands for them; a part of the system with itself.
    names: HashMap<String, String>,
    /// Most parts (between dashes and dots) of a name.
    parts: usize,
}

/// Letters of a new name: without vowels no word comes of them.
const LETTERS: &[u8; 20] = b"bcdfghjklmnpqrstvwxz";
/// Shortest new name: with fewer letters two names would meet.
const SHORTEST: usize = 8;

impl Table {
    /// A table for `names`; `kept` stay as they are.
    pub fn new<'n>(key: Key, names: impl Iterator<Item = &'n str>, kept: impl Iterator<Item = &'static str>) -> Self {
        let mut table = Self { key, names: HashMap::new(), parts: 1 };
        for name in kept {
            table.insert(name, name.to_owned());
        }
        let mut taken = std::collections::HashSet::new();
        for name in names {
            if table.names.contains_key(name) {
                continue;
            }
            let mut more = 0;
            let new = loop {
                let new = invented(&table.key, name, name.len().max(SHORTEST) + more);
                if taken.insert(new.clone()) {
                    break new;
                }
                more += 1;
            };
            table.insert(name, new);
        }
        table
    }

    fn insert(&mut self, name: &str, new: String) {
        self.parts = self.parts.max(name.split(['-', '.']).count());
        self.names.insert(name.to_owned(), new);
    }

    /// How many names are replaced.
    pub fn len(&self) -> usize {
        self.names.iter().filter(|(name, new)| name != new).count()
    }

    /// The line with its names and addresses replaced, added to `out`; `true` where anything was.
    pub fn line(&self, line: &[u8], out: &mut Vec<u8>) -> bool {
        if maps::is_dump(line) {
            let start = out.len();
            out.extend_from_slice(line);
            maps::replace(&self.key, &mut out[start..]);
            return true;
        }
        let mut at = 0;
        let mut changed = false;
        while at < line.len() {
            if !is_word(line[at]) {
                out.push(line[at]);
                at += 1;
                continue;
            }
            let length = line[at..].iter().take_while(|byte| is_word(**byte)).count();
            let escape = escaped(line, at, length);
            out.extend_from_slice(&line[at..at + escape]);
            let token = &line[at + escape..at + length];
            let end = at + length;
            let before = out.len();
            if is_key(line, at, end) || !self.token(token, &line[end..], out) {
                out.truncate(before);
                out.extend_from_slice(token);
                at = end;
                continue;
            }
            changed = true;
            at = end;
            // A subnet's length stays; a column keeps its place.
            let (old, new) = (token.len(), out.len() - before);
            let behind = column_gap(line, end);
            if let Some((gap, blanks)) = behind {
                out.extend_from_slice(&line[end..gap]);
                // Two blanks at least: one does not part columns.
                let filled = (blanks + old).saturating_sub(new).max(2);
                out.extend(std::iter::repeat_n(b' ', filled));
                at = gap + blanks;
            }
        }
        changed
    }

    /// Replaces what a run of letters, digits, dashes, dots, colons and underscores holds; false where that is nothing.
    fn token(&self, token: &[u8], behind: &[u8], out: &mut Vec<u8>) -> bool {
        let Ok(text) = std::str::from_utf8(token) else { return false };
        if let Some((address, rest)) = sixth(text) {
            out.extend_from_slice(v6(&self.key, address, subnet(rest, behind).unwrap_or(128)).to_string().as_bytes());
            out.extend_from_slice(rest.as_bytes());
            return true;
        }
        // An underscore parts names where files are named after pods; of a metric's name it is a letter.
        let parted = text.contains('-');
        let is_break = |byte: u8| matches!(byte, b'-' | b'.' | b':') || (parted && byte == b'_');
        let bytes = text.as_bytes();
        let mut changed = false;
        let mut at = 0;
        while at < bytes.len() {
            let starts = at == 0 || is_break(bytes[at - 1]);
            if !starts || is_break(bytes[at]) {
                out.push(bytes[at]);
                at += 1;
                continue;
            }
            // `2.3.4.5` of `1.2.3.4.5` is a part of a version.
            let within = at >= 2 && bytes[at - 1] == b'.' && bytes[at - 2].is_ascii_digit();
            if let Some((address, length)) = fourth(&text[at..]).filter(|_| !within) {
                let bits = subnet(&text[at + length..], behind).unwrap_or(32);
                out.extend_from_slice(v4(&self.key, address, bits).to_string().as_bytes());
                changed = true;
                at += length;
                continue;
            }
            if let Some((address, length)) = dashed(&text[at..]) {
                let octets = v4(&self.key, address, 32).octets();
                out.extend_from_slice(octets.map(|octet| octet.to_string()).join("-").as_bytes());
                changed = true;
                at += length;
                continue;
            }
            let (length, new) = self.longest(&text[at..], is_break);
            match new {
                Some(new) => {
                    changed |= *new != text[at..at + length];
                    out.extend_from_slice(new.as_bytes());
                }
                None => out.extend_from_slice(&bytes[at..at + length]),
            }
            at += length;
        }
        changed
    }

    /// The longest name that `text` begins with, else its first part.
    fn longest(&self, text: &str, is_break: impl Fn(u8) -> bool) -> (usize, Option<&String>) {
        let mut ends: Vec<usize> = text
            .bytes()
            .enumerate()
            .filter(|(_, byte)| is_break(*byte))
            .map(|(at, _)| at)
            .take(self.parts + 1)
            .collect();
        if ends.len() <= self.parts {
            ends.push(text.len());
        }
        let found = ends.iter().rev().find_map(|end| self.names.get(&text[..*end]).map(|new| (*end, Some(new))));
        // Of a part that is no name nothing within it is one either.
        found.unwrap_or((ends.first().copied().unwrap_or(text.len()), None))
    }
}

/// A name of `length` letters that belongs to `name` by the key.
fn invented(key: &Key, name: &str, length: usize) -> String {
    let mut letters = String::with_capacity(length);
    let mut round = 0_u32;
    while letters.len() < length {
        let domain = [b"name".as_slice(), &round.to_le_bytes()].concat();
        let bytes = key.bytes(&domain, name.as_bytes());
        letters
            .extend(bytes.iter().take(length - letters.len()).map(|byte| char::from(LETTERS[usize::from(byte % 20)])));
        round += 1;
    }
    letters
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':' | b'_')
}

/// How many letters at the beginning of a run belong to an escape ahead of it: `\n`, `\u003c`, `%3D`.
fn escaped(line: &[u8], at: usize, length: usize) -> usize {
    let slashes = line[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
    match at.checked_sub(1).map(|before| line[before]) {
        // An even number of backslashes is that many backslashes themselves.
        Some(b'\\') if slashes % 2 == 1 => match line[at] {
            b'u' => length.min(5),
            b'n' | b't' | b'r' | b'b' | b'f' => 1,
            _ => 0,
        },
        Some(b'%') if length >= 2 && line[at..at + 2].iter().all(u8::is_ascii_hexdigit) => 2,
        _ => 0,
    }
}

/// Whether a run is a key: `"key":` of JSON, `"key" =` of TOML, `key="…"` of a label, `key=` of a log line.
fn is_key(line: &[u8], at: usize, end: usize) -> bool {
    let before = at.checked_sub(1).map(|before| line[before]);
    match line.get(end) {
        Some(b'"') if before == Some(b'"') => {
            let rest = line[end + 1..].iter().find(|byte| !matches!(byte, b' ' | b'\t'));
            matches!(rest, Some(b':' | b'='))
        }
        // `labelSelector=app` and `name=shop` in a URL are keys as well; what stands behind the sign is the name.
        Some(b'=') => true,
        _ => false,
    }
}

/// Blanks that fill a column behind a run: where they begin, and how many. What stands ahead of them (`/80`, `:80/TCP (2)`) is part of
/// the column.
fn column_gap(line: &[u8], end: usize) -> Option<(usize, usize)> {
    let mut at = end;
    while at < line.len() && at < end + 64 {
        if line[at] == b' ' {
            let blanks = line[at..].iter().take_while(|byte| **byte == b' ').count();
            if blanks >= 2 {
                return Some((at, blanks));
            }
        }
        // A further word may hold a name of its own, which would be skipped.
        if is_word(line[at]) && line[at].is_ascii_alphabetic() && !line[at].is_ascii_uppercase() || line[at] == b'.' {
            return None;
        }
        at += 1;
    }
    None
}

/// Bits of a subnet that stand behind an address.
fn subnet(rest: &str, behind: &[u8]) -> Option<u32> {
    if !rest.is_empty() {
        return None;
    }
    let digits = behind.strip_prefix(b"/")?;
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    // `10.96.0.1:80/TCP` has no number there, `/29` of an address one or two digits.
    (1..=3).contains(&length).then(|| std::str::from_utf8(&digits[..length]).ok()?.parse().ok())?
}

/// An address of the fourth version at the beginning, and its length.
fn fourth(text: &str) -> Option<(Ipv4Addr, usize)> {
    let length = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let found = text[..length].trim_end_matches('.');
    let next = text.as_bytes().get(found.len());
    let ends = next.is_none_or(|next| !next.is_ascii_alphanumeric());
    (found.len() >= 7 && ends).then(|| Some((found.parse().ok()?, found.len())))?
}

/// `10-0-0-17`, as in the names of nodes and pods, at the beginning, and its length.
fn dashed(text: &str) -> Option<(Ipv4Addr, usize)> {
    let length = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'-').count();
    let found = text[..length].trim_end_matches('-');
    let next = text.as_bytes().get(found.len());
    let ends = next.is_none_or(|next| !next.is_ascii_alphanumeric());
    // A date and a time may be written so too, but not with four numbers below 256 and the first one above 0.
    let address: Ipv4Addr =
        (found.matches('-').count() == 3 && ends).then(|| found.replace('-', ".").parse().ok())??;
    (address.octets()[0] > 0).then_some((address, found.len()))
}

/// An address of the sixth version that makes up a run, and what stands behind it.
fn sixth(text: &str) -> Option<(Ipv6Addr, &str)> {
    if text.bytes().filter(|byte| *byte == b':').count() < 2 || text.len() < 4 {
        return None;
    }
    let trimmed = text.trim_end_matches('.');
    let trimmed = if trimmed.ends_with("::") { trimmed } else { trimmed.trim_end_matches(':') };
    let address = trimmed.parse().ok()?;
    Some((address, &text[trimmed.len()..]))
}

#[cfg(test)]
mod tests {
    use super::super::addresses::{Key, v4, v6};
    use super::{Table, invented};

    fn replaced(line: &str) -> String {
        let names = ["cart", "cart-api", "shop", "ip-10-0-0-17.ec2.internal", "worker-9", "le"];
        let table = Table::new(Key::of(b"k"), names.into_iter(), ["kube-system", "kube-proxy"].into_iter());
        let mut out = Vec::new();
        table.line(line.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn new(name: &str) -> String {
        invented(&Key::of(b"k"), name, name.len().max(8))
    }

    fn address(text: &str) -> String {
        v4(&Key::of(b"k"), text.parse().unwrap(), 32).to_string()
    }

    #[test]
    fn names_are_replaced_where_they_stand_alone() {
        let (cart, api, shop) = (new("cart"), new("cart-api"), new("shop"));
        for (line, expected) in [
            (
                r#"{"name":"cart-7d9f-x2x","namespace":"shop"}"#,
                format!(r#"{{"name":"{cart}-7d9f-x2x","namespace":"{shop}"}}"#),
            ),
            ("cart-api-7d9f cart-apis cartoon", format!("{api}-7d9f {cart}-apis cartoon")),
            ("service-JKB34KST-shop/cart/tcp/http", format!("service-JKB34KST-{shop}/{cart}/tcp/http")),
            (
                "-A KUBE-SVC-CART -m comment --comment \"shop/cart:http\"",
                format!("-A KUBE-SVC-CART -m comment --comment \"{shop}/{cart}:http\""),
            ),
            (r#"{"cart": "a", "shop" :1}"#, r#"{"cart": "a", "shop" :1}"#.to_owned()),
            (r#""cart" = "shop""#, format!(r#""cart" = "{shop}""#)),
            (r#"x{le="0.1",app="cart"} 1"#, format!(r#"x{{le="0.1",app="{cart}"}} 1"#)),
            ("cart_requests_total 1", "cart_requests_total 1".to_owned()),
            ("/var/log/pods/shop_cart-1_0/", format!("/var/log/pods/{shop}_{cart}-1_0/")),
            (r#""a\ncart\u003cshop %3Dcart""#, format!(r#""a\n{cart}\u003c{shop} %3D{cart}""#)),
            ("kube-proxy-worker-9 in kube-system", format!("kube-proxy-{} in kube-system", new("worker-9"))),
            ("cart.shop.svc.cluster.local", format!("{cart}.{shop}.svc.cluster.local")),
        ] {
            assert_eq!(replaced(line), expected, "{line}");
        }
    }

    #[test]
    fn addresses_are_replaced_and_stay_addresses() {
        let one = address("10.244.0.17");
        for (line, expected) in [
            ("10.244.0.17:8080", format!("{one}:8080")),
            ("TCP://10.244.0.17, [10.244.0.17]", format!("TCP://{one}, [{one}]")),
            ("--to-destination 10.244.0.17:53 -s 10.244.0.17/32", format!("--to-destination {one}:53 -s {one}/32")),
            ("0.0.0.0/0 127.0.0.1", "0.0.0.0/0 127.0.0.1".to_owned()),
            (
                "v1.2.3.4 1.2.3.4.5 12:34:56.789 5.15.0-1051-aws",
                "v1.2.3.4 1.2.3.4.5 12:34:56.789 5.15.0-1051-aws".to_owned(),
            ),
            ("pod 10-244-0-17.shop.pod", format!("pod {}.{}.pod", one.replace('.', "-"), new("shop"))),
            (
                "2026-11-23T04:22:33.568529Z 1795407710.648307833",
                "2026-11-23T04:22:33.568529Z 1795407710.648307833".to_owned(),
            ),
        ] {
            assert_eq!(replaced(line), expected, "{line}");
        }
        let node = new("ip-10-0-0-17.ec2.internal");
        assert_eq!(replaced("node=ip-10-0-0-17.ec2.internal"), format!("node={node}"));
        let sixth = v6(&Key::of(b"k"), "fd00:10:244::17".parse().unwrap(), 128);
        assert_eq!(
            replaced("[fd00:10:244::17]:53 fe80::1 11:22:33:44:55:66"),
            format!("[{sixth}]:53 fe80::1 11:22:33:44:55:66")
        );
        let network = replaced("! -s 10.244.0.0/16");
        assert!(network.ends_with(".0.0/16"), "{network}");
        assert_eq!(network.split(['.', ' ']).nth(3), one.split('.').nth(1), "{network} {one}");
    }

    #[test]
    fn columns_keep_their_places() {
        for line in [
            "10.96.100.100:80/TCP (1)     10.244.0.107:8080/TCP (3) (1)                  x",
            "1        2218   133540 KUBE-SVC-YEZF  6    --  *      *       0.0.0.0/0            10.96.100.100        /* a */",
            "default     cart-1          1/1     Running   0    20h   10.244.0.17         worker-9   x",
        ] {
            let last = |text: &str| text.rfind(' ').unwrap();
            let found = replaced(line);
            assert_ne!(found, line);
            // The last column begins where it began, but for what had no room.
            assert!(last(&found).abs_diff(last(line)) <= 4, "\n{line}\n{found}");
        }
    }
}
