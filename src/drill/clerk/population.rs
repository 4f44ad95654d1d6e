//! Who there is: users and their sessions, kept as numbers.
//!
//! Everything that is so at the start follows from a user's or a session's number and the setting. Only what changes is kept:
//! a few bits for each user, four bytes for each session. So a hundred thousand users cost less than a megabyte.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::observed::WriteKind;
use super::numbers::{Bits, Pace, Spread, any, count};
use super::setting::ClerkSetting;
use crate::base::Timestamp;
use crate::base::clock::after;

/// A user's number, from 0 in the order of creation.
pub(in crate::drill) type User = u32;

/// How long Clerk locks a user unless told otherwise.
const LOCKED_FOR: Duration = Duration::from_secs(3600);
/// The stretch over which requests are counted.
const WINDOW: i64 = 10;

/// Which session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::drill) enum Session {
    /// One that was live at the start.
    Live(u32),
    /// One that had ended before.
    Old(u32),
    /// One that was opened during the drill.
    Opened(u32),
}

/// How a session is, in the vendor's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::drill) enum Status {
    Active,
    Pending,
    Revoked,
    Ended,
    Expired,
    Removed,
    Abandoned,
    Replaced,
}

impl Status {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Revoked => "revoked",
            Self::Ended => "ended",
            Self::Expired => "expired",
            Self::Removed => "removed",
            Self::Abandoned => "abandoned",
            Self::Replaced => "replaced",
        }
    }

    pub(super) fn is_live(self) -> bool {
        matches!(self, Self::Active | Self::Pending)
    }
}

/// What a request changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::drill) enum Change {
    /// A session was revoked.
    Revoked(Session),
    /// Users were banned; their sessions are revoked.
    Banned(Vec<User>),
    /// Users are no longer banned.
    Unbanned(Vec<User>),
    /// A user was locked.
    Locked(User),
    /// A user is no longer locked.
    Unlocked(User),
    /// A user's password is known to be stolen; the sessions may go as well.
    Compromised { user: User, sessions: bool },
}

impl Change {
    /// As what kind of write it counts.
    pub(in crate::drill) fn kind(&self) -> WriteKind {
        match self {
            Self::Revoked(_) => WriteKind::SessionRevoked,
            Self::Banned(_) => WriteKind::UsersBanned,
            Self::Unbanned(_) => WriteKind::UsersUnbanned,
            Self::Locked(_) => WriteKind::UserLocked,
            Self::Unlocked(_) => WriteKind::UserUnlocked,
            Self::Compromised { .. } => WriteKind::PasswordCompromised,
        }
    }
}

/// Who comes and goes by itself: signs in again, is new, signs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::drill) enum Flow {
    In,
    New,
    Out,
}

/// A session opened during the drill.
#[derive(Debug, Clone, Copy)]
struct Opened {
    user: User,
    at: i64,
    ended: u32,
}

/// Users and sessions.
#[derive(Debug, Clone)]
pub(in crate::drill) struct Population {
    pub(super) setting: Arc<ClerkSetting>,
    starts: Timestamp,
    /// How long after each other users were made before the drill, in milliseconds.
    between: i64,
    live: Spread,
    old: Spread,
    pending: Spread,
    passwordless: Spread,
    /// When each session that was live at the start ended: milliseconds of the drill and one more; 0 while it lives.
    ended: Vec<u32>,
    /// Which of those ended by themselves.
    by_itself: Bits,
    banned: Bits,
    banned_at_the_start: Bits,
    locked: BTreeMap<User, Timestamp>,
    compromised: Bits,
    /// When each user was made who was not there at the start.
    signed_up: Vec<i64>,
    opened: Vec<Opened>,
    opened_by: BTreeMap<User, Vec<u32>>,
    paces: [Pace; 3],
    window: i64,
    asked: u32,
}

