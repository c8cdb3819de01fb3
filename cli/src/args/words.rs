//! The words of the command line before they are parsed: which program is meant by the name it was called by, and the verb before its noun.

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Nouns that may follow their verb, and the family each of them is.
const NOUNS: &[(&str, &str)] = &[
    ("backup", "backup"),
    ("backups", "backup"),
    ("restore", "restore"),
    ("restores", "restore"),
    ("schedule", "schedule"),
    ("schedules", "schedule"),
    ("backup-location", "backup-location"),
    ("backup-locations", "backup-location"),
];

/// Verbs that may come before their noun.
const VERBS: &[&str] = &[
    "create", "get", "describe", "logs", "delete", "download", "cancel", "pause", "unpause",
];

/// Flags of a cluster that may come before everything, as kubectl's may; their values follow them.
const CLUSTER_FLAGS: &[&str] = &["-n", "--namespace", "--kubeconfig", "--context"];

/// `ararat get backups` means `ararat backup get`, and `ararat --context test backup get` means `ararat backup --context test get`.
pub fn arranged(words: Vec<OsString>) -> Vec<OsString> {
    let mut words = words.into_iter().peekable();
    let (mut before, mut flags) = (Vec::new(), Vec::new());
    before.extend(words.next());
    while let Some(flag) = words.next_if(|word| word.to_string_lossy().starts_with('-')) {
        let text = flag.to_string_lossy().into_owned();
        if CLUSTER_FLAGS.contains(&text.as_str()) {
            flags.push(flag);
            flags.extend(words.next());
        } else if CLUSTER_FLAGS.iter().any(|name| text.starts_with(&format!("{name}="))) {
            flags.push(flag);
        } else {
            before.push(flag);
        }
    }
    let mut rest: Vec<OsString> = words.collect();
    let word = |place: usize| rest.get(place).and_then(|word| word.to_str());
    let noun = NOUNS
        .iter()
        .find(|(noun, _)| Some(*noun) == word(1))
        .map(|(_, family)| *family);
    if let (Some(true), Some(noun)) = (word(0).map(|verb| VERBS.contains(&verb)), noun) {
        rest.swap(0, 1);
        rest[0] = noun.into();
    }
    let family = rest.len().min(1);
    before.extend(rest.drain(..family));
    before.extend(flags);
    before.extend(rest);
    before
}

/// What help calls the program: as a plugin of kubectl it is `kubectl ararat`.
pub fn program(called: Option<&OsStr>) -> &'static str {
    let name = called.and_then(|path| Path::new(path).file_name());
    if name.is_some_and(|name| name == "kubectl-ararat") {
        "kubectl ararat"
    } else {
        "ararat"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(words: &str) -> String {
        let arranged = arranged(words.split(' ').map(OsString::from).collect());
        arranged
            .iter()
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn a_verb_may_come_before_its_noun() {
        assert_eq!(said("ararat get backups -o wide"), "ararat backup get -o wide");
        assert_eq!(
            said("ararat create restore --from-backup x"),
            "ararat restore create --from-backup x"
        );
        assert_eq!(
            said("ararat describe backup-location x"),
            "ararat backup-location describe x"
        );
        assert_eq!(
            said("ararat -n a --context=b get backups -o c"),
            "ararat backup -n a --context=b get -o c"
        );
        assert_eq!(
            said("ararat -v --kubeconfig f version"),
            "ararat -v version --kubeconfig f"
        );
        for other in [
            "ararat -q repo -r x init",
            "ararat --help",
            "ararat -n",
            "ararat backup get",
            "ararat repo backup .",
            "ararat",
            "ararat get",
            "ararat get nodes",
        ] {
            assert_eq!(said(other), other);
        }
    }

    #[test]
    fn a_plugin_of_kubectl_is_called_so() {
        assert_eq!(program(Some(OsStr::new("/usr/bin/kubectl-ararat"))), "kubectl ararat");
        assert_eq!(
            (program(Some(OsStr::new("ararat"))), program(None)),
            ("ararat", "ararat")
        );
    }
}
