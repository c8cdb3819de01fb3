//! Which repository, which secret, which machine: what the engine must be told and never looks up by itself.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use engine::crypto::key_text::HolderKey;
use engine::format::envelope::Access;
use engine::repository::writer::Machine;
use engine::repository::{Credential, InitOptions, Locked, Repository};
use engine::store::{Location, Store, StoreOptions};
use engine::words::{Error, Timestamp};
use etcetera::BaseStrategy;
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

use crate::args::{Global, RepositoryArgs};
use crate::new_key::{self, NewKey};
use crate::output::progress;

/// Everything that a command needs besides its own arguments.
pub struct Session {
    pub global: Global,
    pub repository: RepositoryArgs,
    pub runtime: Runtime,
}

/// The threads that wait for the network; Ctrl-C says `advice`, unless it is empty, and is heard of where work can stop.
pub fn runtime(advice: &'static str) -> Result<Runtime> {
    // Whoever links two TLS providers must choose; object_store, kube and we agree on this one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    progress::catch_interrupts(&runtime, advice);
    Ok(runtime)
}

/// The present.
pub fn now() -> Timestamp {
    let elapsed = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX))
}

/// This machine and process.
pub fn machine() -> Machine {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    // Numbers of processes mean something to those alone who share them: in two containers of one machine they do not. Where that cannot be told,
    // nobody judges.
    let numbers = std::fs::read_link("/proc/self/ns/pid").map_or_else(
        |_| format!("process {}", std::process::id()),
        |namespace| namespace.to_string_lossy().into_owned(),
    );
    Machine {
        host: String::from_utf8_lossy(&host()).into_owned(),
        boot: format!("{} {numbers}", boot.trim()),
        process: std::process::id(),
        is_running: |process| Path::new("/proc").join(process.to_string()).exists(),
        program: concat!("ararat ", env!("CARGO_PKG_VERSION")).to_owned(),
    }
}

/// The machine's name.
pub fn host() -> Vec<u8> {
    rustix::system::uname().nodename().to_bytes().to_vec()
}

/// The user's name.
pub fn user() -> Vec<u8> {
    std::env::var_os("USER")
        .or_else(|| std::env::var_os("LOGNAME"))
        .map_or_else(
            || rustix::process::getuid().as_raw().to_string().into_bytes(),
            |name| name.as_bytes().to_vec(),
        )
}

/// Where the embedded default repository and its key live.
pub struct DefaultPlaces {
    pub repository: PathBuf,
    pub key: PathBuf,
    pub sheet: PathBuf,
}

/// The default places, under the user's data and configuration folders.
pub fn default_places() -> Result<DefaultPlaces> {
    let folders =
        etcetera::choose_base_strategy().context("Your home folder is not known; name a repository with -r")?;
    let configuration = folders.config_dir().join("ararat");
    Ok(DefaultPlaces {
        repository: folders.data_dir().join("ararat/repository"),
        key: configuration.join("repository.key"),
        sheet: configuration.join("recovery-sheet.txt"),
    })
}

impl Session {
    pub fn new(global: Global, repository: RepositoryArgs) -> Result<Self> {
        Ok(Self {
            global,
            repository,
            runtime: runtime("Stopping where it is safe; once more to stop at once")?,
        })
    }

    /// The location that was named, or the embedded default's.
    pub fn location(&self) -> Result<Location> {
        match &self.repository.repo {
            Some(text) => Ok(Location::parse(text)?),
            None => Ok(Location::local(default_places()?.repository)?),
        }
    }

    /// Whether the embedded default repository is meant.
    pub fn is_default(&self) -> bool {
        self.repository.repo.is_none()
    }

    pub fn store_at(&self, location: &Location) -> Result<Store> {
        let mut options = StoreOptions {
            environment: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect::<BTreeMap<_, _>>(),
            ..StoreOptions::default()
        };
        self.repository.store.apply(&mut options)?;
        Ok(Store::open(location, &options, self.runtime.handle().clone())?)
    }

