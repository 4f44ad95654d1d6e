//! The people of a rehearsal: they answer as the scenario says, after the time it says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::scenario::{Decision, Verdict};
use crate::base::{BoxFuture, Clock, Secret};
use crate::engine::{AskedSecret, People, Question, Reply};
use crate::run::{Answer, ManualResult};

/// Answers from a scenario. What it says nothing of, nobody answers.
pub struct ScriptedPeople {
    decisions: BTreeMap<String, Decision>,
    clock: Arc<dyn Clock>,
    /// What people type where a secret is asked for.
    secrets: Vec<(String, Secret)>,
    /// Steps whose answer has been given: an answer that was refused is not given again.
    given: Mutex<BTreeSet<String>>,
}

impl ScriptedPeople {
    /// People who say what `decisions` says, by `clock`, and know these secrets.
    pub fn new(decisions: BTreeMap<String, Decision>, secrets: Vec<(String, Secret)>, clock: Arc<dyn Clock>) -> Self {
        Self { decisions, clock, secrets, given: Mutex::default() }
    }
}

impl People for ScriptedPeople {
    fn ask_secret(&self, asked: AskedSecret) -> BoxFuture<'static, Option<Secret>> {
        let known = asked.in_scenario(&self.secrets);
        Box::pin(async move { known })
    }

    fn ask(&self, question: Question) -> BoxFuture<'static, Option<Reply>> {
        let step = question.step().to_string();
        let first = self.given.lock().unwrap_or_else(PoisonError::into_inner).insert(step.clone());
        let decision = self.decisions.get(&step).filter(|_| first).cloned();
        let clock = Arc::clone(&self.clock);
        Box::pin(async move {
            let decision = decision?;
            clock.sleep(decision.after.0).await;
            if decision.decision == Verdict::Silence {
                return match question {
                    // Whoever says nothing never comes back; the gate's own time decides.
                    Question::Gate { expires: Some(_), .. } => std::future::pending().await,
                    // Nothing would ever end this: the run waits, as it would in earnest.
                    _ => None,
                };
            }
            let yes = decision.decision == Verdict::Approve;
            let answers: indexmap::IndexMap<_, _> = decision.answers.into_iter().collect();
            match question {
                Question::Gate { .. } => Some(Reply::Gate(crate::run::Decision {
                    by: decision.by,
                    answer: if yes { Answer::Approve } else { Answer::Reject },
                    answers,
                    via: "scenario".to_owned(),
                })),
                Question::Manual { .. } => {
                    let reason = answers.get("reason").and_then(|reason| reason.as_str()).unwrap_or("no").to_owned();
                    let result =
                        if yes { ManualResult::Done { evidence: answers } } else { ManualResult::Failed { reason } };
                    Some(Reply::Manual { by: decision.by, result })
                }
                Question::Doubt { .. } => None,
            }
        })
    }
}
