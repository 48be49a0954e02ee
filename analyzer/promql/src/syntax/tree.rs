//! The tree of a parsed expression.

use crate::storage::Matcher;

/// A part of the query's text: byte offsets, the end excluded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// A whole query: its text and its tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// The text as given; annotations point into it.
    pub text: String,
    /// The tree.
    pub root: Node,
}

/// The four types of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// A number per step.
    Scalar,
    /// A string.
    String,
    /// An instant vector.
    Vector,
    /// A range vector.
    Matrix,
}

impl ValueType {
    /// The type as error messages name it.
    pub fn documented(self) -> &'static str {
        match self {
            ValueType::Scalar => "scalar",
            ValueType::String => "string",
            ValueType::Vector => "instant vector",
            ValueType::Matrix => "range vector",
        }
    }
}

/// A node of the tree and its place in the text.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Where it stands.
    pub span: Span,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeKind {
    /// A number or duration literal.
    Number(f64),
    /// A string literal.
    Text {
        /// The string, unescaped.
        text: String,
        /// Whether it is valid UTF-8; else what is not has been replaced.
        is_utf8: bool,
    },
    /// An expression in parentheses.
    Paren(Box<Node>),
    /// Unary plus or minus.
    Unary {
        /// Whether the sign is a minus.
        minus: bool,
        /// What it is applied to.
        operand: Box<Node>,
    },
    /// A binary operation.
    Binary(Box<Binary>),
    /// An aggregation.
    Aggregate(Box<Aggregate>),
    /// A function call.
    Call(Box<Call>),
    /// An instant vector selector.
    Selector(Box<Selector>),
    /// A range vector selector.
    RangeSelector {
        /// What is selected.
        selector: Box<Selector>,
        /// The window's length.
        range: DurationNode,
    },
    /// A subquery.
    Subquery(Box<Subquery>),
}

impl Node {
    /// The type of the node's value.
    pub fn value_type(&self) -> ValueType {
        match &self.kind {
            NodeKind::Number(_) => ValueType::Scalar,
            NodeKind::Text { .. } => ValueType::String,
            NodeKind::Paren(inner) => inner.value_type(),
            NodeKind::Unary { operand, .. } => operand.value_type(),
            NodeKind::Binary(binary) => {
                if binary.left.value_type() == ValueType::Scalar && binary.right.value_type() == ValueType::Scalar {
                    ValueType::Scalar
                } else {
                    ValueType::Vector
                }
            }
            NodeKind::Aggregate(_) | NodeKind::Selector(_) => ValueType::Vector,
            NodeKind::Call(call) => call.function.returns,
            NodeKind::RangeSelector { .. } | NodeKind::Subquery(_) => ValueType::Matrix,
        }
    }

    /// How many nodes lie within each other at the deepest place.
    pub(crate) fn depth(&self) -> usize {
        let deepest = |nodes: &[Node]| nodes.iter().map(Node::depth).max().unwrap_or(0);
        1 + match &self.kind {
            NodeKind::Paren(inner) | NodeKind::Unary { operand: inner, .. } => inner.depth(),
            NodeKind::Binary(binary) => binary.left.depth().max(binary.right.depth()),
            NodeKind::Aggregate(aggregate) => {
                aggregate.operand.depth().max(aggregate.parameter.as_ref().map_or(0, Node::depth))
            }
            NodeKind::Call(call) => deepest(&call.arguments),
            NodeKind::Subquery(subquery) => subquery.inner.depth(),
            _ => 0,
        }
    }

    /// The node inside any parentheses.
    pub fn unwrapped(&self) -> &Node {
        match &self.kind {
            NodeKind::Paren(inner) => inner.unwrapped(),
            _ => self,
        }
    }
}

/// A time to evaluate at, given by `@`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum At {
    /// Milliseconds since 1970.
    Time(i64),
    /// `@ start()`: the start of the query.
    Start,
    /// `@ end()`: the end of the query.
    End,
}

/// `anchored` or `smoothed` after a selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// Values at the window's ends are taken from the sample before.
    Anchored,
    /// Values at the window's ends are interpolated.
    Smoothed,
}

/// A selector: matchers and when to look.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    /// The metric's name, where it was written before the braces or as a quoted name.
    pub name: Option<String>,
    /// All matchers, the name's among them.
    pub matchers: Vec<Matcher>,
    /// How far back, negative for ahead.
    pub offset: Option<DurationNode>,
    /// `@`.
    pub at: Option<At>,
    /// `anchored` or `smoothed`.
    pub boundary: Option<Boundary>,
    /// Where the selector stands, without its range.
    pub span: Span,
}

/// A subquery.
#[derive(Clone, Debug, PartialEq)]
pub struct Subquery {
    /// What is evaluated at each step.
    pub inner: Node,
    /// The window's length.
    pub range: DurationNode,
    /// The step, if given.
    pub step: Option<DurationNode>,
    /// How far back.
    pub offset: Option<DurationNode>,
    /// `@`.
    pub at: Option<At>,
}

/// A duration, which may be an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum DurationNode {
    /// Seconds (a literal).
    Seconds(f64),
    /// `step()`: the query's step.
    Step,
    /// `range()`: the query's end minus its start.
    Range,
    /// Negation.
    Negative(Box<DurationNode>),
    /// An arithmetic operation.
    Arithmetic(Box<DurationNode>, BinaryOperator, Box<DurationNode>),
    /// `min(a, b)`.
    Smaller(Box<DurationNode>, Box<DurationNode>),
    /// `max(a, b)`.
    Larger(Box<DurationNode>, Box<DurationNode>),
}

