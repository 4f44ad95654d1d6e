//! The `runbook` binary: hands its arguments over and ends with the code it is given.

fn main() -> std::process::ExitCode {
    runbook::cli::main(std::env::args_os())
}
