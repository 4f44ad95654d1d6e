//! Runbooks to measure with, as the text somebody could have written.

use std::fmt::Write as _;

/// How the steps hang together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Each needs the one before.
    Chain,
    /// One, then all the others side by side, then one that needs them all.
    FanOut,
    /// None needs another.
    Parallel,
    /// Ten to a layer; each needs two of the layer before, has a condition, and reads an output of one of them.
    Layered,
    /// One step for each of so many items.
    Loop,
}

impl Shape {
    /// The word for tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::FanOut => "fan-out and join",
            Self::Parallel => "parallel",
            Self::Layered => "layers, templates, conditions",
            Self::Loop => "one loop",
        }
    }

    /// A runbook of `count` steps that run `/usr/bin/true`.
    pub fn runbook(self, count: usize) -> String {
        let mut text = String::from("runbook: bench\ntitle: Something to measure\n");
        if self == Self::Layered {
            text.push_str("inputs:\n  target:\n    type: string\n    default: production\n");
        }
        text.push_str("steps:\n");
        if self == Self::Loop {
            writeln!(text, "  each: {{ for_each: {{ in: \"range({count})\", as: n }}, argv: [/usr/bin/true] }}")
                .expect("writing to a string cannot fail");
            return text;
        }
        for number in 0..count {
            self.step(&mut text, number, count);
        }
        text
    }

    fn step(self, text: &mut String, number: usize, count: usize) {
        let last = count.saturating_sub(1);
        writeln!(text, "  s{number}:").expect("writing to a string cannot fail");
        let needs: Vec<usize> = match self {
            Self::Chain => number.checked_sub(1).into_iter().collect(),
            Self::FanOut if number == 0 => Vec::new(),
            Self::FanOut if number == last => (1..last).collect(),
            Self::FanOut => vec![0],
            Self::Parallel | Self::Loop => Vec::new(),
            Self::Layered if number < 10 => Vec::new(),
            Self::Layered => {
                let before = (number / 10 - 1) * 10;
                vec![before + number % 10, before + (number + 1) % 10]
            }
        };
        if !needs.is_empty() {
            let needs = needs.iter().map(|number| format!("s{number}")).collect::<Vec<_>>().join(", ");
            writeln!(text, "    needs: [{needs}]").expect("writing to a string cannot fail");
        }
        match (self, needs.first()) {
            (Self::Layered, Some(needed)) => {
                writeln!(text, "    title: Step {number} of the plan").expect("writing to a string cannot fail");
                writeln!(text, "    if: s{needed}.outputs.exit_code == 0 and inputs.target != 'nowhere'")
                    .expect("writing to a string cannot fail");
                writeln!(text, "    argv: [/usr/bin/true, \"{{{{ inputs.target }}}}-{number}\"]")
                    .expect("writing to a string cannot fail");
                writeln!(text, "    env: {{ BEFORE: \"{{{{ s{needed}.outputs.stdout }}}}\" }}")
                    .expect("writing to a string cannot fail");
                text.push_str("    timeout: 30s\n    retry: { attempts: 3, delay: 1s, jitter: false }\n");
            }
            _ => text.push_str("    argv: [/usr/bin/true]\n"),
        }
    }
}
