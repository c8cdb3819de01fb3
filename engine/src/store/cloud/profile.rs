//! A profile of AWS's own tools: `~/.aws/credentials` and `~/.aws/config`, as far as static keys go.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::store::options::StoreOptions;

/// What a profile says.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Profile {
    /// Access key and its secret.
    pub(super) keys: Option<(String, String)>,
    /// The session token of temporary keys.
    pub(super) token: Option<String>,
    pub(super) region: Option<String>,
    pub(super) endpoint: Option<String>,
}

/// Why a profile is of no use, as a sentence.
#[derive(Debug)]
pub(super) struct ProfileError(pub(super) String);

impl Profile {
    /// The profile that `AWS_PROFILE` names, or `default`; none when there is none and none was named.
    pub(super) fn read(options: &StoreOptions) -> Result<Option<Self>, ProfileError> {
        let named = options.variable_of(&["AWS_PROFILE", "AWS_DEFAULT_PROFILE"]);
        let name = named.unwrap_or("default");
        let home = options.variable("HOME").map(PathBuf::from);
        let file = |variable: &str, leaf: &str| {
            let told = options.variable(variable).map(PathBuf::from);
            told.or_else(|| home.as_ref().map(|home| home.join(".aws").join(leaf)))
        };
        let credentials = section(
            file("AWS_SHARED_CREDENTIALS_FILE", "credentials").as_deref(),
            &[name.to_owned()],
        )?;
        let config = section(
            file("AWS_CONFIG_FILE", "config").as_deref(),
            &[format!("profile {name}"), name.to_owned()],
        )?;
        if credentials.is_none() && config.is_none() {
            return match named {
                Some(name) => Err(ProfileError(format!(
                    "AWS profile `{name}` is in neither the credentials nor the config file"
                ))),
                None => Ok(None),
            };
        }
        // What both have counts as the credentials file has it.
        let mut settings = config.unwrap_or_default();
        settings.extend(credentials.unwrap_or_default());
        let mut take = |name: &str| settings.remove(name).filter(|value| !value.is_empty());
        let (key, secret) = (take("aws_access_key_id"), take("aws_secret_access_key"));
        let mut profile = Self {
            keys: None,
            token: take("aws_session_token"),
            region: take("region"),
            endpoint: take("endpoint_url"),
        };
        match (key, secret) {
            (Some(key), Some(secret)) => profile.keys = Some((key, secret)),
            (None, None) => {
                let other = ["sso_session", "sso_start_url", "credential_process", "role_arn"]
                    .into_iter()
                    .find(|other| settings.contains_key(*other));
                if let Some(other) = other {
                    return Err(ProfileError(format!(
                        "AWS profile `{name}` gets its keys by `{other}`, which is not supported; set them in the environment: \
                         eval \"$(aws configure export-credentials --profile {name} --format env)\""
                    )));
                }
            }
            (Some(_), None) | (None, Some(_)) => {
                return Err(ProfileError(format!(
                    "AWS profile `{name}` has only half of a pair of keys"
                )));
            }
        }
        Ok(Some(profile))
    }
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile")
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// The settings of the first of these sections that the file has. A file that is not there has none.
fn section(path: Option<&Path>, names: &[String]) -> Result<Option<BTreeMap<String, String>>, ProfileError> {
    let Some(path) = path else { return Ok(None) };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ProfileError(format!("Could not read {}: {error}", path.display()))),
    };
    Ok(names.iter().find_map(|name| settings_of(&text, name)))
}

fn settings_of(text: &str, wanted: &str) -> Option<BTreeMap<String, String>> {
    let mut found: Option<BTreeMap<String, String>> = None;
    let mut is_wanted = false;
    for line in text.lines() {
        // Lines that are indented belong to the setting above, which is none of ours.
        let is_nested = line.starts_with([' ', '\t']);
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            is_wanted = header.0.split_whitespace().collect::<Vec<_>>().join(" ") == wanted;
            if is_wanted {
                found.get_or_insert_default();
            }
        } else if is_wanted
            && !is_nested
            && let Some((name, value)) = line.split_once('=')
            && let Some(found) = &mut found
        {
            found.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    fn options(home: &Path, more: &[(&str, &str)]) -> StoreOptions {
        let mut options = StoreOptions::default();
        options.environment.insert("HOME".into(), home.to_str().unwrap().into());
        options.environment.extend(
            more.iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        options
    }

    #[test]
    fn profiles_are_read_as_aws_tools_write_them() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(Profile::read(&options(home.path(), &[])).unwrap(), None);
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        let credentials = "# keys\n[default]\naws_access_key_id = AKIA1\naws_secret_access_key=se=cret\n\n[other]\naws_access_key_id=AKIA2\n\
            aws_secret_access_key=two\naws_session_token=tok\n[half]\naws_access_key_id=AKIA3\n";
        std::fs::write(home.path().join(".aws/credentials"), credentials).unwrap();
        let config = "[default]\nregion = eu-west-1\ns3 =\n  region = wrong\n[profile other]\nendpoint_url = https://s3.example\n[profile sso]\nsso_session = x\n";
        std::fs::write(home.path().join(".aws/config"), config).unwrap();

        let profile = Profile::read(&options(home.path(), &[])).unwrap().unwrap();
        assert_eq!(profile.keys, Some(("AKIA1".into(), "se=cret".into())));
        assert_eq!(profile.region.as_deref(), Some("eu-west-1"));
        let profile = Profile::read(&options(home.path(), &[("AWS_PROFILE", "other")]))
            .unwrap()
            .unwrap();
        assert_eq!(
            (profile.token.as_deref(), profile.endpoint.as_deref()),
            (Some("tok"), Some("https://s3.example"))
        );
        assert!(!format!("{profile:?}").contains("two"));
        for (name, says) in [("none", "neither"), ("sso", "sso_session"), ("half", "half")] {
            let error = Profile::read(&options(home.path(), &[("AWS_PROFILE", name)])).unwrap_err();
            assert!(error.0.contains(says), "{error:?}");
        }
    }
}
