//! What a command may take, and what it may read.

use clap::Args;

use crate::result::archive::select::Condition;
use crate::result::given::Reading;

/// Limits that every command which reads bundles has.
#[derive(Args, Clone, Copy, Debug)]
pub struct Budget {
    /// What the rows of the bundles that are open at once may come to, and what
    /// a query may build, as 512MiB or 2GiB
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = bytes)]
    pub memory: u64,
    /// Follow links that lead out of a capture directory
    #[arg(long)]
    pub follow: bool,
}

/// Which of the runs that were given count.
#[derive(Args, Clone, Debug, Default)]
pub struct Selection {
    /// Only runs that a condition in SQL holds for: columns of an archive's
    /// table `runs`, and facts by key ("config/min-sync-period")
    #[arg(long = "where", value_name = "SQL")]
    condition: Option<String>,
}

impl Selection {
    /// The condition, where there is one.
    ///
    /// # Errors
    /// What is no condition.
    pub fn condition(&self) -> anyhow::Result<Option<Condition>> {
        self.and(None)
    }

    /// It and another one, as far as there are any.
    ///
    /// # Errors
    /// What is no condition.
    pub fn and(&self, other: Option<&str>) -> anyhow::Result<Option<Condition>> {
        let parsed = [self.condition.as_deref(), other].into_iter().flatten().map(Condition::parse);
        let all = parsed.collect::<anyhow::Result<Vec<Condition>>>()?;
        Ok(all.into_iter().reduce(Condition::and))
    }
}

impl From<Budget> for Reading {
    fn from(Budget { memory, follow }: Budget) -> Self {
        Self { memory, follow }
    }
}

/// A number of bytes, by itself or with a unit: `512MiB`, `2GiB`, `500MB`.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit: u64 = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1000 * 1000,
        "gb" => 1000 * 1000 * 1000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return Err(format!("`{text}` is no size: expected one as 512MiB or 2GiB")),
    };
    let size = text[..digits].parse::<u64>().ok().and_then(|count| count.checked_mul(unit));
    size.ok_or_else(|| format!("`{text}` is no size: expected one as 512MiB or 2GiB"))
}

#[cfg(test)]
mod tests {
    use super::bytes;
    use crate::bundle::MEMORY;

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes("2GiB"), Ok(2 << 30));
        assert_eq!(bytes("500MB"), Ok(500_000_000));
        assert_eq!(bytes("64k"), Ok(65_536));
        assert_eq!(bytes("1000"), Ok(1000));
        assert_eq!(bytes("2GiB"), Ok(MEMORY));
        assert_eq!(bytes("2GiB"), Ok(syncline_promql::Options::default().memory as u64));
        for wrong in ["", "GiB", "1.5GiB", "-1", "1x", "99999999999999999999GiB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
