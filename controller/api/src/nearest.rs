//! Which of the names that there are were perhaps meant by one that is not there.

/// So many names are offered at most.
const OFFERED: usize = 3;

/// The names that are nearest to `wanted`, the nearest first; those that have nothing in common with it are left out.
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let near = |name: &&str| {
        let distance = distance(wanted, name);
        let longest = wanted.chars().count().max(name.chars().count());
        // Half of it must be right; whoever gives the beginning of a name means it.
        (distance * 2 <= longest || (!wanted.is_empty() && name.starts_with(wanted))).then_some(distance)
    };
    let mut found: Vec<(usize, &str)> = Vec::new();
    for name in names {
        if let Some(distance) = near(&name) {
            found.push((distance, name));
        }
    }
    found.sort_unstable();
    found.dedup();
    found.into_iter().take(OFFERED).map(|(_, name)| name).collect()
}

/// The end of a sentence about a name that is not there: `; perhaps a, b or c was meant`, or nothing.
pub fn hint<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(wanted, names).as_slice() {
        [] => String::new(),
        [one] => format!("; perhaps {one} was meant"),
        [first @ .., last] => format!("; perhaps {} or {last} was meant", first.join(", ")),
    }
}

/// How many letters must be put in, taken out or replaced to make one text of the other (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (place, letter) in left.chars().enumerate() {
        let mut diagonal = place;
        if let Some(first) = row.first_mut() {
            *first = place + 1;
        }
        for (column, other) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_letters() {
        for (left, right, letters) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("kitten", "sitting", 3),
            ("é", "e", 1),
        ] {
            assert_eq!(distance(left, right), letters, "{left} {right}");
            assert_eq!(distance(right, left), letters, "{right} {left}");
        }
    }

    #[test]
    fn the_nearest_names_come_first_and_strangers_not_at_all() {
        let names = ["nginx-backup", "nginx-backup-2", "postgres", "nightly-20261123040506"];
        assert_eq!(nearest("ngimx-backup", names), ["nginx-backup", "nginx-backup-2"]);
        assert_eq!(nearest("nightly", names), ["nightly-20261123040506"]);
        assert!(nearest("mysql", names).is_empty());
        assert_eq!(hint("postgre", names), "; perhaps postgres was meant");
        assert_eq!(
            hint("nginx-backup-1", names),
            "; perhaps nginx-backup-2 or nginx-backup was meant"
        );
        assert_eq!(hint("", names), "");
    }
}
