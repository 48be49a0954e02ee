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
//! What `time` printed behind a command that changed something is its duration: the fact `command-duration`, which needs no date.
//! The host of a prompt (`root@node-a:~#`) is kept as the fact `prompt-host`: that is where the stamps were taken.

use syncline_schema::clock::ClockToken;
use syncline_schema::facts::FactRow;
use syncline_schema::loss;
use syncline_schema::markers::MarkerRow;

use crate::form::instant::SECOND;
use crate::form::stamp::{self, Dating};
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sniff};
use crate::parse::setting::timed;

/// The format.
pub const FORMAT: Format = Format {
    kind: "transcript",
    title: "terminal transcript with `date +%s.%N` around a command, or `time` ahead of it",
    clock: ClockToken::Operator,
    cut: Cut::Whole,
    sniff,
    reads: Reads::Rows(parse),
    sample: "1795407750.679907121\ndeployment.apps/test scaled\n1795407750.826147409",
    recognised: "two lines that are nothing but a time, with a line of kubectl's answer (deployment.apps/test scaled, pod \"a\" deleted) or the output of a typed command that changes something between them; or such an answer with what `time` prints behind it",
    capture: "(date +%s.%N; kubectl scale deploy/test --replicas=44; date +%s.%N) | tee transcript.txt",
    proves: "when the command was given and when it returned, on the operator's clock; of `time`, how long it took",
};

/// A line, and the command that printed it where what lay around the line said so (its prompt was taken off then).
#[derive(Clone, Copy)]
struct Written<'a> {
    text: &'a str,
    command: Option<&'a str>,
}

/// A time that a line is nothing but, and its resolution, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct At {
    time: i64,
    resolution: i64,
}

fn time_of(line: &str, dating: &Dating) -> Option<At> {
    let found = stamp::line(line.as_bytes())?;
    Some(At { time: found.time(dating)?, resolution: found.resolution })
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

fn between(ahead: &[Written<'_>], inside: &[Written<'_>]) -> Between {
    let typed = |lines: &[Written<'_>]| {
        let own = |line: &Written<'_>| {
            let typed = prompt(line.text).map(|one| one.typed).or(line.command)?;
            Some(changing(typed)?.to_owned())
        };
        lines.iter().rev().find_map(own)
    };
    let output: Vec<&str> =
        inside.iter().map(|line| line.text).filter(|text| !text.trim().is_empty() && prompt(text).is_none()).collect();
    let answers: Vec<&str> = output.iter().copied().filter(|line| answer(line)).collect();
    let completes = output.iter().any(|line| is_rolled_out(line));
    let wrong = answers.is_empty() && output.iter().any(|line| is_error(line));
    let command = typed(inside).or_else(|| typed(ahead));
    match (command, answers.first()) {
        (Some(command), _) if wrong => Between::Failed(command),
        // Whether this was typed on the same line or belongs to the command before.
        (_, None) if completes => Between::Complete,
        (Some(command), Some(_)) if completes => Between::RolledOut(command),
        (None, Some(answer)) if completes => Between::RolledOut(format!("({})", answer.trim())),
        (Some(command), Some(_)) => Between::Action(command),
        (Some(command), None) if !output.is_empty() => Between::Action(command),
        (None, Some(answer)) => Between::Action(format!("({})", answer.trim())),
        _ => Between::Nothing,
    }
}

fn is_error(line: &str) -> bool {
    let starts =
        ["error:", "Error from server", "Error:", "The connection to the server", "Unable to connect", "error "];
    starts.iter().any(|start| line.starts_with(start))
}

/// Stamps by line, and what stands between each and the next.
struct Reading {
    stamps: Vec<(usize, At)>,
    between: Vec<Between>,
}

