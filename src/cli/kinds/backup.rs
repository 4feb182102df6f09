//! `backup`: the archives of guests in all storages. The verbs are those of `vm backup` and `container backup`.

use crate::cli::{
    backup::{COLUMNS, verbs},
    print::fields::headings_of,
    verb::{Kind, Of},
};

pub(super) const KIND: Kind = Kind {
    noun: "backup",
    plural: "backups",
    aliases: &[],
    about: "Backups: the archives of guests in all storages",
    guest: None,
    paths: &["/nodes/{node}/storage/{storage}/content", "/nodes/{node}/storage/{storage}/content/{volume}"],
    of: Of::Cluster,
    columns: || headings_of(COLUMNS),
    verbs,
};
