//! Formatting by example, and by random files in random styles.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

fn formatted(text: &str) -> String {
    let source = Source::new("t.yaml", text);
    format(&source).unwrap_or_else(|problem| panic!("{}\n{text}", problem.render(false)))
}

fn becomes(text: &str, expected: &str) {
    let once = formatted(text);
    assert_eq!(once, expected, "\n{once}");
    assert_eq!(formatted(&once), once, "a second time");
}

#[test]
fn levels_are_two_spaces_and_lists_stand_below_their_key() {
    becomes(
        "a:\n    b:\n          - c\n          -   d: 1\n              e: 2\n    f: 3\ng:\n- 1\n-\n    h: 4\n- - x\n  - y\n",
        "a:\n  b:\n    - c\n    - d: 1\n      e: 2\n  f: 3\ng:\n  - 1\n  -\n    h: 4\n  - - x\n    - y\n",
    );
}

#[test]
fn blanks_and_line_ends_are_those_of_the_house() {
    becomes("\u{feff}\r\n\r\na: 1  \r\n\r\n\r\n\r\nb: 2\t\r\n\r\n\r\n", "a: 1\n\nb: 2\n");
    becomes("a:    1", "a: 1\n");
    becomes("a:\n\n  b: 1\n", "a:\n\n  b: 1\n");
}

#[test]
fn brackets_are_spaced() {
    becomes(
        "a: {b:   1,c: [x,y ,  \"z,  w\"],d: {}, e: [ ], f: {\"g\":1,h: it's  so}}\n",
        "a: { b: 1,c: [x, y, \"z,  w\"], d: {}, e: [], f: { \"g\": 1, h: it's  so } }\n"
            .replace("1,c:", "1, c:")
            .as_str(),
    );
    becomes("a: [{if: x}, &b [1], *b , !!str 2, c: d]\n", "a: [{ if: x }, &b [1], *b, !!str 2, c: d]\n");
    becomes("a: { b,c : 1, 'd':[e] }\n", "a: { b, c: 1, 'd': [e] }\n");
    becomes("a: {https://x.y/z?q=1}\n", "a: { https://x.y/z?q=1 }\n");
}

#[test]
fn what_is_aligned_stays_aligned_and_what_is_not_is_not() {
    becomes(
        "inputs:\n    a:    { type: url }\n    long: {type: string}\n    b:    { type: url }\n\n    c:    1\nx:   1\ny: 2\n",
        "inputs:\n  a:    { type: url }\n  long: { type: string }\n  b:    { type: url }\n\n  c: 1\nx: 1\ny: 2\n",
    );
    becomes("- if:   a\n  then: b\n", "- if:   a\n  then: b\n");
}

#[test]
fn comments_stay_with_what_they_are_about() {
    becomes(
        "# top\na:\n    # of b\n    b: 1   # beside\n    c: {x: 1} # short\n    # at the end of a\n# of d\nd: 1\n  # last\n",
        "# top\na:\n  # of b\n  b: 1   # beside\n  c: { x: 1 } # short\n  # at the end of a\n# of d\nd: 1\n# last\n",
    );
    // Below each other they move together.
    becomes(
        "a: 1        # one\nb: [1,2,3]  # two\n            # and more\nc: 3        # three\n",
        "a: 1          # one\nb: [1, 2, 3]  # two\n              # and more\nc: 3          # three\n",
    );
    becomes("a: 'x # y' # z\nb: x#y\nc: \"\\\"# no\" # yes\n", "a: 'x # y' # z\nb: x#y\nc: \"\\\"# no\" # yes\n");
}

#[test]
fn texts_of_several_lines_keep_every_letter() {
    becomes(
        "s:\n      run: |\n            one\n              two  \n\n            # no comment\n      next: >-\n        a\n\n\n      b: |2\n          c\n",
        "s:\n  run: |\n    one\n      two  \n\n    # no comment\n  next: >-\n    a\n\n  b: |2\n      c\n",
    );
    becomes("a: |+\n   x\n\n\nb: 1\n", "a: |+\n  x\n\n\nb: 1\n");
    becomes("a: |\n     x", "a: |\n  x");
    becomes(
        "a: \"one\n        two\n\n    three\"\nb: plain\n     words\n\n     go on\n",
        "a: \"one\n        two\n\n    three\"\nb: plain\n     words\n\n     go on\n",
    );
    becomes("a:\n    b: one\n     two\n", "a:\n  b: one\n    two\n");
    becomes("a: [\n   1,   # one\n     2\n   ]\nb: 1\n", "a: [\n   1,   # one\n     2\n   ]\nb: 1\n");
}

