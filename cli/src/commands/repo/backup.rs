//! `ararat repo backup`

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use engine::format::envelope::Access;
use engine::repository::{InitOptions, Repository};
use engine::source::{Excludes, Marker, Pattern, SourceOptions, StreamSource, paths_of_list};
use engine::store::Location;
use engine::verbs::backup::{BackupOptions, BackupReport, Input, OwnerNames, ParentChoice, backup};
use engine::words::{Error, Timestamp};

use crate::failure;
use crate::output::progress::Shown;
use crate::output::show;
use crate::session::{self, Session};
use crate::volume_key;

/// Back up files, folders, devices or a stream.
///
/// `backup .` stores what is in the folder at the root of the snapshot; an absolute path is stored as it is. Unchanged
/// files are taken from the newest snapshot of the same paths and are not read.
#[derive(clap::Args)]
pub struct Backup {
    /// What to back up
    paths: Vec<PathBuf>,
    /// Leave out what matches this pattern, as in .gitignore (may be repeated)
    #[arg(short, long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// The same, whatever the case of letters
    #[arg(long, value_name = "PATTERN")]
    iexclude: Vec<String>,
    /// Leave out what matches a pattern in this file
    #[arg(long, value_name = "FILE")]
    exclude_file: Vec<PathBuf>,
    /// The same, whatever the case of letters
    #[arg(long, value_name = "FILE")]
    iexclude_file: Vec<PathBuf>,
    /// Take only what matches this pattern
    #[arg(long, value_name = "PATTERN")]
    include: Vec<String>,
    /// Leave out folders that hold a file of this name, with this beginning
    #[arg(long, value_name = "NAME[:BEGINNING]")]
    exclude_if_present: Vec<String>,
    /// Leave out folders that are marked as caches by a CACHEDIR.TAG
    #[arg(long)]
    exclude_caches: bool,
    /// Leave out files larger than this, e.g. 100MiB
    #[arg(long, value_name = "SIZE")]
    exclude_larger_than: Option<bytesize::ByteSize>,
    /// Stay on the file systems of the given paths
    #[arg(short = 'x', long)]
    one_file_system: bool,
    /// Read the paths to back up from this file, one a line; - for standard input
    #[arg(long, value_name = "FILE")]
    files_from: Vec<PathBuf>,
    /// The same, separated by NUL
    #[arg(long, value_name = "FILE")]
    files_from_raw: Vec<PathBuf>,
    /// Back up standard input
    #[arg(long, conflicts_with_all = ["paths", "stdin_from_command"])]
    stdin: bool,
    /// Run the command after -- and back up what it prints; its exit code decides
    #[arg(long)]
    stdin_from_command: bool,
    /// The name of the file that standard input or the command's output becomes
    #[arg(long, value_name = "PATH", default_value = "stdin")]
    stdin_filename: OsString,
    /// Add this tag (may be repeated, or separated by commas)
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    tag: Vec<String>,
    /// Add this label
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// A line about the snapshot
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    /// The host name to store
    #[arg(long, env = "ARARAT_HOST", value_name = "NAME")]
    host: Option<String>,
    /// The moment that the snapshot stands for, instead of now, e.g. 2026-11-23T21:43:00Z
    #[arg(long, value_name = "TIME")]
    time: Option<jiff::Timestamp>,
    /// Take unchanged files from this snapshot
    #[arg(long, value_name = "SNAPSHOT")]
    parent: Option<String>,
    /// Read every file, whether it looks changed or not
    #[arg(short, long)]
    force: bool,
    /// A file whose status change time alone has changed is unchanged
    #[arg(long)]
    ignore_ctime: bool,
    /// A file whose inode number alone has changed is unchanged
    #[arg(long)]
    ignore_inode: bool,
    /// Write no snapshot when nothing has changed
    #[arg(long)]
    skip_if_unchanged: bool,
    /// Write nothing; say what would be read
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// How hard to compress: -7 (fastest) to 19 (smallest), 0 for not at all; without it, what suits each kind of data
    #[arg(long, env = "ARARAT_COMPRESSION", value_name = "LEVEL", allow_negative_numbers = true,
          value_parser = clap::value_parser!(i32).range(-7..=19))]
    compression: Option<i32>,
    /// The file with this source's volume key, by which a writer sees what is unchanged; made when it is not there. A
    /// writer without it uses one in your configuration folder
    #[arg(long, env = "ARARAT_VOLUME_KEY_FILE", value_name = "FILE")]
    volume_key_file: Option<PathBuf>,
    /// Threads that read and compress, up to 10; 0 for as many as the machine has
    #[arg(long, env = "ARARAT_WORKERS", value_name = "N", default_value_t = 0)]
    workers: usize,
}

