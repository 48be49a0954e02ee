//! Prompts with the commands typed behind them, in sessions that were pasted, logged or recorded.
//!
//! ```text
//! $ kubectl -n kube-system exec ds/cilium -- cilium-dbg bpf lb list
//! root@node-a:~# ipvsadm -Ln
//! (prod)# date
//! ➜  ~ k get svc
//! C:\Users\me>kubectl get svc
//! me@host MINGW64 ~ (main)               a prompt of two lines
//! $ kubectl get svc
//! + kubectl get svc                      a script that says what it runs (`bash -x`)
//! ```
//!
//! Each command begins a section: what it printed is read by its own format. A prompt is told by its mark and by what is typed behind
//! it; one that was told once is known by its text from then on, whatever is typed.

use super::layer::{Dressed, Layer, Out, Peel, Setting};
use super::preface::is_notice;
use crate::form::{Head, stamp};

/// The layer.
pub const LAYER: Layer = Layer {
    name: "prompt",
    title: "prompts with the commands typed, and code fences",
    sample: "root@node-a:~# ipvsadm -Ln\nIP Virtual Server version 1.2.1 (size=4096)\n",
    certain: true,
    wears,
    open: |_: &Setting| Box::new(Session::default()),
    put_on: Some(|text| [b"root@node-a:~# cat capture\n".as_slice(), text].concat()),
};

/// Commands that are typed.
const COMMANDS: [&str; 78] = [
    "kubectl",
    "k",
    "sudo",
    "cilium",
    "cilium-dbg",
    "cilium-agent",
    "hubble",
    "iptables",
    "ip6tables",
    "iptables-save",
    "ip6tables-save",
    "iptables-legacy",
    "iptables-nft",
    "iptables-legacy-save",
    "iptables-nft-save",
    "ipvsadm",
    "nft",
    "ipset",
    "curl",
    "wget",
    "bpftool",
    "bpftrace",
    "docker",
    "podman",
    "crictl",
    "ctr",
    "nerdctl",
    "ssh",
    "watch",
    "cat",
    "oc",
    "journalctl",
    "uname",
    "chronyc",
    "timedatectl",
    "vegeta",
    "hey",
    "wrk",
    "k6",
    "ab",
    "fortio",
    "date",
    "time",
    "for",
    "while",
    "until",
    "seq",
    "sleep",
    "ls",
    "cd",
    "export",
    "echo",
    "grep",
    "zgrep",
    "tail",
    "head",
    "less",
    "ip",
    "ss",
    "conntrack",
    "tcpdump",
    "ping",
    "helm",
    "minikube",
    "kind",
    "aws",
    "gcloud",
    "az",
    "eksctl",
    "promtool",
    "jq",
    "script",
    "stern",
    "perf",
    "nsenter",
    "logcli",
    "diff",
    "clear",
];

/// Those whose name alone, without a prompt, begins a line that was typed: no output begins with them.
const BARE: [&str; 16] = [
    "kubectl",
    "k",
    "iptables",
    "ip6tables",
    "iptables-save",
    "ip6tables-save",
    "ipvsadm",
    "nft",
    "ipset",
    "bpftool",
    "cilium",
    "cilium-dbg",
    "hubble",
    "crictl",
    "journalctl",
    "chronyc",
];

/// Marks at the end of a prompt.
const MARKS: [char; 8] = ['$', '#', '%', '>', '❯', '➜', '»', 'λ'];

/// What a frame draws ahead of the lower line of a prompt.
const CORNER: [char; 4] = ['└', '╰', '─', ' '];

/// A prompt: its text with its mark, and the command behind it.
fn prompt(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_end();
    for (at, mark) in text.char_indices().take_while(|(at, _)| *at < 100).filter(|(_, letter)| MARKS.contains(letter)) {
        let behind = &text[at + mark.len_utf8()..];
        let before = &text[..at];
        // `cmd.exe` leaves no blank.
        let apart = behind.is_empty() || behind.starts_with([' ', '\u{a0}', '\t']) || is_drive(before);
        if !apart || !is_prompt_like(before, mark) {
            continue;
        }
        let command = behind.trim_start_matches([' ', '\u{a0}', '\t']);
        // `➜  ~ k get svc`: the folder stands behind the mark.
        let command = if mark == '➜' {
            command.split_once(' ').filter(|(word, _)| !is_command(word)).map_or(command, |(_, rest)| rest.trim_start())
        } else {
            command
        };
        let sure = before.contains('@') || mark == '➜' || (before.is_empty() && matches!(mark, '$' | '❯' | '»' | 'λ'));
        let typed = is_typed(command, before.is_empty() && mark == '#') || is_drive(before) && is_typed(command, true);
        if typed || (sure && !command.starts_with(['$', '"', '{']) && (!before.is_empty() || !command.is_empty())) {
            return Some((&text[..at + mark.len_utf8()], command));
        }
    }
    None
}

