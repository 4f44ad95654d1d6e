//! Where one request goes: an address in clear, or one that is a secret as a whole (Slack's webhook).

use reqwest::Url;

use super::{HttpError, Origins, Request};
use crate::base::SecretStore;
use crate::base::redact::{MASK, SHORTEST_SECRET};
use crate::base::secret::{has_reference, is_reference, shown};

/// An address made ready: where to send, and what may be said of it.
#[derive(Debug)]
pub(super) struct Address {
    /// The real one, a stand-in's where there is one.
    pub(super) url: Url,
    /// How it is told: without its query, or as `‹secret slack›`.
    pub(super) told: String,
    /// Parts of a secret address, longest first.
    hidden: Vec<String>,
}

impl Address {
    /// Makes the address of a request ready.
    pub(super) fn of(request: &Request, secrets: &SecretStore, origins: &Origins) -> Result<Self, HttpError> {
        if request.query.iter().any(|(_, value)| has_reference(value))
            || (!request.secret && has_reference(&request.url))
        {
            return Err(HttpError::BadRequest(format!(
                "a secret would stand in the address {}; put it in a header",
                shown(&request.url)
            )));
        }
        let mut address = if request.secret { Self::hidden(request, secrets, origins)? } else { Self::open(request)? };
        if !request.query.is_empty() {
            address.url.query_pairs_mut().extend_pairs(&request.query);
        }
        address.url = origins.resolve(address.url).ok_or_else(|| HttpError::Refused { url: address.told.clone() })?;
        Ok(address)
    }

    fn open(request: &Request) -> Result<Self, HttpError> {
        let url = Url::parse(&request.url)
            .map_err(|error| HttpError::BadRequest(format!("`{}` is not an address: {error}", request.url)))?;
        Ok(Self { told: without_query(&url), url, hidden: Vec::new() })
    }

    /// The reasons of failures here name no part of the value: what is wrong with a secret is told without showing it.
    fn hidden(request: &Request, secrets: &SecretStore, origins: &Origins) -> Result<Self, HttpError> {
        let told = shown(&request.url);
        if !is_reference(&request.url) {
            return Err(HttpError::BadRequest("a secret address must be a secret as a whole".to_owned()));
        }
        let value = secrets.reveal(&request.url)?;
        let url = Url::parse(&value)
            .ok()
            .filter(|url| url.host_str().is_some())
            .ok_or_else(|| HttpError::BadRequest(format!("{told} holds no address")))?;
        if url.scheme() != "https" && !origins.has(&value) {
            return Err(HttpError::BadRequest(format!("{told} holds an address that does not begin with https://")));
        }
        let mut hidden: Vec<String> = [url.path(), url.host_str().unwrap_or_default(), url.query().unwrap_or_default()]
            .into_iter()
            .chain(url.path_segments().into_iter().flatten())
            .filter(|part| part.len() >= SHORTEST_SECRET)
            .map(str::to_owned)
            .chain([value])
            .collect();
        hidden.sort_by_key(|part| std::cmp::Reverse(part.len()));
        // An answer or a log may repeat the path without the host: that is the part which opens the door.
        secrets.redactor().learn(url.path());
        url.query().into_iter().for_each(|query| secrets.redactor().learn(query));
        Ok(Self { url, told, hidden })
    }

    /// A cause in the system's words, without any part of a secret address.
    pub(super) fn masked(&self, reason: String) -> String {
        self.hidden.iter().fold(reason, |reason, part| reason.replace(part.as_str(), MASK))
    }
}

fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::reference;
    use std::collections::BTreeMap;

    const WEBHOOK: &str = "https://hooks.slack.com/services/T0AB/B0CD/XyZ0123456789?k=more";

    fn secrets(value: &str) -> SecretStore {
        SecretStore::new(BTreeMap::new(), std::sync::Arc::default())
            .with_given(BTreeMap::from([("slack".to_owned(), value.to_owned())]))
    }

    fn of(request: &Request, value: &str) -> Result<Address, HttpError> {
        Address::of(request, &secrets(value), &Origins::default())
    }

    #[test]
    fn a_secret_address_is_known_by_its_name_alone() {
        let request = Request::at_secret("POST", reference("slack"));
        assert_eq!(request.address(), reference("slack"));
        let address = of(&request, WEBHOOK).unwrap();
        assert_eq!((address.url.as_str(), address.told.as_str()), (WEBHOOK, "‹secret slack›"));
        let reason = "no route to hooks.slack.com for /services/T0AB/B0CD/XyZ0123456789?k=more, tried XyZ0123456789";
        assert_eq!(address.masked(reason.into()), "no route to *** for ***?***, tried ***");
    }

    #[test]
    fn what_a_secret_address_must_be_is_said_without_it() {
        let request = Request::at_secret("POST", reference("slack"));
        for value in ["http://hooks.slack.com/services/T0AB", "no-address-T0AB", "mailto:T0AB@example.com"] {
            let error = of(&request, value).unwrap_err().to_string();
            assert!(error.starts_with("‹secret slack› holds") && !error.contains("T0AB"), "{error}");
        }
        let mut origins = Origins::default();
        origins.set("http://hooks.slack.com", "http://127.0.0.1:4010").unwrap();
        let address = Address::of(&request, &secrets("http://hooks.slack.com/services/T0AB"), &origins).unwrap();
        assert_eq!(address.url.as_str(), "http://127.0.0.1:4010/services/T0AB");
        origins.close();
        let refused = Address::of(&request, &secrets(WEBHOOK), &origins).unwrap_err();
        assert_eq!(refused.to_string(), "‹secret slack› has no stand-in in this drill; nothing was sent");
    }

    #[test]
    fn a_secret_stands_in_an_address_only_as_a_whole_and_on_purpose() {
        let inside = Request::get(format!("https://example.com/{}", reference("slack")));
        let query = Request::get("https://example.com/").query("k", reference("slack"));
        let query_of_secret = Request::at_secret("GET", reference("slack")).query("k", reference("slack"));
        for request in [Request::get(reference("slack")), inside, query, query_of_secret] {
            assert!(matches!(of(&request, WEBHOOK), Err(HttpError::BadRequest(_))), "{request:?}");
        }
        assert!(of(&Request::at_secret("GET", WEBHOOK), WEBHOOK).is_err(), "an address in clear is no secret one");
        let part = Request::at_secret("GET", format!("{}/more", reference("slack")));
        assert!(of(&part, "https://x.example/abc").is_err(), "a part of an address is not the whole");
    }

    #[test]
    fn the_path_alone_is_masked_from_then_on() {
        let secrets = secrets(WEBHOOK);
        Address::of(&Request::at_secret("POST", reference("slack")), &secrets, &Origins::default()).unwrap();
        let echoed = secrets.redactor().mask("no hook at /services/T0AB/B0CD/XyZ0123456789").into_owned();
        assert_eq!(echoed, "no hook at ***");
    }
}
