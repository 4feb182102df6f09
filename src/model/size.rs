//! Sizes in bytes, read and printed as Proxmox does: binary units with the letters K, M, G, T, P.
//!
//! Not for MiB-valued parameters such as `memory`; those are numbers whose unit their key knows.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A number of bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Size(pub u64);

const UNITS: [(char, u32); 5] = [('K', 10), ('M', 20), ('G', 30), ('T', 40), ('P', 50)];

impl Size {
    /// So many bytes.
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many mebibytes.
    pub const fn mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// So many gibibytes.
    pub const fn gib(gib: u64) -> Self {
        Self(gib << 30)
    }

    /// The form Proxmox writes into a disk's `size=`: a whole number of the largest fitting unit (`32G`, `4M`, `3308544`).
    pub fn to_config(self) -> String {
        UNITS
            .iter()
            .rev()
            .filter(|(letter, _)| *letter != 'P')
            .find(|(_, shift)| self.0 != 0 && self.0.trailing_zeros() >= *shift)
            .map_or_else(|| self.0.to_string(), |(letter, shift)| format!("{}{letter}", self.0 >> shift))
    }
}

impl fmt::Display for Size {
    /// For people: two decimals of the largest unit that keeps the number at one or more (`7.50 GiB`, `512 B`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match UNITS.iter().rev().find(|(_, shift)| self.0 >= 1 << shift) {
            Some((letter, shift)) => format!("{:.2} {letter}iB", self.0 as f64 / (1_u64 << shift) as f64),
            None => format!("{} B", self.0),
        };
        f.pad(&text)
    }
}

/// Why a text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a size: a number with an optional unit K, M, G or T is expected, such as 8192M or 32G")]
pub struct SizeError {
    text: String,
}

impl FromStr for Size {
    type Err = SizeError;

    /// Reads `32G`, `1.5T`, `512M`, `4096`, `32GiB`, `32 GB` (binary all of them, as in Proxmox).
    fn from_str(text: &str) -> Result<Self, SizeError> {
        let error = || SizeError { text: text.to_owned() };
        let trimmed = text.trim();
        let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let unit = unit.trim().to_ascii_uppercase();
        let letter = unit.strip_suffix("IB").or_else(|| unit.strip_suffix('B')).unwrap_or(&unit);
        let shift = match letter {
            "" if unit == "IB" => return Err(error()),
            "" => 0,
            one => UNITS.iter().find(|(l, _)| one.len() == 1 && one.starts_with(*l)).ok_or_else(error)?.1,
        };
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(1 << shift).map(Self).ok_or_else(error);
        }
        let float = number.parse::<f64>().map_err(|_| error())? * (1_u64 << shift) as f64;
        if float.is_finite() && float < u64::MAX as f64 { Ok(Self(float.round() as u64)) } else { Err(error()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, bytes) in [
            ("32G", 32 << 30),
            ("1.5T", 3 << 39),
            ("512M", 512 << 20),
            ("4096", 4096),
            ("2 GiB", 2 << 30),
            ("2gb", 2 << 30),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for bad in ["", "G", "-1G", "1X", "1GX", "1..5G", "99999999999999P", "iB", "1iB"] {
            assert!(bad.parse::<Size>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn prints_for_people_and_for_configurations() {
        assert_eq!(Size(0).to_string(), "0 B");
        assert_eq!(Size(1536 << 20).to_string(), "1.50 GiB");
        assert_eq!(Size(1536 << 20).to_config(), "1536M");
        assert_eq!(Size(32 << 30).to_config(), "32G");
        assert_eq!(Size(3_308_544).to_config(), "3231K");
        assert_eq!(Size(0).to_config(), "0");
    }

    proptest! {
        #[test]
        fn the_configuration_form_reads_back(bytes in 0_u64..1 << 60) {
            prop_assert_eq!(Size(bytes).to_config().parse(), Ok(Size(bytes)));
        }
    }
}
