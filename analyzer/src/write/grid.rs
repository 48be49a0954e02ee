//! A table on a terminal: aligned columns that fit its width, words in colour where it shows colours.

use std::io::IsTerminal;

use syncline_schema::printable::printable;

/// How a cell looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    #[default]
    Plain,
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
    Cyan,
}

impl Style {
    /// The SGR parameter (ECMA-48); `None` changes nothing.
    fn code(self) -> Option<&'static str> {
        Some(match self {
            Style::Plain => return None,
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Red => "31",
            Style::Green => "32",
            Style::Yellow => "33",
            Style::Cyan => "36",
        })
    }
}

/// One cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    pub text: String,
    pub style: Style,
    /// Aligned to the right, as numbers are.
    pub right: bool,
    /// Never wrapped: a drawing.
    pub whole: bool,
}

impl Cell {
    /// Text in a style.
    pub fn new(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style, ..Self::default() }
    }

    /// A number.
    pub fn number(text: impl Into<String>) -> Self {
        Self { text: text.into(), right: true, ..Self::default() }
    }

    /// A drawing, which is not wrapped.
    pub fn whole(text: impl Into<String>) -> Self {
        Self { text: text.into(), whole: true, ..Self::default() }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell::new(text, Style::Plain)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Cell::new(text, Style::Plain)
    }
}

/// What the output can show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Screen {
    /// Columns; `None`: as many as it takes (a file, a pipe).
    pub width: Option<usize>,
    pub colour: bool,
}

impl Screen {
    /// Standard output: its width and colours where it is a terminal. `NO_COLOR` (no-color.org) and `TERM=dumb` turn colours off.
    pub fn stdout() -> Self {
        let out = std::io::stdout();
        if !out.is_terminal() {
            return Self::default();
        }
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let width = terminal_size::terminal_size_of(out).map(|(width, _)| usize::from(width.0));
        Self { width: width.filter(|width| *width >= LEAST_WIDTH), colour: !set("NO_COLOR") && !dumb }
    }

    /// Text in a style, where styles show.
    pub fn paint(self, text: &str, style: Style) -> String {
        match style.code().filter(|_| self.colour && !text.is_empty()) {
            Some(code) => format!("\x1b[{code}m{text}\x1b[0m"),
            None => text.to_owned(),
        }
    }
}

/// Terminals narrower than this are not fitted: nothing would be readable.
const LEAST_WIDTH: usize = 40;
/// A column is not made narrower than its longest word, up to this.
const LONGEST_WORD: usize = 16;
/// Between two columns.
const GAP: usize = 2;

