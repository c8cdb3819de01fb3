//! Keys on the command line: none is lost between its drawing and its repository, the right one is taken, and a writer sees what is unchanged.

use std::path::PathBuf;

use serde_json::Value;

use crate::home::{Home, noise, run};
use crate::trees;

/// A home that has backed up into the embedded default repository.
fn with_default() -> Home {
    let home = Home::new();
    home.write("source/file", noise(1, 5000));
    home.backup();
    home
}

fn places(home: &Home) -> [PathBuf; 3] {
    [
        "config/ararat/repository.key",
        "config/ararat/recovery-sheet.txt",
        "data/ararat/repository",
    ]
    .map(|name| home.path(name))
}

fn renamed(path: &std::path::Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Everything is as after a first use that nobody disturbed: key, sheet, and a repository that both open.
#[track_caller]
fn assert_whole(home: &Home, snapshots: usize) {
    let [key, sheet, repository] = places(home);
    assert!(key.exists() && sheet.exists());
    assert!(!renamed(&key).exists() && !renamed(&sheet).exists());
    for file in [&key, &sheet] {
        let arguments = [
            "-r",
            repository.to_str().unwrap(),
            "--key-file",
            file.to_str().unwrap(),
            "snapshots",
        ];
        let found = run(home.command().args(["repo", "--json"]).args(arguments))
            .ends(0)
            .json();
        assert_eq!(
            found
                .as_array()
                .map_or_else(|| found["snapshots"].as_array().unwrap().len(), Vec::len),
            snapshots
        );
    }
    let text = std::fs::read_to_string(&sheet).unwrap();
    assert!(text.contains(repository.to_str().unwrap()), "{text}");
}

/// Killed between any two of its steps, a first use is finished by the next one. It used to write the key after the repository: killed in between,
/// nobody could ever open it.
#[test]
fn a_first_use_that_was_killed_is_finished_by_the_next() {
    // The key was cut short while it was written, and nothing else is there.
    let home = Home::new();
    let [key, ..] = places(&home);
    home.write("source/file", noise(1, 5000));
    home.write("config/ararat/repository.key.new", "# A key to the Ara");
    home.backup();
    assert_whole(&home, 1);

    // Key, half a sheet, and perhaps a slot were written; there is no `config` yet.
    for has_slot in [true, false] {
        let home = with_default();
        let [key, sheet, repository] = places(&home);
        let text = std::fs::read(&key).unwrap();
        std::fs::rename(&key, renamed(&key)).unwrap();
        std::fs::rename(&sheet, renamed(&sheet)).unwrap();
        std::fs::write(renamed(&sheet), "# Ararat rec").unwrap();
        if has_slot {
            for folder in ["config", "s", "p"] {
                let path = repository.join(folder);
                let _ = std::fs::remove_file(&path);
                let _ = std::fs::remove_dir_all(&path);
            }
        } else {
            std::fs::remove_dir_all(&repository).unwrap();
        }
        home.backup();
        assert_whole(&home, 1);
        assert_eq!(std::fs::read(&key).unwrap(), text);
    }

    // The repository was made; neither file, or the sheet alone, has its name.
    for named in [0, 1] {
        let home = with_default();
        let [key, sheet, _] = places(&home);
        std::fs::rename(&key, renamed(&key)).unwrap();
        if named == 0 {
            std::fs::rename(&sheet, renamed(&sheet)).unwrap();
            // Whatever is asked first finds the key.
            home.ok(["snapshots"]);
            home.backup();
            assert_whole(&home, 2);
        } else {
            home.ok(["snapshots"]);
        }
    }
    assert!(key.exists());
}

/// The folder for the key cannot be written: then there is no repository either.
#[test]
fn no_repository_is_made_whose_key_cannot_be_kept() {
    let home = Home::new();
    home.write("source/file", "content");
    home.write("config", "a file where the folder should be");
    let source = home.source();
    home.repo(["backup".as_ref(), source.as_os_str()])
        .ends(1)
        .says(&["repository.key.new"]);
    let [_, _, repository] = places(&home);
    assert!(!repository.join("config").exists());
    let key = home.path("config/key");
    let arguments = [
        "init",
        "-r",
        home.path("other").to_str().unwrap(),
        "--new-key",
        key.to_str().unwrap(),
    ]
    .map(str::to_owned);
    home.repo(arguments).ends(1);
    assert!(!home.path("other/config").exists());
}

/// A key whose repository has gone (a disk that is not mounted, say) is neither written over nor taken for a new repository.
#[test]
fn a_key_without_its_repository_makes_no_other_one() {
    let home = with_default();
    let [key, sheet, repository] = places(&home);
    let before = [&key, &sheet].map(|path| std::fs::read(path).unwrap());
    std::fs::rename(&repository, home.path("elsewhere")).unwrap();
    let source = home.source();
    home.repo(["backup".as_ref(), source.as_os_str()]).ends(10);
    home.repo(["init"]).ends(2).says(&["is not written over"]);
    assert_eq!([&key, &sheet].map(|path| std::fs::read(path).unwrap()), before);
    std::fs::rename(home.path("elsewhere"), &repository).unwrap();
    assert_whole(&home, 1);
}

#[test]
fn an_unfinished_key_is_not_taken_for_another_place() {
    let home = Home::new();
    let key = home.path("key");
    let init = |place: &str| {
        let place = home.path(place);
        home.repo(
            [
                "init",
                "-r",
                place.to_str().unwrap(),
                "--new-key",
                key.to_str().unwrap(),
            ]
            .map(str::to_owned),
        )
    };
    init("one").ends(0);
    std::fs::rename(&key, renamed(&key)).unwrap();
    init("two").ends(2).says(&["key.new", "another place"]);
    init("one").ends(0);
    assert!(key.exists() && !home.path("two/config").exists());
}

/// Where key and sheet are is said however little was asked to be said, and never in the way of a document.
#[test]
fn the_first_use_always_says_where_the_key_is() {
    for flag in ["-q", "--json"] {
        let home = Home::new();
        home.write("source/file", "content");
        let source = home.source();
        let ran = home.ok([flag.as_ref(), "backup".as_ref(), source.as_os_str()]);
        let [key, sheet, _] = places(&home);
        ran.says(&[key.to_str().unwrap(), sheet.to_str().unwrap()]);
        match flag {
            "--json" => drop(ran.json()),
            _ => assert_eq!(ran.out, ""),
        }
    }
}

/// First whether there is a repository, then whether there is a key, then whose it is.
#[test]
fn the_first_thing_that_is_wrong_is_said() {
    let home = Home::with_repository();
    let nowhere = home.path("nowhere");
    for verb in ["snapshots", "check"] {
        run(home.command().args(["repo", "-r", nowhere.to_str().unwrap(), verb])).ends(10);
        run(home
            .command()
            .env_remove("ARARAT_KEY_FILE")
            .args(["repo", "-r", nowhere.to_str().unwrap(), verb]))
        .ends(10);
        run(home.command().env_remove("ARARAT_KEY_FILE").args(["repo", verb]))
            .ends(2)
            .says(&["No key was given"]);
    }
    let other = Home::with_repository();
    let key = other.path("key");
    home.repo(["--key-file".as_ref(), key.as_os_str(), "snapshots".as_ref()])
        .ends(12);
}

#[test]
fn a_flag_comes_before_the_environment() {
    let mut home = Home::with_repository();
    let (password, wrong) = (home.write("password", "mine"), home.write("wrong", "not mine"));
    let key = home.path("key");
    let add = ["key", "add", "--new-password-file", password.to_str().unwrap()].map(str::to_owned);
    home.ok(add);
    let opened_by = |home: &Home, arguments: &[&str]| {
        let found: Value = run(home
            .command()
            .args(["repo", "--json"])
            .args(arguments)
            .args(["key", "list"]))
        .ends(0)
        .json();
        let slots = found.as_array().unwrap();
        slots.iter().find(|slot| slot["current"] == true).unwrap()["kind"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(opened_by(&home, &[]), "key");
    assert_eq!(
        opened_by(&home, &["--password-file", password.to_str().unwrap()]),
        "password"
    );
    assert_eq!(opened_by(&home, &["--password-command", "echo mine"]), "password");
    home.set("ARARAT_PASSWORD", "not mine");
    home.unset("ARARAT_KEY_FILE");
    assert_eq!(
        opened_by(&home, &["--password-file", password.to_str().unwrap()]),
        "password"
    );
    assert_eq!(opened_by(&home, &["--key-file", key.to_str().unwrap()]), "key");
    home.repo(["--password-file", wrong.to_str().unwrap(), "snapshots"].map(str::to_owned))
        .ends(12);
    home.repo(["snapshots"]).ends(12);
}

#[test]
fn a_key_in_use_has_no_password_to_change() {
    let home = Home::with_repository();
    let password = home.write("password", "new");
    home.repo(["key", "passwd", "--new-password-file", password.to_str().unwrap()].map(str::to_owned))
        .ends(2)
        .says(&["key add"]);
    home.ok(["snapshots"]);
}

/// A writer reads nothing of the repository, and yet its second backup reads nothing of what is unchanged: by the volume key of its source.
#[test]
fn a_writers_second_backup_reads_nothing() {
    let home = Home::with_repository();
    for number in 0..20u64 {
        home.write(&format!("source/{number}"), noise(number + 1, 20_000));
    }
    trees::settle();
    let writer = home.path("writer");
    home.ok(["key", "add", "--role", "writer", "--new-key", writer.to_str().unwrap()].map(str::to_owned));
    let back_up = |more: &[&str]| -> Value {
        let source = home.source();
        let mut arguments = vec![
            "--json",
            "--key-file",
            writer.to_str().unwrap(),
            "backup",
            source.to_str().unwrap(),
        ];
        arguments.extend(more);
        home.ok(arguments).json()
    };
    let read = |report: &Value| report["counts"]["bytes_read"].as_u64().unwrap();
    back_up(&["--dry-run"]);
    assert!(!home.path("config/ararat/volumes").exists());
    let first = back_up(&[]);
    assert_eq!(read(&first), 400_000);
    let second = back_up(&[]);
    assert_eq!((read(&second), &second["parent"]), (0, &first["snapshot"]));
    let kept: Vec<_> = std::fs::read_dir(home.path("config/ararat/volumes")).unwrap().collect();
    assert_eq!(kept.len(), 1);

    // A file of one's own choice, in the place of that one.
    let file = home.path("volume-key");
    let named = ["--volume-key-file", file.to_str().unwrap()];
    assert_eq!(read(&back_up(&named)), 400_000);
    assert_eq!(read(&back_up(&named)), 0);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    std::fs::write(&file, "no key").unwrap();
    let source = home.source();
    let mut arguments = vec![
        "--key-file",
        writer.to_str().unwrap(),
        "backup",
        source.to_str().unwrap(),
    ];
    arguments.extend(named);
    home.repo(arguments).ends(2).says(&["holds no volume key"]);
}
