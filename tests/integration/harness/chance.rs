//! Numbers that nobody foresees and that come again with their seed, and numbers that somebody asks for.

use std::time::SystemTime;

/// Numbers that are the same for the same seed (xorshift64).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// Others each time, or those of `PVECTL_TEST_SEED`; says how to get the same again.
    pub(crate) fn any() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let seed = number("PVECTL_TEST_SEED").unwrap_or(u64::from(now.subsec_nanos()));
        eprintln!("PVECTL_TEST_SEED={seed}");
        Self(seed | 1)
    }

    pub(crate) fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as u32 % end
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u32) as usize]
    }
}

/// What a variable asks for.
pub(crate) fn number(name: &str) -> Option<u64> {
    let text = std::env::var_os(name)?.into_string().ok();
    Some(text.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{name} is no number")))
}
