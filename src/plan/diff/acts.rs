//! What a step does to the world: hosts, requests, commands, targets and secrets, with the defaults of the inputs where
//! there are some.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::part::Part;
use super::{Both, Kind, Told, text};
use crate::action::{Effect, Intent, Registry};
use crate::base::secret;
use crate::plan::intent::{Known, pieces};
use crate::plan::schema::resolved_params;
use crate::runbook::{Does, Step, Template, TemplateError, Templated, Undo};

/// Parameters that say where an action works, rather than how.
const TARGETS: [&str; 3] = ["project", "team", "target"];

/// What one action would do.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Act {
    uses: String,
    /// Its parameters as they are written, with what it takes by default.
    written: Map<String, Value>,
    hosts: BTreeSet<String>,
    /// What it sends, where it changes something.
    requests: BTreeSet<String>,
    command: Option<String>,
    /// Where it works, and at which variables there.
    targets: BTreeMap<String, BTreeSet<String>>,
    secrets: BTreeSet<String>,
}

/// Stands for what only the run can tell, in letters that neither an address nor a path has to escape.
#[derive(Default)]
struct Unknowns(Vec<String>);

impl Unknowns {
    fn word(number: usize) -> String {
        format!("rbunknown{number}rb")
    }

    /// A value with everything expanded that is known.
    fn ahead(&mut self, with: &Templated, known: &Known) -> Value {
        let expanded = with.render_with(&mut |template| {
            let pieces = pieces(&template.0);
            // A template that is nothing but one expansion keeps the value's type.
            if let [(text, true)] = pieces.as_slice() {
                let value = known.template(template);
                return Ok::<_, TemplateError>(value.unwrap_or_else(|| Value::String(self.word_for(text))));
            }
            let mut shown = String::new();
            for (text, is_expansion) in pieces {
                match is_expansion.then(|| known.template(&Template(text.to_owned()))) {
                    None => shown.push_str(text),
                    Some(Some(Value::String(text))) => shown.push_str(&text),
                    Some(Some(other)) => shown.push_str(&other.to_string()),
                    Some(None) => shown.push_str(&self.word_for(text)),
                }
            }
            Ok(Value::String(shown))
        });
        expanded.unwrap_or(Value::Null)
    }

    /// What stands for an expansion that only the run can tell.
    fn word_for(&mut self, expansion: &str) -> String {
        let expression = expansion.trim_matches(['{', '}', ' ']);
        let number = self.0.iter().position(|seen| seen == expression).unwrap_or_else(|| {
            self.0.push(expression.to_owned());
            self.0.len() - 1
        });
        Self::word(number)
    }

    /// The text with the expressions themselves, and the names of secrets.
    fn shown(&self, text: &str) -> String {
        let mut text = secret::shown(text);
        for (number, expression) in self.0.iter().enumerate() {
            text = text.replace(&Self::word(number), &format!("‹{expression}›"));
        }
        text
    }
}

/// What a step and its undo would do.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Acts {
    own: Option<Act>,
    undo: Option<Act>,
    verify: Option<Act>,
    /// The secrets that a called runbook is given.
    passed: BTreeSet<String>,
}

/// Hosts and secrets of a whole runbook.
#[derive(Debug, Default)]
pub(super) struct Everywhere {
    hosts: BTreeSet<String>,
    secrets: BTreeSet<String>,
}

/// The actions, with what each takes for parameters that are not given.
pub(super) struct Actions<'r> {
    registry: &'r Registry,
    defaults: BTreeMap<&'static str, Map<String, Value>>,
}

impl<'r> Actions<'r> {
    pub(super) fn new(registry: &'r Registry) -> Self {
        Self { registry, defaults: BTreeMap::new() }
    }

    /// What a step and its undo would do.
    pub(super) fn of_step(&mut self, part: &Part<'_>, step: &Step) -> Acts {
        let mut acts = Acts::default();
        match &step.does {
            Does::Action { uses, with } => acts.own = self.act(part, uses, with),
            Does::Call(call) => acts.passed = call.secrets.values().cloned().collect(),
            Does::Decide(_) | Does::Manual(_) | Does::Gate => {}
        }
        if let Some(Undo::Action { uses, with, verify, .. }) = &step.undo {
            acts.undo = self.act(part, uses, with);
            acts.verify = verify.as_ref().and_then(|verify| self.act(part, &verify.uses, &verify.with));
        }
        acts
    }

