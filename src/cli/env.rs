//! What the surroundings say: where state is kept, who is there, whether anybody is watching.

use std::io::IsTerminal;
use std::path::PathBuf;

/// The folder that runs are kept in: `RUNBOOK_STATE`, else the XDG state folder
/// (<https://specifications.freedesktop.org/basedir-spec/latest/>).
pub(super) fn state_folder() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    from("RUNBOOK_STATE")
        .or_else(|| from("XDG_STATE_HOME").map(|folder| folder.join("runbook")))
        .or_else(|| from("HOME").map(|home| home.join(".local/state/runbook")))
        .unwrap_or_else(|| std::env::temp_dir().join("runbook"))
}

/// Who is at this machine, as it knows them: `user:NAME`. Declared, not proven.
pub(super) fn user() -> String {
    let name = ["RUNBOOK_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .or_else(name_in_passwd)
        .unwrap_or_else(|| format!("uid-{}", rustix::process::getuid().as_raw()));
    format!("user:{name}")
}

/// The login name of this process's user, where the environment does not say.
fn name_in_passwd() -> Option<String> {
    let uid = rustix::process::getuid().as_raw().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    })
}

/// Can a person be asked here?
pub(super) fn is_attended() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// May stderr carry colours? `NO_COLOR`, `CLICOLOR` and terminals are respected.
pub(super) fn stderr_is_styled() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
}

/// May stdout carry colours? As for stderr.
pub(super) fn stdout_is_styled() -> bool {
    anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never
}

/// Is stdout a terminal?
pub(super) fn stdout_is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// How wide stdout is: what `COLUMNS` says, else the terminal. `None` where it has no end.
pub(super) fn stdout_width() -> Option<usize> {
    let said = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).filter(|width| *width > 0);
    said.or_else(|| {
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
        Some(usize::from(size.ws_col)).filter(|width| *width > 0)
    })
}

/// Is stderr a terminal?
pub(super) fn stderr_is_terminal() -> bool {
    std::io::stderr().is_terminal()
}
