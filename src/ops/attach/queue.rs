//! What is said where an addition is to wait, and the server has no queue.

use crate::model::{Class, Error, Hint};

/// The same for a server that has no queue.
pub(super) fn without(error: Error) -> Error {
    match error.class() {
        Class::Usage => Error::usage("the API of Proxmox VE has no queue of additions").with_hint(Hint::Text(
            "leave --queue out: what cannot be live waits for the next start there; a host that `pvectl serve` serves has \
             one"
                .into(),
        )),
        _ => error,
    }
}
