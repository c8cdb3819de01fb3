//! Whose a restored file becomes: by number, or by name where the numbers of two machines differ. Pure.

use std::collections::HashMap;

/// Replaces numbers of the snapshot by numbers of this machine. What is not in a map stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnerMap {
    /// Users: number in the snapshot → number here.
    pub users: HashMap<u32, u32>,
    /// Groups: number in the snapshot → number here.
    pub groups: HashMap<u32, u32>,
}

impl OwnerMap {
    /// Maps by name: `recorded` are the snapshot's numbers and names, `local` the machine's names and numbers.
    /// Names that this machine does not know keep their number.
    pub fn by_name(
        recorded_users: &[(u32, Vec<u8>)],
        local_users: &HashMap<Vec<u8>, u32>,
        recorded_groups: &[(u32, Vec<u8>)],
        local_groups: &HashMap<Vec<u8>, u32>,
    ) -> Self {
        let map = |recorded: &[(u32, Vec<u8>)], local: &HashMap<Vec<u8>, u32>| {
            recorded
                .iter()
                .filter_map(|(number, name)| local.get(name).map(|here| (*number, *here)))
                .filter(|(number, here)| number != here)
                .collect()
        };
        Self {
            users: map(recorded_users, local_users),
            groups: map(recorded_groups, local_groups),
        }
    }

    /// The user's number here.
    pub fn user(&self, recorded: u32) -> u32 {
        self.users.get(&recorded).copied().unwrap_or(recorded)
    }

    /// The group's number here.
    pub fn group(&self, recorded: u32) -> u32 {
        self.groups.get(&recorded).copied().unwrap_or(recorded)
    }
}

/// Reads names and numbers from the text of `/etc/passwd` or `/etc/group`. Lines that are neither are passed over; the first of a name counts.
pub fn parse_names(text: &[u8]) -> HashMap<Vec<u8>, u32> {
    let mut names = HashMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b':');
        let (Some(name), Some(_), Some(number)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let Some(number) = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok()) else {
            continue;
        };
        if !name.is_empty() {
            names.entry(name.to_vec()).or_insert(number);
        }
    }
    names
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn owners_are_mapped_by_name_and_strangers_keep_their_number() {
        let local = parse_names(
            b"root:x:0:0:root:/root:/bin/sh\nanna:x:1005:1005::/home/anna:/bin/sh\n# comment\nbad:x:what\nanna:x:7:7\n",
        );
        assert_eq!(local.len(), 2);
        let map = OwnerMap::by_name(
            &[
                (0, b"root".to_vec()),
                (1000, b"anna".to_vec()),
                (1001, b"otto".to_vec()),
            ],
            &local,
            &[],
            &HashMap::new(),
        );
        assert_eq!(
            (map.user(0), map.user(1000), map.user(1001), map.group(5)),
            (0, 1005, 1001, 5)
        );
    }
}
