//! Templates (`{{ … }}`) and expressions, on minijinja, with our own printing, arithmetic on time, and places of errors.

mod depth;
pub mod shape;
mod syntax;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use minijinja::machinery::{self, CodeGenerator, Instruction, Instructions, ast};
use minijinja::value::{DynObject, Object, ObjectRepr, ValueKind};
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value};
use serde::{Deserialize, Serialize};

use crate::base::{HumanDuration, Timestamp, clock};

/// How much work one expression may do, in minijinja's own units: enough for lists of thousands, not for a bomb.
const FUEL: u64 = 1_000_000;

/// Filters that expressions may use. A fixed list, because minijinja finds an unknown one only while rendering.
pub const FILTERS: [&str; 40] = [
    "abs",
    "attr",
    "batch",
    "bool",
    "capitalize",
    "count",
    "default",
    "d",
    "dictsort",
    "first",
    "float",
    "int",
    "items",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "select",
    "selectattr",
    "sort",
    "split",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "unique",
    "upper",
    "zip",
    "chain",
];
/// Functions that expressions may call.
pub const FUNCTIONS: [&str; 3] = ["range", "dict", "duration"];
/// Tests that may follow `is`.
pub const TESTS: [&str; 25] = [
    "boolean",
    "defined",
    "divisibleby",
    "endingwith",
    "eq",
    "even",
    "false",
    "float",
    "ge",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sequence",
    "startingwith",
    "string",
    "true",
    "undefined",
];

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    // Places of errors, in release builds too.
    environment.set_debug(true);
    environment.set_formatter(|out, _state, value| out.write_str(&printed(value)?).map_err(minijinja::Error::from));
    environment.add_function(PLUS, plus);
    environment.add_function(MINUS, minus);
    environment.add_function("duration", |text: String| match text.parse::<HumanDuration>() {
        Ok(duration) => Ok(duration_value(duration.0)),
        Err(error) => Err(minijinja::Error::new(ErrorKind::InvalidOperation, error.to_string())),
    });
    environment
});

/// Names no author can write, so that they cannot be called from a template.
const PLUS: &str = "+";
const MINUS: &str = "-";

/// A text with `{{ … }}` in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Template(pub String);

/// An expression without braces: `if`, `until.if`, the arms of `decide`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Expression(pub String);

/// What is wrong with a template, and where in its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// Bytes of the template's own text, when known.
    pub range: Option<Range<usize>>,
    /// What is wrong.
    pub message: String,
    /// A way out.
    pub help: Option<String>,
}

impl TemplateError {
    fn at(range: Range<usize>, message: impl Into<String>) -> Self {
        Self { range: Some(range), message: message.into(), help: None }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The failure of a text. minijinja may place it in the middle of a character.
    fn of(source: &str, error: minijinja::Error) -> Self {
        let mut failure = Self::from(error);
        failure.range = failure.range.map(|range| {
            let start = source.floor_char_boundary(range.start);
            start..source.ceil_char_boundary(range.end).max(start)
        });
        failure
    }
}

impl From<minijinja::Error> for TemplateError {
    fn from(error: minijinja::Error) -> Self {
        if error.kind() == ErrorKind::SyntaxError {
            return syntax::explain(&error);
        }
        let message = match (error.kind(), error.detail()) {
            (ErrorKind::UndefinedError, None) => "a name in it has no value".to_owned(),
            (ErrorKind::OutOfFuel, _) => "it does too much work; the limit is there to end endless loops".to_owned(),
            (_, Some(detail)) => detail.to_owned(),
            (kind, None) => kind.to_string(),
        };
        Self { range: error.range(), message, help: None }
    }
}

/// A name used in a template, with the attributes read from it: `triage.outputs.category`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The name and its attributes, as far as they are literal.
    pub path: Vec<String>,
    /// Where it stands in the template's own text.
    pub range: Range<usize>,
    /// Where each part of [`Self::path`] stands.
    pub parts: Vec<Range<usize>>,
    /// Does it stand alone between its braces? Secrets must.
    pub alone: bool,
}

impl Reference {
    /// The first name.
    pub fn root(&self) -> &str {
        self.path.first().map_or("", String::as_str)
    }
}

/// The values that names have while something is rendered.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    names: BTreeMap<String, Value>,
}

