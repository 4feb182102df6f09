//! The macros that turn the generated tables of this room into types.
//!
//! Every method is one line that calls a function written once, so that hundreds of keys cost little to compile.

/// The parameter's type in a setter: numbers as they are, all else whatever can become one.
macro_rules! taken {
    (bool) => { bool };
    (u64) => { u64 };
    (i64) => { i64 };
    (f64) => { f64 };
    ($type:ident) => { impl Into<$type> };
}

/// The key inside, if there is one.
macro_rules! inner {
    () => {
        None
    };
    ($inner:literal) => {
        Some($inner)
    };
}

/// Enumerations of words, each open for words of newer servers.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $(#[doc = concat!("`", $text, "`.")] $variant,)*
            /// A word that this version of the library does not know.
            Other(String),
        }

        impl $name {
            /// The words that are known.
            pub const WORDS: &'static [&'static str] = &[$($text,)*];

            /// The word.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(text) => text,
                }
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                match text {
                    $($text => Self::$variant,)*
                    other => Self::Other(other.to_owned()),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::model::config::scalar::Scalar for $name {
            fn read(text: &str) -> Option<Self> {
                Some(text.into())
            }

            fn write(&self) -> std::borrow::Cow<'_, str> {
                self.as_str().into()
            }
        }
    )*};
}

