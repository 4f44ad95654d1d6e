//! A plain value in a parameter: what YAML writes without a bracket.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

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

/// Words of a command. A value that is no text is printed, as it is beside other text: a template alone keeps its type.
pub(super) fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let values = Option::<Vec<Value>>::deserialize(deserializer)?;
    values.map(|values| values.into_iter().map(|value| printed(value).map_err(D::Error::custom)).collect()).transpose()
}

/// Variables, printed in the same way.
pub(super) fn text_map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let values = BTreeMap::<String, Value>::deserialize(deserializer)?;
    let print = |(name, value)| match printed(value) {
        Ok(text) => Ok((name, text)),
        Err(reason) => Err(D::Error::custom(format!("`{name}`: {reason}"))),
    };
    values.into_iter().map(print).collect()
}

fn printed(value: Value) -> Result<String, &'static str> {
    match value {
        Value::String(text) => Ok(text),
        Value::Null => Err("it has no value here; give it one with `| default('…', true)`"),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Ok(value.to_string()),
    }
}
