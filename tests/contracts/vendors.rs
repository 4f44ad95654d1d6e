//! Which file speaks for whom, and what the files do not say.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Once;

use runbook::drill::{Answering, Exchange, StandIn};
use serde_json::Value;

use crate::openapi::{Contract, Declared};

/// The files, where they are.
pub(crate) struct Vendors(Vec<Contract>);

const FILES: [&str; 4] = ["clerk-backend", "clerk-platform", "vercel", "svix"];

impl Vendors {
    /// Reads the files. `None` where they are not, which is said.
    pub(crate) fn load() -> Option<Self> {
        let named = std::env::var_os("RUNBOOK_VENDOR_CONTRACTS").map(PathBuf::from);
        let folder = named.clone().unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vendor"));
        let paths = FILES.map(|name| folder.join(format!("{name}.openapi.json")));
        if let Some(missing) = paths.iter().find(|path| !path.is_file()) {
            assert!(named.is_none(), "RUNBOOK_VENDOR_CONTRACTS is set, and there is no {}", missing.display());
            // Once for all the tests, and not by `eprintln!`: what a test prints is shown only when it fails.
            static SAID: Once = Once::new();
            SAID.call_once(|| {
                let _ = writeln!(
                    std::io::stderr(),
                    "SKIPPED, no request was held against the vendors' contracts: there is no {}; \
                     RUNBOOK_VENDOR_CONTRACTS names the folder of their OpenAPI files",
                    missing.display()
                );
            });
            return None;
        }
        Some(Self(paths.iter().map(|path| Contract::load(path)).collect()))
    }

    /// The files that speak for a stand-in.
    fn of(&self, on: StandIn) -> Result<Vec<&Contract>, &'static str> {
        let names: &[&str] = match on {
            StandIn::Clerk => &["clerk-backend", "clerk-platform"],
            StandIn::Vercel => &["vercel"],
            StandIn::Svix => &["svix"],
            StandIn::ClerkFrontend => return Err("no file of the Frontend API is among the contracts"),
            StandIn::StatusPage => return Err("a status page has no contract, only customs"),
            StandIn::App => return Err("the application is the customer's own"),
            StandIn::Slack => return Err("an incoming webhook has no contract file"),
            StandIn::Pagerduty => return Err("no file of the Events API is among the contracts"),
        };
        Ok(self.0.iter().filter(|contract| names.contains(&contract.name.as_str())).collect())
    }

    pub(crate) fn contract(&self, name: &str) -> &Contract {
        self.0.iter().find(|contract| contract.name == name).unwrap()
    }

    /// Holds an exchange against the contract.
    pub(crate) fn judge(&self, exchange: &Exchange) -> Verdict {
        let contracts = match self.of(exchange.on) {
            Ok(contracts) => contracts,
            Err(why) => return Verdict::Outside(why),
        };
        let request = &exchange.request;
        let found = contracts
            .iter()
            .find_map(|contract| Some((*contract, contract.operation(&request.method, &request.path)?)));
        let Some((contract, operation)) = found else {
            return match unlisted(exchange.on, &request.method, &request.path) {
                Some(why) => Verdict::Outside(why),
                None => Verdict::Judged(Judged {
                    operation: format!("{} {}", request.method, request.path),
                    wrong: vec!["no contract has this operation".to_owned()],
                }),
            };
        };
        let told = |of: &'static str| move |wrong: String| format!("{of}: {wrong}");
        let mut wrong: Vec<String> =
            contract.wrong_with_request(operation, request).into_iter().map(told("request")).collect();
        // A drill tells stand-ins to cut answers off, too; those are nobody's contract.
        let is_whole = |answer: &&Answering| !exchange.spoiled || serde_json::from_str::<Value>(&answer.body).is_ok();
        if let Some(answer) = exchange.answer.as_ref().filter(is_whole) {
            let (declared, found) = contract.wrong_with_answer(operation, answer);
            wrong.extend(found.into_iter().map(told("answer")));
            if declared == Declared::Undeclared {
                wrong.extend(wrong_with_undeclared(exchange.on, contract, answer).into_iter().map(told("answer")));
            }
        }
        Verdict::Judged(Judged { operation: format!("{}: {}", contract.name, operation.name), wrong })
    }
}

/// What became of an exchange.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// There is nothing to hold it against, and why.
    Outside(&'static str),
    /// It was held against an operation.
    Judged(Judged),
}

/// An exchange that was held against an operation.
#[derive(Debug)]
pub(crate) struct Judged {
    /// The file and the operation.
    pub(crate) operation: String,
    /// What is wrong with it.
    pub(crate) wrong: Vec<String>,
}

/// Operations that the files leave out although the vendor has them.
fn unlisted(on: StandIn, method: &str, path: &str) -> Option<&'static str> {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match (on, method, segments.as_slice()) {
        (StandIn::Vercel, "POST", ["v1", "projects", _, "rolling-release", "complete"]) => {
            Some("the file has no rolling releases; the request is written after the vendor's own SDK")
        }
        (StandIn::Vercel, "PATCH" | "GET", ["v1", "edge-config", ..]) => {
            Some("the file has no Edge Config; the request is written after the vendor's own SDK")
        }
        (StandIn::Svix, "PATCH", ["api", "v1", "app", _, "endpoint", _]) => {
            Some("the file has no change of an endpoint; the request is written after the vendor's own clients")
        }
        _ => None,
    }
}

/// Answers that the vendors give without declaring them. Each still has to have the vendor's shape of a refusal.
fn wrong_with_undeclared(on: StandIn, contract: &Contract, answer: &Answering) -> Vec<String> {
    let is_json = answer.content_type.starts_with("application/json");
    match (on, answer.status) {
        // Whatever stands before an API answers with a page when the API is gone.
        (_, 502 | 504) if !is_json => Vec::new(),
        // Its own shape, by the vendor's page on maintenance: every write, for as long as it lasts.
        (StandIn::Clerk, 503) if answer.body.contains("maintenance_mode") => wrong_with_maintenance(&answer.body),
        // Every operation needs a key and none is above failing, but few operations say so; 429 is on no operation, and
        // described on the vendor's page on limits; what is not there is 404 whether declared or not.
        (StandIn::Clerk, 401 | 403 | 404 | 422 | 429 | 500..=503) => {
            contract.wrong_with_component("ClerkErrors", &answer.body)
        }
        // Its reference names them once for all operations.
        (StandIn::Vercel, 404 | 409 | 422 | 500..=503) => contract.wrong_with_component("VercelError", &answer.body),
        // Declared for no operation; its server answers in its usual shape.
        (StandIn::Svix, 413 | 500..=503) => contract.wrong_with_component("HttpErrorOut", &answer.body),
        (_, status) => vec![format!("the status {status} is not declared: {}", answer.body)],
    }
}

fn wrong_with_maintenance(body: &str) -> Vec<String> {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let fields = ["shortMessage", "longMessage", "code"];
    let missing = fields.iter().filter(|field| !body[**field].is_string());
    missing.map(|field| format!("maintenance has `{field}`")).collect()
}