/// Property strings: name, default key, other names of keys, names that are values, keys.
macro_rules! properties {
    ($(
        $(#[$doc:meta])*
        $name:ident $bare:literal { $($alias:literal => $of:literal,)* } { $($keyed:literal => $named:literal $under:literal,)* } {
            $($(#[$key_doc:meta])* $get:ident $set:ident $key:literal: $type:ident;)*
        }
    )*) => {$(
        $(#[$doc])*
        ///
        /// It prints what it was read from to the byte; a setter changes its own part and leaves the others as they are.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct $name($crate::model::PropertyString);

        impl $name {
            const SHAPE: $crate::model::config::shape::Shape = $crate::model::config::shape::Shape {
                name: stringify!($name),
                bare: $bare,
                aliases: &[$(($alias, $of),)*],
                keyed: &[$(($keyed, $named, $under),)*],
            };

            /// The keys that are known.
            pub const KEYS: &'static [&'static str] = &[$($key,)*];

            /// An empty one.
            pub fn new() -> Self {
                Self::default()
            }

            /// Reads what a server has stored, of whatever form.
            pub fn lenient(text: &str) -> Self {
                Self($crate::model::PropertyString::lenient(text))
            }

            /// The value of any key as it is written, under whichever of its names.
            pub fn text(&self, key: &str) -> Option<&str> {
                Self::SHAPE.text(&self.0, key)
            }

            /// Takes a key away, under whichever of its names, and gives its value.
            pub fn remove(&mut self, key: &str) -> Option<String> {
                Self::SHAPE.remove(&mut self.0, key)
            }

            $(
                $(#[$key_doc])*
                ///
                /// # Errors
                /// When it is there and cannot be read.
                pub fn $get(&self) -> $crate::model::Result<Option<$type>> {
                    Self::SHAPE.read(&self.0, $key)
                }

                #[doc = concat!("Sets `", $key, "`.")]
                ///
                /// # Errors
                /// When the value is empty or has a comma, which cannot stand there.
                pub fn $set(&mut self, value: $crate::model::config::tables::taken!($type)) -> $crate::model::Result<&mut Self> {
                    let value: $type = value.into();
                    Self::SHAPE.write(&mut self.0, $key, &value)?;
                    Ok(self)
                }
            )*
        }

        impl AsRef<$crate::model::PropertyString> for $name {
            fn as_ref(&self) -> &$crate::model::PropertyString {
                &self.0
            }
        }

        impl From<$crate::model::PropertyString> for $name {
            fn from(string: $crate::model::PropertyString) -> Self {
                Self(string)
            }
        }

        impl From<$name> for $crate::model::PropertyString {
            fn from(typed: $name) -> Self {
                typed.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::model::PropertyStringError;

            fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(&self.0, f)
            }
        }

        impl $crate::model::config::scalar::Scalar for $name {
            fn read(text: &str) -> Option<Self> {
                Some(Self::lenient(text))
            }

            fn write(&self) -> std::borrow::Cow<'_, str> {
                self.to_string().into()
            }

            #[cfg(test)]
            fn again(&self) -> $crate::model::Result<Self> {
                let mut again = Self::lenient(&self.to_string());
                $(if let Some(value) = self.$get()? {
                    again.$set(value.again()?)?;
                })*
                Ok(again)
            }
        }
    )*};
}

/// A guest's configuration: its type, the keys that are the server's own, the single keys, the numbered ones.
macro_rules! config {
    (
        $(#[$doc:meta])* $name:ident [$($read_only:literal),*]
        one { $($(#[$key_doc:meta])* $get:ident $set:ident $key:literal $(/ $inner:literal)?: $type:ident;)* }
        many { $($(#[$many_doc:meta])* $nth:ident $set_nth:ident $all:ident $base:literal: $many:ident;)* }
    ) => {
        $(#[$doc])*
        ///
        /// A view that loses nothing: unknown keys and odd types stay as they are, and it serialises as the map it is.
        /// There is an example in [the room](crate::model::config).
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name($crate::model::GuestConfig);

        impl $name {
            /// The keys that the server alone writes.
            pub const READ_ONLY: &'static [&'static str] = &[$($read_only,)*];

            /// The keys that are known; of numbered ones the name without the number.
            pub const KEYS: &'static [&'static str] = &[$($key,)* $($base,)*];

            /// An empty one.
            pub fn new() -> Self {
                Self::default()
            }

            /// Takes a key away, by the server's name of it, and gives its value.
            pub fn remove(&mut self, key: &str) -> Option<serde_json::Value> {
                self.0.0.shift_remove(key)
            }

            /// The parameters that a create takes: all keys, without what is the server's own (see
            /// [`READ_ONLY`](Self::READ_ONLY), `digest`, `lock`) and what it masked.
            pub fn to_params(&self) -> $crate::model::Params {
                $crate::model::config::map::to_params(&self.0, Self::READ_ONLY)
            }

            /// The parameters of an update that makes this of what was there before: changed keys, `delete` for those
            /// that are gone, and the digest of what was there, so that a change made in between is noticed. Empty
            /// if there is nothing to do.
            pub fn changes_since(&self, before: &Self) -> $crate::model::Params {
                $crate::model::config::map::changes(&self.0, &before.0, Self::READ_ONLY)
            }

            $(
                $(#[$key_doc])*
                ///
                /// # Errors
                /// When it is there and cannot be read.
                pub fn $get(&self) -> $crate::model::Result<Option<$type>> {
                    $crate::model::config::map::read(&self.0, $key, $crate::model::config::tables::inner!($($inner)?))
                }

                #[doc = concat!("Sets `", $key, "`.")]
                pub fn $set(&mut self, value: $crate::model::config::tables::taken!($type)) -> &mut Self {
                    let value: $type = value.into();
                    $crate::model::config::map::write(&mut self.0, $key.to_owned(), $crate::model::config::tables::inner!($($inner)?), &value);
                    self
                }
            )*
            $(
                $(#[$many_doc])*
                ///
                /// # Errors
                /// When it is there and cannot be read.
                pub fn $nth(&self, n: u16) -> $crate::model::Result<Option<$many>> {
                    $crate::model::config::map::read(&self.0, &format!("{}{n}", $base), None)
                }

                #[doc = concat!("Sets `", $base, "` with this number.")]
                pub fn $set_nth(&mut self, n: u16, value: $crate::model::config::tables::taken!($many)) -> &mut Self {
                    let value: $many = value.into();
                    $crate::model::config::map::write(&mut self.0, format!("{}{n}", $base), None, &value);
                    self
                }

                #[doc = concat!("Every `", $base, "[n]` that there is, by its number, lowest first.")]
                pub fn $all(&self) -> impl Iterator<Item = $crate::model::Result<(u16, $many)>> {
                    $crate::model::config::map::numbered(&self.0, $base)
                }
            )*
        }

        #[cfg(test)]
        impl $name {
            /// The same, every key of it and every part of these read and set once more.
            pub(super) fn again(&self) -> $crate::model::Result<Self> {
                use $crate::model::config::scalar::Scalar as _;

                let mut again = self.clone();
                $(if let Some(value) = self.$get()? {
                    again.$set(value.again()?);
                })*
                $(for row in self.$all() {
                    let (n, value) = row?;
                    again.$set_nth(n, value.again()?);
                })*
                Ok(again)
            }
        }

        impl AsRef<$crate::model::GuestConfig> for $name {
            fn as_ref(&self) -> &$crate::model::GuestConfig {
                &self.0
            }
        }

        impl From<$crate::model::GuestConfig> for $name {
            fn from(config: $crate::model::GuestConfig) -> Self {
                Self(config)
            }
        }

        impl From<$name> for $crate::model::GuestConfig {
            fn from(typed: $name) -> Self {
                typed.0
            }
        }
    };
}

pub(super) use {config, inner, properties, taken, words};
