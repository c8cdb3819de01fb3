//! Variable-length numbers (FORMAT.md, conventions), and what a decoder of trees says when bytes make no sense.

use crate::format::codec::Fields;
use crate::words::{BlobId, Error};

/// Why a blob is not a tree blob; the reader adds whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl Malformed {
    /// As damage of the tree blob `id`.
    pub fn of(self, id: &BlobId) -> Error {
        Error::damaged(format!("Tree blob {id}"), self.0)
    }
}

/// What a decoder of trees gives.
pub type Decoded<T> = Result<T, Malformed>;

/// Appends a number in seven-bit groups, lowest first.
pub fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a signed number, small ones of either sign short.
pub fn put_signed(out: &mut Vec<u8>, number: i64) {
    put(out, ((number << 1) ^ (number >> 63)) as u64);
}

/// How many bytes [`put`] appends.
pub fn length(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(7)
}

/// Reads numbers and byte strings; everything that does not fit is [`Malformed`].
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(Fields<'a>);

const SHORT: Malformed = Malformed("it ends in the middle of a field");

impl<'a> Input<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(Fields::new(bytes))
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.0.rest()
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    /// The next `length` bytes.
    pub fn take(&mut self, length: u64) -> Decoded<&'a [u8]> {
        let length = usize::try_from(length).map_err(|_| SHORT)?;
        self.0.take(length).ok_or(SHORT)
    }

    /// A varint, then that many bytes.
    pub fn bytes(&mut self) -> Decoded<&'a [u8]> {
        let length = self.number()?;
        self.take(length)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        self.0.array().ok_or(SHORT)
    }

    /// One byte.
    pub fn byte(&mut self) -> Decoded<u8> {
        self.0.u8().ok_or(SHORT)
    }

    /// A varint, in its shortest form.
    #[inline]
    pub fn number(&mut self) -> Decoded<u64> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        self.long_number(u64::from(first & 0x7f))
    }

    fn long_number(&mut self, mut number: u64) -> Decoded<u64> {
        for shift in (7..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return Err(Malformed("a number has more than 64 bits"));
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return match byte {
                    0 => Err(Malformed("a number is not in its shortest form")),
                    _ => Ok(number),
                };
            }
        }
        Err(Malformed("a number has more than 64 bits"))
    }

    /// A varint that fits into 32 bits.
    #[inline]
    pub fn number32(&mut self) -> Decoded<u32> {
        u32::try_from(self.number()?).map_err(|_| Malformed("a number has more than 32 bits"))
    }

    /// A signed varint.
    #[inline]
    pub fn signed(&mut self) -> Decoded<i64> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// A little-endian number of four bytes.
    pub fn fixed32(&mut self) -> Decoded<u32> {
        self.0.u32().ok_or(SHORT)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_know_their_length() {
        for shift in 0..64 {
            for number in [1u64 << shift, (1u64 << shift) - 1, u64::MAX >> shift] {
                let mut bytes = Vec::new();
                put(&mut bytes, number);
                assert_eq!(bytes.len(), length(number), "{number}");
                assert_eq!(Input::new(&bytes).number().unwrap(), number);
                for signed in [number as i64, (number as i64).wrapping_neg()] {
                    let mut bytes = Vec::new();
                    put_signed(&mut bytes, signed);
                    assert_eq!(Input::new(&bytes).signed().unwrap(), signed);
                }
            }
        }
    }

    #[test]
    fn long_forms_overflow_and_truncation_are_refused() {
        for bytes in [
            &[0x80u8, 0][..],
            &[0x80],
            &[],
            &[0xff; 10],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
        ] {
            assert!(Input::new(bytes).number().is_err(), "{bytes:?}");
        }
        let mut most = [0xff; 10];
        most[9] = 1;
        assert_eq!(Input::new(&most).number().unwrap(), u64::MAX);
    }
}
