//! A terminal transcript with the time around a command.
//!
//! ```text
//! $ date +%s.%N; kubectl scale deploy/test --replicas=44; date +%s.%N
//! 1795407750.679907121
//! deployment.apps/test scaled
//! 1795407750.826147409
//! ```
//!
//! The stamp ahead of the command's output becomes `action_start`, the one behind it `action_returned`; of a second
//! command `action2_start`, and so on. Where the end of `kubectl rollout status` stands between the stamps, the one
//! behind it is `rollout_complete` (`rollout2_complete`). A command that was answered with an error only is
//! `command_failed`: it began nothing. `date +%s` is in whole seconds: a resolution of one second.
//!
//! What kubectl answers is no closed list: a line that begins with an object (`deployment.apps/test …`, `pod "a" …`) and
//! goes on in words is an answer. Where the typed command can be seen and it changes something, whatever it printed is.
//! The host of a prompt (`root@node-a:~#`) is kept as the fact `prompt-host`: that is where the stamps were taken.

use syncline_schema::clock::ClockToken;
use syncline_schema::facts::FactRow;
use syncline_schema::loss;
use syncline_schema::markers::MarkerRow;

use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Sniff, instant};

/// The format.
pub const FORMAT: Format = Format {
    kind: "transcript",
    title: "terminal transcript with `date +%s.%N` around a command",
    clock: ClockToken::Operator,
    cut: Cut::Whole,
    sniff,
    parse,
    sample: "1795407750.679907121\ndeployment.apps/test scaled\n1795407750.826147409",
    recognised: "two lines that are nothing but a time, with a line of kubectl's answer (deployment.apps/test scaled, pod \"a\" deleted) or the output of a typed command that changes something between them",
    capture: "(date +%s.%N; kubectl scale deploy/test --replicas=44; date +%s.%N) | tee transcript.txt",
    proves: "when the command was given and when it returned, on the operator's clock",
};

/// A time that a line is nothing but.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    time: i64,
    /// By the digits of its fraction, ns.
    resolution: i64,
}

/// Nanoseconds that the last of so many digits of a fraction stands for.
fn resolution(digits: usize) -> i64 {
    10_i64.pow(9 - digits.min(9) as u32)
}

/// Epoch seconds, ms, µs or ns; ISO 8601 and RFC 3339 with a zone; `date` as it prints by itself, and RFC 2822.
fn stamp(line: &[u8], utc_offset: Option<i32>) -> Option<Stamp> {
    let text = std::str::from_utf8(line).ok()?.trim();
    if text.len() > 60 || !text.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b',') {
        let plain = text.replace(',', ".");
        let (whole, part) = plain.split_once('.').unwrap_or((&plain, ""));
        let digits = match whole.len() {
            10 => part.len(),
            13 | 16 | 19 if part.is_empty() => whole.len() - 10,
            _ => return None,
        };
        return Some(Stamp { time: instant::epoch(plain.as_bytes())?, resolution: resolution(digits) });
    }
    let fraction = |text: &str| {
        let digits =
            text.rsplit_once(['.', ',']).map_or(0, |(_, rest)| rest.bytes().take_while(u8::is_ascii_digit).count());
        resolution(digits)
    };
    if let Some(time) = instant::rfc3339(text.replace(" +", "+").as_bytes()) {
        return Some(Stamp { time, resolution: fraction(text) });
    }
    calendar(text, utc_offset).map(|time| Stamp { time, resolution: fraction(text) })
}

