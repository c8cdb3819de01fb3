//! Sealed objects: seals and frames bound to repository, kind, section and name (FORMAT.md, 2.2).

use super::codec::Fields;
use super::envelope::{self, Access, Kind};
use crate::crypto::{Secret, aead};
use crate::words::{Error, RepositoryId, Result};

/// Bytes of plaintext in a full frame.
pub const FRAME: usize = 1 << 20;
/// The section that stands for vouchers.
const VOUCHER: u8 = 9;

/// What a seal is bound to.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'a> {
    /// The repository.
    pub repository: RepositoryId,
    /// The kind of the object.
    pub kind: Kind,
    /// The object's name.
    pub name: &'a str,
}

impl Binding<'_> {
    /// The context of FORMAT.md for a section of this object.
    pub fn context(&self, section: u8) -> Vec<u8> {
        let mut context = Vec::with_capacity(25 + self.name.len() + 5);
        context.extend_from_slice(b"ararat1");
        context.extend_from_slice(&self.repository.0);
        context.push(self.kind as u8);
        context.push(section);
        context.extend_from_slice(self.name.as_bytes());
        context
    }

    /// What the holder of `key` says of `content` in this object: its keyed hash, bound to the object's name.
    pub fn voucher(&self, key: &Secret, content: &[u8]) -> Secret {
        let mut message = self.context(VOUCHER);
        message.extend_from_slice(blake3::hash(content).as_bytes());
        key.subkey(&message)
    }

    /// `content` and its voucher.
    pub fn vouched(&self, key: &Secret, mut content: Vec<u8>) -> Vec<u8> {
        let voucher = self.voucher(key, &content);
        content.extend_from_slice(voucher.expose());
        content
    }

    /// The content without its voucher, which is checked by those who have the key.
    ///
    /// # Errors
    /// [`Error::Forged`] when the voucher is wrong; [`Error::Damaged`] when there is none.
    pub fn check_vouched<'a>(&self, key: Option<&Secret>, vouched: &'a [u8]) -> Result<&'a [u8]> {
        let Some((content, voucher)) = vouched.split_last_chunk::<32>() else {
            return Err(Error::damaged(self.name, "it is too short for a voucher"));
        };
        match key {
            Some(key) if self.voucher(key, content) != Secret::new(*voucher) => Err(Error::Forged {
                name: self.name.to_owned(),
            }),
            _ => Ok(content),
        }
    }

    /// Seals one section under the object's header.
    pub fn seal(&self, key: &Secret, header: &[u8], section: u8, plaintext: &[u8]) -> Vec<u8> {
        seal(key, header, &self.context(section), plaintext)
    }

    /// Opens one section.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it was not sealed for this place with this key.
    pub fn open(&self, key: &Secret, header: &[u8], section: u8, sealed: &[u8]) -> Result<Vec<u8>> {
        let context = self.context(section);
        self.open_in(key, header, &context, sealed)
    }

    /// Opens a seal with a context that says more than [`Binding::context`].
    ///
    /// # Errors
    /// As [`Binding::open`].
    pub fn open_in(&self, key: &Secret, header: &[u8], context: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
        aead::open(&key.subkey(context), &associated(header, context), sealed)
            .map_err(|_| Error::damaged(self.name, "a seal in it does not open with the repository's key"))
    }

    /// A whole object whose body is one seal.
    pub fn sealed_object(&self, key: &Secret, plaintext: &[u8]) -> Vec<u8> {
        let header = envelope::header(self.kind, true, (plaintext.len() + aead::OVERHEAD) as u64);
        let mut object = header.to_vec();
        object.extend_from_slice(&self.seal(key, &header, 0, plaintext));
        envelope::finish(object)
    }

    /// Opens an object whose body is one seal.
    ///
    /// # Errors
    /// As [`envelope::parse`] and [`Binding::open`].
    pub fn open_object(&self, key: &Secret, access: Access, object: &[u8]) -> Result<Vec<u8>> {
        let envelope = envelope::parse(self.name, self.kind, access, object)?;
        self.open(key, envelope.header, 0, envelope.body)
    }

    /// A whole object whose body is `head` followed by frames.
    pub fn framed_object(&self, key: &Secret, head: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let pieces = plaintext.len().div_ceil(FRAME).max(1);
        let body = head.len() + plaintext.len() + pieces * (4 + aead::OVERHEAD);
        let header = envelope::header(self.kind, true, body as u64);
        let mut object = Vec::with_capacity(body + envelope::HEADER + envelope::HASH);
        object.extend_from_slice(&header);
        object.extend_from_slice(head);
        for number in 0..pieces {
            let piece = &plaintext[number * FRAME..plaintext.len().min((number + 1) * FRAME)];
            let context = self.frame_context(number as u32, number + 1 == pieces);
            let sealed = seal(key, &header, &context, piece);
            object.extend_from_slice(&(sealed.len() as u32).to_le_bytes());
            object.extend_from_slice(&sealed);
        }
        envelope::finish(object)
    }

    /// Opens an object whose body is `head` bytes and frames; `key_of` makes the key from the head.
    ///
    /// # Errors
    /// As [`Binding::open_object`].
    pub fn open_framed(
        &self,
        access: Access,
        object: &[u8],
        head: usize,
        key_of: impl FnOnce(&[u8]) -> Result<Secret>,
    ) -> Result<Vec<u8>> {
        let damaged = |why: &str| Error::damaged(self.name, why);
        let envelope = envelope::parse(self.name, self.kind, access, object)?;
        let mut fields = Fields::new(envelope.body);
        let key = key_of(fields.take(head).ok_or_else(|| damaged("it is too short"))?)?;
        let mut plaintext = Vec::with_capacity(envelope.body.len());
        let mut number = 0;
        while !fields.rest().is_empty() {
            let sealed = fields.u32().and_then(|length| fields.take(length as usize));
            let sealed = sealed.ok_or_else(|| damaged("a frame in it is cut short"))?;
            let context = self.frame_context(number, fields.rest().is_empty());
            let piece = aead::open(&key.subkey(&context), &associated(envelope.header, &context), sealed)
                .map_err(|_| damaged("a frame in it does not open with the repository's key"))?;
            plaintext.extend_from_slice(&piece);
            number += 1;
        }
        if number == 0 {
            Err(damaged("it has no frames"))
        } else {
            Ok(plaintext)
        }
    }

    fn frame_context(&self, number: u32, last: bool) -> Vec<u8> {
        let mut context = self.context(0);
        context.extend_from_slice(&number.to_le_bytes());
        context.push(u8::from(last));
        context
    }
}

