//! `vercel.edge_config.set`: values that a running deployment reads, without a build.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Scope, Vercel, default_secret};
use crate::action::{
    Action, ActionContext, ActionError, Done, Effect, ErrorKind, Intent, Need, Probed, Replay, Undone,
};
use crate::http::{Request, path_segment};

/// How many items one request may change.
const MOST_ITEMS: usize = 100;

/// Sets items of an Edge Config. The running deployments read them within seconds: no build is needed. The values from
/// before are kept in the run log, so that an undo can restore them.
#[derive(Debug)]
pub struct EdgeConfigSet;

/// Which items, and to what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VercelEdgeConfigSetParams {
    /// The Edge Config's id (`ecfg_…`).
    pub edge_config: String,
    /// The items and their values, of any kind. No secrets: whoever has the read token sees them.
    pub items: BTreeMap<String, Value>,
    /// The team's id (`team_…`) or slug, where it belongs to a team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The name of the secret that holds a Vercel token.
    #[serde(default = "default_secret")]
    pub secret: String,
}

/// What was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VercelEdgeConfigSetOutput {
    /// All the keys, sorted.
    pub set: Vec<String>,
    /// Those that did not exist before this step.
    pub created: Vec<String>,
    /// Those whose value was another one before.
    pub changed: Vec<String>,
}

/// What was there before the first try: `None` where nothing was. A `null` is a value.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Prior {
    items: BTreeMap<String, Before>,
}

/// An item as it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Before {
    Absent,
    Held(Value),
}

impl Prior {
    fn read(checkpoint: &Value) -> Result<Self, ActionError> {
        Self::deserialize(checkpoint).map_err(|error| {
            let reason = format!("the recorded state from before cannot be read: {error}");
            ActionError::new(ErrorKind::Internal, reason)
        })
    }
}

impl VercelEdgeConfigSetParams {
    fn scope(&self) -> Scope<'_> {
        Scope { project: "", team: self.team.as_deref() }
    }

    fn id(&self) -> Result<String, ActionError> {
        path_segment(&self.edge_config)
            .ok_or_else(|| ActionError::invalid_params(format!("`{}` is no Edge Config's id", self.edge_config)))
    }

    fn check(&self) -> Result<String, ActionError> {
        if self.items.is_empty() || self.items.len() > MOST_ITEMS {
            return Err(ActionError::invalid_params(format!("`items` holds 1 to {MOST_ITEMS} items")));
        }
        let plain = |key: &String| key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        match self.items.keys().find(|key| key.is_empty() || !plain(key)) {
            Some(key) => Err(ActionError::invalid_params(format!("`{key}` cannot name an item"))),
            None => self.id(),
        }
    }

    fn upserts(&self) -> Value {
        let upsert = |(key, value): (&String, &Value)| json!({ "operation": "upsert", "key": key, "value": value });
        self.items.iter().map(upsert).collect()
    }

    fn output(&self, prior: &Prior) -> VercelEdgeConfigSetOutput {
        let was = |key: &String| prior.items.get(key).unwrap_or(&Before::Absent);
        let keys = || self.items.keys().cloned();
        let other = |key: &String| matches!(was(key), Before::Held(value) if Some(value) != self.items.get(key));
        VercelEdgeConfigSetOutput {
            set: keys().collect(),
            created: keys().filter(|key| *was(key) == Before::Absent).collect(),
            changed: keys().filter(other).collect(),
        }
    }
}

/// The requests. Plans show them and runs send them.
impl Scope<'_> {
    fn edge_items(&self, id: &str) -> Request {
        self.request("GET", &format!("/v1/edge-config/{id}/items"))
    }

    fn edge_change(&self, id: &str, items: Value) -> Request {
        self.request("PATCH", &format!("/v1/edge-config/{id}/items")).json(json!({ "items": items }))
    }
}

impl Vercel<'_> {
    async fn edge_held(&self, id: &str) -> Result<BTreeMap<String, Value>, ActionError> {
        let request = self.scope.edge_items(id);
        let url = request.url.clone();
        let answer = self.call(request).await?;
        // A list, or the only item there is.
        let items = match answer {
            Value::Array(items) => items,
            one @ Value::Object(_) => vec![one],
            _ => return Err(ActionError::invalid_response(format!("{url} answered without items"))),
        };
        let read = |item: &Value| Some((item.get("key")?.as_str()?.to_owned(), item.get("value")?.clone()));
        items
            .iter()
            .map(|item| {
                read(item).ok_or_else(|| {
                    ActionError::invalid_response(format!("{url} answered an item without key and value"))
                })
            })
            .collect()
    }
}