impl Scope {
    /// Gives a name a value.
    pub fn set(&mut self, name: impl Into<String>, value: Value) {
        self.names.insert(name.into(), value);
    }

    /// Does this name have a value?
    pub fn has(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    fn root(&self) -> Value {
        Value::from_pairs(self.names.iter().map(|(name, value)| (name.clone(), value.clone())))
    }
}

impl Template {
    /// Is there nothing to expand in it?
    pub fn is_plain(&self) -> bool {
        !has_braces(&self.0)
    }

    /// Checks the syntax and lists the names it uses.
    pub fn references(&self) -> Result<Vec<Reference>, TemplateError> {
        let mut references = Vec::new();
        for part in &parsed_template(&self.0)?.children {
            if let ast::Stmt::EmitExpr(emit) = part {
                names(&emit.expr, &mut references)?;
            }
        }
        Ok(references)
    }

    /// What it is when it is nothing but one expansion. Nothing when it is a text with expansions in it.
    pub fn sole_shape(&self) -> Option<shape::Shape> {
        match parsed_template(&self.0).ok()?.children.as_slice() {
            [ast::Stmt::EmitExpr(emit)] => Some(shape::of(&emit.expr)),
            _ => None,
        }
    }

    /// The names it uses and what its expansions are, read in one go.
    pub fn parts(&self) -> Result<(Vec<Reference>, Vec<shape::Shape>), TemplateError> {
        let (mut references, mut shapes) = (Vec::new(), Vec::new());
        for part in &parsed_template(&self.0)?.children {
            if let ast::Stmt::EmitExpr(emit) = part {
                names(&emit.expr, &mut references)?;
                shapes.push(shape::of(&emit.expr));
            }
        }
        Ok((references, shapes))
    }

    /// Expands it. A template that is nothing but one `{{ … }}` keeps the value's type.
    pub fn render(&self, scope: &Scope) -> Result<serde_json::Value, TemplateError> {
        if self.is_plain() {
            return Ok(serde_json::Value::String(self.0.clone()));
        }
        self.render_parsed(&parsed_template(&self.0)?, scope)
    }

    /// Expands it when everything in it is known: `scope` gives the values of names, or `None` where one of them is not
    /// known yet.
    pub fn render_as_far(
        &self,
        scope: &dyn Fn(&[Reference]) -> Option<Scope>,
    ) -> Result<Option<serde_json::Value>, TemplateError> {
        if self.is_plain() {
            return Ok(Some(serde_json::Value::String(self.0.clone())));
        }
        let template = parsed_template(&self.0)?;
        let mut references = Vec::new();
        for part in &template.children {
            if let ast::Stmt::EmitExpr(emit) = part {
                walk(&emit.expr, &mut references)?;
            }
        }
        scope(&references).map(|scope| self.render_parsed(&template, &scope)).transpose()
    }

    fn render_parsed<'t>(
        &'t self,
        template: &ast::Spanned<ast::Template<'t>>,
        scope: &Scope,
    ) -> Result<serde_json::Value, TemplateError> {
        if let [ast::Stmt::EmitExpr(emit)] = template.children.as_slice() {
            return to_json(&evaluate(&self.0, scope, |code| code.compile_expr(&emit.expr))?);
        }
        let mut text = String::new();
        for part in &template.children {
            match part {
                ast::Stmt::EmitRaw(raw) => text.push_str(raw.raw),
                ast::Stmt::EmitExpr(emit) => {
                    let value = evaluate(&self.0, scope, |code| code.compile_expr(&emit.expr))?;
                    text.push_str(&printed(&value).map_err(|error| TemplateError {
                        range: Some(range(emit.expr.span())),
                        ..TemplateError::from(error)
                    })?);
                }
                _ => {}
            }
        }
        Ok(serde_json::Value::String(text))
    }

