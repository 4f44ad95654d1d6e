//! Finds processes of a run that have outlived the program that started them: killed with SIGKILL, it could stop nobody.

/// A process that goes on although nobody waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survivor {
    /// Its number.
    pub pid: u32,
    /// The step that it belongs to.
    pub step: String,
}

/// The processes of a run that still run, by what stands in their environment (proc_pid_environ(5)). None where there is
/// no `/proc`.
pub fn survivors(run: &str) -> Vec<Survivor> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let mut found: Vec<Survivor> = numbers
        .filter(|pid| *pid != std::process::id())
        .filter_map(|pid| {
            // Of other people's processes, and of one that has just ended, nothing can be read.
            let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
            let value = |name: &str| {
                let mut variables = environment.split(|byte| *byte == 0);
                variables.find_map(|variable| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
            };
            (value("RUNBOOK_RUN")? == run.as_bytes()).then(|| Survivor {
                pid,
                step: String::from_utf8_lossy(value("RUNBOOK_STEP").unwrap_or_default()).into(),
            })
        })
        .collect();
    found.sort_by_key(|survivor| survivor.pid);
    found
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_the_run_in_its_environment() {
        let run = format!("20261124-030000-{}", std::process::id());
        assert_eq!(survivors(&run), []);
        let mut command = std::process::Command::new("sleep");
        let mut child = command.arg("1000").env("RUNBOOK_RUN", &run).env("RUNBOOK_STEP", "pay[a]").spawn().unwrap();
        let found = survivors(&run);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found, [Survivor { pid: child.id(), step: "pay[a]".to_owned() }]);
        assert_eq!(survivors(&run), []);
    }
}
