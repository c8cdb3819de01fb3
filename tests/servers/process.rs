//! Starting and stopping a server's process, and the folder it works in.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use super::Skipped;

/// How long a server may take until it listens. Azurite needs 2.5 s alone and ten times that on a busy machine.
const START_MAX: Duration = Duration::from_secs(60);
/// A port that was free may be taken until the server listens; then another one is tried.
const TRIES_MAX: usize = 5;

/// The file of an installed program, or why there is none.
pub fn installed(program: &'static str, file: &str) -> Result<PathBuf, Skipped> {
    let path = cache().join(program).join(file);
    match path.exists() {
        true => Ok(path),
        false => Err(Skipped {
            program,
            why: format!("no {}; install it with: tests/run {program}", path.display()),
        }),
    }
}

/// The folder that `tests/run` installs into.
pub fn cache() -> PathBuf {
    let from = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    from("ARARAT_TEST_CACHE").unwrap_or_else(|| {
        let base = from("XDG_CACHE_HOME").or_else(|| from("HOME").map(|home| home.join(".cache")));
        base.unwrap_or_else(std::env::temp_dir).join("ararat-tests")
    })
}

/// The address that servers listen on: loopback, unless they are for pods of a cluster, whose network is a private one.
pub fn host() -> IpAddr {
    let named = std::env::var("ARARAT_SERVERS_HOST").ok();
    named.map_or(Ipv4Addr::LOCALHOST.into(), |host| host.parse().unwrap())
}

/// A folder of its own, removed when dropped. Its name bears the owner's pid, so that a later run can sweep it.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new(name: &str) -> Folder {
        // In a cluster, whose process numbers are its own, a folder of its own: others would sweep it, and we theirs.
        let named = std::env::var("ARARAT_SERVERS_FOLDER").ok();
        let base = named
            .or_else(|| option_env!("CARGO_TARGET_TMPDIR").map(str::to_owned))
            .map_or_else(std::env::temp_dir, PathBuf::from);
        std::fs::create_dir_all(&base).unwrap();
        sweep(&base);
        let prefix = format!("server-{}-{name}-", std::process::id());
        Folder(tempfile::Builder::new().prefix(&prefix).tempdir_in(base).unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Removes the folders of test processes that are gone.
fn sweep(base: &Path) {
    for entry in std::fs::read_dir(base).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name
            .strip_prefix("server-")
            .and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if pid.is_some_and(|pid| Path::new("/proc/self").exists() && !Path::new(&format!("/proc/{pid}")).exists()) {
            // Another test process may be sweeping too.
            std::fs::remove_dir_all(entry.path()).ok();
        }
    }
}

/// A command that dies with this process, where `setpriv` (util-linux) is there to ask the kernel for it.
pub fn command(program: impl AsRef<Path>) -> Command {
    static SETPRIV: LazyLock<bool> = LazyLock::new(|| {
        let answer = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "true"])
            .stderr(Stdio::null())
            .status();
        answer.is_ok_and(|status| status.success())
    });
    if !*SETPRIV {
        return Command::new(program.as_ref());
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program.as_ref());
    command
}

/// A running server's process, killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts what `launch` makes for a free port, tries other ports if that one is taken meanwhile.
    pub fn listening(name: &str, folder: &Path, launch: impl Fn(SocketAddr) -> Command) -> (Process, SocketAddr) {
        let mut last = String::new();
        for _ in 0..TRIES_MAX {
            let address = TcpListener::bind((host(), 0)).unwrap().local_addr().unwrap();
            match Process::try_at(folder, launch(address), address) {
                Ok(process) => return (process, address),
                Err(why) => last = why,
            }
        }
        panic!("{name} does not start: {last}");
    }

    /// Starts a server on a port it had before.
    pub fn at(name: &str, folder: &Path, command: Command, address: SocketAddr) -> Process {
        Process::try_at(folder, command, address).unwrap_or_else(|why| panic!("{name} does not start again: {why}"))
    }

    fn try_at(folder: &Path, mut command: Command, address: SocketAddr) -> Result<Process, String> {
        let log = folder.join("server.log");
        let output = std::fs::File::create(&log).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output);
        let mut process = Process { child: spawn(command)? };
        let deadline = Instant::now() + START_MAX;
        while !listens(process.pid(), address.port()) {
            let ended = process.child.try_wait().map_err(|error| error.to_string())?;
            if ended.is_some() || Instant::now() > deadline {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let state = ended.map_or("still silent".to_string(), |status| status.to_string());
                return Err(format!(
                    "{state}\n{}",
                    text.get(text.len().saturating_sub(2000)..).unwrap_or(&text)
                ));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(process)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the process at once, as a crash would.
    pub fn kill(&mut self) {
        // An error means that it has ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

type Spawned = Result<Child, String>;
type Job = (Command, Sender<Spawned>);

/// Spawns from a thread that lives as long as this process: the kernel's "dies with its parent" means the *thread*
/// that spawned, and a test's thread ends before the servers that other tests share.
fn spawn(command: Command) -> Spawned {
    static KEEPER: LazyLock<Mutex<Sender<Job>>> = LazyLock::new(|| {
        let (sender, jobs) = channel::<Job>();
        let keep = move || {
            for (mut command, reply) in jobs {
                let spawned = command.spawn().map_err(|error| format!("{command:?}: {error}"));
                reply.send(spawned).unwrap();
            }
        };
        std::thread::Builder::new()
            .name("server keeper".into())
            .spawn(keep)
            .unwrap();
        Mutex::new(sender)
    });
    let (reply, spawned) = channel();
    KEEPER.lock().unwrap().send((command, reply)).unwrap();
    spawned.recv().unwrap()
}

/// Says whether just this process listens on the port: its socket is among the process's open files.
fn listens(pid: u32, port: u16) -> bool {
    let table = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let sockets: Vec<String> = table
        .iter()
        .flat_map(|table| table.lines().skip(1))
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields.len() > 9 && fields[3] == "0A" && fields[1].ends_with(&format!(":{port:04X}")))
        .map(|fields| format!("socket:[{}]", fields[9]))
        .collect();
    let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    let links = files.flatten().filter_map(|file| std::fs::read_link(file.path()).ok());
    links
        .map(|link| link.to_string_lossy().into_owned())
        .any(|link| sockets.contains(&link))
}
