//! Clerk's users and sessions: what its Backend API answers about them, and what it refuses.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::filter::Filter;
use super::no;
use super::population::{Change, Population, Session, User};
use crate::base::Timestamp;
use crate::base::clock::until;
use crate::drill::ask::{Answer, Ask, Carried};
use crate::drill::observed::Why;
use crate::drill::state::{self, WorldState};

/// How many users one bulk request may name.
const LARGEST_BULK: usize = 50;
/// A page has so many rows unless asked for another number.
const USUAL_PAGE: usize = 10;
const LARGEST_PAGE: usize = 500;
const WEEK: i64 = 7 * 86_400_000;

/// Answers a request about people; `None` when it is about something else.
pub(super) fn answer(ask: &Ask, world: &WorldState) -> Option<Answer> {
    let desk = Desk { ask, people: &world.people, now: world.now };
    let answer = match (ask.method.as_str(), ask.segments().as_slice()) {
        ("GET", ["v1", "users"]) => desk.list_users(),
        ("GET", ["v1", "users", "count"]) => desk.count_users(),
        ("GET", ["v1", "users", id]) => desk.user(id, |user| Ok(desk.show(user))),
        ("POST", ["v1", "users", "ban"]) => desk.bulk(Change::Banned),
        ("POST", ["v1", "users", "unban"]) => desk.bulk(Change::Unbanned),
        ("POST", ["v1", "users", id, "ban"]) => desk.user(id, |user| desk.ban(Change::Banned(vec![user]), user)),
        ("POST", ["v1", "users", id, "unban"]) => desk.user(id, |user| desk.ban(Change::Unbanned(vec![user]), user)),
        ("POST", ["v1", "users", id, "lock"]) => desk.user(id, |user| desk.lock(Change::Locked(user), user)),
        ("POST", ["v1", "users", id, "unlock"]) => desk.user(id, |user| desk.lock(Change::Unlocked(user), user)),
        ("POST", ["v1", "users", id, "password", "set_compromised"]) => desk.user(id, |user| desk.compromise(user)),
        ("GET", ["v1", "sessions"]) => desk.list_sessions(),
        ("GET", ["v1", "sessions", id]) => desk.session(id),
        ("POST", ["v1", "sessions", id, "revoke"]) => desk.revoke(id),
        ("GET", ["v1", "jwt_templates"]) => Ok(desk.templates()),
        _ => return None,
    };
    Some(answer.unwrap_or_else(|refused| refused))
}

/// One request, and what it is about.
struct Desk<'a> {
    ask: &'a Ask,
    people: &'a Population,
    now: Timestamp,
}

type Answered = Result<Answer, Answer>;

