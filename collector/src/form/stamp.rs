//! Times that people and tools write as a line of their own, or ahead of a line: one recogniser for all formats.
//!
//! ```text
//! # TIMESTAMP 1795407710.648307833          the collector's own stamp, which every other one is turned into
//! 1795686490.142423046  1795686490142       seconds, ms, µs or ns since the epoch
//! 2026-11-26T09:48:10,142423046+00:00       ISO 8601 and RFC 3339, with a point or a comma
//! Thu Nov 26 09:48:10 AM UTC 2026           `date`, also in other languages and orders, and RFC 2822
//! === 2026-11-26 09:48:10 ===               banners around any of them
//! Feb 03 05:05:06 NAME   ENDPOINTS          ahead of a line (`ts`)
//! ```
//!
//! What a time lacks (the year, the zone, the day) may come from elsewhere in the capture: [`Dating`].

use super::instant::{SECOND, digits, fraction};
use super::names::{month, zone};

/// The line ahead of each snapshot.
pub const MARK: &str = "# TIMESTAMP ";
/// Longest line that may be a time.
const LONGEST: usize = 96;
/// A minute and a day, ns.
const MINUTE: i64 = 60 * SECOND;
const DAY: i64 = 86_400 * SECOND;

/// A time as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Null where it was not written.
    pub year: Option<i16>,
    /// Month and day; null for a time of day alone.
    pub day: Option<(i8, i8)>,
    /// ns since midnight.
    pub clock: i64,
    /// ns; 10⁹ for whole seconds.
    pub resolution: i64,
    /// Offset from UTC, s; null where no zone, or an ambiguous one, was written.
    pub offset: Option<i32>,
}

/// What the rest of a capture says of times that lack something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dating {
    /// Year, as stated or found.
    pub year: Option<i16>,
    /// Offset from UTC, s, as stated or found.
    pub utc_offset: Option<i32>,
    /// The stretch that dated sources of the capture span, ns since the epoch.
    pub span: Option<(i64, i64)>,
}

impl Stamp {
    /// A moment since the epoch, ns.
    fn of_epoch(time: i64, resolution: i64) -> Option<Self> {
        let days = time.div_euclid(DAY);
        let date = jiff::civil::Date::constant(1970, 1, 1);
        let date = date.checked_add(jiff::Span::new().try_days(days).ok()?).ok()?;
        Some(Self {
            year: Some(date.year()),
            day: Some((date.month(), date.day())),
            clock: time.rem_euclid(DAY),
            resolution,
            offset: Some(0),
        })
    }

    /// ns since the epoch, with what it lacks taken from `dating`; null where that does not say.
    pub fn time(&self, dating: &Dating) -> Option<i64> {
        let offset = self.offset.or(dating.utc_offset)?;
        let local = |year: i16, (month, day): (i8, i8)| -> Option<i64> {
            let date = jiff::civil::Date::new(year, month, day).ok()?;
            let days = i64::from((date - jiff::civil::Date::constant(1970, 1, 1)).get_days());
            days.checked_mul(DAY)?.checked_add(self.clock)?.checked_sub(i64::from(offset) * SECOND)
        };
        let Some(day) = self.day else {
            // The moment with this time of day that lies in the stretch, or next to its beginning.
            let (from, to) = dating.span?;
            let first = from.div_euclid(DAY) * DAY + self.clock - i64::from(offset) * SECOND;
            let near = |time: &i64| from.saturating_sub(*time).max(time.saturating_sub(to)).max(0);
            return [first - DAY, first, first + DAY].into_iter().min_by_key(near);
        };
        match self.year.or(dating.year) {
            Some(year) => local(year, day),
            None => {
                let (from, to) = dating.span?;
                let near = |time: &i64| from.saturating_sub(*time).max(time.saturating_sub(to)).max(0);
                let year = (from / SECOND / 31_556_952 + 1970) as i16;
                [year - 1, year, year + 1].into_iter().filter_map(|year| local(year, day)).min_by_key(near)
            }
        }
    }

