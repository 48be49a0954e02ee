//! Tokens to tree, by precedence climbing.

use super::check::check;
use super::lexer::{Item, Token, Tokens, describe, tokens};
use super::signatures::signature;
use super::tree::*;
use super::{Fault, ParseError, line_and_column};
use crate::labels::quoted;

/// Parses an expression and checks its types.
pub fn parse(text: &str) -> Result<Expr, ParseError> {
    parse_root(text).map(|root| Expr { text: text.to_owned(), root }).map_err(|fault| {
        let (line, column) = line_and_column(text, fault.offset);
        ParseError { message: fault.message, line, column }
    })
}

fn parse_root(text: &str) -> Result<Node, Fault> {
    let Tokens { items, fault } = tokens(text);
    let end = items.last().map_or(0, |end| end.span.start);
    let root = whole(Parser { text, items, place: 0, depth: 0 });
    // Of two faults the earlier one is told: what does not parse ahead of where the tokens end, or why they end there.
    match (root, fault) {
        (Err(early), Some(fault)) if early.offset < end.min(fault.offset) => Err(early),
        (_, Some(fault)) => Err(fault),
        (root, None) => {
            let root = root?;
            check(&root)?;
            Ok(root)
        }
    }
}

fn whole(mut parser: Parser<'_>) -> Result<Node, Fault> {
    if *parser.token() == Token::End {
        return Err(Fault::new(0, "no expression found in input"));
    }
    let root = parser.expression(0)?;
    match *parser.token() {
        Token::End => Ok(root),
        _ => Err(parser.unexpected("", "")),
    }
}

/// The parser's state. Its methods are spread over the files of this folder.
pub(super) struct Parser<'a> {
    pub text: &'a str,
    items: Vec<Item>,
    place: usize,
    depth: usize,
}

/// Nesting beyond this is refused: parser and evaluation are recursive, and no stack is endless.
const DEEPEST: usize = 1000;

/// What an expression within another one counts.
pub(super) const NESTED: usize = 5;

/// What one more operand counts: a chain `a + b + c …` makes a tree as deep as it is long.
pub(super) const CHAINED: usize = 1;

