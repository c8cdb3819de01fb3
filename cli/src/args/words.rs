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

/// `ararat get backups` means `ararat backup get`.
pub fn arranged(mut words: Vec<OsString>) -> Vec<OsString> {
    let word = |place: usize| words.get(place).and_then(|word| word.to_str());
    let noun = NOUNS
        .iter()
        .find(|(noun, _)| Some(*noun) == word(2))
        .map(|(_, family)| *family);
    if let (Some(verb), Some(noun)) = (word(1).filter(|verb| VERBS.contains(verb)), noun) {
        let verb = verb.to_owned();
        words[1] = noun.into();
        words[2] = verb.into();
    }
    words
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
        for other in [
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
