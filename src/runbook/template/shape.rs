//! What an expression is made of, for checks: names, values, comparisons. No more of the parser's tree than they need.

use std::ops::Range;

use minijinja::machinery::ast;
use serde_json::Value;

use super::{Reference, literal_path, range};

/// A part of an expression and where it stands in its text.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// What it is.
    pub what: What,
    /// Where it stands.
    pub range: Range<usize>,
}

/// What a part of an expression is.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// `triage.outputs.category`.
    Name(Reference),
    /// `components[0].name`: a value within something, by a place that is a number or worked out.
    Within(Box<Shape>, Option<String>),
    /// `'text'`, `5`, `true`, `none`.
    Literal(Value),
    /// `[one, other]`.
    List(Vec<Shape>),
    /// `{ name: value }`.
    Map,
    /// `not this`.
    Not(Box<Shape>),
    /// `this and that`.
    And(Box<Shape>, Box<Shape>),
    /// `this or that`.
    Or(Box<Shape>, Box<Shape>),
    /// `this == that`; more than one in a row as `a < b < c`.
    Compare(Box<Shape>, Vec<(Comparison, Shape)>),
    /// `this + that`.
    Plus(Box<Shape>, Box<Shape>),
    /// `this - that`.
    Minus(Box<Shape>, Box<Shape>),
    /// `this * that` and the like.
    Arithmetic,
    /// `this ~ that`.
    Joined,
    /// `value | filter(arguments)`.
    Filter(String, Option<Box<Shape>>, Vec<Shape>),
    /// `value is test`.
    Test(Box<Shape>),
    /// `this if condition else that`.
    Choice(Box<Shape>, Option<Box<Shape>>),
    /// `function(arguments)`.
    Call(String),
    /// Anything else.
    Other,
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `!=`
    Unequal,
    /// `<`, `<=`, `>`, `>=`
    Order,
    /// `in`
    In,
    /// `not in`
    NotIn,
}

/// What an expression of the parser's is.
pub(super) fn of(expression: &ast::Expr<'_>) -> Shape {
    use ast::Expr;
    let boxed = |expression: &Expr<'_>| Box::new(of(expression));
    let place = range(expression.span());
    if let Some((path, parts)) = literal_path(expression) {
        let place = parts.first().map_or(0, |first| first.start)..parts.last().map_or(0, |last| last.end);
        let name = Reference { path, range: place.clone(), parts, alone: false };
        return Shape { what: What::Name(name), range: place };
    }
    let what = match expression {
        Expr::Const(constant) => serde_json::to_value(&constant.value).map_or(What::Other, What::Literal),
        Expr::List(list) => What::List(list.items.iter().map(of).collect()),
        Expr::Tuple(tuple) => What::List(tuple.items.iter().map(of).collect()),
        Expr::Map(_) => What::Map,
        Expr::UnaryOp(operation) => match operation.op {
            ast::UnaryOpKind::Not => What::Not(boxed(&operation.expr)),
            ast::UnaryOpKind::Neg => What::Arithmetic,
        },
        Expr::BinOp(operation) => {
            let (left, right) = (boxed(&operation.left), boxed(&operation.right));
            let compared =
                |how: Comparison, left: Box<Shape>, right: Box<Shape>| What::Compare(left, vec![(how, *right)]);
            match operation.op {
                ast::BinOpKind::Eq => compared(Comparison::Equal, left, right),
                ast::BinOpKind::Ne => compared(Comparison::Unequal, left, right),
                ast::BinOpKind::In => compared(Comparison::In, left, right),
                ast::BinOpKind::Lt | ast::BinOpKind::Lte | ast::BinOpKind::Gt | ast::BinOpKind::Gte => {
                    compared(Comparison::Order, left, right)
                }
                ast::BinOpKind::ScAnd => What::And(left, right),
                ast::BinOpKind::ScOr => What::Or(left, right),
                ast::BinOpKind::Add => What::Plus(left, right),
                ast::BinOpKind::Sub => What::Minus(left, right),
                ast::BinOpKind::Concat => What::Joined,
                _ => What::Arithmetic,
            }
        }
        Expr::Compare(comparison) => {
            let operands = comparison.ops.iter().map(|operand| {
                let how = match operand.op {
                    ast::CompareOpKind::Eq => Comparison::Equal,
                    ast::CompareOpKind::Ne => Comparison::Unequal,
                    ast::CompareOpKind::In => Comparison::In,
                    ast::CompareOpKind::NotIn => Comparison::NotIn,
                    _ => Comparison::Order,
                };
                (how, of(&operand.expr))
            });
            What::Compare(boxed(&comparison.expr), operands.collect())
        }
        Expr::IfExpr(choice) => What::Choice(boxed(&choice.true_expr), choice.false_expr.as_ref().map(boxed)),
        Expr::Filter(filter) => {
            let arguments = filter.args.iter().filter_map(|argument| match argument {
                ast::CallArg::Pos(value) => Some(of(value)),
                _ => None,
            });
            What::Filter(filter.name.to_owned(), filter.expr.as_ref().map(boxed), arguments.collect())
        }
        Expr::Test(test) => What::Test(boxed(&test.expr)),
        Expr::GetAttr(attribute) => What::Within(boxed(&attribute.expr), Some(attribute.name.to_owned())),
        Expr::GetItem(item) => {
            let key = match &item.subscript_expr {
                Expr::Const(key) => key.value.as_str().map(str::to_owned),
                _ => None,
            };
            What::Within(boxed(&item.expr), key)
        }
        Expr::Call(call) => match &call.expr {
            Expr::Var(function) => What::Call(function.id.to_owned()),
            _ => What::Other,
        },
        Expr::Var(_) | Expr::Slice(_) => What::Other,
    };
    // The parser lets some parts begin with the sign before them.
    let start = match &what {
        What::Within(first, _)
        | What::Test(first)
        | What::And(first, _)
        | What::Or(first, _)
        | What::Plus(first, _)
        | What::Minus(first, _)
        | What::Compare(first, _)
        | What::Filter(_, Some(first), _) => first.range.start,
        _ => place.start,
    };
    let end = match &what {
        What::And(_, last) | What::Or(_, last) | What::Plus(_, last) | What::Minus(_, last) => last.range.end,
        What::Compare(_, rest) => rest.last().map_or(place.end, |(_, last)| last.range.end),
        _ => place.end,
    };
    Shape { what, range: start..end.max(start) }
}

impl Shape {
    /// Calls `see` with this part and every part in it.
    pub fn visit(&self, see: &mut dyn FnMut(&Self)) {
        see(self);
        match &self.what {
            What::Within(inner, _) | What::Not(inner) | What::Test(inner) => inner.visit(see),
            What::List(items) => items.iter().for_each(|item| item.visit(see)),
            What::And(one, other) | What::Or(one, other) | What::Plus(one, other) | What::Minus(one, other) => {
                one.visit(see);
                other.visit(see);
            }
            What::Compare(first, rest) => {
                first.visit(see);
                rest.iter().for_each(|(_, operand)| operand.visit(see));
            }
            What::Filter(_, inner, arguments) => {
                inner.iter().for_each(|inner| inner.visit(see));
                arguments.iter().for_each(|argument| argument.visit(see));
            }
            What::Choice(one, other) => {
                one.visit(see);
                other.iter().for_each(|other| other.visit(see));
            }
            What::Name(_)
            | What::Literal(_)
            | What::Map
            | What::Arithmetic
            | What::Joined
            | What::Call(_)
            | What::Other => {}
        }
    }
}