/// Seals under a header and a context that may say more than [`Binding::context`].
pub fn seal(key: &Secret, header: &[u8], context: &[u8], plaintext: &[u8]) -> Vec<u8> {
    aead::seal(&key.subkey(context), &associated(header, context), plaintext)
}

fn associated(header: &[u8], context: &[u8]) -> Vec<u8> {
    [header, context].concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const BINDING: Binding<'static> = Binding {
        repository: RepositoryId([1; 16]),
        kind: Kind::Segment,
        name: "x/a/0",
    };

    #[test]
    fn an_object_opens_under_its_own_name_alone_and_every_flipped_bit_is_noticed() {
        let key = Secret::random();
        let object = BINDING.sealed_object(&key, b"text");
        assert_eq!(BINDING.open_object(&key, Access::Read, &object).unwrap(), b"text");
        let elsewhere = Binding {
            name: "x/a/1",
            ..BINDING
        };
        assert!(elsewhere.open_object(&key, Access::Read, &object).is_err());
        for bit in 0..object.len() * 8 {
            let mut changed = object.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(BINDING.open_object(&key, Access::Read, &changed).is_err());
        }
    }

    #[test]
    fn frames_cannot_be_dropped_repeated_or_swapped() {
        let key = Secret::random();
        for length in [0, 1, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME] {
            let text = vec![7; length];
            let object = BINDING.framed_object(&key, b"head", &text);
            let opened = BINDING.open_framed(Access::Read, &object, 4, |head| {
                assert_eq!(head, b"head");
                Ok(key.clone())
            });
            assert_eq!(opened.unwrap(), text);
        }
        let object = BINDING.framed_object(&key, b"", &vec![7; 2 * FRAME]);
        let frame = 4 + FRAME + aead::OVERHEAD;
        let (first, second) = (&object[32..32 + frame], &object[32 + frame..32 + 2 * frame]);
        for body in [
            [first, first].concat(),
            [second, first].concat(),
            first.to_vec(),
            second.to_vec(),
        ] {
            let mut forged = envelope::header(Kind::Segment, true, body.len() as u64).to_vec();
            forged.extend_from_slice(&body);
            let forged = envelope::finish(forged);
            assert!(
                BINDING
                    .open_framed(Access::Read, &forged, 0, |_| Ok(key.clone()))
                    .is_err()
            );
        }
    }
}
