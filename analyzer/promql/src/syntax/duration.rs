//! Durations: literals such as `1h30m`, and expressions in ranges and offsets.

use super::Fault;
use super::lexer::Token;
use super::parser::{CHAINED, NESTED, Parser};
use super::tree::{BinaryOperator, DurationNode};

/// Units in the order in which they must stand, with their seconds.
const UNITS: [(&str, f64); 7] =
    [("y", 31_536_000.0), ("w", 604_800.0), ("d", 86_400.0), ("h", 3600.0), ("m", 60.0), ("s", 1.0), ("ms", 0.001)];

/// The seconds of a duration literal, `None` if the text is none.
pub(super) fn duration_seconds(text: &str) -> Option<f64> {
    duration_milliseconds(text).map(|milliseconds| milliseconds as f64 / 1000.0)
}

/// The milliseconds of a duration literal (`1h30m`), `None` if the text is none or longer than Go's durations, 292 years.
pub fn duration_milliseconds(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut next_unit = 0;
    let mut milliseconds: u64 = 0;
    let mut any = false;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        if digits == 0 || letters == 0 {
            return None;
        }
        let amount: u64 = rest[..digits].parse().ok()?;
        let unit = &rest[digits..digits + letters];
        let place = UNITS[next_unit..].iter().position(|(name, _)| *name == unit)? + next_unit;
        let unit_milliseconds = (UNITS[place].1 * 1000.0) as u64;
        milliseconds = milliseconds.checked_add(amount.checked_mul(unit_milliseconds)?)?;
        next_unit = place + 1;
        any = true;
        rest = &rest[digits + letters..];
    }
    (any && milliseconds <= 9_223_372_036_854).then_some(milliseconds.cast_signed())
}

impl DurationNode {
    /// The seconds, given the query's step and range in seconds.
    pub(crate) fn seconds(&self, step: f64, range: f64) -> Result<f64, String> {
        Ok(match self {
            DurationNode::Seconds(seconds) => *seconds,
            DurationNode::Step => step,
            DurationNode::Range => range,
            DurationNode::Negative(inner) => -inner.seconds(step, range)?,
            DurationNode::Smaller(a, b) => a.seconds(step, range)?.min(b.seconds(step, range)?),
            DurationNode::Larger(a, b) => a.seconds(step, range)?.max(b.seconds(step, range)?),
            DurationNode::Arithmetic(a, operator, b) => {
                let (a, b) = (a.seconds(step, range)?, b.seconds(step, range)?);
                match operator {
                    BinaryOperator::Add => a + b,
                    BinaryOperator::Subtract => a - b,
                    BinaryOperator::Multiply => a * b,
                    BinaryOperator::Divide if b == 0.0 => return Err("division by zero".to_owned()),
                    BinaryOperator::Divide => a / b,
                    BinaryOperator::Modulo if b == 0.0 => return Err("modulo by zero".to_owned()),
                    BinaryOperator::Modulo => a % b,
                    _ => a.powf(b),
                }
            }
        })
    }

    /// Whether neither `step()` nor `range()` stands in it.
    fn is_constant(&self) -> bool {
        match self {
            DurationNode::Seconds(_) => true,
            DurationNode::Step | DurationNode::Range => false,
            DurationNode::Negative(inner) => inner.is_constant(),
            DurationNode::Smaller(a, b) | DurationNode::Larger(a, b) | DurationNode::Arithmetic(a, _, b) => {
                a.is_constant() && b.is_constant()
            }
        }
    }
}

