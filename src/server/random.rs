//! Random numbers of this machine, and how they are spelt.

use std::{fmt::Write as _, sync::LazyLock};

use rustls::crypto::{SecureRandom, aws_lc_rs::default_provider};

/// Random bytes; `None` on a machine that has none.
pub(crate) fn bytes<const N: usize>() -> Option<[u8; N]> {
    static SOURCE: LazyLock<&'static dyn SecureRandom> = LazyLock::new(|| default_provider().secure_random);
    let mut bytes = [0; N];
    SOURCE.fill(&mut bytes).is_ok().then_some(bytes)
}

/// Bytes as hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // A text takes all that is written to it.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The form of a UUID, version 4, filled from hex digits.
#[cfg(any(feature = "serve", feature = "sandbox"))]
pub(crate) fn uuid(hex: &str) -> String {
    format!("{}-{}-4{}-a{}-{}", &hex[0..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}
