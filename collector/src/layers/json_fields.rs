//! The fields of an entry of a log store, by the names that stores give them.
//!
//! `kubernetes.pod_name` finds `{"kubernetes":{"pod_name":"a"}}`, `{"kubernetes.pod_name":"a"}`, and
//! `{"kubernetes":"{\"pod_name\":\"a\"}"}`.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::json_scan::Context;
use crate::form::instant::{self, SECOND};
use crate::form::json_pairs::Pairs;
use crate::form::stamp::{self, Dating};

/// A value.
#[derive(Clone, Debug)]
pub enum Val<'a> {
    /// As JSON.
    Json(Cow<'a, str>),
    /// A text without quotes and escapes.
    Text(Cow<'a, str>),
}

impl<'a> Val<'a> {
    fn into_owned(self) -> Val<'static> {
        match self {
            Val::Json(json) => Val::Json(Cow::Owned(json.into_owned())),
            Val::Text(text) => Val::Text(Cow::Owned(text.into_owned())),
        }
    }

    /// A text or a number as text; nothing of an object, a list or null.
    pub fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Val::Text(text) => Some(text),
            Val::Json(json) => match json.as_bytes().first()? {
                b'"' => decoded(json),
                b'{' | b'[' | b'n' => None,
                _ => Some(json),
            },
        }
    }

    /// A text as it is, anything else as JSON in one line; nothing of null.
    pub fn message(self) -> Option<Cow<'a, str>> {
        match self {
            Val::Json(json) if json.starts_with(['{', '[']) => Some(match json.contains(['\n', '\r']) {
                true => Cow::Owned(json.replace(['\n', '\r'], " ")),
                false => json,
            }),
            other => other.text(),
        }
    }

    /// Whether it is an object.
    pub fn is_object(&self) -> bool {
        matches!(self, Val::Json(json) if json.starts_with('{'))
    }
}

/// A JSON text without its quotes and escapes.
fn decoded(json: Cow<'_, str>) -> Option<Cow<'_, str>> {
    if json.contains('\\') {
        return serde_json::from_str::<String>(&json).ok().map(Cow::Owned);
    }
    Some(match json {
        Cow::Borrowed(json) => Cow::Borrowed(json.strip_prefix('"')?.strip_suffix('"')?),
        Cow::Owned(json) => Cow::Owned(json.strip_prefix('"')?.strip_suffix('"')?.to_owned()),
    })
}

/// All fields of an entry.
#[derive(Clone, Debug, Default)]
pub struct Fields<'a>(pub Vec<(Cow<'a, str>, Val<'a>)>);

impl<'a> Fields<'a> {
    /// Of a JSON object.
    pub fn of_object(json: &'a [u8]) -> Option<Self> {
        let pairs: Pairs<'a, &'a RawValue> = serde_json::from_slice(json).ok()?;
        Some(Self(pairs.0.into_iter().map(|(key, value)| (key, Val::Json(Cow::Borrowed(value.get())))).collect()))
    }

    /// A field by its name, dots leading into objects; null is none.
    pub fn get(&self, path: &str) -> Option<Val<'a>> {
        let find = |name: &str| self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let not_null = |value: &Val<'a>| !matches!(value, Val::Json(json) if json == "null");
        if let Some(value) = find(path) {
            return Some(value).filter(not_null);
        }
        let (head, rest) = path.split_once('.')?;
        within(find(head)?, rest).filter(not_null)
    }

    /// The first of some fields that is a text or a number and not empty.
    pub fn text(&self, paths: &[&str]) -> Option<Cow<'a, str>> {
        paths.iter().find_map(|path| self.get(path)?.text().filter(|text| !text.is_empty()))
    }

    /// Whether there is a field.
    pub fn has(&self, path: &str) -> bool {
        self.get(path).is_some()
    }
}

fn within<'a>(value: Val<'a>, path: &str) -> Option<Val<'a>> {
    match value {
        Val::Json(Cow::Borrowed(json)) if json.starts_with('{') => Fields::of_object(json.as_bytes())?.get(path),
        Val::Json(json) if json.starts_with('{') => Fields::of_object(json.as_bytes())?.get(path).map(Val::into_owned),
        other => {
            let text = other.text().filter(|text| text.starts_with('{'))?;
            Fields::of_object(text.as_bytes())?.get(path).map(Val::into_owned)
        }
    }
}

/// Moment and resolution, ns, of a time as stores write it. One without a zone is UTC, as stores have it.
pub fn moment(text: &str, dating: &Dating) -> Option<(i64, i64)> {
    if let Some(time) = instant::rfc3339(text.as_bytes()) {
        return Some((time, resolution(text)));
    }
    let stamp = stamp::line(text.as_bytes())?;
    let dating = Dating { utc_offset: Some(0), ..*dating };
    stamp.time(&dating).map(|time| (time, stamp.resolution))
}

/// Resolution, ns, of an RFC 3339 time by the digits of its fraction.
pub fn resolution(text: &str) -> i64 {
    let Some(point) = text.find(['.', ',']) else { return SECOND };
    let digits = text[point + 1..].bytes().take_while(u8::is_ascii_digit).count();
    10_i64.pow(9 - digits.min(9) as u32)
}

