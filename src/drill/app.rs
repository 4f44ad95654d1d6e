//! The customer's app: its health route, two pages, and the emergency gate with its dead-man switch.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::ask::{Answer, Ask, refusal};
use super::clerk::key_set;
use super::scenario::{Mode, StandIn};
use super::state::WorldState;
use super::vercel::Serves;
use crate::base::Timestamp;
use crate::base::clock::until;

const MODE: &str = "CLERK_EMERGENCY_BYPASS_MODE";
const SINCE: &str = "CLERK_EMERGENCY_BYPASS_SINCE";
const UNTIL: &str = "CLERK_EMERGENCY_BYPASS_UNTIL";
/// Longer windows are refused: nobody remembers to close them.
const LONGEST: Duration = Duration::from_secs(4 * 60 * 60);
/// How long the health route waits for Clerk before it calls a check failed.
const HEALTH_LIMIT: Duration = Duration::from_millis(2500);

/// What the emergency gate makes of its environment. Any doubt closes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) active: bool,
    mode: Option<String>,
    since: Option<String>,
    until: Option<String>,
    /// Why it is closed; `None` when it is open.
    reason: Option<String>,
    /// The window in which it is open, if its settings are sound.
    pub(super) window: Option<(Timestamp, Timestamp)>,
}

/// Reads the dead-man switch.
pub(super) fn policy(env: &BTreeMap<String, String>, now: Timestamp) -> Policy {
    let get = |key: &str| env.get(key).filter(|value| !value.is_empty()).cloned();
    let (mode, since, until) = (get(MODE), get(SINCE), get(UNTIL));
    let window = window(mode.as_deref(), since.as_deref(), until.as_deref());
    let reason = match &window {
        Err(reason) => Some(reason.clone()),
        Ok((since, _)) if now < *since => Some("window not open yet".to_owned()),
        Ok((_, until)) if now >= *until => Some("window expired".to_owned()),
        Ok(_) => None,
    };
    Policy { active: reason.is_none(), mode, since, until, reason, window: window.ok() }
}

fn window(mode: Option<&str>, since: Option<&str>, until: Option<&str>) -> Result<(Timestamp, Timestamp), String> {
    match mode {
        None | Some("off") => return Err("off".to_owned()),
        Some("grace" | "readonly") => {}
        Some(other) => return Err(format!("unknown mode {other}")),
    }
    let time = |name: &str, text: Option<&str>| {
        let text = text.ok_or_else(|| format!("{name} is missing"))?;
        text.parse::<Timestamp>().map_err(|_| format!("{name} is not a time with its zone"))
    };
    let (since, until) = (time(SINCE, since)?, time(UNTIL, until)?);
    if until <= since {
        return Err("the window ends before it begins".to_owned());
    }
    if self::until(since, until) > LONGEST {
        return Err("the window is longer than 4h".to_owned());
    }
    Ok((since, until))
}

/// Can nobody sign in? During a maintenance of the Frontend API sessions live on, but new ones cannot begin.
pub(super) fn sign_in_broken(backend: Mode, frontend: Mode) -> bool {
    match (backend, frontend) {
        (Mode::Up | Mode::Maintenance | Mode::KeyRefused, Mode::Up | Mode::KeyRefused) => false,
        (
            Mode::Down
            | Mode::Hang
            | Mode::ServerError
            | Mode::RateLimited
            | Mode::Html
            | Mode::Truncated
            | Mode::Drip
            | Mode::Reset
            | Mode::SessionsOnly,
            _,
        )
        | (Mode::Up | Mode::Maintenance | Mode::KeyRefused, _) => true,
    }
}

/// Does a check against an API in this mode succeed, and which status and how many milliseconds does it show?
fn check(mode: Mode) -> (bool, Value) {
    let (ok, status, ms) = match mode {
        Mode::Up | Mode::Maintenance => (true, Some(200), 35),
        Mode::Down => (false, None, 4),
        Mode::Hang | Mode::Drip => (false, None, HEALTH_LIMIT.as_millis()),
        Mode::Reset => (false, None, 5),
        Mode::Truncated => (false, Some(200), 40),
        Mode::ServerError => (false, Some(500), 210),
        Mode::RateLimited | Mode::SessionsOnly => (false, Some(429), 30),
        Mode::Html => (false, Some(502), 60),
        Mode::KeyRefused => (false, Some(401), 40),
    };
    (ok, json!({ "ok": ok, "status": status, "ms": u64::try_from(ms).unwrap_or(u64::MAX) }))
}

/// How the Backend API behaves towards a deployment: with a key that is dead, it refuses.
fn backend_mode(world: &WorldState, env: &BTreeMap<String, String>) -> Mode {
    let key = env.get("CLERK_SECRET_KEY").filter(|key| !key.is_empty());
    let is_dead = key.is_some_and(|key| !world.keys.takes(key, world.now));
    match world.looks(StandIn::Clerk) {
        Mode::Up | Mode::Maintenance if is_dead => Mode::KeyRefused,
        mode => mode,
    }
}