/// Whether a text is a folder as Windows has it.
fn is_drive(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(|letter| letter.is_ascii_uppercase()) && letters.as_str().starts_with(":\\")
}

/// The upper line of a prompt of two lines: git's bash on Windows, frames.
fn is_upper(text: &str) -> bool {
    let mut words = text.split(' ');
    let user = words.next().is_some_and(|word| word.contains('@'));
    let shell = ["MINGW64", "MINGW32", "MSYS", "UCRT64", "CLANG64"];
    text.starts_with(['┌', '╭']) || user && words.next().is_some_and(|word| shell.contains(&word))
}

/// Whether what stands ahead of a mark may be the rest of a prompt.
fn is_prompt_like(before: &str, mark: char) -> bool {
    // `(⎈|cluster:namespace) me@host:~$`, and the lower left corner of a frame.
    let before = before.strip_prefix("(⎈|").and_then(|rest| rest.split_once(')')).map_or(before, |(_, rest)| rest);
    let plain = before.trim_start_matches(CORNER).trim_end();
    if is_drive(plain) {
        return mark == '>';
    }
    if plain.is_empty() {
        return mark != '>' && mark != '%';
    }
    let closed = plain.ends_with([']', ')', '~', ':', '/', '\\']) || plain.contains(['@', ':', '~', '/']);
    let word = !plain.contains(' ') && plain.chars().all(|letter| letter.is_alphanumeric() || "-._".contains(letter));
    let odd = plain.contains(['"', '{', '}', '=', '|', ';', '<', '*']) || plain.contains("  ");
    // A comment, a rule or a log line has other words ahead of such a mark.
    let words = plain.split(' ').count();
    !odd && (closed || word) && words <= 4 && (mark != '>' || plain.starts_with("PS ") || plain.contains('@'))
}

/// Whether a text begins with a command that is typed. `doubtful`: where it may be a comment it must have a word more.
fn is_typed(text: &str, doubtful: bool) -> bool {
    let mut words = text.split_ascii_whitespace().skip_while(|word| {
        // `KUBECONFIG=x kubectl …`
        word.split_once('=')
            .is_some_and(|(name, _)| name.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_'))
    });
    let Some(first) = words.next() else { return false };
    let name = first.trim_start_matches('(').rsplit('/').next().unwrap_or(first).trim_end_matches(';');
    is_command(name) && (!doubtful || words.next().is_some())
}

fn is_command(name: &str) -> bool {
    COMMANDS.contains(&name)
}

/// A command without a prompt, behind the mark of a shell that says what it runs (`+ kubectl …`), or an item of a list that is one
/// (`1. cilium bpf lb list`).
fn bare_command(text: &str) -> Option<&str> {
    if let Some(traced) = text.strip_prefix('+').map(|rest| rest.trim_start_matches('+'))
        && let Some(command) = traced.strip_prefix(' ').filter(|command| is_typed(command, true))
    {
        return Some(command.trim_end());
    }
    let item =
        text.split_once(". ").filter(|(number, _)| number.len() < 3 && number.bytes().all(|one| one.is_ascii_digit()));
    let plain = item.map_or(text, |(_, rest)| rest);
    let mut words = plain.split_ascii_whitespace();
    let name = words.next()?;
    let second = words.next()?;
    // `iptables: No chain/target/match by that name.` is an answer.
    let option = second.starts_with('-') || second.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    ((BARE.contains(&name) || item.is_some() && is_command(name)) && option).then_some(plain.trim_end())
}

/// Whether most of a text is prose with code blocks in it: notes about captures, whose excerpts are none.
fn is_prose(head: &Head) -> bool {
    let (mut fenced, mut inside, mut outside) = (false, 0, 0);
    for line in stamp::tried_lines(head.bytes, head.whole).filter(|line| !line.trim_ascii().is_empty()) {
        if line.starts_with(b"```") {
            fenced = !fenced;
        } else if fenced {
            inside += 1;
        } else {
            outside += 1;
        }
    }
    inside > 0 && outside > inside
}

fn wears(head: &Head) -> bool {
    !is_prose(head)
        && stamp::tried_lines(head.bytes, head.whole).any(|line| {
            let Ok(text) = std::str::from_utf8(&line[..line.len().min(2_000)]) else { return false };
            text.trim_end() == "```"
                || text.starts_with("```") && text.len() < 20
                || prompt(text).is_some()
                || bare_command(text).is_some()
        })
}

#[derive(Default)]
struct Session {
    /// Prompts that were told so far.
    known: Vec<String>,
    /// A command whose quotation goes on in the next line.
    open: Option<String>,
    /// Whether the line ahead was the upper one of a prompt.
    above: bool,
}

/// A command whose quotation is not closed within so many bytes is none: each of its lines is said with all ahead of it.
const LONGEST_OPEN: usize = 8 << 10;
/// Prompts that are remembered at most.
const MOST_KNOWN: usize = 64;

impl Session {
    fn typed<'t>(&mut self, text: &'t str) -> Option<&'t str> {
        if std::mem::take(&mut self.above)
            && let Some(command) = text.trim_start_matches(CORNER).strip_prefix(MARKS)
        {
            return Some(command.trim());
        }
        if let Some((found, command)) = prompt(text) {
            if !self.known.iter().any(|known| known == found) && self.known.len() < MOST_KNOWN && found.len() > 1 {
                self.known.push(found.to_owned());
            }
            return Some(command);
        }
        let behind = self.known.iter().find_map(|known| text.strip_prefix(known.as_str()))?;
        (behind.is_empty() || behind.starts_with(' ')).then(|| behind.trim())
    }

    fn begin(command: &str, line: &[u8], out: &mut Out) {
        // `root@node-a:~# …`, `[me@host-1 ~]$ …`
        let text = String::from_utf8_lossy(line);
        let host = text
            .split_once('@')
            .filter(|(user, _)| user.len() < 40 && !user.contains(' '))
            .map(|(_, rest)| rest.split([':', ' ', ']', '#', '$']).next().unwrap_or_default().to_owned());
        out.name(|names| {
            names.command = (!command.is_empty()).then(|| command.into());
            names.host = host.filter(|host| !host.is_empty()).map(Into::into).or(names.host.take());
        });
        out.around(line);
        out.section();
    }
}