fn read(lines: &[Written<'_>], dating: &Dating) -> Reading {
    let stamps: Vec<(usize, At)> =
        lines.iter().enumerate().filter_map(|(at, line)| Some((at, time_of(line.text, dating)?))).collect();
    let mut before = 0;
    let mut found = Vec::new();
    for pair in stamps.windows(2) {
        let (from, to) = (pair[0].0, pair[1].0);
        found.push(between(&lines[before..from], &lines[from + 1..to]));
        before = from + 1;
    }
    Reading { stamps, between: found }
}

/// A command that changed something, as `time` saw it.
struct Timed {
    /// Index of the line with the duration.
    at: usize,
    duration: timed::Duration,
    command: String,
}

/// Commands with their duration: what `time` printed belongs to the answer ahead of it.
fn timed_commands(lines: &[Written<'_>]) -> Vec<Timed> {
    let mut found = Vec::new();
    let mut from = 0;
    for (at, line) in lines.iter().enumerate() {
        let Some(duration) = timed::duration(line.text) else { continue };
        // Behind the end of a rollout it is the rollout's, too.
        if let Between::Action(command) = between(&[], &lines[from..at]) {
            found.push(Timed { at, duration, command });
        }
        from = at + 1;
    }
    found
}

fn is_action(between: &Between) -> bool {
    matches!(between, Between::Action(_) | Between::RolledOut(_))
}

fn sniff(head: &Head) -> Sniff {
    let Ok(text) = std::str::from_utf8(head.bytes) else { return Sniff::No };
    let lines: Vec<Written<'_>> = text.lines().map(|text| Written { text, command: None }).collect();
    if !head.whole || lines.len() >= 1_000 {
        return Sniff::No;
    }
    // A year or zone that is not known yet is no reason to take it for something else.
    let any = Dating { year: Some(2000), utc_offset: Some(0), span: Some((0, 1)) };
    let acted = read(&lines, &any).between.iter().any(is_action) || !timed_commands(&lines).is_empty();
    if acted { Sniff::Yes } else { Sniff::No }
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let lines: Vec<Line<'_>> = chunk.lines().collect();
    let owned: Vec<_> = lines.iter().map(|line| line.text()).collect();
    let known = |line: &Line<'_>| chunk.known(line.number);
    let written: Vec<Written<'_>> =
        lines.iter().zip(&owned).map(|(line, text)| Written { text, command: known(line).command }).collect();
    let dating = Dating { year: context.year, utc_offset: context.utc_offset, span: None };
    let reading = read(&written, &dating);
    let mut number = 0;
    let mut marker = |at: usize, stamp: &At, label: String, command: &str| {
        if stamp.resolution == SECOND {
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
    let host = lines.iter().zip(&owned).find_map(|(line, text)| {
        let host = prompt(text).and_then(|one| one.host).or(known(line).host)?;
        Some((line.number, host.to_owned()))
    });
    let mut fact = |record: i64, key: &'static str, value: String| {
        batch.push(&FactRow {
            source: Some(context.source),
            record,
            key: key.into(),
            value: value.into(),
            ..Default::default()
        });
    };
    let timed = timed_commands(&written);
    if let (Some((record, host)), true) = (host, number > 0 || !timed.is_empty()) {
        fact(record, "prompt-host", host);
    }
    for one in &timed {
        fact(lines[one.at].number, "command-duration", one.duration.told(&one.command));
    }
    timed.iter().for_each(|_| batch.record(None));
    if number == 0 && timed.is_empty() {
        let first = Line { bytes: chunk.bytes, number: chunk.first_line, offset: chunk.offset, ended: true };
        batch.reject(
            context,
            &first,
            "expected two stamps of `date` with kubectl's answer between them, or what `time` prints behind it",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::{Between, Dating, FORMAT, Written, answer, changing, prompt, read};
    use crate::form::Sniff;
    use crate::parse::harness::{head, parse_text};

    const TEXT: &str = "$ date +%s; kubectl scale deploy/test --replicas=44; date +%s\n1795407750\ndeployment.apps/test scaled\n1795407751\n";

    fn between(text: &str) -> Vec<Between> {
        let lines: Vec<_> = text.lines().map(|text| Written { text, command: None }).collect();
        read(&lines, &Dating::default()).between
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
    fn what_time_printed_is_a_duration_without_a_date() {
        let facts = |text: &str| {
            let lines: Vec<_> = text.lines().map(|text| Written { text, command: None }).collect();
            let found = super::timed_commands(&lines);
            found.into_iter().map(|one| one.duration.told(&one.command)).collect::<Vec<_>>()
        };
        let bash = "$ time kubectl scale deploy/a --replicas=4\ndeployment.apps/a scaled\n\nreal\t0m0.149s\nuser\t0m0.110s\nsys\t0m0.030s\n";
        assert_eq!(facts(bash), ["0.149 s to 0.001 s: time kubectl scale deploy/a --replicas=4"]);
        assert_eq!((FORMAT.sniff)(&head("notes.txt", bash.as_bytes())), Sniff::Yes);
        assert_eq!(parse_text(&FORMAT, bash).records, 1);
        // Several, one of which changed nothing and one of which failed.
        let several = "deployment.apps/a scaled\nreal 0.15\nNAME READY\nreal 0.20\n$ kubectl scale deploy/b --replicas=2\nError from server (NotFound): x\nreal 0.30\npod \"a-1\" deleted\nreal 31.20\n";
        assert_eq!(
            facts(several),
            ["0.15 s to 0.01 s: (deployment.apps/a scaled)", "31.2 s to 0.01 s: (pod \"a-1\" deleted)"]
        );
        assert_eq!((FORMAT.sniff)(&head("x.txt", b"NAME READY\nreal 0.20\n")), Sniff::No);
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
    fn a_command_may_be_known_by_what_was_taken_off_the_line() {
        let command = Some("date +%s; helm upgrade test ./chart; date +%s");
        let of = |text: &'static str| Written { text, command };
        let lines = [of("1795407750"), of("Release \"test\" has been upgraded. Happy Helming!"), of("1795407752")];
        let found = read(&lines, &Dating::default()).between;
        assert_eq!(found, [Between::Action("helm upgrade test ./chart".to_owned())]);
    }
}
