# Shorthand for what people type most. `.ci/run` has the checks themselves; nothing here is needed to build.

# The recipes
default:
    @just --list --unsorted

# Does it compile, tests and benches included?
check:
    cargo check -j2 --all-targets --locked

# The tests, or those whose name contains the words: `just test undo`
test *words:
    cargo test -j2 --locked {{ words }}

# Formatting and clippy, as strict as CI
lint:
    .ci/run format lint

# The documentation, with broken links as errors
doc:
    .ci/run docs

# The README's drill, or a rehearsal of another runbook: `just drill runbooks/NAME.yaml`
drill *runbook:
    {{ if runbook == "" { ".ci/run drill" } else { "cargo run -q --locked -- drill " + runbook } }}

# Requests and stand-ins against the vendors' OpenAPI files, and the vendors' own clients against the stand-ins
contracts:
    cargo test -j2 --locked --test contracts --test clients

# The benches
bench *words:
    cargo bench -j2 --locked {{ words }}

# Are the committed schemas what the binary would write?
generated:
    .ci/run generated

# Licences, bans, sources, advisories; needs cargo-deny
deny:
    cargo deny check

# Everything CI does
ci:
    .ci/run
