//! Dates of the Gregorian calendar, in UTC.

/// A civil date.
pub(crate) struct Date {
    pub year: i64,
    /// From 1.
    pub month: i64,
    /// From 1.
    pub day: i64,
}

/// The date of a number of days since 1970, by counting in 400-year cycles that begin on 1 March 2000 − 2000 years.
pub(crate) fn date_of(days: i64) -> Date {
    let from_march = days + 719_468;
    let cycle = from_march.div_euclid(146_097);
    let day_of_cycle = from_march.rem_euclid(146_097);
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_cycle + cycle * 400 + i64::from(month <= 2);
    Date { year, month, day }
}

fn is_leap(year: i64) -> bool {
    year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0)
}

const DAYS: [i64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// Days of the date's month.
pub(crate) fn days_in_month(date: &Date) -> i64 {
    let days = usize::try_from(date.month - 1).ok().and_then(|index| DAYS.get(index)).copied().unwrap_or(30);
    if date.month == 2 && is_leap(date.year) { days + 1 } else { days }
}

/// The day within the year, from 1.
pub(crate) fn day_of_year(date: &Date) -> i64 {
    let before: i64 = DAYS.iter().take(usize::try_from(date.month - 1).unwrap_or(0)).sum();
    before + date.day + i64::from(date.month > 2 && is_leap(date.year))
}

/// Milliseconds since 1970 as RFC 3339 in UTC, with as many decimals as it takes: `2023-12-25T00:00:00.5Z`.
pub(crate) fn format_rfc3339(milliseconds: i64) -> String {
    let (seconds, rest) = (milliseconds.div_euclid(1000), milliseconds.rem_euclid(1000));
    let date = date_of(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400);
    let fraction = format!(".{rest:03}");
    let fraction = if rest == 0 { "" } else { fraction.trim_end_matches('0') };
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{fraction}Z",
        date.year,
        date.month,
        date.day,
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339() {
        assert_eq!(format_rfc3339(1_703_462_400_000), "2023-12-25T00:00:00Z");
        assert_eq!(format_rfc3339(1_703_462_400_500), "2023-12-25T00:00:00.5Z");
        assert_eq!(format_rfc3339(-1), "1969-12-31T23:59:59.999Z");
    }
}