/// What is to be backed up, as far as it is known before the repository is open.
enum Source {
    Ready(Input),
    /// A command that is to be started, and the name of what it says.
    Command {
        name: Vec<u8>,
        command: Vec<OsString>,
    },
}

impl Backup {
    /// Backs up.
    pub fn run(mut self, session: &Session) -> Result<u8> {
        let input = self.input()?;
        let repository = self.repository(session)?;
        // A command runs only when there is a place for what it says, and never for a dry run.
        let input = match input {
            Source::Ready(input) => input,
            Source::Command { name, command } => self.start(name, &command)?,
        };
        let mut options = self.options()?;
        let source = source_of(&options, &input);
        let named = self.volume_key_file.as_deref();
        options.volume_key = volume_key::of_backup(named, &repository, &source, !self.dry_run)?;
        let repository = repository.with_volume_keys(options.volume_key.iter().cloned().collect());
        let shown = Shown::new(session.global.quiet, session.global.json);
        options.estimate = shown.is_on_terminal();
        let report = backup(&repository, input, &options, &shown);
        shown.finish();
        let report = report?;
        if session.global.json {
            show::json(&report_json(&report, &repository.store().requests()))?;
        } else if !session.global.quiet {
            print(&report, self.dry_run)?;
        }
        Ok(match report {
            BackupReport { interrupted: true, .. } => failure::INTERRUPTED,
            BackupReport { counts, .. } if counts.errors > 0 => failure::PARTIAL,
            BackupReport { .. } => 0,
        })
    }

    /// The repository that was named, or the embedded default, which a dry run does not make.
    fn repository(&self, session: &Session) -> Result<Repository> {
        let has_key = || Ok::<_, anyhow::Error>(session.given_secret()?.is_some() || session.default_key()?.is_some());
        if self.dry_run && session.is_default() && !has_key()? {
            let options = InitOptions {
                now: session::now(),
                ..InitOptions::default()
            };
            let nowhere = session.store_at(&Location::parse("memory:dry-run")?)?;
            return Ok(Repository::init(nowhere, options)?.0);
        }
        session.open(Access::Write, true)
    }

    fn start(&self, name: Vec<u8>, command: &[OsString]) -> Result<Input> {
        let source = match command.split_first() {
            Some((program, arguments)) if !self.dry_run => StreamSource::of_command(program, arguments)?,
            _ => StreamSource::of_reader(std::io::empty()),
        };
        Ok(Input::Stream { name, source })
    }

    fn input(&mut self) -> Result<Source> {
        let name = self.stdin_filename.as_bytes();
        let name = name.iter().copied().skip_while(|byte| *byte == b'/').collect();
        if self.stdin_from_command {
            if self.paths.is_empty() {
                bail!(Error::Invalid("--stdin-from-command needs the command after --".into()));
            }
            let command = self.paths.iter().map(|part| part.clone().into_os_string()).collect();
            return Ok(Source::Command { name, command });
        }
        if self.stdin {
            return Ok(Source::Ready(Input::Stream {
                name,
                source: StreamSource::of_reader(std::io::stdin()),
            }));
        }
        let mut paths = std::mem::take(&mut self.paths);
        for (files, separator) in [(&self.files_from, b'\n'), (&self.files_from_raw, 0)] {
            for file in files {
                paths.extend(paths_of_list(&read_list(file)?, separator));
            }
        }
        if paths.is_empty() {
            bail!(Error::Invalid(
                "Nothing to back up was named; `ararat repo backup .` backs up the folder you are in".into()
            ));
        }
        Ok(Source::Ready(Input::Paths(paths)))
    }

    fn excludes(&self) -> Result<Excludes> {
        let mut excludes = Excludes::default();
        excludes.patterns.extend(self.exclude.iter().map(Pattern::new));
        excludes.patterns.extend(self.iexclude.iter().map(|text| Pattern {
            any_case: true,
            ..Pattern::new(text)
        }));
        for (files, any_case) in [(&self.exclude_file, false), (&self.iexclude_file, true)] {
            for file in files {
                let patterns = Pattern::of_lines(&file.display().to_string(), &read_list(file)?, any_case)?;
                excludes.patterns.extend(patterns);
            }
        }
        excludes.includes.extend(self.include.iter().map(Pattern::new));
        for marker in &self.exclude_if_present {
            excludes.markers.push(Marker::parse(marker.as_bytes())?);
        }
        if self.exclude_caches {
            excludes.markers.push(Marker::of_caches());
        }
        excludes.larger_than = self.exclude_larger_than.map(|size| size.as_u64());
        Ok(excludes)
    }

