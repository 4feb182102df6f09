//! The macro that makes a type of a server's row: fields by sort, read in all of the server's ways, the rest kept.
//!
//! Reading only: what a row means is said where it is declared. [`Guest`](super::Guest) is read by hand, for long lists.

/// Structs with serde's attributes by the sort of each field:
/// `need T` is always there; `text`, `whole`, `real`, `flag` (on the wire 0 or 1) may be absent, or `null`, which is the
/// same; `tags` and `list T` are empty when absent; `some T` is any other type. All else the server says goes into `other`.
macro_rules! rows {
    ($($(#[$doc:meta])* $name:ident { $($fields:tt)* })*) => {$(
        $crate::model::rows::rows!(@ [$(#[$doc])*] $name [] $($fields)*);
    )*};
    (@ [$($doc:tt)*] $name:ident [$($done:tt)*]) => {
        $($doc)*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        pub struct $name {
            $($done)*
            /// Everything else the server says.
            #[serde(flatten, serialize_with = "crate::model::tolerant::in_order")]
            pub other: serde_json::Map<String, serde_json::Value>,
        }
    };
    (@ $doc:tt $name:ident [$($done:tt)*] $(#[$m:meta])* $field:ident: need $type:ty, $($rest:tt)*) => {
        $crate::model::rows::rows!(@ $doc $name [$($done)* $(#[$m])* pub $field: $type,] $($rest)*);
    };
    (@ $doc:tt $name:ident [$($done:tt)*] $(#[$m:meta])* $field:ident: some $type:ty, $($rest:tt)*) => {
        $crate::model::rows::rows!(@ $doc $name [$($done)* $(#[$m])*
            #[serde(default, skip_serializing_if = "Option::is_none")] pub $field: Option<$type>,] $($rest)*);
    };
    (@ $doc:tt $name:ident [$($done:tt)*] $(#[$m:meta])* $field:ident: list $type:ty, $($rest:tt)*) => {
        $crate::model::rows::rows!(@ $doc $name [$($done)* $(#[$m])*
            #[serde(default, skip_serializing_if = "Vec::is_empty")] pub $field: Vec<$type>,] $($rest)*);
    };
    (@ $doc:tt $name:ident $done:tt $(#[$m:meta])* $field:ident: text, $($rest:tt)*) => {
        $crate::model::rows::rows!(@ $doc $name $done $(#[$m])* $field: some String, $($rest)*);
    };
    (@ $doc:tt $name:ident [$($done:tt)*] $(#[$m:meta])* $field:ident: tags, $($rest:tt)*) => {
        $crate::model::rows::rows!(@ $doc $name [$($done)* $(#[$m])*
            #[serde(default, skip_serializing_if = "crate::model::Tags::is_empty")] pub $field: $crate::model::Tags,] $($rest)*);
    };
    (@ $doc:tt $name:ident [$($done:tt)*] $(#[$m:meta])* $field:ident: whole, $($rest:tt)*) => {
        $crate::model::rows::rows!(@ $doc $name [$($done)* $(#[$m])*
            #[serde(default, deserialize_with = "crate::model::tolerant::u64::option", skip_serializing_if = "Option::is_none")]
            pub $field: Option<u64>,] $($rest)*);
    };
    (@ $doc:tt $name:ident [$($done:tt)*] $(#[$m:meta])* $field:ident: real, $($rest:tt)*) => {
        $crate::model::rows::rows!(@ $doc $name [$($done)* $(#[$m])*
            #[serde(default, deserialize_with = "crate::model::tolerant::f64::option",
                serialize_with = "crate::model::tolerant::number", skip_serializing_if = "Option::is_none")]
            pub $field: Option<f64>,] $($rest)*);
    };
    (@ $doc:tt $name:ident [$($done:tt)*] $(#[$m:meta])* $field:ident: flag, $($rest:tt)*) => {
        $crate::model::rows::rows!(@ $doc $name [$($done)* $(#[$m])*
            #[serde(default, deserialize_with = "crate::model::tolerant::bool::option",
                serialize_with = "crate::model::tolerant::bool::zero_or_one", skip_serializing_if = "Option::is_none")]
            pub $field: Option<bool>,] $($rest)*);
    };
}

pub(super) use rows;
