//! Reads a statement just far enough to find its parameters and its end; the rest is the database's business.
//!
//! Both databases write parameters in their own way. Here they are `:name` or `$1`, and are put into the database's way, so
//! that one statement serves both.

use serde_json::Value;

use super::Parameters;

/// One statement, taken apart at its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Named(String),
    Numbered(usize),
}

/// What is wrong with a statement or its parameters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Nothing but blanks and comments.
    #[error("the statement is empty")]
    Empty,
    /// Something stands behind a semicolon.
    #[error("there are several statements; a step runs one")]
    Several,
    /// A quotation or a comment has no end.
    #[error("{0} in the statement is not closed")]
    Unclosed(&'static str),
    /// `:name` and `$1` in one statement.
    #[error("the statement has parameters by name and by number; use one of the two")]
    Mixed,
    /// Parameters of the other kind are given.
    #[error("{0}")]
    OtherKind(&'static str),
    /// A parameter has no value.
    #[error("the statement has the parameter `{0}`, and no value for it is given")]
    Missing(String),
    /// A value has no parameter.
    #[error("a value for `{0}` is given, and the statement has no such parameter")]
    Unused(String),
}

impl Statement {
    /// Takes a statement apart.
    pub fn parse(sql: &str) -> Result<Self, StatementError> {
        let mut reader = Reader { sql, at: 0, pieces: Vec::new(), text: 0 };
        let mut ended = false;
        let mut any = false;
        while let Some(c) = reader.peek() {
            let start = reader.at;
            let skipped = match c {
                c if c.is_whitespace() => {
                    reader.at += c.len_utf8();
                    continue;
                }
                '-' if reader.starts("--") => {
                    reader.at = sql[start..].find('\n').map_or(sql.len(), |length| start + length);
                    continue;
                }
                '/' if reader.starts("/*") => {
                    reader.comment()?;
                    continue;
                }
                ';' => {
                    // A trailing one is harmless; it must not reach the database as a second, empty statement.
                    if !ended {
                        reader.flush(start);
                        ended = true;
                    }
                    reader.at += 1;
                    continue;
                }
                _ if ended => return Err(StatementError::Several),
                '\'' => reader.quoted('\'', reader.escapes(), "a text"),
                '"' => reader.quoted('"', false, "a quoted name"),
                '`' => reader.quoted('`', false, "a quoted name"),
                '$' => reader.dollar(),
                ':' => reader.colon(),
                c if c.is_alphanumeric() || c == '_' => {
                    reader.word();
                    Ok(())
                }
                c => {
                    reader.at += c.len_utf8();
                    Ok(())
                }
            };
            skipped?;
            any = true;
        }
        if !any {
            return Err(StatementError::Empty);
        }
        if !ended {
            reader.flush(sql.len());
        }
        let (mut named, mut numbered) = (false, false);
        for piece in &reader.pieces {
            named |= matches!(piece, Piece::Named(_));
            numbered |= matches!(piece, Piece::Numbered(_));
        }
        if named && numbered {
            return Err(StatementError::Mixed);
        }
        Ok(Self { pieces: reader.pieces })
    }

    /// The statement in a database's own way, and the values in the order of their numbers. `mark` stands before a
    /// number: `$` or `?`.
    pub fn bind<'p>(&self, parameters: &'p Parameters, mark: char) -> Result<(String, Vec<&'p Value>), StatementError> {
        let mut sql = String::new();
        let mut names: Vec<&str> = Vec::new();
        let mut values: Vec<&Value> = Vec::new();
        let mut highest = 0;
        for piece in &self.pieces {
            let number = match (piece, parameters) {
                (Piece::Text(text), _) => {
                    sql.push_str(text);
                    continue;
                }
                (Piece::Named(name), Parameters::Named(given)) => match names.iter().position(|known| known == name) {
                    Some(index) => index + 1,
                    None => {
                        values.push(given.get(name).ok_or_else(|| StatementError::Missing(format!(":{name}")))?);
                        names.push(name);
                        names.len()
                    }
                },
                (Piece::Numbered(number), Parameters::Positional(given)) => {
                    if *number == 0 || *number > given.len() {
                        return Err(StatementError::Missing(format!("${number}")));
                    }
                    highest = highest.max(*number);
                    *number
                }
                (Piece::Named(name), Parameters::Positional(given)) if given.is_empty() => {
                    return Err(StatementError::Missing(format!(":{name}")));
                }
                (Piece::Numbered(number), Parameters::Named(given)) if given.is_empty() => {
                    return Err(StatementError::Missing(format!("${number}")));
                }
                (Piece::Named(_), Parameters::Positional(_)) => {
                    return Err(StatementError::OtherKind(
                        "the statement names its parameters, so give a map of values and not a list",
                    ));
                }
                (Piece::Numbered(_), Parameters::Named(_)) => {
                    return Err(StatementError::OtherKind(
                        "the statement numbers its parameters, so give a list of values and not a map",
                    ));
                }
            };
            sql.push_str(&format!("{mark}{number}"));
        }
        match parameters {
            Parameters::Named(given) => {
                if let Some(unused) = given.keys().find(|name| !names.contains(&name.as_str())) {
                    return Err(StatementError::Unused(format!(":{unused}")));
                }
            }
            Parameters::Positional(given) => {
                let has = |wanted: usize| self.pieces.contains(&Piece::Numbered(wanted));
                if let Some(unused) = (1..=given.len()).find(|number| !has(*number)) {
                    return Err(StatementError::Unused(format!("${unused}")));
                }
                values.extend(given.iter().take(highest));
            }
        }
        Ok((sql, values))
    }
}

