//! Labels and annotations of alerts: the part of Go's templates that their texts use.
//!
//! ```text
//! {{ $value }}   {{ .Value }}   {{ $labels.instance }}   {{ .Labels.instance }}   {{ index $labels "a.b" }}
//! {{ $value | humanizeDuration }}   {{ humanizePercentage $value }}   {{ printf "%.2f of %s" $value $labels.node }}
//! ```
//!
//! An action that is none of these (`{{ range query … }}`, `{{ if … }}`) stands as it was written, and the caller is told.
//! The functions are those of <https://prometheus.io/docs/prometheus/latest/configuration/template_reference/>.

use syncline_promql::{Labels, format_float};

/// Longest width or precision of `printf`: more than any text has, far below what a formatter refuses.
const WIDEST: usize = 100;

/// A text with its actions replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expanded {
    pub text: String,
    /// Actions that stand as they were written.
    pub beyond: Vec<String>,
}

/// Replaces the actions of a template.
pub fn expand(template: &str, labels: &Labels, value: f64) -> Expanded {
    let mut out = Expanded::default();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once("{{") {
        let Some(end) = closing(behind) else { break };
        let (written, after) = (&behind[..end], &behind[end + 2..]);
        // `{{-` and `-}}` take the spaces around the action with them.
        let (trim_left, inner) = match written.strip_prefix('-') {
            Some(inner) if inner.starts_with(char::is_whitespace) => (true, inner),
            _ => (false, written),
        };
        let (trim_right, inner) = match inner.strip_suffix('-') {
            Some(inner) if inner.ends_with(char::is_whitespace) => (true, inner),
            _ => (false, inner),
        };
        out.text.push_str(if trim_left { before.trim_end() } else { before });
        match evaluate(inner.trim(), labels, value) {
            Some(done) => out.text.push_str(&done.shown()),
            None => {
                let whole = format!("{{{{{written}}}}}");
                out.text.push_str(&whole);
                out.beyond.push(whole);
            }
        }
        rest = if trim_right { after.trim_start() } else { after };
    }
    out.text.push_str(rest);
    out
}

/// Where an action ends: at `}}` outside of its strings.
fn closing(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut quote = None;
    let mut at = 0;
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(b'"'), b'\\') => at += 1,
            (Some(open), byte) if byte == open => quote = None,
            (None, b'"' | b'`') => quote = Some(bytes[at]),
            (None, b'}') if bytes.get(at + 1) == Some(&b'}') => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

/// What an action gives.
#[derive(Clone, Debug, PartialEq)]
enum Given {
    Number(f64),
    Text(String),
}

impl Given {
    fn shown(&self) -> String {
        match self {
            Given::Number(number) => shortest(*number),
            Given::Text(text) => text.clone(),
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Given::Number(number) => Some(*number),
            Given::Text(text) => text.parse().ok(),
        }
    }
}

/// An action: comments are nothing, commands are joined by `|`, the last argument of each is what the one before gave.
fn evaluate(action: &str, labels: &Labels, value: f64) -> Option<Given> {
    if action.starts_with("/*") && action.ends_with("*/") && action.len() >= 4 {
        return Some(Given::Text(String::new()));
    }
    let mut given: Option<Given> = None;
    for command in words(action)?.split(|word| word == "|") {
        let (name, arguments) = command.split_first()?;
        let mut arguments: Vec<Given> =
            arguments.iter().map(|word| operand(word, labels, value)).collect::<Option<_>>()?;
        let piped = given.is_some();
        arguments.extend(given.take());
        given = Some(match (operand(name, labels, value), arguments.as_slice()) {
            (Some(operand), []) => operand,
            (Some(_), _) => return None,
            (None, [Given::Text(name)]) if name_is_index(command, piped) => Given::Text(labels.get(name).to_owned()),
            (None, arguments) => call(name, arguments)?,
        });
    }
    given
}

/// `index $labels "name"`: the labels themselves are no value.
fn name_is_index(command: &[String], piped: bool) -> bool {
    !piped && command.first().is_some_and(|name| name == "\u{0}index")
}

