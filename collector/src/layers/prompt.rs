//! What a terminal shows around the output of a command, where a session was pasted or logged.
//!
//! ```text
//! $ kubectl -n kube-system exec ds/cilium -- cilium-dbg bpf lb list
//! Defaulted container "cilium-agent" out of: cilium-agent, config (init)
//! root@node-a:~# ipvsadm -Ln
//! ```
//!
//! Such a line is no record of the format around it and no damage either: it is kept as a row of `logs` by the caller
//! `terminal`, which tells later what was run.

use syncline_schema::clock::ClockToken;
use syncline_schema::logs::LogRow;

use crate::form::{Batch, Chunk, Context, Cut, Format, Line, Reads, Sniff};

/// Commands whose names begin a line of a session that has no prompt, or one behind `#`.
const COMMANDS: [&str; 29] = [
    "kubectl",
    "k",
    "sudo",
    "cilium",
    "cilium-dbg",
    "hubble",
    "iptables",
    "ip6tables",
    "iptables-save",
    "ip6tables-save",
    "ipvsadm",
    "nft",
    "ipset",
    "curl",
    "bpftool",
    "bpftrace",
    "docker",
    "crictl",
    "nerdctl",
    "ssh",
    "watch",
    "cat",
    "oc",
    "journalctl",
    "uname",
    "chronyc",
    "vegeta",
    "hey",
    "wrk",
];

/// Beginnings of what kubectl says beside the output.
const NOTICES: [&str; 8] = [
    "Defaulted container ",
    "Defaulting container name to ",
    "Unable to use a TTY",
    "Warning: v1 Endpoints is deprecated",
    "Warning: Use tokens from the TokenRequest",
    "Found existing alias for ",
    "command terminated with exit code",
    "```",
];

/// Whether a line is a prompt with a command, a notice of kubectl, or the fence of a code block.
pub fn is_around(line: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(&line[..line.len().min(400)]) else { return false };
    let text = text.trim_end();
    if NOTICES.iter().any(|notice| text.starts_with(notice)) || matches!(text, "$" | "#" | ">") {
        return true;
    }
    if ["$ ", "% ", "❯ ", "➜ ", "> "].iter().any(|prompt| text.starts_with(prompt)) {
        return true;
    }
    let command = |rest: &str| {
        let mut words = rest.split_ascii_whitespace();
        words.next().is_some_and(|word| COMMANDS.contains(&word)) && words.next().is_some()
    };
    // `# kubectl …`, `1. cilium bpf lb list` of a report.
    let item =
        text.split_once(". ").filter(|(number, _)| number.len() < 3 && number.bytes().all(|one| one.is_ascii_digit()));
    let plain = item.map_or(text.strip_prefix('#').unwrap_or(text), |(_, rest)| rest);
    command(plain.trim_start()) || behind_user(text)
}

/// `root@node-a:~# …`, `[root@node-a ~]# …`, `node-a$ …` with a user.
fn behind_user(text: &str) -> bool {
    let end = text.char_indices().find(|(_, letter)| matches!(letter, '#' | '$'));
    let Some((end, _)) = end.filter(|(end, _)| *end < 100) else { return false };
    let (before, after) = (&text[..end], &text[end + 1..]);
    let closed = after.is_empty() || after.starts_with(' ');
    let bracketed = before.starts_with('[') && before.ends_with(']');
    let plain = !before.contains([' ', '"', '{', '=']);
    closed && before.contains('@') && (bracketed || plain)
}

/// Reads what stands [`ahead`] of a document; no file is recognised as this.
pub const AHEAD: Format = Format {
    kind: "terminal",
    title: "what a terminal shows ahead of a command's output",
    clock: ClockToken::None,
    cut: Cut::Lines,
    sniff: |_| Sniff::No,
    reads: Reads::Rows(|context: &Context, chunk: &Chunk, batch: &mut Batch| {
        chunk.lines().filter(|line| !line.bytes.trim_ascii().is_empty()).for_each(|line| keep(context, &line, batch));
    }),
    sample: "$ kubectl get endpointslices -o yaml\n",
    recognised: "prompts, notices of kubectl, curl's meter, headers of HTTP",
    capture: "nothing",
    proves: "nothing",
};

/// Length of what a terminal shows ahead of a document: prompts and notices, the progress of curl, the headers of an
/// answer. A document that nothing recognises as it is may be recognised behind it.
pub fn ahead(text: &[u8]) -> usize {
    let mut at = 0;
    let mut headers = false;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let plain = line.trim_ascii_end();
        headers = (headers || plain.starts_with(b"HTTP/")) && !plain.is_empty();
        let meter = plain.starts_with(b"  % Total") || plain.ends_with(b"Left  Speed");
        let meter = meter || memchr::memmem::find(plain, b"--:--:--").is_some() && plain.len() < 100;
        let is_ahead = plain.is_empty() || headers || meter || is_around(line);
        // A line that is not whole may be anything.
        if !is_ahead || !line.ends_with(b"\n") {
            break;
        }
        at += line.len();
    }
    at
}

/// Keeps such a line.
pub fn keep(context: &Context, line: &Line, batch: &mut Batch) {
    batch.record(None);
    let text = String::from_utf8_lossy(line.bytes);
    batch.push(&LogRow {
        source: context.source,
        record: line.number,
        clock: context.clock.as_str().into(),
        level: "info".into(),
        caller: Some("terminal".into()),
        message: text.trim_end().into(),
        ..Default::default()
    });
}

#[cfg(test)]
mod tests {
    use super::{ahead, is_around};

    #[test]
    fn what_stands_ahead_of_a_document_is_measured() {
        for (before, document) in [
            ("$ kubectl get endpointslices -o json\n", "{\n  \"apiVersion\": \"v1\""),
            (
                "root@a:/# curl localhost:10249/metrics | grep sync\n  % Total    % Received % Xferd  Average Speed   Time    Time     Time  Current\n                                 Dload  Upload   Total   Spent    Left  Speed\n100 26673    0 26673    0     0  8682k      0 --:--:-- --:--:-- --:--:-- 8682k\n",
                "# HELP up Whether.\n",
            ),
            ("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n", "# HELP a b\n"),
            ("", "apiVersion: v1\n"),
        ] {
            assert_eq!(ahead(format!("{before}{document}").as_bytes()), before.len(), "{document}");
        }
    }

    #[test]
    fn prompts_and_notices_are_told_from_output() {
        for line in [
            "$ kubectl get svc",
            "root@node-a:~# ipvsadm -Ln",
            "[root@node-a ~]# iptables -t nat -S",
            "root@node-a:/home/cilium# ",
            "# kubectl get pod -o wide",
            "k get svc",
            "1. cilium bpf lb list",
            "❯ kubectl get svc",
            "Defaulted container \"cilium-agent\" out of: cilium-agent, config (init)",
            "```bash",
        ] {
            assert!(is_around(line.as_bytes()), "{line}");
        }
        for line in [
            "# HELP up Whether it is up.",
            "# Generated by iptables-save v1.8.7",
            "-A KUBE-SVC-A -m comment --comment \"a@b # c\" -j RETURN",
            "up{user=\"a@b$ \"} 1",
            "NAME   READY   STATUS",
            "watch",
            "{\"a\":\"b@c# d\"}",
            "",
        ] {
            assert!(!is_around(line.as_bytes()), "{line}");
        }
    }
}
