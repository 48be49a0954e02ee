//! `report.md`: what GitHub renders, with the charts as files in `figures/`; and `summary.md`: what a comment on a pull request
//! holds, with neither figures nor relative links, which would break there.

use minijinja::{AutoEscape, Environment, Output, State, UndefinedBehavior, Value, context};
use syncline_schema::printable::printable_lines;

use super::notes;
use crate::view::View;
use crate::view::chart::{Chart, Multiples};
use crate::view::page::{LEVELS, fitted};

/// Largest `report.md`, bytes: GitHub renders no longer one.
pub const LARGEST: usize = 512 * 1024;
/// Longest `summary.md`, characters: a comment holds 65,536.
pub const LONGEST: usize = 60_000;

const TEMPLATE: &str = include_str!("../../../templates/report.md.j2");
const SUMMARY: &str = include_str!("../../../templates/summary.md.j2");

/// Renders the text, cut until it fits.
///
/// # Errors
/// A template that does not render.
pub fn render(view: &View) -> anyhow::Result<String> {
    let environment = environment()?;
    let template = environment.get_template("report.md")?;
    let mut text = String::new();
    for level in 0..LEVELS {
        text = squeezed(&template.render(context! {
            view => Value::from_serialize(fitted(view, level)),
            notes => Value::from_safe_string(notes::to_markdown(&view.notes)),
            version => env!("CARGO_PKG_VERSION"),
        })?);
        if text.len() <= LARGEST {
            break;
        }
    }
    Ok(text)
}

/// Renders the short form. Where it would be too long, its lists are cut, each with what was left out.
///
/// # Errors
/// A template that does not render.
pub fn summary(view: &View) -> anyhow::Result<String> {
    let environment = environment()?;
    let template = environment.get_template("summary.md")?;
    let mut text = String::new();
    for most in [200usize, 60, 30, 12, 4, 0] {
        text = squeezed(&template.render(context! {
            view => Value::from_serialize(view),
            most,
            version => env!("CARGO_PKG_VERSION"),
        })?);
        if text.chars().count() <= LONGEST {
            break;
        }
    }
    Ok(text)
}

fn environment() -> anyhow::Result<Environment<'static>> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Custom("markdown"));
    environment.set_formatter(write_escaped);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_filter("code", |lines: Vec<String>| Value::from_safe_string(code(&lines.join("\n"))));
    environment.add_template("report.md", TEMPLATE)?;
    environment.add_template("summary.md", SUMMARY)?;
    Ok(environment)
}

/// The charts that the text refers to.
pub fn charts(view: &View) -> Vec<Chart> {
    let single = view.overview.iter().chain(&view.propagation.chart).chain(&view.stages.chart).cloned();
    single.chain(view.timelines.iter().chain(&view.cpu).map(Multiples::together)).collect()
}

fn write_escaped(out: &mut Output<'_>, _state: &State<'_, '_>, value: &Value) -> Result<(), minijinja::Error> {
    let text = value.to_string();
    let text = if value.is_safe() { text } else { escape(&text) };
    std::fmt::Write::write_str(out, &text).map_err(minijinja::Error::from)
}

/// Text as Markdown that reads as that text: on one line, no markup, no HTML, no mention, no link.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut before = ' ';
    for c in printable_lines(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '@' => out.push_str("&#64;"),
            '#' => out.push_str("&#35;"),
            '/' if before == ':' => out.push_str("&#47;"),
            '.' if before == 'w' => out.push_str("&#46;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '$' => {
                out.push('\\');
                out.push(c);
            }
            '\n' | '\t' => out.push(' '),
            c => out.push(c),
        }
        before = c;
    }
    // What would begin a list, a heading or a rule at the start of a line.
    if let Some(first @ ('-' | '+' | '=')) = out.chars().next() {
        out.replace_range(..1, &format!("\\{first}"));
    }
    out
}

/// A code block with a fence that its text cannot end.
pub(super) fn code(text: &str) -> String {
    let text = printable_lines(text);
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}\n{text}\n{fence}")
}

/// At most one empty line in a row, one line end at the end. Code blocks have none to lose.
fn squeezed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut empty = 0;
    for line in text.lines() {
        let line = line.trim_end();
        empty = if line.is_empty() { empty + 1 } else { 0 };
        if empty < 2 {
            out.push_str(line);
            out.push('\n');
        }
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text() {
        for (text, escaped) in [
            ("a|b", "a\\|b"),
            ("<img src=x>", "&lt;img src=x&gt;"),
            ("[x](javascript:y)", "\\[x\\](javascript:y)"),
            ("`code` *a* _b_", "\\`code\\` \\*a\\* \\_b\\_"),
            ("two\nlines", "two lines"),
            ("@someone #12", "&#64;someone &#35;12"),
            ("https://evil.example", "https:&#47;/evil.example"),
            ("- item", "\\- item"),
        ] {
            assert_eq!(escape(text), escaped);
        }
        assert_eq!(code("a```b"), "````\na```b\n````");
    }
}
