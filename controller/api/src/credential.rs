//! A store's credentials as a Secret has them: variables as keys, or one key `cloud` with a file.

use std::collections::BTreeMap;

/// The key of a Secret that holds a credentials file.
pub const FILE: &str = "cloud";

/// The variables that a Secret's data gives.
///
/// # Errors
/// Says what is wrong, without any value.
pub fn variables(data: &BTreeMap<String, Vec<u8>>) -> Result<BTreeMap<String, String>, String> {
    let mut variables = BTreeMap::new();
    for (name, value) in data {
        let text = std::str::from_utf8(value).map_err(|_| format!("The credential's key `{name}` is no text"))?;
        if name == FILE {
            variables.extend(of_file(text)?);
        } else {
            variables.insert(name.clone(), text.trim_end_matches('\n').to_owned());
        }
    }
    Ok(variables)
}

/// The variables that a credentials file gives: an AWS file (its section `default`, or the only one), a Google service account (JSON), or lines NAME=VALUE.
///
/// # Errors
/// Says what is wrong, without any value.
pub fn of_file(text: &str) -> Result<BTreeMap<String, String>, String> {
    let text = text.trim();
    if text.starts_with('{') {
        serde_json::from_str::<serde_json::Value>(text).map_err(|error| {
            format!(
                "The credentials file begins like JSON and is none (line {})",
                error.line()
            )
        })?;
        return Ok(BTreeMap::from([(
            "GOOGLE_SERVICE_ACCOUNT_KEY".to_owned(),
            text.to_owned(),
        )]));
    }
    let (mut sections, mut current) = (Vec::<(String, BTreeMap<String, String>)>::new(), String::new());
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || line.starts_with(';') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            name.trim().clone_into(&mut current);
            continue;
        }
        let (name, value) = line
            .split_once('=')
            .ok_or_else(|| format!("Line {} of the credentials file is not NAME=VALUE", number + 1))?;
        let value = value.trim();
        let value = value
            .strip_prefix('"')
            .and_then(|value| value.strip_suffix('"'))
            .unwrap_or(value);
        let name = name.trim().trim_start_matches("export ").to_ascii_uppercase();
        if sections.last().is_none_or(|(section, _)| *section != current) {
            sections.push((current.clone(), BTreeMap::new()));
        }
        if let Some((_, variables)) = sections.last_mut() {
            variables.insert(name, value.to_owned());
        }
    }
    let mut named = sections
        .iter()
        .filter(|(section, _)| section == "default" || section.is_empty());
    match (named.next(), sections.first()) {
        (Some((_, variables)), _) | (None, Some((_, variables))) if !variables.is_empty() => Ok(variables.clone()),
        _ => Err(
            "The credentials file is empty; write an AWS credentials file, a Google service account key, or lines NAME=VALUE"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_the_clouds_are_read() {
        let aws = of_file("[other]\na=b\n[default]\naws_access_key_id = AK\naws_secret_access_key=\"S=K\"\n").unwrap();
        assert_eq!(aws["AWS_ACCESS_KEY_ID"], "AK");
        assert_eq!(aws["AWS_SECRET_ACCESS_KEY"], "S=K");
        let azure = of_file("# azure\nexport AZURE_STORAGE_ACCOUNT_NAME=me\n").unwrap();
        assert_eq!(azure["AZURE_STORAGE_ACCOUNT_NAME"], "me");
        let google = of_file(r#"{"type": "service_account"}"#).unwrap();
        assert!(google["GOOGLE_SERVICE_ACCOUNT_KEY"].contains("service_account"));
    }

    #[test]
    fn wrong_files_are_refused_without_their_content() {
        for wrong in ["", "hunter2", "{hunter2", "[default]\n"] {
            assert!(!of_file(wrong).unwrap_err().contains("hunter2"));
        }
    }

    #[test]
    fn keys_of_a_secret_are_variables() {
        let data = BTreeMap::from([
            ("AWS_ACCESS_KEY_ID".to_owned(), b"AK\n".to_vec()),
            ("cloud".to_owned(), b"X=1".to_vec()),
        ]);
        let variables = variables(&data).unwrap();
        assert_eq!(
            (variables["AWS_ACCESS_KEY_ID"].as_str(), variables["X"].as_str()),
            ("AK", "1")
        );
    }
}
