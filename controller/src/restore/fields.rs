//! Fields of objects as JSON: read, set and removed by their path. Objects stay JSON all the way, so that nothing is lost that this program does not know.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A text at a JSON pointer.
pub fn text<'v>(object: &'v Value, path: &str) -> Option<&'v str> {
    object.pointer(path)?.as_str()
}

/// Whether there is a `true` at a JSON pointer.
pub fn is_true(object: &Value, path: &str) -> bool {
    object.pointer(path).and_then(Value::as_bool) == Some(true)
}

/// A map of texts at a JSON pointer, e.g. labels.
pub fn texts(object: &Value, path: &str) -> BTreeMap<String, String> {
    let pairs = object.pointer(path).and_then(Value::as_object).into_iter().flatten();
    pairs
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// The items of a list at a JSON pointer; none when there is no list.
pub fn items<'v>(object: &'v Value, path: &str) -> impl Iterator<Item = &'v Value> {
    object.pointer(path).and_then(Value::as_array).into_iter().flatten()
}

/// The items of a list at a JSON pointer, to be changed.
pub fn items_mut<'v>(object: &'v mut Value, path: &str) -> impl Iterator<Item = &'v mut Value> {
    object
        .pointer_mut(path)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

/// An object at a JSON pointer, to be changed.
pub fn map_mut<'v>(object: &'v mut Value, path: &str) -> Option<&'v mut Map<String, Value>> {
    object.pointer_mut(path)?.as_object_mut()
}

/// Takes out what is at a JSON pointer.
pub fn remove(object: &mut Value, path: &str) -> Option<Value> {
    let (parent, key) = path.rsplit_once('/')?;
    map_mut(object, parent)?.remove(&key.replace("~1", "/").replace("~0", "~"))
}

/// Takes out several fields.
pub fn remove_all(object: &mut Value, paths: &[&str]) {
    for path in paths {
        remove(object, path);
    }
}

/// Takes out a map or list if there is nothing in it.
pub fn remove_empty(object: &mut Value, path: &str) {
    let empty = match object.pointer(path) {
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Null) => true,
        _ => false,
    };
    if empty {
        remove(object, path);
    }
}

/// Keeps the items of a list that are wanted; a list that is left empty goes.
pub fn retain(object: &mut Value, path: &str, wanted: impl FnMut(&Value) -> bool) {
    if let Some(list) = object.pointer_mut(path).and_then(Value::as_array_mut) {
        list.retain(wanted);
        if list.is_empty() {
            remove(object, path);
        }
    }
}

/// Puts a value at a path of keys, and makes what is missing on the way.
pub fn set(object: &mut Value, keys: &[&str], value: Value) {
    let mut place = object;
    for key in keys {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        let Some(map) = place.as_object_mut() else { return };
        place = map.entry(*key).or_insert(Value::Null);
    }
    *place = value;
}

/// An annotation.
pub fn annotation<'v>(object: &'v Value, name: &str) -> Option<&'v str> {
    object.pointer("/metadata/annotations")?.get(name)?.as_str()
}

/// A label.
pub fn label<'v>(object: &'v Value, name: &str) -> Option<&'v str> {
    object.pointer("/metadata/labels")?.get(name)?.as_str()
}

/// Takes out annotations.
pub fn remove_annotations(object: &mut Value, names: &[&str]) {
    if let Some(annotations) = map_mut(object, "/metadata/annotations") {
        annotations.retain(|name, _| !names.contains(&name.as_str()));
    }
    remove_empty(object, "/metadata/annotations");
}

/// The name of an object.
pub fn name(object: &Value) -> &str {
    text(object, "/metadata/name").unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_set_and_removed_by_their_paths() {
        let mut object = json!({ "metadata": { "annotations": { "a/b": "1", "c": "2" } }, "spec": { "list": [1, 2] } });
        remove(&mut object, "/metadata/annotations/a~1b");
        assert_eq!(annotation(&object, "c"), Some("2"));
        remove_annotations(&mut object, &["c"]);
        assert_eq!(object["metadata"], json!({}));
        set(&mut object, &["metadata", "labels", "x"], json!("y"));
        assert_eq!(label(&object, "x"), Some("y"));
        retain(&mut object, "/spec/list", |item| item == &json!(3));
        assert_eq!(object["spec"], json!({}));
        assert_eq!(remove(&mut object, "/no/thing"), None);
    }
}