/// Columns of equal width, each line of `lines` a row. Where they do not fit, the widest are wrapped at spaces, commas and underscores.
/// Captured text cannot drive the terminal.
pub fn grid(lines: &[Vec<Cell>], screen: Screen) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let texts: Vec<Vec<String>> =
        lines.iter().map(|line| line.iter().map(|cell| printable(&cell.text).into_owned()).collect()).collect();
    let cells = |at: usize| texts.iter().filter_map(move |line| line.get(at));
    let widest = |at: usize| cells(at).map(|text| length(text)).max().unwrap_or(0);
    let word = |at: usize| {
        let words = cells(at).flat_map(|text| text.split([' ', ',', '_']));
        let whole = lines
            .iter()
            .filter_map(|line| line.get(at))
            .filter(|cell| cell.whole)
            .map(|cell| length(&printable(&cell.text)));
        words.map(length).max().unwrap_or(0).clamp(1, LONGEST_WORD).max(whole.max().unwrap_or(0))
    };
    let mut widths: Vec<usize> = (0..columns).map(widest).collect();
    if let Some(width) = screen.width {
        let least: Vec<usize> = (0..columns).map(|at| word(at).min(widths[at])).collect();
        while widths.iter().sum::<usize>() + GAP * columns.saturating_sub(1) > width {
            let Some(at) = (0..columns).filter(|at| widths[*at] > least[*at]).max_by_key(|at| widths[*at]) else {
                break;
            };
            widths[at] -= 1;
        }
    }
    let mut out = String::new();
    for (line, own) in lines.iter().zip(&texts) {
        let wrapped: Vec<Vec<String>> = own.iter().zip(&widths).map(|(text, width)| wrap(text, *width)).collect();
        for row in 0..wrapped.iter().map(Vec::len).max().unwrap_or(1) {
            let mut printed = String::new();
            // Spaces that end a line are left out.
            let mut owed = 0;
            for (at, cell) in line.iter().enumerate() {
                let text = wrapped[at].get(row).map_or("", String::as_str);
                let free = widths[at].saturating_sub(length(text));
                let (before, behind) = if cell.right { (free, 0) } else { (0, free) };
                if !text.is_empty() {
                    printed.extend(std::iter::repeat_n(' ', owed + before));
                    printed.push_str(&screen.paint(text, cell.style));
                    owed = 0;
                } else {
                    owed += before;
                }
                owed += behind + GAP;
            }
            out.push_str(&printed);
            out.push('\n');
        }
    }
    out
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// Lines of at most `width`: broken at spaces, behind commas and underscores, and only then within a word.
fn wrap(text: &str, width: usize) -> Vec<String> {
    if length(text) <= width || width == 0 {
        return vec![text.to_owned()];
    }
    let mut lines = Vec::new();
    let mut rest: Vec<char> = text.chars().collect();
    while rest.len() > width {
        let space = (1..=width).rev().find(|at| rest[*at] == ' ');
        let joint = (1..width).rev().find(|at| matches!(rest[*at - 1], ',' | '_'));
        let (end, next) = match (space, joint) {
            (Some(space), _) => (space, space + 1),
            (None, Some(joint)) => (joint, joint),
            (None, None) => (width, width),
        };
        lines.push(rest[..end].iter().collect::<String>());
        rest.drain(..next);
    }
    lines.push(rest.into_iter().collect());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<Vec<Cell>> {
        let row = |a: &str, b: &str, c: &str| vec![Cell::from(a), Cell::number(b), Cell::from(c)];
        vec![
            row("NAME", "N", "MEANING"),
            row("endpoint_propagation p50", "12", "cannot tell (8 runs a side would do)"),
            row("x", "3", "lower"),
        ]
    }

    #[test]
    fn columns_are_aligned_and_numbers_end_together() {
        let text = grid(&lines(), Screen::default());
        let expected = "NAME                       N  MEANING\nendpoint_propagation p50  12  cannot tell (8 runs a side would do)\nx                          3  lower\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_table_fits_its_terminal_and_loses_nothing() {
        for width in [40, 48, 60, 200] {
            let text = grid(&lines(), Screen { width: Some(width), colour: false });
            assert!(text.lines().all(|line| length(line) <= width), "{width}:\n{text}");
            let squeezed = |text: &str| text.chars().filter(|c| !c.is_whitespace()).count();
            assert_eq!(squeezed(&text), squeezed(&grid(&lines(), Screen::default())), "{width}");
        }
        let series = [vec![Cell::from("up{instance=\"10.0.0.1:9100\",job=\"node\"}"), Cell::from("1")]];
        let text = grid(&series, Screen { width: Some(40), colour: false });
        assert!(text.lines().all(|line| length(line) <= 40) && text.contains("job=\"node\"}"), "{text}");
    }

    #[test]
    fn colours_are_there_only_where_asked_for_and_captured_text_has_none() {
        let line = [vec![Cell::new("worse", Style::Red), Cell::from("\x1b[2Jevil")]];
        let coloured = grid(&line, Screen { width: None, colour: true });
        assert_eq!(coloured, "\x1b[31mworse\x1b[0m  \\u{1b}[2Jevil\n");
        assert!(!grid(&line, Screen::default()).contains('\x1b'));
    }
}
