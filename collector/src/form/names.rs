//! Names of months in the languages that `date` speaks, and of time zones.

/// Beginnings of the names of each month, lower case.
const MONTHS: [&[&str]; 12] = [
    &["jan", "ene", "janv", "gen", "sty", "янв", "oca", "led", "jän", "tammi"],
    &["feb", "fév", "fev", "lut", "фев", "şub", "úno", "helmi"],
    &["mar", "mär", "mrz", "mrt", "мар", "bře", "maalis"],
    &["apr", "abr", "avr", "kwi", "апр", "nis", "dub", "huhti"],
    &["may", "mai", "mag", "mei", "maj", "май", "мая", "kvě", "touko"],
    &["jun", "juin", "giu", "cze", "июн", "haz", "čer", "kesä"],
    &["jul", "juil", "lug", "lip", "июл", "tem", "čvc", "heinä"],
    &["aug", "ago", "aoû", "sie", "авг", "ağu", "srp", "elo"],
    &["sep", "set", "wrz", "сен", "eyl", "zář", "syys"],
    &["oct", "okt", "ott", "out", "paź", "окт", "eki", "říj", "loka"],
    &["nov", "lis", "ноя", "kas", "marras"],
    &["dec", "dez", "dic", "déc", "gru", "дек", "ara", "pro", "joulu"],
];

/// The month (from 1) whose name, or the beginning of it, this is; `word` in lower case.
pub fn month(word: &str) -> Option<i8> {
    if word.chars().count() < 3 || !word.chars().all(char::is_alphabetic) {
        return None;
    }
    // The longest beginning decides: `juil` is not `jui…`.
    let fits = MONTHS.iter().enumerate().flat_map(|(at, names)| {
        names.iter().filter(|name| word.starts_with(*name)).map(move |name| (name.len(), at as i8 + 1))
    });
    fits.max().map(|(_, month)| month)
}

/// Offsets of zones that mean one thing, in minutes.
const ZONES: [(&str, i32); 34] = [
    ("UTC", 0),
    ("GMT", 0),
    ("Z", 0),
    ("z", 0),
    ("WET", 0),
    ("WEST", 60),
    ("CET", 60),
    ("CEST", 120),
    ("EET", 120),
    ("EEST", 180),
    ("MSK", 180),
    ("EST", -300),
    ("EDT", -240),
    ("CDT", -300),
    ("MST", -420),
    ("MDT", -360),
    ("PST", -480),
    ("PDT", -420),
    ("AKST", -540),
    ("AKDT", -480),
    ("HST", -600),
    ("BRT", -180),
    ("ART", -180),
    ("JST", 540),
    ("KST", 540),
    ("HKT", 480),
    ("SGT", 480),
    ("PKT", 300),
    ("AWST", 480),
    ("ACST", 570),
    ("AEST", 600),
    ("AEDT", 660),
    ("NZST", 720),
    ("NZDT", 780),
];

/// Zones that mean several things, among them China's, America's and Cuba's, India's, Israel's and Ireland's.
const AMBIGUOUS: [&str; 4] = ["CST", "IST", "BST", "AST"];

/// Offset from UTC in seconds that a word says; a null inside where it is a zone that may be several.
pub fn zone(word: &str) -> Option<Option<i32>> {
    if AMBIGUOUS.contains(&word) {
        return Some(None);
    }
    if let Some((_, minutes)) = ZONES.iter().find(|(name, _)| *name == word) {
        return Some(Some(minutes * 60));
    }
    let rest = word.strip_prefix("UTC").or_else(|| word.strip_prefix("GMT")).unwrap_or(word);
    let (sign, digits) = match rest.as_bytes().first()? {
        b'+' => (1, &rest[1..]),
        b'-' => (-1, &rest[1..]),
        _ => return None,
    };
    let plain: String = digits.chars().filter(|letter| *letter != ':').collect();
    if !plain.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes): (i32, i32) = match plain.len() {
        1 | 2 => (plain.parse().ok()?, 0),
        4 => (plain[..2].parse().ok()?, plain[2..].parse().ok()?),
        _ => return None,
    };
    (hours <= 14 && minutes < 60).then_some(Some(sign * (hours * 3600 + minutes * 60)))
}
