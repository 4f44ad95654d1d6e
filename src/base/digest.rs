//! Content digests: SHA-256 over bytes, or over the one canonical form of a JSON value.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest, printed as 64 hexadecimal digits (FIPS 180-4).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// The digest that stands before the first: 64 zeros.
    pub fn zero() -> Self {
        Self("0".repeat(64))
    }

    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::hexadecimal(Sha256::digest(bytes).into())
    }

    fn hexadecimal(hash: [u8; 32]) -> Self {
        let mut text = String::with_capacity(64);
        for byte in hash {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
            }
        }
        Self(text)
    }

    /// The digest of the JSON of something, written straight into the hash: fields in the order they are declared.
    pub fn of_serialized(value: &impl Serialize) -> Self {
        let mut hash = Hashing(Sha256::new());
        serde_json::to_writer(&mut hash, value).expect("a hash takes every byte, and what is digested is JSON");
        Self::hexadecimal(hash.0.finalize().into())
    }

    /// The digest of a JSON value, whatever the order of its keys.
    pub fn of_json(value: &serde_json::Value) -> Self {
        let mut text = Vec::new();
        write_canonical(value, &mut text);
        Self::of(&text)
    }

    /// All 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, for people.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A hash that can be written to.
struct Hashing(Sha256);

impl std::io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Writes JSON with sorted keys and no spaces. Numbers print as serde_json prints them: the form needs to be stable
/// between our own processes, not between implementations, so RFC 8785's number rules are not needed.
fn write_canonical(value: &serde_json::Value, out: &mut Vec<u8>) {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            out.push(b'{');
            for (index, key) in keys.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_plain(key, out);
                out.push(b':');
                write_canonical(&map[key], out);
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_canonical(item, out);
            }
            out.push(b']');
        }
        scalar => write_plain(scalar, out),
    }
}

fn write_plain(value: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("memory takes every byte, and texts and numbers are JSON");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn agrees_with_the_published_test_vector() {
        // FIPS 180-4, the one-block message "abc".
        assert_eq!(Digest::of(b"abc").as_str(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn the_order_of_keys_does_not_matter_and_the_order_of_items_does() {
        assert_eq!(Digest::of_json(&json!({"a": 1, "b": [1, 2]})), Digest::of_json(&json!({"b": [1, 2], "a": 1})));
        assert_ne!(Digest::of_json(&json!([1, 2])), Digest::of_json(&json!([2, 1])));
    }
}
