//! Has the secrets at hand that come to be during a run: from memory, from the step that gave them, from a person.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::attempt::Try;
use super::people::{AskedSecret, People};
use crate::action::{ActionError, Contract, ErrorKind};
use crate::base::secret::references;
use crate::base::{BoxFuture, SecretStore, StepPath};

/// The secrets that one step needs and that are not in memory.
#[derive(Default)]
pub(super) struct Supply(pub(super) Vec<Lack>);

/// One secret that is not in memory, and the ways to have it.
pub(super) struct Lack {
    pub name: String,
    /// The step that cannot go on without it.
    pub step: StepPath,
    pub from: From,
    /// What to ask a person for it.
    pub prompt: Option<String>,
    pub secrets: Arc<SecretStore>,
    pub people: Arc<dyn People>,
    /// Where it is noted that a person typed it.
    pub typed: Arc<Mutex<BTreeSet<String>>>,
    /// One is fetched at a time: nobody is asked twice for the same, and no key is looked up twice.
    pub turn: Arc<tokio::sync::Mutex<()>>,
}

/// What became of the step that is to give a secret.
pub(super) enum From {
    /// There is no such step.
    Nowhere,
    /// It has succeeded, and can be asked for the secret again.
    Step(Box<Try>, Value),
    /// It gave nothing, and why.
    Nothing(String),
}

impl Supply {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Fetches them all; fails with the first that cannot be had.
    pub(super) fn fetch(self) -> BoxFuture<'static, Result<(), ActionError>> {
        Box::pin(async move {
            for lack in self.0 {
                lack.fetch().await?;
            }
            Ok(())
        })
    }
}

impl Lack {
    async fn fetch(self) -> Result<(), ActionError> {
        let _turn = self.turn.lock().await;
        if self.secrets.is_known(&self.name) {
            return Ok(());
        }
        let because = match self.from {
            From::Nowhere => None,
            From::Nothing(why) => Some(why),
            From::Step(a_try, output) => match a_try.recall(output).await {
                Ok(secret) => return Ok(self.secrets.put(&self.name, secret)?),
                Err(error) => Some(error.message),
            },
        };
        let cannot = |why: &str| {
            let mut message = format!("secret `{}` cannot be had: ", self.name);
            message.extend(because.iter().map(|because| format!("{because}; ")));
            message.push_str(why);
            ActionError::new(ErrorKind::Secret, message)
        };
        let Some(prompt) = self.prompt else {
            return Err(cannot("give it a `prompt` as well, so that a person can be asked"));
        };
        let asked = AskedSecret { name: self.name.clone(), step: self.step, prompt, because: because.clone() };
        match self.people.ask_secret(asked).await {
            Some(secret) => {
                self.secrets.put(&self.name, secret)?;
                self.typed.lock().unwrap_or_else(PoisonError::into_inner).insert(self.name);
                Ok(())
            }
            None => Err(cannot("it is asked for at a terminal, and nobody can be asked here; run it at one")),
        }
    }
}

/// The secrets, by their names in the run, that an action takes: those that its texts refer to, and those that its
/// parameters name or its contract says. `names` says which secret of the run a name in its runbook stands for.
pub(super) fn taken(
    contract: Option<&Contract>,
    names: &BTreeMap<String, String>,
    params: &Value,
    checkpoint: Option<&Value>,
) -> BTreeSet<String> {
    let mut taken = BTreeSet::new();
    [Some(params), checkpoint].into_iter().flatten().for_each(|value| references(value, &mut taken));
    let named = |key: &String| key == "secret" || key.ends_with("_secret");
    let entries = params.as_object().into_iter().flatten();
    let by_param: Vec<&str> = entries.filter(|(key, _)| named(key)).filter_map(|(_, value)| value.as_str()).collect();
    let by_contract = contract.map_or(&[][..], |contract| contract.secrets).iter().copied();
    let local = if params.get("secret").is_some_and(Value::is_string) {
        by_param
    } else {
        by_param.into_iter().chain(by_contract).collect()
    };
    taken.extend(local.into_iter().filter_map(|name| names.get(name)).cloned());
    taken
}
