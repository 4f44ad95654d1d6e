//! Faults: single answers and single deployments that go wrong.

use super::ask::{Answer, Ask, refusal};
use super::scenario::{Aliased, Ends, Fault, FaultAnswer, StandIn};
use super::vercel::Serves;
use crate::base::HumanDuration;

/// Is this the request that a fault is about?
pub(super) fn is_about(fault: &Fault, on: StandIn, method: &str, path: &str) -> bool {
    fault.on.value == on && fault.request.as_deref().is_some_and(|request| fits(request, method, path))
}

/// Does `METHOD /path`, with `*` for any one segment, mean this request?
pub(super) fn fits(wanted: &str, method: &str, path: &str) -> bool {
    let Some((wanted_method, wanted_path)) = wanted.split_once(' ') else { return false };
    let segments = |path: &str| path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let (wanted, found) = (segments(wanted_path.trim()), segments(path));
    wanted_method == method
        && wanted.len() == found.len()
        && wanted.iter().zip(&found).all(|(wanted, found)| wanted == "*" || wanted == found)
}

/// The fault that strikes a request, given how many requests each fault has seen before.
pub(super) fn striking<'f>(faults: &'f [Fault], seen: &[u32], on: StandIn, ask: &Ask) -> Option<&'f FaultAnswer> {
    faults.iter().zip(seen).find_map(|(fault, seen)| {
        let first = fault.nth.unwrap_or(1);
        let number = seen + 1;
        let due = number >= first && number - first < fault.times.unwrap_or(1);
        fault.answer.as_ref().filter(|_| due && is_about(fault, on, &ask.method, &ask.path))
    })
}

/// The answer that a fault with a status gives.
pub(super) fn answer(on: StandIn, status: u16, retry_after: Option<u64>) -> Answer {
    let (code, message) = match status {
        429 => ("rate_limited", "Too many requests."),
        403 => ("forbidden", "Not allowed."),
        404 => ("not_found", "Not found."),
        409 => ("conflict", "Another change is under way."),
        _ => ("internal_server_error", "Something went wrong on our side."),
    };
    let answer = refusal(on, status, code, message);
    match retry_after {
        Some(seconds) => answer.header("retry-after", seconds.to_string()),
        None => answer,
    }
}

/// What is the matter with a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Fate {
    /// How its build ends.
    pub(super) ends: Ends,
    /// How long its build takes, if not as long as usual.
    pub(super) takes: Option<HumanDuration>,
    /// Whether the domain can be pointed at it, if not as usual.
    pub(super) aliased: Option<Aliased>,
    /// What the application is with it, if not what its source is.
    pub(super) serves: Option<Serves>,
}

/// What is the matter with the deployment of this number, from 1.
pub(super) fn of_deployment(faults: &[Fault], number: u32) -> Fate {
    let about = faults.iter().filter(|fault| fault.deployment == Some(number));
    about.fold(Fate::default(), |fate, fault| Fate {
        ends: fault.ends.unwrap_or(fate.ends),
        takes: fault.takes.or(fate.takes),
        aliased: fault.aliased.or(fate.aliased),
        serves: fault.serves.or(fate.serves),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::scenario::tests::scenario;

    #[test]
    fn the_nth_matching_request_is_struck_and_no_other() {
        let scenario = scenario(
            "world: { vercel: { project: shop } }
faults:
  - { on: vercel, request: \"PATCH /v12/deployments/*/cancel\", nth: 2, times: 2, answer: { status: 503 } }
",
        );
        let ask = |method: &str, path: &str| Ask { method: method.into(), path: path.into(), ..Ask::default() };
        let struck = |seen, ask: &Ask| striking(&scenario.faults, &[seen], StandIn::Vercel, ask).is_some();
        let cancel = ask("PATCH", "/v12/deployments/dpl_1/cancel");
        assert_eq!([0, 1, 2, 3].map(|seen| struck(seen, &cancel)), [false, true, true, false]);
        assert!(!struck(1, &ask("GET", "/v12/deployments/dpl_1/cancel")));
        assert!(!struck(1, &ask("PATCH", "/v12/deployments/dpl_1")));
        assert!(striking(&scenario.faults, &[1], StandIn::App, &cancel).is_none());
    }
}