    /// The line that stands for it: `# TIMESTAMP ` and seconds, with as many digits as its resolution has.
    pub fn canonical(&self, dating: &Dating) -> String {
        let Some(time) = self.time(dating) else { return format!("{MARK}unknown") };
        let (whole, part) = (time.div_euclid(SECOND), time.rem_euclid(SECOND));
        let kept = (0..=9_u32).find(|kept| 10_i64.pow(9 - kept) <= self.resolution).unwrap_or(9);
        match kept {
            0 => format!("{MARK}{whole}"),
            // Bounded: 9 digits.
            kept => format!("{MARK}{whole}.{:0width$}", part / 10_i64.pow(9 - kept), width = kept as usize),
        }
    }
}

/// Time and resolution (ns) of a line `# TIMESTAMP …`; null for any other line.
pub fn canonical(line: &[u8]) -> Option<(Option<i64>, i64)> {
    let rest = line.strip_prefix(MARK.as_bytes())?;
    let number = rest.split(|byte| *byte == b' ').next().unwrap_or_default().trim_ascii();
    let kept = memchr::memchr(b'.', number).map_or(0, |point| (number.len() - point - 1).min(9));
    Some((super::instant::epoch_seconds(number), 10_i64.pow(9 - kept as u32)))
}

/// A line that is nothing but a time, bare or within a banner.
pub fn line(line: &[u8]) -> Option<Stamp> {
    // Seconds since the epoch have ten digits, every other time hours and minutes.
    let digits = || line.split(|byte| !byte.is_ascii_digit()).any(|digits| digits.len() >= 10);
    if line.len() > LONGEST || line.len() < 8 || !(clock_in(line).is_some() || digits()) {
        return None;
    }
    let text = std::str::from_utf8(line).ok()?.trim();
    let bare = text.trim_matches(|letter: char| "=-#*~+<>|[](){}\"'`_ \t".contains(letter));
    if let Some(found) = whole(text).or_else(|| whole(bare)) {
        return Some(found);
    }
    if bare == text {
        return None;
    }
    // A banner may say what it is.
    let words = ["timestamp", "time", "date", "at", "now", "ts", "sample", "snapshot", "iteration", "run", "tick"];
    let mut rest = bare;
    for _ in 0..3 {
        let (word, behind) = rest.split_once([' ', '=', ':', '\t'])?;
        let plain = word.trim_matches(|letter: char| !letter.is_alphanumeric()).to_lowercase();
        let counted = plain.len() < 7 && plain.bytes().all(|byte| byte.is_ascii_digit());
        if !words.contains(&plain.as_str()) && !counted && !plain.is_empty() {
            return None;
        }
        rest = behind.trim();
        if let Some(found) = whole(rest) {
            return Some(found);
        }
    }
    None
}

/// Where the first text stands that may be hours and minutes: the place of its colon.
fn clock_in(text: &[u8]) -> Option<usize> {
    let digit = |at: usize| text.get(at).is_some_and(u8::is_ascii_digit);
    memchr::memchr_iter(b':', text).find(|at| *at > 0 && digit(at - 1) && digit(at + 1) && digit(at + 2))
}

/// A text that is nothing but a time.
fn whole(text: &str) -> Option<Stamp> {
    if text.len() < 8 || !text.is_char_boundary(8) {
        return None;
    }
    if let Some(found) = epoch(text) {
        return Some(found);
    }
    if let Some((found, used)) = iso(text).filter(|(_, used)| *used == text.len()) {
        return (used == text.len()).then_some(found);
    }
    words(text.split([' ', '\t', ',']).filter(|word| !word.is_empty()))
}

