//! Lengths of time as people write them: `90s`, `15m`, `1h30m`, `250ms`, `2d`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A length of time that reads and prints as `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(try_from = "Cow<'_, str>", into = "String")]
pub struct HumanDuration(pub Duration);

/// Why a text is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration; write for example `90s`, `15m` or `1h30m`")]
pub struct DurationError(String);

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl FromStr for HumanDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let refuse = || DurationError(text.to_owned());
        let mut rest = text.trim();
        let mut total: u64 = 0;
        let mut largest_left = u64::MAX;
        if rest.is_empty() {
            return Err(refuse());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(refuse)?;
            let number: u64 = rest[..digits].parse().map_err(|_| refuse())?;
            rest = &rest[digits..];
            let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            let (_, unit) = UNITS.iter().find(|(name, _)| *name == &rest[..letters]).ok_or_else(refuse)?;
            // Each unit once, large before small: `30m1h` and `1h1h` are slips of the keyboard.
            if *unit >= largest_left {
                return Err(refuse());
            }
            largest_left = *unit;
            total = number.checked_mul(*unit).and_then(|part| total.checked_add(part)).ok_or_else(refuse)?;
            rest = &rest[letters..];
        }
        Ok(Self(Duration::from_millis(total)))
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if left == 0 {
            return f.pad("0s");
        }
        let mut text = String::new();
        for (name, unit) in UNITS {
            let count = left / unit;
            left %= unit;
            if count > 0 {
                text.push_str(&format!("{count}{name}"));
            }
        }
        f.pad(&text)
    }
}

impl HumanDuration {
    /// The same length to the second (to the tenth below ten seconds), for screens and reports.
    pub fn rounded(self) -> String {
        let seconds = self.0.as_secs_f64();
        if seconds < 10.0 {
            format!("{seconds:.1}s")
        } else {
            Self(Duration::from_secs_f64(seconds.round())).to_string()
        }
    }
}

impl TryFrom<Cow<'_, str>> for HumanDuration {
    type Error = DurationError;
    fn try_from(text: Cow<'_, str>) -> Result<Self, DurationError> {
        text.parse()
    }
}

impl From<HumanDuration> for String {
    fn from(duration: HumanDuration) -> Self {
        duration.to_string()
    }
}

impl schemars::JsonSchema for HumanDuration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A length of time: `250ms`, `90s`, `15m`, `1h30m`, `2d`.",
            "pattern": "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
            "minLength": 1,
            "errorMessage": "not a duration: write for example `90s`, `15m` or `1h30m`",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_people_write() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("1h30m", 5400), ("2d", 172_800), ("1500ms", 1)] {
            assert_eq!(text.parse::<HumanDuration>().unwrap().0.as_secs(), seconds, "{text}");
        }
    }

    #[test]
    fn refuses_what_could_be_misread() {
        for text in ["", "10", "1.5h", "30m1h", "1h1h", "5 m", "-5m", "m", "99999999999999999999s", "5min"] {
            assert!(text.parse::<HumanDuration>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back_the_same(millis in 0u64..10_000_000_000) {
            let duration = HumanDuration(Duration::from_millis(millis));
            prop_assert_eq!(duration.to_string().parse::<HumanDuration>().unwrap(), duration);
        }
    }
}
