//! Texts as they are compared: blanks and kinds of quotes inside an expression mean nothing.

use serde_json::Value;

use crate::plan::intent::pieces;
use crate::runbook::{Expression, Template, TemplateError, Templated};

/// An expression without blanks that mean nothing, its texts in single quotes.
pub(super) fn expression(expression: &Expression) -> String {
    canonical(&expression.0)
}

/// A template with its expansions as [`expression`] has them.
pub(super) fn template(template: &Template) -> String {
    if template.is_plain() {
        return template.0.clone();
    }
    let piece = |(text, is_expansion): (&str, bool)| match is_expansion {
        true => format!("{{{{ {} }}}}", canonical(text.trim_start_matches("{{").trim_end_matches("}}"))),
        false => text.to_owned(),
    };
    pieces(&template.0).into_iter().map(piece).collect()
}

/// A value as it is written, with its templates as [`template`] has them.
pub(super) fn written(value: &Templated) -> Value {
    let mut as_text = |text: &Template| Ok::<_, TemplateError>(Value::String(template(text)));
    value.render_with(&mut as_text).unwrap_or(Value::Null)
}

fn canonical(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    while let Some(c) = rest.next() {
        match c {
            '\'' | '"' => {
                let mut inner = String::new();
                while let Some(next) = rest.next() {
                    match next {
                        '\\' => inner.extend(std::iter::once('\\').chain(rest.next())),
                        next if next == c => break,
                        next => inner.push(next),
                    }
                }
                let quote = if inner.contains(['\'', '"']) { c } else { '\'' };
                shown.push(quote);
                shown.push_str(&inner);
                shown.push(quote);
            }
            c if c.is_whitespace() => {
                while rest.next_if(|next| next.is_whitespace()).is_some() {}
                // Between two words a blank is needed; between a word and a text it reads better.
                let before = shown.chars().next_back().is_some_and(is_word);
                let after = rest.peek().copied().is_some_and(is_word);
                if before && after {
                    shown.push(' ');
                }
            }
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_and_quotes_mean_nothing_outside_of_texts() {
        let same =
            [("a.b=='x'", " a.b  ==  \"x\" "), ("not a and b", "not  a\n and b"), ("f( 'it\\'s' )", "f('it\\'s')")];
        for (one, other) in same {
            assert_eq!(canonical(one), canonical(other));
        }
        let different = [("'a b'", "'ab'"), ("a b", "ab"), ("'it\"s'", "'it\\'s'"), ("a['b c']", "a['b  c']")];
        for (one, other) in different {
            assert_ne!(canonical(one), canonical(other));
        }
        let template = |text: &str| template(&Template(text.to_owned()));
        assert_eq!(template("x  {{inputs.y}}  z"), template("x  {{  inputs.y  }}  z"));
        assert_ne!(template("x  {{inputs.y}}"), template("x {{inputs.y}}"));
    }
}