    fn act(&mut self, part: &Part<'_>, uses: &str, with: &Templated) -> Option<Act> {
        let action = self.registry.get(uses)?;
        let contract = action.contract();
        let defaults = self.defaults.entry(contract.name).or_insert_with(|| {
            let schema = resolved_params(action.as_ref());
            let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
            let default = |(name, schema): (&String, &Value)| {
                let default = schema.get("default").filter(|default| !default.is_null())?;
                Some((name.clone(), default.clone()))
            };
            properties.filter_map(default).collect()
        });
        let whole = |value: Value| {
            let Value::Object(mut map) = value else { return defaults.clone() };
            for (name, default) in &*defaults {
                map.entry(name.clone()).or_insert_with(|| default.clone());
            }
            map
        };
        let mut unknowns = Unknowns::default();
        let params = unknowns.ahead(with, &part.known);
        let described = action.describe(&params);
        let params = whole(params);
        let mut act = Act {
            uses: uses.to_owned(),
            written: whole(text::written(with)),
            hosts: BTreeSet::new(),
            requests: BTreeSet::new(),
            command: None,
            targets: targets(&params, &unknowns),
            secrets: secrets(with),
        };
        let named = params.get("secret").and_then(Value::as_str).filter(|_| !contract.secrets.is_empty());
        match named {
            Some(name) => act.secrets.extend([name.to_owned()]),
            None => act.secrets.extend(contract.secrets.iter().map(|name| (*name).to_owned())),
        }
        match described {
            Some(intents) => intents.iter().for_each(|intent| act.intend(intent, contract.effect, &unknowns)),
            // Only the run can tell what it does; the addresses in its parameters say where.
            None => {
                params.values().filter_map(Value::as_str).for_each(|text| act.hosts.extend(host(&unknowns.shown(text))))
            }
        }
        Some(act)
    }

    /// Hosts and secrets of a whole runbook.
    pub(super) fn everywhere(&mut self, part: &Part<'_>) -> Everywhere {
        let mut all = Everywhere::default();
        for place in 0..part.steps.len() {
            let acts = self.of_step(part, part.step(place));
            all.hosts.extend(acts.hosts());
            all.secrets.extend(acts.secrets());
        }
        all
    }
}

impl Act {
    fn intend(&mut self, intent: &Intent, effect: Effect, unknowns: &Unknowns) {
        match intent {
            Intent::Request { method, url, .. } => {
                let url = unknowns.shown(url);
                self.hosts.extend(host(&url));
                if effect == Effect::Write && !["GET", "HEAD"].contains(&method.as_str()) {
                    self.requests.insert(format!("{method} {url}"));
                }
            }
            Intent::Process { argv, script, .. } => {
                let command = script
                    .clone()
                    .unwrap_or_else(|| argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "));
                self.command = Some(unknowns.shown(&command));
            }
            Intent::Note { .. } => {}
        }
    }
}

fn quoted(word: &str) -> String {
    let plain = !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || "'\"\\$`".contains(c));
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// The host of an address; what of it only the run can tell stands as `‹…›`.
pub(in crate::plan) fn host(url: &str) -> Option<String> {
    let rest = match url.split_once("://") {
        Some((_, rest)) => rest,
        None if url.starts_with('‹') => url,
        None => return None,
    };
    // An expansion may hold any of the characters that end a host.
    let mut depth = 0_usize;
    let end = rest.find(|c: char| match c {
        '‹' => {
            depth += 1;
            false
        }
        '›' => {
            depth = depth.saturating_sub(1);
            false
        }
        c => depth == 0 && ['/', '?', '#'].contains(&c),
    });
    let host = &rest[..end.unwrap_or(rest.len())];
    (!host.is_empty()).then(|| host.to_owned())
}

/// Where an action works: projects and their environments, and variables there by name.
fn targets(params: &Map<String, Value>, unknowns: &Unknowns) -> BTreeMap<String, BTreeSet<String>> {
    let place: Vec<String> = TARGETS
        .iter()
        .filter_map(|name| Some((name, params.get(*name).filter(|value| !value.is_null())?)))
        .map(|(name, value)| format!("{name} `{}`", unknowns.shown(&super::top::plain(value))))
        .collect();
    if place.is_empty() {
        return BTreeMap::new();
    }
    let values = params.get("values").and_then(Value::as_object).into_iter().flat_map(|values| values.keys().cloned());
    let names = params.get("names").and_then(Value::as_array).into_iter().flatten();
    let names = values.chain(names.filter_map(|name| name.as_str().map(|name| unknowns.shown(name))));
    BTreeMap::from([(place.join(", "), names.collect())])
}

/// What of one side's targets the other does not have, in words.
fn more_targets(one: &Act, other: &Act) -> Vec<String> {
    let mut found = Vec::new();
    for (place, names) in &one.targets {
        let others = other.targets.get(place);
        let more: Vec<String> = names
            .iter()
            .filter(|name| others.is_none_or(|others| !others.contains(*name)))
            .map(|name| format!("`{name}`"))
            .collect();
        match (others, more.as_slice()) {
            (Some(_), []) => {}
            (None, []) => found.push(place.clone()),
            (_, [only]) => found.push(format!("the variable {only} of {place}")),
            (_, many) => found.push(format!("the variables {} of {place}", many.join(", "))),
        }
    }
    found
}

/// The secrets that a value names.
fn secrets(with: &Templated) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    with.visit(&mut Vec::new(), &mut |_, template: &Template| {
        if template.is_plain() || !template.0.contains("secrets") {
            return;
        }
        let names = template.references().unwrap_or_default();
        let names = names.into_iter().filter(|name| name.root() == "secrets");
        found.extend(names.filter_map(|name| name.path.into_iter().nth(1)));
    });
    found
}

