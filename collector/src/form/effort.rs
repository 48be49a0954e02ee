//! How often the same bytes may be looked at where something is damaged.
//!
//! ```text
//! {"a": {"a": {"a": …       each brace may begin a document, and none of them ends: a search that begins anew at each of them
//!                           looks at a file of n bytes n²/2 times
//! ```
//!
//! Whoever begins again behind damage says what the try cost. Once that is several times the text, the search is given up: what
//! was not looked at is refused by name.

/// Times that a text may be looked at again in all.
const TIMES: usize = 8;
/// What a short text may cost in any case, bytes.
const LEAST: usize = 1 << 20;

/// What is left of it.
#[derive(Debug)]
pub struct Effort {
    left: usize,
}

impl Effort {
    /// For a text of `length` bytes.
    pub fn of(length: usize) -> Self {
        Self { left: length.saturating_mul(TIMES).saturating_add(LEAST) }
    }

    /// Whether nothing is left.
    pub fn is_over(&self) -> bool {
        self.left == 0
    }

    /// More of the text came in.
    pub fn gain(&mut self, length: usize) {
        self.left = self.left.saturating_add(length.saturating_mul(TIMES));
    }

    /// Counts a try that looked at `bytes` in vain; false where that was the last one.
    pub fn spend(&mut self, bytes: usize) -> bool {
        self.left = self.left.saturating_sub(bytes.max(1));
        self.left > 0
    }

    /// Counts a try of serde at a text that it could not read.
    pub fn spend_on(&mut self, text: &[u8], error: &serde_json::Error) -> bool {
        self.spend(looked_at(text, error))
    }
}

/// Bytes of a text up to where serde found it to be wrong.
fn looked_at(text: &[u8], error: &serde_json::Error) -> usize {
    let lines_ahead = error.line().saturating_sub(1);
    let line = match lines_ahead {
        0 => 0,
        count => memchr::memchr_iter(b'\n', text).nth(count - 1).map_or(text.len(), |end| end + 1),
    };
    line.saturating_add(error.column()).min(text.len())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{Effort, looked_at};

    #[test]
    fn an_effort_comes_to_its_end() {
        let mut effort = Effort::of(1 << 20);
        let tries = (0..1_000).take_while(|_| effort.spend(1 << 20)).count();
        assert_eq!(tries, super::TIMES);
        // A try that saw nothing is one, too.
        let mut effort = Effort::of(0);
        assert!((0..=super::LEAST).any(|_| !effort.spend(0)));
    }

    #[test]
    fn a_try_costs_what_was_looked_at() {
        for (text, expected) in [("{\"a\":\n [1,\n x]}", 13), ("{\"a\"", 4), ("x", 1)] {
            let error = serde_json::from_str::<Value>(text).expect_err("damaged");
            assert_eq!(looked_at(text.as_bytes(), &error), expected, "{text}");
        }
    }
}
