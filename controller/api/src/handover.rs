//! What an agent must know for one volume, and for as long as it works on it. The controller seals it to the key that the agent has drawn for that volume.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What is bound to a sealed handover besides its content: it opens for this volume alone.
pub fn info(uid: &str) -> Vec<u8> {
    format!("ararat.dev/v1alpha1 handover {uid}").into_bytes()
}

/// How a store is reached, by whom, and with which key of the repository. Every value may be a secret: there is no debug print of them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Handover {
    /// The repository's URL.
    pub url: String,
    /// The location's options (endpoint, region, pathStyle, proxy, caCertificate).
    pub options: BTreeMap<String, String>,
    /// The store's credentials, as variables.
    pub environment: BTreeMap<String, String>,
    /// The repository's key, as text: a writer's for backups, a reader's for restores.
    pub key: String,
    /// The key that seals this source's file list, 64 hexadecimal digits; for backups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_key: Option<String>,
}

impl fmt::Debug for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handover").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_it_is_printed() {
        let handover = Handover {
            url: "s3://bucket/prefix".into(),
            options: BTreeMap::new(),
            environment: BTreeMap::from([("AWS_SECRET_ACCESS_KEY".into(), "hunter2".into())]),
            key: "hunter3".into(),
            volume_key: Some("hunter4".into()),
        };
        assert!(!format!("{handover:?}").contains("hunter"));
        let text = serde_json::to_string(&handover).unwrap();
        assert_eq!(serde_json::from_str::<Handover>(&text).unwrap(), handover);
    }
}
