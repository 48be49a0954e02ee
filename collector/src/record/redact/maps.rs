//! Addresses within dumps of Cilium's load-balancer maps, where they stand as bytes.
//!
//! ```text
//! [{"key":["0x0a","0x60","0x64","0x64","0x00","0x50",…],"value":[…]},…]     cilium_lb4_services_v2: the key begins with one
//! [{"key":["0x03","0x00","0x00","0x00"],"value":["0x0a","0xf4",…]},…]       cilium_lb4_backends_v3: the value does
//! ```
//!
//! Which map it is of is told by the widths of key and value, as their reader does: keys of 12 bytes are of services (24 for IPv6),
//! keys of 4 bytes (2 of old ones) of backends, or of the addresses to turn back to. Bytes keep their width, so that nothing else of the line moves.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::addresses::{Key, v4, v6};

/// What a dump's line begins with.
const BEGIN: &[u8] = b"[{\"key\":[\"0x";

/// Whether a line is such a dump.
pub fn is_dump(line: &[u8]) -> bool {
    line.starts_with(BEGIN)
}

/// Replaces the addresses of a dump, in place.
pub fn replace(key: &Key, line: &mut [u8]) {
    let mut at = 0;
    while let Some(found) = memchr::memmem::find(&line[at..], b"\"key\":[") {
        let keys = places(line, at + found + 7);
        let end = keys.last().map_or(at + found + 7, |place| place + 3);
        let marked = memchr::memmem::find(&line[end..], b"\"value\":[").map(|found| end + found + 9);
        let values = marked.map(|from| places(line, from)).unwrap_or_default();
        let address = match (keys.len(), values.len()) {
            (12, _) => &keys[..4],
            (24, _) => &keys[..16],
            (2, 6) | (2 | 4, 8 | 12) => &values[..4],
            (2, 18) | (2 | 4, 20 | 24) => &values[..16],
            _ => &[][..],
        };
        turn(key, line, address);
        at = values.last().map_or(end, |place| place + 3).max(at + found + 7);
    }
}

/// Where the two digits of each byte of a list stand.
fn places(line: &[u8], from: usize) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = from;
    // `"0x0a"`, parted by commas.
    while line.len() > at + 5 && line[at..].starts_with(b"\"0x") && line[at + 5] == b'"' {
        found.push(at + 3);
        at += 6;
        if line.get(at) != Some(&b',') {
            break;
        }
        at += 1;
    }
    found
}

fn turn(key: &Key, line: &mut [u8], places: &[usize]) {
    let byte = |place: &usize| u8::from_str_radix(std::str::from_utf8(&line[*place..place + 2]).ok()?, 16).ok();
    let Some(bytes) = places.iter().map(byte).collect::<Option<Vec<u8>>>() else { return };
    let new: Vec<u8> = if let Ok(four) = <[u8; 4]>::try_from(bytes.as_slice()) {
        v4(key, Ipv4Addr::from(four), 32).octets().to_vec()
    } else if let Ok(sixteen) = <[u8; 16]>::try_from(bytes.as_slice()) {
        v6(key, Ipv6Addr::from(sixteen), 128).octets().to_vec()
    } else {
        return;
    };
    for (place, byte) in places.iter().zip(new) {
        line[*place..place + 2].copy_from_slice(format!("{byte:02x}").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::{is_dump, replace};
    use crate::record::redact::addresses::{Key, v4};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("\"0x{byte:02x}\"")).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn addresses_of_services_and_backends_become_what_their_texts_become() {
        let key = Key::of(b"k");
        let old = [10, 96, 100, 100];
        let new = v4(&key, old.into(), 32).octets();
        let service = |address: [u8; 4]| hex(&[&address[..], &[0, 80, 0, 0, 6, 0, 0, 0]].concat());
        let backend = |address: [u8; 4]| hex(&[&address[..], &[31, 144, 6, 0, 0, 0, 0, 0]].concat());
        let text = |address| {
            format!(
                "[{{\"key\":[{}],\"value\":[{}]}},{{\"key\":[{}],\"value\":[{}]}}]\n",
                service(address),
                hex(&[10, 96, 100, 100, 0, 0, 0, 2, 0, 0, 0, 0]),
                hex(&[10, 96, 100, 100]),
                backend(address)
            )
        };
        let mut line = text(old).into_bytes();
        assert!(is_dump(&line));
        replace(&key, &mut line);
        assert_eq!(String::from_utf8(line).unwrap(), text(new));
        for damaged in
            ["[{\"key\":[\"0x", "[{\"key\":[\"0xzz\",\"0x1\"],\"value\":[]}]", "[{\"key\":[\"0x0a\"],\"value\":[\"0x"]
        {
            let mut line = damaged.as_bytes().to_vec();
            replace(&key, &mut line);
            assert_eq!(line, damaged.as_bytes());
        }
    }
}