    /// Expands it to text.
    pub fn render_text(&self, scope: &Scope) -> Result<String, TemplateError> {
        Ok(match self.render(scope)? {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Expression {
    /// Checks the syntax and lists the names it uses.
    pub fn references(&self) -> Result<Vec<Reference>, TemplateError> {
        let mut references = Vec::new();
        walk(&self.parsed()?, &mut references)?;
        Ok(references)
    }

    /// The names it uses and what it is made of, read in one go.
    pub fn parts(&self) -> Result<(Vec<Reference>, shape::Shape), TemplateError> {
        let parsed = self.parsed()?;
        let mut references = Vec::new();
        walk(&parsed, &mut references)?;
        Ok((references, shape::of(&parsed)))
    }

    /// What it is made of; nothing when it cannot be read.
    pub fn shape(&self) -> Option<shape::Shape> {
        self.parsed().ok().map(|parsed| shape::of(&parsed))
    }

    fn parsed(&self) -> Result<ast::Expr<'_>, TemplateError> {
        if let Some(start) = BRACES.iter().filter_map(|brace| self.0.find(brace)).min() {
            return Err(TemplateError::at(start..start + 2, "this is an expression already; it takes no braces")
                .help(format!("write `{}`", self.0.replace("{{", "").replace("}}", "").trim())));
        }
        depth::check_expression(&self.0)?;
        machinery::parse_expr(&self.0).map_err(|error| syntax::explain_in(&self.0, &error))
    }

    /// The value it has.
    pub fn value(&self, scope: &Scope) -> Result<serde_json::Value, TemplateError> {
        let parsed = self.parsed()?;
        to_json(&evaluate(&self.0, scope, |code| code.compile_expr(&parsed))?)
    }

    /// Is it true?
    pub fn holds(&self, scope: &Scope) -> Result<bool, TemplateError> {
        let parsed = self.parsed()?;
        Ok(evaluate(&self.0, scope, |code| code.compile_expr(&parsed))?.is_true())
    }

    /// Is it true, as far as that can be told before everything in it is known? `scope` gives the values of names, or
    /// `None` where one of them is not known yet. `and`, `or` and `not` are decided by the side that is known.
    pub fn holds_as_far(&self, scope: &dyn Fn(&[Reference]) -> Option<Scope>) -> Result<Option<bool>, TemplateError> {
        holds_as_far(&self.0, &self.parsed()?, scope)
    }
}

fn holds_as_far<'s>(
    source: &'s str,
    expression: &ast::Expr<'s>,
    scope: &dyn Fn(&[Reference]) -> Option<Scope>,
) -> Result<Option<bool>, TemplateError> {
    use ast::{BinOpKind, Expr, UnaryOpKind};
    match expression {
        Expr::BinOp(operation) if matches!(operation.op, BinOpKind::ScAnd | BinOpKind::ScOr) => {
            let decides = matches!(operation.op, BinOpKind::ScOr);
            let left = holds_as_far(source, &operation.left, scope)?;
            if left == Some(decides) {
                return Ok(left);
            }
            let right = holds_as_far(source, &operation.right, scope)?;
            Ok(if right == Some(decides) { right } else { left.and(right) })
        }
        Expr::UnaryOp(operation) if matches!(operation.op, UnaryOpKind::Not) => {
            Ok(holds_as_far(source, &operation.expr, scope)?.map(|holds| !holds))
        }
        _ => {
            let mut references = Vec::new();
            walk(expression, &mut references)?;
            let Some(scope) = scope(&references) else { return Ok(None) };
            Ok(Some(evaluate(source, &scope, |code| code.compile_expr(expression))?.is_true()))
        }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What opens an expansion, a statement and a comment.
const BRACES: [&str; 3] = ["{{", "{%", "{#"];

/// Does this text open an expansion?
pub fn has_braces(text: &str) -> bool {
    BRACES.iter().any(|brace| text.contains(brace))
}

/// minijinja would drop a line break at the end of a template; a value must arrive whole.
fn syntax() -> minijinja::syntax::SyntaxConfig {
    minijinja::syntax::SyntaxConfig::builder().keep_trailing_newline(true).build().unwrap_or_default()
}

/// Parses a template and refuses everything but text and expansions.
fn parsed_template(source: &str) -> Result<ast::Spanned<ast::Template<'_>>, TemplateError> {
    depth::check_template(source)?;
    let parsed = machinery::parse(source, "template", syntax()).map_err(|error| syntax::explain_in(source, &error))?;
    let ast::Stmt::Template(template) = parsed else {
        return Ok(ast::Spanned::new(ast::Template { children: Vec::new() }, machinery::Span::default()));
    };
    if template.children.iter().all(|part| matches!(part, ast::Stmt::EmitRaw(_) | ast::Stmt::EmitExpr(_))) {
        return Ok(template);
    }
    let start = source.find("{%").unwrap_or(0);
    Err(TemplateError::at(start..(start + 2).min(source.len()), "statements such as `{% if %}` cannot stand here")
        .help("only `{{ … }}` is expanded here; put the logic into a `decide` step"))
}

/// Compiles and runs one expression. `+` and `-` become calls, because minijinja's own know nothing of time.
fn evaluate<'s>(
    source: &'s str,
    scope: &Scope,
    compile: impl FnOnce(&mut CodeGenerator<'s>),
) -> Result<Value, TemplateError> {
    let mut code = CodeGenerator::new("expression", source);
    compile(&mut code);
    let (mut instructions, blocks) = code.finish();
    use_own_arithmetic(&mut instructions);
    let mut unused = String::new();
    let mut out = machinery::make_string_output(&mut unused);
    let environment: &Environment<'_> = &ENVIRONMENT;
    let (value, _) = machinery::eval(environment, &instructions, scope.root(), &blocks, &mut out, AutoEscape::None)
        .map_err(|error| TemplateError::of(source, error))?;
    value.ok_or_else(|| TemplateError { range: None, message: "it has no value".to_owned(), help: None })
}

fn use_own_arithmetic(instructions: &mut Instructions<'_>) {
    let mut index = 0;
    while let Some(instruction) = instructions.get_mut(index) {
        match instruction {
            Instruction::Add => *instruction = Instruction::CallFunction(PLUS, Some(2)),
            Instruction::Sub => *instruction = Instruction::CallFunction(MINUS, Some(2)),
            _ => {}
        }
        index += 1;
    }
}

/// Lists the names that one expansion uses, and says of a name whether it stands alone.
fn names(expression: &ast::Expr<'_>, found: &mut Vec<Reference>) -> Result<(), TemplateError> {
    let alone = matches!(expression, ast::Expr::GetAttr(_) | ast::Expr::Var(_));
    walk(expression, found)?;
    if let Some(last) = found.last_mut().filter(|_| alone) {
        last.alone = true;
    }
    Ok(())
}

/// Lists the names an expression uses, and refuses filters, functions and tests that do not exist.
fn walk(expression: &ast::Expr<'_>, found: &mut Vec<Reference>) -> Result<(), TemplateError> {
    use ast::Expr;
    if let Some((path, parts)) = literal_path(expression) {
        let range = parts.first().map_or(0, |first| first.start)..parts.last().map_or(0, |last| last.end);
        found.push(Reference { path, range, parts, alone: false });
        return Ok(());
    }
    match expression {
        Expr::Var(_) | Expr::Const(_) => Ok(()),
        Expr::Slice(slice) => {
            walk(&slice.expr, found)?;
            [&slice.start, &slice.stop, &slice.step].into_iter().flatten().try_for_each(|part| walk(part, found))
        }
        Expr::UnaryOp(operation) => walk(&operation.expr, found),
        Expr::BinOp(operation) => {
            walk(&operation.left, found)?;
            walk(&operation.right, found)
        }
        Expr::Compare(comparison) => {
            walk(&comparison.expr, found)?;
            comparison.ops.iter().try_for_each(|operand| walk(&operand.expr, found))
        }
        Expr::IfExpr(choice) => {
            walk(&choice.test_expr, found)?;
            walk(&choice.true_expr, found)?;
            choice.false_expr.iter().try_for_each(|part| walk(part, found))
        }
        Expr::Filter(filter) => {
            known("filter", filter.name, &FILTERS, filter.span())?;
            filter.expr.iter().try_for_each(|part| walk(part, found))?;
            walk_arguments(&filter.args, found)
        }
        Expr::Test(test) => {
            known("test", test.name, &TESTS, test.span())?;
            walk(&test.expr, found)?;
            walk_arguments(&test.args, found)
        }
        Expr::GetAttr(attribute) => walk(&attribute.expr, found),
        Expr::GetItem(item) => {
            walk(&item.expr, found)?;
            walk(&item.subscript_expr, found)
        }
        Expr::Call(call) => {
            match &call.expr {
                Expr::Var(function) => known("function", function.id, &FUNCTIONS, function.span())?,
                Expr::GetAttr(method) => walk(&method.expr, found)?,
                other => walk(other, found)?,
            }
            walk_arguments(&call.args, found)
        }
        Expr::List(list) => list.items.iter().try_for_each(|item| walk(item, found)),
        Expr::Tuple(tuple) => tuple.items.iter().try_for_each(|item| walk(item, found)),
        Expr::Map(map) => map.keys.iter().chain(&map.values).try_for_each(|item| walk(item, found)),
    }
}

fn walk_arguments(arguments: &[ast::CallArg<'_>], found: &mut Vec<Reference>) -> Result<(), TemplateError> {
    arguments.iter().try_for_each(|argument| match argument {
        ast::CallArg::Pos(value)
        | ast::CallArg::Kwarg(_, value)
        | ast::CallArg::PosSplat(value)
        | ast::CallArg::KwargSplat(value) => walk(value, found),
    })
}

fn known(what: &str, name: &str, all: &[&str], span: machinery::Span) -> Result<(), TemplateError> {
    if all.contains(&name) {
        return Ok(());
    }
    let error = TemplateError::at(range(span), format!("there is no {what} `{name}`"));
    Err(match crate::base::diagnostic::nearest(name, all.iter().copied()) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None => error.help(format!("there are: {}", all.join(", "))),
    })
}

/// `a.b['c']` as `[a, b, c]`, with the place of each; `None` when a part is computed.
fn literal_path(expression: &ast::Expr<'_>) -> Option<(Vec<String>, Vec<Range<usize>>)> {
    let (mut path, mut parts, name, place) = match expression {
        ast::Expr::Var(variable) => (Vec::new(), Vec::new(), variable.id.to_owned(), range(variable.span())),
        ast::Expr::GetAttr(attribute) => {
            let (path, parts) = literal_path(&attribute.expr)?;
            // The span begins somewhere before the name and ends with it.
            let end = range(attribute.span()).end;
            (path, parts, attribute.name.to_owned(), end.saturating_sub(attribute.name.len())..end)
        }
        ast::Expr::GetItem(item) => {
            let ast::Expr::Const(key) = &item.subscript_expr else { return None };
            let (path, parts) = literal_path(&item.expr)?;
            (path, parts, key.value.as_str()?.to_owned(), range(key.span()))
        }
        _ => return None,
    };
    path.push(name);
    parts.push(place);
    Some((path, parts))
}

fn range(span: machinery::Span) -> Range<usize> {
    let index = |offset: u32| usize::try_from(offset).unwrap_or(usize::MAX);
    index(span.start_offset)..index(span.end_offset)
}

/// A value as it stands in a text: `true`, `5m`, JSON for lists and maps. Nothing is not printed as a word.
fn printed(value: &Value) -> Result<String, minijinja::Error> {
    match value.kind() {
        ValueKind::Undefined => Err(minijinja::Error::from(ErrorKind::UndefinedError)),
        ValueKind::None => Err(minijinja::Error::new(
            ErrorKind::InvalidOperation,
            "it has no value here; give it one with `| default('…', true)`",
        )),
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => serde_json::to_string(value)
            .map_err(|error| minijinja::Error::new(ErrorKind::BadSerialization, error.to_string())),
        // minijinja prints `True`, as Python does.
        ValueKind::Bool => Ok(value.is_true().to_string()),
        _ => Ok(value.to_string()),
    }
}

fn to_json(value: &Value) -> Result<serde_json::Value, TemplateError> {
    if value.is_undefined() {
        return Err(minijinja::Error::from(ErrorKind::UndefinedError).into());
    }
    serde_json::to_value(value).map_err(|error| TemplateError { range: None, message: error.to_string(), help: None })
}

/// A moment, as expressions see it: prints as RFC 3339, adds to durations, compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment(Timestamp);

/// A length of time, as expressions see it: prints as `1h30m`, adds, compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Length(Duration);

/// A secret, as templates see it: prints as its reference and can do nothing else.
#[derive(Debug)]
struct SecretName(String);

/// The outputs of a step that has none: whatever is asked of it has no value, and that is no error.
#[derive(Debug)]
struct Nothing;

impl Object for Moment {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<std::cmp::Ordering> {
        other.downcast_ref::<Self>().map(|other| self.0.cmp(&other.0))
    }
    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", rfc3339(self.0))
    }
}

impl Object for Length {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<std::cmp::Ordering> {
        other.downcast_ref::<Self>().map(|other| self.0.cmp(&other.0))
    }
    fn is_true(self: &Arc<Self>) -> bool {
        !self.0.is_zero()
    }
    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", HumanDuration(self.0))
    }
}

impl Object for SecretName {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::base::secret::reference(&self.0))
    }
}

