//! `syncline serve`: Prometheus' HTTP API over captured series, and the report beside it.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use syncline_promql::{Options, format_time};
use syncline_schema::printable::tell;
use syncline_serve::api::Api;
use syncline_serve::{Clock, Guard, Limits, Listening, Pages, Response, Served};

use super::judged::catalogue;
use super::times::{absolute, duration};
use super::{Budget, Selection, print};
use crate::bundle::Bundle;
use crate::query::held::{self, Loaded, Placed};
use crate::query::rules::over;
use crate::query::rules::read::{Rules, read};
use crate::query::rules::replay::Settings;
use crate::result::given::{self, Given};
use crate::result::load::load;
use crate::verdict::queries::questions;
use crate::view::{self, queries::QueryView};
use crate::write::{alerts, html};

/// Arguments of `syncline serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeArguments {
    /// The runs: bundles, capture directories, or archives
    #[arg(required = true, value_name = "RUNS")]
    inputs: Vec<PathBuf>,
    /// Address to listen on; one that other machines reach is warned of
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9095")]
    listen: String,
    /// Move each run so that it ends now, or at a time (RFC 3339 or Unix
    /// seconds): a dashboard on the last 30 minutes shows it
    #[arg(long, value_name = "now|T")]
    shift: Option<String>,
    /// Origin of a web page that may read answers, as http://grafana.lan:3000;
    /// its host may be named by clients too
    #[arg(long, value_name = "O")]
    allow_origin: Vec<String>,
    /// Files of rules: their state at the last sample is what rules and alerts
    /// answer
    #[arg(long, num_args = 1.., value_name = "FILE")]
    rules: Vec<PathBuf>,
    /// How far back a sample counts as current
    #[arg(long, value_name = "D", default_value = "5m")]
    lookback: String,
    /// Longest time of a query
    #[arg(long, value_name = "D", default_value = "2m")]
    timeout: String,
    /// The most samples that a query may hold at a time
    #[arg(long, value_name = "N", default_value_t = Options::default().max_samples)]
    max_samples: usize,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    budget: Budget,
}