/// Words of an action: strings whole, `|` by itself. `index $labels` is one word.
fn words(action: &str) -> Option<Vec<String>> {
    let mut words: Vec<String> = Vec::new();
    let mut rest = action.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '|' => 1,
            '"' | '`' => {
                let escapes = first == '"';
                let mut skip = false;
                let close = rest.char_indices().skip(1).find(|(_, letter)| {
                    let escaped = std::mem::replace(&mut skip, false);
                    skip = escapes && *letter == '\\' && !escaped;
                    *letter == first && !escaped
                });
                close?.0 + 1
            }
            _ => rest.find(|letter: char| letter.is_whitespace() || letter == '|').unwrap_or(rest.len()),
        };
        let word = rest[..end].to_owned();
        let labels = word == "$labels" || word == ".Labels";
        match words.last_mut() {
            Some(last) if labels && last == "index" => *last = "\u{0}index".to_owned(),
            _ => words.push(word),
        }
        rest = rest[end..].trim_start();
    }
    Some(words)
}

fn operand(word: &str, labels: &Labels, value: f64) -> Option<Given> {
    if word == "$value" || word == ".Value" {
        return Some(Given::Number(value));
    }
    if let Some(name) = word.strip_prefix("$labels.").or_else(|| word.strip_prefix(".Labels.")) {
        let plain = name.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
        return (plain && !name.is_empty()).then(|| Given::Text(labels.get(name).to_owned()));
    }
    if let Some(raw) = word.strip_prefix('`') {
        return raw.strip_suffix('`').map(|text| Given::Text(text.to_owned()));
    }
    if word.starts_with('"') {
        // Escapes that alert texts have are those of JSON.
        return serde_json::from_str(word).ok().map(Given::Text);
    }
    let numeric = word.starts_with(|letter: char| letter.is_ascii_digit() || letter == '-' || letter == '.');
    numeric.then(|| word.parse().ok().map(Given::Number)).flatten()
}

fn call(name: &str, arguments: &[Given]) -> Option<Given> {
    let number = || arguments.last().filter(|_| arguments.len() == 1)?.number();
    let text = || arguments.last().filter(|_| arguments.len() == 1).map(Given::shown);
    Some(Given::Text(match name {
        "humanize" => humanize(number()?, 1000.0, &["k", "M", "G", "T", "P", "E", "Z", "Y"]),
        "humanize1024" => humanize1024(number()?),
        "humanizeDuration" => duration(number()?),
        "humanizePercentage" => format!("{}%", significant(number()? * 100.0)),
        "humanizeTimestamp" => timestamp(number()?)?,
        "toUpper" => text()?.to_uppercase(),
        "toLower" => text()?.to_lowercase(),
        "print" if arguments.len() == 1 => text()?,
        "printf" => {
            let (Given::Text(format), rest) = arguments.split_first()? else { return None };
            printf(format, rest)?
        }
        _ => return None,
    }))
}

/// Go's `%v`: the shortest digits that read back, an exponent below 1e-4 and from 1e6 on.
fn shortest(value: f64) -> String {
    let exponent = |text: &str| text.split_once('e').and_then(|(_, exponent)| exponent.parse::<i32>().ok());
    let scientific = format!("{value:e}");
    match (scientific.split_once('e'), exponent(&scientific)) {
        (Some((mantissa, _)), Some(exponent)) if value != 0.0 && !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.abs())
        }
        _ => format_float(value),
    }
}

/// Go's `%.4g`.
fn significant(value: f64) -> String {
    general(value, 4)
}

/// Go's `%.Ng`: so many digits, no trailing zeros, an exponent below 1e-4 and from 10^N on.
fn general(value: f64, digits: usize) -> String {
    if value == 0.0 || !value.is_finite() {
        return shortest(value);
    }
    let digits = digits.clamp(1, WIDEST);
    // Bounded: by WIDEST.
    let scientific = format!("{value:.*e}", digits - 1);
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim(mantissa), exponent.abs());
    }
    let decimals = (digits as i32 - 1 - exponent).clamp(0, 120) as usize;
    // Bounded: by the line above.
    trim(&format!("{value:.decimals$}"))
}

fn humanize(value: f64, base: f64, larger: &[&str]) -> String {
    let mut value = value;
    if value == 0.0 || !value.is_finite() {
        return significant(value);
    }
    let mut prefix = "";
    if value.abs() >= 1.0 {
        for one in larger {
            if value.abs() < base {
                break;
            }
            prefix = one;
            value /= base;
        }
    } else {
        (value, prefix) = small(value);
    }
    format!("{}{prefix}", significant(value))
}

/// A value below 1 in thousandths, millionths, …
fn small(value: f64) -> (f64, &'static str) {
    let (mut value, mut prefix) = (value, "");
    for one in ["m", "u", "n", "p", "f", "a", "z", "y"] {
        if value.abs() >= 1.0 {
            break;
        }
        prefix = one;
        value *= 1000.0;
    }
    (value, prefix)
}

