//! The difference between two statuses as a JSON merge patch (RFC 7386): what is gone is said to be gone, and what is the same is not said.

use serde::Serialize;
use serde_json::{Map, Value};

/// The merge patch that makes `after` of `before`; none when they are the same.
pub fn patch<S: Serialize>(before: &S, after: &S) -> Option<Value> {
    let (before, after) = (serde_json::to_value(before).ok()?, serde_json::to_value(after).ok()?);
    difference(&before, &after)
}

fn difference(before: &Value, after: &Value) -> Option<Value> {
    if before == after {
        return None;
    }
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return Some(after.clone());
    };
    let mut changes = Map::new();
    for (name, value) in after {
        match before.get(name) {
            Some(known) => changes.extend(difference(known, value).map(|change| (name.clone(), change))),
            None => changes.extend(Some((name.clone(), value.clone()))),
        }
    }
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    changes.extend(gone.map(|name| (name.clone(), Value::Null)));
    Some(Value::Object(changes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn patches_name_what_differs_and_take_away_what_is_gone() {
        let cases = [
            (json!({}), json!({}), None),
            (json!({"a": 1}), json!({"a": 2}), Some(json!({"a": 2}))),
            (json!({"a": 1, "b": 1}), json!({"b": 1}), Some(json!({"a": null}))),
            (
                json!({"last": {"started": 1, "completed": 2}}),
                json!({"last": {"started": 3}}),
                Some(json!({"last": {"started": 3, "completed": null}})),
            ),
            (
                json!({"list": [1, 2]}),
                json!({"list": [2]}),
                Some(json!({"list": [2]})),
            ),
            (json!({}), json!({"a": {"b": []}}), Some(json!({"a": {"b": []}}))),
        ];
        for (before, after, expected) in cases {
            assert_eq!(patch(&before, &after), expected, "{before} {after}");
        }
    }
}
