//! Conditions: what is the case with an object, why, and since when.

pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

/// What is said of one condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said<'a> {
    /// Its type, e.g. `Ready`.
    pub kind: &'a str,
    /// Whether it is so.
    pub holds: bool,
    /// Why, in one CamelCase word.
    pub reason: &'a str,
    /// Why, for people.
    pub message: String,
    /// The generation of the object that this was said of.
    pub generation: Option<i64>,
}

/// Sets one condition among others; the time of its last change stays unless its status changes.
pub fn set(conditions: &mut Vec<Condition>, said: &Said<'_>, now: Timestamp) {
    let status = if said.holds { "True" } else { "False" };
    let before = conditions.iter().position(|condition| condition.type_ == said.kind);
    let since = before
        .and_then(|place| conditions.get(place))
        .filter(|condition| condition.status == status)
        .map_or(Time(now), |condition| condition.last_transition_time.clone());
    let condition = Condition {
        last_transition_time: since,
        message: said.message.clone(),
        observed_generation: said.generation,
        reason: said.reason.to_owned(),
        status: status.to_owned(),
        type_: said.kind.to_owned(),
    };
    match before.and_then(|place| conditions.get_mut(place)) {
        Some(place) => *place = condition,
        None => conditions.push(condition),
    }
}

/// What is said of one kind.
pub fn find<'c>(conditions: impl IntoIterator<Item = &'c Condition>, kind: &str) -> Option<&'c Condition> {
    conditions.into_iter().find(|condition| condition.type_ == kind)
}

/// Whether it is said that one holds.
pub fn holds<'c>(conditions: impl IntoIterator<Item = &'c Condition>, kind: &str) -> bool {
    find(conditions, kind).is_some_and(|condition| condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_change_moves_only_with_the_status() {
        let at = |second| Timestamp::from_second(second).unwrap_or_default();
        let said = |holds, reason| Said {
            kind: "Ready",
            holds,
            reason,
            message: String::new(),
            generation: Some(1),
        };
        let mut conditions = Vec::new();
        set(&mut conditions, &said(false, "Waiting"), at(1));
        set(&mut conditions, &said(false, "StillWaiting"), at(2));
        assert_eq!(conditions[0].last_transition_time.0, at(1));
        assert_eq!(conditions[0].reason, "StillWaiting");
        set(&mut conditions, &said(true, "Done"), at(3));
        assert_eq!((conditions.len(), conditions[0].last_transition_time.0), (1, at(3)));
    }
}