fn health(world: &WorldState) -> Answer {
    let Some(serving) = world.vercel.serving() else { return refusal(StandIn::App, 404, "", "no deployment serves") };
    let policy = policy(&serving.env, world.now);
    let (frontend_ok, frontend) = check(world.looks(StandIn::ClerkFrontend));
    let backend_mode = backend_mode(world, &serving.env);
    let (backend_ok, backend) = check(backend_mode);
    let jwt_key = match serving.env.get("CLERK_JWT_KEY").filter(|key| !key.is_empty()) {
        Some(_) => json!({ "ok": true, "status": null, "ms": 0 }),
        None => json!({ "ok": true, "status": null, "ms": 0, "warning": "jwt_key_not_set" }),
    };
    let suspect = match (frontend_ok, backend_ok) {
        (true, true) => None,
        (_, false) if backend_mode == Mode::KeyRefused => Some("secret_key"),
        (false, false) => Some("clerk_outage_or_egress"),
        (false, true) => Some("clerk_frontend_api"),
        (true, false) => Some("clerk_backend_api"),
    };
    let healthy = suspect.is_none();
    let body = json!({
        "healthy": healthy,
        "suspect": suspect,
        "checks": {
            "config": { "ok": true, "status": null, "ms": 0 },
            "frontend_api": frontend,
            "backend_api": backend,
            "jwt_key": jwt_key,
        },
        "bypass": {
            "active": policy.active,
            "mode": policy.mode,
            "since": policy.since,
            "until": policy.until,
            "reason": policy.reason,
        },
        "bypass_active": policy.active,
        "deployment": serving.id,
    });
    Answer::json(if healthy { 200 } else { 503 }, &body)
}

/// What somebody sees who was signed in when the trouble began.
fn page(world: &WorldState) -> Answer {
    let serving = world.vercel.serving();
    let policy = serving.map(|serving| policy(&serving.env, world.now));
    if let Some(policy) = policy.filter(|policy| policy.active) {
        return Answer::page(200, "Shop")
            .header("x-auth-bypass", "true")
            .header("x-auth-bypass-mode", policy.mode.unwrap_or_default())
            .header("x-auth-bypass-until", policy.until.unwrap_or_default());
    }
    // Maintenance leaves the refresh of sessions alone, so whoever is in stays in.
    let frontend = world.looks(StandIn::ClerkFrontend);
    let sessions_refreshed = frontend == Mode::SessionsOnly || check(frontend).0;
    let (keys_loaded, _) = check(match serving {
        // With the public key at hand, nobody asks for it with the secret one.
        Some(serving) if !serving.env.contains_key("CLERK_JWT_KEY") => backend_mode(world, &serving.env),
        _ => world.looks(StandIn::Clerk),
    });
    if sessions_refreshed && keys_loaded {
        Answer::page(200, "Shop")
    } else {
        Answer::page(503, "Sign-in is not available").header("retry-after", "30")
    }
}

