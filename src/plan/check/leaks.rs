//! What should not be seen or run: secrets written into the file, and values that a shell would take for commands.

use std::sync::{Arc, LazyLock};

use regex_lite::Regex;

use super::Checker;
use super::kinds::Kind;
use super::names::Place;
use crate::base::{Code, Diagnostic, Source, Span, StepId};
use crate::runbook::template::shape::What;
use crate::runbook::{Does, Step, Templated, Undo};

/// What begins a token, what it is, and what follows.
static TOKENS: LazyLock<Vec<(&'static str, Regex)>> = LazyLock::new(|| {
    let token = |what, pattern: &str| Some((what, Regex::new(pattern).ok()?));
    [
        token("a secret key", r"\b(sk|rk)_(live|test)_[A-Za-z0-9]{16,}"),
        token("a GitHub token", r"\b(gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,})"),
        token("an AWS access key", r"\b(AKIA|ASIA)[0-9A-Z]{16}\b"),
        token("a Slack token", r"\bxox[abposr]-[A-Za-z0-9-]{16,}"),
        token("a Google API key", r"\bAIza[0-9A-Za-z_-]{35}"),
        token("a signed token", r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
        token("a private key", r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
        token("a bearer token", r"\bBearer +[A-Za-z0-9._~+/-]{20,}"),
    ]
    .into_iter()
    .flatten()
    .collect()
});

impl Checker<'_> {
    /// Tokens that stand in the file itself, where everybody finds them who can read it.
    pub(super) fn secrets_in_file(&mut self) {
        let text = &self.loaded.source.text;
        // Looked for by their beginnings first: a file of thousands of steps is searched in no time.
        let begins = ["_live_", "_test_", "gh", "AKIA", "ASIA", "xox", "AIza", "eyJ", "PRIVATE KEY", "Bearer "];
        if !begins.iter().any(|begin| text.contains(begin)) {
            return;
        }
        let mut found: Vec<(Span, &str)> = Vec::new();
        for (what, pattern) in TOKENS.iter() {
            for token in pattern.find_iter(text) {
                let span = Span::new(token.start(), token.end());
                let is_known = found.iter().any(|(known, _)| known.start < span.end && span.start < known.end);
                if !is_known && (*what == "a private key" || is_random(token.as_str())) {
                    found.push((span, what));
                }
            }
        }
        if found.is_empty() {
            return;
        }
        let masked = masked(&self.loaded.source, &found);
        for (span, what) in found {
            let message = format!("{what} stands in the file, where everybody can read it");
            self.problems.push(
                Diagnostic::warning(&masked, span, Code::SecretInFile, message).help(
                    "revoke it; then declare a secret, `secrets: { name: { env: VARIABLE } }`, and write `{{ secrets.name }}`",
                ),
            );
        }
    }

    /// A value in a word that a shell takes apart again.
    pub(super) fn injection(&mut self, section: &str, id: &StepId, step: &Step) {
        if let Does::Action { uses, with } = &step.does
            && uses == "shell"
        {
            self.words_of_shell(section, id, step, with, &["argv"]);
        }
        if let Some(Undo::Action { uses, with, .. }) = &step.undo
            && uses == "shell"
        {
            let path: &[&str] = if self.loaded.has(&[section, id.as_str(), "undo", "argv"]) {
                &["undo", "argv"]
            } else {
                &["undo", "with", "argv"]
            };
            self.words_of_shell(section, id, step, with, path);
        }
    }

    fn words_of_shell(&mut self, section: &str, id: &StepId, step: &Step, with: &Templated, path: &[&str]) {
        let Templated::Map(map) = with else { return };
        let Some(Templated::List(words)) = map.get("argv") else { return };
        let literal: Vec<Option<&str>> =
            words.iter().map(|word| word.as_literal().and_then(serde_json::Value::as_str)).collect();
        let Some((first, program)) = program(&literal) else { return };
        let (script, shell) = match program {
            "sh" | "bash" | "dash" | "zsh" | "ksh" | "ash" | "fish" => match flag(&literal, first, 'c') {
                Some(script) => (script..script + 1, program),
                None => return,
            },
            "python" | "python3" => match flag(&literal, first, 'c') {
                Some(script) => (script..script + 1, program),
                None => return,
            },
            "perl" | "ruby" | "node" => match flag(&literal, first, 'e') {
                Some(script) => (script..script + 1, program),
                None => return,
            },
            "eval" => (first + 1..words.len(), program),
            // Whatever follows the host is put together and read by a shell over there.
            "ssh" => (first + 1..words.len(), program),
            _ => return,
        };
        for index in script {
            let Some(Templated::Template(template)) = words.get(index) else { continue };
            if program == "ssh" && !is_after_host(&literal, first, index) {
                continue;
            }
            let place_path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
            let place = Place { section, id, path: &place_path };
            let is_harmless = template.parts().unwrap_or_default().1.iter().all(|shape| {
                let kind = self.kind(&place, Some(step), shape);
                matches!(kind, Kind::Integer(..) | Kind::Number | Kind::Boolean | Kind::Duration | Kind::Moment)
                    || matches!(&kind, Kind::Words(words) if words.iter().all(|word| is_plain(word)))
                    || matches!(shape.what, What::Literal(_))
            });
            if is_harmless {
                continue;
            }
            let index = index.to_string();
            let at = [&[section, id.as_str()], path, &[index.as_str()]].concat();
            let message = format!("`{shell}` reads this word as a script, and the value in it with it");
            let help = match program {
                "ssh" => "let the other side read it from standard input or a file, or declare the input as an `enum`",
                "python" | "python3" | "perl" | "ruby" | "node" => {
                    "hand the value over by `env`, and read the variable in the script"
                }
                _ => "write it as `run:` and hand the value over by `env`",
            };
            self.error(&at, Code::Injection, message).help = Some(help.to_owned());
        }
    }
}

