//! The spans of time for which a server keeps figures of guests.

/// How far a history goes back; the farther, the coarser it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeframe {
    /// The last hour.
    Hour,
    /// The last 24 hours.
    Day,
    /// Seven days.
    Week,
    /// A month.
    Month,
    /// A year.
    Year,
}

impl Timeframe {
    /// Each with the seconds that it has at least, the shortest first.
    pub const ALL: [(Self, u64); 5] = [
        (Self::Hour, 3600),
        (Self::Day, 86_400),
        (Self::Week, 7 * 86_400),
        (Self::Month, 30 * 86_400),
        (Self::Year, 366 * 86_400),
    ];

    /// The shortest that goes back so many seconds.
    pub fn reaching(seconds: u64) -> Option<Self> {
        Self::ALL.iter().find(|(_, reach)| seconds <= *reach).map(|(frame, _)| *frame)
    }

    /// As the API has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }
}
