//! Sizes as people write them.

/// Bytes of `512MiB`, `1GB`, `4096`.
///
/// # Errors
/// The sentence to show.
pub fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| format!("`{text}`: expected a size such as 512MiB"))?;
    let unit = match text[digits..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "kb" => 1_000,
        "m" | "mib" => 1 << 20,
        "mb" => 1_000_000,
        "g" | "gib" => 1 << 30,
        "gb" => 1_000_000_000,
        _ => return Err(format!("`{text}`: expected a size such as 512MiB")),
    };
    number.checked_mul(unit).ok_or_else(|| format!("`{text}`: too large"))
}