/// Whether a command has a quotation that is not closed.
fn is_open(command: &str) -> bool {
    ['\'', '"'].iter().any(|quote| command.matches(*quote).count() % 2 == 1) || command.ends_with('\\')
}

impl Peel for Session {
    fn line(&mut self, line: &Dressed<'_>, out: &mut Out) {
        let bytes = line.bytes.strip_suffix(b"\r").unwrap_or(line.bytes);
        let Ok(text) = std::str::from_utf8(bytes) else { return out.bare(line.bytes, line.ended) };
        if let Some(open) = &mut self.open
            && let Some(rest) =
                text.strip_prefix("> ").or_else(|| text.strip_prefix('>').filter(|rest| rest.is_empty()))
        {
            open.push(' ');
            open.push_str(rest.trim());
            let command = open.clone();
            if !is_open(&command) || command.len() > LONGEST_OPEN {
                self.open = None;
            }
            return Self::begin(&command, bytes, out);
        }
        self.open = None;
        if text.starts_with("```") && text.len() < 20 {
            return Self::begin("", bytes, out);
        }
        // Most lines of output have no mark at all.
        let candidate = text.len() < 2_000
            && (text.contains(MARKS)
                || text.as_bytes().first().is_some_and(|first| first.is_ascii_alphanumeric() || *first == b'+'));
        if candidate {
            let typed = self.typed(text).or_else(|| bare_command(text)).map(str::to_owned);
            if let Some(command) = typed {
                if is_open(&command) {
                    self.open = Some(command.clone());
                }
                return Self::begin(&command, bytes, out);
            }
        }
        let left = matches!(text.trim(), "^C" | "^D" | "exit" | "logout") && !self.known.is_empty();
        self.above = is_upper(text);
        if left || is_notice(bytes) || self.above {
            return out.around(bytes);
        }
        out.bare(line.bytes, line.ended);
    }
}

#[cfg(test)]
mod tests {
    use super::{LAYER, bare_command, prompt};
    use crate::layers::harness::{sections, wears};

    #[test]
    fn a_quotation_that_is_never_closed_ends() {
        let text = format!("$ kubectl get pods 'x\n{}", "> aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n".repeat(20_000));
        let found = sections(&[&LAYER], text.as_bytes());
        let longest = found.iter().filter_map(|one| one.names.command.as_ref()).map(|command| command.len()).max();
        assert!(longest.is_some_and(|longest| longest <= super::LONGEST_OPEN + 40), "{longest:?}");
    }