fn humanize1024(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return significant(value);
    }
    humanize(value, 1024.0, &["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"])
}

fn duration(value: f64) -> String {
    if !value.is_finite() {
        return significant(value);
    }
    if value == 0.0 {
        return "0s".to_owned();
    }
    if value.abs() < 1.0 {
        let (value, prefix) = small(value);
        return format!("{}{prefix}s", significant(value));
    }
    let (sign, value) = if value < 0.0 { ("-", -value) } else { ("", value) };
    let whole = value as u64;
    let (seconds, minutes, hours, days) = (whole % 60, whole / 60 % 60, whole / 3_600 % 24, whole / 86_400);
    if days > 0 {
        format!("{sign}{days}d {hours}h {minutes}m {seconds}s")
    } else if hours > 0 {
        format!("{sign}{hours}h {minutes}m {seconds}s")
    } else if minutes > 0 {
        format!("{sign}{minutes}m {seconds}s")
    } else {
        format!("{sign}{}s", significant(value))
    }
}

/// As Go prints a time in UTC: `2015-03-19 06:06:04 +0000 UTC`.
fn timestamp(value: f64) -> Option<String> {
    if !value.is_finite() || value.abs() >= 9e9 {
        return None;
    }
    // Prometheus knows milliseconds.
    let at = jiff::Timestamp::from_millisecond((value * 1e3).floor() as i64).ok()?.to_string();
    Some(format!("{} +0000 UTC", at.trim_end_matches('Z').replace('T', " ")))
}

