//! The whole program on the same bytes: `ararat repo backup` into a new repository.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// What a command took.
pub struct Cost {
    pub wall_s: f64,
    pub cpu_s: f64,
}

/// Makes a repository (not measured) and backs up `path` into it.
pub fn first_backup(path: &Path) -> Cost {
    let release = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/ararat");
    let program = std::env::var_os("ARARAT").map_or(release, PathBuf::from);
    assert!(
        program.exists(),
        "{} is missing: cargo build --release",
        program.display()
    );
    let room = tempfile::tempdir_in(std::env::var_os("ROOFLINE_DIR").unwrap_or_else(|| "/var/tmp".into())).unwrap();
    let key = room.path().join("key");
    let run = |arguments: &[&Path]| {
        let mut command = Command::new(&program);
        command
            .args(["repo", "-q"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command.env("ARARAT_REPOSITORY", room.path().join("repository"));
        command
            .env("ARARAT_CACHE_DIR", room.path().join("cache"))
            .env_remove("ARARAT_PASSWORD");
        assert!(command.status().unwrap().success(), "{command:?}");
    };
    run(&["init".as_ref(), "--new-key".as_ref(), &key]);
    let begun = (Instant::now(), children_cpu_s());
    run(&["backup".as_ref(), "--key-file".as_ref(), &key, path]);
    Cost {
        wall_s: begun.0.elapsed().as_secs_f64(),
        cpu_s: children_cpu_s() - begun.1,
    }
}

/// CPU seconds of the children that were waited for: fields 16 and 17 of the system's word on this process, in hundredths.
fn children_cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    [fields[13], fields[14]]
        .iter()
        .map(|ticks| ticks.parse::<f64>().unwrap() / 100.0)
        .sum()
}