    fn options(&self) -> Result<BackupOptions> {
        let here = std::env::current_dir().context("The current folder is gone")?;
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let parent = match (&self.parent, self.force) {
            (_, true) => ParentChoice::None,
            (Some(parent), false) => ParentChoice::This(parent.clone()),
            (None, false) => ParentChoice::Newest,
        };
        Ok(BackupOptions {
            clock: session::now,
            time: self
                .time
                .map(|time| Timestamp(i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX))),
            host: self
                .host
                .as_ref()
                .map_or_else(session::host, |host| host.clone().into_bytes()),
            user: session::user(),
            // A variable that is not set must not keep a backup from being made.
            tags: self.tag.iter().filter(|tag| !tag.is_empty()).cloned().collect(),
            labels: super::filter::labels(&self.label)?,
            description: self.description.clone(),
            machine: session::machine(),
            parent,
            ignore_ctime: self.ignore_ctime,
            ignore_inode: self.ignore_inode,
            skip_if_unchanged: self.skip_if_unchanged,
            dry_run: self.dry_run,
            estimate: false,
            level: self.compression,
            workers: if self.workers == 0 { processors } else { self.workers },
            uploads: 2,
            volume_key: None,
            source: SourceOptions {
                excludes: self.excludes()?,
                one_file_system: self.one_file_system,
                here,
                ..SourceOptions::default()
            },
            source_name: None,
            names: OwnerNames {
                user: crate::session::user_name,
                group: crate::session::group_name,
            },
        })
    }
}

/// What tells one source from another on this machine: host, paths, and for paths that are relative the folder they start from.
fn source_of(options: &BackupOptions, input: &Input) -> Vec<u8> {
    let mut source = options.host.clone();
    let mut add = |part: &[u8]| {
        source.push(0);
        source.extend_from_slice(part);
    };
    match input {
        Input::Paths(paths) => {
            if paths.iter().any(|path| path.is_relative()) {
                add(options.source.here.as_os_str().as_bytes());
            }
            paths.iter().for_each(|path| add(path.as_os_str().as_bytes()));
        }
        Input::Stream { name, .. } | Input::Files { name, .. } => add(name),
    }
    source
}

fn read_list(path: &std::path::Path) -> Result<Vec<u8>> {
    if path.as_os_str() == "-" {
        let mut content = Vec::new();
        std::io::stdin().read_to_end(&mut content)?;
        return Ok(content);
    }
    std::fs::read(path).with_context(|| format!("Could not read {}", path.display()))
}

fn report_json(report: &BackupReport, requests: &engine::store::Requests) -> serde_json::Value {
    serde_json::json!({
        "snapshot": report.snapshot.map(|id| id.to_string()),
        "parent": report.parent.map(|id| id.to_string()),
        "unchanged": report.unchanged,
        "interrupted": report.interrupted,
        "started": show::time_json(report.started),
        "ended": show::time_json(report.ended),
        "counts": report.counts,
        "excluded": report.excluded,
        "stored": { "packs": report.written.packs, "bytes": report.written.stored },
        "continued": report.continued.iter().map(|continued| serde_json::json!({
            "session": continued.session.to_string(),
            "packs": continued.packs,
            "bytes": continued.bytes,
        })).collect::<Vec<_>>(),
        "errors": report.errors.iter().map(|(path, why)| serde_json::json!({
            "path": show::path_json(path),
            "message": why,
        })).collect::<Vec<_>>(),
        "requests": requests.total(),
    })
}

fn print(report: &BackupReport, dry_run: bool) -> Result<()> {
    let counts = &report.counts;
    if dry_run {
        return show::line(&format!(
            "Would back up {} files, {} folders and {} others: {}; {} items are left out",
            counts.files,
            counts.folders,
            counts.others,
            show::bytes(counts.bytes),
            report.excluded
        ));
    }
    show::line(&format!(
        "Files   {} new, {} changed, {} unmodified",
        counts.files_new, counts.files_changed, counts.files_unmodified
    ))?;
    show::line(&format!(
        "Read    {} of {}",
        show::bytes(counts.bytes_read),
        show::bytes(counts.bytes)
    ))?;
    show::line(&format!(
        "Added   {} ({} stored)",
        show::bytes(counts.bytes_new),
        show::bytes(report.written.stored)
    ))?;
    if counts.errors > 0 {
        show::line(&format!(
            "Errors  {} items could not be read, changed or vanished while they were read, or were stored in part",
            counts.errors
        ))?;
    }
    let took = show::duration(report.started, report.ended);
    match report.snapshot {
        Some(id) if report.interrupted => show::line(&format!(
            "Snapshot {} holds what was read until the interruption; the next backup goes on from it",
            id.short()
        )),
        Some(id) => show::line(&format!("Snapshot {} saved in {took}", id.short())),
        None => show::line(&format!(
            "Nothing has changed since snapshot {}; none was written",
            report.parent.map_or_else(String::new, |id| id.short())
        )),
    }
}
