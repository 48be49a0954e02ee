//! What must never reach a capture: tokens, bodies of Secrets, environments. Taken out ahead of writing, by content.
//!
//! ```text
//! Authorization: Bearer eyJhbGciOi…   → Authorization: Bearer [removed]
//! {"kind":"Secret","data":{"a":"…"}}  → {"kind":"Secret"}
//! {"kind":"Pod",…"env":[…]}           → {"kind":"Pod",…}
//! ```
//!
//! Two forms: [`of_object`] knows the structure of Kubernetes' objects and audit events, [`of_line`] looks for what any text
//! may hold. A cluster that puts secrets into names, labels or messages of its own cannot be helped.

use std::borrow::Cow;

use serde_json::Value;

/// What stands where a secret stood.
pub const REMOVED: &str = "[removed]";

/// Resources whose bodies are secrets, as an audit event names them.
const SECRET_RESOURCES: [&str; 3] = ["secrets", "tokenreviews", "certificatesigningrequests"];
/// Kinds of the same.
const SECRET_KINDS: [&str; 5] = ["Secret", "SecretList", "TokenRequest", "TokenReview", "CertificateSigningRequest"];
/// Keys that hold a secret, or copies of whole objects with their environment.
const KEYS: [&str; 9] = [
    "env",
    "envFrom",
    "managedFields",
    "kubectl.kubernetes.io/last-applied-configuration",
    "token",
    "bearerToken",
    "password",
    "stringData",
    "clientSecret",
];

/// Takes secrets out of an object of Kubernetes, a list, a watch event or an audit event.
pub fn of_object(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(of_object),
        Value::Object(fields) => {
            let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
            let kind = text("kind").to_owned();
            let bodies = SECRET_KINDS.contains(&kind.as_str());
            let referred = fields.get("objectRef").is_some_and(|reference| {
                let text = |name: &str| reference[name].as_str().unwrap_or_default();
                SECRET_RESOURCES.contains(&text("resource")) || text("subresource") == "token"
            });
            if bodies {
                // Of a list, too: what is left says that there were some.
                for name in ["data", "stringData", "items", "status", "spec"] {
                    fields.remove(name);
                }
            }
            if kind == "ConfigMap" {
                // Anybody keeps anything there.
                fields.remove("data");
                fields.remove("binaryData");
            }
            if referred {
                fields.remove("requestObject");
                fields.remove("responseObject");
            }
            fields.retain(|name, value| {
                let secret = KEYS.contains(&name.as_str()) && !matches!(value, Value::Bool(_) | Value::Number(_));
                !secret
            });
            fields.iter_mut().for_each(|(name, value)| {
                if matches!(name.to_ascii_lowercase().as_str(), "authorization" | "cookie" | "set-cookie") {
                    *value = REMOVED.into();
                }
                of_object(value);
            });
        }
        Value::String(text) => {
            if let Cow::Owned(clean) = of_line(text.as_bytes()) {
                *text = String::from_utf8_lossy(&clean).into_owned();
            }
        }
        _ => {}
    }
}

/// Takes bearer tokens, JSON Web Tokens and private keys out of a text; borrowed where there are none.
pub fn of_line(text: &[u8]) -> Cow<'_, [u8]> {
    let mut clean: Option<Vec<u8>> = None;
    let mut done = 0;
    let mut at = 0;
    while let Some((start, end)) = next_secret(text, at) {
        let kept = clean.get_or_insert_with(|| Vec::with_capacity(text.len()));
        kept.extend_from_slice(&text[done..start]);
        kept.extend_from_slice(REMOVED.as_bytes());
        (done, at) = (end, end);
    }
    match clean {
        Some(mut clean) => {
            clean.extend_from_slice(&text[done..]);
            Cow::Owned(clean)
        }
        None => Cow::Borrowed(text),
    }
}

