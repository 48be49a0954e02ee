//! Calendar functions, in UTC.

use super::Arguments;
use super::math::each_float;
use crate::answer::EvalError;
use crate::evaluate::{Cells, Row};
use crate::labels::Labels;

/// A civil date.
struct Date {
    year: i64,
    month: i64,
    day: i64,
}

/// The date of a number of days since 1970, by counting in 400-year cycles that begin on 1 March 2000 − 2000 years.
fn date_of(days: i64) -> Date {
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

fn days_in_month(date: &Date) -> i64 {
    let days = usize::try_from(date.month - 1).ok().and_then(|index| DAYS.get(index)).copied().unwrap_or(30);
    if date.month == 2 && is_leap(date.year) { days + 1 } else { days }
}

fn day_of_year(date: &Date) -> i64 {
    let before: i64 = DAYS.iter().take(usize::try_from(date.month - 1).unwrap_or(0)).sum();
    before + date.day + i64::from(date.month > 2 && is_leap(date.year))
}

fn part(name: &str, time: f64) -> f64 {
    // Go turns a float that no integer can hold (NaN too) into −2⁶³, and its calendar wraps that around to 2⁶³.
    let (days, second_of_day) = if time.is_nan() || time.abs() >= 9.223_372_036_854_775e18 {
        (106_751_991_167_300, 55_808)
    } else {
        ((time as i64).div_euclid(86_400), (time as i64).rem_euclid(86_400))
    };
    let date = date_of(days);
    let value = match name {
        "year" => date.year,
        "month" => date.month,
        "day_of_month" => date.day,
        "day_of_week" => (days + 4).rem_euclid(7),
        "day_of_year" => day_of_year(&date),
        "days_in_month" => days_in_month(&date),
        "hour" => second_of_day / 3600,
        _ => second_of_day % 3600 / 60,
    };
    value as f64
}

/// Evaluates a calendar function, by default of the time of evaluation.
pub(super) fn calendar(name: &str, arguments: &Arguments<'_>) -> Result<Vec<Row>, EvalError> {
    if arguments.len() == 0 {
        let context = arguments.context;
        let floats = (0..context.steps).map(|step| part(name, context.time(step) as f64 / 1000.0)).collect();
        let cells = Cells { floats, histograms: None };
        return Ok(vec![Row { labels: Labels::default(), drop_name: false, cells }]);
    }
    Ok(each_float(arguments.vector(0)?, |_, value| Some(part(name, value))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_around_leap_days_and_before_1970() {
        let all = |time: f64| {
            ["year", "month", "day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour", "minute"]
                .map(|name| part(name, time))
        };
        // 29 February 2024, 23:59:30 UTC, a Thursday.
        assert_eq!(all(1_709_251_170.0), [2024.0, 2.0, 29.0, 4.0, 60.0, 29.0, 23.0, 59.0]);
        assert_eq!(all(0.0), [1970.0, 1.0, 1.0, 4.0, 1.0, 31.0, 0.0, 0.0]);
        assert_eq!(all(-1.0), [1969.0, 12.0, 31.0, 3.0, 365.0, 31.0, 23.0, 59.0]);
        // 31 December 2000, the 366th day.
        assert_eq!(part("day_of_year", 978_220_800.0), 366.0);
        assert_eq!((part("hour", f64::NAN), part("minute", f64::INFINITY)), (15.0, 30.0));
        part("year", 1e300);
    }
}