impl Population {
    /// As it is at the start.
    pub(in crate::drill) fn new(setting: ClerkSetting, starts: Timestamp) -> Self {
        let live = Spread::of(setting.sessions_per_user);
        let banned = Spread::of(f64::from(setting.banned) / f64::from(setting.users.max(1)));
        let mut population = Self {
            starts,
            between: i64::try_from(setting.new_user_every.0.as_millis()).unwrap_or(i64::MAX).max(1),
            live,
            old: Spread::of(setting.old_sessions_per_user),
            pending: Spread::of(setting.pending),
            passwordless: Spread::of(setting.without_password),
            ended: vec![0; live.before(setting.users) as usize],
            by_itself: Bits::default(),
            banned: Bits::default(),
            banned_at_the_start: Bits::default(),
            locked: BTreeMap::new(),
            compromised: Bits::default(),
            signed_up: Vec::new(),
            opened: Vec::new(),
            opened_by: BTreeMap::new(),
            paces: [setting.sign_ins_per_minute, setting.sign_ups_per_minute, setting.sign_outs_per_minute]
                .map(Pace::of),
            window: 0,
            asked: 0,
            setting: Arc::new(setting),
        };
        let mut left = population.setting.banned.min(population.setting.users);
        // The even spread may fall short by its rounding; the last ones make up for it.
        for user in (0..population.setting.users).filter(|user| banned.takes(*user)) {
            population.ban(user, starts);
            left = left.saturating_sub(1);
        }
        for user in (0..population.setting.users).rev() {
            if left == 0 {
                break;
            }
            if !population.banned.get(user) {
                population.ban(user, starts);
                left -= 1;
            }
        }
        population.banned_at_the_start = population.banned.clone();
        population
    }

    /// How many users there are.
    pub(super) fn users(&self) -> u32 {
        self.setting.users.saturating_add(u32::try_from(self.signed_up.len()).unwrap_or(u32::MAX))
    }

    pub(super) fn is_banned(&self, user: User) -> bool {
        self.banned.get(user)
    }

    /// Until when a user is locked.
    fn locked_until(&self, user: User, now: Timestamp) -> Option<Timestamp> {
        self.locked.get(&user).copied().filter(|until| *until > now)
    }

    /// Is a user banned, and until when locked, once a change has been made?
    pub(super) fn standing_after(
        &self,
        user: User,
        now: Timestamp,
        change: Option<&Change>,
    ) -> (bool, Option<Timestamp>) {
        let (banned, locked) = (self.is_banned(user), self.locked_until(user, now));
        match change {
            Some(Change::Banned(_)) => (true, locked),
            Some(Change::Unbanned(_)) => (false, locked),
            Some(Change::Locked(_)) => (banned, Some(after(now, LOCKED_FOR))),
            Some(Change::Unlocked(_)) => (banned, None),
            Some(Change::Revoked(_) | Change::Compromised { .. }) | None => (banned, locked),
        }
    }

    pub(super) fn has_password(&self, user: User) -> bool {
        !self.passwordless.takes(user)
    }

    /// When a user was made, in milliseconds.
    pub(super) fn created_at(&self, user: User) -> i64 {
        let back = i64::from(self.setting.users) - i64::from(user);
        match user.checked_sub(self.setting.users) {
            Some(later) => self.signed_up.get(later as usize).copied().unwrap_or_default(),
            None => self.starts.as_millisecond() - back.saturating_mul(self.between),
        }
    }

    /// When each user was made, the oldest first.
    pub(in crate::drill) fn made(&self) -> Vec<Timestamp> {
        let made = |user| Timestamp::from_millisecond(self.created_at(user)).unwrap_or(self.starts);
        (0..self.users()).map(made).collect()
    }

    /// When a user last signed in, in milliseconds; `None` for never.
    pub(super) fn last_sign_in(&self, user: User) -> Option<i64> {
        let lately = self.opened_by.get(&user).and_then(|sessions| sessions.last());
        match lately {
            Some(session) => Some(self.opened[*session as usize].at),
            None => self.live_of(user).next_back().map(|session| self.opened_at(Session::Live(session))),
        }
    }

    fn live_of(&self, user: User) -> std::ops::Range<u32> {
        if user >= self.setting.users { 0..0 } else { self.live.before(user)..self.live.before(user + 1) }
    }

