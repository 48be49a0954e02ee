//! What a file is: the layers that lie around it, and the format that stands inside.

use syncline_schema::clock::ClockToken;
use syncline_schema::is_possible;

use super::capture_toml;
use super::dating::{inferred, undated};
use crate::form::stamp::{MARK, Stamp};
use crate::form::{Batch, Chunk, Context, Format, Head, Names, Sniff};
use crate::layers::LAYERS;
use crate::layers::layer::{Layer, Setting};
use crate::layers::strip::{SectionReader, Stripped};
use crate::parse::setting::transcript;
use crate::parse::{FORMATS, read};
use std::cell::RefCell;
use std::io::Read;
use std::rc::Rc;

/// Layers around each other at most.
const DEEPEST: usize = 5;

/// The format of a text without layers, and how sure it is.
pub fn format_of(path: &str, bytes: &[u8], whole: bool) -> Option<(&'static Format, Sniff)> {
    if bytes.is_empty() {
        return None;
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let head = Head { path, bytes, whole };
    let mut perhaps = None;
    for format in FORMATS.iter().copied().filter(|format| !is_apart(format)) {
        match (format.sniff)(&head) {
            Sniff::Yes => return Some((format, Sniff::Yes)),
            Sniff::Perhaps if perhaps.is_none() => perhaps = Some((format, Sniff::Perhaps)),
            _ => {}
        }
    }
    perhaps
}

/// A section of what stands within the layers, as far as a head shows it.
pub struct Section {
    pub names: Names,
    pub text: Vec<u8>,
    /// Whether it is whole.
    pub whole: bool,
}

/// Takes layers off a head.
pub fn inside(layers: &[&'static Layer], bytes: &[u8], whole: bool, setting: &Setting) -> Vec<Section> {
    // The last line of a head may be cut anywhere. A screen is drawn without line ends.
    let drawn = layers.first().is_some_and(|layer| (layer.open)(setting).by_bytes());
    let end = if whole || drawn { bytes.len() } else { memchr::memrchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1) };
    let mut stripped = Stripped::new(Box::new(&bytes[..end]), layers, setting);
    let mut found: Vec<Section> = Vec::new();
    while let Some(names) = stripped.next_section() {
        let shared = Rc::new(RefCell::new(stripped));
        let mut text = Vec::new();
        // Memory has no errors.
        let _ = SectionReader(Rc::clone(&shared)).read_to_end(&mut text);
        found.push(Section { names, text, whole: true });
        match Rc::into_inner(shared) {
            Some(cell) => stripped = cell.into_inner(),
            None => break,
        }
    }
    if let Some(last) = found.last_mut() {
        last.whole = whole;
    }
    found
}

/// The line that stands for a prompt and a command in what is left of a session.
pub fn typed(command: &str) -> String {
    format!("$ {}\n", command.replace('\n', " "))
}

/// Whether a format is asked only of what is left of a session when the sections that other formats read are gone.
pub fn is_apart(format: &Format) -> bool {
    format.kind == "transcript"
}

/// The layers that a head wears, outermost first.
pub fn layers_of(path: &str, bytes: &[u8], whole: bool, setting: &Setting) -> Vec<&'static Layer> {
    let mut worn = Vec::new();
    look(path, bytes, whole, setting, &mut worn);
    worn
}

/// What a file is.
#[derive(Default)]
pub struct What {
    /// Outermost first.
    pub layers: Vec<&'static Layer>,
    /// That most of it is read by.
    pub format: Option<&'static Format>,
    /// What had to be found out for it.
    pub facts: Vec<(String, String)>,
    /// Whether stamps stand among its lines.
    pub stamped: bool,
}