impl Parser<'_> {
    fn item(&self) -> &Item {
        &self.items[self.place.min(self.items.len() - 1)]
    }

    pub(super) fn token(&self) -> &Token {
        &self.item().token
    }

    pub(super) fn span(&self) -> Span {
        self.item().span
    }

    /// The token after the current one.
    pub(super) fn following(&self) -> &Token {
        &self.items[(self.place + 1).min(self.items.len() - 1)].token
    }

    pub(super) fn advance(&mut self) {
        self.place += 1;
    }

    /// The end of the token before the current one.
    pub(super) fn last_end(&self) -> usize {
        self.items[self.place.saturating_sub(1).min(self.items.len() - 1)].span.end
    }

    pub(super) fn at_symbol(&self, symbol: &str) -> bool {
        matches!(self.token(), Token::Symbol(found) if *found == symbol)
    }

    pub(super) fn take(&mut self, symbol: &str) -> bool {
        let found = self.at_symbol(symbol);
        if found {
            self.advance();
        }
        found
    }

    pub(super) fn expect(&mut self, symbol: &str, context: &str) -> Result<(), Fault> {
        if self.take(symbol) { Ok(()) } else { Err(self.unexpected(context, &quoted(symbol))) }
    }

    /// The current token as a keyword, in lower case.
    pub(super) fn word(&self) -> Option<String> {
        match self.token() {
            Token::Word(word) => Some(word.to_ascii_lowercase()),
            _ => None,
        }
    }

    pub(super) fn unexpected(&self, context: &str, expected: &str) -> Fault {
        let mut message = format!("unexpected {}", describe(self.item(), self.text));
        if !context.is_empty() {
            message.push_str(&format!(" in {context}"));
        }
        if !expected.is_empty() {
            message.push_str(&format!(", expected {expected}"));
        }
        Fault::at(self.span(), message)
    }

    pub(super) fn deeper(&mut self, by: usize) -> Result<(), Fault> {
        self.depth += by;
        if self.depth > DEEPEST {
            return Err(Fault::at(self.span(), "expression is nested too deeply"));
        }
        Ok(())
    }

    pub(super) fn shallower(&mut self, by: usize) {
        self.depth -= by;
    }

    fn binary_operator(&self) -> Option<BinaryOperator> {
        use BinaryOperator::*;
        Some(match self.token() {
            Token::Symbol("+") => Add,
            Token::Symbol("-") => Subtract,
            Token::Symbol("*") => Multiply,
            Token::Symbol("/") => Divide,
            Token::Symbol("%") => Modulo,
            Token::Symbol("^") => Power,
            Token::Symbol("==") => Equal,
            Token::Symbol("!=") => NotEqual,
            Token::Symbol(">") => Greater,
            Token::Symbol("<") => Less,
            Token::Symbol(">=") => GreaterOrEqual,
            Token::Symbol("<=") => LessOrEqual,
            Token::Symbol("</") => TrimUpper,
            Token::Symbol(">/") => TrimLower,
            Token::Word(word) => match word.to_ascii_lowercase().as_str() {
                "and" => And,
                "or" => Or,
                "unless" => Unless,
                "atan2" => Atan2,
                _ => return None,
            },
            _ => return None,
        })
    }

    fn expression(&mut self, minimum: u8) -> Result<Node, Fault> {
        self.deeper(NESTED)?;
        let mut left = self.operand()?;
        let mut chain = 0;
        while let Some(operator) = self.binary_operator() {
            let precedence = operator.precedence();
            if precedence < minimum {
                break;
            }
            chain += CHAINED;
            self.deeper(CHAINED)?;
            let operator_span = self.span();
            self.advance();
            let (returns_bool, mut matching) = self.binary_modifiers()?;
            let next = if operator == BinaryOperator::Power { precedence } else { precedence + 1 };
            let right = self.expression(next)?;
            let given = matching.is_some();
            if left.value_type() == ValueType::Vector && right.value_type() == ValueType::Vector {
                let matching = matching.get_or_insert_with(Matching::default);
                if operator.is_set_operator() && matching.cardinality == Cardinality::OneToOne {
                    matching.cardinality = Cardinality::ManyToMany;
                }
            } else if given && matching.as_ref().is_some_and(|matching| matching.on || !matching.labels.is_empty()) {
                return Err(Fault::at(left.span, "vector matching only allowed between instant vectors"));
            }
            let span = Span { start: left.span.start, end: right.span.end };
            let binary = Binary { operator, operator_span, left, right, returns_bool, matching };
            left = Node { kind: NodeKind::Binary(Box::new(binary)), span };
        }
        self.shallower(NESTED + chain);
        Ok(left)
    }

    /// An operand: signs, a primary expression, and what may follow it.
    fn operand(&mut self) -> Result<Node, Fault> {
        let start = self.span().start;
        let minus = self.at_symbol("-");
        if !minus && !self.at_symbol("+") {
            let primary = self.primary()?;
            return self.suffixes(primary);
        }
        self.advance();
        // A sign binds as multiplication does: -a^2 is -(a^2).
        let operand = self.expression(BinaryOperator::Power.precedence())?;
        let span = Span { start, end: operand.span.end };
        if let NodeKind::Number(value) = operand.kind {
            return Ok(Node { kind: NodeKind::Number(if minus { -value } else { value }), span });
        }
        Ok(Node { kind: NodeKind::Unary { minus, operand: Box::new(operand) }, span })
    }

    fn primary(&mut self) -> Result<Node, Fault> {
        let span = self.span();
        let kind = match self.token().clone() {
            Token::Number(value) => {
                self.advance();
                NodeKind::Number(value)
            }
            Token::Text(text, is_utf8) => {
                self.advance();
                NodeKind::Text { text, is_utf8 }
            }
            Token::Symbol("(") => {
                self.advance();
                let inner = self.expression(0)?;
                if !self.take(")") {
                    return Err(self.unexpected("paren expression", ""));
                }
                NodeKind::Paren(Box::new(inner))
            }
            Token::Symbol("{") => NodeKind::Selector(Box::new(self.selector()?)),
            Token::Word(word) => {
                let lower = word.to_ascii_lowercase();
                let called = matches!(self.following(), Token::Symbol("("));
                let aggregate = AGGREGATE_OPERATORS.iter().find(|(name, _)| *name == lower);
                let grouped = matches!(self.following(), Token::Word(word)
                    if word.eq_ignore_ascii_case("by") || word.eq_ignore_ascii_case("without"));
                match aggregate {
                    Some((_, operator)) if called || grouped => self.aggregate(*operator)?,
                    _ if called => self.call(&word)?,
                    _ if matches!(lower.as_str(), "bool" | "on" | "ignoring" | "group_left" | "group_right") => {
                        return Err(self.unexpected("", ""));
                    }
                    _ => NodeKind::Selector(Box::new(self.selector()?)),
                }
            }
            _ => return Err(self.unexpected("", "")),
        };
        Ok(Node { kind, span: Span { start: span.start, end: self.last_end() } })
    }

    fn call(&mut self, name: &str) -> Result<NodeKind, Fault> {
        let function = signature(name)
            .ok_or_else(|| Fault::at(self.span(), format!("unknown function with name {}", quoted(name))))?;
        self.advance();
        let arguments = self.arguments()?;
        Ok(NodeKind::Call(Box::new(Call { function, arguments })))
    }

    fn arguments(&mut self) -> Result<Vec<Node>, Fault> {
        self.expect("(", "function call")?;
        let mut arguments = Vec::new();
        if self.take(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expression(0)?);
            let comma = self.span();
            if self.take(",") {
                if self.at_symbol(")") {
                    return Err(Fault::at(comma, "trailing commas not allowed in function call args"));
                }
            } else if self.take(")") {
                return Ok(arguments);
            } else {
                return Err(self.unexpected("function call args", "\",\" or \")\""));
            }
        }
    }

    fn aggregate(&mut self, operator: AggregateOperator) -> Result<NodeKind, Fault> {
        let start = self.span();
        self.advance();
        let mut grouping = self.aggregate_grouping()?;
        let mut arguments = self.arguments()?;
        if grouping.is_none() {
            grouping = self.aggregate_grouping()?;
        }
        let (without, grouping) = grouping.unwrap_or_default();
        let place = Span { start: start.start, end: self.last_end() };
        let wanted = if operator.has_parameter() { 2 } else { 1 };
        if arguments.is_empty() {
            return Err(Fault::at(place, "no arguments for aggregate expression provided"));
        }
        if arguments.len() != wanted {
            let message = format!(
                "wrong number of arguments for aggregate expression provided, expected {wanted}, got {}",
                arguments.len()
            );
            return Err(Fault::at(place, message));
        }
        let operand =
            arguments.pop().ok_or_else(|| Fault::at(place, "no arguments for aggregate expression provided"))?;
        let parameter = arguments.pop();
        Ok(NodeKind::Aggregate(Box::new(Aggregate { operator, operand, parameter, grouping, without })))
    }

    fn aggregate_grouping(&mut self) -> Result<Option<(bool, Vec<String>)>, Fault> {
        let without = match self.word().as_deref() {
            Some("by") => false,
            Some("without") => true,
            _ => return Ok(None),
        };
        self.advance();
        Ok(Some((without, self.label_list()?)))
    }

    /// Labels in parentheses; any word or a quoted name is one.
    pub(super) fn label_list(&mut self) -> Result<Vec<String>, Fault> {
        self.expect("(", "grouping opts")?;
        let mut labels = Vec::new();
        while !self.take(")") {
            match self.token().clone() {
                Token::Word(word) if !word.contains(':') => labels.push(word),
                Token::Text(text, true) if !text.is_empty() => labels.push(text),
                Token::Text(text, _) => {
                    let message = format!("invalid label name for grouping: {}", quoted(&text));
                    return Err(Fault::at(self.span(), message));
                }
                // `inf` and `nan` read as numbers, but are labels here.
                Token::Number(_)
                    if self.text[self.span().start..self.span().end].bytes().all(|b| b.is_ascii_alphabetic()) =>
                {
                    labels.push(self.text[self.span().start..self.span().end].to_owned());
                }
                _ => return Err(self.unexpected("grouping opts", "label")),
            }
            self.advance();
            if !self.take(",") && !self.at_symbol(")") {
                return Err(self.unexpected("grouping opts", "\",\" or \")\""));
            }
        }
        Ok(labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(node: &Node) -> String {
        match &node.kind {
            NodeKind::Number(value) => format!("{value}"),
            NodeKind::Binary(binary) => {
                format!("({} {} {})", shape(&binary.left), binary.operator.symbol(), shape(&binary.right))
            }
            NodeKind::Unary { minus, operand } => format!("{}{}", if *minus { "-" } else { "+" }, shape(operand)),
            NodeKind::Paren(inner) => shape(inner),
            NodeKind::Selector(selector) => selector.name.clone().unwrap_or_default(),
            _ => "…".to_owned(),
        }
    }

    #[test]
    fn precedence_and_associativity_are_those_of_the_documentation() {
        for (text, expected) in [
            ("1 + 2 * 3", "(1 + (2 * 3))"),
            ("2 * 3 % 2", "((2 * 3) % 2)"),
            ("2 ^ 3 ^ 2", "(2 ^ (3 ^ 2))"),
            ("-a ^ 2", "-(a ^ 2)"),
            ("-1 ^ 2", "-(1 ^ 2)"),
            ("-a * 2", "(-a * 2)"),
            ("2 ^ -1 * 3", "((2 ^ -1) * 3)"),
            ("a or b and c unless d", "(a or ((b and c) unless d))"),
            ("a == b + c", "(a == (b + c))"),
            ("a atan2 b * c", "((a atan2 b) * c)"),
        ] {
            assert_eq!(shape(&parse(text).expect(text).root), expected);
        }
    }

    #[test]
    fn documented_syntax_parses() {
        for text in [
            "http_requests_total{job=\"prometheus\",group=\"canary\"}",
            "{\"http.requests\", \"label.name\"=~\"a|b\",}",
            "{__name__=\"on\"}",
            "sum by (application, group) (http_requests_total)",
            "sum(http_requests_total) without (instance,)",
            "topk(5, http_requests_total) by (\"a.b\")",
            "rate(x[5m:1m] @ start() offset -1w)",
            "x offset 5m @ 1609746000",
            "rate(x[5m * 2] offset (1h / 2))",
            "rate(x[max(step(), 5s)] anchored)",
            "x smoothed",
            "max_over_time(x[range()] @ end())",
            "a + on (x) group_left (y) fill (0) b",
            "a + fill_left(1) fill_right(2) b",
            "info(rate(x[2m]), {k8s_cluster_name=~\".+\"})",
            "sum",
            "by + without",
            "start + end",
            "a # comment\n + b",
            "foo and on() bar",
            "foo[5m:]",
            "1h30m + 5",
            "histogram_quantile(0.9, rate(x_bucket[10m]))",
            "min_over_time(rate(a[5m])[30m:step()])",
            "h </ 5 >/ 2",
        ] {
            if let Err(error) = parse(text) {
                panic!("{text}: {error}");
            }
        }
    }

    #[test]
    fn faults_are_named_with_their_place() {
        for (text, expected) in [
            ("", "1:1: parse error: no expression found in input"),
            ("a +", "1:4: parse error: unexpected end of input"),
            // As Prometheus 2.42 answered.
            ("(a", "1:3: parse error: unclosed left parenthesis"),
            ("sum(", "1:5: parse error: unclosed left parenthesis"),
            ("((1)", "1:5: parse error: unclosed left parenthesis"),
            ("rate(x[5m]", "1:11: parse error: unclosed left parenthesis"),
            ("sum by (a", "1:10: parse error: unclosed left parenthesis"),
            ("(1 # c", "1:7: parse error: unclosed left parenthesis"),
            ("sum(x{", "1:7: parse error: unexpected end of input inside braces"),
            ("x{a=\"b\"", "1:8: parse error: unexpected end of input inside braces"),
            ("1)", "1:3: parse error: unexpected right parenthesis ')'"),
            ("sum(x))", "1:8: parse error: unexpected right parenthesis ')'"),
            ("x]", "1:2: parse error: unexpected right bracket ']'"),
            ("(\"a", "1:2: parse error: unterminated quoted string"),
            ("foo(1)", "1:1: parse error: unknown function with name \"foo\""),
            ("a b", "1:3: parse error: unexpected identifier \"b\""),
            ("1==1", "1:2: parse error: comparisons between scalars must use BOOL modifier"),
            ("1 == 1", "1:3: parse error: comparisons between scalars must use BOOL modifier"),
            (
                "rate(x)",
                "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
            ),
            ("{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
            ("abs()", "1:1: parse error: expected 1 argument(s) in call to \"abs\", got 0"),
            ("a offset 1m offset 2m", "1:13: parse error: offset may not be set multiple times"),
            ("x[0s]", "1:3: parse error: duration must be greater than 0"),
            ("a\n+ )", "2:4: parse error: unexpected right parenthesis ')'"),
        ] {
            assert_eq!(parse(text).map(|_| ()).map_err(|error| error.to_string()), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_an_error_not_an_overflow() {
        for text in ["(".repeat(100_000), "-".repeat(100_000), format!("a{}", "+a".repeat(100_000))] {
            assert!(parse(&text).is_err());
        }
    }
}