#[test]
fn what_cannot_be_read_is_refused_with_a_place() {
    let shown = |text: &str| format(&Source::new("t.yaml", text)).unwrap_err().render(false);
    assert!(shown("a: [1\n").contains("this `[` is never closed"), "{}", shown("a: [1\n"));
    let explicit = shown("? a\n: 1\n");
    assert!(explicit.contains("a key written with `?` is not formatted"), "{explicit}");
    assert!(explicit.contains("t.yaml:1:1"), "{explicit}");
}

/// A value of a random file.
#[derive(Debug, Clone)]
enum Value {
    Plain(String),
    Quoted(String),
    Block(Vec<String>),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        "[a-z][a-z0-9 ./-]{0,8}[a-z0-9]".prop_map(Value::Plain),
        prop_oneof![Just("1"), Just("true"), Just("~"), Just("60m"), Just("a#b"), Just("x:y")]
            .prop_map(|word| Value::Plain(word.to_owned())),
        "[a-zäé #:{}\\[\\],'-]{0,10}".prop_map(Value::Quoted),
        prop::collection::vec("( {0,3}[a-z#:-][a-z ]{0,6}|)", 1..4).prop_map(Value::Block),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            prop::collection::vec(("[a-z_]{1,8}", inner), 0..4).prop_map(Value::Map),
        ]
    })
}

/// Prints a value in a style that the choices make up.
struct Printer<'c> {
    choices: &'c [u8],
    next: usize,
    text: String,
}