impl Object for Nothing {
    fn get_value(self: &Arc<Self>, _key: &Value) -> Option<Value> {
        Some(Value::from(()))
    }
    fn is_true(self: &Arc<Self>) -> bool {
        false
    }
}

/// A moment to the second where it has no fraction, as RFC 3339 in UTC.
pub fn rfc3339(at: Timestamp) -> String {
    at.round(jiff::Unit::Second).unwrap_or(at).to_string()
}

/// A moment as expressions see it.
pub fn moment_value(at: Timestamp) -> Value {
    Value::from_object(Moment(at))
}

/// A length of time as expressions see it.
pub fn duration_value(duration: Duration) -> Value {
    Value::from_object(Length(duration))
}

/// A secret as templates see it.
pub fn secret_value(name: &str) -> Value {
    Value::from_object(SecretName(name.to_owned()))
}

/// Outputs that are not there.
pub fn nothing() -> Value {
    Value::from_object(Nothing)
}

/// Any JSON as expressions see it.
pub fn json_value(value: &serde_json::Value) -> Value {
    Value::from(minijinja::value::Serde(value))
}

/// What an operand is, as far as time is concerned.
enum Operand {
    Moment(Timestamp),
    Length(Duration),
    Other,
}

fn operand(value: &Value) -> Operand {
    if let Some(moment) = value.downcast_object_ref::<Moment>() {
        Operand::Moment(moment.0)
    } else if let Some(length) = value.downcast_object_ref::<Length>() {
        Operand::Length(length.0)
    } else {
        Operand::Other
    }
}