impl Acts {
    fn all(&self) -> impl Iterator<Item = &Act> {
        [&self.own, &self.undo, &self.verify].into_iter().flatten()
    }

    fn hosts(&self) -> BTreeSet<String> {
        self.all().flat_map(|act| act.hosts.iter().cloned()).collect()
    }

    fn secrets(&self) -> BTreeSet<String> {
        self.all().flat_map(|act| act.secrets.iter().cloned()).chain(self.passed.iter().cloned()).collect()
    }

    /// Which secret is sent to which host.
    fn sent(&self) -> BTreeSet<(String, String)> {
        let pairs = self.all().flat_map(|act| {
            act.secrets.iter().flat_map(|secret| act.hosts.iter().map(|host| (secret.clone(), host.clone())))
        });
        pairs.collect()
    }

    fn path_of_host(&self, host: &str) -> &'static [&'static str] {
        match self.own.as_ref().is_some_and(|act| act.hosts.contains(host)) {
            true => &["with", "url"],
            false => &["undo"],
        }
    }
}

/// Tells what a step that is on both sides does otherwise.
pub(super) fn compare(told: &mut Told<'_, '_>, at: Both<'_>, old: &Acts, new: &Acts) {
    reach(told, at, old, new, &Everywhere::default(), &Everywhere::default());
    if old.own.is_some() || new.own.is_some() {
        let nothing = Act::default();
        act(told, at, "", &[], old.own.as_ref().unwrap_or(&nothing), new.own.as_ref().unwrap_or(&nothing));
    }
    if let (Some(old), Some(new)) = (&old.undo, &new.undo) {
        act(told, at, "the undo of ", &["undo"], old, new);
    }
    if let (Some(old), Some(new)) = (&old.verify, &new.verify)
        && old.uses == new.uses
        && old.written != new.written
    {
        let message = format!("the undo of `{}` is verified otherwise", at.id);
        let values = (Some(old.written.clone().into()), Some(new.written.clone().into()));
        told.step(Kind::UndoChanged, at, &["undo", "verify"], message, values);
    }
}

/// Tells which hosts and secrets a step brings in that the other side, as a whole, knows nothing of.
pub(super) fn compare_alone(told: &mut Told<'_, '_>, at: Both<'_>, acts: &Acts, other: &Everywhere) {
    let nothing = Acts::default();
    match at.new {
        Some(_) => reach(told, at, &nothing, acts, other, &Everywhere::default()),
        None => reach(told, at, acts, &nothing, &Everywhere::default(), other),
    }
}

