//! What the agent is told for one volume: drawn for, sealed to, opened by one pair of keys, and gone with it.

use std::fmt;

use api::handover::{Handover, info};
use data_encoding::BASE64;
use engine::crypto::SecretPair;
use engine::crypto::key_text::recipient_to_text;
use zeroize::{Zeroize, Zeroizing};

/// The keys that were drawn for one volume.
pub struct Keys {
    pair: SecretPair,
    /// The public half, as the status says it.
    pub recipient: String,
}

/// What the agent was told. Overwritten in memory when nobody needs it any longer.
#[derive(Clone, PartialEq, Eq)]
pub struct Told(Handover);

impl Keys {
    /// Draws fresh ones.
    pub fn random() -> Self {
        let pair = SecretPair::random();
        let recipient = recipient_to_text(&pair.public());
        Self { pair, recipient }
    }

    /// Opens what was sealed to them for the volume with this UID.
    ///
    /// # Errors
    /// Says what is wrong, without anything of what is in it.
    pub fn open(&self, uid: &str, sealed: &str) -> Result<Told, String> {
        let sealed = BASE64
            .decode(sealed.trim().as_bytes())
            .map_err(|_| "The handover is no base64".to_owned())?;
        let opened = self.pair.unwrap(&info(uid), &sealed);
        let text = opened
            .map(Zeroizing::new)
            .map_err(|_| "The handover was sealed to another key".to_owned())?;
        // What the parser would say of it may repeat a value.
        let handover = serde_json::from_slice(&text).map_err(|error| {
            format!(
                "The handover is not as this version expects it (column {})",
                error.column()
            )
        })?;
        Ok(Told(handover))
    }
}

impl Told {
    /// Takes what one was told.
    #[cfg(test)]
    pub fn new(handover: Handover) -> Self {
        Self(handover)
    }
}

impl std::ops::Deref for Told {
    type Target = Handover;

    fn deref(&self) -> &Handover {
        &self.0
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.0.key.zeroize();
        self.0.volume_key.zeroize();
        self.0.environment.values_mut().for_each(Zeroize::zeroize);
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeMap;

    use engine::crypto::hpke::wrap;
    use engine::crypto::key_text::recipient_from_text;

    use super::*;

    fn seal(keys: &Keys, uid: &str, text: &[u8]) -> String {
        let recipient = recipient_from_text(&keys.recipient).unwrap();
        BASE64.encode(&wrap(recipient, &info(uid), text).unwrap())
    }

    #[test]
    fn only_the_agent_that_drew_the_key_opens_it_and_for_that_volume_alone() {
        let handover = Handover {
            url: "memory:told".into(),
            options: BTreeMap::new(),
            environment: BTreeMap::from([("AWS_SECRET_ACCESS_KEY".into(), "hunter2".into())]),
            key: "hunter3".into(),
            volume_key: None,
        };
        let keys = Keys::random();
        let sealed = seal(&keys, "uid", &serde_json::to_vec(&handover).unwrap());
        let told = keys.open("uid", &sealed).unwrap();
        assert_eq!(*told, handover);
        assert!(!format!("{told:?}").contains("hunter"));
        for refused in [keys.open("other", &sealed), Keys::random().open("uid", &sealed)] {
            assert_eq!(refused.unwrap_err(), "The handover was sealed to another key");
        }
        assert_eq!(keys.open("uid", "?").unwrap_err(), "The handover is no base64");
        let newer = seal(&keys, "uid", br#"{"url": "hunter2", "surprise": "hunter2"}"#);
        let why = keys.open("uid", &newer).unwrap_err();
        assert!(
            why.contains("not as this version expects") && !why.contains("hunter2"),
            "{why}"
        );
    }
}
