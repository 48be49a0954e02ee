//! What follows an operand (`[5m]`, `offset`, `@`, `anchored`) and an operator (`bool`, `on`, `group_left`, `fill`).

use super::Fault;
use super::lexer::Token;
use super::parser::{NESTED, Parser};
use super::tree::*;
use crate::labels::quoted;

impl Default for Matching {
    fn default() -> Self {
        Matching {
            cardinality: Cardinality::OneToOne,
            on: false,
            labels: Vec::new(),
            include: Vec::new(),
            fill_left: None,
            fill_right: None,
        }
    }
}

impl Parser<'_> {
    /// `bool`, `on` or `ignoring`, `group_left` or `group_right`, and fill values.
    pub(super) fn binary_modifiers(&mut self) -> Result<(bool, Option<Matching>), Fault> {
        let returns_bool = self.word().as_deref() == Some("bool");
        if returns_bool {
            self.advance();
        }
        let mut matching: Option<Matching> = None;
        let word = self.word();
        if let Some("on" | "ignoring") = word.as_deref() {
            self.advance();
            let labels = self.label_list()?;
            let mut found = Matching { on: word.as_deref() == Some("on"), labels, ..Matching::default() };
            let group = self.word();
            if let Some("group_left" | "group_right") = group.as_deref() {
                self.advance();
                found.cardinality = if group.as_deref() == Some("group_left") {
                    Cardinality::ManyToOne
                } else {
                    Cardinality::OneToMany
                };
                if self.at_symbol("(") {
                    found.include = self.label_list()?;
                }
                if found.on
                    && let Some(label) = found.labels.iter().find(|label| found.include.contains(label))
                {
                    let message = format!("label {} must not occur in ON and GROUP clause at once", quoted(label));
                    return Err(Fault::at(self.span(), message));
                }
            }
            matching = Some(found);
        }
        // Only before a parenthesis: a metric may have that name (Prometheus 3.10, PR 17644).
        while let Some(fill @ ("fill" | "fill_left" | "fill_right")) = self.word().as_deref()
            && matches!(self.following(), Token::Symbol("("))
        {
            let fill = fill.to_owned();
            self.advance();
            let value = self.fill_value()?;
            let matching = matching.get_or_insert_with(Matching::default);
            if fill != "fill_right" {
                matching.fill_left = Some(value);
            }
            if fill != "fill_left" {
                matching.fill_right = Some(value);
            }
        }
        Ok((returns_bool, matching))
    }

    fn fill_value(&mut self) -> Result<f64, Fault> {
        self.expect("(", "fill modifier")?;
        let minus = self.at_symbol("-");
        if minus || self.at_symbol("+") {
            self.advance();
        }
        let Token::Number(value) = *self.token() else {
            return Err(self.unexpected("fill modifier", "number"));
        };
        self.advance();
        self.expect(")", "fill modifier")?;
        Ok(if minus { -value } else { value })
    }

    /// Ranges, subqueries, offsets, `@`, `anchored` and `smoothed` after an operand.
    pub(super) fn suffixes(&mut self, mut node: Node) -> Result<Node, Fault> {
        let mut depth = 0;
        loop {
            let place = self.span();
            if self.at_symbol("[") {
                depth += NESTED;
                self.deeper(NESTED)?;
                node = self.range_or_subquery(node)?;
            } else if self.take("@") {
                self.set_at(&mut node, place)?;
            } else {
                match self.word().as_deref() {
                    Some("offset") => {
                        self.advance();
                        let offset = self.offset_duration()?;
                        set_offset(&mut node, offset, place)?;
                    }
                    Some(word @ ("anchored" | "smoothed")) => {
                        let boundary = if word == "anchored" { Boundary::Anchored } else { Boundary::Smoothed };
                        self.advance();
                        set_boundary(&mut node, boundary, place)?;
                    }
                    _ => break,
                }
            }
            node.span.end = self.last_end();
        }
        self.shallower(depth);
        Ok(node)
    }

    fn range_or_subquery(&mut self, node: Node) -> Result<Node, Fault> {
        let open = self.span();
        self.expect("[", "subquery or range")?;
        let range = self.range_duration()?;
        let mut step = None;
        let subquery = self.take(":");
        if subquery && !self.at_symbol("]") {
            step = Some(self.range_duration()?);
        }
        if !self.take("]") {
            let expected = if subquery { "\"]\"" } else { "\":\" or \"]\"" };
            return Err(self.unexpected(if subquery { "subquery selector" } else { "subquery or range" }, expected));
        }
        let span = Span { start: node.span.start, end: self.last_end() };
        if subquery {
            let kind = NodeKind::Subquery(Box::new(Subquery { inner: node, range, step, offset: None, at: None }));
            return Ok(Node { kind, span });
        }
        match node.kind {
            NodeKind::Selector(selector) => {
                if selector.offset.is_some() {
                    return Err(Fault::at(open, "no offset modifiers allowed before range"));
                }
                if selector.at.is_some() {
                    return Err(Fault::at(open, "no @ modifiers allowed before range"));
                }
                if selector.boundary.is_some() {
                    return Err(Fault::at(open, "no anchored or smoothed modifiers allowed before range"));
                }
                Ok(Node { kind: NodeKind::RangeSelector { selector, range }, span })
            }
            _ => Err(Fault::at(open, "ranges only allowed for vector selectors")),
        }
    }

    fn set_at(&mut self, node: &mut Node, place: Span) -> Result<(), Fault> {
        let minus = self.at_symbol("-");
        let signed = minus || self.at_symbol("+");
        if signed {
            self.advance();
        }
        let at = match self.token().clone() {
            Token::Number(seconds) => {
                let seconds = if minus { -seconds } else { seconds };
                if !seconds.is_finite() || seconds.abs() > 1e15 {
                    return Err(Fault::at(
                        self.span(),
                        format!("timestamp out of bounds for @ modifier: {seconds:.6}"),
                    ));
                }
                self.advance();
                At::Time((seconds * 1000.0).round() as i64)
            }
            Token::Word(word) if !signed && matches!(word.to_ascii_lowercase().as_str(), "start" | "end") => {
                self.advance();
                self.expect("(", "@")?;
                self.expect(")", "@")?;
                if word.eq_ignore_ascii_case("start") { At::Start } else { At::End }
            }
            _ => return Err(self.unexpected("@", "timestamp")),
        };
        let slot = match &mut node.kind {
            NodeKind::Selector(selector) | NodeKind::RangeSelector { selector, .. } => &mut selector.at,
            NodeKind::Subquery(subquery) => &mut subquery.at,
            _ => {
                let message =
                    "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery";
                return Err(Fault::at(node.span, message));
            }
        };
        if slot.is_some() {
            return Err(Fault::at(place, "@ <timestamp> may not be set multiple times"));
        }
        *slot = Some(at);
        Ok(())
    }
}

