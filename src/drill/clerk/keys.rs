//! The instance's secret keys, and the Platform API that rotates them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ClerkEnvironment, ClerkSetting, no};
use crate::base::Timestamp;
use crate::base::clock::after;
use crate::drill::ask::{Answer, Ask, Carried};
use crate::drill::observed::Why;
use crate::drill::state::{Change, WorldState};

/// The application's other instance; its key is none of the drill's.
const OTHER: &str = "ins_drill_other";
const OTHER_KEY: &str = "sk_test_drill_of_the_other_instance";

/// What happens to the keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::drill) enum KeyChange {
    /// A new key was made; all that were there end after so many hours. The key follows from its number, so that no record
    /// holds it.
    Rotated { grace_hours: u32 },
}

/// What somebody does with the keys in the dashboard, at a moment of the timeline. Keys are named as `secrets` has them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysByHand {
    /// A key that works from then on.
    pub add: Option<String>,
    /// A key that works no more.
    pub delete: Option<String>,
}

/// The keys of the instance, in the order in which they were made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::drill) struct Keys {
    keys: Vec<Key>,
    prefix: &'static str,
    rotations: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    value: String,
    /// It works until then.
    until: Option<Timestamp>,
}

impl Keys {
    /// The keys at the start: the one that the runbook has, and those of others who use the instance.
    pub(in crate::drill) fn new(setting: &ClerkSetting, secrets: &IndexMap<String, String>) -> Self {
        let names = setting.other_keys.iter().map(String::as_str).chain(["clerk"]);
        let values = names.filter_map(|name| secrets.get(name));
        let prefix = match setting.environment {
            ClerkEnvironment::Production => "sk_live_",
            ClerkEnvironment::Development => "sk_test_",
        };
        Self { keys: values.map(|value| Key { value: value.clone(), until: None }).collect(), prefix, rotations: 0 }
    }

    /// Does this key open the instance?
    pub(in crate::drill) fn takes(&self, value: &str, now: Timestamp) -> bool {
        self.keys.iter().any(|key| key.value == value && key.works(now))
    }

    /// Has it opened the instance at some time?
    fn took(&self, value: &str) -> bool {
        self.keys.iter().any(|key| key.value == value)
    }

    /// The key that the Platform API shows.
    fn newest(&self, now: Timestamp) -> Option<&str> {
        self.keys.iter().rev().find(|key| key.works(now)).map(|key| key.value.as_str())
    }

    /// The key that the next rotation makes.
    fn next(&self) -> String {
        format!("{}drill_rotated_{:08}", self.prefix, self.rotations + 1)
    }

    pub(in crate::drill) fn change(&mut self, change: &KeyChange, now: Timestamp) {
        let KeyChange::Rotated { grace_hours } = change;
        let end = after(now, std::time::Duration::from_secs(u64::from(*grace_hours) * 3600));
        for key in &mut self.keys {
            key.until = Some(key.until.map_or(end, |until| until.min(end)));
        }
        let value = self.next();
        self.rotations += 1;
        self.keys.push(Key { value, until: None });
    }

    /// What a person does in the dashboard.
    pub(in crate::drill) fn by_hand(
        &mut self,
        done: &KeysByHand,
        secrets: &IndexMap<String, String>,
        now: Timestamp,
    ) -> Vec<String> {
        let mut told = Vec::new();
        if let Some((name, value)) = done.add.as_ref().and_then(|name| secrets.get_key_value(name)) {
            self.keys.push(Key { value: value.clone(), until: None });
            told.push(format!("the key `{name}` is made in the dashboard"));
        }
        if let Some((name, value)) = done.delete.as_ref().and_then(|name| secrets.get_key_value(name)) {
            self.keys.iter_mut().filter(|key| key.value == *value).for_each(|key| key.until = Some(now));
            told.push(format!("the key `{name}` is deleted in the dashboard"));
        }
        told
    }
}