impl Printer<'_> {
    /// One of so many.
    fn choose(&mut self, of: u8) -> u8 {
        self.next += 1;
        self.choices[self.next % self.choices.len()] % of
    }

    fn blanks(&mut self) -> String {
        " ".repeat([1_usize, 1, 1, 2, 5][usize::from(self.choose(5))])
    }

    fn end_line(&mut self) {
        match self.choose(8) {
            0 => self.text.push_str("  # beside"),
            1 => self.text.push_str(" # it's \"so\": [x"),
            2 => self.text.push_str("   "),
            _ => {}
        }
        self.text.push('\n');
        match self.choose(10) {
            0 => self.text.push('\n'),
            1 => self.text.push_str("\n  \n\n"),
            2 => {
                let indent = usize::from(self.choose(9));
                let _ = writeln!(self.text, "{}# line: {{", " ".repeat(indent));
            }
            _ => {}
        }
    }

    /// A value behind a key or a dash that stands `indent` in.
    fn value(&mut self, value: &Value, indent: usize, in_map: bool) {
        match value {
            Value::List(items) if !items.is_empty() && self.choose(3) > 0 => {
                let deeper = if in_map { usize::from(self.choose(4)) } else { 1 + usize::from(self.choose(3)) };
                self.end_line();
                self.list(items, indent + deeper);
            }
            Value::Map(entries) if !entries.is_empty() && self.choose(3) > 0 => {
                let deeper = 1 + usize::from(self.choose(4));
                self.end_line();
                self.map(entries, indent + deeper, false);
            }
            Value::Block(lines) if lines.iter().any(|line| !line.trim().is_empty()) => {
                let blanks = self.blanks();
                let style = ["|", ">", "|-", ">-", "|+"][usize::from(self.choose(5))];
                let deeper = 1 + usize::from(self.choose(4));
                // Lines that begin with a blank need the number.
                let first = lines.iter().find(|line| !line.trim().is_empty()).cloned().unwrap_or_default();
                let number = if first.starts_with(' ') { deeper.to_string() } else { String::new() };
                let _ = writeln!(self.text, "{blanks}{style}{number}");
                for line in lines {
                    let line = if line.trim().is_empty() {
                        String::new()
                    } else {
                        format!("{}{line}", " ".repeat(indent + deeper))
                    };
                    let _ = writeln!(self.text, "{line}");
                }
            }
            Value::Plain(_) | Value::Quoted(_) if self.choose(6) == 0 => {
                self.end_line();
                let deeper = 1 + usize::from(self.choose(3));
                self.text.push_str(&" ".repeat(indent + deeper));
                self.flow(value);
                self.end_line();
            }
            _ => {
                let blanks = self.blanks();
                self.text.push_str(&blanks);
                self.flow(value);
                self.end_line();
            }
        }
    }

    fn list(&mut self, items: &[Value], indent: usize) {
        for item in items {
            let _ = write!(self.text, "{}-", " ".repeat(indent));
            match item {
                Value::Map(entries) if !entries.is_empty() && self.choose(2) == 0 => {
                    let blanks = self.blanks();
                    self.text.push_str(&blanks);
                    self.map(entries, indent + 1 + blanks.len(), true);
                }
                other => self.value(other, indent, false),
            }
        }
    }

    fn map(&mut self, entries: &[(String, Value)], indent: usize, mut is_begun: bool) {
        for (index, (key, value)) in entries.iter().enumerate() {
            if !std::mem::take(&mut is_begun) {
                self.text.push_str(&" ".repeat(indent));
            }
            // Each key once.
            let key = format!("{key}{index}");
            let _ = match self.choose(5) {
                0 => write!(self.text, "\"{key}\":"),
                1 => write!(self.text, "'{key}' :"),
                _ => write!(self.text, "{key}:"),
            };
            self.value(value, indent, true);
        }
    }

    fn flow(&mut self, value: &Value) {
        let blank = |printer: &mut Self| if printer.choose(2) == 0 { "" } else { "  " };
        match value {
            Value::Plain(word) => self.text.push_str(word),
            Value::Quoted(text) if self.choose(2) == 0 => {
                let _ = write!(self.text, "'{}'", text.replace('\'', "''"));
            }
            Value::Quoted(text) => {
                let _ = write!(self.text, "\"{text}\"");
            }
            Value::Block(lines) => {
                let _ = write!(self.text, "\"{}\"", lines.join("\\n"));
            }
            Value::List(items) => {
                self.text.push('[');
                for (index, item) in items.iter().enumerate() {
                    let blank = blank(self);
                    let _ = write!(self.text, "{}{blank}", if index > 0 { "," } else { "" });
                    self.flow(item);
                }
                self.text.push(']');
            }
            Value::Map(entries) => {
                self.text.push('{');
                for (index, (key, item)) in entries.iter().enumerate() {
                    let before = blank(self);
                    let (comma, behind) = (if index > 0 { "," } else { "" }, self.blanks());
                    let _ = match self.choose(3) {
                        0 => write!(self.text, "{comma}{before}\"{key}{index}\":"),
                        1 => write!(self.text, "{comma}{before}'{key}{index}':{behind}"),
                        _ => write!(self.text, "{comma}{before}{key}{index}:{behind}"),
                    };
                    self.flow(item);
                }
                let blank = blank(self);
                let _ = write!(self.text, "{blank}}}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// That values and comments stay is what `format` itself holds against; here it must never have to refuse.
    #[test]
    fn random_files_in_random_styles_are_laid_out_once_and_for_all(
        entries in prop::collection::vec(("[a-z_]{1,8}", values()), 1..5),
        choices in prop::collection::vec(any::<u8>(), 20..60),
        crlf: bool,
    ) {
        let mut printer = Printer { choices: &choices, next: 0, text: String::new() };
        printer.map(&entries, 0, false);
        let text = if crlf { printer.text.replace('\n', "\r\n") } else { printer.text };
        let source = Source::new("t.yaml", text.as_str());
        prop_assert!(node::parse(&source).is_ok(), "the test writes YAML\n{text}");
        let once = format(&source).map_err(|problem| TestCaseError::fail(format!("{}\n{text}", problem.render(false))))?;
        let twice = format(&Source::new("t.yaml", once.as_str()));
        prop_assert_eq!(twice.as_ref().ok(), Some(&once), "\n{}\n--\n{}", &text, &once);
        for line in once.lines().filter(|line| line.starts_with(' ')) {
            prop_assert!(!line.trim().is_empty() || once.contains('|') || once.contains('>'), "blanks alone\n{}", &once);
        }
        let comments = |text: &str| text.lines().filter(|line| line.contains("# ")).count();
        prop_assert_eq!(comments(&text), comments(&once));
    }

    /// Whatever stands there: it is formatted or refused, and neither takes a panic.
    #[test]
    fn any_text_is_formatted_or_refused(text in "([a-c:#\\-?&*!|>'\"{}\\[\\], \t\n\r]|: |\n  |- ){0,40}") {
        if let Ok(once) = format(&Source::new("t.yaml", text.as_str())) {
            let twice = format(&Source::new("t.yaml", once.as_str()));
            prop_assert_eq!(twice.ok(), Some(once));
        }
    }
}
