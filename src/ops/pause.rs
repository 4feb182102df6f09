//! The pauses of whoever looks again and again until something is so.

use std::time::Duration;

/// The longest.
const LONGEST: Duration = Duration::from_secs(2);

/// Each is half as long again as the one before.
pub(super) struct Pauses(Duration);

impl Pauses {
    /// Beginning with this one.
    pub(super) fn from(first: Duration) -> Self {
        Self(first)
    }

    /// The next one.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 3 / 2).min(LONGEST);
        pause
    }
}
