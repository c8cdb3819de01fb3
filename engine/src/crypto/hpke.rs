//! Sealing to public keys: HPKE (RFC 9180), Base and Auth mode. The only module that names `hpke`.
//!
//! The suite is DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305; messages are `enc[32] ‖ ciphertext ‖ tag[16]`.

use ::hpke::aead::ChaCha20Poly1305;
use ::hpke::kdf::HkdfSha256;
use ::hpke::kem::X25519HkdfSha256;
use ::hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable, single_shot_open, single_shot_seal};
use serde::{Deserialize, Serialize};

use super::Secret;
use super::aead::NotAuthentic;

type Private = <X25519HkdfSha256 as Kem>::PrivateKey;
type Public = <X25519HkdfSha256 as Kem>::PublicKey;
type Encapped = <X25519HkdfSha256 as Kem>::EncappedKey;

/// How many bytes a wrapped text is longer than its plaintext.
pub const OVERHEAD: usize = 48;

/// The public half of an X25519 pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublicKey(pub [u8; 32]);

/// An X25519 pair.
#[derive(Clone, Debug)]
pub struct SecretPair {
    secret: Secret,
    public: PublicKey,
}

impl SecretPair {
    /// Draws a fresh pair.
    pub fn random() -> Self {
        Self::from_secret(Secret::random())
    }

    /// The pair of a given secret half.
    pub fn from_secret(secret: Secret) -> Self {
        let public = PublicKey(bytes_of(&X25519HkdfSha256::sk_to_pk(&private(&secret))));
        Self { secret, public }
    }

    /// `DeriveKeyPair` of RFC 9180, 7.1.3.
    pub fn derive(material: &Secret) -> Self {
        let (private, public) = X25519HkdfSha256::derive_keypair(material.expose());
        Self {
            secret: Secret::new(bytes_of(&private)),
            public: PublicKey(bytes_of(&public)),
        }
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The secret half.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Opens what was wrapped for this pair by anybody.
    pub fn unwrap(&self, info: &[u8], message: &[u8]) -> Result<Vec<u8>, NotAuthentic> {
        self.open(&OpModeR::Base, info, message)
    }

    /// Opens what was wrapped for this pair by the holder of `sender`'s secret half.
    pub fn unwrap_from(&self, sender: PublicKey, info: &[u8], message: &[u8]) -> Result<Vec<u8>, NotAuthentic> {
        let sender = Public::from_bytes(&sender.0).map_err(|_| NotAuthentic)?;
        self.open(&OpModeR::Auth(sender), info, message)
    }

    /// Wraps `text` for `recipient` so that it shows that this pair did.
    pub fn wrap_from(&self, recipient: PublicKey, info: &[u8], text: &[u8]) -> Result<Vec<u8>, NotAuthentic> {
        let secret = private(&self.secret);
        let public = X25519HkdfSha256::sk_to_pk(&secret);
        seal(&OpModeS::Auth((secret, public)), recipient, info, text)
    }

    fn open(&self, mode: &OpModeR<'_, X25519HkdfSha256>, info: &[u8], message: &[u8]) -> Result<Vec<u8>, NotAuthentic> {
        let (encapped, text) = message.split_at_checked(32).ok_or(NotAuthentic)?;
        let encapped = Encapped::from_bytes(encapped).map_err(|_| NotAuthentic)?;
        let secret = private(&self.secret);
        single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(mode, &secret, &encapped, info, text, b"")
            .map_err(|_| NotAuthentic)
    }
}

/// Wraps `text` for `recipient`. Fails only when `recipient` is not a point that X25519 accepts.
pub fn wrap(recipient: PublicKey, info: &[u8], text: &[u8]) -> Result<Vec<u8>, NotAuthentic> {
    seal(&OpModeS::Base, recipient, info, text)
}

fn seal(
    mode: &OpModeS<'_, X25519HkdfSha256>,
    recipient: PublicKey,
    info: &[u8],
    text: &[u8],
) -> Result<Vec<u8>, NotAuthentic> {
    let recipient = Public::from_bytes(&recipient.0).map_err(|_| NotAuthentic)?;
    let (encapped, sealed) =
        single_shot_seal::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(mode, &recipient, info, text, b"")
            .map_err(|_| NotAuthentic)?;
    let mut message = bytes_of(&encapped).to_vec();
    message.extend_from_slice(&sealed);
    Ok(message)
}

fn private(secret: &Secret) -> Private {
    #[expect(clippy::expect_used, reason = "any 32 bytes are an X25519 secret")]
    Private::from_bytes(secret.expose()).expect("32 bytes")
}

fn bytes_of<T: Serializable>(value: &T) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(&value.to_bytes());
    bytes
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn only_the_recipient_opens_and_only_with_the_same_info_and_sender() {
        let (alice, bob, root) = (SecretPair::random(), SecretPair::random(), SecretPair::random());
        let message = wrap(alice.public(), b"info", b"text").unwrap();
        assert_eq!(message.len(), 4 + OVERHEAD);
        assert_eq!(alice.unwrap(b"info", &message).unwrap(), b"text");
        assert!(bob.unwrap(b"info", &message).is_err());
        assert!(alice.unwrap(b"other", &message).is_err());
        assert!(alice.unwrap_from(root.public(), b"info", &message).is_err());
        let vouched = root.wrap_from(alice.public(), b"info", b"text").unwrap();
        assert_eq!(alice.unwrap_from(root.public(), b"info", &vouched).unwrap(), b"text");
        assert!(alice.unwrap_from(bob.public(), b"info", &vouched).is_err());
        assert!(alice.unwrap(b"info", &vouched).is_err());
        assert!(alice.unwrap(b"info", &message[..31]).is_err());
    }

    #[test]
    fn a_pair_from_its_secret_half_is_the_same_pair() {
        let pair = SecretPair::derive(&Secret::new([7; 32]));
        assert_eq!(SecretPair::from_secret(pair.secret().clone()).public(), pair.public());
    }
}