    fn old_of(&self, user: User) -> std::ops::Range<u32> {
        if user >= self.setting.users { 0..0 } else { self.old.before(user)..self.old.before(user + 1) }
    }

    /// A user's sessions, the oldest last, as the vendor lists them.
    pub(super) fn sessions_of(&self, user: User) -> Vec<Session> {
        let opened = self.opened_by.get(&user).into_iter().flatten().rev().map(|number| Session::Opened(*number));
        opened
            .chain(self.live_of(user).rev().map(Session::Live))
            .chain(self.old_of(user).rev().map(Session::Old))
            .collect()
    }

    /// Is there such a session, and whose is it?
    pub(super) fn whose(&self, session: Session) -> Option<User> {
        match session {
            Session::Live(number) => ((number as usize) < self.ended.len()).then(|| self.live.whose(number)),
            Session::Old(number) => (number < self.old.before(self.setting.users)).then(|| self.old.whose(number)),
            Session::Opened(number) => self.opened.get(number as usize).map(|opened| opened.user),
        }
    }

    /// When a session was opened, in milliseconds.
    pub(super) fn opened_at(&self, session: Session) -> i64 {
        let starts = self.starts.as_millisecond();
        match session {
            // All of them within the week that a session lasts.
            Session::Live(number) => starts - 1000 - i64::from(number) * 7919 % (6 * 86_400_000),
            Session::Old(number) => starts - 30 * 86_400_000 - i64::from(number) * 7919 % (6 * 86_400_000),
            Session::Opened(number) => self.opened.get(number as usize).map_or(starts, |opened| opened.at),
        }
    }

    /// How a session is.
    pub(super) fn status(&self, session: Session) -> Status {
        match session {
            Session::Live(number) if self.ended[number as usize] == 0 => {
                if self.pending.takes(number) {
                    Status::Pending
                } else {
                    Status::Active
                }
            }
            Session::Live(number) if self.by_itself.get(number) => Status::Ended,
            Session::Live(_) => Status::Revoked,
            Session::Old(number) => {
                [Status::Expired, Status::Ended, Status::Removed, Status::Abandoned, Status::Replaced, Status::Revoked]
                    [number as usize % 6]
            }
            Session::Opened(number) if self.opened[number as usize].ended == 0 => Status::Active,
            Session::Opened(_) => Status::Revoked,
        }
    }

    /// When a session last changed, in milliseconds.
    pub(super) fn updated_at(&self, session: Session) -> i64 {
        let ended = match session {
            Session::Live(number) => self.ended[number as usize],
            Session::Old(_) => 0,
            Session::Opened(number) => self.opened[number as usize].ended,
        };
        match ended {
            0 => self.opened_at(session),
            ended => self.starts.as_millisecond() + i64::from(ended) - 1,
        }
    }

    /// How many sessions that were live at the start still are.
    pub(in crate::drill) fn left_of_the_start(&self) -> u32 {
        count(self.ended.iter().filter(|ended| **ended == 0))
    }

    /// How many sessions that were opened during the drill are live.
    pub(in crate::drill) fn left_of_the_opened(&self) -> u32 {
        count(self.opened.iter().filter(|opened| opened.ended == 0))
    }

    /// How many sessions were opened during the drill.
    pub(in crate::drill) fn opened(&self) -> u32 {
        u32::try_from(self.opened.len()).unwrap_or(u32::MAX)
    }

    /// How many users are banned who were not, and how many are not who were.
    pub(in crate::drill) fn bans_changed(&self) -> (u32, u32) {
        (self.banned.beyond(&self.banned_at_the_start), self.banned_at_the_start.beyond(&self.banned))
    }

    /// How many users are locked.
    pub(in crate::drill) fn locked(&self, now: Timestamp) -> u32 {
        count(self.locked.values().filter(|until| **until > now))
    }

