//! `label_replace` and `label_join`.

use super::Arguments;
use crate::answer::EvalError;
use crate::evaluate::{Row, merge_same_labels};
use crate::labels::METRIC_NAME;
use crate::pattern::anchored;

/// Evaluates one of them.
pub(super) fn labels(name: &str, arguments: &Arguments<'_>) -> Result<Vec<Row>, EvalError> {
    let mut rows = arguments.vector(0)?;
    let invalid = |which: &str, index: usize| -> Result<String, EvalError> {
        let text = arguments.text(index)?;
        Err(EvalError::Execution(format!("invalid {which} label name in {name}(): {text}")))
    };
    let target = match arguments.label_name(1)? {
        Some(target) => target,
        None => invalid("destination", 1)?,
    };
    if name == "label_replace" {
        let (replacement, source, expression) = (arguments.text(2)?, arguments.text(3)?, arguments.text(4)?);
        let pattern = anchored(&expression).map_err(|_| {
            EvalError::Execution(format!("invalid regular expression in label_replace(): {expression}"))
        })?;
        let template = go_template(&replacement);
        for row in &mut rows {
            let value = row.labels.get(&source).to_owned();
            let Some(captures) = pattern.captures(&value) else { continue };
            // Labels that are put together of themselves again and again grow beyond any bound.
            let longest = template.matches('$').count().saturating_mul(value.len()).saturating_add(template.len());
            arguments.context.budget.take_bytes(longest)?;
            let mut result = String::new();
            captures.expand(&template, &mut result);
            set_label(row, &target, &result);
        }
    } else {
        let separator = arguments.text(2)?;
        let source = |index: usize| arguments.label_name(index)?.map_or_else(|| invalid("source", index), Ok);
        let sources = (3..arguments.len()).map(source).collect::<Result<Vec<_>, _>>()?;
        for row in &mut rows {
            let values: Vec<&str> = sources.iter().map(|source| row.labels.get(source)).collect();
            let length = values.iter().map(|value| value.len() + separator.len()).fold(0, usize::saturating_add);
            arguments.context.budget.take_bytes(length)?;
            let joined = values.join(&separator);
            set_label(row, &target, &joined);
        }
    }
    merge_same_labels(rows)
}

fn set_label(row: &mut Row, target: &str, value: &str) {
    row.labels = row.labels.with(target, value);
    if target == METRIC_NAME {
        // A name that the query sets itself is there to stay.
        row.drop_name = false;
    }
}

/// Go's replacement syntax in that of the regex crate: `$1x` names a group `1x` in both, `$$` is a dollar in both;
/// only a `$` before anything else must be doubled to stand for itself.
fn go_template(replacement: &str) -> String {
    let mut out = String::with_capacity(replacement.len());
    let mut letters = replacement.chars().peekable();
    while let Some(letter) = letters.next() {
        out.push(letter);
        if letter == '$' {
            match letters.peek() {
                Some('$') => {
                    out.push('$');
                    letters.next();
                }
                Some(next) if next.is_alphanumeric() || matches!(next, '_' | '{') => {}
                _ => out.push('$'),
            }
        }
    }
    out
}