fn plus(left: Value, right: Value) -> Result<Value, minijinja::Error> {
    match (operand(&left), operand(&right)) {
        (Operand::Moment(at), Operand::Length(duration)) | (Operand::Length(duration), Operand::Moment(at)) => {
            Ok(moment_value(clock::after(at, duration)))
        }
        (Operand::Length(one), Operand::Length(other)) => Ok(duration_value(one.saturating_add(other))),
        (Operand::Other, Operand::Other) => plainly("a + b", left, right),
        _ => Err(mismatch("+", &left, &right)),
    }
}

fn minus(left: Value, right: Value) -> Result<Value, minijinja::Error> {
    match (operand(&left), operand(&right)) {
        (Operand::Moment(at), Operand::Length(duration)) => {
            Ok(moment_value(at.saturating_sub(duration).unwrap_or(Timestamp::MIN)))
        }
        (Operand::Moment(later), Operand::Moment(earlier)) => Ok(duration_value(clock::until(earlier, later))),
        (Operand::Length(one), Operand::Length(other)) => Ok(duration_value(one.saturating_sub(other))),
        (Operand::Other, Operand::Other) => plainly("a - b", left, right),
        _ => Err(mismatch("-", &left, &right)),
    }
}

/// minijinja's own arithmetic, for everything that is not time.
fn plainly(source: &'static str, a: Value, b: Value) -> Result<Value, minijinja::Error> {
    ENVIRONMENT.compile_expression(source)?.eval(Value::from_pairs([("a", a), ("b", b)]))
}

