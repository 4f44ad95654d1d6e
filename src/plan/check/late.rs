//! Secrets that come to be during the run: which step gives one, and who may take it when.

use super::Checker;
use super::names::Place;
use crate::action::AnyAction;
use crate::base::diagnostic::nearest;
use crate::base::{Code, StepId};
use crate::plan::action_name;

impl Checker<'_> {
    /// The step that is to give a secret is there, and gives one.
    pub(super) fn late_secrets(&mut self) {
        let loaded = self.loaded;
        for (name, source) in &loaded.runbook.secrets {
            let Some(id) = source.late().and_then(|late| late.step.as_ref()) else { continue };
            let at = ["secrets", name.as_str(), "step"];
            let Some(step) = loaded.runbook.step(id) else {
                // A step that could not be read is there all the same.
                if loaded.names("steps").chain(loaded.names("finally")).any(|known| known == id.as_str()) {
                    continue;
                }
                let near = nearest(id.as_str(), loaded.runbook.steps.keys().map(StepId::as_str));
                let help = near.map_or_else(|| self.givers(), |near| format!("did you mean `{near}`?"));
                let message = format!("step `{id}` is to give the secret `{name}`, and does not exist");
                self.error(&at, Code::UnknownStep, message).help = Some(help);
                continue;
            };
            let action = action_name(step).and_then(|uses| self.registry.get(uses));
            if action.is_some_and(|action| action.contract().gives.is_none()) || action_name(step).is_none() {
                let what = action_name(step).map_or("it".to_owned(), |uses| format!("`{uses}`"));
                let message = format!("step `{id}` is to give the secret `{name}`, and {what} gives none");
                let help = self.givers();
                self.error(&at, Code::GivesNoSecret, message).help = Some(help);
            } else if step.for_each.is_some() {
                let message =
                    format!("step `{id}` is to give the secret `{name}`, and is a loop, which would give many");
                self.error(&at, Code::GivesNoSecret, message).help =
                    Some("do it in a step of its own, or in a runbook that the loop calls".to_owned());
            }
        }
    }

    /// The actions that give a secret.
    fn givers(&self) -> String {
        let gives = |action: &dyn AnyAction| action.contract().gives.is_some();
        let names: Vec<&str> =
            self.registry.iter().filter(|action| gives(action.as_ref())).map(|action| action.contract().name).collect();
        format!("these give one: {}", names.join(", "))
    }

    /// Why a secret cannot be taken at this place, and a way out: nothing makes the step wait for the one that gives it.
    pub(super) fn too_early(&self, place: &Place<'_>, name: &str) -> Option<(String, String)> {
        let late = self.loaded.runbook.secrets.get(name)?.late()?;
        let gives = late.step.as_ref()?;
        self.loaded.runbook.step(gives)?;
        let id = place.id;
        if id == gives {
            let may = place.starts_with(&["undo"]);
            let message = format!("step `{id}` gives the secret `{name}`, and cannot take it before it has ended");
            return (!may).then(|| (message, "let a step after it take the secret".to_owned()));
        }
        (!self.is_upstream(place, gives)).then(|| {
            let message =
                format!("step `{id}` takes the secret `{name}` and does not wait for `{gives}`, which gives it");
            let how = if late.prompt.is_some() { "finished" } else { "succeeded" };
            (message, format!("let it wait: `needs: {{ {gives}: {how} }}`, or for a step that does"))
        })
    }
}
