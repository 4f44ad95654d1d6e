//! Are the secrets there? Their values are fetched as a run would, and never shown.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Area, Here, Item, Verdict, steps_of};
use crate::base::secret::{SecretError, reference};
use crate::base::{Late, SecretSource};
use crate::plan::{Use, Uses};

/// Anybody on the machine may read the file.
const READABLE_BY_OTHERS: u32 = 0o004;

pub(super) fn items(here: &Here<'_>, uses: &Uses) -> Vec<Item> {
    let mut items = Vec::new();
    for (name, (source, folder)) in here.plan.secrets() {
        let steps = steps_of(uses.actions.iter().filter(|used| shows(used, &name, here)));
        let (from, help) = match source.place() {
            SecretSource::Late(late) => {
                let what = format!("secret `{name}` comes to be during the run: {}", comes_from(late));
                items.push(Item::new(Area::Secrets, Verdict::Ok, what).of_steps(&steps));
                continue;
            }
            SecretSource::Optional(_) => unreachable!("what is optional has a place of its own"),
            SecretSource::Env(variable) => (
                format!("the environment, `{variable}`"),
                format!("set `{variable}` in the environment of this command"),
            ),
            SecretSource::File(path) => {
                let path = folder.join(path);
                (format!("the file {}", path.display()), format!("write it to {}", path.display()))
            }
        };
        let what = format!("secret `{name}` from {from}");
        let item = match here.secrets.get(&name) {
            Ok(_) => match source.place() {
                SecretSource::File(path) => readable_by_others(&folder.join(path), &what),
                SecretSource::Env(_) | SecretSource::Late(_) | SecretSource::Optional(_) => None,
            }
            .unwrap_or_else(|| Item::new(Area::Secrets, Verdict::Ok, what)),
            Err(error) => {
                let found = match &error {
                    SecretError::NotSet { .. } => "it is not set".to_owned(),
                    SecretError::Unreadable { reason, .. } => reason.clone(),
                    SecretError::TooShort(_)
                    | SecretError::Undeclared(_)
                    | SecretError::NotYet(_)
                    | SecretError::NotGiven(_) => error.to_string(),
                };
                let verdict = if source.is_needed_before() { Verdict::Missing } else { Verdict::Warning };
                Item::new(Area::Secrets, verdict, what).found(found).help(help)
            }
        };
        items.push(item.of_steps(&steps));
    }
    items
}

/// The ways in which a secret comes to be during a run.
fn comes_from(late: &Late) -> String {
    match (&late.step, &late.prompt) {
        (Some(step), Some(_)) => format!("step `{step}` gives it, or a person is asked"),
        (Some(step), None) => format!("step `{step}` gives it"),
        (None, _) => "a person is asked".to_owned(),
    }
}

fn readable_by_others(path: &Path, what: &str) -> Option<Item> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    (mode & READABLE_BY_OTHERS != 0).then(|| {
        Item::new(Area::Secrets, Verdict::Warning, what)
            .found(format!("everybody on this machine may read it (mode {:o})", mode & 0o777))
            .help(format!("chmod 600 {}", path.display()))
    })
}

/// Does this use of an action show the secret to anybody?
fn shows(used: &Use, name: &str, here: &Here<'_>) -> bool {
    let by_parameter = |local: &str| used.params.to_string().contains(&reference(local));
    let locals = used.secrets.iter().filter(|(_, stands_for)| *stands_for == name).map(|(local, _)| local.as_str());
    let mut locals = locals.peekable();
    let by_contract = |local: &str| {
        let named = used.params.get("secret").and_then(serde_json::Value::as_str);
        match named {
            Some(named) => named == local,
            None => here.registry.get(&used.action).is_some_and(|action| action.contract().secrets.contains(&local)),
        }
    };
    locals.any(|local| by_parameter(local) || by_contract(local))
}
