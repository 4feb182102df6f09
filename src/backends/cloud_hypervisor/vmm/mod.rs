//! The socket of one VMM: every endpoint typed, its configuration, its errors.