/// `Thu Nov 26 11:50:57 UTC 2026`, `Thu 26 Nov 2026 11:50:57 AM UTC`, `Thu, 26 Nov 2026 11:50:57 +0000`: the same words in
/// the order of some locale.
fn calendar(text: &str, utc_offset: Option<i32>) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let (mut month, mut day, mut year, mut clock, mut zone, mut half) = (None, None, None, None, None, None);
    for word in text.split_ascii_whitespace() {
        let word = word.trim_end_matches(',');
        let digits = word.bytes().all(|byte| byte.is_ascii_digit());
        let signed = word.starts_with(['+', '-']) && word.len() > 1;
        let slot = match word {
            _ if digits && word.len() == 4 => &mut year,
            _ if digits && word.len() <= 2 => &mut day,
            _ if word.contains(':') && !signed => &mut clock,
            "AM" | "PM" | "am" | "pm" => &mut half,
            _ if MONTHS.contains(&word.get(..3)?) => &mut month,
            _ if DAYS.contains(&word.get(..3)?) => continue,
            _ if signed || word.bytes().all(|byte| byte.is_ascii_uppercase()) => &mut zone,
            _ => return None,
        };
        if slot.replace(word).is_some() {
            return None;
        }
    }
    let (clock, fraction) = clock.map(|clock| clock.split_once(['.', ',']).unwrap_or((clock, "")))?;
    let (hour, rest) = clock.split_once(':')?;
    let hour = match (hour.parse::<i64>().ok()?, half) {
        (hour, None) => hour,
        (hour, Some("PM" | "pm")) => hour % 12 + 12,
        (hour, Some(_)) => hour % 12,
    };
    let month = 1 + MONTHS.iter().position(|name| month.is_some_and(|month| month.starts_with(name)))?;
    let offset = match zone {
        Some("UTC" | "GMT" | "Z") => "Z".to_owned(),
        Some(zone) if zone.starts_with(['+', '-']) => zone.to_owned(),
        // Names of zones are not unique: the capture states which it is.
        _ => {
            let seconds = utc_offset?;
            let sign = if seconds < 0 { '-' } else { '+' };
            format!("{sign}{:02}:{:02}", seconds.abs() / 3600, seconds.abs() / 60 % 60)
        }
    };
    let point = if fraction.is_empty() { "" } else { "." };
    let day = day?.parse::<u8>().ok()?;
    instant::rfc3339(format!("{}-{month:02}-{day:02}T{hour:02}:{rest}{point}{fraction}{offset}", year?).as_bytes())
}

/// A prompt with what was typed behind it, and its host.
struct Prompt<'a> {
    typed: &'a str,
    host: Option<&'a str>,
}

/// `$ …`, `root@node-a:~# …`, `[root@node-a ~]# …`; also a line of commands with `date` and kubectl, whatever is ahead.
fn prompt(line: &str) -> Option<Prompt<'_>> {
    let text = line.trim();
    let plain = ["$ ", "# ", "% ", "> ", "❯ ", "➜ "].iter().find_map(|mark| text.strip_prefix(mark));
    if let Some(typed) = plain {
        return Some(Prompt { typed, host: None });
    }
    if matches!(text, "$" | "#" | "%" | ">") {
        return Some(Prompt { typed: "", host: None });
    }
    let end = text.find(['#', '$', '%']).filter(|end| *end < 100)?;
    let (before, after) = (&text[..end], &text[end + 1..]);
    let host = before.split_once('@').map(|(_, rest)| rest.split([':', ' ', ']']).next().unwrap_or_default());
    if let Some(host) = host.filter(|host| !host.is_empty() && (after.is_empty() || after.starts_with(' '))) {
        return Some(Prompt { typed: after.trim(), host: Some(host) });
    }
    (text.contains("kubectl ") && text.contains(';')).then_some(Prompt { typed: text, host: None })
}

/// Verbs of kubectl (and of its like) that change nothing in the cluster.
const READS: [&str; 21] = [
    "get",
    "describe",
    "logs",
    "top",
    "wait",
    "explain",
    "version",
    "cluster-info",
    "api-resources",
    "api-versions",
    "config",
    "diff",
    "auth",
    "exec",
    "cp",
    "port-forward",
    "proxy",
    "events",
    "completion",
    "attach",
    "debug",
];

/// The command of a typed line that changes something: not `date`, not what only looks.
fn changing(typed: &str) -> Option<&str> {
    let parts = typed.split([';', '|', '&']).map(|part| part.trim().trim_matches(['(', ')', '{', '}']).trim());
    let changes = |part: &&str| {
        let mut words = part.split_ascii_whitespace().filter(|word| !["sudo", "time", "command"].contains(word));
        let program = words.next().and_then(|word| word.rsplit('/').next()).unwrap_or_default();
        // `kubectl -n kube-system delete …`: some options stand ahead of the verb with their value behind a space.
        let valued = ["-n", "--namespace", "--context", "--kubeconfig", "--cluster", "--user", "-s", "--server"];
        let mut value = false;
        let mut words = words.filter(|word| {
            let option = word.starts_with('-');
            let kept = !option && !std::mem::take(&mut value);
            value = option && valued.contains(word);
            kept
        });
        match (program, words.next(), words.next()) {
            ("kubectl", Some("rollout"), Some("status" | "history")) => false,
            ("kubectl" | "k" | "oc", Some("exec"), _) => part.contains(" kill"),
            ("kubectl" | "k" | "oc", Some(verb), _) => !READS.contains(&verb),
            ("helm", Some(verb), _) => ["upgrade", "install", "uninstall", "rollback"].contains(&verb),
            ("kill" | "pkill" | "killall", _, _) => true,
            ("docker" | "crictl" | "nerdctl", Some(verb), _) => ["kill", "stop", "rm", "restart"].contains(&verb),
            _ => false,
        }
    };
    parts.into_iter().find(changes)
}

