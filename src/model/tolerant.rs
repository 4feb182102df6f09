//! Decoding of the server's loose types: numbers and booleans that come as strings, and the reverse.
//!
//! For `#[serde(deserialize_with = …)]` and `#[serde(with = …)]`; it widens what is read and never what is written.

use std::fmt;

use serde::{
    Deserialize, Serialize,
    de::{self, Deserializer, Visitor},
};
use serde_json::{Map, Value};

macro_rules! tolerant_number {
    ($name:ident, $type:ty, $what:literal) => {
        #[doc = concat!("Reads ", $what, " from a number, a boolean or a string of digits.")]
        pub mod $name {
            use super::*;

            struct Loose;

            impl Visitor<'_> for Loose {
                type Value = $type;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(concat!($what, ", or the same as a string"))
                }

                fn visit_bool<E: de::Error>(self, value: bool) -> Result<$type, E> {
                    Ok(u8::from(value).into())
                }

                fn visit_u64<E: de::Error>(self, value: u64) -> Result<$type, E> {
                    super::narrow(value as f64, value as $type)
                }

                fn visit_i64<E: de::Error>(self, value: i64) -> Result<$type, E> {
                    super::narrow(value as f64, value as $type)
                }

                fn visit_f64<E: de::Error>(self, value: f64) -> Result<$type, E> {
                    super::narrow(value, value as $type)
                }

                fn visit_str<E: de::Error>(self, value: &str) -> Result<$type, E> {
                    if let Ok(exact) = value.trim().parse::<$type>() {
                        return Ok(exact);
                    }
                    let float =
                        value.trim().parse::<f64>().map_err(|_| E::invalid_value(de::Unexpected::Str(value), &self))?;
                    self.visit_f64(float)
                }
            }

            #[doc = concat!("See the module: ", $what, ".")]
            ///
            /// # Errors
            /// When the value is neither, or does not fit.
            pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                deserializer.deserialize_any(Loose)
            }

            #[doc = concat!("The same for a field that may be absent or null: ", $what, ".")]
            ///
            /// # Errors
            /// When the value is neither, or does not fit.
            pub fn option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<$type>, D::Error> {
                struct Maybe;

                impl<'de> Visitor<'de> for Maybe {
                    type Value = Option<$type>;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        Loose.expecting(f)
                    }

                    fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
                        Ok(None)
                    }

                    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                        Ok(None)
                    }

                    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
                        deserialize(deserializer).map(Some)
                    }
                }

                deserializer.deserialize_option(Maybe)
            }

            #[doc = concat!("The same for a list, `null` being an empty one: ", $what, ".")]
            ///
            /// # Errors
            /// When a member is neither, or does not fit.
            pub fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<$type>, D::Error> {
                #[derive(Deserialize)]
                #[serde(transparent)]
                struct Member(#[serde(deserialize_with = "deserialize")] $type);

                let members = Option::<Vec<Member>>::deserialize(deserializer)?.unwrap_or_default();
                Ok(members.into_iter().map(|Member(value)| value).collect())
            }
        }
    };
}

tolerant_number!(u64, u64, "a whole number that is not negative");
tolerant_number!(i64, i64, "a whole number");
tolerant_number!(f64, f64, "a number");

/// Refuses a cast that changed the value: `-1` is no `u64`, `1.5` is no integer.
fn narrow<T: Copy + Number, E: de::Error>(wide: f64, narrowed: T) -> Result<T, E> {
    if (narrowed.into_f64() - wide).abs() < 1.0 && (T::FRACTIONS || wide.fract() == 0.0) {
        Ok(narrowed)
    } else {
        Err(E::custom(format_args!("number {wide} does not fit")))
    }
}

trait Number {
    const FRACTIONS: bool;
    fn into_f64(self) -> f64;
}

impl Number for u64 {
    const FRACTIONS: bool = false;
    fn into_f64(self) -> f64 {
        self as f64
    }
}

impl Number for i64 {
    const FRACTIONS: bool = false;
    fn into_f64(self) -> f64 {
        self as f64
    }
}

impl Number for f64 {
    const FRACTIONS: bool = true;
    fn into_f64(self) -> f64 {
        self
    }
}

/// Writes a number as the server does: whole ones without a fraction.
///
/// # Errors
/// As the serializer.
pub fn number<S: serde::Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(whole) if whole.fract() == 0.0 && whole.abs() < 1e15 => serializer.serialize_i64(*whole as i64),
        Some(value) => serializer.serialize_f64(*value),
        None => serializer.serialize_none(),
    }
}

/// Writes what else a server said in the order of the alphabet: it says it in another order each time, and what was
/// printed yesterday is compared with what is printed today.
///
/// # Errors
/// As the serializer.
pub fn in_order<S: serde::Serializer>(said: &Map<String, Value>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut said = said.clone();
    said.sort_keys();
    said.values_mut().for_each(Value::sort_all_objects);
    said.serialize(serializer)
}