    #[test]
    fn prompts_are_told_from_output() {
        for (line, expected) in [
            ("$ kubectl get svc", "kubectl get svc"),
            ("root@node-a:~# ipvsadm -Ln", "ipvsadm -Ln"),
            ("[root@node-a ~]# iptables -t nat -S", "iptables -t nat -S"),
            ("[ec2-user@bastion ~]$ date +%s; kubectl scale deploy/test", "date +%s; kubectl scale deploy/test"),
            ("root@node-a:/home/cilium# ", ""),
            ("root@node-a:/home/cilium# ./odd-tool --x", "./odd-tool --x"),
            ("# kubectl get pod -o wide", "kubectl get pod -o wide"),
            ("❯ kubectl get svc", "kubectl get svc"),
            ("➜  ~ k get svc", "k get svc"),
            ("(prod)# date", "date"),
            ("(prod)» kubectl get endpoints cart -w", "kubectl get endpoints cart -w"),
            ("bash-5.1# cilium bpf lb list", "cilium bpf lb list"),
            ("/ # ipvsadm -Ln", "ipvsadm -Ln"),
            ("user@host:~/dir (main) $ KUBECONFIG=x kubectl get pods", "KUBECONFIG=x kubectl get pods"),
            ("PS C:\\Users\\me> kubectl get pods", "kubectl get pods"),
            ("node-a:~ # nft list ruleset", "nft list ruleset"),
            ("C:\\Users\\me>kubectl get pods", "kubectl get pods"),
            ("(⎈|prod:default) ~ ❯ kubectl get svc", "kubectl get svc"),
            ("(⎈|prod:default) me@host:~$ kubectl get svc", "kubectl get svc"),
            ("└─$ kubectl get svc", "kubectl get svc"),
            ("╰─➜ kubectl get svc", "kubectl get svc"),
            ("% kubectl get svc", ""),
        ] {
            let found = prompt(line).map(|(_, command)| command);
            if line.starts_with('%') {
                assert_eq!(found, None, "a bare % is no prompt: {line}");
            } else {
                assert_eq!(found, Some(expected), "{line}");
            }
        }
        for line in [
            "# HELP up Whether it is up.",
            "# Generated by iptables-save v1.8.7",
            "# TIMESTAMP 1795686490",
            "-A KUBE-SVC-A -m comment --comment \"a@b # c\" -j RETURN",
            "up{user=\"a@b$ \"} 1",
            "NAME   READY   STATUS",
            "watch",
            "{\"a\":\"b@c# d\"}",
            "",
            "a > b",
            "C:\\x>y",
            "+ a line that a diff has",
            "+\tdate",
            "100% done",
            "  -> 10.0.0.1:80    Masq  1",
            "iptables: No chain/target/match by that name.",
            "time=\"2026-11-26T09:41:21Z\" level=info msg=\"x # kubectl get\"",
        ] {
            assert!(prompt(line).is_none() && bare_command(line).is_none(), "{line}");
        }
        assert_eq!(bare_command("1. cilium bpf lb list"), Some("cilium bpf lb list"));
        assert_eq!(bare_command("k get svc"), Some("k get svc"));
        assert_eq!(bare_command("++ date +%s"), Some("date +%s"));
    }

    #[test]
    fn notes_about_a_capture_are_no_capture() {
        let notes = "# A run\n\nIt was recorded by hand.\nThe markers:\n\n```\nepoch_s\tlabel\n1795407718.6\tend\n```\n\n## Files\n";
        assert!(!wears(&LAYER, notes));
        assert!(wears(&LAYER, "Output:\n```\nepoch_s\tlabel\n1795407718.6\tend\n```\n"));
    }

    #[test]
    fn the_upper_line_of_a_prompt_is_no_output() {
        for (upper, lower) in [("me@host MINGW64 ~ (main)", "$ "), ("┌──(me㉿kali)-[~]", "└─$ ")] {
            let text = format!("{upper}\n{lower}date\nThu Nov 26\n{upper}\n{lower}\n");
            let found = sections(&[&LAYER], text.as_bytes());
            let text: Vec<_> = found.iter().map(|one| String::from_utf8_lossy(&one.text).into_owned()).collect();
            assert_eq!(text.concat(), "Thu Nov 26\n", "{upper}");
        }
    }

    #[test]
    fn each_command_is_a_section() {
        let text = "(prod)# date\nThu Nov 26\n(prod)# odd\nx\n(prod)» kubectl get endpoints cart -w\nNAME   ENDPOINTS\n^C\n(prod)» date\n";
        assert!(wears(&LAYER, text));
        let found: Vec<(Option<String>, String)> = sections(&[&LAYER], text.as_bytes())
            .into_iter()
            .map(|one| (one.names.command.map(Into::into), String::from_utf8_lossy(&one.text).into_owned()))
            .collect();
        let expected = [
            ("date", "Thu Nov 26\n"),
            ("odd", "x\n"),
            ("kubectl get endpoints cart -w", "NAME   ENDPOINTS\n"),
            ("date", ""),
        ];
        assert_eq!(found, expected.map(|(command, text)| (Some(command.to_owned()), text.to_owned())));
    }
}