impl Desk<'_> {
    fn user(&self, id: &str, and: impl FnOnce(User) -> Answered) -> Answered {
        and(user_of(id).filter(|user| *user < self.people.users()).ok_or_else(missing)?)
    }

    fn show(&self, user: User) -> Answer {
        let mut text = String::new();
        self.write_user(&mut text, user, None);
        Answer { content: text, ..Answer::json(200, &Value::Null) }
    }

    fn ban(&self, change: Change, user: User) -> Answered {
        self.with_bans()?;
        self.changed(change, &[user], false)
    }

    fn lock(&self, change: Change, user: User) -> Answered {
        if !self.people.setting.lockout {
            let message = "Locking users is off in this instance.";
            return Err(no(403, "feature_not_enabled", message).because(Why::Granted));
        }
        self.changed(change, &[user], false)
    }

    fn with_bans(&self) -> Result<(), Answer> {
        if self.people.setting.ban {
            return Ok(());
        }
        let message = "Your plan does not include banning users.";
        Err(no(402, "unsupported_subscription_plan_features", message).because(Why::Granted))
    }

    /// Makes a change, and shows the users as they are after it.
    fn changed(&self, change: Change, users: &[User], as_list: bool) -> Answered {
        let mut content = String::new();
        if as_list {
            self.write_rows(&mut content, users, Some(&change));
        } else {
            users.iter().for_each(|user| self.write_user(&mut content, *user, Some(&change)));
        }
        let answer = Answer { content, ..Answer::json(200, &Value::Null) };
        Ok(answer.changing([state::Change::People(change)]))
    }

    fn bulk(&self, change: fn(Vec<User>) -> Change) -> Answered {
        self.with_bans()?;
        let Carried::Json(body) = &self.ask.body else { return Err(bad("A body is needed.")) };
        let ids = body.get("user_ids").and_then(Value::as_array).ok_or_else(|| bad("`user_ids` is needed."))?;
        if ids.is_empty() || ids.len() > LARGEST_BULK {
            return Err(bad("`user_ids` takes from 1 to 50 users."));
        }
        let users: Option<Vec<User>> = ids.iter().map(|id| self.known(id.as_str()?)).collect();
        let users = users.ok_or_else(|| bad("There is no such user."))?;
        self.changed(change(users.clone()), &users, true)
    }

    fn known(&self, id: &str) -> Option<User> {
        user_of(id).filter(|user| *user < self.people.users())
    }

    fn compromise(&self, user: User) -> Answered {
        if !self.people.has_password(user) {
            return Err(no(422, "no_password_set", "This user has no password.").because(Why::Granted));
        }
        let sessions = match &self.ask.body {
            Carried::Nothing => false,
            Carried::Json(body) => match body.get("revoke_all_sessions") {
                None | Some(Value::Null) => false,
                Some(Value::Bool(sessions)) => *sessions,
                Some(_) => return Err(invalid("revoke_all_sessions")),
            },
            Carried::Unreadable => return Err(bad("The body is no JSON.")),
        };
        self.changed(Change::Compromised { user, sessions }, &[user], false)
    }

    fn count_users(&self) -> Answered {
        let filter = Filter::of(self.ask)?;
        let total = match filter.takes_all() {
            true => self.people.users(),
            false => u32::try_from((0..self.people.users()).filter(|user| filter.takes(self.people, *user)).count())
                .unwrap_or(u32::MAX),
        };
        Ok(Answer::json(200, &json!({ "object": "total_count", "total_count": total })))
    }

    fn list_users(&self) -> Answered {
        let filter = Filter::of(self.ask)?;
        let (limit, offset) = (self.limit()?, self.offset()?);
        let upwards = match self.ask.query("order_by") {
            Some("+created_at" | "created_at") => true,
            None | Some("-created_at") => false,
            // The real one knows more orders. A raw `+` reads as a blank, and that is none.
            Some(_) => return Err(invalid("order_by")),
        };
        let total = self.people.users();
        let (mut from, mut to) = (0, total);
        if let Some(cursor) = self.ask.query("starting_after") {
            if offset > 0 {
                return Err(invalid("starting_after"));
            }
            let last = self.known(cursor).ok_or_else(|| invalid("starting_after"))?;
            if upwards { from = last + 1 } else { to = last }
        }
        let takes = |user: &User| filter.takes(self.people, *user);
        let users: Vec<User> = if upwards {
            (from..to).filter(takes).skip(offset).take(limit).collect()
        } else {
            (from..to).rev().filter(takes).skip(offset).take(limit).collect()
        };
        let mut content = String::new();
        self.write_rows(&mut content, &users, None);
        Ok(Answer { content, ..Answer::json(200, &Value::Null) })
    }

    fn list_sessions(&self) -> Answered {
        let user = match (self.ask.query("user_id"), self.ask.query("client_id")) {
            (Some(user), _) => self.known(user),
            (None, Some(client)) => client.strip_prefix("client_").and_then(|rest| self.known(&format!("user_{rest}"))),
            (None, None) => return Err(no(422, "form_param_missing", "`user_id` or `client_id` is needed.")),
        };
        let (limit, offset) = (self.limit()?, self.offset()?);
        let status = self.ask.query("status");
        if let Some(status) = status
            && !["abandoned", "active", "ended", "expired", "removed", "replaced", "revoked"].contains(&status)
        {
            return Err(invalid("status"));
        }
        let all = user.map(|user| self.people.sessions_of(user)).unwrap_or_default();
        let fits = |session: &Session| status.is_none_or(|status| self.people.status(*session).word() == status);
        let fitting: Vec<Session> = all.into_iter().filter(fits).collect();
        let total = fitting.len();
        let data: Vec<Value> = fitting.into_iter().skip(offset).take(limit).map(|s| self.session_json(s)).collect();
        let paginated = self.ask.query("paginated") == Some("true");
        let body = if paginated { json!({ "data": data, "total_count": total }) } else { Value::Array(data) };
        Ok(Answer::json(200, &body))
    }

    fn session(&self, id: &str) -> Answered {
        let session = session_of(id).filter(|session| self.people.whose(*session).is_some()).ok_or_else(missing)?;
        Ok(Answer::json(200, &self.session_json(session)))
    }

    fn revoke(&self, id: &str) -> Answered {
        let session = session_of(id).filter(|session| self.people.whose(*session).is_some()).ok_or_else(missing)?;
        if !self.people.status(session).is_live() {
            return Err(missing().because(Why::Gone));
        }
        let mut shown = self.session_json(session);
        shown["status"] = json!("revoked");
        shown["updated_at"] = json!(self.now.as_millisecond());
        Ok(Answer::json(200, &shown).changing([state::Change::People(Change::Revoked(session))]))
    }

    fn templates(&self) -> Answer {
        let made = self.people.created_at(0);
        let show = |(name, lifetime): (&String, &crate::base::HumanDuration)| {
            json!({
                "object": "jwt_template",
                "id": format!("jtmp_{name}"),
                "name": name,
                "claims": {},
                "lifetime": lifetime.0.as_secs(),
                "allowed_clock_skew": 5,
                "custom_signing_key": false,
                "signing_algorithm": "RS256",
                "created_at": made,
                "updated_at": made,
            })
        };
        let templates: Vec<Value> = self.people.setting.jwt_templates.iter().map(show).collect();
        let total = templates.len();
        let paginated = self.ask.query("paginated") == Some("true");
        let body = if paginated { json!({ "data": templates, "total_count": total }) } else { Value::Array(templates) };
        Answer::json(200, &body)
    }

    fn limit(&self) -> Result<usize, Answer> {
        let Some(text) = self.ask.query("limit") else { return Ok(USUAL_PAGE) };
        text.parse().ok().filter(|limit| (1..=LARGEST_PAGE).contains(limit)).ok_or_else(|| invalid("limit"))
    }

    fn offset(&self) -> Result<usize, Answer> {
        self.ask.query("offset").map_or(Ok(0), |text| text.parse().map_err(|_| invalid("offset")))
    }

    fn write_rows(&self, text: &mut String, users: &[User], change: Option<&Change>) {
        text.reserve(users.len() * 1100 + 2);
        text.push('[');
        for (number, user) in users.iter().enumerate() {
            if number > 0 {
                text.push(',');
            }
            self.write_user(text, *user, change);
        }
        text.push(']');
    }

    /// A user as JSON, as after a change. Pages of five hundred are asked for all the time, so it is written in one go.
    fn write_user(&self, text: &mut String, user: User, change: Option<&Change>) {
        let number = user + 1;
        let made = self.people.created_at(user);
        let number_or_null = |value: Option<i64>| value.map_or_else(|| "null".to_owned(), |value| value.to_string());
        let signed_in = self.people.last_sign_in(user);
        let active = signed_in.map(|at| at - at.rem_euclid(86_400_000));
        let (banned, locked) = self.people.standing_after(user, self.now, change);
        let left = locked.map(|at| i64::try_from(until(self.now, at).as_secs()).unwrap_or(i64::MAX));
        // Writing to a text cannot fail.
        let _written = write!(
            text,
            r#"{{"object":"user","id":"{id}","external_id":null,"primary_email_address_id":null,"primary_phone_number_id":null,"primary_web3_wallet_id":null,"username":"person{number}","first_name":"Person","last_name":"Number {number}","image_url":"https://img.clerk.com/drill","has_image":false,"public_metadata":{{}},"private_metadata":{{}},"unsafe_metadata":{{}},"email_addresses":[],"phone_numbers":[],"web3_wallets":[],"passkeys":[],"password_enabled":{password},"two_factor_enabled":false,"totp_enabled":false,"backup_code_enabled":false,"mfa_enabled_at":null,"mfa_disabled_at":null,"external_accounts":[],"saml_accounts":[],"enterprise_accounts":[],"last_sign_in_at":{signed_in},"banned":{banned},"locked":{locked},"lockout_expires_in_seconds":{left},"verification_attempts_remaining":100,"created_at":{made},"updated_at":{made},"delete_self_enabled":true,"create_organization_enabled":true,"last_active_at":{active},"legal_accepted_at":null}}"#,
            id = user_id(user),
            password = self.people.has_password(user),
            signed_in = number_or_null(signed_in),
            locked = locked.is_some(),
            left = number_or_null(left),
            active = number_or_null(active),
        );
    }

    fn session_json(&self, session: Session) -> Value {
        let status = self.people.status(session);
        let opened = self.people.opened_at(session);
        let user = self.people.whose(session).map(user_id).unwrap_or_default();
        let pending = status == super::population::Status::Pending;
        json!({
            "object": "session",
            "id": session_id(session),
            "client_id": user.replacen("user_", "client_", 1),
            "user_id": user,
            "status": status.word(),
            "last_active_organization_id": null,
            "last_active_at": opened,
            "latest_activity": null,
            "actor": null,
            "expire_at": opened + WEEK,
            "abandon_at": opened + 4 * WEEK,
            "created_at": opened,
            "updated_at": self.people.updated_at(session),
            "tasks": if pending { json!([{ "key": "choose-organization" }]) } else { Value::Null },
        })
    }
}