/// Answers a request.
pub(super) fn answer(ask: &Ask, world: &WorldState) -> Answer {
    // A middleware that throws does so before any route is looked at.
    if world.vercel.serving().is_some_and(|serving| serving.app == Serves::Broken) {
        return Answer::page(500, "500: MIDDLEWARE_INVOCATION_FAILED")
            .header("x-vercel-error", "MIDDLEWARE_INVOCATION_FAILED");
    }
    match (ask.method.as_str(), ask.segments().as_slice()) {
        ("GET", ["api", "clerk-health"]) => health(world),
        ("GET", [] | ["dashboard"]) => page(world),
        ("GET", [".well-known", "jwks.json"]) => Answer::json(200, &key_set()),
        (_, ["api", "clerk-health"] | [] | ["dashboard"]) => refusal(StandIn::App, 405, "", "only GET works here"),
        _ => refusal(StandIn::App, 404, "", "not found"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::scenario::tests::scenario;
    use std::sync::Arc;

    #[test]
    fn the_dead_mans_switch_closes_in_any_doubt() {
        let now: Timestamp = "2026-02-19T17:00:00Z".parse().unwrap();
        let table = [
            (["grace", "2026-02-19T16:30:00Z", "2026-02-19T17:30:00Z"], None),
            (["readonly", "2026-02-19T16:30:00Z", "2026-02-19T17:30:00Z"], None),
            (["grace", "2026-02-19T17:30:00+01:00", "2026-02-19T18:30:00+01:00"], None),
            (["grace", "2026-02-19T17:00:00Z", "2026-02-19T21:00:00Z"], None),
            (["", "2026-02-19T16:30:00Z", "2026-02-19T17:30:00Z"], Some("off")),
            (["true", "2026-02-19T16:30:00Z", "2026-02-19T17:30:00Z"], Some("unknown mode true")),
            (["grace", "", "2026-02-19T17:30:00Z"], Some("CLERK_EMERGENCY_BYPASS_SINCE is missing")),
            (["grace", "2026-02-19T16:30:00Z", ""], Some("CLERK_EMERGENCY_BYPASS_UNTIL is missing")),
            (
                ["grace", "2026-02-19T16:30:00", "2026-02-19T17:30:00Z"],
                Some("CLERK_EMERGENCY_BYPASS_SINCE is not a time with its zone"),
            ),
            (
                ["grace", "2026-02-19T16:30:00Z", "soon"],
                Some("CLERK_EMERGENCY_BYPASS_UNTIL is not a time with its zone"),
            ),
            (["grace", "2026-02-19T16:30:00Z", "2026-02-19T20:30:01Z"], Some("the window is longer than 4h")),
            (["grace", "2026-02-19T17:30:00Z", "2026-02-19T16:30:00Z"], Some("the window ends before it begins")),
            (["grace", "2026-02-19T17:00:01Z", "2026-02-19T17:30:00Z"], Some("window not open yet")),
            (["grace", "2026-02-19T16:30:00Z", "2026-02-19T17:00:00Z"], Some("window expired")),
        ];
        for (values, reason) in table {
            let env = [MODE, SINCE, UNTIL].into_iter().map(str::to_owned).zip(values.map(str::to_owned)).collect();
            let policy = policy(&env, now);
            assert_eq!(policy.reason.as_deref(), reason, "{values:?}");
            assert_eq!(policy.active, reason.is_none(), "{values:?}");
        }
    }

    #[test]
    fn a_deployment_with_a_dead_key_says_so_until_it_has_a_living_one() {
        let environment = "CLERK_SECRET_KEY: sk_test_drill";
        for (more, page) in [("", 503), (", CLERK_JWT_KEY: drill", 200)] {
            let mut world = WorldState::new(Arc::new(scenario(&format!(
                "world: {{ vercel: {{ project: shop, environment: {{ {environment}{more} }} }} }}\n"
            ))));
            let ask = |world: &WorldState, path: &str| {
                let answer = answer(&Ask { method: "GET".into(), path: path.into(), ..Ask::default() }, world);
                let body: Value = serde_json::from_str(&answer.content).unwrap_or_default();
                (answer.status, body["suspect"].clone(), body["checks"]["backend_api"]["status"].clone())
            };
            assert_eq!(ask(&world, "/api/clerk-health"), (200, Value::Null, json!(200)));
            let now = world.now;
            world.keys.change(&crate::drill::clerk::KeyChange::Rotated { grace_hours: 0 }, now);
            assert_eq!(ask(&world, "/api/clerk-health"), (503, json!("secret_key"), json!(401)));
            assert_eq!(ask(&world, "/dashboard").0, page, "{more}");
        }
    }

    #[test]
    fn the_health_route_names_the_suspect() {
        for (modes, status, suspect) in [
            ("clerk: up", 200, Value::Null),
            ("clerk: maintenance", 200, Value::Null),
            ("clerk: server_error, clerk_frontend: down", 503, json!("clerk_outage_or_egress")),
            ("clerk_frontend: hang", 503, json!("clerk_frontend_api")),
            ("clerk: rate_limited", 503, json!("clerk_backend_api")),
            ("clerk: key_refused", 503, json!("secret_key")),
        ] {
            let world = WorldState::new(Arc::new(scenario(&format!(
                "world: {{ vercel: {{ project: shop }} }}\ntimeline: [{{ at: 0s, {modes} }}]\n"
            ))));
            let ask = |path: &str| Ask { method: "GET".into(), path: path.into(), ..Ask::default() };
            let health = answer(&ask("/api/clerk-health"), &world);
            let body: Value = serde_json::from_str(&health.content).unwrap();
            assert_eq!((health.status, &body["suspect"]), (status, &suspect), "{modes}");
            assert_eq!(body["bypass_active"], json!(false));
            assert_eq!(body["bypass"]["reason"], json!("off"));
            assert_eq!(answer(&ask("/dashboard"), &world).status, status, "{modes}");
        }
    }

    #[test]
    fn a_broken_deployment_answers_500_on_every_route() {
        let setting = "world: { vercel: { project: shop, history: [{ ago: 1h, serves: broken }] } }\n";
        let world = WorldState::new(Arc::new(scenario(setting)));
        for path in ["/", "/dashboard", "/api/clerk-health", "/nowhere"] {
            let ask = Ask { method: "GET".into(), path: path.into(), ..Ask::default() };
            assert_eq!(answer(&ask, &world).status, 500, "{path}");
        }
    }
}
