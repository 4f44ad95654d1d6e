//! A plain value in a parameter: what YAML writes without a bracket.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Text, a number, `true` or `false`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    /// Text.
    Text(String),
    /// `true` or `false`.
    Boolean(bool),
    /// A number.
    Number(serde_json::Number),
}

impl std::fmt::Display for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.pad(text),
            Self::Boolean(value) => value.fmt(f),
            Self::Number(number) => number.fmt(f),
        }
    }
}