/// Namespace, pod and container in the path of a log file as kubelet names it, or in what was made of it.
///
/// ```text
/// /var/log/containers/kube-proxy-a_kube-system_kube-proxy-0123….log
/// kube.var.log.containers.kube-proxy-a_kube-system_kube-proxy-0123….log
/// /var/log/pods/kube-system_kube-proxy-a_UID/kube-proxy/0.log
/// ```
pub fn of_log_path(path: &str) -> Option<(&str, &str, &str)> {
    if let Some((_, rest)) = path.split_once("log/pods/").or_else(|| path.split_once("log.pods.")) {
        let (folder, rest) = rest.split_once(['/', '.'])?;
        let (namespace, rest_of_folder) = folder.split_once('_')?;
        let (pod, _) = rest_of_folder.split_once('_')?;
        return Some((namespace, pod, rest.split(['/', '.']).next()?));
    }
    let (_, rest) = path.split_once("log/containers/").or_else(|| path.split_once("log.containers."))?;
    let (pod, rest) = rest.split_once('_')?;
    let (namespace, rest) = rest.split_once('_')?;
    let (container, _) = rest.rsplit_once('-')?;
    Some((namespace, pod, container))
}

/// The same in the name that the kubelet gives a container of docker: `k8s_kube-proxy_kube-proxy-a_kube-system_UID_0`.
pub fn of_docker_name(name: &str) -> Option<(&str, &str, &str)> {
    let mut parts = name.trim_start_matches('/').strip_prefix("k8s_")?.split('_');
    let (container, pod, namespace) = (parts.next()?, parts.next()?, parts.next()?);
    Some((namespace, pod, container))
}

/// `TimeGenerated [UTC]` is `TimeGenerated`.
pub fn plain(name: &str) -> String {
    let name = name.trim().trim_start_matches('\u{feff}');
    name.split(" [").next().unwrap_or(name).to_owned()
}

/// Fields of an entry that is a list.
///
/// ```text
/// [{"field":"@message","value":"…"}, …]         Logs Insights
/// ["1770091506100200000", "…"]                  Loki
/// ["2026-…", "…"]                               a row whose columns stand ahead of it (Azure, Splunk, OpenSearch)
/// ```
pub fn of_list<'a>(items: &[&'a RawValue], context: &Context) -> Fields<'a> {
    let json = |item: &&'a RawValue| Val::Json(Cow::Borrowed(item.get()));
    if items.first().is_some_and(|item| item.get().starts_with('{')) {
        let pair = |item: &&'a RawValue| {
            let cell = Fields::of_object(item.get().as_bytes())?;
            Some((cell.get("field")?.text()?, cell.get("value")?))
        };
        return Fields(items.iter().filter_map(pair).collect());
    }
    let columns = context.get("columns").or_else(|| context.get("fields"));
    if let Some(columns) = columns.and_then(|columns| serde_json::from_slice::<Vec<serde_json::Value>>(columns).ok()) {
        let name = |column: &serde_json::Value| {
            column.as_str().or_else(|| column["name"].as_str()).map(|name| Cow::Owned(plain(name)))
        };
        return Fields(columns.iter().zip(items).filter_map(|(one, item)| Some((name(one)?, json(item)))).collect());
    }
    let is_epoch = |item: &&&RawValue| {
        let digits = item.get().trim_matches('"');
        item.get().starts_with('"') && digits.len() >= 10 && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    match (items.first().filter(is_epoch), items.get(1)) {
        (Some(time), Some(line)) => {
            Fields(vec![(Cow::Borrowed("timestamp"), json(time)), (Cow::Borrowed("line"), json(line))])
        }
        _ => Fields::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Fields, moment, of_docker_name, of_log_path};
    use crate::form::stamp::Dating;

    #[test]
    fn fields_are_found_however_they_are_nested() {
        for json in
            [r#"{"a":{"b.c":"x"}}"#, r#"{"a.b.c":"x"}"#, r#"{"a":{"b":{"c":"x"}}}"#, r#"{"a":"{\"b\":{\"c\":\"x\"}}"}"#]
        {
            let fields = Fields::of_object(json.as_bytes()).expect("an object");
            assert_eq!(fields.text(&["z", "a.b.c"]).as_deref(), Some("x"), "{json}");
        }
        assert!(Fields::of_object(b"[1]").is_none());
        let fields = Fields::of_object(b"{\"a\":null,\"b\":7}").expect("an object");
        assert!(!fields.has("a") && fields.text(&["b"]).as_deref() == Some("7"));
    }

    #[test]
    fn times_of_stores_are_read() {
        let at = 1_770_091_506_100_000_000;
        for (text, resolution) in [
            ("2026-02-03T04:05:06.100Z", 1_000_000),
            ("2026-02-03T05:05:06.100000000+01:00", 1),
            ("2026-02-03 04:05:06.100", 1_000_000),
            ("1770091506100", 1_000_000),
            ("1770091506.100", 1_000_000),
            ("1770091506100000000", 1),
        ] {
            assert_eq!(moment(text, &Dating::default()), Some((at, resolution)), "{text}");
        }
    }

    #[test]
    fn names_in_paths_are_found() {
        let expected = Some(("kube-system", "kube-proxy-a", "kube-proxy"));
        let hash = "0123456789abcdef";
        assert_eq!(
            of_log_path(&format!("/var/log/containers/kube-proxy-a_kube-system_kube-proxy-{hash}.log")),
            expected
        );
        assert_eq!(
            of_log_path(&format!("ip-1.var.log.containers.kube-proxy-a_kube-system_kube-proxy-{hash}.log")),
            expected
        );
        assert_eq!(of_log_path("/var/log/pods/kube-system_kube-proxy-a_1-2/kube-proxy/0.log"), expected);
        assert_eq!(of_docker_name("k8s_kube-proxy_kube-proxy-a_kube-system_1-2_0"), expected);
        assert_eq!(of_log_path("/var/log/messages"), None);
    }
}
