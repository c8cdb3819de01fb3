//! Objects of a cluster as programs want them: JSON, YAML, names. Secrets are printed as they are, for whoever asks for them.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::show;
use crate::args::output::Format;

/// Prints objects, unless a table is wanted; says whether it did.
pub fn print(objects: &[Value], format: Format, is_list: bool) -> Result<bool> {
    let plain: Vec<Value> = objects.iter().cloned().map(without_managed_fields).collect();
    let whole = || match (is_list, plain.as_slice()) {
        (false, [one]) => one.clone(),
        _ => json!({ "apiVersion": "v1", "kind": "List", "items": plain }),
    };
    match format {
        Format::Table | Format::Wide => return Ok(false),
        Format::Json => show::line(&serde_json::to_string_pretty(&whole())?)?,
        Format::Yaml => show::line(yaml(&whole())?.trim_end())?,
        Format::Name => plain.iter().try_for_each(|object| show::line(&name(object)))?,
    }
    Ok(true)
}

/// `backup.ararat.dev/nginx-backup`.
pub fn name(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = text(&object["kind"]).to_ascii_lowercase();
    let version = text(&object["apiVersion"]);
    let name = text(&object["metadata"]["name"]);
    match version.split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{name}"),
        None => format!("{kind}/{name}"),
    }
}

/// Who owns which field is nobody's question here.
fn without_managed_fields(mut object: Value) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    object
}

/// One document.
pub fn yaml(object: &Value) -> Result<String> {
    serde_saphyr::to_string(object).context("Could not write YAML")
}

/// Several documents, as `kubectl apply` reads them.
pub fn yaml_documents(objects: &[Value]) -> Result<String> {
    let documents = objects.iter().map(yaml).collect::<Result<Vec<_>>>()?;
    Ok(documents
        .iter()
        .map(|document| format!("---\n{}\n", document.trim_end()))
        .collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_kubectl() {
        let backup = json!({ "apiVersion": "ararat.dev/v1alpha1", "kind": "Backup", "metadata": { "name": "nginx" } });
        assert_eq!(name(&backup), "backup.ararat.dev/nginx");
        assert_eq!(
            name(&json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" } })),
            "secret/s"
        );
    }

    #[test]
    fn yaml_gives_back_what_it_was_made_of() {
        let tricky = json!({
            "text": ["true", "0444", "1e3", "null", "~", "", "a: b", "# no", "- x", "{", "two\nlines\n", " space ", "12:30:45", "yes", "é"],
            "number": 3, "no": false, "nothing": null, "empty": {}, "none": [],
            "rule": "self.all(k, k in ['endpoint', \"x\"])",
            "long": "word ".repeat(60),
        });
        let text = yaml(&tricky).unwrap();
        assert_eq!(serde_saphyr::from_str::<Value>(&text).unwrap(), tricky, "{text}");
        assert!(
            yaml_documents(&[tricky.clone(), tricky])
                .unwrap()
                .starts_with("---\nempty:")
        );
    }
}
