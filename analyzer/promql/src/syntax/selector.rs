//! Selectors: `name{label="value", "quoted name"}`.

use super::Fault;
use super::lexer::Token;
use super::parser::Parser;
use super::tree::{Selector, Span};
use crate::labels::{METRIC_NAME, quoted};
use crate::storage::{MatchOperator, Matcher};

impl Parser<'_> {
    /// A name, braces, or both.
    pub(super) fn selector(&mut self) -> Result<Selector, Fault> {
        let start = self.span();
        let mut name = None;
        let mut matchers = Vec::new();
        if let Token::Word(word) = self.token().clone() {
            self.advance();
            name = Some(word);
        }
        if self.at_symbol("{") {
            self.matchers(&mut name, &mut matchers)?;
        }
        if let Some(name) = &name {
            if let Some(other) = matchers.iter().find(|other: &&Matcher| {
                other.name == METRIC_NAME && other.operator == MatchOperator::Equal && !other.value.is_empty()
            }) {
                let message =
                    format!("metric name must not be set twice: {} or {}", quoted(name), quoted(&other.value));
                return Err(Fault::at(start, message));
            }
            matchers.push(new_matcher(METRIC_NAME, MatchOperator::Equal, name, start)?);
        }
        let span = Span { start: start.start, end: self.last_end() };
        Ok(Selector { name, matchers, offset: None, at: None, boundary: None, span })
    }

    fn matchers(&mut self, name: &mut Option<String>, matchers: &mut Vec<Matcher>) -> Result<(), Fault> {
        self.expect("{", "label matching")?;
        while !self.take("}") {
            let place = self.span();
            let (label, is_quoted) = match self.token().clone() {
                Token::Word(word) if !word.contains(':') => (word, false),
                Token::Number(_)
                    if self.text[place.start..place.end].bytes().all(|byte| byte.is_ascii_alphabetic()) =>
                {
                    (self.text[place.start..place.end].to_owned(), false)
                }
                Token::Text(text, _) => (text, true),
                Token::End => return Err(Fault::at(self.span(), "unexpected end of input inside braces")),
                _ => return Err(self.unexpected("label matching", "identifier or \"}\"")),
            };
            self.advance();
            let operator = match self.token() {
                Token::Symbol("=") => Some(MatchOperator::Equal),
                Token::Symbol("!=") => Some(MatchOperator::NotEqual),
                Token::Symbol("=~") => Some(MatchOperator::Matches),
                Token::Symbol("!~") => Some(MatchOperator::MatchesNot),
                _ => None,
            };
            match operator {
                None if is_quoted && (self.at_symbol(",") || self.at_symbol("}")) => {
                    if let Some(first) = name {
                        let message =
                            format!("metric name must not be set twice: {} or {}", quoted(first), quoted(&label));
                        return Err(Fault::at(place, message));
                    }
                    *name = Some(label);
                }
                None => return Err(self.unexpected("label matching", "label matching operator")),
                Some(operator) => {
                    self.advance();
                    let Token::Text(value, _) = self.token().clone() else {
                        return Err(self.unexpected("label matching", "string"));
                    };
                    self.advance();
                    matchers.push(new_matcher(&label, operator, &value, place)?);
                }
            }
            if !self.take(",") && !self.at_symbol("}") {
                if *self.token() == Token::End {
                    return Err(Fault::at(self.span(), "unexpected end of input inside braces"));
                }
                return Err(self.unexpected("label matching", "\",\" or \"}\""));
            }
        }
        Ok(())
    }
}

fn new_matcher(name: &str, operator: MatchOperator, value: &str, place: Span) -> Result<Matcher, Fault> {
    Matcher::new(name, operator, value)
        .map_err(|error| Fault::at(place, format!("error parsing regexp: {}", one_line(&error.to_string()))))
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}
