//! Words on foreign objects: labels and annotations that Ararat sets or obeys. Where Velero has one of the same meaning, it is obeyed as well, so that
//! nobody has to touch workloads to change over. And the name by which an installation is known.

use std::collections::BTreeMap;

/// The Deployment of the controller and its ServiceAccount, in the namespace of each Ararat.
pub const CONTROLLER: &str = "ararat-controller";
/// Label: never back this object up, when `true`.
pub const EXCLUDE: &str = "ararat.dev/exclude-from-backup";
/// Label on what a restore has made: the Backup's name.
pub const BACKUP_NAME: &str = "ararat.dev/backup-name";
/// Label on what a restore has made: the Restore's name.
pub const RESTORE_NAME: &str = "ararat.dev/restore-name";
/// Annotation on what a restore has made: the Restore's UID, which tells its own from what was there.
pub const RESTORE_UID: &str = "ararat.dev/restore-uid";
/// Annotation on a claim that a restore has made and that has not got its data yet: the UID of the Restore that fills it. It goes when the data is there.
pub const AWAITS_DATA: &str = "ararat.dev/awaits-data";
/// Label on what belongs to a Backup: its UID.
pub const BACKUP_UID: &str = "ararat.dev/backup-uid";
/// Label on a Backup: the Schedule that made it.
pub const SCHEDULE_NAME: &str = "ararat.dev/schedule-name";
/// Label on Backups and what belongs to them: the location's name.
pub const LOCATION: &str = "ararat.dev/storage-location";
/// Label on holder pods: what they hold a claim for.
pub const HOLDER: &str = "ararat.dev/holder";
/// Annotation on a pod: volumes that are backed up, comma-separated.
pub const VOLUMES: &str = "ararat.dev/backup-volumes";
/// Annotation on a pod: volumes that are not backed up, comma-separated.
pub const VOLUMES_EXCLUDED: &str = "ararat.dev/backup-volumes-excludes";
/// Annotation on any object: whether its status is restored, `true` or `false`.
pub const RESTORE_STATUS: &str = "ararat.dev/restore-status";

/// Velero's labels and annotations of the same meaning.
const ALIASES: &[(&str, &str)] = &[
    (EXCLUDE, "velero.io/exclude-from-backup"),
    (VOLUMES, "backup.velero.io/backup-volumes"),
    (VOLUMES_EXCLUDED, "backup.velero.io/backup-volumes-excludes"),
    (RESTORE_STATUS, "velero.io/restore-status"),
];

/// The value of one of our words among labels or annotations; Velero's word counts where ours is missing.
pub fn value<'a>(among: Option<&'a BTreeMap<String, String>>, word: &str) -> Option<&'a str> {
    let among = among?;
    let alias = ALIASES.iter().find(|(ours, _)| *ours == word).map(|(_, alias)| *alias);
    let found = among.get(word).or_else(|| among.get(alias?));
    found.map(String::as_str)
}

/// Whether an object's labels say that it is never backed up.
pub fn is_excluded(labels: Option<&BTreeMap<String, String>>) -> bool {
    value(labels, EXCLUDE) == Some("true")
}

/// A value that may be a label: what is too long is cut, and a digest of the whole takes the place of the rest.
pub fn label_value(text: &str) -> String {
    let plain = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
            && text.bytes().next().is_none_or(|byte| byte.is_ascii_alphanumeric())
            && text.bytes().last().is_none_or(|byte| byte.is_ascii_alphanumeric())
    };
    if text.len() <= 63 && plain(text) {
        return text.to_owned();
    }
    let head: String = text.chars().filter(char::is_ascii_alphanumeric).take(46).collect();
    format!("{head}-{:016x}", digest(text.as_bytes()))
}

/// A name for an object that belongs to another: `<owner>-<16 digits>`, at most 253 bytes, the same for the same parts.
pub fn derived_name(owner: &str, parts: &[&str]) -> String {
    let mut bytes = owner.as_bytes().to_vec();
    for part in parts {
        bytes.push(0);
        bytes.extend_from_slice(part.as_bytes());
    }
    let head: String = owner.chars().take(200).collect();
    format!("{head}-{:016x}", digest(&bytes))
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo): names need to differ, not to be secret.
fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn veleros_words_count_where_ours_are_missing() {
        let map = |pairs: &[(&str, &str)]| {
            let pairs = pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            pairs.collect::<BTreeMap<_, _>>()
        };
        assert!(is_excluded(Some(&map(&[("velero.io/exclude-from-backup", "true")]))));
        assert!(!is_excluded(Some(&map(&[
            ("velero.io/exclude-from-backup", "true"),
            (EXCLUDE, "false")
        ]))));
        assert!(!is_excluded(None));
    }

    #[test]
    fn labels_fit_and_differ() {
        assert_eq!(label_value("nginx-backup"), "nginx-backup");
        let (one, two) = (label_value(&"a".repeat(80)), label_value(&"a".repeat(81)));
        assert!(one.len() == 63 && two.len() == 63 && one != two);
        assert_ne!(derived_name("a", &["b", "c"]), derived_name("a", &["bc"]));
    }
}
