//! The Edge Config: values that a running deployment reads, without a build.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::state::Change;
use super::{Api, Outcome, bad, fields, millis, no, not_found, object, text};
use crate::drill::ask::Answer;

/// How many items one request may change.
const MOST_ITEMS: usize = 100;

impl Api<'_> {
    fn edge_config(&self, id: &str) -> Result<&str, Answer> {
        self.team()?;
        let config = self.setting.edge_config.as_ref().filter(|config| config.id == id);
        config.map(|config| config.id.as_str()).ok_or_else(|| not_found("Edge Config"))
    }

    fn shown_item(&self, id: &str, key: &str, value: &Value) -> Value {
        let at = millis(self.world.scenario.starts);
        json!({ "key": key, "value": value, "edgeConfigId": id, "createdAt": at, "updatedAt": at })
    }

    pub(super) fn edge_items(&self, id: &str) -> Outcome {
        let id = self.edge_config(id)?;
        let items: Vec<Value> =
            self.world.vercel.edge_items.iter().map(|(key, value)| self.shown_item(id, key, value)).collect();
        Ok(Answer::json(200, &items.into()))
    }

    pub(super) fn edge_item(&self, id: &str, key: &str) -> Outcome {
        let id = self.edge_config(id)?;
        let value = self.world.vercel.edge_items.get(key).ok_or_else(|| not_found("Edge Config item"))?;
        Ok(Answer::json(200, &self.shown_item(id, key, value)))
    }

    pub(super) fn edge_set(&self, id: &str) -> Outcome {
        self.edge_config(id)?;
        let fields = fields(self.body()?, &["items", "definition"])?;
        let asked =
            fields.get("items").and_then(Value::as_array).ok_or_else(|| bad("Missing required property `items`."))?;
        if asked.is_empty() || asked.len() > MOST_ITEMS {
            return Err(bad("`items` holds 1 to 100 items."));
        }
        let (mut set, mut removed) = (BTreeMap::new(), Vec::new());
        for item in asked {
            let item = object(item)?;
            let key = text(item.get("key").unwrap_or(&Value::Null), "key")?;
            let known = self.world.vercel.edge_items.contains_key(&key);
            match (item.get("operation").and_then(Value::as_str), item.get("value")) {
                (Some("upsert"), Some(value)) => drop(set.insert(key, value.clone())),
                (Some("create"), Some(value)) if !known => drop(set.insert(key, value.clone())),
                (Some("update"), Some(value)) if known => drop(set.insert(key, value.clone())),
                (Some("delete"), _) if known => removed.push(key),
                (Some("create" | "update" | "delete"), _) => {
                    return Err(no(409, "edge_config_item_conflict", format!("The item `{key}` is not as expected.")));
                }
                _ => return Err(bad("`operation` should be `create`, `update`, `upsert` or `delete`.")),
            }
        }
        Ok(Answer::json(200, &json!({ "status": "ok" })).changing([Change::EdgeConfigSet { set, removed }]))
    }
}
