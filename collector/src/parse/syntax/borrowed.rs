//! JSON texts borrowed from the capture, also where they may be null: serde's own `Option<Cow<str>>` copies every one.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, Error, Visitor};

/// For `#[serde(borrow, default, deserialize_with = "borrowed::optional")]` on an `Option<Cow<str>>`.
///
/// # Errors
/// A value that is neither a text nor null.
pub fn optional<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Option<Cow<'a, str>>, D::Error> {
    from.deserialize_option(Optional)
}

struct Optional;

impl<'de> Visitor<'de> for Optional {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string or null")
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Row<'a> {
        #[serde(borrow, default, deserialize_with = "optional")]
        text: Option<Cow<'a, str>>,
    }

    #[test]
    fn a_text_is_borrowed_unless_it_has_escapes() {
        let read = |json| serde_json::from_str::<Row<'_>>(json).map(|row| row.text);
        assert!(matches!(read(r#"{"text":"plain"}"#), Ok(Some(Cow::Borrowed("plain")))));
        assert!(matches!(read(r#"{"text":"a\"b"}"#), Ok(Some(Cow::Owned(text))) if text == "a\"b"));
        assert!(matches!(read(r#"{"text":null}"#), Ok(None)));
        assert!(matches!(read("{}"), Ok(None)));
        assert!(read(r#"{"text":1}"#).is_err());
    }
}
