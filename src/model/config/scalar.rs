//! Values of configuration keys from their text and back.
//!
//! What a value may be by its schema is the contract's business; here is only what it is in Rust.

use std::{borrow::Cow, fmt};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::de::{IntoDeserializer, value::Error as Unreadable};
use serde_json::Value;

use crate::model::{Digest, List, PropertyString, Size, Tags, tolerant};

/// A value that a text stands for.
pub(super) trait Scalar: Sized {
    /// What is expected where the text cannot be read.
    const EXPECTED: &'static str = "a text";

    /// Reads it in any of the server's spellings.
    fn read(text: &str) -> Option<Self>;

    /// The text that the server would write.
    fn write(&self) -> Cow<'_, str>;

    /// The same in a configuration's JSON.
    fn json(&self) -> Value {
        Value::String(self.write().into_owned())
    }

    /// The same, every part of it read and written once more.
    #[cfg(test)]
    fn again(&self) -> crate::model::Result<Self> {
        Self::read(&self.write()).ok_or_else(|| super::shape::unreadable::<Self>("what was written", &self.write()))
    }
}

macro_rules! numbers {
    ($($type:ident, $tolerant:path, $expected:literal;)*) => {$(
        impl Scalar for $type {
            const EXPECTED: &'static str = $expected;

            fn read(text: &str) -> Option<Self> {
                let text: serde::de::value::StrDeserializer<'_, Unreadable> = text.into_deserializer();
                $tolerant(text).ok()
            }

            fn write(&self) -> Cow<'_, str> {
                self.to_string().into()
            }

            fn json(&self) -> Value {
                (*self).into()
            }
        }
    )*};
}

numbers! {
    u64, tolerant::u64::deserialize, "a whole number that is not negative";
    i64, tolerant::i64::deserialize, "a whole number";
}

impl Scalar for f64 {
    const EXPECTED: &'static str = "a number";

    fn read(text: &str) -> Option<Self> {
        text.trim().parse().ok().filter(|number: &Self| number.is_finite())
    }

    fn write(&self) -> Cow<'_, str> {
        self.to_string().into()
    }
}

impl Scalar for bool {
    const EXPECTED: &'static str = "a boolean: 1 or 0, yes or no, on or off, true or false";

    fn read(text: &str) -> Option<Self> {
        // The server takes these words in any case, and the empty text is no boolean here: it says neither.
        match text.to_ascii_lowercase().as_str() {
            "1" | "on" | "yes" | "true" => Some(true),
            "0" | "off" | "no" | "false" => Some(false),
            _ => None,
        }
    }

    fn write(&self) -> Cow<'_, str> {
        if *self { "1" } else { "0" }.into()
    }

    fn json(&self) -> Value {
        u8::from(*self).into()
    }
}

impl Scalar for Size {
    const EXPECTED: &'static str = "a size such as 32G";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn write(&self) -> Cow<'_, str> {
        self.to_config().into()
    }
}

/// Texts and what is no more than a text with a name: they can always be read.
macro_rules! texts {
    ($($type:ty, $read:expr, $write:expr;)*) => {$(
        impl Scalar for $type {
            fn read(text: &str) -> Option<Self> {
                Some($read(text))
            }

            fn write(&self) -> Cow<'_, str> {
                #[allow(clippy::redundant_closure_call, reason = "a table of closures")]
                $write(self)
            }
        }
    )*};
}

texts! {
    String, str::to_owned, |text: &'_ Self| Cow::Owned(text.clone());
    Digest, |text: &str| Self(text.to_owned()), |digest: &Self| Cow::Owned(digest.0.clone());
    List, Self::from, |list: &Self| Cow::Owned(list.to_string());
    Tags, Self::parse, |tags: &Self| Cow::Owned(tags.to_string());
    PropertyString, Self::lenient, |parts: &Self| Cow::Owned(parts.to_string());
    Encoded, Self::decode, |encoded: &Self| Cow::Owned(encoded.to_string());
}

/// Text that the server keeps percent-encoded, here as it is meant: SSH keys, a disk's serial number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Encoded(pub String);

impl Encoded {
    /// Takes the encoding off.
    pub fn decode(text: &str) -> Self {
        Self(percent_decode_str(text).decode_utf8_lossy().into_owned())
    }
}

impl From<&str> for Encoded {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Encoded {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for Encoded {
    /// As it is on the wire: all but RFC 3986's unreserved characters encoded.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
        write!(f, "{}", utf8_percent_encode(&self.0, PLAIN))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn booleans_in_every_spelling() {
        for (text, truth) in [("1", true), ("Yes", true), ("ON", true), ("true", true), ("0", false), ("off", false)] {
            assert_eq!(bool::read(text), Some(truth), "{text}");
        }
        for bad in ["", "2", "maybe"] {
            assert_eq!(bool::read(bad), None, "{bad}");
        }
        assert_eq!((true.write().as_ref(), false.json()), ("1", Value::from(0)));
    }

    proptest! {
        #[test]
        fn numbers_and_booleans_survive_a_round_trip(whole: u64, signed: i64, real in -1e9_f64..1e9, truth: bool) {
            prop_assert_eq!(u64::read(&whole.write()), Some(whole));
            prop_assert_eq!(i64::read(&signed.write()), Some(signed));
            prop_assert_eq!(f64::read(&real.write()), Some(real));
            prop_assert_eq!(bool::read(&truth.write()), Some(truth));
        }

        #[test]
        fn encoded_text_survives_a_round_trip(text in ".{0,20}") {
            let wire = Encoded(text.clone()).to_string();
            prop_assert!(!wire.contains([',', ' ', '=']));
            prop_assert_eq!(Encoded::decode(&wire).0, text);
        }

        #[test]
        fn sizes_survive_a_round_trip(mib in 0_u64..1 << 40) {
            prop_assert_eq!(Size::read(&Size::mib(mib).write()), Some(Size::mib(mib)));
        }
    }
}
