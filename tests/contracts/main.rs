//! What runbooks ask of the vendors, and what the stand-ins answer, held against the vendors' own OpenAPI files.
//!
//! Every shipped drill is held, and the cases in `cases/`, which use each action with each of its parameters. The
//! transcript of the stand-ins has every request as it came over the wire, and every answer. The files are the vendors'
//! and not in this repository: `RUNBOOK_VENDOR_CONTRACTS` names their folder.

mod asking;
mod openapi;
mod operations;
mod plays;
mod reader;
mod silences;
mod vendors;

use std::collections::{BTreeMap, BTreeSet};

use runbook::drill::Exchange;

use plays::Place;
use vendors::{Vendors, Verdict};

/// Actions whose requests no file speaks of, and why.
const OUTSIDE: [(&str, &str); 11] = [
    ("clerk.frontend_health", "the Frontend API has no file here"),
    ("clerk.session_refresh", "the Frontend API has no file here"),
    ("http.get", "asks whatever it is told to"),
    ("http.probe", "asks whatever it is told to"),
    ("http.request", "asks whatever it is told to"),
    ("pagerduty.", "the Events API has no file here"),
    ("report.render", "sends nothing"),
    ("shell", "sends nothing"),
    ("slack.", "incoming webhooks have no file"),
    ("sql.", "speaks to a database"),
    ("status.", "status pages have customs and no contract"),
];

/// How many exchanges of one operation and status are looked at: a sweep has thousands of the same.
const MOST_OF_A_KIND: usize = 200;

fn is_outside(action: &str) -> bool {
    OUTSIDE.iter().any(|(name, _)| *name == action || (name.ends_with('.') && action.starts_with(name)))
}

/// Holds exchanges against the files. Gives how often each operation was seen; panics with all that is wrong.
fn judged(vendors: &Vendors, exchanges: &[Exchange]) -> BTreeMap<String, usize> {
    let (mut seen, mut wrong, mut outside) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut alike: BTreeMap<(String, Option<u16>), usize> = BTreeMap::new();
    for exchange in exchanges {
        let status = exchange.answer.as_ref().map(|answer| answer.status);
        let rough = format!("{} {} {}", exchange.on, exchange.request.method, rough(&exchange.request.path));
        let count = alike.entry((rough, status)).or_default();
        *count += 1;
        if *count > MOST_OF_A_KIND {
            continue;
        }
        match vendors.judge(exchange) {
            Verdict::Outside(why) => *outside.entry((exchange.on.name(), why)).or_insert(0) += 1,
            Verdict::Judged(judged) => {
                for one in judged.wrong {
                    let told = format!("{}: {one}", judged.operation);
                    wrong.entry(told).or_insert_with(|| shown(exchange));
                }
                *seen.entry(judged.operation).or_insert(0) += 1;
            }
        }
    }
    let told: Vec<String> = wrong.iter().map(|(told, exchange)| format!("{told}\n    in {exchange}")).collect();
    assert!(told.is_empty(), "{} things are not as the vendors say:\n{}", told.len(), told.join("\n"));
    for ((on, why), count) in outside {
        println!("{count} exchanges with `{on}` are held against nothing: {why}");
    }
    seen
}

/// A path with ids taken out, so that what is alike is counted together.
fn rough(path: &str) -> String {
    let kept =
        path.split('/').map(|part| if part.contains('_') && part.contains(char::is_numeric) { "*" } else { part });
    kept.collect::<Vec<_>>().join("/")
}

fn shown(exchange: &Exchange) -> String {
    let request = &exchange.request;
    let answer =
        exchange.answer.as_ref().map_or_else(|| "no answer".to_owned(), |a| format!("{} {}", a.status, a.body));
    let mut told = format!("{} {} {:?} {} -> {answer}", request.method, request.path, request.query, request.body);
    if told.len() > 1500 {
        let cut = (0..=1500).rev().find(|at| told.is_char_boundary(*at)).unwrap_or(0);
        told.truncate(cut);
    }
    told
}

#[test]
fn whatever_the_shipped_drills_ask_and_get_is_as_the_vendors_say() {
    let Some(vendors) = Vendors::load() else { return };
    let place = Place::new();
    // Whether they pass is for the drills themselves to say.
    let exchanges = place.held("runbooks");
    let seen = judged(&vendors, &exchanges);
    assert!(seen.len() >= 8, "{seen:?}");
}

#[test]
fn every_action_with_every_parameter_keeps_to_the_contracts() {
    let Some(vendors) = Vendors::load() else { return };
    let place = Place::new();
    let exchanges = place.held("tests/contracts/cases");
    let board = place.board();
    assert!(board.failed.is_empty(), "cases did not go as they should:\n{}", board.failed.join("\n"));
    let seen = judged(&vendors, &exchanges);
    for (operation, count) in &seen {
        println!("{count:5} {operation}");
    }
    let used = place.used();
    let mut missing = Vec::new();
    for action in runbook::actions::builtin().iter() {
        let name = action.contract().name;
        if is_outside(name) {
            continue;
        }
        let Some(given) = used.get(name) else {
            missing.push(format!("no case uses `{name}` with success"));
            continue;
        };
        for parameter in plays::parameters(action.as_ref()) {
            if !given.contains(&parameter) {
                missing.push(format!("no case gives `{name}` its `{parameter}`"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_question_of_preflight_keeps_to_the_contracts() {
    let Some(vendors) = Vendors::load() else { return };
    let place = Place::new();
    let mut exchanges = Vec::new();
    for case in plays::cases() {
        exchanges.extend(place.questions(&case));
    }
    let seen = judged(&vendors, &exchanges);
    for operation in ["clerk-backend: GET /instance", "vercel: GET /v2/user", "vercel: GET /v9/projects/{idOrName}"] {
        assert!(seen.contains_key(operation), "{operation} in {seen:?}");
    }
}

#[test]
fn what_is_outside_is_there_and_says_why() {
    let names: BTreeSet<&str> = runbook::actions::builtin().iter().map(|action| action.contract().name).collect();
    for (outside, why) in OUTSIDE {
        let is_family = outside.ends_with('.');
        let known = names.iter().any(|name| *name == outside || (is_family && name.starts_with(outside)));
        // Families may be empty: what will be in them has no contract either.
        assert!(known || is_family, "there is no action `{outside}`");
        assert!(!why.is_empty());
    }
}