/// Hosts and secrets. What the rest of a side has anyway is not told.
fn reach(told: &mut Told<'_, '_>, at: Both<'_>, old: &Acts, new: &Acts, in_old: &Everywhere, in_new: &Everywhere) {
    let id = at.id;
    let (old_hosts, new_hosts) = (old.hosts(), new.hosts());
    for host in new_hosts.difference(&old_hosts).filter(|host| !in_old.hosts.contains(*host)) {
        let message = format!("`{id}` sends requests to `{host}`");
        told.step(Kind::HostAdded, at, new.path_of_host(host), message, (None, Some(host.as_str().into())));
    }
    for host in old_hosts.difference(&new_hosts).filter(|host| !in_new.hosts.contains(*host)) {
        let message = format!("`{id}` no longer sends requests to `{host}`");
        told.step(Kind::HostRemoved, at, old.path_of_host(host), message, (Some(host.as_str().into()), None));
    }
    let (old_secrets, new_secrets) = (old.secrets(), new.secrets());
    for name in new_secrets.difference(&old_secrets).filter(|name| !in_old.secrets.contains(*name)) {
        told.step(
            Kind::SecretAdded,
            at,
            &["with"],
            format!("`{id}` is given the secret `{name}`"),
            (None, Some(name.as_str().into())),
        );
    }
    for name in old_secrets.difference(&new_secrets).filter(|name| !in_new.secrets.contains(*name)) {
        let message = format!("`{id}` is no longer given the secret `{name}`");
        told.step(Kind::SecretRemoved, at, &["with"], message, (Some(name.as_str().into()), None));
    }
    let (old_sent, new_sent) = (old.sent(), new.sent());
    let kept = |secret: &String| old_secrets.contains(secret) && new_secrets.contains(secret);
    for (name, host) in new_sent.difference(&old_sent).filter(|(secret, _)| kept(secret)) {
        let message = format!("`{id}` sends the secret `{name}` to `{host}`");
        told.step(Kind::SecretHostAdded, at, new.path_of_host(host), message, (None, Some(host.as_str().into())));
    }
    for (name, host) in old_sent.difference(&new_sent).filter(|(secret, _)| kept(secret)) {
        let message = format!("`{id}` no longer sends the secret `{name}` to `{host}`");
        told.step(Kind::SecretHostRemoved, at, old.path_of_host(host), message, (Some(host.as_str().into()), None));
    }
}

