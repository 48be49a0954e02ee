//! Entries of Cilium's load-balancer maps as `bpftool` prints them with BTF: fields by name, turned into the bytes of the structs.
//!
//! ```text
//! {"key":{"address":1012885002,"dport":20480,"backend_slot":1,"proto":6,…},"value":{"":{"backend_id":3},"count":0,…}}
//! ```

use serde_json::Value;

use super::bpftool_dump::Pair;

/// The bytes of the structs that BTF describes, from the fields that matter here.
pub(super) fn pair(key: &Value, value: &Value) -> Option<Pair> {
    let number = |of: &Value, name: &str| leaf(of, name).and_then(|found| found.as_u64());
    let address = |of: &Value| match leaf(of, "address") {
        Some(Value::Number(number)) => u32::try_from(number.as_u64()?).ok().map(|number| number.to_le_bytes().to_vec()),
        Some(other) => {
            let bytes = leaf(other, "addr")?.as_array()?;
            let all: Option<Vec<u8>> = bytes.iter().map(byte).collect();
            all.filter(|all| all.len() == 16)
        }
        None => None,
    };
    let port = |of: &Value, name| number(of, name).and_then(|port| u16::try_from(port).ok());
    if let Some(slot) = port(key, "backend_slot") {
        let mut bytes = address(key)?;
        bytes.extend(port(key, "dport")?.to_le_bytes());
        bytes.extend(slot.to_le_bytes());
        bytes.push(u8::try_from(number(key, "proto").unwrap_or(0)).ok()?);
        bytes.extend([0, 0, 0]);
        let backend = u32::try_from(number(value, "backend_id").unwrap_or(0)).ok()?;
        let mut service = backend.to_le_bytes().to_vec();
        service.extend(port(value, "count").unwrap_or(0).to_le_bytes());
        service.extend(port(value, "rev_nat_index").unwrap_or(0).to_le_bytes());
        service.push(u8::try_from(number(value, "flags").unwrap_or(0)).ok()?);
        service.push(u8::try_from(number(value, "flags2").unwrap_or(0)).ok()?);
        service.extend([0, 0]);
        return Some(Pair { key: bytes, value: service });
    }
    let id = key.as_u64().or_else(|| number(key, "backend_id"))?;
    let mut bytes = address(value)?;
    bytes.extend(port(value, "port")?.to_le_bytes());
    bytes.push(u8::try_from(number(value, "proto").unwrap_or(0)).ok()?);
    bytes.push(u8::try_from(number(value, "flags").unwrap_or(0)).ok()?);
    bytes.extend([0; 4]);
    Some(Pair { key: u32::try_from(id).ok()?.to_le_bytes().to_vec(), value: bytes })
}

/// A byte as BTF prints it: a number, a text of one, or a character.
fn byte(value: &Value) -> Option<u8> {
    match value {
        Value::Number(number) => u8::try_from(number.as_u64()?).ok(),
        Value::String(text) => {
            text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u8::from_str_radix(hex, 16).ok())
        }
        _ => None,
    }
}

/// A field by its name, within unions without a name too.
fn leaf<'v>(of: &'v Value, name: &str) -> Option<&'v Value> {
    let fields = of.as_object()?;
    fields.get(name).or_else(|| fields.values().filter(|inner| inner.is_object()).find_map(|inner| leaf(inner, name)))
}