/// A time ahead of a line, and where the line begins.
pub fn ahead(line: &[u8]) -> Option<(Stamp, usize)> {
    let first = *line.first()?;
    if !(first.is_ascii_alphanumeric() || first == b'[') || line.len() < 10 {
        return None;
    }
    let reach = line.len().min(LONGEST);
    let head = match std::str::from_utf8(&line[..reach]) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&line[..error.valid_up_to()]).ok()?,
    };
    if let Some(inner) = head.strip_prefix('[') {
        let end = inner.find(']')?;
        let found = whole(&inner[..end])?;
        return Some((found, gap(line, end + 2)?));
    }
    if let Some((found, used)) = iso(head) {
        return Some((found, gap(line, used)?));
    }
    let word = head.split([' ', '\t', '|', ':']).next()?;
    if let Some(found) = epoch(word) {
        return Some((found, gap(line, word.len())?));
    }
    // `Feb 03 05:05:06`, `Thu Nov 26 09:48:10 AM UTC 2026`: as many words as make a time.
    let clock = clock_in(head.as_bytes())?;
    let mut ends = Vec::new();
    let mut inside = false;
    for (at, letter) in head.char_indices() {
        let space = letter == ' ' || letter == '\t';
        if space && inside {
            ends.push(at);
        }
        inside = !space;
        if ends.len() == 7 {
            break;
        }
    }
    ends.iter().rev().filter(|end| **end > clock).find_map(|end| {
        let text = &head[..*end];
        let colon = text.strip_suffix(':').unwrap_or(text);
        let found = words(colon.split([' ', '\t', ',']).filter(|word| !word.is_empty()))?;
        Some((found, gap(line, *end)?))
    })
}

/// Where the line goes on behind a time: a separator must stand there.
fn gap(line: &[u8], used: usize) -> Option<usize> {
    match line.get(used)? {
        b' ' | b'\t' => Some(used + 1),
        b':' | b'|' if line.get(used + 1) == Some(&b' ') => Some(used + 2),
        _ => None,
    }
}

/// Seconds since the epoch with an optional fraction, or ms, µs, ns: from 2001 to 2096.
fn epoch(text: &str) -> Option<Stamp> {
    let (number, part) = text.split_once(['.', ',']).unwrap_or((text, ""));
    if !number.bytes().all(|byte| byte.is_ascii_digit()) || !matches!(number.len(), 10 | 13 | 16 | 19) {
        return None;
    }
    if !matches!(number.as_bytes()[0], b'1'..=b'3') || (!part.is_empty() && number.len() != 10) {
        return None;
    }
    let unit = 10_i64.pow(19 - number.len() as u32);
    let time = number.parse::<i64>().ok()?.checked_mul(unit)?;
    if part.is_empty() {
        return (!text.ends_with(['.', ','])).then(|| Stamp::of_epoch(time, unit))?;
    }
    Stamp::of_epoch(time + fraction(part.as_bytes())?, 10_i64.pow(9 - part.len().min(9) as u32))
}

