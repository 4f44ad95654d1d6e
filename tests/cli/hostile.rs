//! Files that are no runbooks at all, too deep, too large or in another encoding: refused with a place, whatever they hold.

use crate::support::{Place, Said};

const SOUND: &str = "runbook: a\nsteps:\n  look: { argv: [uptime] }\n";

fn check(bytes: impl AsRef<[u8]>) -> Said {
    let place = Place::new();
    std::fs::write(place.path("a.yaml"), bytes).unwrap();
    let said = place.run(&["check", "a.yaml"]);
    assert_eq!(said.stdout, "");
    assert!(said.stderr.len() < 30_000, "{} bytes are more than anybody reads", said.stderr.len());
    said
}

/// What is said of the file, up to the first caret.
fn refused(bytes: impl AsRef<[u8]>) -> String {
    let said = check(bytes);
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    said.stderr
}

#[test]
fn marks_of_byte_order_and_line_ends_of_other_systems_are_taken() {
    for text in [format!("\u{feff}{SOUND}"), SOUND.replace('\n', "\r\n"), format!("---\n{SOUND}...\n")] {
        let said = check(&text);
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), "1 runbook checked, no errors\n"), "{text:?}");
    }
}

#[test]
fn places_are_right_with_carriage_returns_which_are_not_shown() {
    let text =
        "runbook: a\r\nsteps:\r\n  look:\r\n    run: |\r\n      echo ü\r\n      echo {{ x }}\r\n    tiemout: 5m\r\n";
    assert_eq!(
        refused(text),
        "\
error[templated-script]: a script is never templated: whoever controls the value would control the script
 --> a.yaml:6:12
  |
6 |       echo {{ x }}
  |            ^^^^^^^
  |
  = help: write `env: { X: \"{{ x }}\" }` and use \"$X\" in the script

error[unknown-key]: unknown key `tiemout` in step `look`
 --> a.yaml:7:5
  |
7 |     tiemout: 5m
  |     ^^^^^^^
  |
  = help: did you mean `timeout`?

error: 2 errors; nothing was started
explain a finding: runbook explain templated-script
"
    );
}

#[test]
fn two_places_are_right_with_carriage_returns_between_them() {
    let text = "runbook: a\r\nsteps:\r\n  look:\r\n    argv: [ü]\r\n    timeout: 5m\r\n    argv: [df]\r\n";
    assert_eq!(
        refused(text),
        "\
error[duplicate-key]: `argv` is given twice in step `look`
 --> a.yaml:6:5
  |
4 |     argv: [ü]
  |     ---- first given here
5 |     timeout: 5m
6 |     argv: [df]
  |     ^^^^
  |
  = help: keep one of the two

error: 1 error; nothing was started
explain a finding: runbook explain duplicate-key
"
    );
}

#[test]
fn other_encodings_are_named() {
    let wide = |text: &str, bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
    let marked = format!("\u{feff}{SOUND}");
    for bytes in [wide(&marked, u16::to_le_bytes), wide(&marked, u16::to_be_bytes)] {
        let said = refused(bytes);
        assert!(said.starts_with("error[encoding]: this file is UTF-16, and a runbook is UTF-8"), "{said}");
        assert!(said.contains("iconv -f UTF-16 -t UTF-8"), "{said}");
    }
    let said = refused(b"runbook: a\n# caf\xe9\nsteps: {}\n");
    assert!(said.starts_with("error[encoding]: the byte 0xe9 here is not UTF-8\n --> a.yaml:2:6\n"), "{said}");
    assert!(said.contains("Latin-1"), "{said}");
}

#[test]
fn characters_that_cannot_be_seen_are_refused_where_they_stand() {
    for (character, words, place) in [
        ("\0", "a control character stands here", "3:21"),
        ("\u{7}", "a control character stands here", "3:21"),
        ("\u{1b}", "a control character stands here", "3:21"),
        ("\u{7f}", "a control character stands here", "3:21"),
        ("\u{9b}", "a control character stands here", "3:21"),
        ("\r", "a carriage return stands here without a line feed", "3:21"),
        ("\u{feff}", "a mark of byte order stands here", "3:21"),
        ("\u{fdd0}", "a character that is no text stands here", "3:21"),
        ("\u{202e}", "a character that turns the order of reading around stands here", "3:21"),
    ] {
        let said = refused(format!("runbook: a\nsteps:\n  look: {{ argv: [\"up{character}time\"] }}\n"));
        assert!(said.starts_with(&format!("error[encoding]: {words}\n --> a.yaml:{place}\n")), "{character:?}\n{said}");
        assert!(said.contains("= help: "), "{said}");
    }
}