fn mismatch(operator: &str, left: &Value, right: &Value) -> minijinja::Error {
    minijinja::Error::new(
        ErrorKind::InvalidOperation,
        format!("`{operator}` cannot take `{left}` and `{right}` together"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn scope() -> Scope {
        let mut scope = Scope::default();
        scope.set("inputs", Value::from_pairs([("bypass_for", duration_value(Duration::from_secs(3600)))]));
        scope.set("run", Value::from_pairs([("now", moment_value("2026-11-23T03:00:00Z".parse().unwrap()))]));
        scope.set("a", json_value(&json!({ "outputs": { "users": [1, 2], "flag": true, "name": "x y" } })));
        scope.set("secrets", Value::from_pairs([("vercel", secret_value("vercel"))]));
        scope.set("gone", Value::from_pairs([("outputs", nothing())]));
        scope
    }

    fn render(text: &str) -> Result<serde_json::Value, String> {
        Template(text.to_owned()).render(&scope()).map_err(|error| error.message)
    }

    #[test]
    fn a_lone_expansion_keeps_its_type_and_a_mixed_one_becomes_text() {
        assert_eq!(render("{{ a.outputs.users }}"), Ok(json!([1, 2])));
        assert_eq!(render("n={{ a.outputs.users }} {{ a.outputs.flag }}"), Ok(json!("n=[1,2] true")));
        assert_eq!(render("plain"), Ok(json!("plain")));
    }

    #[test]
    fn time_adds_and_prints_as_people_write_it() {
        assert_eq!(render("{{ run.now + inputs.bypass_for }}"), Ok(json!("2026-11-23T04:00:00Z")));
        assert_eq!(render("{{ (run.now + inputs.bypass_for) - run.now }}"), Ok(json!("1h")));
        assert_eq!(render("for {{ inputs.bypass_for }}"), Ok(json!("for 1h")));
        assert_eq!(render("{{ 1 + 2 - 4 }}"), Ok(json!(-1)));
        assert_eq!(render("{{ 'a' + 'b' }}"), Ok(json!("ab")));
        assert_eq!(render("{{ run.now < run.now + duration('1s') }}"), Ok(json!(true)));
        assert!(render("{{ run.now + 5 }}").unwrap_err().contains("cannot take"));
    }

    #[test]
    fn a_secret_renders_to_its_reference() {
        let expected = format!("Bearer {}", crate::base::secret::reference("vercel"));
        assert_eq!(render("Bearer {{ secrets.vercel }}"), Ok(json!(expected)));
        assert_eq!(render("{{ secrets.vercel }}"), Ok(json!(crate::base::secret::reference("vercel"))));
    }

    #[test]
    fn what_has_no_value_is_an_error_with_its_place() {
        let error = Template("x {{ a.outputs.nope }}".into()).render(&scope()).unwrap_err();
        assert_eq!(error.range.map(|range| range.end), Some(19));
        assert!(Template("{{ nobody }}".into()).render(&scope()).is_err());
        assert!(Expression("nobody.there == 1".into()).holds(&scope()).is_err());
    }

    #[test]
    fn outputs_that_are_not_there_compare_as_nothing() {
        let holds = |text: &str| Expression(text.to_owned()).holds(&scope()).unwrap();
        assert!(holds("not gone.outputs.reachable"));
        assert!(!holds("gone.outputs.status == 500"));
        assert!(!holds("gone.outputs.status in ['a', 'b']"));
    }

    #[test]
    fn names_are_found_with_their_places() {
        let found = Template("{{ a.outputs['users'] | length }} {{ secrets.vercel }}".into()).references().unwrap();
        assert_eq!(found[0].path, ["a", "outputs", "users"]);
        assert!(!found[0].alone);
        assert_eq!((found[1].path.join("."), found[1].alone), ("secrets.vercel".to_owned(), true));
    }

    #[test]
    fn what_does_not_exist_is_found_without_rendering() {
        let error = Expression("a.outputs.name | uper".into()).references().unwrap_err();
        assert_eq!(
            (error.message.as_str(), error.help.as_deref()),
            ("there is no filter `uper`", Some("did you mean `upper`?"))
        );
        assert!(Expression("frobnicate(1)".into()).references().is_err());
        assert!(Expression("{{ a }}".into()).references().unwrap_err().message.contains("braces"));
        assert!(Template("{% if a %}x{% endif %}".into()).references().is_err());
    }

    #[test]
    fn a_condition_is_decided_by_the_side_that_is_known() {
        let told = |text: &str| {
            let known = |names: &[Reference]| names.iter().all(|name| name.root() == "a").then(scope);
            Expression(text.to_owned()).holds_as_far(&known).unwrap()
        };
        for (text, expected) in [
            ("a.outputs.flag", Some(true)),
            ("later.outputs.x", None),
            ("later.outputs.x and not a.outputs.flag", Some(false)),
            ("not a.outputs.flag and later.outputs.x", Some(false)),
            ("later.outputs.x and a.outputs.flag", None),
            ("later.outputs.x or a.outputs.flag", Some(true)),
            ("not (later.outputs.x or a.outputs.flag)", Some(false)),
            ("not later.outputs.x", None),
            ("later.outputs.x | default(true)", None),
            ("later is defined", None),
            ("[later.outputs.x, a.outputs.flag] | length == 2", None),
        ] {
            assert_eq!(told(text), expected, "{text}");
        }
    }

    #[test]
    fn endless_work_is_stopped() {
        assert!(render("{{ ('x' * 90000000) | length }}").is_err());
    }
}