    pub fn cache_folder(&self) -> Option<PathBuf> {
        if self.repository.no_cache {
            return None;
        }
        let given = self.repository.cache_dir.clone();
        given.or_else(|| Some(etcetera::choose_base_strategy().ok()?.cache_dir().join("ararat")))
    }

    /// Opens the repository that was named; makes the embedded default on its first use when `make` is set.
    pub fn open(&self, access: Access, make: bool) -> Result<Repository> {
        let location = self.location()?;
        if self.is_default() && make && !default_places()?.key.exists() && self.given_secret()?.is_none() {
            return self.make_default(&location);
        }
        // Whether there is a repository comes before the question whose key it is.
        let locked = Locked::find(self.store_at(&location)?, self.cache_folder(), access)?;
        let repository = locked.unlock(&self.credential()?)?;
        Ok(match self.cache_limit() {
            Some(limit) => repository.with_cache_limit(limit),
            None => repository,
        })
    }

    /// How much copies of a repository's objects may take, if a person has said so.
    pub fn cache_limit(&self) -> Option<u64> {
        self.repository.cache_limit.map(|limit| limit.as_u64())
    }

    fn make_default(&self, location: &Location) -> Result<Repository> {
        let places = default_places()?;
        let options = InitOptions {
            now: now(),
            label: String::from_utf8_lossy(&user()).into_owned(),
            cache_folder: self.cache_folder(),
            ..InitOptions::default()
        };
        let new_key = NewKey {
            key: places.key.clone(),
            sheet: Some(places.sheet.clone()),
        };
        let repository = new_key.make(self, location, options).map_err(|error| {
            let exists = matches!(error.downcast_ref(), Some(Error::RepositoryExists { .. }));
            let why = || format!("Your key {} is not there, but the repository is", places.key.display());
            if exists { error.context(why()) } else { error }
        })?;
        // However little was asked to be said: this is the one thing that must not be lost.
        anstream::eprintln!("Made a repository for you, since none was named:");
        anstream::eprintln!("  repository      {}", places.repository.display());
        anstream::eprintln!("  key             {}", places.key.display());
        anstream::eprintln!("  recovery sheet  {}", places.sheet.display());
        anstream::eprintln!("Print the recovery sheet and keep it elsewhere: without the key nobody can restore.\n");
        Ok(repository)
    }

    /// The secret that was given in so many words: a key file, a password, its file or its command. What stands on the command line comes before
    /// what stands in the environment.
    pub fn given_secret(&self) -> Result<Option<Credential>> {
        if let Some(path) = &self.repository.key_file {
            return read_key(path).map(Some);
        }
        if let Some(password) = self.password_of_flags()? {
            return Ok(Some(Credential::Passphrase(password)));
        }
        if let Some(path) = variable("ARARAT_KEY_FILE") {
            return read_key(Path::new(&path)).map(Some);
        }
        Ok(password_of_environment()?.map(Credential::Passphrase))
    }

    /// The password that was given by a flag, the environment, a file or a command.
    pub fn given_password(&self) -> Result<Option<Zeroizing<Vec<u8>>>> {
        match self.password_of_flags()? {
            Some(password) => Ok(Some(password)),
            None => password_of_environment(),
        }
    }