impl Parser<'_> {
    /// The range of a selector or the range or step of a subquery, up to `:` or `]`.
    pub(super) fn range_duration(&mut self) -> Result<DurationNode, Fault> {
        let place = self.span().start;
        let node = self.duration_expression(0)?;
        if node.is_constant() {
            let seconds = node.seconds(0.0, 0.0).map_err(|message| Fault::new(place, message))?;
            if seconds <= 0.0 || seconds.is_nan() {
                return Err(Fault::new(place, "duration must be greater than 0"));
            }
            if seconds > 9_223_372_036.0 {
                return Err(Fault::new(place, "duration out of range"));
            }
        }
        Ok(node)
    }

    /// What follows `offset`: a duration, a signed one, or an expression in parentheses.
    pub(super) fn offset_duration(&mut self) -> Result<DurationNode, Fault> {
        let place = self.span().start;
        // A sign of an offset binds to what follows at once: `offset -1 ^ 2` is `(… offset -1) ^ 2` (PR 16713).
        let minus = self.at_symbol("-");
        if minus || self.at_symbol("+") {
            self.advance();
        }
        let mut node = self.duration_primary("offset")?;
        if minus {
            node = DurationNode::Negative(Box::new(node));
        }
        if node.is_constant() {
            let seconds = node.seconds(0.0, 0.0).map_err(|message| Fault::new(place, message))?;
            if seconds.abs() > 9_223_372_036.0 || seconds.is_nan() {
                return Err(Fault::new(place, "duration out of range"));
            }
        }
        Ok(node)
    }

    fn duration_expression(&mut self, minimum: u8) -> Result<DurationNode, Fault> {
        self.deeper(NESTED)?;
        let mut chain = 0;
        let mut left = self.duration_primary("subquery or range selector")?;
        loop {
            let operator = match self.token() {
                Token::Symbol("+") => BinaryOperator::Add,
                Token::Symbol("-") => BinaryOperator::Subtract,
                Token::Symbol("*") => BinaryOperator::Multiply,
                Token::Symbol("/") => BinaryOperator::Divide,
                Token::Symbol("%") => BinaryOperator::Modulo,
                Token::Symbol("^") => BinaryOperator::Power,
                _ => break,
            };
            let precedence = operator.precedence();
            if precedence < minimum {
                break;
            }
            chain += CHAINED;
            self.deeper(CHAINED)?;
            self.advance();
            let next = if operator == BinaryOperator::Power { precedence } else { precedence + 1 };
            let right = self.duration_expression(next)?;
            left = DurationNode::Arithmetic(Box::new(left), operator, Box::new(right));
        }
        self.shallower(NESTED + chain);
        Ok(left)
    }

    fn duration_primary(&mut self, context: &str) -> Result<DurationNode, Fault> {
        match self.token().clone() {
            Token::Number(seconds) => {
                self.advance();
                Ok(DurationNode::Seconds(seconds))
            }
            Token::Symbol(sign @ ("-" | "+")) => {
                self.advance();
                // A sign binds as multiplication does, so `-2 ^ 2` is −4.
                let inner = self.duration_expression(BinaryOperator::Power.precedence())?;
                Ok(if sign == "-" { DurationNode::Negative(Box::new(inner)) } else { inner })
            }
            Token::Symbol("(") => {
                self.advance();
                let inner = self.duration_expression(0)?;
                self.expect(")", context)?;
                Ok(inner)
            }
            Token::Word(word) if matches!(word.to_ascii_lowercase().as_str(), "step" | "range") => {
                self.advance();
                self.expect("(", context)?;
                self.expect(")", context)?;
                Ok(if word.eq_ignore_ascii_case("step") { DurationNode::Step } else { DurationNode::Range })
            }
            Token::Word(word) if matches!(word.to_ascii_lowercase().as_str(), "min" | "max" | "min_of" | "max_of") => {
                self.advance();
                self.expect("(", context)?;
                let first = Box::new(self.duration_expression(0)?);
                self.expect(",", context)?;
                let second = Box::new(self.duration_expression(0)?);
                self.expect(")", context)?;
                Ok(if word.to_ascii_lowercase().starts_with("min") {
                    DurationNode::Smaller(first, second)
                } else {
                    DurationNode::Larger(first, second)
                })
            }
            _ => Err(self.unexpected(context, "number, duration, step(), or range()")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_need_units_in_descending_order() {
        assert_eq!(duration_seconds("1h30m"), Some(5400.0));
        assert_eq!(duration_seconds("1s500ms"), Some(1.5));
        assert_eq!(duration_seconds("1y2w3d"), Some(31_536_000.0 + 14.0 * 86_400.0 + 3.0 * 86_400.0));
        for text in ["", "1", "m", "1m1h", "1m1m", "1.5h", "99999999999999y"] {
            assert_eq!(duration_seconds(text), None, "{text}");
        }
    }
}
