//! Where requests really go: a vendor's own address, or the stand-in that was named for it.

use std::collections::BTreeMap;

use reqwest::Url;

/// The vendors whose address can be set by name, with all addresses of their regions. Sources: the base addresses in each
/// vendor's own API reference.
const VENDORS: [(&str, &[&str]); 5] = [
    ("clerk", &["https://api.clerk.com"]),
    ("vercel", &["https://api.vercel.com"]),
    (
        "svix",
        &[
            "https://api.us.svix.com",
            "https://api.eu.svix.com",
            "https://api.ca.svix.com",
            "https://api.au.svix.com",
            "https://api.in.svix.com",
        ],
    ),
    ("slack", &["https://hooks.slack.com"]),
    ("pagerduty", &["https://events.pagerduty.com", "https://events.eu.pagerduty.com"]),
];

/// Their names.
pub const VENDOR_NAMES: [&str; 5] = ["clerk", "vercel", "svix", "slack", "pagerduty"];

/// Why an `--endpoint` was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginsError {
    /// No `=` in it.
    #[error("`{0}` is not of the form NAME=URL")]
    NoEquals(String),
    /// Neither a vendor nor an address before the `=`.
    #[error("`{name}` is neither a vendor ({known}) nor an address such as `https://status.clerk.com`")]
    UnknownVendor {
        /// What stood before the `=`.
        name: String,
        /// The vendors there are.
        known: String,
    },
    /// No address after the `=`.
    #[error("`{0}` is not an address such as `http://127.0.0.1:4010`")]
    NotAnAddress(String),
}

/// Maps origins (scheme, host, port) to other ones. Paths and queries stay.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    moved: BTreeMap<String, Url>,
    closed: bool,
}

impl Origins {
    /// Sends what is meant for `origin` to `target`.
    pub fn set(&mut self, origin: &str, target: &str) -> Result<(), OriginsError> {
        let named = VENDORS.iter().find(|(name, _)| *name == origin).map(|(_, bases)| *bases);
        let to = parse(target);
        for from in named.unwrap_or(&[origin]) {
            let unknown = || OriginsError::UnknownVendor { name: origin.to_owned(), known: VENDOR_NAMES.join(", ") };
            let from = parse(from).ok_or_else(unknown)?;
            let to = to.clone().ok_or_else(|| OriginsError::NotAnAddress(target.to_owned()))?;
            self.moved.insert(key(&from), to);
        }
        Ok(())
    }

    /// Reads `clerk=http://127.0.0.1:4010` or `https://status.clerk.com=http://127.0.0.1:4020`.
    pub fn set_from_text(&mut self, text: &str) -> Result<(), OriginsError> {
        // The last `=` before a scheme: addresses themselves hold none here.
        let (name, target) = text.rsplit_once('=').ok_or_else(|| OriginsError::NoEquals(text.to_owned()))?;
        self.set(name.trim(), target.trim())
    }

    /// From now on only what is mapped can be reached: a drill never leaves this machine.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Can only what is mapped be reached?
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Is there a place of its own for this address?
    pub fn has(&self, url: &str) -> bool {
        parse(url).is_some_and(|url| self.moved.contains_key(&key(&url)))
    }

    /// The names and targets, for messages.
    pub fn iter(&self) -> impl Iterator<Item = (&str, String)> {
        self.moved.iter().map(|(from, to)| (from.as_str(), to.to_string()))
    }

    /// Where a request for `url` goes. `None` when this client may not go there.
    pub(super) fn resolve(&self, url: Url) -> Option<Url> {
        let Some(target) = self.moved.get(&key(&url)) else { return (!self.closed).then_some(url) };
        let mut moved = target.clone();
        let prefix = target.path().trim_end_matches('/').to_owned();
        moved.set_path(&format!("{prefix}{}", url.path()));
        moved.set_query(url.query());
        Some(moved)
    }
}

/// The scheme, host and port of an address; `None` when it is none.
pub fn origin(address: &str) -> Option<String> {
    parse(address).map(|url| key(&url))
}

fn parse(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some())
}

fn key(url: &Url) -> String {
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_a_vendor_by_name_and_a_host_by_address() {
        let mut origins = Origins::default();
        origins.set_from_text("clerk=http://127.0.0.1:4010").unwrap();
        origins.set_from_text("https://status.clerk.com=http://127.0.0.1:4020/page").unwrap();
        let resolve = |url: &str| origins.resolve(Url::parse(url).unwrap()).unwrap().to_string();
        assert_eq!(resolve("https://api.clerk.com/v1/jwks?a=b"), "http://127.0.0.1:4010/v1/jwks?a=b");
        assert_eq!(
            resolve("https://status.clerk.com/api/v2/summary.json"),
            "http://127.0.0.1:4020/page/api/v2/summary.json"
        );
        assert_eq!(resolve("https://example.com/x"), "https://example.com/x");
    }

    #[test]
    fn a_name_stands_for_all_regions_of_a_vendor() {
        let mut origins = Origins::default();
        origins.set("svix", "http://127.0.0.1:4030").unwrap();
        origins.set("pagerduty", "http://127.0.0.1:4040").unwrap();
        for region in ["us", "eu", "ca", "au", "in"] {
            assert!(origins.has(&format!("https://api.{region}.svix.com")), "{region}");
        }
        assert!(origins.has("https://events.eu.pagerduty.com"));
    }

    #[test]
    fn the_names_are_those_of_the_vendors() {
        assert_eq!(VENDORS.map(|(name, _)| name), VENDOR_NAMES);
    }

    #[test]
    fn a_closed_map_lets_nothing_else_out() {
        let mut origins = Origins::default();
        origins.set("clerk", "http://127.0.0.1:4010").unwrap();
        origins.close();
        assert!(origins.resolve(Url::parse("https://example.com/").unwrap()).is_none());
    }

    #[test]
    fn says_what_is_wrong_with_an_endpoint() {
        let mut origins = Origins::default();
        assert_eq!(
            origins.set_from_text("clark=http://127.0.0.1:1").unwrap_err().to_string(),
            "`clark` is neither a vendor (clerk, vercel, svix, slack, pagerduty) nor an address such as `https://status.clerk.com`"
        );
        assert!(origins.set_from_text("clerk").is_err());
        assert!(origins.set_from_text("clerk=ftp://x").is_err());
    }
}
