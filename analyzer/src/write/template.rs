//! Pages of HTML out of templates: each value is made printable, then escaped, unless it is one of the few that are markup already.

use minijinja::{AutoEscape, Environment, Output, State, UndefinedBehavior, Value};
use syncline_schema::printable::printable_lines;

/// What renders pages, with their templates.
///
/// # Errors
/// A template that is none.
pub fn pages(templates: &[(&'static str, &'static str)]) -> anyhow::Result<Environment<'static>> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_formatter(write_escaped);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    for (name, source) in templates {
        environment.add_template(name, source)?;
    }
    Ok(environment)
}

fn write_escaped(out: &mut Output<'_>, _state: &State<'_, '_>, value: &Value) -> Result<(), minijinja::Error> {
    let text = value.to_string();
    let text = if value.is_safe() { text } else { escape(&text) };
    out.write_str(&text).map_err(minijinja::Error::from)
}

/// Text as HTML and XML hold it, in elements and in quoted attributes. Line ends stay.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in printable_lines(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#x27;"),
            '/' => out.push_str("&#x2f;"),
            c => out.push(c),
        }
    }
    out
}
