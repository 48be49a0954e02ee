//! A histogram as text: `{count:4, sum:5, (0.5,1]:1, (1,2]:3}`.

use std::fmt;

use super::Histogram;
use crate::number::format_float_short;

impl fmt::Display for Histogram {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{{count:{}, sum:{}", format_float_short(self.count), format_float_short(self.sum))?;
        let buckets = self.ascending_buckets(self.zero_count != 0.0);
        for bucket in buckets.iter().filter(|bucket| bucket.count != 0.0) {
            write!(
                out,
                ", {}{},{}{}:{}",
                if bucket.lower_inclusive { '[' } else { '(' },
                format_float_short(bucket.lower),
                format_float_short(bucket.upper),
                if bucket.upper_inclusive { ']' } else { ')' },
                format_float_short(bucket.count)
            )?;
        }
        out.write_str("}")
    }
}
