//! Does every host answer that a request of the plan goes to? Asked for nothing in particular, and without a key.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::accounts::{no_answer, no_answer_help};
use super::{AT_ONCE, Area, Here, Item, Verdict, steps_of, system_of, uses_by};
use crate::action::Intent;
use crate::http::{Client, HttpError, Request, origin};
use crate::plan::{Use, Uses};

/// A host that is known, or the words for one that only the run can tell.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Host {
    Known(String),
    Later(String),
}

/// Reaches every host but those that have answered already.
pub(super) async fn reach(here: &Here<'_>, uses: &Uses, answered: &BTreeSet<String>, systems: &[String]) -> Vec<Item> {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut under_way = JoinSet::new();
    let mut items = Vec::new();
    for (number, (host, by)) in uses_by(uses, |used| hosts(here, used)).into_iter().enumerate() {
        let steps = steps_of(by);
        match host {
            Host::Known(host) => {
                let mut item = Item::new(Area::Hosts, Verdict::Ok, &host).of_steps(&steps);
                item.outage_of = system_of(&host, systems);
                if answered.contains(&host) {
                    items.push((number, item.found("it has answered above")));
                    continue;
                }
                let (http, room) = (here.http.clone(), Arc::clone(&room));
                under_way.spawn(async move {
                    let _turn = room.acquire().await;
                    (number, reached(&http, &host, item).await)
                });
            }
            Host::Later(address) => {
                let item = Item::new(Area::Hosts, Verdict::Unknown, address).of_steps(&steps);
                items.push((number, item.found("only the run can tell which host this is")));
            }
        }
    }
    while let Some(done) = under_way.join_next().await {
        items.push(done.expect("a look does not panic, and nobody stops it"));
    }
    items.sort_by_key(|(number, _)| *number);
    items.into_iter().map(|(_, item)| item).collect()
}

fn hosts(here: &Here<'_>, used: &Use) -> Vec<Host> {
    let mut params = used.params.clone();
    mark_later(&mut params);
    let intents = here.registry.get(&used.action).and_then(|action| action.describe(&params)).unwrap_or_default();
    let mut hosts: Vec<Host> = intents
        .into_iter()
        .filter_map(|intent| match intent {
            Intent::Request { url, .. } => host(&url),
            Intent::Process { .. } | Intent::Note { .. } => None,
        })
        .collect();
    hosts.sort();
    hosts.dedup();
    hosts
}

fn host(address: &str) -> Option<Host> {
    let after_scheme = address.find("://").map_or(0, |at| at + 3);
    let end = address[after_scheme..].find(['/', '?', '#']).map_or(address.len(), |at| after_scheme + at);
    let head = &address[..end];
    if head.contains(LATER) {
        Some(Host::Later(head.replace(LATER, "‹…›")))
    } else {
        origin(address).map(Host::Known)
    }
}

/// What only the run can tell, as a word that may stand in the name of a host: `‹…›` would be encoded as another one.
const LATER: &str = "known-only-then";

fn mark_later(params: &mut Value) {
    match params {
        Value::String(text) => {
            while let Some(begin) = text.find('‹') {
                let end = text[begin..].find('›').map_or(text.len(), |at| begin + at + '›'.len_utf8());
                text.replace_range(begin..end, LATER);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mark_later),
        Value::Object(map) => map.values_mut().for_each(mark_later),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Any answer will do: whoever refuses is there. The way is that of a run: the same endpoints, proxy and certificates.
async fn reached(http: &Client, host: &str, item: Item) -> Item {
    match http.send(Request::new("HEAD", format!("{host}/"))).await {
        Ok(_) | Err(HttpError::Broken { .. } | HttpError::TooLarge { .. }) => item,
        Err(error) => {
            let found = match error {
                HttpError::Network { reason, .. } => no_answer(reason),
                other => other.to_string(),
            };
            Item { verdict: Verdict::Missing, ..item }.found(found).help(no_answer_help())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_known_even_where_its_path_is_not() {
        let host_in = |address: &str| {
            let mut address = Value::from(address);
            mark_later(&mut address);
            host(address.as_str().unwrap())
        };
        assert_eq!(
            host_in("https://a.example.com:8443/‹x›?y=1"),
            Some(Host::Known("https://a.example.com:8443".into()))
        );
        assert_eq!(host_in("https://‹a.b›.example.com/x"), Some(Host::Later("https://‹…›.example.com".into())));
        assert_eq!(host_in("no address"), None);
    }
}
