//! The user's notes (`--notes FILE.md`): Markdown, of which raw HTML is shown and not run, and nothing is loaded.

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

/// Notes as HTML. Headings become one level smaller, so that the report's title stays the only one.
pub fn to_html(markdown: &str) -> String {
    let mut in_image = 0usize;
    let events = Parser::new_ext(markdown, options()).filter_map(move |event| match event {
        Event::Html(raw) | Event::InlineHtml(raw) => Some(Event::Text(raw)),
        // A report loads nothing from anywhere: an image is its alternative text.
        Event::Start(Tag::Image { .. }) => {
            in_image += 1;
            None
        }
        Event::End(TagEnd::Image) => {
            in_image = in_image.saturating_sub(1);
            None
        }
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            let dest_url = if harmless(&dest_url) { dest_url } else { CowStr::from("#") };
            Some(Event::Start(Tag::Link { link_type, dest_url, title, id }))
        }
        Event::Start(Tag::Heading { level, .. }) => {
            Some(Event::Start(Tag::Heading { level: smaller(level), id: None, classes: Vec::new(), attrs: Vec::new() }))
        }
        Event::End(TagEnd::Heading(level)) => Some(Event::End(TagEnd::Heading(smaller(level)))),
        other => Some(other),
    });
    let mut out = String::new();
    html::push_html(&mut out, events);
    out
}

/// Notes as Markdown whose raw HTML is shown.
pub fn to_markdown(markdown: &str) -> String {
    let mut raw: Vec<std::ops::Range<usize>> = Parser::new_ext(markdown, options())
        .into_offset_iter()
        .filter(|(event, _)| matches!(event, Event::Html(_) | Event::InlineHtml(_)))
        .map(|(_, range)| range)
        .collect();
    raw.sort_by_key(|r| r.start);
    let mut out = String::new();
    let mut done = 0;
    for range in raw {
        let (Some(before), Some(html)) =
            (markdown.get(done..range.start.max(done)), markdown.get(range.start.max(done)..range.end))
        else {
            continue;
        };
        out.push_str(before);
        out.push_str(&html.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"));
        done = range.end.max(done);
    }
    out.push_str(markdown.get(done..).unwrap_or(""));
    out.trim_end().to_owned()
}

fn options() -> Options {
    Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_FOOTNOTES
}

fn harmless(url: &str) -> bool {
    let lower = url.trim().to_ascii_lowercase();
    let scheme = lower.split(['/', '?', '#']).next().unwrap_or("");
    !scheme.contains(':') || ["http:", "https:", "mailto:"].iter().any(|s| lower.starts_with(s))
}

fn smaller(level: pulldown_cmark::HeadingLevel) -> pulldown_cmark::HeadingLevel {
    use pulldown_cmark::HeadingLevel::{H2, H3, H4, H5, H6};
    match level {
        pulldown_cmark::HeadingLevel::H1 => H2,
        H2 => H3,
        H3 => H4,
        H4 => H5,
        H5 | H6 => H6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_is_shown_not_run() {
        let notes = "# Why\n\n<script>alert(1)</script>\n\nA <b>bold</b> [link](javascript:alert(1)) and ![pic](http://x/y.png) [fine](https://example.org)\n";
        let html = to_html(notes);
        assert!(
            !html.contains("<script")
                && !html.contains("<b>")
                && !html.contains("javascript:")
                && !html.contains("<img"),
            "{html}"
        );
        assert!(
            html.contains("<h2>Why")
                && html.contains("&lt;script&gt;")
                && html.contains("https://example.org")
                && html.contains("pic"),
            "{html}"
        );
        let markdown = to_markdown(notes);
        assert!(!markdown.contains("<script") && !markdown.contains("<b>"), "{markdown}");
        assert!(markdown.starts_with("# Why"));
    }
}
