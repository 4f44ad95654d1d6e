//! A JSON value kept as text: a run of a hundred thousand steps holds their parameters and outputs, and a tree of maps takes
//! ten times as much room as its text.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::Value;

/// A JSON value, kept small.
#[derive(Clone, PartialEq, Eq)]
pub struct Kept(Arc<str>);

impl Kept {
    /// Keeps a value.
    pub fn of(value: &Value) -> Self {
        Self(value.to_string().into())
    }

    /// The value.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.0).expect("it was written from a value")
    }
}

impl Serialize for Kept {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_comes_back_as_it_was() {
        let value: Value = serde_json::from_str("0.1").unwrap();
        assert_eq!(Kept::of(&value).value(), value);
        let value = json!({ "n": 1, "big": u64::MAX, "text": "\u{0}\u{fdd0}x\"", "list": [null, true, {}] });
        assert_eq!(Kept::of(&value).value(), value);
    }
}