/// Whether a line is an answer to a change: an object, then words.
fn answer(line: &str) -> bool {
    let text = line.trim_end();
    let named = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte))
    };
    let resource = |text: &str| named(text) && text.starts_with(|first: char| first.is_ascii_lowercase());
    let Some((first, rest)) = text.split_once(' ') else { return false };
    let words = match first.split_once('/') {
        Some((kind, name)) if resource(kind) && named(name) => rest,
        None if resource(first) => match rest.strip_prefix('"').and_then(|rest| rest.split_once("\" ")) {
            Some((name, words)) if named(name) => words,
            _ => return false,
        },
        _ => return false,
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" ()-_,./\"'".contains(&byte);
    words.starts_with(|first: char| first.is_ascii_lowercase())
        && words.bytes().all(plain)
        && words != "condition met"
        && !is_rolled_out(text)
}

/// The last line of `kubectl rollout status`.
fn is_rolled_out(line: &str) -> bool {
    line.contains("successfully rolled out") || line.contains("rolling update complete")
}

/// What stands between two stamps that follow each other.
#[derive(Debug, PartialEq, Eq)]
enum Between {
    /// A command that changed something, with what was typed, else kubectl's answer in parentheses.
    Action(String),
    /// The same, and the rollout's end behind it.
    RolledOut(String),
    /// The end of a rollout that an action ahead of it began.
    Complete,
    /// A command that changes something and was answered by errors only.
    Failed(String),
    Nothing,
}

fn between(ahead: &[&str], inside: &[&str]) -> Between {
    let typed = |lines: &[&str]| {
        lines.iter().rev().filter_map(|line| prompt(line)).find_map(|one| Some(changing(one.typed)?.to_owned()))
    };
    let output: Vec<&str> =
        inside.iter().copied().filter(|line| !line.trim().is_empty() && prompt(line).is_none()).collect();
    let answers: Vec<&str> = output.iter().copied().filter(|line| answer(line)).collect();
    let completes = output.iter().any(|line| is_rolled_out(line));
    let is_error = |line: &&str| {
        ["error:", "Error from server", "Error:", "The connection to the server", "Unable to connect", "error "]
            .iter()
            .any(|start| line.starts_with(start))
    };
    let wrong = answers.is_empty() && output.iter().any(|line| is_error(&line));
    let only_rollout = answers.is_empty() && completes;
    let command = typed(inside).or_else(|| typed(ahead));
    match (command, answers.first()) {
        (Some(command), _) if wrong => Between::Failed(command),
        // Whether this was typed on the same line or belongs to the command before.
        (_, None) if only_rollout => Between::Complete,
        (Some(command), Some(_)) if completes => Between::RolledOut(command),
        (None, Some(answer)) if completes => Between::RolledOut(format!("({})", answer.trim())),
        (Some(command), Some(_)) => Between::Action(command),
        (Some(command), None) if !output.is_empty() => Between::Action(command),
        (None, Some(answer)) => Between::Action(format!("({})", answer.trim())),
        _ => Between::Nothing,
    }
}

/// Stamps by line, and what stands between each and the next.
struct Reading {
    stamps: Vec<(usize, Stamp)>,
    between: Vec<Between>,
}

fn read(lines: &[&str], utc_offset: Option<i32>) -> Reading {
    let stamps: Vec<(usize, Stamp)> =
        lines.iter().enumerate().filter_map(|(at, line)| Some((at, stamp(line.as_bytes(), utc_offset)?))).collect();
    let mut before = 0;
    let mut found = Vec::new();
    for pair in stamps.windows(2) {
        let (from, to) = (pair[0].0, pair[1].0);
        found.push(between(&lines[before..from], &lines[from + 1..to]));
        before = from + 1;
    }
    Reading { stamps, between: found }
}

fn is_action(between: &Between) -> bool {
    matches!(between, Between::Action(_) | Between::RolledOut(_))
}

