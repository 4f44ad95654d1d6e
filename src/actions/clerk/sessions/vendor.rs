//! A Clerk for tests: users and sessions that really end, faults where a test wants them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use super::super::super::testing::{Answer, Bench, Seen};

/// A session.
#[derive(Debug, Clone)]
pub(super) struct OneSession {
    pub(super) id: String,
    pub(super) user: usize,
    pub(super) status: &'static str,
    pub(super) created_at: i64,
    pub(super) updated_at: i64,
}

/// Something that happens before a request is answered.
type Happens = Box<dyn FnMut(&Seen, &mut State) + Send>;

#[derive(Default)]
pub(super) struct State {
    pub(super) banned: Vec<bool>,
    pub(super) signed_in: BTreeMap<usize, i64>,
    pub(super) sessions: Vec<OneSession>,
    pub(super) passwordless: Vec<usize>,
    pub(super) templates: Vec<u64>,
    /// The answer to the nth request with this beginning of its line, from 1; and to all that follow when it is for ever.
    pub(super) faults: Vec<Fault>,
    pub(super) environment: &'static str,
    /// What happens before a request is answered.
    pub(super) before: Option<Happens>,
    counts: BTreeMap<usize, u32>,
}

pub(super) struct Fault {
    pub(super) line: &'static str,
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) answer: Answer,
}

/// The time at which tests begin, in milliseconds.
pub(super) const NOW: i64 = 1_795_402_800_000;

/// The vendor, shared by tests and the bench.
#[derive(Clone)]
pub(super) struct Vendor(pub(super) Arc<Mutex<State>>);

impl Vendor {
    /// So many users with one session each, and every third with a pending one besides, and every fifth with one that ended.
    pub(super) fn of(users: usize) -> Self {
        let mut state = State { banned: vec![false; users], environment: "production", ..State::default() };
        for user in 0..users {
            state.open(user, "active", NOW - 3_600_000);
            if user % 3 == 0 {
                state.open(user, "pending", NOW - 1_800_000);
            }
            if user % 5 == 0 {
                state.open(user, "expired", NOW - 90_000_000);
            }
        }
        Self(Arc::new(Mutex::new(state)))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(super) fn with(self, change: impl FnOnce(&mut State)) -> Self {
        change(&mut self.state());
        self
    }

    pub(super) fn failing(self, line: &'static str, from: u32, to: u32, answer: Answer) -> Self {
        self.with(|state| state.faults.push(Fault { line, from, to, answer }))
    }

    pub(super) async fn bench(&self) -> Bench {
        let vendor = self.clone();
        Bench::with(move |seen| vendor.state().answer(seen)).await.with_secret("clerk", "sk_live_0123456789")
    }

    /// How many sessions are live.
    pub(super) fn live(&self) -> usize {
        self.state().sessions.iter().filter(|session| is_live(session)).count()
    }
}

fn is_live(session: &OneSession) -> bool {
    matches!(session.status, "active" | "pending")
}

fn user_id(user: usize) -> String {
    format!("user_{user:05}")
}

fn error(status: u16, code: &str) -> Answer {
    Answer::json(status, &json!({ "errors": [{ "message": code, "long_message": code, "code": code }] }))
}

impl State {
    pub(super) fn open(&mut self, user: usize, status: &'static str, at: i64) {
        let id = format!("sess_{:05}", self.sessions.len());
        self.sessions.push(OneSession { id, user, status, created_at: at, updated_at: at });
    }

    /// Somebody signs in.
    pub(super) fn sign_in(&mut self, user: usize, at: i64) {
        self.open(user, "active", at);
        self.signed_in.insert(user, at);
    }

    fn user(&self, user: usize) -> Value {
        json!({
            "id": user_id(user), "banned": self.banned[user], "locked": false, "created_at": NOW - 100_000_000 + user as i64,
            "last_sign_in_at": self.signed_in.get(&user), "first_name": "Ada", "public_metadata": {},
        })
    }

    fn session(&self, session: &OneSession) -> Value {
        json!({
            "id": session.id, "user_id": user_id(session.user), "status": session.status,
            "created_at": session.created_at, "updated_at": session.updated_at,
        })
    }

    fn end_all(&mut self, user: usize) {
        for session in &mut self.sessions {
            if session.user == user && is_live(session) {
                (session.status, session.updated_at) = ("revoked", NOW + 1000);
            }
        }
    }

