//! Keys as text that people can copy, print and type (FORMAT.md, 3.4).

use data_encoding::BASE32_NOPAD;
use zeroize::Zeroizing;

use super::{PublicKey, Secret, SecretPair};
use crate::words::{Error, RepositoryId, Result};

const KEY: &str = "ararat-key-1";
const RECIPIENT: &str = "ararat-recipient-1";

/// A holder's secret, and which repository's owner it trusts.
#[derive(Clone, Debug)]
pub struct HolderKey {
    /// The holder's pair.
    pub pair: SecretPair,
    /// The root it expects; zeros when the key is older than its repository.
    pub root_fingerprint: [u8; 16],
}

/// The fingerprint of a repository's root: what a holder's key remembers of it.
pub fn root_fingerprint(repository: &RepositoryId, root: &PublicKey) -> [u8; 16] {
    let mut material = repository.0.to_vec();
    material.extend_from_slice(&root.0);
    let digest = blake3::derive_key("ararat v1 root", &material);
    std::array::from_fn(|i| digest[i])
}

impl HolderKey {
    /// The key as one line of text.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(self.pair.secret().expose().to_vec());
        bytes.extend_from_slice(&self.root_fingerprint);
        Zeroizing::new(text(KEY, &bytes))
    }

    /// Reads a key from text: its first line that is neither empty nor a comment.
    ///
    /// # Errors
    /// [`Error::Invalid`] that says what is wrong, never showing the text.
    pub fn from_text(input: &str) -> Result<Self> {
        let bytes = Zeroizing::new(parse(KEY, "key", input)?);
        let (Some(secret), Some(fingerprint)) = (bytes.first_chunk::<32>(), bytes.last_chunk::<16>()) else {
            return Err(Error::Invalid("The key is too short".into()));
        };
        if bytes.len() != 48 {
            return Err(Error::Invalid("The key has the wrong length".into()));
        }
        Ok(Self {
            pair: SecretPair::from_secret(Secret::new(*secret)),
            root_fingerprint: *fingerprint,
        })
    }
}

/// A recipient (the public half of a holder's key) as one line of text.
pub fn recipient_to_text(public: &PublicKey) -> String {
    text(RECIPIENT, &public.0)
}

/// Reads a recipient from text.
///
/// # Errors
/// [`Error::Invalid`] when it is not one.
pub fn recipient_from_text(input: &str) -> Result<PublicKey> {
    let bytes = parse(RECIPIENT, "recipient", input)?;
    Ok(PublicKey(bytes.try_into().map_err(|_| {
        Error::Invalid("The recipient has the wrong length".into())
    })?))
}

fn text(prefix: &str, bytes: &[u8]) -> String {
    let mut whole = Zeroizing::new(bytes.to_vec());
    whole.extend_from_slice(&blake3::hash(bytes).as_bytes()[..4]);
    format!("{prefix}{}", BASE32_NOPAD.encode(&whole).to_ascii_lowercase())
}

fn parse(prefix: &str, what: &str, input: &str) -> Result<Vec<u8>> {
    let lines = input
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let joined: Zeroizing<String> = Zeroizing::new(lines.collect::<Vec<_>>().join(" "));
    // Paper is typed in as it comes: in capitals, too.
    let begins = joined
        .get(..prefix.len())
        .filter(|start| start.eq_ignore_ascii_case(prefix));
    let rest = begins
        .and_then(|start| joined.get(start.len()..))
        .ok_or_else(|| Error::Invalid(format!("This is no {what}: it does not begin with `{prefix}`")))?;
    let plain: Zeroizing<String> = Zeroizing::new(
        rest.chars()
            .filter(|c| !c.is_whitespace() && *c != '-')
            .map(|c| c.to_ascii_uppercase())
            .collect(),
    );
    let mut bytes = BASE32_NOPAD
        .decode(plain.as_bytes())
        .map_err(|_| Error::Invalid(format!("The {what} has a letter that is not in it or an odd length")))?;
    let split = bytes
        .len()
        .checked_sub(4)
        .ok_or_else(|| Error::Invalid(format!("The {what} is too short")))?;
    if blake3::hash(&bytes[..split]).as_bytes()[..4] != bytes[split..] {
        return Err(Error::Invalid(format!(
            "The {what} has a typing error: its check does not fit"
        )));
    }
    bytes.truncate(split);
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_paper_and_a_typing_error_is_noticed() {
        let key = HolderKey {
            pair: SecretPair::random(),
            root_fingerprint: [5; 16],
        };
        let line = key.to_text();
        let grouped: String = line[KEY.len()..]
            .as_bytes()
            .chunks(4)
            .map(|group| format!(" {}", String::from_utf8_lossy(group)))
            .collect();
        let sheet = format!("# recovery sheet\n\n{KEY}{grouped}\n");
        let read = HolderKey::from_text(&sheet).unwrap();
        assert_eq!(read.pair.public(), key.pair.public());
        assert_eq!(read.root_fingerprint, [5; 16]);
        let last = if line.ends_with('a') { "b" } else { "a" };
        let typo = format!("{}{last}", &line[..line.len() - 1]);
        assert!(HolderKey::from_text(&typo).is_err());
        let public = recipient_to_text(&key.pair.public());
        assert_eq!(recipient_from_text(&public).unwrap(), key.pair.public());
        assert!(recipient_from_text(&line).is_err());
        assert!(HolderKey::from_text("").is_err());
    }
}
