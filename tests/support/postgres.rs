//! A real PostgreSQL for tests: made in a folder of its own, gone at the end.
//!
//! Where there is none, a test is skipped and says so; with `RUNBOOK_NEEDS_POSTGRES=1` it fails instead.

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// The user's password over TCP.
pub(crate) const PASSWORD: &str = "hunter2-of-the-tests";

/// A server that runs.
pub(crate) struct Server {
    bin: PathBuf,
    user: Option<&'static str>,
    folder: PathBuf,
    port: u16,
}

impl Server {
    /// Starts one, or says why the test named `test` is skipped.
    pub(crate) fn start(test: &str) -> Option<Self> {
        match Self::try_start() {
            Ok(server) => Some(server),
            Err(why) => {
                assert!(std::env::var_os("RUNBOOK_NEEDS_POSTGRES").is_none(), "{test}: no PostgreSQL: {why}");
                // Written past the capture of `cargo test`: a test that did not run must not look like one that did.
                let _ = writeln!(std::io::stderr(), "\nSKIPPED {test}: there is no PostgreSQL here: {why}");
                None
            }
        }
    }

    fn try_start() -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let bin = find_bin().ok_or("neither PATH nor /usr/lib/postgresql has `initdb` and `pg_ctl`")?;
        // PostgreSQL refuses to run as root, so somebody else has to.
        let root = text(Command::new("id").arg("-u"))?.trim() == "0";
        let user = if root { Some(unprivileged()?) } else { None };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("runbook-pg-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map_err(|e| e.to_string())?;
        let server = Self { bin, user, folder, port: port.port() };
        std::fs::write(server.folder.join("password"), PASSWORD).map_err(|error| error.to_string())?;
        if let Some(user) = user {
            text(Command::new("chown").arg("-R").arg(user).arg(&server.folder))?;
        }
        let data = server.data();
        let password = server.folder.join("password");
        text(
            server
                .command("initdb")
                .args(["--username=runbook", "--encoding=UTF8", "--locale=C", "--no-sync"])
                .args(["--auth-local=trust", "--auth-host=scram-sha-256", "--pwfile"])
                .arg(&password)
                .arg("-D")
                .arg(&data),
        )?;
        server.certificate();
        let options = format!(
            "-c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories={} -c fsync=off -c logging_collector=off",
            server.port,
            server.folder.display()
        );
        server.control(&[
            "-w",
            "-t",
            "60",
            "-o",
            &options,
            "-l",
            &server.folder.join("log").display().to_string(),
            "start",
        ])?;
        Ok(server)
    }

    /// The URL by way of the socket, where nobody is asked for a password.
    pub(crate) fn url(&self) -> String {
        format!("postgres://runbook@{}:{}/postgres", self.folder.display().to_string().replace('/', "%2F"), self.port)
    }

    /// The URL by way of TCP, with this password.
    pub(crate) fn tcp_url(&self, password: &str, query: &str) -> String {
        format!("postgres://runbook:{password}@localhost:{}/postgres{query}", self.port)
    }

    /// Runs statements, as a superuser.
    pub(crate) fn run(&self, sql: &str) -> String {
        let mut psql = self.command("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &self.url(), "-c", sql]);
        text(&mut psql).unwrap().trim().to_owned()
    }

    /// The certificate that the server shows, where `openssl` could make one.
    pub(crate) fn certificate_path(&self) -> Option<PathBuf> {
        Some(self.folder.join("server.crt")).filter(|path| path.is_file())
    }

    /// Makes a certificate for `localhost` and lets the server use it.
    fn certificate(&self) {
        let (key, certificate) = (self.folder.join("server.key"), self.folder.join("server.crt"));
        let made = text(
            self.as_user("openssl".as_ref())
                .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
                .args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"])
                .arg("-keyout")
                .arg(&key)
                .arg("-out")
                .arg(&certificate),
        );
        if made.is_ok() {
            let more =
                format!("ssl = on\nssl_key_file = '{}'\nssl_cert_file = '{}'\n", key.display(), certificate.display());
            let file = self.data().join("postgresql.conf");
            let text = std::fs::read_to_string(&file).unwrap() + &more;
            std::fs::write(&file, text).unwrap();
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn control(&self, args: &[&str]) -> Result<String, String> {
        text(self.command("pg_ctl").arg("-D").arg(self.data()).args(args))
    }

    fn command(&self, program: &str) -> Command {
        self.as_user(&self.bin.join(program))
    }

    fn as_user(&self, program: &Path) -> Command {
        let mut command = match self.user {
            None => Command::new(program),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", user, "--regid", user, "--clear-groups", "--"]).arg(program);
                command
            }
        };
        command.current_dir(&self.folder).env("LC_ALL", "C").env("TZ", "UTC");
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _stopped = self.control(&["-w", "-m", "immediate", "stop"]);
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}

fn find_bin() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    folders.sort();
    // The newest first; then whatever the shell would find.
    folders.reverse();
    folders.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    folders.into_iter().find(|folder| folder.join("initdb").is_file() && folder.join("pg_ctl").is_file())
}

fn unprivileged() -> Result<&'static str, String> {
    ["postgres", "nobody"]
        .into_iter()
        .find(|user| Command::new("id").arg(user).output().is_ok_and(|known| known.status.success()))
        .ok_or_else(|| "the tests run as root, and there is nobody else to run it".to_owned())
}

/// What a command prints, or what went wrong.
fn text(command: &mut Command) -> Result<String, String> {
    let name = format!("{command:?}");
    // A server that goes on must not hold our own output open.
    let capture = !name.contains("\"start\"");
    let out = || if capture { Stdio::piped() } else { Stdio::null() };
    let done: Output = command
        .stdin(Stdio::null())
        .stdout(out())
        .stderr(out())
        .spawn()
        .and_then(|child| child.wait_with_output())
        .map_err(|error| format!("{name}: {error}"))?;
    if done.status.success() {
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    } else {
        Err(format!("{name}: {}", String::from_utf8_lossy(&done.stderr)))
    }
}
