//! ChaCha20-Poly1305 (RFC 8439) with random nonces. The only module that names `chacha20poly1305`.
//!
//! A sealed text is `nonce[12] ‖ ciphertext ‖ tag[16]`. Every key passed here is a subkey made for one purpose, so random nonces are far from
//! colliding (engines' notes and FORMAT.md, 2.2 and 4, say which subkeys).

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce, Tag};

use super::Secret;
use crate::words::id::random_bytes;

/// How many bytes a sealed text is longer than its plaintext.
pub const OVERHEAD: usize = NONCE + TAG;
/// Bytes of a nonce.
pub const NONCE: usize = 12;
const TAG: usize = 16;

/// The text was not sealed with this key and associated data, or was changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAuthentic;

/// Seals `plaintext`.
pub fn seal(key: &Secret, associated: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(plaintext.len() + OVERHEAD);
    sealed.extend_from_slice(&[0; NONCE]);
    sealed.extend_from_slice(plaintext);
    seal_in_place(key, associated, &mut sealed);
    sealed
}

/// Seals what follows the first 12 bytes of `buffer`, fills in the nonce there and appends the tag.
pub fn seal_in_place(key: &Secret, associated: &[u8], buffer: &mut Vec<u8>) {
    seal_with_nonce(key, associated, &random_bytes(), buffer);
}

/// [`seal_in_place`] with a given nonce: for test vectors.
pub fn seal_with_nonce(key: &Secret, associated: &[u8], nonce: &[u8; NONCE], buffer: &mut Vec<u8>) {
    debug_assert!(buffer.len() >= NONCE, "room for the nonce");
    let cipher = ChaCha20Poly1305::new(key.expose().into());
    let (head, text) = buffer.split_at_mut(NONCE);
    head.copy_from_slice(nonce);
    #[expect(
        clippy::expect_used,
        reason = "fails over 256 GiB alone, and nothing here is over 4 GiB"
    )]
    let tag = cipher
        .encrypt_inout_detached(&Nonce::from(*nonce), associated, text.into())
        .expect("under 256 GiB");
    buffer.extend_from_slice(&tag);
}

/// Opens a sealed text.
pub fn open(key: &Secret, associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>, NotAuthentic> {
    let mut plaintext = Vec::new();
    open_into(key, associated, sealed, &mut plaintext)?;
    Ok(plaintext)
}

/// Opens a sealed text into `plaintext`, replacing what is there; on failure it holds nothing.
pub fn open_into(key: &Secret, associated: &[u8], sealed: &[u8], plaintext: &mut Vec<u8>) -> Result<(), NotAuthentic> {
    plaintext.clear();
    let length = sealed.len().checked_sub(OVERHEAD).ok_or(NotAuthentic)?;
    let (nonce, rest) = sealed.split_at(NONCE);
    let (text, tag) = rest.split_at(length);
    plaintext.extend_from_slice(text);
    let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| NotAuthentic)?;
    let tag: [u8; TAG] = tag.try_into().map_err(|_| NotAuthentic)?;
    let cipher = ChaCha20Poly1305::new(key.expose().into());
    let opened = cipher.decrypt_inout_detached(
        &Nonce::from(nonce),
        associated,
        plaintext.as_mut_slice().into(),
        &Tag::from(tag),
    );
    if opened.is_err() {
        plaintext.clear();
        return Err(NotAuthentic);
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_and_any_changed_bit_does_not() {
        let key = Secret::random();
        let sealed = seal(&key, b"about", b"text");
        assert_eq!(open(&key, b"about", &sealed).unwrap(), b"text");
        assert_eq!(open(&key, b"other", &sealed), Err(NotAuthentic));
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&key, b"about", &changed), Err(NotAuthentic));
        }
        for length in 0..sealed.len() {
            assert_eq!(open(&key, b"about", &sealed[..length]), Err(NotAuthentic));
        }
    }

    /// RFC 8439, 2.8.2.
    #[test]
    fn the_vector_of_the_rfc_comes_out() {
        let key = Secret::new(std::array::from_fn(|i| 0x80 + u8::try_from(i).unwrap()));
        let nonce = [7, 0, 0, 0, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47];
        let associated = [0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7];
        let text = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
        let mut sealed = vec![0; NONCE];
        sealed.extend_from_slice(text);
        seal_with_nonce(&key, &associated, &nonce, &mut sealed);
        assert_eq!(
            data_encoding::HEXLOWER.encode(&sealed[sealed.len() - 16..]),
            "1ae10b594f09e26a7e902ecbd0600691"
        );
        assert_eq!(open(&key, &associated, &sealed).unwrap(), text);
    }
}
