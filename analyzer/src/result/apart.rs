//! What of a result only one section of a report shows: held packed, opened while that section is made.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zstd::bulk::{Compressor, Decompressor};

/// Level of the compression: what is saved on the way costs little.
const LEVEL: i32 = -3;
/// Bytes below which compression saves nothing.
const SHORT: usize = 256;

/// A value, packed (MessagePack, compressed where that saves something). A thousand runs are held as long as a report is made, their curves, answers
/// and sources as a twentieth of what they take open.
#[derive(Clone, PartialEq)]
pub struct Apart<T> {
    bytes: Box<[u8]>,
    /// Bytes before compression; none where they are not compressed.
    open: Option<usize>,
    of: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned + Default> Apart<T> {
    /// Packs a value.
    pub fn new(value: &T) -> Self {
        // No value of ours fails to be written: keys are texts, lengths are known.
        rmp_serde::to_vec_named(value).map_or_else(|_| Self::default(), |bytes| Self::packed(&bytes))
    }

    /// The value. What was read from a file was opened once when it was read.
    pub fn open(&self) -> T {
        self.open_as()
    }

    /// Some fields of the value: the others are passed over, which takes a part of the time.
    pub fn open_as<U: DeserializeOwned + Default>(&self) -> U {
        rmp_serde::from_slice(&self.plain()).unwrap_or_default()
    }

    fn packed(bytes: &[u8]) -> Self {
        // To make a compressor takes longer than most of what it packs.
        thread_local!(static PACKER: RefCell<Option<Compressor<'static>>> = RefCell::new(Compressor::new(LEVEL).ok()));
        let pack = || PACKER.with_borrow_mut(|packer| packer.as_mut()?.compress(bytes).ok());
        let smaller = (bytes.len() >= SHORT).then(pack).flatten();
        let smaller = smaller.filter(|packed| packed.len() < bytes.len());
        let open = smaller.as_ref().map(|_| bytes.len());
        Self { bytes: smaller.unwrap_or_else(|| bytes.to_vec()).into(), open, of: PhantomData }
    }
}

impl<T> Apart<T> {
    fn plain(&self) -> std::borrow::Cow<'_, [u8]> {
        match self.open {
            None => (&*self.bytes).into(),
            Some(size) => {
                thread_local!(static UNPACKER: RefCell<Option<Decompressor<'static>>> = RefCell::new(Decompressor::new().ok()));
                let unpack =
                    |unpacker: &mut Option<Decompressor<'_>>| unpacker.as_mut()?.decompress(&self.bytes, size).ok();
                UNPACKER.with_borrow_mut(unpack).unwrap_or_default().into()
            }
        }
    }
}

impl<T: Serialize + DeserializeOwned + Default> Default for Apart<T> {
    fn default() -> Self {
        let bytes = rmp_serde::to_vec_named(&T::default()).unwrap_or_default();
        Self { bytes: bytes.into(), open: None, of: PhantomData }
    }
}

impl<T> fmt::Debug for Apart<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, packed", self.bytes.len())
    }
}

impl<T> Serialize for Apart<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.plain())
    }
}

impl<'de, T: Serialize + DeserializeOwned + Default> Deserialize<'de> for Apart<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Bytes<T>(PhantomData<fn() -> T>);
        impl<T: Serialize + DeserializeOwned + Default> Visitor<'_> for Bytes<T> {
            type Value = Apart<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a packed part of a result")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Apart<T>, E> {
                rmp_serde::from_slice::<T>(bytes).map_err(E::custom)?;
                Ok(Apart::packed(bytes))
            }
        }
        from.deserialize_bytes(Bytes(PhantomData)).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_is_what_is_opened_and_damage_is_an_error() {
        for value in [Vec::new(), vec!["short".to_owned()], vec!["a long text, again and again".to_owned(); 500]] {
            let packed = Apart::new(&value);
            assert_eq!(packed.open(), value);
            let stored = rmp_serde::to_vec_named(&packed).unwrap();
            let back: Apart<Vec<String>> = rmp_serde::from_slice(&stored).unwrap();
            assert_eq!((back.open(), &back), (value.clone(), &packed));
            assert!(value.len() < 500 || packed.bytes.len() < 500, "{packed:?}");
            assert!(rmp_serde::from_slice::<Apart<Vec<u8>>>(&stored).is_err() || value.is_empty());
            assert!(rmp_serde::from_slice::<Apart<Vec<String>>>(&stored[..stored.len() - 1]).is_err());
        }
        assert_eq!(Apart::<Vec<String>>::default().open(), Vec::<String>::new());
    }
}