/// What one action does otherwise. `what` stands before the step's name, `under` before the path.
fn act(told: &mut Told<'_, '_>, at: Both<'_>, what: &str, under: &[&str], old: &Act, new: &Act) {
    let id = at.id;
    let path = |rest: &[&'static str]| [under, rest].concat();
    // A step that does nothing by an action on one side has been told of as that.
    let both = !old.uses.is_empty() && !new.uses.is_empty();
    if both && old.uses != new.uses {
        let kind = if under.is_empty() { Kind::ActionChanged } else { Kind::UndoChanged };
        let message = format!("{what}`{id}` uses `{}` instead of `{}`", new.uses, old.uses);
        told.step(
            kind,
            at,
            &path(&["uses"]),
            message,
            (Some(old.uses.as_str().into()), Some(new.uses.as_str().into())),
        );
    }
    let same_targets = old.targets == new.targets;
    for target in more_targets(new, old) {
        let shown = (None, Some(Value::from(target.as_str())));
        told.step(Kind::TargetAdded, at, &path(&["with"]), format!("{what}`{id}` works at {target}"), shown);
    }
    for target in more_targets(old, new) {
        let shown = (Some(Value::from(target.as_str())), None);
        told.step(
            Kind::TargetRemoved,
            at,
            &path(&["with"]),
            format!("{what}`{id}` no longer works at {target}"),
            shown,
        );
    }
    // A new target and a new host have told what is new about a request already.
    let mut new_requests: Vec<&String> = new.requests.difference(&old.requests).collect();
    let mut old_requests: Vec<&String> = old.requests.difference(&new.requests).collect();
    let host_of = |request: &str| request.split_once(' ').and_then(|(_, url)| host(url));
    new_requests.retain(|request| same_targets && host_of(request).is_none_or(|host| old.hosts.contains(&host)));
    old_requests.retain(|request| same_targets && host_of(request).is_none_or(|host| new.hosts.contains(&host)));
    for request in new_requests {
        let message = format!("{what}`{id}` sends `{request}`");
        told.step(Kind::RequestAdded, at, &path(&["with", "url"]), message, (None, Some(request.as_str().into())));
    }
    for request in old_requests {
        let message = format!("{what}`{id}` no longer sends `{request}`");
        told.step(Kind::RequestRemoved, at, &path(&["with", "url"]), message, (Some(request.as_str().into()), None));
    }
    if old.command != new.command {
        let is_script = |act: &Act| act.written.get("script").is_some_and(|script| !script.is_null());
        let word = |act: &Act| if is_script(act) { "script" } else { "command" };
        let at_command = |act: &Act| path(&[if is_script(act) { "run" } else { "argv" }]);
        if let Some(command) = &new.command {
            let message = format!("{what}`{id}` runs {}", shown_command(command, word(new), old.command.is_some()));
            told.step(Kind::CommandAdded, at, &at_command(new), message, (None, Some(command.as_str().into())));
        }
        if let Some(command) = &old.command {
            let message = format!("{what}`{id}` no longer runs {}", shown_command(command, word(old), false));
            told.step(Kind::CommandRemoved, at, &at_command(old), message, (Some(command.as_str().into()), None));
        }
    }
    if old.uses == new.uses {
        parameters(told, at, what, under, old, new);
    }
}

/// A command of one line as it is; of a script only that it is one.
fn shown_command(command: &str, word: &str, is_another: bool) -> String {
    match command.trim_end() {
        line if !line.contains('\n') && line.chars().count() <= 80 => format!("`{line}`"),
        _ if is_another => format!("another {word}"),
        _ => format!("the {word} that it ran"),
    }
}

/// What else is given to an action: all that is not told as a target, a request or a command.
fn parameters(told: &mut Told<'_, '_>, at: Both<'_>, what: &str, under: &[&str], old: &Act, new: &Act) {
    let id = at.id;
    let mut old_left = old.written.clone();
    let mut new_left = new.written.clone();
    let is_shell = old.uses == "shell";
    if is_shell {
        let (was, is) = (old_left.remove("env").unwrap_or_default(), new_left.remove("env").unwrap_or_default());
        if was != is {
            let message = format!("{what}`{id}` is given other environment variables");
            let values = (Some(was).filter(|v| !v.is_null()), Some(is).filter(|v| !v.is_null()));
            told.step(Kind::EnvironmentChanged, at, &[under, &["env"]].concat(), message, values);
        }
    }
    let told_already = |name: &str| {
        let by_target = TARGETS.contains(&name) || name == "names";
        (by_target && old.targets != new.targets)
            || (is_shell && ["argv", "script"].contains(&name) && old.command != new.command)
            || (["url", "method"].contains(&name) && (old.hosts != new.hosts || old.requests != new.requests))
            || (name == "secret" && old.secrets != new.secrets)
    };
    let mut names: Vec<String> = old_left.keys().chain(new_left.keys()).cloned().collect();
    names.sort();
    names.dedup();
    names.retain(|name| old_left.get(name) != new_left.get(name) && !told_already(name));
    // Variables that are new or gone are targets; the others have values to compare.
    if names.iter().any(|name| name == "values") && old.targets != new.targets {
        let kept = |from: &Map<String, Value>, other: &Map<String, Value>| -> Map<String, Value> {
            let entries =
                |map: &Map<String, Value>| map.get("values").and_then(Value::as_object).cloned().unwrap_or_default();
            let others = entries(other);
            entries(from).into_iter().filter(|(name, _)| others.contains_key(name)).collect()
        };
        let (was, is) = (kept(&old_left, &new_left), kept(&new_left, &old_left));
        if was == is {
            names.retain(|name| name != "values");
        }
    }
    if names.is_empty() {
        return;
    }
    let pick = |from: &Map<String, Value>| -> Option<Value> {
        let picked: Map<String, Value> = names
            .iter()
            .filter_map(|name| Some((name.clone(), from.get(name).filter(|v| !v.is_null())?.clone())))
            .collect();
        Some(picked).filter(|picked| !picked.is_empty()).map(Value::Object)
    };
    let listed = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let first: &str = names.first().map_or("", String::as_str);
    let message = format!("{what}`{id}` has other parameters: {listed}");
    let full =
        if is_shell && under.is_empty() { [under, &[first]].concat() } else { [under, &["with", first]].concat() };
    told.step(Kind::ParametersChanged, at, &full, message, (pick(&old_left), pick(&new_left)));
}