/// Finds out what a file is. Where its times lack a year or a zone, `dated` says what others span, and `setting` is completed.
pub fn recognise(
    path: &str,
    head: &[u8],
    whole: bool,
    setting: &mut Setting,
    stated: Option<&'static Format>,
    dated: &dyn Fn() -> Option<(i64, i64, String)>,
) -> What {
    let mut what = What { layers: layers_of(path, head, whole, setting), ..What::default() };
    if (setting.dating.year.is_none() || setting.dating.utc_offset.is_none())
        && let Some(time) = undated_within(&what.layers, head, whole, setting)
        && let Some((first, last, from)) = dated()
        && let Some((year, offset)) = inferred(&time, (first, last))
    {
        if setting.dating.year.is_none() && time.year.is_none() && time.day.is_some() {
            what.facts.push(("inferred/year".to_owned(), format!("{year} (told from {from}, which has dates)")));
        }
        if setting.dating.utc_offset.is_none() && time.offset.is_none() {
            let zone = format!("{offset} s from UTC (told from {from}, which has dates)");
            what.facts.push(("inferred/utc_offset".to_owned(), zone));
        }
        setting.dating.year = setting.dating.year.or(Some(year));
        setting.dating.utc_offset = setting.dating.utc_offset.or(Some(offset));
        setting.dating.span = Some((first, last));
    }
    if what.layers.is_empty() {
        what.format = stated.or_else(|| format_of(path, head, whole).map(|(format, _)| format));
        return what;
    }
    let sections = inside(&what.layers, head, whole, setting);
    what.stamped = sections.iter().any(|one| one.text.starts_with(MARK.as_bytes()));
    what.format = stated.or_else(|| main_format(path, &sections));
    if what.format.is_none()
        && let Some((format, _)) = format_of(path, head, whole)
    {
        // Nothing reads what stands inside: then it wears nothing.
        what.layers.clear();
        what.format = Some(format);
    }
    what
}

fn main_format(path: &str, sections: &[Section]) -> Option<&'static Format> {
    // What most of it is: a session may begin with a table and go on with a log.
    let mut found: Vec<(&'static Format, usize)> = Vec::new();
    for one in sections {
        if let Some((format, _)) = format_of(path, &one.text, one.whole) {
            match found.iter_mut().find(|(known, _)| known.kind == format.kind) {
                Some((_, bytes)) => *bytes += one.text.len(),
                None => found.push((format, one.text.len())),
            }
        }
    }
    let most = found.iter().rev().max_by_key(|(_, bytes)| *bytes).map(|(format, _)| *format);
    most.or_else(|| {
        let mut left = Vec::new();
        for one in sections {
            if let Some(command) = &one.names.command {
                left.extend_from_slice(typed(command).as_bytes());
            }
            left.extend_from_slice(&one.text);
        }
        let head = Head { path, bytes: &left, whole: sections.last().is_none_or(|last| last.whole) };
        ((transcript::FORMAT.sniff)(&head) == Sniff::Yes).then_some(&transcript::FORMAT)
    })
}

