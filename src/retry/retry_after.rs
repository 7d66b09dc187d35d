/// What a `Retry-After` header asks for, in milliseconds from `now_ms` (milliseconds since 1970): whole seconds, or
/// one of the three forms of an HTTP date (RFC 9110, 5.6.7 and 10.2.3). A date that has passed is 0; anything else
/// than these forms is `None`.
///
/// ```
/// use reprise::retry::parse_retry_after;
/// assert_eq!(parse_retry_after("120", 0.0), Some(120_000.0));
/// assert_eq!(parse_retry_after("Thu, 01 Jan 1970 00:00:05 GMT", 1_000.0), Some(4_000.0));
/// assert_eq!(parse_retry_after("soon", 0.0), None);
/// ```
#[must_use]
pub fn parse_retry_after(value: &str, now_ms: f64) -> Option<f64> {
    let value = value.trim_matches([' ', '\t']);
    if is_digits(value) {
        return value.parse::<f64>().ok().map(|seconds| seconds * 1_000.0).filter(|ms| ms.is_finite());
    }
    let at_ms = parse_http_date(value, now_ms)?;
    Some((at_ms - now_ms).max(0.0))
}

/// What a `retry-after-ms` header asks for: a number of milliseconds that is not negative.
#[must_use]
pub fn parse_retry_after_ms(value: &str) -> Option<f64> {
    let value = value.trim_matches([' ', '\t']);
    let (whole, fraction) = value.split_once('.').unwrap_or((value, "0"));
    if !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    value.parse::<f64>().ok().filter(|ms| ms.is_finite())
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Milliseconds since 1970 of an HTTP date in any of its three forms.
fn parse_http_date(value: &str, now_ms: f64) -> Option<f64> {
    let words: Vec<&str> = value.split(' ').filter(|word| !word.is_empty()).collect();
    match words[..] {
        // IMF-fixdate: Sun, 06 Nov 1994 08:49:37 GMT
        [weekday, day, month, year, time, "GMT"]
            if is_weekday(weekday.strip_suffix(',')?, &SHORT_WEEKDAYS) =>
        {
            at(four_digits(year)?, month_of(month)?, two_digits(day)?, time)
        }
        // RFC 850: Sunday, 06-Nov-94 08:49:37 GMT
        [weekday, date, time, "GMT"] if is_weekday(weekday.strip_suffix(',')?, &LONG_WEEKDAYS) => {
            let mut parts = date.split('-');
            let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
            if parts.next().is_some() {
                return None;
            }
            let (day, month, year) = (two_digits(day)?, month_of(month)?, two_digits(year)?);
            // Two digits mean the year that is nearest, and never one more than 50 years ahead.
            let this_year = year_of(now_ms);
            let year = this_year - this_year.rem_euclid(100) + year;
            let year = if year > this_year + 50 { year - 100 } else { year };
            at(year, month, day, time)
        }
        // asctime: Sun Nov  6 08:49:37 1994
        [weekday, month, day, time, year] if is_weekday(weekday, &SHORT_WEEKDAYS) => {
            let day = if day.len() == 1 && is_digits(day) { day.parse().ok()? } else { two_digits(day)? };
            at(four_digits(year)?, month_of(month)?, day, time)
        }
        _ => None,
    }
}

const SHORT_WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const LONG_WEEKDAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn is_weekday(word: &str, names: &[&str]) -> bool {
    names.contains(&word)
}

fn month_of(word: &str) -> Option<i64> {
    (1..).zip(MONTHS).find_map(|(number, name)| (name == word).then_some(number))
}

fn two_digits(word: &str) -> Option<i64> {
    (word.len() == 2 && is_digits(word)).then(|| word.parse().ok())?
}

fn four_digits(word: &str) -> Option<i64> {
    (word.len() == 4 && is_digits(word)).then(|| word.parse().ok())?
}

fn at(year: i64, month: i64, day: i64, time: &str) -> Option<f64> {
    let mut parts = time.split(':');
    let (hour, minute, second) =
        (two_digits(parts.next()?)?, two_digits(parts.next()?)?, two_digits(parts.next()?)?);
    // Second 60 is a leap second.
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 || !(1..=31).contains(&day) {
        return None;
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    #[expect(clippy::cast_precision_loss, reason = "a year of four digits stays far below 2^53 milliseconds")]
    let ms = (seconds * 1_000) as f64;
    Some(ms)
}

/// Days from 1970-01-01 to a day of the Gregorian calendar: years are counted from March, so that the leap day is the
/// last of its year, and every 400 years are alike.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and a year is all that is wanted")]
fn year_of(now_ms: f64) -> i64 {
    // The mean year is exact enough: it is off by a day at most, on the other side of which 50 years begin.
    1970 + (now_ms / (365.2425 * 86_400_000.0)).floor() as i64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // 1994-11-06T08:49:37Z, the date of the examples in RFC 9110.
    const EXAMPLE_MS: f64 = 784_111_777_000.0;

    #[test]
    fn the_three_forms_of_a_date_are_one_moment() {
        for form in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(parse_retry_after(form, EXAMPLE_MS - 5_000.0), Some(5_000.0), "{form}");
            assert_eq!(parse_retry_after(form, EXAMPLE_MS + 5_000.0), Some(0.0), "{form}");
        }
    }

    #[test]
    fn two_digits_of_a_year_never_mean_more_than_fifty_years_ahead() {
        let in_2026 = 1_790_000_000_000.0;
        assert!(parse_retry_after("Sunday, 06-Nov-70 08:49:37 GMT", in_2026) > Some(1e12));
        assert_eq!(parse_retry_after("Sunday, 06-Nov-77 08:49:37 GMT", in_2026), Some(0.0));
        assert_eq!(parse_retry_after("Sunday, 06-Nov-94 08:49:37 GMT", in_2026), Some(0.0));
    }

    #[test]
    fn seconds_are_digits_and_nothing_else() {
        assert_eq!(parse_retry_after("0", 0.0), Some(0.0));
        assert_eq!(parse_retry_after(" 30\t", 0.0), Some(30_000.0));
        for malformed in [
            "",
            " ",
            "-1",
            "+1",
            "1.5",
            "0x10",
            "1e3",
            "1,2",
            "ten",
            "Infinity",
            "NaN",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "06 Nov 1994 08:49:37 GMT",
            "Sun, 32 Nov 1994 08:49:37 GMT",
            "1994-11-06T08:49:37Z",
        ] {
            assert_eq!(parse_retry_after(malformed, 0.0), None, "{malformed:?}");
        }
    }

    #[test]
    fn milliseconds_may_have_a_fraction() {
        assert_eq!(parse_retry_after_ms("1500"), Some(1_500.0));
        assert_eq!(parse_retry_after_ms("12.5"), Some(12.5));
        for malformed in ["", "-1", "1.", ".5", "1e3", "0x1", "1.2.3"] {
            assert_eq!(parse_retry_after_ms(malformed), None, "{malformed:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(value: String, now in 0.0..1e14_f64) {
            if let Some(ms) = parse_retry_after(&value, now) {
                prop_assert!(ms >= 0.0 && ms.is_finite());
            }
            let _ = parse_retry_after_ms(&value);
        }

        #[test]
        fn every_day_comes_after_the_one_before(days in -200_000..200_000_i64) {
            // From March 1st 2000, in steps of a day, by the calendar's own rules.
            let (year, month, day) = civil(days);
            prop_assert_eq!(days_since_1970(year, month, day), days);
        }
    }

    /// The calendar, counted month by month from 1970: slow and obvious.
    fn civil(mut days: i64) -> (i64, i64, i64) {
        let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        let mut year = 1970;
        while days < 0 {
            year -= 1;
            days += if leap(year) { 366 } else { 365 };
        }
        let mut month = 1;
        loop {
            let length = match month {
                2 => {
                    if leap(year) {
                        29
                    } else {
                        28
                    }
                }
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            if days < length {
                return (year, month, days + 1);
            }
            days -= length;
            month += 1;
            if month == 13 {
                (month, year) = (1, year + 1);
            }
        }
    }
}