/// A user's id.
pub(in crate::drill) fn user_id(user: User) -> String {
    format!("user_drill{:07}", user + 1)
}

pub(super) fn user_of(id: &str) -> Option<User> {
    numbered(id, "user_drill")
}

fn session_id(session: Session) -> String {
    match session {
        Session::Live(number) => format!("sess_drill{:07}", number + 1),
        Session::Old(number) => format!("sess_old{:07}", number + 1),
        Session::Opened(number) => format!("sess_new{:07}", number + 1),
    }
}

fn session_of(id: &str) -> Option<Session> {
    let live = numbered(id, "sess_drill").map(Session::Live);
    live.or_else(|| numbered(id, "sess_old").map(Session::Old))
        .or_else(|| numbered(id, "sess_new").map(Session::Opened))
}

fn numbered(id: &str, prefix: &str) -> Option<u32> {
    id.strip_prefix(prefix)?.parse::<u32>().ok()?.checked_sub(1)
}

fn missing() -> Answer {
    no(404, "resource_not_found", "There is no such resource.")
}

fn bad(message: &str) -> Answer {
    no(400, "bad_request", message)
}

pub(super) fn invalid(what: &str) -> Answer {
    no(422, "form_param_value_invalid", &format!("The value of `{what}` is not valid."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::scenario::StandIn;
    use crate::drill::scenario::tests::scenario;
    use crate::drill::state::Asked;
    use std::sync::Arc;

    const SMALL: &str = "world: { vercel: { project: shop }, clerk: { users: 25, sessions_per_user: 1.4, old_sessions_per_user: 1, pending: 0.2, banned: 2, without_password: 0.5, jwt_templates: { convex: 10m } } }\n";

    struct Clerk(WorldState);

    impl Clerk {
        fn with(more: &str) -> Self {
            Self(WorldState::new(Arc::new(scenario(more))))
        }

        fn ask(&mut self, method: &str, path: &str, body: Value) -> (u16, Value) {
            let url = reqwest::Url::parse(&format!("http://clerk{path}")).unwrap();
            let ask = Ask {
                method: method.into(),
                path: url.path().into(),
                query: url.query_pairs().into_owned().collect(),
                bearer: Some("sk_test_drill".into()),
                body: if body.is_null() { Carried::Nothing } else { Carried::Json(body) },
                ..Ask::default()
            };
            let answer = super::super::answer(&ask, &self.0);
            let asked = Asked {
                on: StandIn::Clerk,
                method: ask.method.clone(),
                path: ask.path.clone(),
                status: Some(answer.status),
                why: None,
                changes: answer.changes,
            };
            let now = self.0.now;
            self.0.apply(now, &asked);
            (answer.status, serde_json::from_str(&answer.content).unwrap_or_else(|e| panic!("{e}: {}", answer.content)))
        }

        fn get(&mut self, path: &str) -> (u16, Value) {
            self.ask("GET", path, Value::Null)
        }

        fn post(&mut self, path: &str) -> (u16, Value) {
            self.ask("POST", path, Value::Null)
        }
    }

    fn ids(list: &Value) -> Vec<&str> {
        list.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect()
    }

    #[test]
    fn pages_of_users_go_from_the_oldest_to_the_newest_by_cursor() {
        let mut clerk = Clerk::with(SMALL);
        let (_, newest) = clerk.get("/v1/users");
        assert_eq!((newest.as_array().unwrap().len(), ids(&newest)[0]), (10, "user_drill0000025"));
        let mut seen = Vec::new();
        let mut path = "/v1/users?limit=9&order_by=%2Bcreated_at".to_owned();
        loop {
            let (status, page) = clerk.get(&path);
            assert_eq!(status, 200);
            seen.extend(ids(&page).into_iter().map(str::to_owned));
            if page.as_array().unwrap().len() < 9 {
                break;
            }
            path = format!("/v1/users?limit=9&order_by=%2Bcreated_at&starting_after={}", seen.last().unwrap());
        }
        let expected: Vec<String> = (1..=25).map(|number| format!("user_drill{number:07}")).collect();
        assert_eq!(seen, expected);
        assert_eq!(clerk.get("/v1/users/count").1["total_count"], 25);
        assert_eq!(clerk.get("/v1/users/count?banned=true").1["total_count"], 2);
        let (_, banned) = clerk.get("/v1/users?banned=true");
        assert!(banned.as_array().unwrap().iter().all(|user| user["banned"] == true));
        assert_eq!(ids(&clerk.get("/v1/users?user_id=user_drill0000003&user_id=user_x").1), ["user_drill0000003"]);
    }

    #[test]
    fn what_the_vendor_refuses_is_refused() {
        let mut clerk = Clerk::with(SMALL);
        for (path, status) in [
            ("/v1/users?limit=501", 422),
            ("/v1/users?limit=0", 422),
            ("/v1/users?order_by=+created_at", 422),
            ("/v1/users?order_by=-created_at&starting_after=user_drill0000003&offset=1", 422),
            ("/v1/users?order_by=last_name&starting_after=user_drill0000003", 422),
            ("/v1/users?starting_after=user_nobody", 422),
            ("/v1/users?last_sign_in_at_after=yesterday", 422),
            ("/v1/users/user_drill0000026", 404),
            ("/v1/sessions", 422),
            ("/v1/sessions?user_id=user_drill0000001&status=pending", 422),
            ("/v1/sessions?user_id=user_drill0000001&status=active", 200),
            ("/v1/sessions/sess_drill0099999", 404),
        ] {
            assert_eq!(clerk.get(path).0, status, "{path}");
        }
        for (body, status) in [
            (Value::Null, 400),
            (json!({ "user_ids": [] }), 400),
            (json!({ "user_ids": vec!["user_drill0000001"; 51] }), 400),
            (json!({ "user_ids": ["user_nobody"] }), 400),
            (json!({ "user_ids": ["user_drill0000001", "user_drill0000002"] }), 200),
        ] {
            assert_eq!(clerk.ask("POST", "/v1/users/ban", body.clone()).0, status, "{body}");
        }
        let poor = SMALL.replace("banned: 2", "ban: false, lockout: false");
        let mut clerk = Clerk::with(&poor);
        assert_eq!(clerk.post("/v1/users/user_drill0000001/ban").0, 402);
        assert_eq!(clerk.ask("POST", "/v1/users/unban", json!({ "user_ids": ["user_drill0000001"] })).0, 402);
        assert_eq!(clerk.post("/v1/users/user_drill0000001/lock").0, 403);
    }

    #[test]
    fn a_session_is_revoked_once_and_then_gone() {
        let mut clerk = Clerk::with(SMALL);
        let (_, sessions) = clerk.get("/v1/sessions?user_id=user_drill0000005&paginated=true");
        assert_eq!(sessions["total_count"], 3);
        let states: Vec<&str> =
            sessions["data"].as_array().unwrap().iter().map(|session| session["status"].as_str().unwrap()).collect();
        assert_eq!(states, ["active", "active", "replaced"]);
        let id = sessions["data"][0]["id"].as_str().unwrap().to_owned();
        let (status, revoked) = clerk.post(&format!("/v1/sessions/{id}/revoke"));
        assert_eq!((status, &revoked["status"]), (200, &json!("revoked")));
        assert_eq!(clerk.post(&format!("/v1/sessions/{id}/revoke")).0, 404);
        assert_eq!(clerk.get(&format!("/v1/sessions/{id}")).1["status"], "revoked");
        assert_eq!(clerk.get("/v1/sessions?user_id=user_drill0000005&status=revoked").1.as_array().unwrap().len(), 1);
        let live = (1..=25).flat_map(|user| {
            clerk.get(&format!("/v1/sessions?user_id=user_drill{user:07}")).1.as_array().unwrap().clone()
        });
        let pending = live.filter(|session| session["status"] == "pending").count();
        assert_eq!(pending, 6);
    }

    #[test]
    fn bans_locks_and_stolen_passwords_change_the_user_that_is_shown() {
        let mut clerk = Clerk::with(SMALL);
        let user = |clerk: &mut Clerk, what: &str| {
            let (status, user) = clerk.post(&format!("/v1/users/user_drill0000001/{what}"));
            (status, user["banned"].clone(), user["locked"].clone(), user["lockout_expires_in_seconds"].clone())
        };
        assert_eq!(user(&mut clerk, "lock"), (200, json!(false), json!(true), json!(3600)));
        assert_eq!(user(&mut clerk, "ban"), (200, json!(true), json!(true), json!(3600)));
        assert_eq!(user(&mut clerk, "unlock"), (200, json!(true), json!(false), Value::Null));
        assert_eq!(user(&mut clerk, "unban"), (200, json!(false), json!(false), Value::Null));
        let left = clerk.0.people.left_of_the_start();
        let all = json!({ "revoke_all_sessions": true });
        assert_eq!(clerk.ask("POST", "/v1/users/user_drill0000003/password/set_compromised", all.clone()).0, 200);
        assert_eq!(clerk.0.people.left_of_the_start(), left - 2);
        assert_eq!(clerk.ask("POST", "/v1/users/user_drill0000004/password/set_compromised", all).0, 422);
    }

    #[test]
    fn a_user_has_every_field_that_the_vendor_promises() {
        let mut clerk = Clerk::with(SMALL);
        let (_, user) = clerk.get("/v1/users/user_drill0000007");
        for field in [
            "id",
            "object",
            "username",
            "first_name",
            "last_name",
            "has_image",
            "primary_email_address_id",
            "password_enabled",
            "email_addresses",
            "public_metadata",
            "last_sign_in_at",
            "banned",
            "locked",
            "lockout_expires_in_seconds",
            "verification_attempts_remaining",
            "created_at",
            "updated_at",
            "delete_self_enabled",
            "create_organization_enabled",
            "last_active_at",
            "mfa_enabled_at",
            "legal_accepted_at",
        ] {
            assert!(user.get(field).is_some(), "{field}");
        }
        let (_, templates) = clerk.get("/v1/jwt_templates");
        assert_eq!((&templates[0]["name"], &templates[0]["lifetime"]), (&json!("convex"), &json!(600)));
    }
}