/// The first time in a file that lacks something.
fn undated_within(layers: &[&'static Layer], head: &[u8], whole: bool, setting: &Setting) -> Option<Stamp> {
    undated(head).or_else(|| inside(layers, head, whole, setting).iter().find_map(|one| undated(&one.text)))
}

/// First and last time that the head of a file brings itself; null where it brings none, or none that is whole.
pub fn span(context: &Context, head: &[u8], whole: bool, setting: &Setting) -> Option<(i64, i64)> {
    if capture_toml::is_one(&context.path) {
        return None;
    }
    let layers = layers_of(&context.path, head, whole, setting);
    if undated_within(&layers, head, whole, setting).is_some() {
        return None;
    }
    let sections = inside(&layers, head, whole, setting);
    let mut batch = Batch::default();
    let found = main_format(&context.path, &sections)?;
    if matches!(found.clock, ClockToken::None | ClockToken::NodeBoottime | ClockToken::NodeMonotonic) {
        return None;
    }
    for one in &sections {
        let format = format_of(&context.path, &one.text, one.whole).map_or(found, |(format, _)| format);
        let chunk = Chunk {
            bytes: &one.text,
            first_line: 1,
            offset: 0,
            first: true,
            last: true,
            truncated: !one.whole,
            around: None,
        };
        read(format, context, &chunk, &mut batch);
    }
    // Times are counted from it: one that no clock shows is no ground.
    batch.span.filter(|(first, last)| is_possible(*first) && is_possible(*last))
}

/// Whether a format was found behind the layers that were found.
fn look(path: &str, bytes: &[u8], whole: bool, setting: &Setting, worn: &mut Vec<&'static Layer>) -> bool {
    let plain = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let head = Head { path, bytes: plain, whole };
    let wears = |layer: &&&'static Layer| (layer.wears)(&head);
    let again = |layer: &&'static Layer| worn.last().is_some_and(|last| std::ptr::eq(*last, *layer));
    if worn.len() < DEEPEST {
        let certain = LAYERS.iter().filter(|layer| layer.certain && !again(layer)).find(wears);
        if let Some(layer) = certain {
            worn.push(layer);
            let text = joined(layer, plain, whole, setting);
            return look(path, &text, whole, setting, worn);
        }
    }
    let bare = format_of(path, plain, whole);
    if matches!(bare, Some((_, Sniff::Yes))) || worn.len() >= DEEPEST {
        return bare.is_some();
    }
    let uncertain: Vec<&'static Layer> =
        LAYERS.iter().copied().filter(|layer| !layer.certain && !again(layer)).collect();
    for layer in uncertain.into_iter().filter(|layer| (layer.wears)(&head)) {
        let depth = worn.len();
        worn.push(layer);
        let text = joined(layer, plain, whole, setting);
        if look(path, &text, whole, setting, worn) {
            return true;
        }
        worn.truncate(depth);
    }
    bare.is_some()
}

fn joined(layer: &'static Layer, bytes: &[u8], whole: bool, setting: &Setting) -> Vec<u8> {
    inside(&[layer], bytes, whole, setting).into_iter().flat_map(|section| section.text).collect()
}

#[cfg(test)]
mod tests {
    use super::{inside, recognise};
    use crate::layers::Setting;

    /// Kind, layers, and how many sections it has.
    fn told(path: &str, text: &str) -> (&'static str, Vec<&'static str>, usize) {
        let mut setting = Setting { limit: 1 << 20, ..Setting::default() };
        let what = recognise(path, text.as_bytes(), true, &mut setting, None, &|| None);
        let sections = inside(&what.layers, text.as_bytes(), true, &setting).len();
        (what.format.map_or("unread", |format| format.kind), what.layers.iter().map(|one| one.name).collect(), sections)
    }

    #[test]
    fn what_lies_around_is_no_part_of_what_is_read() {
        let lb = "SERVICE ADDRESS        BACKEND ADDRESS (REVNAT_ID) (SLOT)\n172.18.0.2:80    10.0.1.1:80 (33) (1)\n";
        let save = "-N KUBE-SERVICES\n-A KUBE-SERVICES -d 10.96.100.100/32 -p tcp -m comment --comment \"default/test cluster IP\" -m tcp --dport 80 -j KUBE-SVC-A\n";
        let uname = "Linux a 6.1.0-40-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.1.153-1 (2025-09-20) x86_64 GNU/Linux\n";
        let klog = "I1123 04:22:33.606679       1 proxier.go:662] \"SyncProxyRules complete\" elapsed=\"1ms\"\n";
        for (text, kind, layers) in [
            (
                format!(
                    "$ kubectl -n kube-system exec ds/cilium -- cilium bpf lb list\nDefaulted container \"cilium-agent\" out of: cilium-agent, config (init)\n{lb}"
                ),
                "cilium-lb-list",
                vec!["prompt"],
            ),
            (format!("[root@node-a ~]# iptables -t nat -S KUBE-SERVICES\n{save}"), "iptables-save", vec!["prompt"]),
            (format!("# uname -a\n\n```\n{uname}```\n"), "versions", vec!["prompt"]),
            (format!("2026-11-23T04:42:31.5Z stderr F {klog}"), "kube-proxy-log", vec!["cri"]),
            (format!("\u{1b}[32m{}\u{1b}[0m\n", klog.trim_end()), "kube-proxy-log", vec!["terminal"]),
            (format!("    {}", save.replace('\n', "\n    ").trim_end()), "iptables-save", vec!["margin"]),
            (format!("Thu Nov 26 09:48:10 UTC 2026\n{lb}"), "cilium-lb-list", vec!["dates"]),
            (klog.to_owned(), "kube-proxy-log", vec![]),
        ] {
            let (found, worn, _) = told("x", &text);
            assert_eq!((found, worn.clone()), (kind, layers), "{text}");
        }
    }

    #[test]
    fn what_a_session_holds_is_read_part_by_part() {
        let text = "$ kubectl get pods -A\nNAMESPACE     NAME      READY   STATUS    RESTARTS   AGE\nkube-system   kcm-a     1/1     Running   0          20h\n$ kubectl -n kube-system logs cilium-a\ntime=2026-02-03T04:05:00.000000000Z level=error msg=\"Endpoint  failed\" module=agent endpointID=0\n".to_owned();
        let text = &format!("{text}{}", text.lines().last().unwrap_or_default().repeat(2));
        assert_eq!(told("session.txt", text), ("cilium-log", vec!["prompt"], 2));
        let session = "$ date +%s; kubectl scale deploy/test --replicas=44; date +%s\n1795407750\ndeployment.apps/test scaled\n1795407751\n";
        assert_eq!(told("scale.txt", session), ("transcript", vec!["prompt", "dates"], 1));
    }
}