/// Where the next secret from `at` on begins and ends.
fn next_secret(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~+/=".contains(byte);
    let run = |from: usize| text[from..].iter().take_while(|byte| token(byte)).count();
    let find = |mark: &[u8]| memchr::memmem::find(&text[at..], mark).map(|found| at + found);
    let mut first: Option<(usize, usize)> = None;
    let mut offer = |found: Option<(usize, usize)>| {
        if let Some(found) = found.filter(|found| first.is_none_or(|first| found.0 < first.0)) {
            first = Some(found);
        }
    };
    // `Bearer `, and `Bearer%20` in a URL; a word of prose behind it is no token.
    for mark in [b"earer ".as_slice(), b"EARER ", b"earer%20"] {
        offer(memchr::memmem::find_iter(&text[at..], mark).find_map(|found| {
            let start = at + found + mark.len();
            let length = run(start);
            (length >= 16).then_some((start, start + length))
        }));
    }
    // A JSON Web Token: three parts, the first two of which are JSON objects in base64.
    offer(memchr::memmem::find_iter(&text[at..], b"eyJ").find_map(|found| {
        let start = at + found;
        let length = run(start);
        let parts = text[start..start + length].split(|byte| *byte == b'.').count();
        (parts >= 3 && length >= 30).then_some((start, start + length))
    }));
    offer(find(b"-----BEGIN ").and_then(|start| {
        let line = &text[start..];
        let key = memchr::memmem::find(&line[..line.len().min(64)], b"PRIVATE KEY-----").is_some();
        let end = memchr::memmem::find(line, b"-----END ").unwrap_or(line.len());
        key.then_some((start, start + end))
    }));
    first
}

#[cfg(test)]
mod tests {
    use super::{of_line, of_object};

    const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2lnbmF0dXJlLXRoYXQtaXMtbG9uZw";

    #[test]
    fn tokens_of_a_text_are_removed() {
        let clean = |text: &str| String::from_utf8(of_line(text.as_bytes()).into_owned()).unwrap();
        assert_eq!(clean(&format!("a {JWT} b {JWT}")), "a [removed] b [removed]");
        assert_eq!(
            clean("curl -H 'Authorization: Bearer abcdefghijklmnop0123'"),
            "curl -H 'Authorization: Bearer [removed]'"
        );
        assert_eq!(clean(&format!("authorization: bearer {JWT}, x")), "authorization: bearer [removed], x");
        assert_eq!(
            clean("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----"),
            "[removed]-----END RSA PRIVATE KEY-----"
        );
    }

    #[test]
    fn other_texts_stay_as_they_are() {
        for text in [
            "the bearer of this",
            "eyJ.a.b",
            "a bearer token was missing",
            "-----BEGIN CERTIFICATE-----",
            "I1123 04:22:33.568529       1 config.go:142] \"Calling handler.OnEndpointSliceUpdate\"",
        ] {
            assert!(matches!(of_line(text.as_bytes()), std::borrow::Cow::Borrowed(_)), "{text}");
        }
    }

    #[test]
    fn objects_lose_secrets_and_nothing_else() {
        let planted = serde_json::json!({
            "items": [
                {"kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "SECRET-1"}, "stringData": {"k": "SECRET-2"}},
                {"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"k": "SECRET-3"}},
                {"kind": "Pod", "metadata": {
                    "name": "p", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{\"env\":\"SECRET-4\"}", "a": "b"},
                    "managedFields": [{"f:env": {"k:{\"name\":\"SECRET-5\"}": {}}}]
                }, "spec": {"containers": [{"name": "c", "env": [{"name": "A", "value": "SECRET-6"}], "envFrom": ["SECRET-7"]}]}},
                {"kind": "TokenRequest", "status": {"token": "SECRET-8"}},
                {"objectRef": {"resource": "secrets", "name": "s"}, "requestObject": "SECRET-9", "responseObject": {"a": "SECRET-10"}},
                {"objectRef": {"resource": "serviceaccounts", "subresource": "token"}, "responseObject": {"status": {"token": "SECRET-11"}}},
                {"flow": {"l7": {"http": {"headers": {"Authorization": "SECRET-12"}}}}},
                {"message": format!("got {JWT}")},
                {"kind": "SecretList", "items": [{"data": "SECRET-13"}]}
            ]
        });
        let mut clean = planted.clone();
        of_object(&mut clean);
        let text = clean.to_string();
        assert!(!text.contains("SECRET-") && !text.contains("eyJ"), "{text}");
        for kept in ["\"name\":\"s\"", "\"name\":\"p\"", "\"a\":\"b\"", "\"name\":\"c\"", "\"resource\":\"secrets\""] {
            assert!(text.contains(kept), "{kept} in {text}");
        }
        let mut service =
            serde_json::json!({"kind": "Service", "spec": {"ports": [{"port": 80}], "clusterIP": "10.0.0.1"}});
        let before = service.clone();
        of_object(&mut service);
        assert_eq!(service, before);
    }
}