/// `HH:MM[:SS[.fraction]]` as ns since midnight, its resolution, and how many bytes it took.
fn time_of_day(text: &str) -> Option<(i64, i64, usize)> {
    let bytes = text.as_bytes();
    let colon = memchr::memchr(b':', bytes).filter(|at| matches!(at, 1 | 2))?;
    let hour = digits(&bytes[..colon]).filter(|hour| *hour < 24)?;
    let two = |at: usize| digits(bytes.get(at..at + 2)?).filter(|number| *number < 61);
    let minute = two(colon + 1)?;
    let mut clock = (hour * 60 + minute) * MINUTE;
    let mut used = colon + 3;
    if bytes.get(used) != Some(&b':') {
        return (bytes.get(used).is_none_or(|next| !next.is_ascii_digit())).then_some((clock, MINUTE, used));
    }
    clock += two(used + 1)? * SECOND;
    used += 3;
    if !matches!(bytes.get(used), Some(b'.' | b',')) || !bytes.get(used + 1).is_some_and(u8::is_ascii_digit) {
        return (bytes.get(used).is_none_or(|next| !next.is_ascii_digit())).then_some((clock, SECOND, used));
    }
    let length = bytes[used + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    clock += fraction(&bytes[used + 1..used + 1 + length])?;
    Some((clock, 10_i64.pow(9 - length.min(9) as u32), used + 1 + length))
}

/// `2026-11-26T09:48:10.1+00:00`, also with `/`, a space, and without a zone; and how many bytes it took.
fn iso(text: &str) -> Option<(Stamp, usize)> {
    let bytes = text.as_bytes();
    if bytes.len() < 16 || !matches!(bytes[4], b'-' | b'/') || bytes[7] != bytes[4] {
        return None;
    }
    let number = |range: std::ops::Range<usize>| digits(&bytes[range]);
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    if !matches!(bytes[10], b'T' | b't' | b' ' | b'_') || !(1970..2100).contains(&year) {
        return None;
    }
    let (clock, resolution, length) = time_of_day(text.get(11..)?)?;
    let mut used = 11 + length;
    let rest = &text[used..];
    let apart = usize::from(rest.starts_with(' '));
    let word = rest[apart..].split([' ', '\t', ']', '|']).next().unwrap_or_default();
    let mut offset = None;
    if let Some(found) = zone(word).filter(|_| !word.is_empty()) {
        offset = found;
        used += apart + word.len();
    }
    jiff::civil::Date::new(year as i16, month as i8, day as i8).ok()?;
    Some((Stamp { year: Some(year as i16), day: Some((month as i8, day as i8)), clock, resolution, offset }, used))
}

/// Words that make a time in any order: month, day, year, time of day, zone, half of the day, and one name of a weekday.
fn words<'t>(all: impl Iterator<Item = &'t str>) -> Option<Stamp> {
    let (mut year, mut named, mut day, mut clock, mut offset) = (None, None, None, None, None);
    let (mut half, mut has_zone, mut weekdays, mut count) = (None, false, 0, 0);
    for word in all {
        count += 1;
        if count > 12 {
            return None;
        }
        let plain = word.trim_end_matches(['.', ':']);
        let lower = plain.to_lowercase();
        if let Some((found, resolution, used)) = time_of_day(word) {
            let rest = word[used..].to_lowercase();
            half = half.or(half_of_day(&rest));
            if clock.is_some() || (!rest.is_empty() && half.is_none()) {
                return None;
            }
            clock = Some((found, resolution));
        } else if let Some((y, m, d)) = numeric_date(plain) {
            (year, named, day) = (Some(y), Some(m), Some(d));
        } else if let Some(number) = plain.strip_suffix('年').or(Some(plain)).filter(|n| n.len() == 4 && year.is_none())
            && let Ok(found @ 1970..=2099) = number.parse::<i16>()
        {
            year = Some(found);
        } else if let Some(found) = plain.strip_suffix(['月', '월']).and_then(|number| number.parse::<i8>().ok()) {
            named = Some(found);
        } else if let Ok(found @ 1..=31) =
            plain.trim_end_matches(['日', '일', 'º']).trim_end_matches("th").trim_end_matches("st").parse::<i8>()
            && day.is_none()
            && plain.len() < 6
        {
            day = Some(found);
        } else if let Some(found) = half_of_day(&lower) {
            half = Some(found);
        } else if let Some(found) = month(&lower).filter(|_| named.is_none()) {
            named = Some(found);
        } else if let Some(found) = zone(word).filter(|_| !has_zone && clock.is_some()) {
            (offset, has_zone) = (found, true);
        } else if ["de", "del", "of", "le", "den", "da", "at", "um", "à", "di", "the", "dnia", "г"]
            .contains(&lower.as_str())
        {
        } else if clock.is_none()
            && word.trim_matches(['(', ')', '.', ',']).chars().all(char::is_alphabetic)
            && plain.len() < 24
        {
            // The name of a weekday, which stands ahead of the time of day in every language.
            weekdays += 1;
        } else {
            return None;
        }
    }
    let (mut clock, resolution) = clock?;
    match half {
        Some(true) if clock < 12 * 60 * MINUTE => clock += 12 * 60 * MINUTE,
        Some(false) if clock >= 12 * 60 * MINUTE => clock -= 12 * 60 * MINUTE,
        _ => {}
    }
    let bare = named.is_none() && day.is_none();
    if bare {
        // A time of day alone: nothing else may stand there but a zone.
        let alone = year.is_none() && weekdays == 0 && resolution < MINUTE;
        return alone.then_some(Stamp { year: None, day: None, clock, resolution, offset });
    }
    if weekdays > 1 || resolution == MINUTE && year.is_none() {
        return None;
    }
    let (month, day) = (named?, day?);
    jiff::civil::Date::new(year.unwrap_or(2024), month, day).ok()?;
    Some(Stamp { year, day: Some((month, day)), clock, resolution, offset })
}

