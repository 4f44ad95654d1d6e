//! Could every gate be opened by the people it names?

use super::{Area, Here, Item, Verdict};
use crate::plan::{Gated, Uses};

pub(super) fn items(here: &Here<'_>, uses: &Uses) -> Vec<Item> {
    uses.gates.iter().map(|gate| item(here, gate)).collect()
}

fn item(here: &Here<'_>, gate: &Gated) -> Item {
    let Gated { step, approval } = gate;
    let what = format!("gate of `{step}`");
    let steps = std::slice::from_ref(step);
    let new = |verdict| Item::new(Area::Approvers, verdict, what.clone()).of_steps(steps);
    if approval.by.is_empty() {
        return new(Verdict::Ok).found("names nobody: whoever is at the terminal may answer");
    }
    let members = here.approvers.members(approval);
    let names = |members: &[&String]| -> String {
        members.iter().map(|member| member.trim_start_matches("user:")).collect::<Vec<_>>().join(", ")
    };
    let wanted = usize::try_from(approval.at_least).unwrap_or(usize::MAX);
    let all: Vec<&String> = members.iter().collect();
    let empty = here.approvers.empty_groups(&approval.by);
    if members.is_empty() {
        let groups: Vec<String> = empty.iter().map(|group| format!("`{group}`")).collect();
        return new(Verdict::Missing)
            .found(format!("nobody is in {}", groups.join(", ")))
            .help("write down who is in it, in `approvers.yaml` beside the runbook");
    }
    if all.len() < wanted {
        return new(Verdict::Missing)
            .found(format!("wants {wanted} people and names {}: {}", all.len(), names(&all)))
            .help("add people to the group, or lower `at_least`");
    }
    let others: Vec<&String> = if approval.not_requester {
        all.iter().copied().filter(|member| *member != here.requester).collect()
    } else {
        all.clone()
    };
    if others.len() < wanted {
        let requester = here.requester.trim_start_matches("user:");
        return new(Verdict::Missing)
            .found(format!(
                "wants {wanted} besides whoever starts the run, and that is you (`{requester}`); it leaves {}",
                others.len()
            ))
            .help("let somebody else start it, or add people to the group");
    }
    let found = format!("{wanted} of {}: {}", others.len(), names(&others));
    match empty.first() {
        Some(group) => new(Verdict::Warning)
            .found(format!("{found}; nobody is in `{group}`"))
            .help("write down who is in it, in `approvers.yaml` beside the runbook"),
        None => new(Verdict::Ok).found(found),
    }
}