/// The program that is run, behind `sudo`, `env` and the like.
fn program<'w>(words: &[Option<&'w str>]) -> Option<(usize, &'w str)> {
    for (index, word) in words.iter().enumerate() {
        let word = (*word)?;
        let name = word.rsplit('/').next().unwrap_or(word);
        let goes_before = ["sudo", "env", "nice", "nohup", "timeout", "exec", "command", "time"].contains(&name);
        if !goes_before && !word.starts_with('-') && !word.contains('=') && !word.bytes().all(|b| b.is_ascii_digit()) {
            return Some((index, name));
        }
    }
    None
}

/// The word after a flag that holds this letter, such as `-ec`.
fn flag(words: &[Option<&str>], first: usize, letter: char) -> Option<usize> {
    let at = words.iter().skip(first + 1).position(|word| {
        word.is_some_and(|word| word.starts_with('-') && !word.starts_with("--") && word.contains(letter))
    })?;
    Some(first + 1 + at + 1)
}

/// Does a host stand between `ssh` and this word?
fn is_after_host(words: &[Option<&str>], first: usize, index: usize) -> bool {
    let mut at = first + 1;
    while at < index {
        match words[at] {
            Some(word) if word.starts_with('-') => {
                let takes_value = word.len() == 2 && "bcDEeFIiJLlmOopQRSWw".contains(&word[1..]);
                at += if takes_value { 2 } else { 1 };
            }
            _ => return true,
        }
    }
    false
}

fn is_plain(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_alphanumeric() || ['_', '-', '.', '/', ':'].contains(&c))
}

/// Letters and digits as chance mixes them, and not `xxxx` or `EXAMPLE`.
fn is_random(token: &str) -> bool {
    let end: Vec<char> = token.chars().filter(|c| c.is_ascii_alphanumeric()).rev().take(16).collect();
    let mut distinct = end.clone();
    distinct.sort_unstable();
    distinct.dedup();
    distinct.len() >= 8 && end.iter().any(char::is_ascii_digit) && end.iter().any(char::is_ascii_alphabetic)
}

/// The same file with the tokens crossed out: what is found is printed in logs that more people read.
fn masked(source: &Arc<Source>, found: &[(Span, &str)]) -> Arc<Source> {
    let mut text = source.text.clone();
    for (span, _) in found {
        let token = &source.text[span.start..span.end];
        let kept = token.char_indices().nth(8).map_or(token.len(), |(at, _)| at);
        text.replace_range(span.start + kept..span.end, &"*".repeat(token.len() - kept));
    }
    Source::new(source.name.as_str(), text)
}
