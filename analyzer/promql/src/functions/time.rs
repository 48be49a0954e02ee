//! Calendar functions, in UTC.

use super::Arguments;
use super::math::each_float;
use crate::answer::EvalError;
use crate::calendar::{date_of, day_of_year, days_in_month};
use crate::evaluate::{Cells, Row};
use crate::labels::Labels;

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
