//! Queries within Grafana's variables.

use syncline_promql::parse;

/// Variables that select series, each with the label of its name.
pub const SELECTING: [&str; 3] = ["cluster", "node", "run"];

/// Asks a query within the variables, of a workload's series `namespace` too, over windows that fit the data source. What is no PromQL
/// stays as it is.
pub fn with_variables(query: &str, workload: bool) -> String {
    let Ok(expr) = parse(query) else { return query.to_owned() };
    let names = SELECTING.iter().chain(workload.then_some(&"namespace"));
    let matchers: Vec<String> = names.map(|name| format!("{name}=~\"${name}\"")).collect();
    let matchers = matchers.join(",");
    let mut out = String::new();
    let mut done = 0;
    for selector in expr.selectors() {
        let start = selector.span.start;
        let name = query[start..]
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
            .map_or(query.len(), |at| start + at);
        out.push_str(&query[done..name]);
        if query[name..].starts_with('{') {
            let inner = query[name + 1..].trim_start();
            let comma = if inner.starts_with('}') { "" } else { "," };
            out.push_str(&format!("{{{matchers}{comma}"));
            done = name + 1;
        } else {
            out.push_str(&format!("{{{matchers}}}"));
            done = name;
        }
    }
    out.push_str(&query[done..]);
    fitted(&out)
}

/// Windows of a minute or so (`[30s]`) as `[$__rate_interval]`; those of subqueries, and of an hour or more, are meant as they are.
fn fitted(query: &str) -> String {
    let mut out = String::new();
    let mut rest = query;
    while let Some((before, after)) = rest.split_once('[') {
        out.push_str(before);
        let window = after.split(']').next().unwrap_or_default();
        let digits = window.trim_end_matches(['s', 'm']);
        let plain =
            digits.len() + 1 == window.len() && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if plain && !quoted(&out) {
            out.push_str("[$__rate_interval]");
            rest = after.get(window.len() + 1..).unwrap_or_default();
        } else {
            out.push('[');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// Whether a text ends within a string.
fn quoted(before: &str) -> bool {
    before.matches('"').count() % 2 == 1
}

/// The unit of what a query gives, as rows name units. A rate of a `_sum` is seconds of work in a second: no latency.
pub fn unit(query: &str) -> &'static str {
    let has = |word: &str| query.contains(word);
    if has("histogram_quantile(")
        || has("_sum") && has("_count") && has("/") && !has("network_programming_duration_seconds_count")
    {
        "s"
    } else if has("/") && !has("* ") && (has("drop_count") && has("forward_count") || has("requests_total"))
        || has(" - 1")
    {
        "ratio"
    } else if has("_bytes") && !has("rate(") && !has("/") {
        "bytes"
    } else if has("cpu_seconds_total") || has("cpu_usage_seconds_total") {
        "cores"
    } else if has("rate(") && !has("_sum") && !has("last_timestamp") && !has("/") && !has("processing_seconds") {
        "1/s"
    } else {
        "1"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_stand_in_every_selector_and_windows_fit() {
        let all = "cluster=~\"$cluster\",node=~\"$node\",run=~\"$run\"";
        for (query, expected) in [
            ("sum(rate(a[1m])) / b", format!("sum(rate(a{{{all}}}[$__rate_interval])) / b{{{all}}}")),
            ("rate(a{x=\"[5m]\"}[30s])", format!("rate(a{{{all},x=\"[5m]\"}}[$__rate_interval])")),
            ("a{}", format!("a{{{all}}}")),
            ("{__name__=\"a\"}", format!("{{{all},__name__=\"a\"}}")),
            (
                "quantile_over_time(0.5, (rate(a[1m]))[1h:1m])",
                format!("quantile_over_time(0.5, (rate(a{{{all}}}[$__rate_interval]))[1h:1m])"),
            ),
            ("max_over_time(a[1h])", format!("max_over_time(a{{{all}}}[1h])")),
            ("a b", "a b".to_owned()),
        ] {
            assert_eq!(with_variables(query, false), expected);
        }
        assert!(with_variables("a", true).ends_with("namespace=~\"$namespace\"}"));
    }

    #[test]
    fn units_are_those_of_the_answer() {
        for (query, expected) in [
            ("histogram_quantile(0.95, rate(a_bucket[1m]))", "s"),
            ("sum(rate(a_sum[1m])) / sum(rate(a_count[1m]))", "s"),
            ("rate(a_sum[1m])", "1"),
            ("container_memory_working_set_bytes", "bytes"),
            ("rate(container_cpu_usage_seconds_total[5m])", "cores"),
            ("rate(cilium_forward_count_total[1m])", "1/s"),
            ("rate(kubeproxy_sync_proxy_rules_last_timestamp_seconds[1m])", "1"),
            ("kubeproxy_network_programming_duration_seconds_count", "1"),
        ] {
            assert_eq!(unit(query), expected, "{query}");
        }
    }
}
