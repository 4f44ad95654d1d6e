//! A project's variables, kept the way Vercel keeps them.

use std::sync::{Arc, Mutex};

use super::super::super::testing::{Answer, Bench, Seen};
use serde_json::{Value, json};

use super::super::{Scope, Vercel};

/// A project's variables, kept the way Vercel keeps them: it refuses two rows for one name and target.
#[derive(Clone, Default)]
pub(in super::super) struct World {
    pub(in super::super) rows: Arc<Mutex<Vec<Value>>>,
    pub(in super::super) writes: Arc<Mutex<Vec<Answer>>>,
}

impl World {
    pub(in super::super) fn of(rows: Vec<Value>) -> Self {
        Self { rows: Arc::new(Mutex::new(rows)), writes: Arc::default() }
    }

    pub(in super::super) async fn bench(&self) -> Bench {
        let world = self.clone();
        Bench::with(move |seen| world.answer(seen)).await
    }

    /// `NAME=value target,target`, sorted.
    pub(in super::super) fn shown(&self) -> Vec<String> {
        let rows = self.rows.lock().unwrap();
        let mut shown: Vec<String> = rows
            .iter()
            .map(|row| {
                let targets: Vec<&str> = row["target"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
                format!("{}={} {}", row["key"].as_str().unwrap(), row["value"].as_str().unwrap(), targets.join(","))
            })
            .collect();
        shown.sort();
        shown
    }

    fn answer(&self, seen: &Seen) -> Answer {
        let mut rows = self.rows.lock().unwrap();
        let id = seen.path.rsplit('/').next().unwrap().to_owned();
        let place = rows.iter().position(|row| row["id"] == id.as_str());
        let missing = Answer::json(404, &json!({ "error": { "code": "not_found", "message": "gone" } }));
        let hidden = |row: &Value| {
            let mut row = row.clone();
            row["value"] = json!("eyJ2IjoidjIifQ");
            row
        };
        if seen.method != "GET" && !self.writes.lock().unwrap().is_empty() {
            return self.writes.lock().unwrap().remove(0);
        }
        match (seen.method.as_str(), place) {
            ("GET", _) if seen.path == "/v10/projects/shop/env" => {
                let envs: Vec<Value> = rows.iter().map(hidden).collect();
                Answer::json(200, &json!({ "envs": envs, "pagination": { "next": null } }))
            }
            ("GET", Some(place)) => Answer::json(200, &rows[place]),
            ("DELETE", Some(place)) => Answer::json(200, &rows.remove(place)),
            ("PATCH", Some(place)) => {
                let change = seen.body.as_object().unwrap().clone();
                rows[place].as_object_mut().unwrap().extend(change);
                Answer::json(200, &rows[place])
            }
            ("POST", _) if seen.query.contains("upsert=true") => {
                let (mut created, mut failed) = (Vec::new(), Vec::new());
                for new in seen.body.as_array().unwrap() {
                    let targets = new["target"].as_array().unwrap();
                    let clash = rows.iter().any(|row| {
                        let taken = row["target"].as_array().unwrap();
                        row["key"] == new["key"] && targets.iter().any(|target| taken.contains(target))
                    });
                    if clash {
                        failed.push(
                            json!({ "error": { "code": "ENV_CONFLICT", "message": "exists", "key": new["key"] } }),
                        );
                        continue;
                    }
                    let mut row = new.clone();
                    row["id"] = json!(format!("new_{}", rows.len()));
                    created.push(row.clone());
                    rows.push(row);
                }
                Answer::json(201, &json!({ "created": created, "failed": failed }))
            }
            _ => missing,
        }
    }
}

pub(in super::super) fn row(id: &str, key: &str, value: &str, targets: &[&str]) -> Value {
    json!({ "id": id, "key": key, "value": value, "type": "encrypted", "target": targets })
}

#[tokio::test]
async fn all_three_shapes_of_the_list_are_read() {
    let one = row("a", "A", "1", &["production"]);
    for body in [json!({ "envs": [one], "pagination": { "next": null } }), json!({ "envs": [one] }), one.clone()] {
        let bench = Bench::with(move |_| Answer::json(200, &body)).await;
        let cx = bench.cx();
        let vercel = Vercel::new(&cx, Scope { project: "shop", team: None }, "vercel").unwrap();
        assert_eq!(vercel.env_rows().await.unwrap()[0].targets(), ["production"]);
    }
}

#[tokio::test]
async fn a_list_is_read_to_its_end_and_never_for_ever() {
    let bench = Bench::with(|seen| {
        let page = if seen.query.contains("until=5") { "b" } else { "a" };
        let envs = [json!({ "id": page, "key": "A", "target": "preview" })];
        Answer::json(200, &json!({ "envs": envs, "pagination": { "next": 5 } }))
    });
    let bench = bench.await;
    let cx = bench.cx();
    let vercel = Vercel::new(&cx, Scope { project: "shop", team: None }, "vercel").unwrap();
    assert_eq!((vercel.env_rows().await.unwrap().len(), bench.seen().len()), (2, 3));
}