#[test]
fn what_is_not_yaml_is_told_in_words_an_author_can_act_on() {
    for (line, words) in [
        ("title: @x", "a text cannot begin with `@` here"),
        ("title: %x", "a text cannot begin with `%` here"),
        ("title: `x`", "a text cannot begin with ``` here"),
        ("title: *x", "`*` begins a name for another value, and nothing has that name"),
        ("title: \"a\\qb\"", "a backslash in this text begins no escape that YAML knows"),
        ("title: !!python/object x", "a tag (`!…`) means nothing in a runbook"),
        ("title: .inf", "a number must have an end"),
        ("? {a: b}\n: x", "a key must be a text"),
        ("~: x", "a key must be a text"),
        ("title: \"x", "this quote is never closed"),
        ("title: [x", "this `[` is never closed"),
        ("\ttitle: x", "a tab cannot indent a line"),
        ("---\nrunbook: b", "a second document begins here"),
    ] {
        let said = refused(format!("runbook: a\n{line}\n"));
        assert!(said.starts_with(&format!("error[yaml]: {words}\n --> a.yaml:")), "{line}\n{said}");
        assert!(said.contains("= help: "), "{line}\n{said}");
    }
}

#[test]
fn names_for_other_values_may_be_used_and_not_to_make_a_bomb() {
    let said = check(
        "runbook: a\nsteps:\n  look: &look { argv: [uptime] }\n  again: *look\n  more: { <<: *look, timeout: 5m }\n",
    );
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x]\n");
    for (before, name) in ('a'..'h').zip('b'..='h') {
        bomb.push_str(&format!("{name}: &{name} [{}]\n", vec![format!("*{before}"); 9].join(", ")));
    }
    let said = refused(bomb);
    assert!(said.starts_with("error[yaml]: names for other values (`*name`) make more than 100000 values"), "{said}");
    assert!(said.contains(" --> a.yaml:"), "{said}");
}

#[test]
fn what_lies_too_deep_is_refused() {
    let block: String = (0..1000).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    for text in [
        format!("a: {}{}\n", "[".repeat(10_000), "]".repeat(10_000)),
        format!("a: {}{}\n", "{a: ".repeat(10_000), "}".repeat(10_000)),
        format!("a: {}\n", "[".repeat(10_000)),
        format!("runbook: a\n{block}"),
        format!("a:\n {}x\n", "- ".repeat(10_000)),
    ] {
        let said = refused(&text);
        assert!(said.starts_with("error[yaml]: maps and lists lie deeper in each other than 64\n"), "{said}");
        assert!(said.contains("--> a.yaml:"), "{said}");
    }
}

#[test]
fn expressions_that_go_on_for_ever_end_no_process() {
    for text in [
        format!("{}1{}", "(".repeat(100_000), ")".repeat(100_000)),
        format!("1{}", " | abs".repeat(100_000)),
        format!("{}1", "not ".repeat(100_000)),
        format!("a{}", ".b".repeat(100_000)),
    ] {
        for line in [format!("if: \"{text}\", argv: [x]"), format!("argv: [\"{{{{ {text} }}}}\"]")] {
            let said = refused(format!("runbook: a\nsteps:\n  look: {{ {line} }}\n"));
            let words =
                "error[template]: this expression has more than 200 parts that lie in each other\n --> a.yaml:3:";
            assert!(said.starts_with(words), "{said}");
            assert!(said.lines().all(|line| line.len() < 200), "a long line is shown around its caret");
        }
    }
}

#[test]
fn a_long_text_is_nothing_bad() {
    let said = check(format!("runbook: a\ntitle: {}\nsteps:\n  look: {{ argv: [uptime] }}\n", "x".repeat(10_000_000)));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let said =
        refused(format!("runbook: a\nsteps:\n  look: {{ argv: [\"{}\"], tiemout: 5m }}\n", "x".repeat(1_000_000)));
    assert!(said.contains("--> a.yaml:3:1000023\n"), "{said}");
}

#[test]
fn thousands_of_mistakes_are_counted_and_not_all_shown() {
    let keys: String = (0..5000).map(|number| format!("k{number}: 1\n")).collect();
    let said = refused(format!("{keys}{SOUND}"));
    assert_eq!(said.matches("error[unknown-key]").count(), 100);
    assert!(said.contains("… and 4900 more; mend these first"), "{}", &said[said.len() - 300..]);
    assert!(said.contains("error: 5000 errors; nothing was started"), "{}", &said[said.len() - 300..]);
}