fn sniff(head: &Head) -> Sniff {
    let Ok(text) = std::str::from_utf8(head.bytes) else { return Sniff::No };
    let lines: Vec<&str> = text.lines().collect();
    if !head.whole || lines.len() >= 1_000 {
        return Sniff::No;
    }
    // A zone that is not known yet is no reason to take it for something else.
    if read(&lines, Some(0)).between.iter().any(is_action) { Sniff::Yes } else { Sniff::No }
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let lines: Vec<Line<'_>> = chunk.lines().collect();
    let owned: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(line.bytes)).collect();
    let texts: Vec<&str> = owned.iter().map(AsRef::as_ref).collect();
    let reading = read(&texts, context.utc_offset);
    let mut number = 0;
    let mut marker = |at: usize, stamp: &Stamp, label: String, command: &str| {
        if stamp.resolution == instant::SECOND {
            batch.loss(loss::WHOLE_SECONDS, 1);
        }
        batch.record(Some(stamp.time));
        batch.push(&MarkerRow {
            source: context.source,
            record: lines[at].number,
            clock: context.clock.as_str().into(),
            time: stamp.time,
            resolution: stamp.resolution,
            label: label.into(),
            command: Some(command).filter(|command| !command.is_empty()).map(Into::into),
            ..Default::default()
        });
    };
    for (pair, between) in reading.stamps.windows(2).zip(&reading.between) {
        let ((from, start), (to, end)) = (&pair[0], &pair[1]);
        number += usize::from(is_action(between));
        let numbered = |word: &str, rest: &str| match number {
            0 | 1 => format!("{word}_{rest}"),
            more => format!("{word}{more}_{rest}"),
        };
        match between {
            Between::Action(command) => {
                marker(*from, start, numbered("action", "start"), command);
                marker(*to, end, numbered("action", "returned"), command);
            }
            Between::RolledOut(command) => {
                marker(*from, start, numbered("action", "start"), command);
                marker(*to, end, numbered("rollout", "complete"), command);
            }
            Between::Complete if number > 0 => marker(*to, end, numbered("rollout", "complete"), ""),
            Between::Failed(command) => marker(*from, start, "command_failed".to_owned(), command),
            Between::Complete | Between::Nothing => {}
        }
    }
    let host = texts.iter().enumerate().find_map(|(at, line)| Some((at, prompt(line)?.host?)));
    if let (Some((at, host)), true) = (host, number > 0) {
        batch.push(&FactRow {
            source: Some(context.source),
            record: lines[at].number,
            key: "prompt-host".into(),
            value: host.into(),
            ..Default::default()
        });
    }
    if number == 0 {
        let first = Line { bytes: chunk.bytes, number: chunk.first_line, offset: chunk.offset, ended: true };
        batch.reject(context, &first, "expected two stamps of `date` with kubectl's answer between them");
    }
}

#[cfg(test)]
mod tests {
    use super::{Between, FORMAT, answer, changing, prompt, read, stamp};
    use crate::form::Sniff;
    use crate::parse::harness::{head, parse_text};

    const TEXT: &str = "$ date +%s; kubectl scale deploy/test --replicas=44; date +%s\n1795407750\ndeployment.apps/test scaled\n1795407751\n";

    fn between(text: &str) -> Vec<Between> {
        read(&text.lines().collect::<Vec<_>>(), None).between
    }

    #[test]
    fn the_stamps_around_a_command_are_markers() {
        assert_eq!((FORMAT.sniff)(&head("notes.txt", TEXT.as_bytes())), Sniff::Yes);
        let mut batch = parse_text(&FORMAT, TEXT);
        assert_eq!(batch.records, 2);
        assert!(batch.losses.contains_key("whole-seconds"));
        assert_eq!(batch.take_tables().iter().map(|table| table.rows()).sum::<usize>(), 2);
    }

    #[test]
    fn numbers_alone_are_no_transcript() {
        assert_eq!((FORMAT.sniff)(&head("x.txt", b"1795407750\n1795407751\n")), Sniff::No);
        let looked = b"1795407750\nNAME  READY\ntest  1/1\n1795407751\n";
        assert_eq!((FORMAT.sniff)(&head("x.txt", looked)), Sniff::No);
    }

    #[test]
    fn what_kubectl_answers_is_no_closed_list() {
        for line in [
            "deployment.apps/test scaled",
            "deployment.apps/test rolled back",
            "deployment.apps/test image updated",
            "pod \"test-abc\" deleted from default namespace",
            "pod \"test-abc\" force deleted",
            "service/test exposed",
            "horizontalpodautoscaler.autoscaling/test autoscaled",
            "deployment.apps/test scaled (server dry run)",
            "daemonset.apps/proxy env updated",
        ] {
            assert!(answer(line), "{line}");
        }
        for line in [
            "deployment \"test\" successfully rolled out",
            "Waiting for deployment \"test\" rollout to finish: 1 of 44 updated replicas are available...",
            "pod/test condition met",
            "test-abc   1/1   Running   0   5m",
            "tcp/80 -> x",
            "-A KUBE-SERVICES -j KUBE-SVC-A",
            "error: no such thing",
        ] {
            assert!(!answer(line), "{line}");
        }
    }