/// Reads a boolean from `0`/`1`, `true`/`false`, or either as a string; the empty string is false, as in Perl.
pub mod bool {
    use super::*;

    struct Loose;

    impl Visitor<'_> for Loose {
        type Value = bool;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a boolean, 0 or 1")
        }

        fn visit_bool<E: de::Error>(self, value: bool) -> Result<bool, E> {
            Ok(value)
        }

        fn visit_u64<E: de::Error>(self, value: u64) -> Result<bool, E> {
            Ok(value != 0)
        }

        fn visit_i64<E: de::Error>(self, value: i64) -> Result<bool, E> {
            Ok(value != 0)
        }

        fn visit_f64<E: de::Error>(self, value: f64) -> Result<bool, E> {
            Ok(value != 0.0)
        }

        fn visit_unit<E: de::Error>(self) -> Result<bool, E> {
            Ok(false)
        }

        fn visit_str<E: de::Error>(self, value: &str) -> Result<bool, E> {
            match value {
                "1" | "true" | "yes" | "on" => Ok(true),
                "0" | "false" | "no" | "off" | "" => Ok(false),
                _ => Err(E::invalid_value(de::Unexpected::Str(value), &self)),
            }
        }
    }

    /// See the module.
    ///
    /// # Errors
    /// When the value is none of these.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(Loose)
    }

    /// The same for a field that may be absent or null.
    ///
    /// # Errors
    /// When the value is none of these.
    pub fn option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
        #[derive(Deserialize)]
        #[serde(transparent)]
        struct Flag(#[serde(deserialize_with = "deserialize")] bool);

        Ok(Option::<Flag>::deserialize(deserializer)?.map(|Flag(truth)| truth))
    }

    /// Writes a boolean as the server does.
    ///
    /// # Errors
    /// As the serializer.
    pub fn zero_or_one<S: serde::Serializer>(value: &Option<bool>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(truth) => serializer.serialize_u8(u8::from(*truth)),
            None => serializer.serialize_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Row {
        #[serde(deserialize_with = "super::u64::deserialize")]
        size: u64,
        #[serde(default, deserialize_with = "super::f64::option")]
        load: Option<f64>,
        #[serde(default, deserialize_with = "super::bool::deserialize")]
        template: bool,
    }

    #[test]
    fn what_else_is_said_is_written_in_order() {
        #[derive(serde::Serialize)]
        struct Said {
            vmid: u8,
            #[serde(flatten, serialize_with = "super::in_order")]
            other: serde_json::Map<String, serde_json::Value>,
        }

        let other = serde_json::from_str(r#"{"b":{"z":[{"d":1,"c":2}],"y":2},"a":1}"#).unwrap();
        let written = serde_json::to_string(&Said { vmid: 1, other }).unwrap();
        assert_eq!(written, r#"{"vmid":1,"a":1,"b":{"y":2,"z":[{"c":2,"d":1}]}}"#);
    }

    fn read(json: &str) -> Result<Row, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn reads_numbers_and_booleans_of_either_kind() {
        let want = Row { size: 18_446_744_073_709_551_615, load: Some(1.5), template: true };
        assert_eq!(read(r#"{"size":18446744073709551615,"load":"1.5","template":"1"}"#).unwrap(), want);
        assert_eq!(read(r#"{"size":"18446744073709551615","load":1.5,"template":1}"#).unwrap(), want);
        let none = Row { size: 0, load: None, template: false };
        assert_eq!(read(r#"{"size":"0","load":null,"template":""}"#).unwrap(), none);
        assert_eq!(read(r#"{"size":0}"#).unwrap(), none);
    }

    #[test]
    fn refuses_what_does_not_fit() {
        for bad in ["-1", "1.5", "\"abc\"", "[1]"] {
            assert!(read(&format!(r#"{{"size":{bad}}}"#)).is_err(), "{bad} was taken");
        }
    }

    proptest! {
        #[test]
        fn a_text_is_read_like_the_value(size: u64, load: i32, template: bool) {
            // Not any number: serde_json may read the last bit of a long one differently.
            let load = f64::from(load) / 64.0;
            let bit = u8::from(template);
            for json in [
                format!(r#"{{"size":{size},"load":{load},"template":{template}}}"#),
                format!(r#"{{"size":"{size}","load":"{load}","template":"{bit}"}}"#),
                format!(r#"{{"size":{size},"load":"{load:?}","template":{bit}}}"#),
            ] {
                prop_assert_eq!(read(&json).unwrap(), Row { size, load: Some(load), template });
            }
        }
    }
}
