//! `stern`, `kail` and `kubetail`: pod and container ahead of each line; and `stern -o json`.
//!
//! ```text
//! kube-proxy-a kube-proxy 2026-02-03T05:05:06.100200000+01:00 I0203 04:05:06.100000 …    stern -t: `times` takes it off
//! kube-system kube-proxy-a kube-proxy I0203 …                                             stern --all-namespaces
//! + kube-proxy-a › kube-proxy                                                             stern's own line
//! kube-system/kube-proxy-a[kube-proxy]: I0203 …                                           kail
//! [kube-proxy-a kube-proxy] I0203 …                                                       kubetail
//! {"message":"I0203 …","nodeName":"node-a","namespace":"kube-system","podName":"kube-proxy-a","containerName":"kube-proxy"}
//! ```

use super::json_store::{Shape, objects};
use super::layer::Layer;
use super::prefix::{self, Read, Taken, is_name, word};
use crate::form::Head;
use crate::form::stamp::Dating;

/// Its lines.
pub const LAYER: Layer = Layer {
    name: "stern",
    title: "stern, kail, kubetail",
    sample: "kube-proxy-a kube-proxy I0203 04:05:06.100000       1 proxier.go:1] x\n",
    certain: false,
    wears,
    open: |setting| prefix::open(setting, taken),
    put_on: Some(|text| prefix::put_on(text, "kube-proxy-a kube-proxy ")),
};

/// Its JSON.
pub const JSON: Layer = Layer {
    name: "stern",
    title: "stern -o json",
    sample: "{\"message\":\"I0203 04:05:06.100000       1 proxier.go:1] x\",\"namespace\":\"kube-system\",\"podName\":\"kube-proxy-a\",\"containerName\":\"kube-proxy\"}\n",
    certain: true,
    wears: |head| SHAPE.worn(head),
    open: |setting| SHAPE.open(setting),
    put_on: Some(|text| {
        objects(
            text,
            |line| serde_json::json!({"message": line, "podName": "kube-proxy-a", "containerName": "kube-proxy"}),
        )
    }),
};

static SHAPE: Shape = Shape {
    message: &["message"],
    marks: &[&["message", "podName", "containerName"]],
    time: &["timestamp"],
    pod: &["podName"],
    namespace: &["namespace"],
    container: &["containerName"],
    node: &["nodeName"],
    ..Shape::EMPTY
};

/// Names alone mark little: they must come again, or be those of a pod by their look.
fn wears(head: &Head) -> bool {
    prefix::worn(head, taken)
}

fn taken<'a>(line: &'a [u8], _: &Dating) -> Read<'a> {
    if let Some(rest) = line.strip_prefix(b"+ ").or_else(|| line.strip_prefix(b"- "))
        && memchr::memmem::find(rest, " › ".as_bytes()).is_some()
    {
        return Read::Own;
    }
    kail(line).or_else(|| kubetail(line)).or_else(|| stern(line)).map_or(Read::Other, Read::Inside)
}

fn inside<'a>(namespace: Option<&'a str>, pod: &'a str, container: &'a str, text: &'a [u8]) -> Taken<'a> {
    Taken { namespace, pod: Some(pod), container: Some(container), text, ..Taken::default() }
}

fn stern(line: &[u8]) -> Option<Taken<'_>> {
    let (first, rest) = word(line)?;
    let (second, behind) = word(rest)?;
    if !is_name(first) || !is_name(second) {
        return None;
    }
    // With all namespaces there are three names.
    if let Some((third, text)) = word(behind)
        && second.contains('-')
        && is_name(third)
        && third.bytes().any(|byte| byte.is_ascii_lowercase())
        && begins_line(text)
    {
        return Some(inside(Some(first), second, third, text));
    }
    (first.contains('-') || begins_line(behind)).then(|| inside(None, first, second, behind))
}

/// Whether a text looks like the beginning of a log line: a time, klog's head, JSON, logfmt.
fn begins_line(text: &[u8]) -> bool {
    let klog = text.len() > 5 && b"IWEF".contains(&text[0]) && text[1..5].iter().all(u8::is_ascii_digit);
    let begins = [&b"{\""[..], b"time=", b"level=", b"msg=", b"ts="].iter().any(|mark| text.starts_with(mark));
    klog || begins || prefix::rfc3339(text).is_some()
}

fn kail(line: &[u8]) -> Option<Taken<'_>> {
    let (head, text) = word(line)?;
    let (object, container) = head.strip_suffix("]:")?.split_once('[')?;
    let (namespace, pod) = object.split_once('/')?;
    (is_name(namespace) && is_name(pod) && is_name(container)).then(|| inside(Some(namespace), pod, container, text))
}

fn kubetail(line: &[u8]) -> Option<Taken<'_>> {
    let end = memchr::memchr(b']', &line[..line.len().min(300)])?;
    let names = std::str::from_utf8(line.get(1..end)?).ok().filter(|_| line[0] == b'[')?;
    let text = line.get(end + 1..)?.strip_prefix(b" ")?;
    let (pod, container) = names.split_once(' ').unwrap_or((names, ""));
    let named = is_name(pod) && pod.contains('-') && (container.is_empty() || is_name(container));
    let container = Some(container).filter(|name| !name.is_empty());
    named.then_some(Taken { pod: Some(pod), container, text, ..Taken::default() })
}

#[cfg(test)]
mod tests {
    use super::{JSON, LAYER};
    use crate::layers::harness::{lines, sections, wears};

    #[test]
    fn every_tool_names_pod_and_container() {
        for (line, pod) in [
            ("kube-proxy-a kube-proxy I0203 x", "kube-proxy-a"),
            ("kube-system kube-proxy-a kube-proxy I0203 x", "kube-system/kube-proxy-a"),
            ("kube-system/kube-proxy-a[kube-proxy]: I0203 x", "kube-system/kube-proxy-a"),
            ("[kube-proxy-a kube-proxy] I0203 x", "kube-proxy-a"),
        ] {
            let text = format!("+ kube-proxy-a › kube-proxy\n{line}\n");
            assert!(wears(&LAYER, &text), "{line}");
            assert_eq!(lines(&LAYER, &text), [(2, None, "I0203 x".to_owned())], "{line}");
            let around = &sections(&[&LAYER], text.as_bytes())[0].around;
            assert_eq!((around.known(1).pod, around.known(1).container), (Some(pod), Some("kube-proxy")), "{line}");
        }
        let text = "{\"message\":\"I0203 x\",\"podName\":\"a-1\",\"containerName\":\"c\"}\n";
        assert!(wears(&JSON, text));
        assert_eq!(lines(&JSON, text), [(1, None, "I0203 x".to_owned())]);
    }

    #[test]
    fn prose_and_tables_are_none() {
        for text in [
            "the quick brown fox jumps\n",
            "NAME       READY   STATUS\ncart-1 1/1 Running\n",
            "I0203 04:05:06.100000       1 proxier.go:1] x\n",
            "deployment.apps/test scaled\n",
        ] {
            assert!(!wears(&LAYER, text), "{text}");
        }
    }
}
