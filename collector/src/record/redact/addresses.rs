//! Addresses, replaced so that they stay addresses: equal ones stay equal, those of one subnet stay in one subnet.
//!
//! ```text
//! 10.244.0.17 → 10.91.200.45        the same class (10/8 stays 10/8), the rest by a secret key
//! 10.244.0.18 → 10.91.200.101       the first 24 bits were equal: they still are
//! 10.244.0.0/16 → 10.91.0.0/16      a subnet of 16 bits is the subnet that its addresses went to
//! ```
//!
//! Bit by bit: whether a bit is turned depends on the key and on the bits ahead of it alone. So two addresses share as many
//! leading bits as before (Xu, Fan, Ammar and Moon: Prefix-Preserving IP Address Anonymization, 2002; with SHA-256 for the
//! pseudo-random function). Loopback, link-local, multicast and unspecified addresses say nothing of a cluster and stay.

use std::net::{Ipv4Addr, Ipv6Addr};

use sha2::{Digest as _, Sha256};

/// The key of one redaction: the same one gives the same names and addresses.
#[derive(Clone)]
pub struct Key([u8; 32]);

impl Key {
    /// From any secret bytes.
    pub fn of(secret: &[u8]) -> Self {
        Self(Sha256::new().chain_update(b"syncline redact").chain_update(secret).finalize().into())
    }

    /// Pseudo-random bytes that belong to `text`.
    pub fn bytes(&self, domain: &[u8], text: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(self.0).chain_update(domain).chain_update([0]).chain_update(text).finalize().into()
    }
}

/// How many leading bits of an address stay, null where all do. It depends on the first octet alone: else an address of one class could
/// become what one of another class becomes.
fn kept_bits(address: Ipv4Addr) -> Option<u32> {
    match address.octets() {
        [0 | 127 | 224..=255, ..] | [169, 254, ..] => None,
        [169 | 192, ..] => Some(16),
        [172, ..] => Some(12),
        [100, ..] => Some(10),
        _ => Some(8),
    }
}

/// Turns the bits of `value` from bit `from` up to bit `until`, counted from the left of `width` bits.
fn turned(key: &Key, domain: &[u8], value: u128, (from, until): (u32, u32), width: u32) -> u128 {
    let mut result = value;
    for bit in from..until.min(width) {
        let place = width - 1 - bit;
        // The bits ahead, with their number, decide.
        let ahead = if bit == 0 { 0 } else { value >> (place + 1) };
        let mut text = ahead.to_be_bytes().to_vec();
        text.push(u8::try_from(bit).unwrap_or(u8::MAX));
        result ^= u128::from(key.bytes(domain, &text)[0] & 1) << place;
    }
    result
}

/// What stands for an address of the fourth version; `bits` of it are a subnet's, 32 an address's own.
pub fn v4(key: &Key, address: Ipv4Addr, bits: u32) -> Ipv4Addr {
    let Some(kept) = kept_bits(address) else { return address };
    let value = turned(key, b"v4", u128::from(u32::from(address)), (kept, bits), 32);
    Ipv4Addr::from(u32::try_from(value & u128::from(u32::MAX)).unwrap_or_default())
}

/// What stands for an address of the sixth version.
pub fn v6(key: &Key, address: Ipv6Addr, bits: u32) -> Ipv6Addr {
    if let Some(inner) = address.to_ipv4_mapped() {
        return v4(key, inner, bits.saturating_sub(96).max(1)).to_ipv6_mapped();
    }
    let first = address.segments()[0];
    let stays = address.is_unspecified() || address.is_loopback() || address.is_multicast() || first & 0xffc0 == 0xfe80;
    // Addresses as short as `a::1` are mostly no addresses.
    if stays {
        return address;
    }
    Ipv6Addr::from(turned(key, b"v6", u128::from(address), (16, bits), 128))
}

#[cfg(test)]
mod tests {
    use super::{Key, v4, v6};
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn classes_and_special_addresses_stay() {
        let key = Key::of(b"a");
        for special in ["0.0.0.0", "127.0.0.1", "169.254.169.254", "224.0.0.1", "255.255.255.255"] {
            let address: Ipv4Addr = special.parse().unwrap();
            assert_eq!(v4(&key, address, 32), address);
        }
        assert_eq!(v4(&key, Ipv4Addr::new(10, 1, 2, 3), 32).octets()[0], 10);
        assert_eq!(v4(&key, Ipv4Addr::new(192, 168, 2, 3), 32).octets()[..2], [192, 168]);
        assert!(v4(&key, Ipv4Addr::new(172, 30, 0, 1), 32).is_private());
        for special in ["::", "::1", "fe80::1", "ff02::1"] {
            let address: Ipv6Addr = special.parse().unwrap();
            assert_eq!(v6(&key, address, 128), address);
        }
        assert_ne!(v6(&key, "fd00::1".parse().unwrap(), 128), "fd00::1".parse::<Ipv6Addr>().unwrap());
    }

    proptest! {
        #[test]
        fn addresses_share_as_many_bits_as_before(a in any::<u32>(), other in any::<u32>(), same in 0_u32..33, secret in any::<u64>()) {
            let key = Key::of(&secret.to_le_bytes());
            let mask = if same == 0 { 0 } else { u32::MAX << (32 - same) };
            let b = (a & mask) | (other & !mask);
            let map = |address: u32| u32::from(v4(&key, Ipv4Addr::from(address), 32));
            // Link-local addresses stay among others that do not.
            if a >> 24 != 169 {
                prop_assert_eq!((a ^ b).leading_zeros(), (map(a) ^ map(b)).leading_zeros());
            }
            prop_assert_eq!(a == b, map(a) == map(b));
        }

        #[test]
        fn a_subnet_is_where_its_addresses_went(a in any::<u32>(), bits in 8_u32..33) {
            let key = Key::of(b"a");
            let mask = u32::MAX << (32 - bits);
            let network = u32::from(v4(&key, Ipv4Addr::from(a & mask), bits));
            if a >> 24 != 169 {
                prop_assert_eq!(network & mask, u32::from(v4(&key, Ipv4Addr::from(a), 32)) & mask);
                prop_assert_eq!(network & !mask, 0);
            }
        }
    }
}