fn set_offset(node: &mut Node, offset: DurationNode, place: Span) -> Result<(), Fault> {
    let slot = match &mut node.kind {
        NodeKind::Selector(selector) | NodeKind::RangeSelector { selector, .. } => &mut selector.offset,
        NodeKind::Subquery(subquery) => &mut subquery.offset,
        _ => {
            let message =
                "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery";
            return Err(Fault::at(node.span, message));
        }
    };
    if slot.is_some() {
        return Err(Fault::at(place, "offset may not be set multiple times"));
    }
    *slot = Some(offset);
    Ok(())
}

fn set_boundary(node: &mut Node, boundary: Boundary, place: Span) -> Result<(), Fault> {
    let (slot, instant) = match &mut node.kind {
        NodeKind::Selector(selector) => (&mut selector.boundary, true),
        NodeKind::RangeSelector { selector, .. } => (&mut selector.boundary, false),
        NodeKind::Subquery(_) => {
            let word = if boundary == Boundary::Anchored { "anchored" } else { "smoothed" };
            return Err(Fault::at(place, format!("{word} modifier is not supported for subqueries")));
        }
        _ => return Err(Fault::at(place, "anchored and smoothed modifiers must be preceded by a selector")),
    };
    if instant && boundary == Boundary::Anchored {
        return Err(Fault::at(place, "anchored modifier must be preceded by a range selector"));
    }
    if slot.is_some() {
        return Err(Fault::at(place, "anchored and smoothed modifiers cannot be used together"));
    }
    *slot = Some(boundary);
    Ok(())
}