/// Go's `printf` with the verbs that texts use: `%v %s %q %f %g %e %d %%`, with a width, a precision, `-` and `+`.
fn printf(format: &str, arguments: &[Given]) -> Option<String> {
    let mut out = String::new();
    let mut arguments = arguments.iter();
    let mut rest = format;
    while let Some((before, behind)) = rest.split_once('%') {
        out.push_str(before);
        let at = behind.find(|letter: char| letter.is_ascii_alphabetic() || letter == '%')?;
        let (spec, verb) = (&behind[..at], behind[at..].chars().next()?);
        rest = &behind[at + 1..];
        if verb == '%' {
            out.push('%');
            continue;
        }
        let argument = arguments.next()?;
        let (spec, left) = spec.strip_prefix('-').map_or((spec, false), |spec| (spec, true));
        let (spec, plus) = spec.strip_prefix('+').map_or((spec, false), |spec| (spec, true));
        let (width, precision) = match spec.split_once('.') {
            Some((width, precision)) => (width, Some(if precision.is_empty() { 0 } else { precision.parse().ok()? })),
            None => (spec, None),
        };
        let zeros = width.starts_with('0');
        let width: usize = if width.is_empty() { 0 } else { width.parse().ok()? };
        if width > WIDEST || precision.is_some_and(|precision| precision > WIDEST) {
            return None;
        }
        let number = || match argument {
            Given::Number(number) if number.is_finite() => Some(*number),
            _ => None,
        };
        let mut text = match (verb, argument) {
            ('f' | 'g' | 'e', Given::Number(number)) if !number.is_finite() => shortest(*number),
            // Bounded: by WIDEST.
            ('f', _) => format!("{:.*}", precision.unwrap_or(6), number()?),
            ('g', _) => {
                precision.map_or_else(|| argument.number().map(shortest), |digits| Some(general(number()?, digits)))?
            }
            ('e', _) => {
                // Bounded: by WIDEST.
                let text = format!("{:.*e}", precision.unwrap_or(6), number()?);
                let (mantissa, exponent) = text.split_once('e')?;
                let exponent: i32 = exponent.parse().ok()?;
                format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
            }
            ('v', _) => argument.shown(),
            ('s', Given::Text(text)) => match precision {
                Some(most) => text.chars().take(most).collect(),
                None => text.clone(),
            },
            ('q', Given::Text(text)) => serde_json::to_string(text).ok()?,
            // A value is a float, of which Go's %d makes `%!d(float64=…)`: better as it was written.
            _ => return None,
        };
        if plus && argument.number().is_some_and(|number| number >= 0.0) && verb != 's' {
            text.insert(0, '+');
        }
        let missing = width.saturating_sub(text.chars().count());
        let fill = |letter: char| std::iter::repeat_n(letter, missing).collect::<String>();
        if left {
            text.push_str(&fill(' '));
        } else if zeros {
            let sign = usize::from(text.starts_with(['-', '+']));
            text.insert_str(sign, &fill('0'));
        } else {
            text.insert_str(0, &fill(' '));
        }
        out.push_str(&text);
    }
    if arguments.next().is_some() {
        return None;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(template: &str, value: f64) -> String {
        let labels = Labels::new([("instance", "n1:9100"), ("a.b", "dotted"), ("node", "é")]);
        expand(template, &labels, value).text
    }

    #[test]
    fn what_alert_texts_use() {
        for (template, value, expected) in [
            ("plain", 1.0, "plain"),
            ("{{ $value }}", 0.25, "0.25"),
            ("{{.Value}} {{$value}}", 1e21, "1e+21 1e+21"),
            ("{{ $labels.instance }}/{{ .Labels.node }}/{{ $labels.none }}", 0.0, "n1:9100/é/"),
            ("{{ index $labels \"a.b\" }}", 0.0, "dotted"),
            ("{{ $value | humanize }}", 1234567.0, "1.235M"),
            ("{{ $value | humanize }}", 0.00123, "1.23m"),
            ("{{ humanize1024 $value }}B", 1048576.0, "1MiB"),
            ("{{ $value | humanizePercentage }}", 0.1234567, "12.35%"),
            ("{{ $value | humanizeDuration }}", 899.99, "14m 59s"),
            ("{{ $value | humanizeDuration }}", 0.0123, "12.3ms"),
            ("{{ $value | humanizeDuration }}", 1.5, "1.5s"),
            ("{{ $value | humanizeDuration }}", -93784.0, "-1d 2h 3m 4s"),
            ("{{ $value | humanizeDuration }}", f64::NAN, "NaN"),
            ("{{ $value | humanizeTimestamp }}", 1435065584.128, "2015-06-23 13:19:44.128 +0000 UTC"),
            ("{{ printf \"%.2f\" $value }}", 12.345, "12.35"),
            ("{{ $value | printf \"%.2f%% on %s\" }}", 12.0, "{{ $value | printf \"%.2f%% on %s\" }}"),
            ("{{ printf \"%.1f%% on %s}}\" $value $labels.node }}", 12.0, "12.0% on é}}"),
            ("{{ printf \"%5.1f|%-6s|%06.2f\" $value $labels.node $value }}", 1.25, "  1.2|é     |001.25"),
            ("{{ $value }}", 1234567.0, "1.234567e+06"),
            ("{{ $value }}", 123456.0, "123456"),
            ("{{ $value }}", 0.00001, "1e-05"),
            ("{{ printf \"%g %v %.3g\" $value $value $value }}", 1234.5, "1234.5 1234.5 1.23e+03"),
            ("{{/* a comment */}}x", 1.0, "x"),
            ("{{ $value | humanize | toUpper }}", 1e3, "1K"),
            ("{{ `raw \"text\"` }}", 1.0, "raw \"text\""),
            ("open {{ $value", 1.0, "open {{ $value"),
            ("{{ $value }}", f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(shown(template, value), expected, "{template}");
        }
    }

    #[test]
    fn trim_markers_take_the_spaces_with_them() {
        assert_eq!(shown("a  {{- \" \" -}}  b {{- $value }}", 1.0), "a b1");
        assert_eq!(shown("a  {{- /* nothing */ -}}  b", 1.0), "ab");
        assert_eq!(shown("a {{ -1 }} b", 1.0), "a -1 b");
    }

    #[test]
    fn what_is_beyond_stands_as_written_and_is_told() {
        for template in [
            "{{ range query \"up\" }}x{{ end }}",
            "{{ if gt $value 1.0 }}x{{ end }}",
            "{{ $externalLabels.cluster }}",
            "{{ template \"x\" }}",
            "{{ printf \"%d\" $value }}",
            "{{ printf \"%.999999999f\" $value }}",
            "{{ printf \"%s\" }}",
            "{{ $value $value }}",
            "{{ | }}",
            "{{ }}",
            "{{ humanize \"x\" }}",
        ] {
            let out = expand(template, &Labels::default(), 1.5);
            assert_eq!(out.text, template);
            assert!(!out.beyond.is_empty(), "{template}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[{}$.|\\-\"`%a-z0-9 é*]{0,60}", value: f64) {
            let out = expand(&format!("{{{{{text}}}}}"), &Labels::default(), value);
            let _ = expand(&format!("{{{{ printf \"{text}\" $value }}}}"), &Labels::default(), value);
            proptest::prop_assert!(out.text.len() <= 4_000);
        }
    }
}
