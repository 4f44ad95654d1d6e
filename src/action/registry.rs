//! The registry: every action by name, with its types erased so that the engine need not know them.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use schemars::{Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Action, ActionContext, ActionError, Done, Effect, Intent, Load, Need, Probed, Replay};
use crate::base::{BoxFuture, Secret};

/// What an undo leaves to be said.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Undone {
    /// What was done, for the log: `removed CLERK_EMERGENCY_BYPASS_MODE`.
    pub summary: String,
    /// What the undo could not put back, if anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
}

/// The constants of an action, as data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contract {
    /// The name after `uses:`.
    pub name: &'static str,
    /// One line about it.
    pub summary: &'static str,
    /// Does it change the world?
    pub effect: Effect,
    /// What to do with an attempt whose end nobody saw.
    pub replay: Replay,
    /// What its inverse does.
    pub undo: Option<&'static str>,
    /// Secrets it takes by name.
    pub secrets: &'static [&'static str],
    /// The secret that it gives when it succeeds.
    pub gives: Option<&'static str>,
    /// Which limit it counts against.
    pub load: Load,
}

/// An [`Action`] with its types erased: JSON in, JSON out.
pub trait AnyAction: Send + Sync {
    /// The constants.
    fn contract(&self) -> Contract;
    /// Schema of `with:`.
    fn params_schema(&self, generator: &mut SchemaGenerator) -> Schema;
    /// Schema of `.outputs`.
    fn output_schema(&self, generator: &mut SchemaGenerator) -> Schema;
    /// Do these parameters fit? The text says what does not.
    fn check_params(&self, params: &Value) -> Result<(), String>;
    /// What it is going to do; `None` when the parameters do not fit yet.
    fn describe(&self, params: &Value) -> Option<Vec<Intent>>;
    /// What the other side must grant before it can work; `None` when the parameters do not fit yet.
    fn needs(&self, params: &Value) -> Option<Vec<Need>>;
    /// Does it.
    fn run<'a>(&'a self, cx: &'a ActionContext, params: Value) -> BoxFuture<'a, Result<Value, ActionError>>;
    /// Finds out whether an attempt in doubt happened.
    fn probe<'a>(&'a self, cx: &'a ActionContext, params: Value) -> BoxFuture<'a, Result<Probed<Value>, ActionError>>;
    /// Finds again the secret that it gave.
    fn recall<'a>(
        &'a self,
        cx: &'a ActionContext,
        params: Value,
        output: Value,
    ) -> BoxFuture<'a, Result<Secret, ActionError>>;
    /// Reverses it.
    fn undo<'a>(
        &'a self,
        cx: &'a ActionContext,
        params: Value,
        done: Done<Value>,
    ) -> BoxFuture<'a, Result<Undone, ActionError>>;
}

impl<A: Action> AnyAction for A {
    fn contract(&self) -> Contract {
        Contract {
            name: A::NAME,
            summary: A::SUMMARY,
            effect: A::EFFECT,
            replay: A::REPLAY,
            undo: A::UNDO,
            secrets: A::SECRETS,
            gives: A::GIVES,
            load: A::LOAD,
        }
    }

    fn params_schema(&self, generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<A::Params>()
    }

    fn output_schema(&self, generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<A::Output>()
    }

    fn check_params(&self, params: &Value) -> Result<(), String> {
        serde_json::from_value::<A::Params>(params.clone()).map(drop).map_err(|error| error.to_string())
    }

    fn describe(&self, params: &Value) -> Option<Vec<Intent>> {
        let params = serde_json::from_value(params.clone()).ok()?;
        Some(Action::describe(self, &params))
    }

    fn needs(&self, params: &Value) -> Option<Vec<Need>> {
        let params = serde_json::from_value(params.clone()).ok()?;
        Some(Action::needs(self, &params))
    }

    fn run<'a>(&'a self, cx: &'a ActionContext, params: Value) -> BoxFuture<'a, Result<Value, ActionError>> {
        Box::pin(async move {
            let output = Action::run(self, cx, typed::<A>(params)?).await?;
            to_json(&output)
        })
    }

    fn probe<'a>(&'a self, cx: &'a ActionContext, params: Value) -> BoxFuture<'a, Result<Probed<Value>, ActionError>> {
        Box::pin(async move {
            Ok(match Action::probe(self, cx, typed::<A>(params)?).await? {
                Probed::Happened(output) => Probed::Happened(to_json(&output)?),
                Probed::DidNotHappen => Probed::DidNotHappen,
                Probed::Unknown => Probed::Unknown,
            })
        })
    }

    fn recall<'a>(
        &'a self,
        cx: &'a ActionContext,
        params: Value,
        output: Value,
    ) -> BoxFuture<'a, Result<Secret, ActionError>> {
        Box::pin(async move {
            let output = serde_json::from_value(output).map_err(|error| unreadable::<A>(&error))?;
            Action::recall(self, cx, typed::<A>(params)?, output).await
        })
    }

    fn undo<'a>(
        &'a self,
        cx: &'a ActionContext,
        params: Value,
        done: Done<Value>,
    ) -> BoxFuture<'a, Result<Undone, ActionError>> {
        Box::pin(async move {
            let output =
                done.output.map(serde_json::from_value).transpose().map_err(|error| unreadable::<A>(&error))?;
            Action::undo(self, cx, typed::<A>(params)?, Done { output, checkpoint: done.checkpoint }).await
        })
    }
}

fn typed<A: Action>(params: Value) -> Result<A::Params, ActionError> {
    serde_json::from_value(params)
        .map_err(|error| ActionError::invalid_params(format!("the parameters do not fit `{}`: {error}", A::NAME)))
}

fn unreadable<A: Action>(error: &serde_json::Error) -> ActionError {
    ActionError::invalid_params(format!("the recorded output of `{}` cannot be read: {error}", A::NAME))
}

fn to_json(output: &impl Serialize) -> Result<Value, ActionError> {
    serde_json::to_value(output).map_err(|error| ActionError::invalid_response(error.to_string()))
}

/// Every action by name.
#[derive(Clone, Default)]
pub struct Registry {
    actions: BTreeMap<&'static str, Arc<dyn AnyAction>>,
    /// What others worked out about an action, by its name: schemas take long to make, and thousands of files ask for them.
    remembered: Arc<Mutex<BTreeMap<&'static str, Arc<dyn Any + Send + Sync>>>>,
}

impl Registry {
    /// Adds an action. The last one of a name wins.
    #[must_use]
    pub fn with(mut self, action: impl Action) -> Self {
        let action: Arc<dyn AnyAction> = Arc::new(action);
        self.remembered = Arc::default();
        self.actions.insert(action.contract().name, action);
        self
    }

    /// What is worked out once about an action and kept with it. One type of thing can be kept for each.
    pub fn remembered<T: Send + Sync + 'static>(&self, name: &'static str, make: impl FnOnce() -> Arc<T>) -> Arc<T> {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = remembered.get(name).and_then(|known| Arc::clone(known).downcast().ok()) {
            return known;
        }
        let made = make();
        remembered.insert(name, Arc::clone(&made) as Arc<dyn Any + Send + Sync>);
        made
    }

    /// The action of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn AnyAction>> {
        self.actions.get(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.actions.keys().copied()
    }

    /// All actions, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn AnyAction>> {
        self.actions.values()
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}
