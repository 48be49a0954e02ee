//! `absent` and `absent_over_time`.

use super::Arguments;
use crate::answer::EvalError;
use crate::evaluate::{Cells, Row, windows};
use crate::labels::{Labels, METRIC_NAME};
use crate::storage::{MatchOperator, Matcher};
use crate::syntax::tree::{Node, NodeKind};

/// One element with the value 1 at the steps at which the argument has none.
pub(super) fn absent(name: &str, arguments: &Arguments<'_>) -> Result<Vec<Row>, EvalError> {
    let context = arguments.context;
    let mut present = vec![false; context.steps];
    if name == "absent" {
        for row in arguments.vector(0)? {
            for (step, flag) in present.iter_mut().enumerate() {
                *flag |= row.cells.has(step);
            }
        }
    } else {
        let range = arguments.range(0)?;
        for input in &range.inputs {
            for window in windows(&input.series, &range, context) {
                present[window.step] |= !window.is_empty();
            }
        }
    }
    let mut cells = Cells::empty(context.steps);
    for (step, _) in present.iter().enumerate().filter(|(_, present)| !**present) {
        cells.floats[step] = 1.0;
    }
    if cells.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![Row { labels: labels_of(arguments.node_of(0)?), drop_name: false, cells }])
}

/// The labels that a selector pins down: those that exactly one matcher names, and that with `=`.
fn labels_of(node: &Node) -> Labels {
    let matchers: &[Matcher] = match &node.unwrapped().kind {
        NodeKind::Selector(selector) | NodeKind::RangeSelector { selector, .. } => &selector.matchers,
        _ => &[],
    };
    let pinned = matchers.iter().filter(|matcher| {
        matcher.name != METRIC_NAME
            && matcher.operator == MatchOperator::Equal
            && matchers.iter().filter(|other| other.name == matcher.name).count() == 1
    });
    Labels::new(pinned.map(|matcher| (matcher.name.as_str(), matcher.value.as_str())))
}