    #[test]
    fn a_typed_command_that_changes_something_is_told_from_one_that_looks() {
        let found = changing("date; kubectl -n x scale deploy/a --replicas=2; date");
        assert_eq!(found, Some("kubectl -n x scale deploy/a --replicas=2"));
        assert_eq!(changing("date; kubectl --context=a -n get get pods; date"), None);
        let found = changing("date +%s; time kubectl scale deploy/a --replicas=2 -n x; date");
        assert_eq!(found, Some("time kubectl scale deploy/a --replicas=2 -n x"));
        assert_eq!(
            changing("kubectl rollout undo deploy/a && kubectl rollout status deploy/a"),
            Some("kubectl rollout undo deploy/a")
        );
        assert_eq!(changing("kubectl rollout status deploy/a"), None);
        assert_eq!(changing("kubectl get pods -w"), None);
        assert_eq!(changing("helm upgrade test ./chart"), Some("helm upgrade test ./chart"));
        let host = |line: &'static str| prompt(line).map(|one| (one.typed, one.host));
        assert_eq!(host("root@node-a:~# date"), Some(("date", Some("node-a"))));
        assert_eq!(host("[me@host-1 ~]$ kubectl get pods"), Some(("kubectl get pods", Some("host-1"))));
        assert_eq!(host("$ date"), Some(("date", None)));
        assert_eq!(host("deployment.apps/test scaled"), None);
    }

    #[test]
    fn several_commands_and_the_end_of_a_rollout() {
        let action = |text: &str| Between::Action(text.to_owned());
        let scale =
            "date +%s; kubectl scale deploy/a --replicas=4; date +%s; kubectl rollout status deploy/a; date +%s";
        let text = format!(
            "$ {scale}\n1795407750\ndeployment.apps/a scaled\n1795407751\nWaiting for it...\ndeployment \"a\" successfully rolled out\n1795407759\n$ kubectl get pods\nNAME\n$ date\nThu Nov 26 11:50:57 UTC 2026\n$ kubectl delete pod a-1\npod \"a-1\" deleted\n$ date\nThu Nov 26 11:51:28 UTC 2026\n"
        );
        assert_eq!(
            between(&text),
            [
                action("kubectl scale deploy/a --replicas=4"),
                Between::Complete,
                Between::Nothing,
                action("kubectl delete pod a-1")
            ]
        );
        let whole = "1795407750\ndeployment.apps/a restarted\ndeployment \"a\" successfully rolled out\n1795407759\n";
        assert_eq!(between(whole), [Between::RolledOut("(deployment.apps/a restarted)".to_owned())]);
        let wrong = "$ date +%s; kubectl scale deploy/b --replicas=4; date +%s\n1795407750\nError from server (NotFound): deployments.apps \"b\" not found\n1795407751\n";
        assert_eq!(between(wrong), [Between::Failed("kubectl scale deploy/b --replicas=4".to_owned())]);
    }

    #[test]
    fn a_stamp_may_be_written_in_many_ways() {
        let known = |text: &str| stamp(text.as_bytes(), None).map(|one| (one.time, one.resolution));
        let at = 1_795_686_080_000_000_000;
        for (text, expected) in [
            ("1795686080", Some((at, 1_000_000_000))),
            ("1795686080.927401346", Some((at + 927_401_346, 1))),
            ("1795686080927", Some((at + 927_000_000, 1_000_000))),
            ("1795686080927401346", Some((at + 927_401_346, 1))),
            ("2026-11-26T09:41:20,927401346+00:00", Some((at + 927_401_346, 1))),
            ("2026-11-26 09:41:20.927 +0000", Some((at + 927_000_000, 1_000_000))),
            ("2026-11-26T09:41:20Z", Some((at, 1_000_000_000))),
            ("Thu Nov 26 09:41:20 UTC 2026", Some((at, 1_000_000_000))),
            ("Thu Nov 26 09:41:20 AM UTC 2026", Some((at, 1_000_000_000))),
            ("Thu, 26 Nov 2026 10:41:20 +0100", Some((at, 1_000_000_000))),
            ("Thu 26 Nov 2026 09:41:20 PM UTC", Some((at + 43_200_000_000_000, 1_000_000_000))),
            ("Thu Nov 26 09:41:20 CET 2026", None),
            ("17956860", None),
            ("test-abc 1/1 Running 0 5m", None),
        ] {
            assert_eq!(known(text), expected, "{text}");
        }
    }
}
