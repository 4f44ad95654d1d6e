//! Which requests may be sent again, and after what: the rules for repeats inside an action.

/// How a request bears being sent twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// It only reads.
    Always,
    /// It sets a state, and setting it twice is harmless (revoke, ban, an upsert). Whoever got through only with a repeat
    /// reads the state again before relying on it.
    SameState,
    /// It makes something, and twice would make two. Again only where it is certain that nothing was done.
    IfUnsent,
    /// Not even then: whether it was done must be found out by other means (a key rotation).
    Never,
}

/// What became of a request, as far as repeating goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// A whole answer.
    Answered {
        /// Its status.
        status: u16,
        /// The vendor's own code for the failure.
        code: Option<&'a str>,
    },
    /// No answer: no connection, a broken one, or too late.
    Silent {
        /// May the request have arrived?
        sent: bool,
    },
    /// An answer that broke off or makes no sense.
    Garbled,
    /// Nothing that the other side did or left undone: a request that cannot be sent, a secret that cannot be had.
    Ours,
}

/// The code of Clerk's maintenance mode: all writes are refused for as long as it lasts.
const MAINTENANCE: &str = "maintenance_mode";

impl Repeat {
    /// May the request be sent again after this?
    pub fn may(self, outcome: Outcome<'_>) -> bool {
        match outcome {
            // It will say the same for minutes or hours: whoever waits for its end saves where it is and lets go.
            Outcome::Answered { code: Some(MAINTENANCE), .. } | Outcome::Ours => false,
            // Refused before anything was done.
            Outcome::Answered { status: 429, .. } | Outcome::Silent { sent: false } => self != Self::Never,
            // The other side or a proxy before it broke down: it may have been done all the same. 520 to 524 are those of
            // Cloudflare, which stands before Clerk.
            Outcome::Answered { status: 500 | 502..=504 | 520..=524, .. }
            | Outcome::Silent { sent: true }
            | Outcome::Garbled => self.bears_twice(),
            Outcome::Answered { .. } => false,
        }
    }

    fn bears_twice(self) -> bool {
        match self {
            Self::Always | Self::SameState => true,
            Self::IfUnsent | Self::Never => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_repeats_what_it_may_and_nothing_else() {
        const CLASSES: [Repeat; 4] = [Repeat::Always, Repeat::SameState, Repeat::IfUnsent, Repeat::Never];
        let status = |status| Outcome::Answered { status, code: None };
        let maintenance = |status| Outcome::Answered { status, code: Some("maintenance_mode") };
        let table = [
            (Outcome::Silent { sent: false }, [true, true, true, false]),
            (Outcome::Silent { sent: true }, [true, true, false, false]),
            (Outcome::Garbled, [true, true, false, false]),
            (Outcome::Ours, [false; 4]),
            (status(429), [true, true, true, false]),
            (status(500), [true, true, false, false]),
            (status(502), [true, true, false, false]),
            (status(503), [true, true, false, false]),
            (Outcome::Answered { status: 503, code: Some("other") }, [true, true, false, false]),
            (status(504), [true, true, false, false]),
            (status(522), [true, true, false, false]),
            (maintenance(503), [false; 4]),
            (maintenance(429), [false; 4]),
            (status(200), [false; 4]),
            (status(302), [false; 4]),
            (status(400), [false; 4]),
            (status(401), [false; 4]),
            (status(402), [false; 4]),
            (status(404), [false; 4]),
            (status(409), [false; 4]),
            (status(422), [false; 4]),
            (status(501), [false; 4]),
            (status(505), [false; 4]),
            (status(525), [false; 4]),
        ];
        for (outcome, may) in table {
            assert_eq!(CLASSES.map(|class| class.may(outcome)), may, "{outcome:?}");
        }
    }
}