struct Reader<'s> {
    sql: &'s str,
    at: usize,
    pieces: Vec<Piece>,
    /// Where the text that is not yet in a piece begins.
    text: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.sql[self.at..].chars().next()
    }

    fn starts(&self, with: &str) -> bool {
        self.sql[self.at..].starts_with(with)
    }

    fn before(&self) -> Option<char> {
        self.sql[..self.at].chars().next_back()
    }

    /// Puts the text up to `end` into a piece.
    fn flush(&mut self, end: usize) {
        if self.text < end {
            self.pieces.push(Piece::Text(self.sql[self.text..end].to_owned()));
        }
        self.text = end;
    }

    fn parameter(&mut self, piece: Piece, length: usize) {
        self.flush(self.at);
        self.pieces.push(piece);
        self.at += length;
        self.text = self.at;
    }

    /// Is the quotation that begins here one with backslashes: `E'…'`?
    fn escapes(&self) -> bool {
        let mut before = self.sql[..self.at].chars().rev();
        matches!(before.next(), Some('e' | 'E')) && before.next().is_none_or(|c| !(c.is_alphanumeric() || c == '_'))
    }

    fn quoted(&mut self, quote: char, escapes: bool, what: &'static str) -> Result<(), StatementError> {
        self.at += 1;
        loop {
            match self.peek() {
                None => return Err(StatementError::Unclosed(what)),
                Some('\\') if escapes => {
                    self.at += 1;
                    self.at += self.peek().map_or(0, char::len_utf8);
                }
                Some(c) if c == quote => {
                    self.at += 1;
                    if self.peek() != Some(quote) {
                        return Ok(());
                    }
                    self.at += 1;
                }
                Some(c) => self.at += c.len_utf8(),
            }
        }
    }

    fn comment(&mut self) -> Result<(), StatementError> {
        let mut depth = 0_usize;
        loop {
            if self.starts("/*") {
                depth += 1;
                self.at += 2;
            } else if self.starts("*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    return Ok(());
                }
            } else {
                self.at += self.peek().ok_or(StatementError::Unclosed("a comment"))?.len_utf8();
            }
        }
    }

    /// A word, with the `$` that PostgreSQL allows within one.
    fn word(&mut self) {
        let rest = &self.sql[self.at..];
        self.at += rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(rest.len());
    }

    /// `$1`, or PostgreSQL's `$tag$ … $tag$`.
    fn dollar(&mut self) -> Result<(), StatementError> {
        let rest = &self.sql[self.at + 1..];
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        if digits > 0 {
            let number = rest[..digits].parse().unwrap_or(usize::MAX);
            self.parameter(Piece::Numbered(number), digits + 1);
            return Ok(());
        }
        let name = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        if !rest[name..].starts_with('$') {
            self.at += 1;
            return Ok(());
        }
        let tag = &self.sql[self.at..self.at + name + 2];
        let within = self.at + tag.len();
        let length = self.sql[within..].find(tag).ok_or(StatementError::Unclosed("a text"))?;
        self.at = within + length + tag.len();
        Ok(())
    }

    /// `:name`, but not the cast `::type`.
    fn colon(&mut self) -> Result<(), StatementError> {
        if self.starts("::") {
            self.at += 2;
            return Ok(());
        }
        let rest = &self.sql[self.at + 1..];
        let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let begins = rest.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_');
        if begins && self.before() != Some(':') {
            self.parameter(Piece::Named(rest[..length].to_owned()), length + 1);
        } else {
            self.at += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn named(names: &[&str]) -> Parameters {
        Parameters::Named(names.iter().map(|name| ((*name).to_owned(), json!(name))).collect())
    }

    fn bound(sql: &str, parameters: &Parameters) -> Result<(String, Vec<Value>), StatementError> {
        let (sql, values) = Statement::parse(sql)?.bind(parameters, '$')?;
        Ok((sql, values.into_iter().cloned().collect()))
    }

    #[test]
    fn names_become_numbers_and_a_name_twice_is_one_number() {
        let (sql, values) = bound("select :a, :b, :a::text from t", &named(&["a", "b"])).unwrap();
        assert_eq!((sql.as_str(), values), ("select $1, $2, $1::text from t", vec![json!("a"), json!("b")]));
        let given = Parameters::Positional(vec![json!(1), json!(2)]);
        let (sql, values) =
            Statement::parse("select $2, $1;").unwrap().bind(&given, '?').map(|(s, v)| (s, v.len())).unwrap();
        assert_eq!((sql.as_str(), values), ("select ?2, ?1", 2));
    }

    #[test]
    fn what_is_quoted_or_a_comment_holds_no_parameter_and_no_end() {
        for sql in [
            "select ':a; $1' from t",
            "select 'it''s :a;' from t",
            r"select E'it\'s :a;' from t",
            "select \":a;\" from t",
            "select `:a;` from t",
            "select 1 -- :a; $1\n from t",
            "select 1 /* :a; /* $1 */ ; */ from t",
            "select $$ :a; $1 $$ from t",
            "select $body$ :a; $$ $1 $body$ from t",
            "select x::text, y[1:2], a$1 from t",
        ] {
            assert_eq!(bound(sql, &named(&[])), Ok((sql.to_owned(), Vec::new())), "{sql}");
        }
    }

    #[test]
    fn there_is_one_statement() {
        for sql in ["", "  \n", "-- only talk", "/* talk */ ;"] {
            assert_eq!(Statement::parse(sql), Err(StatementError::Empty), "{sql}");
        }
        for sql in ["select 1; drop table t", "select ';'; select 2", "select 1;\n-- talk\n;select 2"] {
            assert_eq!(Statement::parse(sql), Err(StatementError::Several), "{sql}");
        }
        assert_eq!(bound("select 1 ;; -- done\n", &named(&[])).unwrap().0, "select 1 ");
        for (sql, what) in [
            ("select 'a", "a text"),
            ("select \"a", "a quoted name"),
            ("/* a", "a comment"),
            ("select $x$ a", "a text"),
        ] {
            assert_eq!(Statement::parse(sql), Err(StatementError::Unclosed(what)), "{sql}");
        }
    }

    #[test]
    fn values_and_parameters_belong_together() {
        use StatementError::{Missing, Mixed, OtherKind, Unused};
        let list = |count: usize| Parameters::Positional(vec![json!(0); count]);
        assert_eq!(bound("select :a, :b", &named(&["a"])), Err(Missing(":b".into())));
        assert_eq!(bound("select :a", &named(&["a", "b"])), Err(Unused(":b".into())));
        assert_eq!(bound("select $2", &list(1)), Err(Missing("$2".into())));
        assert_eq!(bound("select $0", &list(1)), Err(Missing("$0".into())));
        assert_eq!(bound("select $2", &list(2)), Err(Unused("$1".into())));
        assert_eq!(bound("select $1", &Parameters::Named(BTreeMap::new())), Err(Missing("$1".into())));
        assert_eq!(bound("select :a", &list(0)), Err(Missing(":a".into())));
        assert!(matches!(bound("select :a", &list(1)), Err(OtherKind(_))));
        assert!(matches!(bound("select $1", &named(&["a"])), Err(OtherKind(_))));
        assert_eq!(Statement::parse("select :a, $1"), Err(Mixed));
    }
}