    /// Applies a change.
    pub(in crate::drill) fn change(&mut self, change: &Change, now: Timestamp) {
        match change {
            Change::Revoked(session) => self.end(*session, now),
            Change::Banned(users) => users.iter().for_each(|user| self.ban(*user, now)),
            Change::Unbanned(users) => users.iter().for_each(|user| self.banned.set(*user, false)),
            Change::Locked(user) => {
                self.locked.insert(*user, after(now, LOCKED_FOR));
            }
            Change::Unlocked(user) => {
                self.locked.remove(user);
            }
            Change::Compromised { user, sessions } => {
                self.compromised.set(*user, true);
                if *sessions {
                    self.end_all_of(*user, now);
                }
            }
        }
    }

    fn ban(&mut self, user: User, now: Timestamp) {
        self.banned.set(user, true);
        self.end_all_of(user, now);
    }

    fn end_all_of(&mut self, user: User, now: Timestamp) {
        for session in self.sessions_of(user) {
            self.end(session, now);
        }
    }

    fn end(&mut self, session: Session, now: Timestamp) {
        let at = u32::try_from(now.as_millisecond() - self.starts.as_millisecond()).unwrap_or_default() + 1;
        let ended = match session {
            Session::Live(number) => &mut self.ended[number as usize],
            Session::Opened(number) => &mut self.opened[number as usize].ended,
            Session::Old(_) => return,
        };
        if *ended == 0 {
            *ended = at;
        }
    }

    /// When time next brings somebody.
    pub(in crate::drill) fn next_due(&self) -> Option<(Timestamp, Flow)> {
        let flows = [Flow::In, Flow::New, Flow::Out];
        let due = self.paces.iter().zip(flows).filter_map(|(pace, flow)| Some((pace.next(self.starts)?, flow)));
        due.min_by_key(|(at, _)| *at)
    }

    /// Somebody comes or goes. When the vendor is not `open`, nobody gets in.
    pub(in crate::drill) fn flow(&mut self, flow: Flow, now: Timestamp, open: bool) {
        let pace = &mut self.paces[flow as usize];
        let number = pace.done;
        pace.done += 1;
        match flow {
            Flow::In if open && self.users() > 0 => {
                let user = any(number, 1, self.users());
                if !self.banned.get(user) && self.locked_until(user, now).is_none() {
                    self.open(user, now);
                }
            }
            Flow::New if open => {
                self.signed_up.push(now.as_millisecond());
                self.open(self.users() - 1, now);
            }
            Flow::Out if !self.ended.is_empty() => {
                let session = any(number, 2, u32::try_from(self.ended.len()).unwrap_or(u32::MAX));
                if self.ended[session as usize] == 0 {
                    self.by_itself.set(session, true);
                    self.end(Session::Live(session), now);
                }
            }
            Flow::In | Flow::New | Flow::Out => {}
        }
    }

    fn open(&mut self, user: User, now: Timestamp) {
        let number = u32::try_from(self.opened.len()).unwrap_or(u32::MAX);
        self.opened.push(Opened { user, at: now.as_millisecond(), ended: 0 });
        self.opened_by.entry(user).or_default().push(number);
    }

    /// One more request was taken.
    pub(in crate::drill) fn count_request(&mut self, now: Timestamp) {
        let window = now.as_second().div_euclid(WINDOW);
        if window != self.window {
            (self.window, self.asked) = (window, 0);
        }
        self.asked += 1;
    }