/// Binary operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names say it
pub enum BinaryOperator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    And,
    Or,
    Unless,
    /// `</`: keep what a histogram observed below.
    TrimUpper,
    /// `>/`: keep what a histogram observed above.
    TrimLower,
}

impl BinaryOperator {
    /// The operator as written.
    pub fn symbol(self) -> &'static str {
        use BinaryOperator::*;
        match self {
            Add => "+",
            Subtract => "-",
            Multiply => "*",
            Divide => "/",
            Modulo => "%",
            Power => "^",
            Atan2 => "atan2",
            Equal => "==",
            NotEqual => "!=",
            Greater => ">",
            Less => "<",
            GreaterOrEqual => ">=",
            LessOrEqual => "<=",
            And => "and",
            Or => "or",
            Unless => "unless",
            TrimUpper => "</",
            TrimLower => ">/",
        }
    }

    /// Whether it compares.
    pub fn compares(self) -> bool {
        use BinaryOperator::*;
        matches!(self, Equal | NotEqual | Greater | Less | GreaterOrEqual | LessOrEqual)
    }

    /// Whether the result is another quantity, so that the metric's name is dropped. `</` and `>/` filter, as
    /// comparisons do.
    pub fn changes_metric(self) -> bool {
        use BinaryOperator::*;
        matches!(self, Add | Subtract | Multiply | Divide | Modulo | Power | Atan2)
    }

    /// Whether it is `and`, `or` or `unless`.
    pub fn is_set_operator(self) -> bool {
        matches!(self, BinaryOperator::And | BinaryOperator::Or | BinaryOperator::Unless)
    }

    /// Higher binds tighter.
    pub(crate) fn precedence(self) -> u8 {
        use BinaryOperator::*;
        match self {
            Or => 1,
            And | Unless => 2,
            Equal | NotEqual | Greater | Less | GreaterOrEqual | LessOrEqual => 3,
            Add | Subtract => 4,
            Multiply | Divide | Modulo | Atan2 | TrimUpper | TrimLower => 5,
            Power => 6,
        }
    }
}

/// How many elements of each side may match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it
pub enum Cardinality {
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
    /// Set operators.
    ManyToMany,
}

/// How elements of two vectors are matched.
#[derive(Clone, Debug, PartialEq)]
pub struct Matching {
    /// One or many on each side.
    pub cardinality: Cardinality,
    /// `on` (else `ignoring`).
    pub on: bool,
    /// Labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// Labels of `group_left` or `group_right`.
    pub include: Vec<String>,
    /// A value for elements of the right side without a partner on the left.
    pub fill_left: Option<f64>,
    /// A value for elements of the left side without a partner on the right.
    pub fill_right: Option<f64>,
}

/// A binary operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    /// Operator.
    pub operator: BinaryOperator,
    /// Where the operator stands.
    pub operator_span: Span,
    /// Left operand.
    pub left: Node,
    /// Right operand.
    pub right: Node,
    /// Whether `bool` was given.
    pub returns_bool: bool,
    /// Matching, where both sides are vectors.
    pub matching: Option<Matching>,
}

/// Aggregation operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it
pub enum AggregateOperator {
    Sum,
    Average,
    Count,
    Minimum,
    Maximum,
    Group,
    StandardDeviation,
    StandardVariance,
    TopK,
    BottomK,
    Quantile,
    CountValues,
    LimitK,
    LimitRatio,
}

/// All aggregation operators by their names.
pub(crate) const AGGREGATE_OPERATORS: [(&str, AggregateOperator); 14] = [
    ("sum", AggregateOperator::Sum),
    ("avg", AggregateOperator::Average),
    ("count", AggregateOperator::Count),
    ("min", AggregateOperator::Minimum),
    ("max", AggregateOperator::Maximum),
    ("group", AggregateOperator::Group),
    ("stddev", AggregateOperator::StandardDeviation),
    ("stdvar", AggregateOperator::StandardVariance),
    ("topk", AggregateOperator::TopK),
    ("bottomk", AggregateOperator::BottomK),
    ("quantile", AggregateOperator::Quantile),
    ("count_values", AggregateOperator::CountValues),
    ("limitk", AggregateOperator::LimitK),
    ("limit_ratio", AggregateOperator::LimitRatio),
];

impl AggregateOperator {
    /// The operator as written.
    pub fn name(self) -> &'static str {
        AGGREGATE_OPERATORS.iter().find(|(_, operator)| *operator == self).map_or("", |(name, _)| name)
    }

    /// Whether it takes a parameter before the vector.
    pub fn has_parameter(self) -> bool {
        use AggregateOperator::*;
        matches!(self, TopK | BottomK | Quantile | CountValues | LimitK | LimitRatio)
    }
}

/// An aggregation.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// Operator.
    pub operator: AggregateOperator,
    /// The vector.
    pub operand: Node,
    /// The parameter.
    pub parameter: Option<Node>,
    /// Labels of `by` or `without`.
    pub grouping: Vec<String>,
    /// `without` (else `by`).
    pub without: bool,
}

/// A function's name and types.
#[derive(Debug, PartialEq)]
pub struct Signature {
    /// Its name.
    pub name: &'static str,
    /// Types of its arguments.
    pub arguments: &'static [ValueType],
    /// How many of the last argument may be left out, or follow more; negative: any number.
    pub variadic: i8,
    /// Type of its value.
    pub returns: ValueType,
}

/// A function call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The function.
    pub function: &'static Signature,
    /// Its arguments.
    pub arguments: Vec<Node>,
}
