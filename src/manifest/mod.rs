//! What should be, as files: documents that `apply` makes so, and plain configurations with the keys of PVE.
//!
//! Reads and names mistakes, with the place of each; what is to be done about a document is for `ops`.

mod document;
mod fields;
mod guest;
mod object;
mod plain;
mod read;
mod schema;
mod tree;

pub use self::{
    document::{API_VERSION, Document, Metadata, Place, Secret, Spec, kind_of_noun},
    fields::{FIELDS, Field, Shape, explain},
    guest::{CLOUD_INIT, GuestSpec, Origin, State},
    object::read_object,
    plain::Manifest,
    read::{Reading, Written, read},
    schema::schema,
};