impl Action for EdgeConfigSet {
    const NAME: &'static str = "vercel.edge_config.set";
    const SUMMARY: &'static str = "Sets items of a Vercel Edge Config, which running deployments read without a build.";
    const EFFECT: Effect = Effect::Write;
    const REPLAY: Replay = Replay::Probe;
    const UNDO: Option<&'static str> = Some("restores the recorded items");
    const SECRETS: &'static [&'static str] = &["vercel"];
    type Params = VercelEdgeConfigSetParams;
    type Output = VercelEdgeConfigSetOutput;

    async fn run(
        &self,
        cx: &ActionContext,
        params: VercelEdgeConfigSetParams,
    ) -> Result<VercelEdgeConfigSetOutput, ActionError> {
        let id = params.check()?;
        let vercel = Vercel::of_team(cx, params.scope(), &params.secret)?;
        let prior = match cx.checkpoint() {
            Some(checkpoint) => Prior::read(checkpoint)?,
            None => {
                let held = vercel.edge_held(&id).await?;
                let before = |key: &String| held.get(key).map_or(Before::Absent, |value| Before::Held(value.clone()));
                let prior = Prior { items: params.items.keys().map(|key| (key.clone(), before(key))).collect() };
                cx.save_checkpoint(json!(prior)).await?;
                prior
            }
        };
        vercel.call(vercel.scope.edge_change(&id, params.upserts())).await?;
        Ok(params.output(&prior))
    }

    fn needs(&self, params: &VercelEdgeConfigSetParams) -> Vec<Need> {
        let scope = params.scope();
        let question = scope.edge_items(&params.id().unwrap_or_default());
        let seen = Need {
            what: format!("the token reads the Edge Config `{}`", params.edge_config),
            secret: params.secret.clone(),
            question,
            told: |_| None,
            help: super::scope_help,
        };
        vec![scope.token_is_taken(&params.secret), seen]
    }

    fn describe(&self, params: &VercelEdgeConfigSetParams) -> Vec<Intent> {
        let (scope, id) = (params.scope(), params.id().unwrap_or_default());
        vec![
            Intent::from(&scope.edge_items(&id)),
            Intent::note("keeps the present items in the run log, for the undo"),
            Intent::from(&scope.edge_change(&id, params.upserts())),
        ]
    }

    async fn probe(
        &self,
        cx: &ActionContext,
        params: VercelEdgeConfigSetParams,
    ) -> Result<Probed<VercelEdgeConfigSetOutput>, ActionError> {
        // What was there is recorded before anything is written.
        let Some(checkpoint) = cx.checkpoint() else { return Ok(Probed::DidNotHappen) };
        let prior = Prior::read(checkpoint)?;
        let vercel = Vercel::of_team(cx, params.scope(), &params.secret)?;
        let held = vercel.edge_held(&params.check()?).await?;
        let all = params.items.iter().all(|(key, value)| held.get(key) == Some(value));
        Ok(if all { Probed::Happened(params.output(&prior)) } else { Probed::DidNotHappen })
    }

    async fn undo(
        &self,
        cx: &ActionContext,
        params: VercelEdgeConfigSetParams,
        done: Done<VercelEdgeConfigSetOutput>,
    ) -> Result<Undone, ActionError> {
        let Some(checkpoint) = &done.checkpoint else {
            return Ok(Undone { summary: "nothing had been set".to_owned(), left: Vec::new() });
        };
        let prior = Prior::read(checkpoint)?;
        let id = params.check()?;
        let vercel = Vercel::of_team(cx, params.scope(), &params.secret)?;
        let held = vercel.edge_held(&id).await?;
        let (mut items, mut done) = (Vec::new(), Vec::new());
        for (key, was) in &prior.items {
            match was {
                Before::Held(value) if held.get(key) != Some(value) => {
                    items.push(json!({ "operation": "upsert", "key": key, "value": value }));
                    done.push(format!("restored {key}"));
                }
                // Deleting what is not there is refused.
                Before::Absent if held.contains_key(key) => {
                    items.push(json!({ "operation": "delete", "key": key }));
                    done.push(format!("removed {key}"));
                }
                Before::Held(_) | Before::Absent => {}
            }
        }
        if items.is_empty() {
            return Ok(Undone { summary: "everything is as it was".to_owned(), left: Vec::new() });
        }
        vercel.call(vercel.scope.edge_change(&id, items.into())).await?;
        Ok(Undone { summary: done.join(", "), left: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Answer, Bench, Seen, faults};
    use super::*;
    use std::sync::{Arc, Mutex};

    fn params(more: Value) -> VercelEdgeConfigSetParams {
        let mut params = json!({ "edge_config": "ecfg_1", "team": "acme", "items": { "bypass": true, "until": null } });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(params).unwrap()
    }

    /// An Edge Config that keeps what it is told, and refuses to delete what is not there.
    #[derive(Clone, Default)]
    struct World {
        items: Arc<Mutex<BTreeMap<String, Value>>>,
        /// Loses the answer to the next change.
        loses: Arc<Mutex<bool>>,
    }

    impl World {
        async fn bench(&self) -> Bench {
            let world = self.clone();
            Bench::with(move |seen| world.answer(seen)).await
        }

        fn answer(&self, seen: &Seen) -> Answer {
            assert_eq!((seen.path.as_str(), seen.query.as_str()), ("/v1/edge-config/ecfg_1/items", "slug=acme"));
            let mut items = self.items.lock().unwrap();
            if seen.method == "GET" {
                let shown: Vec<Value> =
                    items.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
                return Answer::json(200, &shown.into());
            }
            for item in seen.body["items"].as_array().unwrap() {
                let key = item["key"].as_str().unwrap().to_owned();
                if item["operation"] == "delete" {
                    if items.remove(&key).is_none() {
                        return Answer::json(409, &json!({ "error": { "code": "conflict" } }));
                    }
                } else {
                    items.insert(key, item["value"].clone());
                }
            }
            if std::mem::take(&mut *self.loses.lock().unwrap()) {
                return Answer::text(502, "gone");
            }
            Answer::json(200, &json!({ "status": "ok" }))
        }
    }

    fn done(bench: &Bench) -> Done<VercelEdgeConfigSetOutput> {
        Done { output: None, checkpoint: bench.saved().pop() }
    }

    #[tokio::test]
    async fn sets_items_and_puts_back_what_was_there() {
        let world = World::default();
        world.items.lock().unwrap().extend([("bypass".to_owned(), json!(false)), ("other".to_owned(), json!(1))]);
        let before = world.items.lock().unwrap().clone();
        let bench = world.bench().await;
        let output = EdgeConfigSet.run(&bench.cx(), params(json!({}))).await.unwrap();
        assert_eq!((output.created, output.changed), (vec!["until".to_owned()], vec!["bypass".to_owned()]));
        assert_eq!(world.items.lock().unwrap()["bypass"], json!(true));
        let undone = EdgeConfigSet.undo(&bench.cx(), params(json!({})), done(&bench)).await.unwrap();
        assert_eq!((undone.summary.as_str(), undone.left.len()), ("restored bypass, removed until", 0));
        assert_eq!(*world.items.lock().unwrap(), before);
        let again = EdgeConfigSet.undo(&bench.cx(), params(json!({})), done(&bench)).await.unwrap();
        assert_eq!(again.summary, "everything is as it was");
    }

    #[tokio::test]
    async fn a_probe_reads_whether_it_happened() {
        let world = World::default();
        *world.loses.lock().unwrap() = true;
        let bench = world.bench().await;
        assert_eq!(EdgeConfigSet.probe(&bench.cx(), params(json!({}))).await.unwrap(), Probed::DidNotHappen);
        assert_eq!(EdgeConfigSet.run(&bench.cx(), params(json!({}))).await.unwrap_err().kind, ErrorKind::Server);
        let probed = EdgeConfigSet.probe(&bench.again(), params(json!({}))).await.unwrap();
        let Probed::Happened(output) = probed else { panic!("{probed:?}") };
        assert_eq!(output.created, ["bypass", "until"], "by what was recorded before the first try");
        world.items.lock().unwrap().insert("bypass".to_owned(), json!(false));
        assert_eq!(EdgeConfigSet.probe(&bench.again(), params(json!({}))).await.unwrap(), Probed::DidNotHappen);
    }

    #[tokio::test]
    async fn what_cannot_be_is_refused_before_anything_is_sent() {
        for wrong in [json!({ "items": {} }), json!({ "items": { "a b": 1 } }), json!({ "edge_config": ".." })] {
            let error = EdgeConfigSet.run(&Bench::new().cx(), params(wrong)).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidParams);
        }
        let url = "https://api.vercel.com/v1/edge-config/ecfg_1/items?slug=acme";
        let body = json!({ "items": [{ "operation": "upsert", "key": "bypass", "value": true }] });
        let intents = EdgeConfigSet.describe(&params(json!({ "items": { "bypass": true } })));
        assert!(intents.contains(&Intent::request_with("PATCH", url, body)), "{intents:?}");
    }

    #[tokio::test]
    async fn every_fault_has_its_kind() {
        for (answer, kind) in faults() {
            let told = format!("{answer:?}");
            let bench = Bench::with(move |_| answer.clone()).await;
            let error = EdgeConfigSet.run(&bench.cx(), params(json!({}))).await.unwrap_err();
            assert_eq!((error.kind, bench.seen().len()), (kind, 1), "{told}");
            assert!(bench.saved().is_empty(), "what was there is not known, so nothing is written");
        }
        let error = EdgeConfigSet.run(&Bench::hanging_up().await.cx(), params(json!({}))).await.unwrap_err();
        assert_eq!((error.kind, error.uncertain), (ErrorKind::Network, true));
    }
}
