//! A share, as people write it: `50%`.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A share in whole percent, from 1 to 95: something is always left for the application itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Cow<'_, str>", into = "String")]
pub struct Share(u8);

/// Why a text is no share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a share from `1%` to `95%`")]
pub struct ShareError(String);

impl Share {
    /// Half.
    pub const HALF: Self = Self(50);

    /// This part of a number, at least 1.
    pub fn of(self, whole: u32) -> u32 {
        (whole.saturating_mul(u32::from(self.0)) / 100).max(1)
    }
}

impl TryFrom<Cow<'_, str>> for Share {
    type Error = ShareError;

    fn try_from(text: Cow<'_, str>) -> Result<Self, ShareError> {
        let number = text.trim().strip_suffix('%').and_then(|number| number.parse().ok());
        number.filter(|percent| (1..=95).contains(percent)).map(Self).ok_or_else(|| ShareError(text.into_owned()))
    }
}

impl From<Share> for String {
    fn from(share: Share) -> Self {
        share.to_string()
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl schemars::JsonSchema for Share {
    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A share: `50%`. From 1 to 95 percent.",
            "pattern": "^([1-9]|[1-8][0-9]|9[0-5])%$",
            "errorMessage": "not a share: write for example `50%`, from `1%` to `95%`",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_leaves_something_to_others() {
        let read = |text: &str| serde_json::from_value::<Share>(serde_json::json!(text));
        assert_eq!((read("50%").unwrap().of(1000), read("95%").unwrap().of(1000)), (500, 950));
        assert_eq!(read("1%").unwrap().of(10), 1, "something goes always");
        for wrong in ["0%", "96%", "100%", "50", "x%", "-1%", ""] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert_eq!(serde_json::to_value(Share::HALF).unwrap(), "50%");
    }
}