    fn number(&self, id: &str) -> Option<usize> {
        id.strip_prefix("user_")?.parse().ok().filter(|user| *user < self.banned.len())
    }

    fn answer(&mut self, seen: &Seen) -> Answer {
        if let Some(mut before) = self.before.take() {
            before(seen, self);
            self.before = Some(before);
        }
        let line = seen.line();
        for (number, fault) in self.faults.iter().enumerate() {
            if line.starts_with(fault.line) {
                let count = self.counts.entry(number).or_default();
                *count += 1;
                if (fault.from..=fault.to).contains(count) {
                    return fault.answer.clone();
                }
            }
        }
        let url = reqwest::Url::parse(&format!("http://x/?{}", seen.query)).unwrap();
        let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        let number = |name: &str, usual: usize| query.get(name).map_or(usual, |text| text.parse().unwrap());
        let parts: Vec<&str> = seen.path.split('/').skip(2).collect();
        match (seen.method.as_str(), parts.as_slice()) {
            ("GET", ["instance"]) => Answer::json(200, &json!({ "id": "ins_1", "environment_type": self.environment })),
            ("GET", ["jwt_templates"]) => {
                let templates: Vec<Value> =
                    self.templates.iter().map(|lifetime| json!({ "lifetime": lifetime })).collect();
                Answer::json(200, &Value::Array(templates))
            }
            ("GET", ["users", "count"]) => Answer::json(200, &json!({ "total_count": self.banned.len() })),
            ("GET", ["users"]) => {
                let up = query.get("order_by").map(String::as_str) == Some("+created_at");
                let mut users: Vec<usize> = (0..self.banned.len()).collect();
                if let Some(since) = query.get("last_sign_in_at_after") {
                    let since: i64 = since.parse().unwrap();
                    users.retain(|user| self.signed_in.get(user).is_some_and(|at| *at > since));
                }
                if query.contains_key("created_at_after") {
                    users.clear();
                }
                if !up {
                    users.reverse();
                }
                if let Some(last) = query.get("starting_after") {
                    let last = self.number(last).unwrap();
                    users.retain(|user| if up { *user > last } else { *user < last });
                }
                users.truncate(number("limit", 10));
                Answer::json(200, &users.into_iter().map(|user| self.user(user)).collect())
            }
            ("GET", ["sessions"]) => {
                let user = self.number(&query["user_id"]);
                let rows = self.sessions.iter().filter(|session| Some(session.user) == user).map(|s| self.session(s));
                let rows: Vec<Value> = rows.skip(number("offset", 0)).take(number("limit", 10)).collect();
                Answer::json(200, &Value::Array(rows))
            }
            ("POST", ["sessions", id, "revoke"]) => {
                let Some(at) = self.sessions.iter().position(|session| session.id == *id) else {
                    return error(404, "resource_not_found");
                };
                if !is_live(&self.sessions[at]) {
                    return error(404, "resource_not_found");
                }
                (self.sessions[at].status, self.sessions[at].updated_at) = ("revoked", NOW + 1000);
                Answer::json(200, &self.session(&self.sessions[at]))
            }
            ("POST", ["users", word @ ("ban" | "unban")]) => {
                let ids: Vec<String> = serde_json::from_value(seen.body["user_ids"].clone()).unwrap();
                assert!((1..=50).contains(&ids.len()), "{ids:?}");
                let users: Option<Vec<usize>> = ids.iter().map(|id| self.number(id)).collect();
                let Some(users) = users else { return error(400, "no_such_user") };
                for user in &users {
                    self.ban(*user, *word == "ban");
                }
                Answer::json(200, &users.into_iter().map(|user| self.user(user)).collect())
            }
            ("POST", ["users", id, word @ ("ban" | "unban")]) => match self.number(id) {
                None => error(404, "resource_not_found"),
                Some(user) => {
                    self.ban(user, *word == "ban");
                    Answer::json(200, &self.user(user))
                }
            },
            ("POST", ["users", id, "password", "set_compromised"]) => {
                assert_eq!(seen.body, json!({ "revoke_all_sessions": true }));
                let user = self.number(id).unwrap();
                if self.passwordless.contains(&user) {
                    return error(422, "no_password_set");
                }
                self.end_all(user);
                Answer::json(200, &self.user(user))
            }
            _ => panic!("{line} is no request of ours"),
        }
    }

    fn ban(&mut self, user: usize, banned: bool) {
        self.banned[user] = banned;
        if banned {
            self.end_all(user);
        }
    }
}
