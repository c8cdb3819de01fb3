//! Keys that never leave their holder: a recipient is let in, does what its role may, and is let out; and the recovery sheet of an own key.

use crate::home::{Home, Ran, noise};
use crate::trees;

fn with_snapshot() -> Home {
    let home = Home::with_repository();
    for number in 0..10u64 {
        home.write(&format!("source/{number}"), noise(number + 1, 20_000));
    }
    home.backup();
    home
}

/// Draws a key without a repository; gives its file and its recipient.
fn generate(home: &Home, name: &str) -> (String, String) {
    let file = home.path(name).to_str().unwrap().to_owned();
    let mut command = home.command();
    // Whoever draws it needs neither the repository nor a key to it.
    command.env_remove("ARARAT_REPOSITORY").env_remove("ARARAT_KEY_FILE");
    let ran = crate::home::run(command.args(["repo", "--json", "key", "generate", &file])).ends(0);
    let recipient = ran.json()["recipient"].as_str().unwrap().to_owned();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(
        text.contains(&recipient),
        "the holder finds it in the file again: {recipient}"
    );
    assert!(!ran.out.contains("ararat-key-1"), "{}", ran.out);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    (file, recipient)
}

/// Runs a verb with a key of one's own.
fn with_key(home: &Home, key: &str, arguments: &[&str]) -> Ran {
    home.repo([&["--key-file", key], arguments].concat())
}

#[test]
fn a_recipient_restores_until_its_slot_is_removed() {
    let home = with_snapshot();
    let source = home.source();
    let source = source.to_str().unwrap();
    let (key, recipient) = generate(&home, "reader.key");
    with_key(&home, &key, &["snapshots"])
        .ends(12)
        .says(&["opens none of the 1 key slots"]);
    let added = home.json([
        "key",
        "add",
        "--recipient",
        &recipient,
        "--role",
        "reader",
        "--label",
        "ann",
    ]);
    let slots = home.json(["key", "list"]);
    let slot = slots
        .as_array()
        .unwrap()
        .iter()
        .find(|slot| slot["slot"] == added["added"]);
    let slot = slot.unwrap_or_else(|| panic!("{added} {slots}"));
    for (field, value) in [("recipient", recipient.as_str()), ("role", "reader"), ("label", "ann")] {
        assert_eq!(slot[field], value, "{slot}");
    }

    let target = home.path("restored");
    let within = format!("latest:{source}");
    let restore = ["restore", &within, "--target", target.to_str().unwrap()];
    with_key(&home, &key, &restore).ends(0);
    trees::same(&home.source(), &target);
    for arguments in [
        &["backup", source][..],
        &["forget", "latest"],
        &["key", "add", "--recipient", &recipient],
    ] {
        with_key(&home, &key, arguments)
            .ends(1)
            .says(&["This needs the key of", "that of a reader", "key list"]);
    }
    assert_eq!(home.json(["snapshots"]).as_array().unwrap().len(), 1);

    // Its name's beginning is enough, as `key list` prints it for people.
    let name = slot["slot"].as_str().unwrap().trim_start_matches("keys/");
    let removed = home.json(["key", "remove", &name[..8]]);
    assert_eq!(removed["removed"], added["added"]);
    std::fs::remove_dir_all(&target).unwrap();
    for arguments in [&["snapshots"][..], &restore, &["backup", source]] {
        with_key(&home, &key, arguments)
            .ends(12)
            .says(&["opens none of the 1 key slots"]);
    }
    assert!(!target.exists());
    home.backup();
}