/// True for the afternoon.
fn half_of_day(word: &str) -> Option<bool> {
    match word {
        "am" | "a.m" | "a.m." | "午前" | "上午" | "오전" => Some(false),
        "pm" | "p.m" | "p.m." | "午後" | "下午" | "오후" => Some(true),
        _ => None,
    }
}

/// `26.11.2026`, `11/26/2026`, `2026年11月26日`, `2026.11.26`. A day and a month that could be either are refused.
fn numeric_date(word: &str) -> Option<(i16, i8, i8)> {
    let mut parts = word.trim_end_matches('日').split(['.', '/', '-', '年', '月']);
    let (a, b, c) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || a.is_empty() || b.is_empty() || c.is_empty() {
        return None;
    }
    let (first, second, third): (i16, i16, i16) = (a.parse().ok()?, b.parse().ok()?, c.parse().ok()?);
    let (year, month, day) = if a.len() == 4 {
        (first, second, third)
    } else if c.len() == 4 && (word.contains('.') || first > 12) {
        (third, second, first)
    } else if c.len() == 4 && (second > 12 || first == second) {
        (third, first, second)
    } else {
        return None;
    };
    Some((year, i8::try_from(month).ok()?, i8::try_from(day).ok()?))
}

/// The first lines of a file's head that are whole, without the stamps.
pub fn tried_lines<'a>(bytes: &'a [u8], whole: bool) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let kept = if whole { bytes } else { &bytes[..memchr::memrchr(b'\n', bytes).unwrap_or(bytes.len())] };
    kept.split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter(|line| !line.starts_with(MARK.as_bytes()))
        .take(2_000)
}

#[cfg(test)]
mod tests {
    use super::{Dating, ahead, canonical, line};

    const AT: i64 = 1_795_686_490_000_000_000;

    #[test]
    fn a_moment_far_from_the_capture_is_still_the_nearest_one() {
        let dating = Dating { year: None, utc_offset: Some(0), span: Some((AT, AT)) };
        // The years about that of the capture bring it next to it, whatever lies between.
        let stamp = line(b"Feb 03 05:05:06").or_else(|| ahead(b"Feb 03 05:05:06 NAME").map(|(stamp, _)| stamp));
        assert_eq!(stamp.expect("a time").time(&dating), Some(1_801_631_106_000_000_000));
        let ends = Dating { span: Some((i64::MIN, i64::MAX)), ..dating };
        assert!(stamp.expect("a time").time(&ends).is_some());
    }