impl Key {
    fn works(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// Refuses a request whose key does not open the instance.
pub(super) fn refused(ask: &Ask, world: &WorldState, refuses_all: bool) -> Option<Answer> {
    let Some(bearer) = &ask.bearer else {
        return Some(no(401, "authentication_invalid", "A secret key is needed."));
    };
    if !refuses_all && world.keys.takes(bearer, world.now) {
        return None;
    }
    let answer = no(401, "clerk_key_invalid", "The secret key is not valid.");
    // Whether an old key is dead can only be seen by showing it.
    Some(if world.keys.took(bearer) { answer.because(Why::Gone) } else { answer })
}

/// A link to Svix's pages.
pub(super) fn svix_url(world: &WorldState) -> Answer {
    let key = json!({ "appId": world.scenario.world.svix.app, "oneTimeToken": "drill_one_time_token", "region": "us" });
    let url = format!("https://app.svix.com/login#key={}", STANDARD.encode(key.to_string()));
    Answer::json(200, &json!({ "svix_url": url }))
}

/// Is this a request to the Platform API?
pub(super) fn is_platform(path: &str) -> bool {
    path.starts_with("/v1/platform/")
}

/// The Platform API: its own key, and access that most workspaces do not have.
pub(super) fn platform(ask: &Ask, world: &WorldState) -> Answer {
    let setting = &world.scenario.world.clerk;
    match &ask.bearer {
        Some(bearer) if world.scenario.secrets.get("clerk_platform") == Some(bearer) => {}
        _ => return no(401, "authentication_invalid", "The Platform API key is not valid."),
    }
    if !setting.platform {
        return no(403, "authorization_invalid", "The workspace has no access.").because(Why::Granted);
    }
    let nowhere = || no(404, "resource_not_found", "There is no such resource.");
    let with_keys = ask.query("include_secret_keys") == Some("true");
    match (ask.method.as_str(), ask.segments().as_slice()) {
        ("GET", ["v1", "platform", "applications"]) => Answer::json(200, &json!([application(world, with_keys)])),
        ("GET", ["v1", "platform", "applications", id]) if *id == setting.application => {
            Answer::json(200, &application(world, with_keys))
        }
        ("POST", ["v1", "platform", "applications", id, "instances", which, "rotate_secret_keys"])
            if *id == setting.application && (*which == setting.instance || *which == setting.environment.word()) =>
        {
            match grace(ask) {
                Ok(grace_hours) => rotated(world, grace_hours),
                Err(refusal) => *refusal,
            }
        }
        _ => nowhere(),
    }
}

fn application(world: &WorldState, with_keys: bool) -> Value {
    let setting = &world.scenario.world.clerk;
    let (word, other) = match setting.environment {
        ClerkEnvironment::Production => ("live", ClerkEnvironment::Development),
        ClerkEnvironment::Development => ("test", ClerkEnvironment::Production),
    };
    let mut instances = [
        json!({ "instance_id": OTHER, "environment_type": other.word(), "publishable_key": "pk_drill_other" }),
        json!({
            "instance_id": setting.instance,
            "environment_type": setting.environment.word(),
            "publishable_key": format!("pk_{word}_drill"),
        }),
    ];
    if with_keys {
        instances[0]["secret_key"] = OTHER_KEY.into();
        instances[1]["secret_key"] = world.keys.newest(world.now).into();
    }
    json!({ "application_id": setting.application, "name": "Drill", "instances": instances })
}

/// The hours that the old keys live on, if the body is one that the vendor takes.
fn grace(ask: &Ask) -> Result<u32, Box<Answer>> {
    let refuse = |message: &str| Box::new(no(422, "form_param_invalid", message));
    let Carried::Json(Value::Object(body)) = &ask.body else {
        return Err(refuse("The body must be an object."));
    };
    if body.keys().any(|name| !["delay_old_secrets_expiration_hours", "reason"].contains(&name.as_str())) {
        return Err(Box::new(no(422, "form_param_unknown", "The body holds something unknown.")));
    }
    if body.get("reason").is_some_and(|reason| !reason.is_string()) {
        return Err(refuse("`reason` must be a text."));
    }
    match body.get("delay_old_secrets_expiration_hours") {
        None => Ok(0),
        Some(hours) => hours
            .as_u64()
            .and_then(|hours| u32::try_from(hours).ok())
            .ok_or_else(|| refuse("`delay_old_secrets_expiration_hours` must be a whole number.")),
    }
}

fn rotated(world: &WorldState, grace_hours: u32) -> Answer {
    let setting = &world.scenario.world.clerk;
    let body = json!({ "application_id": setting.application, "name": "Drill", "instances": [{
        "instance_id": setting.instance,
        "environment_type": setting.environment.word(),
        "secret_key": world.keys.next(),
    }] });
    Answer::json(200, &body).changing([Change::Keys(KeyChange::Rotated { grace_hours })])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::HumanDuration;
    use crate::drill::scenario::StandIn;
    use crate::drill::scenario::tests::scenario;
    use crate::drill::state::Asked;
    use std::sync::Arc;

    fn world(clerk: &str) -> WorldState {
        let more = format!("world: {{ vercel: {{ project: shop }}, clerk: {{ {clerk} }} }}\n");
        let mut scenario = scenario(&more);
        scenario.secrets.insert("clerk_platform".into(), "ak_drill".into());
        scenario.secrets.insert("ci".into(), "sk_live_ci".into());
        scenario.world.clerk.other_keys.push("ci".into());
        WorldState::new(Arc::new(scenario))
    }

    fn ask(method: &str, path: &str, bearer: &str, body: Carried) -> Ask {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let query = query.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (method, path, bearer) = (method.to_owned(), path.to_owned(), Some(bearer.to_owned()));
        Ask { method, path, bearer, query: query.into_iter().collect(), body, ..Ask::default() }
    }

    /// Asks, lets happen what follows, and tells status and body.
    fn told(world: &mut WorldState, ask: &Ask) -> (u16, Value) {
        let answer = super::super::answer(ask, world);
        let asked = Asked {
            on: StandIn::Clerk,
            method: ask.method.clone(),
            path: ask.path.clone(),
            status: Some(answer.status),
            why: answer.why.or((answer.status >= 400).then_some(Why::Rules)),
            changes: answer.changes.clone(),
        };
        let line = serde_json::to_string(&asked).unwrap();
        assert!(!line.contains("sk_"), "no record holds a key: {line}");
        let now = world.now;
        world.apply(now, &serde_json::from_str(&line).unwrap());
        (answer.status, serde_json::from_str(&answer.content).unwrap())
    }

    fn opens(world: &mut WorldState, key: &str) -> u16 {
        told(world, &ask("GET", "/v1/jwks", key, Carried::Nothing)).0
    }

    const ROTATE: &str = "/v1/platform/applications/app_drill/instances/production/rotate_secret_keys";

    fn rotate(world: &mut WorldState, body: Value) -> (u16, Value) {
        told(world, &ask("POST", ROTATE, "ak_drill", Carried::Json(body)))
    }

    #[test]
    fn old_keys_live_as_long_as_was_said_and_then_all_of_them_are_dead() {
        let mut world = world("");
        let (status, body) = rotate(&mut world, json!({ "delay_old_secrets_expiration_hours": 1, "reason": "r" }));
        assert_eq!(status, 200);
        let new = body["instances"][0]["secret_key"].as_str().unwrap().to_owned();
        let old = ["sk_test_drill", "sk_live_ci"];
        for key in old.into_iter().chain([new.as_str()]) {
            assert_eq!(opens(&mut world, key), 200, "{key}");
        }
        let later = after(world.now, "1h".parse::<HumanDuration>().unwrap().0);
        world.advance(later);
        let dead = old.map(|key| opens(&mut world, key));
        assert_eq!((dead, opens(&mut world, &new)), ([401, 401], 200));
        // A second rotation with a longer grace brings nothing back to life.
        rotate(&mut world, json!({ "delay_old_secrets_expiration_hours": 9 }));
        assert_eq!((opens(&mut world, old[0]), opens(&mut world, &new)), (401, 200));
        rotate(&mut world, json!({ "delay_old_secrets_expiration_hours": 0 }));
        assert_eq!(opens(&mut world, &new), 401);
        assert_eq!(world.refused.iter().filter(|refused| refused.why == Why::Rules).count(), 0);
        assert_eq!(opens(&mut world, "sk_test_made_up"), 401);
        assert_eq!(world.refused.last().unwrap().why, Why::Rules);
    }

    #[test]
    fn the_platform_shows_keys_only_when_asked_and_the_newest() {
        let mut world = world("");
        let read = |world: &mut WorldState, path: &str| told(world, &ask("GET", path, "ak_drill", Carried::Nothing)).1;
        let plain = read(&mut world, "/v1/platform/applications/app_drill");
        assert!(!plain.to_string().contains("sk_") && plain["instances"].as_array().unwrap().len() == 2);
        let with = "/v1/platform/applications/app_drill?include_secret_keys=true";
        assert_eq!(read(&mut world, with)["instances"][1]["secret_key"], "sk_test_drill");
        rotate(&mut world, json!({ "delay_old_secrets_expiration_hours": 4 }));
        assert_eq!(read(&mut world, with)["instances"][1]["secret_key"], "sk_live_drill_rotated_00000001");
        assert_eq!(read(&mut world, "/v1/platform/applications")[0], plain);
    }

    #[test]
    fn bodies_that_the_vendor_would_refuse_rotate_nothing() {
        let mut world = world("");
        for body in [
            json!({ "delay_old_secrets_expiration_hours": 1.5 }),
            json!({ "delay_old_secrets_expiration_hours": "1" }),
            json!({ "delay_old_secrets_expiration_hours": -1 }),
            json!({ "reason": 1 }),
            json!({ "grace": 1 }),
            json!([]),
        ] {
            assert_eq!(rotate(&mut world, body.clone()).0, 422, "{body}");
        }
        assert_eq!(told(&mut world, &ask("POST", ROTATE, "ak_drill", Carried::Nothing)).0, 422);
        assert_eq!(opens(&mut world, "sk_test_drill"), 200);
        let nowhere = ROTATE.replace("production", "staging");
        assert_eq!(told(&mut world, &ask("POST", &nowhere, "ak_drill", Carried::Json(json!({})))).0, 404);
    }

    #[test]
    fn a_workspace_without_access_is_refused_and_so_is_another_key() {
        let path = "/v1/platform/applications/app_drill";
        let mut closed = world("platform: false");
        let (status, body) = told(&mut closed, &ask("GET", path, "ak_drill", Carried::Nothing));
        assert_eq!((status, &body["errors"][0]["code"]), (403, &json!("authorization_invalid")));
        let mut open = world("");
        assert_eq!(told(&mut open, &ask("GET", path, "sk_test_drill", Carried::Nothing)).0, 401);
        assert_eq!(told(&mut open, &ask("GET", "/v1/instance", "ak_drill", Carried::Nothing)).0, 401);
    }

    #[test]
    fn a_person_changes_keys_in_the_dashboard_at_a_moment() {
        let more = "world: { vercel: { project: shop } }
timeline:
  - { at: 1m, clerk_keys: { add: vercel } }
  - { at: 2m, clerk_keys: { delete: clerk } }
";
        let mut scenario = scenario(more);
        // A scenario is held against its own secrets; the plain one of the tests has no third one.
        scenario.secrets.insert("vercel".into(), "sk_live_pasted".into());
        let mut world = WorldState::new(Arc::new(scenario));
        let mut seen = Vec::new();
        for minute in ["0s", "1m", "2m"] {
            let at = after(world.scenario.starts, minute.parse::<HumanDuration>().unwrap().0);
            world.advance(at);
            seen.push([opens(&mut world, "sk_live_pasted"), opens(&mut world, "sk_test_drill")]);
        }
        assert_eq!(seen, [[401, 200], [200, 200], [200, 401]]);
        assert_eq!(world.happenings[0].what, "the key `vercel` is made in the dashboard");
    }

    #[test]
    fn the_link_to_svix_is_a_link() {
        let mut world = world("");
        let (status, body) = told(&mut world, &ask("POST", "/v1/webhooks/svix_url", "sk_test_drill", Carried::Nothing));
        assert_eq!(status, 200);
        assert!(body["svix_url"].as_str().unwrap().starts_with("https://app.svix.com/login#key=ey"), "{body}");
    }
}