#[test]
fn a_writer_that_was_a_recipient_backs_up_and_an_owner_restores_it() {
    let home = with_snapshot();
    let (key, recipient) = generate(&home, "node.key");
    home.ok(["key", "add", "--recipient", &recipient, "--role", "writer"]);
    home.write("source/new", noise(50, 300_000));
    let source = home.source();
    let report = with_key(&home, &key, &["--json", "backup", source.to_str().unwrap()])
        .ends(0)
        .json();
    assert!(report["counts"]["bytes_new"].as_u64().unwrap() < 400_000, "{report}");
    // The slot goes, and what its holder wrote stays.
    let slots = home.json(["key", "list"]);
    let slots = slots.as_array().unwrap();
    let slot = slots.iter().find(|slot| slot["role"] == "writer").unwrap();
    home.ok(["key", "remove", slot["slot"].as_str().unwrap()]);
    home.ok(["key", "rotate"]);
    with_key(&home, &key, &["backup", source.to_str().unwrap()]).ends(12);
    let target = home.path("restored");
    let within = format!("latest:{}", source.display());
    home.ok(["restore", &within, "--target", target.to_str().unwrap()]);
    trees::same(&source, &target);
    assert_eq!(home.json(["check", "--read-data"])["healthy"], true);
}

#[test]
fn what_is_no_recipient_is_refused_and_the_key_in_use_is_not_removed() {
    let home = with_snapshot();
    let (key, recipient) = generate(&home, "key.of.somebody");
    let text = std::fs::read_to_string(&key).unwrap();
    let secret = text.lines().last().unwrap().to_owned();
    let mut mistyped = recipient.clone().into_bytes();
    mistyped[30] = if mistyped[30] == b'a' { b'b' } else { b'a' };
    let mistyped = String::from_utf8(mistyped).unwrap();
    // The key itself is no recipient: whoever mixes them up must not see it repeated.
    for wrong in ["", "somebody", &secret, &mistyped, &recipient[..40]] {
        let ran = home
            .repo(["key", "add", "--recipient", wrong, "--role", "reader"])
            .ends(2);
        assert!(wrong.len() < 10 || !ran.err.contains(wrong), "{}", ran.err);
    }
    home.repo(["key", "generate", &key])
        .ends(2)
        .says(&[&key, "is not written over"]);
    assert_eq!(std::fs::read_to_string(&key).unwrap(), text);
    let slots = home.json(["key", "list"]);
    assert_eq!(slots.as_array().unwrap().len(), 1, "{slots}");
    home.repo(["key", "remove", slots[0]["slot"].as_str().unwrap()])
        .ends(2)
        .says(&["in use"]);
    home.ok(["snapshots"]);
}

#[test]
fn the_sheet_that_init_writes_opens_the_repository_as_it_is_and_typed_in() {
    let mut home = Home::new();
    let [repository, key, sheet, target] =
        ["repository", "key", "sheet.txt", "restored"].map(|name| home.path(name).to_str().unwrap().to_owned());
    home.set("ARARAT_REPOSITORY", &repository);
    home.ok(["init", "--new-key", &key, "--recovery-sheet", &sheet]);
    home.write("source/file", noise(1, 50_000));
    let source = home.source();
    home.ok(["--key-file", &key, "backup", source.to_str().unwrap()]);
    std::fs::remove_file(&key).unwrap();
    let within = format!("latest:{}", source.display());

    let text = std::fs::read_to_string(&sheet).unwrap();
    assert!(text.contains(&repository), "{text}");
    // Typed in from the paper by somebody who leaves out what is no key, and cares little for case and space.
    let typed: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    let upper = format!("ararat-key-1{}", typed["ararat-key-1".len()..].to_uppercase());
    let spaced: String = typed.chars().filter(|letter| !letter.is_whitespace()).collect();
    for content in [&text, &typed, &upper, &spaced] {
        std::fs::write(&sheet, content).unwrap();
        with_key(&home, &sheet, &["restore", &within, "--target", &target]).ends(0);
        trees::same(&source, home.path("restored").as_path());
        std::fs::remove_dir_all(&target).unwrap();
    }
    // One wrong letter is found by the key's own sum, and said.
    let at = typed.len() - 10;
    let wrong = if &typed[at..=at] == "a" { "b" } else { "a" };
    std::fs::write(&sheet, format!("{}{wrong}{}", &typed[..at], &typed[at + 1..])).unwrap();
    let ran = with_key(&home, &sheet, &["snapshots"]);
    let ran = ran.ends(2);
    ran.says(&["holds no usable key"]);
    assert!(!ran.err.contains(&typed[20..]), "{}", ran.err);
}
