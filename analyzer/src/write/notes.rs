//! The user's notes (`--notes FILE.md`): Markdown, of which raw HTML is shown and not run, nothing is loaded, and nothing reaches beyond
//! its own place in the report.
//!
//! | in the notes | in the report |
//! |---|---|
//! | raw HTML | its text |
//! | a link to `http:`, `https:`, `mailto:` or a place in the page (`#…`) | a link |
//! | a link to anything else: `javascript:`, `data:`, `file:`, a relative path, `//host` | its text, and that the link was left out |
//! | an image | its alternative text: a report is one file, and an image elsewhere tells who reads it |
//! | a code block that nothing closes | closed |
//! | what cannot be seen, or turns text around | its escape |

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, CowStr, Event, LinkType, Options, Parser, Tag, TagEnd, html};
use syncline_schema::printable::{is_shown, printable_lines};

use super::markdown;

/// What stands behind the text of a link that leads nowhere.
const LEFT_OUT: &str = " (link left out)";

/// Notes as HTML. Headings become one level smaller, so that the report's title stays the only one.
pub fn to_html(notes: &str) -> String {
    let text = readable(notes);
    // Whether each of the links that are open is kept.
    let mut links: Vec<bool> = Vec::new();
    let events = Parser::new_ext(&text, options()).filter_map(move |event| match event {
        Event::Html(raw) | Event::InlineHtml(raw) => Some(Event::Text(raw)),
        Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => None,
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            let kept = is_harmless(link_type, &dest_url);
            links.push(kept);
            kept.then_some(Event::Start(Tag::Link { link_type, dest_url, title, id }))
        }
        Event::End(TagEnd::Link) => match links.pop() {
            Some(false) => Some(Event::Text(CowStr::from(LEFT_OUT))),
            _ => Some(Event::End(TagEnd::Link)),
        },
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

/// Notes as Markdown, word for word but for what would run, load or lead elsewhere. What another reader of Markdown would
/// still take for one of these is a block of code.
pub fn to_markdown(notes: &str) -> String {
    let text = readable(notes);
    let mut out = edited(&text, &edits(&text)).trim_end().to_owned();
    if let Some(fence) = open_fence(&out) {
        out.push('\n');
        out.push_str(&fence);
    }
    if is_inert(&out) && ends_by_itself(&out) { out } else { markdown::code(text.trim_end()) }
}

/// Line ends as Unix has them, and every other character seen.
fn readable(notes: &str) -> String {
    let notes = notes.strip_prefix('\u{feff}').unwrap_or(notes);
    printable_lines(&notes.replace("\r\n", "\n").replace('\r', "\n")).into_owned()
}

/// What is to be replaced in a text, by place.
fn edits(text: &str) -> Vec<(Range<usize>, String)> {
    let parser = Parser::new_ext(text, options());
    let mut found: Vec<(Range<usize>, String)> = Vec::new();
    for (_, definition) in parser.reference_definitions().iter() {
        if !is_harmless(LinkType::Reference, &definition.dest) {
            found.push((definition.span.clone(), String::new()));
        }
    }
    // Place and text of what is replaced as a whole, and how many links and images are open within it.
    let mut whole: Option<(Range<usize>, String, usize)> = None;
    for (event, range) in parser.into_offset_iter() {
        match (&mut whole, event) {
            (Some((_, _, depth)), Event::Start(Tag::Link { .. } | Tag::Image { .. })) => *depth += 1,
            (Some((_, _, depth)), Event::End(TagEnd::Link | TagEnd::Image)) if *depth > 0 => *depth -= 1,
            (Some((_, words, _)), Event::End(end @ (TagEnd::Link | TagEnd::Image))) => {
                let mut words = markdown::escape(words);
                if end == TagEnd::Link {
                    words.push_str(LEFT_OUT);
                }
                found.extend(whole.take().map(|(range, _, _)| (range, words)));
            }
            (
                Some((_, words, _)),
                Event::Text(text) | Event::Code(text) | Event::InlineHtml(text) | Event::Html(text),
            ) => words.push_str(&text),
            (Some((_, words, _)), Event::SoftBreak | Event::HardBreak) => words.push(' '),
            (Some(_), _) => {}
            (None, Event::Start(Tag::Image { .. })) => whole = Some((range, String::new(), 0)),
            (None, Event::Start(Tag::Link { link_type, dest_url, .. })) if !is_harmless(link_type, &dest_url) => {
                whole = Some((range, String::new(), 0));
            }
            (None, Event::Html(raw) | Event::InlineHtml(raw)) => found.push((range, shown(&raw))),
            // GitHub makes links of these by themselves.
            (None, Event::Text(raw)) if raw.contains("xmpp:") => {
                found.extend(text.get(range.clone()).map(|raw| (range, raw.replace("xmpp:", "xmpp&#58;"))));
            }
            (None, _) => {}
        }
    }
    found.sort_by_key(|(range, _)| range.start);
    found
}

/// Raw HTML as text. Its line ends stay, and so does what is ahead of each line (a quote's mark).
fn shown(raw: &str) -> String {
    raw.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn edited(text: &str, edits: &[(Range<usize>, String)]) -> String {
    let mut out = String::new();
    let mut done = 0;
    for (range, instead) in edits {
        let Some(before) = text.get(done..range.start).filter(|_| range.start >= done) else { continue };
        out.push_str(before);
        out.push_str(instead);
        done = range.end;
    }
    out.push_str(text.get(done..).unwrap_or(""));
    out
}

/// The fence that closes a block of code which is open at the end.
fn open_fence(text: &str) -> Option<String> {
    let mut open = None;
    let mut depth = 0_usize;
    for (event, range) in Parser::new_ext(text, options()).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(_))) if depth == 0 => open = Some(range),
            Event::Start(Tag::BlockQuote(_) | Tag::List(_) | Tag::FootnoteDefinition(_)) => depth += 1,
            Event::End(TagEnd::BlockQuote(_) | TagEnd::List(_) | TagEnd::FootnoteDefinition) => {
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
    }
    let block = text.get(open?)?.trim_start();
    let mark = block.chars().next()?;
    Some(block.chars().take_while(|c| *c == mark).collect()).filter(|_| !ends_by_itself(text))
}

/// Whether what follows is no part of the notes.
fn ends_by_itself(text: &str) -> bool {
    const NEXT: &str = "what follows the notes";
    let more = format!("{text}\n\n---\n\n# {NEXT}\n");
    let mut depth = 0_usize;
    let mut heading = false;
    for event in Parser::new_ext(&more, options()) {
        match event {
            Event::Start(Tag::Heading { .. }) if depth == 0 => heading = true,
            Event::End(TagEnd::Heading(_)) => heading = false,
            Event::Text(text) if heading && &*text == NEXT => return true,
            Event::Start(Tag::BlockQuote(_) | Tag::List(_) | Tag::FootnoteDefinition(_)) => depth += 1,
            Event::End(TagEnd::BlockQuote(_) | TagEnd::List(_) | TagEnd::FootnoteDefinition) => {
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
    }
    false
}

/// Whether a text runs nothing, loads nothing and leads nowhere it should not, also for a reader with other extensions.
fn is_inert(text: &str) -> bool {
    let harmless = |event: Event<'_>| match event {
        Event::Html(_) | Event::InlineHtml(_) | Event::Start(Tag::Image { .. }) => false,
        Event::Start(Tag::Link { link_type, dest_url, .. }) => is_harmless(link_type, &dest_url),
        _ => true,
    };
    [options(), Options::empty(), options() | Options::ENABLE_GFM]
        .into_iter()
        .all(|options| Parser::new_ext(text, options).all(harmless))
}

fn options() -> Options {
    Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_FOOTNOTES
}

/// Whether a link may be followed. Browsers drop white space in addresses and take `\` for `/`: what has either is none.
fn is_harmless(kind: LinkType, address: &str) -> bool {
    if kind == LinkType::Email {
        return true;
    }
    let plain = address.chars().all(|c| is_shown(c) && !c.is_whitespace() && c != '\\');
    let lower = address.to_ascii_lowercase();
    plain && ["http://", "https://", "mailto:", "#"].iter().any(|begin| lower.starts_with(begin))
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
        assert!(markdown.contains("link (link left out) and pic [fine](https://example.org)"), "{markdown}");
    }

    #[test]
    fn links_to_other_schemes_are_inert_however_they_are_written() {
        for link in [
            "[x](javascript:alert(1))",
            "[x](JaVaScRiPt:alert(1))",
            "[x](<java\tscript:alert(1)>)",
            "[x](\u{1}javascript:alert(1))",
            "[x](&#106;avascript:alert(1))",
            "[x](&#x6A&#x61vascript&colon;alert(1))",
            "[x](data:text/html;base64,PHNjcmlwdD4=)",
            "[x](vbscript:msgbox)",
            "[x](file:///etc/passwd)",
            "[x](../../secret.html)",
            "[x](//evil.example/x)",
            "[x](\\\\evil\\share)",
            "[x](http:\\\\evil)",
            "<javascript:alert(1)>",
            "[x][y]\n\n[y]: javascript:alert(1)",
            "[y]\n\n[y]: <javascript:alert(1)> 'title'",
            "> [x][y]\n>\n> [y]: javascript:alert(1)",
            "![x](javascript:alert(1))",
            "![x](http://evil.example/pixel.gif)",
            "![x][y]\n\n[y]: https://evil.example/pixel.gif",
            "[![x](http://evil.example/p.gif)](javascript:alert(1))",
            "[a ![b](http://evil.example/c) d](https://example.org)",
            "<img src=x onerror=alert(1)>",
            "<a href=\"javascript:alert(1)\">x</a>",
            "<!-- hidden",
            "<svg/onload=alert(1)>\n\n<script>\nalert(1)\n</script>",
        ] {
            let (html, markdown) = (to_html(link), to_markdown(link));
            let active = |text: &str| {
                text.contains("<img")
                    || text.contains("<script")
                    || text.contains("<a href=\"j")
                    || text.contains("<svg")
            };
            assert!(!active(&html), "{link}: {html}");
            let leads: Vec<&str> = html.split("<a href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
            assert!(leads.iter().all(|to| *to == "https://example.org"), "{link}: {html}");
            assert!(is_inert(&markdown) && ends_by_itself(&markdown), "{link}: {markdown}");
        }
    }

    #[test]
    fn what_is_harmless_stays_as_it_was_written() {
        let notes = "# Proposal\n\nSee [the page](https://example.org/a?b=c#d), <mail@example.org>, [up](#top).\n\n| a | b |\n|---|---|\n| 1 | `x < y` |\n\n```sh\necho <b>\n```\n\n- узел\n- [ref]\n\n[ref]: https://example.org/ref";
        assert_eq!(to_markdown(notes), notes);
        assert_eq!(to_markdown("a\r\nb"), "a\nb");
    }

    #[test]
    fn notes_end_where_they_end() {
        for notes in ["```\nopen", "~~~~ sh\nopen\n~~~", "> ```\n> open", "- ```\n  open", "<!--", "<pre>", "    code"]
        {
            let markdown = to_markdown(notes);
            assert!(ends_by_itself(&markdown), "{notes}: {markdown}");
        }
        assert_eq!(to_markdown("```\nopen"), "```\nopen\n```");
    }

    #[test]
    fn what_turns_text_around_is_written_out() {
        for text in [to_html("a\u{202e}b\u{200b}\u{1b}"), to_markdown("a\u{202e}b\u{200b}\u{1b}")] {
            assert!(text.contains("a\\u{202e}b\\u{200b}\\u{1b}"), "{text}");
        }
    }
}