    fn password_of_flags(&self) -> Result<Option<Zeroizing<Vec<u8>>>> {
        match (&self.repository.password_file, &self.repository.password_command) {
            (Some(path), _) => password_of(path).map(Some),
            (None, Some(command)) => password_of_command(OsStr::new(command)).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// The key of the embedded default repository, when that is meant and the key is there.
    pub fn default_key(&self) -> Result<Option<Credential>> {
        if !self.is_default() {
            return Ok(None);
        }
        let key = default_places()?.key;
        // One whose repository was made by a run that did not come so far as to name its key.
        let unnamed = new_key::pending(&key);
        let found = [key, unnamed].into_iter().find(|key| key.exists());
        found.map(|key| read_key(&key)).transpose()
    }

    fn credential(&self) -> Result<Credential> {
        if let Some(secret) = self.given_secret()? {
            return Ok(secret);
        }
        if let Some(key) = self.default_key()? {
            return Ok(key);
        }
        if !std::io::stdin().is_terminal() {
            bail!(Error::Invalid(
                "No key was given; set ARARAT_PASSWORD, ARARAT_PASSWORD_FILE, ARARAT_PASSWORD_COMMAND or --key-file"
                    .into()
            ));
        }
        Ok(Credential::Passphrase(ask("Password: ")?))
    }
}

/// Asks for a secret on the terminal.
pub fn ask(prompt: &str) -> Result<Zeroizing<Vec<u8>>> {
    Ok(Zeroizing::new(
        rpassword::prompt_password(prompt)
            .context("Could not read the password")?
            .into_bytes(),
    ))
}

/// A variable of the environment that says something.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn password_of_environment() -> Result<Option<Zeroizing<Vec<u8>>>> {
    if let Some(password) = std::env::var_os("ARARAT_PASSWORD") {
        return Ok(Some(Zeroizing::new(password.as_bytes().to_vec())));
    }
    if let Some(path) = variable("ARARAT_PASSWORD_FILE") {
        return password_of(Path::new(&path)).map(Some);
    }
    variable("ARARAT_PASSWORD_COMMAND")
        .map(|command| password_of_command(&command))
        .transpose()
}

fn password_of_command(command: &OsStr) -> Result<Zeroizing<Vec<u8>>> {
    let output = Command::new("sh")
        .arg("-c")
        .arg(command)
        .stderr(std::process::Stdio::inherit())
        .output();
    let output = output.context("Could not run the password command")?;
    let content = Zeroizing::new(output.stdout);
    if !output.status.success() {
        bail!("The password command ended with {}", output.status);
    }
    Ok(first_line(&content))
}

fn first_line(content: &[u8]) -> Zeroizing<Vec<u8>> {
    let line = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Zeroizing::new(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
}

/// The password on the first line of a file.
pub fn password_of(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let content =
        std::fs::read(path).with_context(|| format!("Could not read the password file {}", path.display()))?;
    Ok(first_line(&Zeroizing::new(content)))
}

/// A length of time as people write it, in seconds: "7d", "2w 3d", "24h".
pub fn seconds(text: &str) -> Result<i64> {
    let span: jiff::Span = text
        .parse()
        .map_err(|_| Error::Invalid(format!("`{text}` is no length of time; write for instance 7d or 24h")))?;
    let relative = jiff::SpanRelativeTo::days_are_24_hours();
    let seconds = span.total((jiff::Unit::Second, relative)).or_else(|_| {
        // Months and years have no fixed length: from the beginning of this century is as good as any.
        span.total((jiff::Unit::Second, jiff::civil::date(2000, 1, 1)))
    });
    let seconds = seconds.map_err(|_| Error::Invalid(format!("`{text}` is too long")))? as i64;
    if seconds < 0 {
        bail!(Error::Invalid(format!(
            "`{text}` is negative; write for instance 7d or 24h"
        )));
    }
    Ok(seconds)
}

/// The same, as a value on the command line.
pub fn duration(text: &str) -> Result<i64, String> {
    seconds(text).map_err(|error| error.to_string())
}

/// Reads a key file.
pub fn read_key(path: &Path) -> Result<Credential> {
    let mut text = Zeroizing::new(String::new());
    let mut file = std::fs::File::open(path).with_context(|| format!("Could not open the key {}", path.display()))?;
    file.read_to_string(&mut text)
        .with_context(|| format!("Could not read the key {}", path.display()))?;
    let key = HolderKey::from_text(&text).with_context(|| format!("{} holds no usable key", path.display()))?;
    Ok(Credential::Key(key))
}

/// A user's name by number, from /etc/passwd.
pub fn user_name(number: u32) -> Option<Vec<u8>> {
    name_in("/etc/passwd", number)
}

/// A group's name by number, from /etc/group.
pub fn group_name(number: u32) -> Option<Vec<u8>> {
    name_in("/etc/group", number)
}

fn name_in(path: &str, number: u32) -> Option<Vec<u8>> {
    let content = std::fs::read(path).ok()?;
    let number = number.to_string();
    content.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id == number.as_bytes()).then(|| name.to_vec())
    })
}