    /// How many seconds a caller has to wait, because too much was asked for in this stretch of time.
    pub(super) fn throttled_for(&self, key: &str, now: Timestamp) -> Option<i64> {
        let limit = self.setting.limit(key)?;
        let window = now.as_second().div_euclid(WINDOW);
        (window == self.window && self.asked >= limit).then(|| (window + 1) * WINDOW - now.as_second())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn starts() -> Timestamp {
        "2026-02-19T16:00:00Z".parse().unwrap()
    }

    fn population(setting: ClerkSetting) -> Population {
        Population::new(setting, starts())
    }

    proptest! {
        #[test]
        fn every_session_belongs_to_the_user_who_lists_it(users in 0u32..300, average in 0.0f64..5.0) {
            let setting = ClerkSetting { users, sessions_per_user: average, old_sessions_per_user: average / 2.0, ..ClerkSetting::default() };
            let population = population(setting);
            let mut seen = 0;
            for user in 0..users {
                for session in population.sessions_of(user) {
                    prop_assert_eq!(population.whose(session), Some(user));
                    seen += u32::from(population.status(session).is_live());
                }
            }
            prop_assert_eq!(seen, population.left_of_the_start());
            let expected = (f64::from(users) * average).round();
            prop_assert!((f64::from(seen) - expected).abs() <= 1.0 + expected * 0.001, "{} {}", seen, expected);
        }
    }

    #[test]
    fn as_many_are_banned_as_the_setting_says_and_none_of_them_is_signed_in() {
        for banned in [0, 1, 3, 999, 1000] {
            let population = population(ClerkSetting { users: 1000, banned, ..ClerkSetting::default() });
            assert_eq!((0..1000).filter(|user| population.is_banned(*user)).count(), banned as usize);
            assert_eq!(population.bans_changed(), (0, 0));
            let signed_in = (0..1000)
                .filter(|user| population.is_banned(*user))
                .any(|user| population.sessions_of(user).iter().any(|session| population.status(*session).is_live()));
            assert!(!signed_in);
        }
    }

    #[test]
    fn a_hundred_thousand_users_stay_small() {
        let setting = ClerkSetting { users: 100_000, banned: 1000, ..ClerkSetting::default() };
        let population = population(setting);
        assert_eq!(population.ended.len(), 130_000);
        let bytes = population.ended.len() * 4 + population.banned.bytes() + population.banned_at_the_start.bytes();
        assert!(bytes < 1_000_000, "{bytes}");
    }

    #[test]
    fn a_ban_ends_every_session_and_lifting_it_brings_none_back() {
        let mut population = population(ClerkSetting { users: 10, sessions_per_user: 3.0, ..ClerkSetting::default() });
        let now = after(starts(), Duration::from_secs(5));
        population.change(&Change::Banned(vec![4, 5]), now);
        assert_eq!((population.left_of_the_start(), population.bans_changed()), (24, (2, 0)));
        population.change(&Change::Unbanned(vec![4, 5]), now);
        assert_eq!((population.left_of_the_start(), population.bans_changed()), (24, (0, 0)));
        assert_eq!(population.status(Session::Live(12)), Status::Revoked);
        assert_eq!(population.updated_at(Session::Live(12)), now.as_millisecond());
    }

    #[test]
    fn who_comes_and_goes_is_the_same_each_time_and_nobody_gets_in_while_it_is_closed() {
        let setting = ClerkSetting {
            users: 50,
            sign_ins_per_minute: 60.0,
            sign_ups_per_minute: 6.0,
            sign_outs_per_minute: 12.0,
            ..ClerkSetting::default()
        };
        let live = |open: bool| {
            let mut population = population(setting.clone());
            while let Some((at, flow)) =
                population.next_due().filter(|(at, _)| *at <= after(starts(), Duration::from_secs(60)))
            {
                population.flow(flow, at, open);
            }
            population
        };
        let (one, other) = (live(true), live(true));
        assert_eq!((one.users(), one.opened()), (56, 66));
        assert_eq!(one.ended, other.ended);
        assert!(one.left_of_the_start() < 65);
        let newest = one.users() - 1;
        assert_eq!(one.last_sign_in(newest), Some(one.created_at(newest)));
        assert!(one.created_at(newest) > one.created_at(newest - 1));
        let closed = live(false);
        assert_eq!((closed.users(), closed.opened()), (50, 0));
    }

    #[test]
    fn too_many_requests_are_refused_until_the_next_ten_seconds() {
        let mut population = population(ClerkSetting::default());
        let now = after(starts(), Duration::from_millis(3500));
        for _ in 0..99 {
            population.count_request(now);
        }
        assert_eq!(population.throttled_for("sk_test_1", now), None);
        population.count_request(now);
        assert_eq!(population.throttled_for("sk_test_1", now), Some(7));
        assert_eq!(population.throttled_for("sk_live_1", now), None, "there it is a thousand");
        assert_eq!(population.throttled_for("sk_test_1", after(starts(), Duration::from_secs(10))), None);
    }
}