/// Loads, then serves until it is ended.
///
/// # Errors
/// Runs that cannot be read, an address that cannot be listened on, or options that cannot be used.
pub fn run(arguments: &ServeArguments) -> anyhow::Result<ExitCode> {
    let guard = Guard::new(&arguments.allow_origin).map_err(anyhow::Error::msg)?;
    let end = arguments.shift.as_deref().map(moved_to).transpose()?;
    let [lookback, timeout] = [&arguments.lookback, &arguments.timeout].map(|text| duration(text));
    let (lookback, timeout) = (lookback?, timeout?);
    if lookback.is_zero() || timeout.is_zero() {
        bail!("--lookback and --timeout must be longer than nothing");
    }
    let listening = listen(&arguments.listen)?;
    let memory = arguments.budget.memory;

    let Given { distinct, unread, temporary } =
        given::bundles(&arguments.inputs, arguments.selection.condition()?.as_ref(), arguments.budget)?;
    let Loaded { storage, held, metadata, runs } = held::load(&distinct.runs, end, memory)?;
    let rules = replayed(arguments, &distinct.runs, &runs, lookback)?;
    drop((distinct, temporary));

    let last = runs.iter().filter_map(|one| one.served()).map(|(_, last)| last).max();
    let clock = match end {
        // Answers to "now" follow the wall as long as the lookback holds; so they do in a Prometheus whose targets are gone.
        Some(_) if arguments.shift.as_deref() == Some("now") => Clock::Wall,
        _ => Clock::Captured(last.unwrap_or(0)),
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // What the series leave is shared by the queries at a time, and the answers that are being written.
    let left = usize::try_from(memory).unwrap_or(usize::MAX).saturating_sub(held.bytes);
    let (for_queries, for_answers) = (left / (cores + 1), left / (cores + 1));
    let address = listening.address();
    for placed in &runs {
        tell(format_args!("{}", of_run(placed)));
    }
    let (series, samples) = (held.series, held.samples);
    tell(format_args!("{series} series, {samples} samples, {} MiB", held.bytes >> 20));
    if !unread.is_empty() {
        tell(format_args!("warning: {} of what was given could not be read and is not served", unread.len()));
    }
    let served = Served {
        storage,
        held,
        metadata,
        rules: rules.0,
        alerts: rules.1,
        notes: held::notes(&runs),
        clock,
        lookback,
        timeout,
        max_samples: arguments.max_samples,
        memory: for_queries,
        pages: Arc::new(Report { arguments: arguments.clone(), runs, made: OnceLock::new() }),
        version: env!("CARGO_PKG_VERSION"),
        started: Clock::Wall.now(),
        listen: address.to_string(),
    };
    if !address.ip().is_loopback() {
        tell(format_args!(
            "warning: {address} is reached by other machines, and nothing here asks who they are: whoever can connect may read all of it"
        ));
    }
    print(&format!("Listening on http://{address}/ (ends with Ctrl-C)\n"))?;
    listening.serve(Arc::new(Api::new(served, guard)), Limits::of_this_machine(for_answers))?;
    Ok(ExitCode::SUCCESS)
}

/// The first address of a text that can be listened on.
fn listen(text: &str) -> anyhow::Result<Listening> {
    let wrong = || format!("--listen {text}: expected an address and a port, as 127.0.0.1:9095");
    // `:9095` is every address, as in Prometheus.
    let whole = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    let addresses: Vec<SocketAddr> = whole.to_socket_addrs().with_context(wrong)?.collect();
    let first = addresses.first().with_context(wrong)?;
    Listening::on(*first).with_context(|| format!("--listen {text}: cannot be listened on"))
}

/// Where `--shift` moves the end of each run, ms since 1970.
fn moved_to(text: &str) -> anyhow::Result<i64> {
    if text == "now" {
        return Ok(Clock::Wall.now());
    }
    let at = absolute(text).with_context(|| format!("--shift {text}: expected now, RFC 3339, or Unix seconds"))?;
    Ok(at.div_euclid(1_000_000))
}

fn of_run(placed: &Placed) -> String {
    let Placed { run, span, shift } = placed;
    let Some((first, last)) = span else { return format!("{run}: no samples") };
    let moved = if *shift == 0 { String::new() } else { format!(", shown {} s later", format_time(*shift)) };
    format!("{run}: {} to {}{moved}", held::moment(*first), held::moment(*last))
}

/// Groups of rules and alerts over each run, as they stood at its last sample, in the API's form.
fn replayed(
    arguments: &ServeArguments,
    bundles: &[Bundle],
    placed: &[Placed],
    lookback: Duration,
) -> anyhow::Result<(Vec<serde_json::Value>, Vec<serde_json::Value>)> {
    let mut rules = Rules::default();
    for path in &arguments.rules {
        read(path, &mut rules)?;
    }
    if let Some(refused) = rules.refused.first() {
        tell(format_args!("warning: {} rules are not served, the first: {refused:?}", rules.refused.len()));
    }
    let settings = Settings { interval: 60_000, options: Options { lookback, ..Options::default() } };
    let several = bundles.len() > 1 || arguments.shift.is_some();
    let mut all = (Vec::new(), Vec::new());
    if rules.groups.is_empty() {
        return Ok(all);
    }
    for (bundle, placed) in bundles.iter().zip(placed) {
        let run = several.then_some(placed.run.as_str());
        let (groups, alerts) = alerts::as_the_api(&over(bundle, &rules, &settings)?, run, placed.shift);
        all.0.extend(groups);
        all.1.extend(alerts);
    }
    Ok(all)
}

/// The report of the runs, made when somebody asks for it.
struct Report {
    arguments: ServeArguments,
    runs: Vec<Placed>,
    made: OnceLock<Result<BTreeMap<String, String>, String>>,
}

impl Pages for Report {
    fn page(&self, path: &str) -> Option<Response> {
        let path = if path.is_empty() { "report.html" } else { path };
        if path != "report.html" && !path.starts_with("runs/") {
            return None;
        }
        let pages = self.made.get_or_init(|| self.make().map_err(|error| format!("{error:#}")));
        match pages {
            Ok(pages) => {
                let body = pages.get(path)?.clone().into_bytes();
                Some(Response { content_type: "text/html; charset=utf-8", body, ..Response::text(200, "") })
            }
            Err(why) => Some(Response::text(500, format!("the report cannot be made: {why}\n"))),
        }
    }
}

impl Report {
    /// The pages by their paths.
    fn make(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let catalogue = catalogue(None)?;
        let asks = |dataplane: &str| questions(&catalogue, dataplane);
        let wanted = self.arguments.selection.condition()?;
        let loaded = load(&self.arguments.inputs, &asks, wanted.as_ref(), self.arguments.budget)?;
        let mut judged = view::build(
            &loaded.results,
            &catalogue,
            &view::Options {
                notes: Some(self.notes()),
                per_run: true,
                unread: loaded.unread,
                ..view::Options::default()
            },
        );
        let spans = || self.runs.iter().filter_map(Placed::served);
        let all = spans().map(|(first, _)| first).min().zip(spans().map(|(_, last)| last).max());
        linked(&mut judged.view.queries, all);
        for page in &mut judged.view.pages {
            let own = self.runs.iter().find(|one| one.run == page.title).and_then(Placed::served);
            linked(&mut page.queries, own.or(all));
        }
        let mut pages = BTreeMap::from([("report.html".to_owned(), html::render(&judged.view)?)]);
        for page in &judged.view.pages {
            pages.insert(page.path.clone(), html::run_page(page)?);
        }
        Ok(pages)
    }

    /// What stands at the top: what is served, and where.
    fn notes(&self) -> String {
        let mut text =
            String::from("This page is served beside Prometheus' HTTP API over the same runs, at `/api/v1`.\n\n");
        for placed in &self.runs {
            text.push_str(&format!("- `{}`\n", of_run(placed).replace('`', "'")));
        }
        text
    }
}

/// Points of the answer that a link asks for.
const POINTS: i64 = 500;

/// Gives queries the address of their answer over a time, ms.
fn linked(queries: &mut [QueryView], span: Option<(i64, i64)>) {
    let Some((first, last)) = span else { return };
    let step = ((last - first) / 1000 / POINTS).max(1);
    for one in queries {
        let query = utf8_percent_encode(&one.query, NON_ALPHANUMERIC);
        let [first, last] = [first, last].map(format_time);
        one.link = Some(format!("/api/v1/query_range?query={query}&start={first}&end={last}&step={step}"));
    }
}