    #[test]
    fn every_way_to_write_a_moment_is_read() {
        let dating = Dating { year: Some(2026), utc_offset: Some(0), span: Some((AT - 60, AT + 60)) };
        for (text, fraction, resolution) in [
            ("Thu Nov 26 09:48:10 UTC 2026", 0, 1_000_000_000),
            ("Thu Nov 26 10:48:10 CET 2026", 0, 1_000_000_000),
            ("Thu Nov 26 09:48:10 AM UTC 2026", 0, 1_000_000_000),
            ("Thu 26 Nov 2026 09:48:10 AM UTC", 0, 1_000_000_000),
            ("jueves, 26 de noviembre de 2026, 10:48:10 CET", 0, 1_000_000_000),
            ("Do 26. Nov 10:48:10 CET 2026", 0, 1_000_000_000),
            ("jeu. 26 nov. 2026 10:48:10 CET", 0, 1_000_000_000),
            ("2026年 11月 26日 星期四 09:48:10 UTC", 0, 1_000_000_000),
            ("2026年11月26日 木曜日 18:48:10 JST", 0, 1_000_000_000),
            ("Thu, 26 Nov 2026 04:48:10 -0500", 0, 1_000_000_000),
            ("Thu, 26 Nov 2026 09:48:10 GMT", 0, 1_000_000_000),
            ("2026-11-26T09:48:10,142423046+00:00", 142_423_046, 1),
            ("2026-11-26 04:48:10.145985549-05:00", 145_985_549, 1),
            ("2026-11-26 04:48:10.145 -0500", 145_000_000, 1_000_000),
            ("2026-11-26T09:48:10Z", 0, 1_000_000_000),
            ("2026-11-26 09:48:10 UTC", 0, 1_000_000_000),
            ("2026/11/26 09:48:10", 0, 1_000_000_000),
            ("1795686490.142423046", 142_423_046, 1),
            ("1795686490", 0, 1_000_000_000),
            ("1795686490142", 142_000_000, 1_000_000),
            ("1795686490142423", 142_423_000, 1_000),
            ("1795686490142423046", 142_423_046, 1),
            ("=== 2026-11-26T09:48:10Z ===", 0, 1_000_000_000),
            ("--- Thu Nov 26 09:48:10 UTC 2026 ---", 0, 1_000_000_000),
            ("### sample 3: 1795686490.142", 142_000_000, 1_000_000),
            ("[2026-11-26 09:48:10]", 0, 1_000_000_000),
            ("Nov 26 09:48:10", 0, 1_000_000_000),
            ("09:48:10.142", 142_000_000, 1_000_000),
            ("26.11.2026 09:48:10", 0, 1_000_000_000),
            ("11/26/2026 09:48:10 AM", 0, 1_000_000_000),
            ("чт 26 ноя 2026 12:48:10 MSK", 0, 1_000_000_000),
        ] {
            let found = line(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((found.time(&dating), found.resolution), (Some(AT + fraction), resolution), "{text}");
            let again = canonical(found.canonical(&dating).as_bytes());
            assert_eq!(again, Some((Some(AT + fraction), resolution)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "deployment.apps/test scaled",
            "NAME READY STATUS",
            "12345",
            "17956864901",
            "10.0.0.1:8080",
            "COMMIT",
            "tcp 10:20",
            "Chain KUBE-SVC-A (1 references)",
            "03/04/2026 09:48:10",
            "pod/test-5 1 2026",
            "----------",
            "2026-13-26T09:48:10Z",
            "+++ after.txt\t2026-11-26 09:48:10.457141711 +0000",
        ] {
            assert_eq!(line(text.as_bytes()), None, "{text}");
        }
        // An ambiguous zone is no zone.
        assert_eq!(line(b"Thu Nov 26 09:48:10 CST 2026").and_then(|found| found.offset), None);
    }

    #[test]
    fn times_ahead_of_a_line_leave_the_line() {
        let dating = Dating { year: Some(2026), utc_offset: Some(0), span: None };
        for (text, rest) in [
            ("2026-11-26T10:48:10.5+01:00 NAME   READY", "NAME   READY"),
            ("Nov 26 09:48:10 NAME", "NAME"),
            ("Thu Nov 26 09:48:10 UTC 2026  cart 1", " cart 1"),
            ("[2026-11-26 09:48:10] cart", "cart"),
            ("1795686490.142 cart", "cart"),
            ("1795686490\tcart", "cart"),
            ("2026-11-26 09:48:10,142 INFO x", "INFO x"),
            ("Nov 26 09:48:10: cart", "cart"),
            ("Nov 26 09:48:10 NAME   ENDPOINTS   AGE", "NAME   ENDPOINTS   AGE"),
        ] {
            let (found, at) = ahead(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(&text[at..], rest, "{text}");
            assert_eq!(found.time(&dating).map(|time| time / 1_000_000_000), Some(AT / 1_000_000_000), "{text}");
        }
        for text in ["NAME READY STATUS AGE", "10.0.0.1 2 3 4", "I0203 04:05:06.1 1 x", "2026-11-26T09:48:10Z"] {
            assert_eq!(ahead(text.as_bytes()), None, "{text}");
        }
    }
}
