//! The object `s/<sid>/end`: a session's outcome; its COMMIT is what makes a snapshot (FORMAT.md, 7).

use serde::{Deserialize, Serialize};

use super::codec::{self, Fields};
use super::envelope::{self, Access, Kind};
use super::keys::{Halves, vouch_key};
use super::object::{self, Binding};
use super::open::SessionKind;
use super::references::Moved;
use super::snapshot::{Snapshot, Summary};
use crate::crypto::{Secret, SecretPair, aead, hpke};
use crate::words::{Error, RepositoryId, Result, SessionId, Timestamp};

/// Segments and references up to this length are part of `end` itself.
pub const INLINE_MAX: usize = 64 << 10;
/// Bytes of a wrapped 32-byte key.
pub const WRAPPED_KEY: usize = 32 + hpke::OVERHEAD;

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Outcome {
    /// What it wrote counts.
    Commit = 1,
    /// It gave up by itself.
    Abort = 2,
    /// Maintenance ended it.
    Fenced = 3,
}

/// Section A: for everybody who has the index key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexPart {
    /// `hash` of the object `open`.
    pub open_hash: [u8; 32],
    /// When it ended.
    pub ended: Timestamp,
    /// Which source it backed up: a keyed hash of host and paths.
    pub source: [u8; 16],
    /// How many objects `x/<sid>/<n>` there are.
    pub segments: u32,
    /// The only segment, when it is small.
    pub segment: Option<Vec<u8>>,
    /// How many packs the session wrote.
    pub packs: u32,
    /// What the session did.
    pub kind: SessionKind,
    /// The references are in `r/<sid>`.
    pub external_references: bool,
}

/// Section B: for maintenance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenancePart {
    /// What a policy needs to know of the snapshot.
    pub summary: Summary,
    /// The references, when they are small.
    pub references: Option<Vec<u8>>,
    /// Where a repack moved blobs. Only who has the maintenance secret can say so: without a right voucher there is nothing here.
    pub moved: Vec<Moved>,
}

#[derive(Serialize, Deserialize)]
enum StoredIndexPart {
    V1(IndexPart),
}

#[derive(Serialize, Deserialize)]
enum StoredMaintenancePart {
    V1 {
        summary: Summary,
        references: Option<Vec<u8>>,
        moved: Vec<Moved>,
        voucher: Option<[u8; 32]>,
    },
}

/// An `end` whose section A has been opened; B and C wait for their keys.
#[derive(Clone, Debug)]
pub struct End {
    /// How the session ended.
    pub outcome: Outcome,
    /// Tells one attempt to end the session from another.
    pub nonce: [u8; 16],
    /// Section A.
    pub index: IndexPart,
    header: Vec<u8>,
    maintenance: Vec<u8>,
    snapshot: Vec<u8>,
}

/// What goes into an `end`.
pub struct NewEnd<'a> {
    /// How the session ended.
    pub outcome: Outcome,
    /// Drawn for this attempt.
    pub nonce: [u8; 16],
    /// Section A.
    pub index: &'a IndexPart,
    /// Section B and the key it is wrapped for, whose secret half vouches for what was moved; a COMMIT has it.
    pub maintenance: Option<(&'a MaintenancePart, &'a Halves)>,
    /// Section C and the session's tree key; the COMMIT of a backup has it.
    pub snapshot: Option<(&'a Snapshot, &'a Secret)>,
}

/// `s/<sid>/end`
pub fn end_name(session: SessionId) -> String {
    format!("s/{session}/end")
}

fn maintenance_info(repository: RepositoryId, session: SessionId) -> Vec<u8> {
    [b"ararat v1 maintenance".as_slice(), &repository.0, &session.0].concat()
}

impl NewEnd<'_> {
    /// The whole object.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a part is absurdly long or the public key is not usable.
    pub fn to_object(&self, repository: RepositoryId, session: SessionId, index: &Secret) -> Result<Vec<u8>> {
        let name = end_name(session);
        let binding = Binding {
            repository,
            kind: Kind::End,
            name: &name,
        };
        let a = codec::encode(&StoredIndexPart::V1(self.index.clone()))?;
        let b = self
            .maintenance
            .map(|(part, halves)| stored_maintenance(&binding, part, halves))
            .transpose()?;
        let c = self.snapshot.map(|(snapshot, _)| snapshot.encode()).transpose()?;
        let sealed = |part: &Option<Vec<u8>>, more: usize| part.as_ref().map_or(0, |p| p.len() + aead::OVERHEAD + more);
        let body = 17 + 12 + a.len() + aead::OVERHEAD + sealed(&b, WRAPPED_KEY) + sealed(&c, 0);
        let header = envelope::header(Kind::End, true, body as u64);

        let mut object = header.to_vec();
        object.push(self.outcome as u8);
        object.extend_from_slice(&self.nonce);
        let mut section = |bytes: &[&[u8]]| {
            object.extend_from_slice(&(bytes.iter().map(|b| b.len()).sum::<usize>() as u32).to_le_bytes());
            bytes.iter().for_each(|bytes| object.extend_from_slice(bytes));
        };
        let context = index_context(&binding, self.outcome as u8, &self.nonce);
        section(&[&object::seal(index, &header, &context, &a)]);
        match (&b, self.maintenance) {
            (Some(b), Some((_, halves))) => {
                let key = Secret::random();
                let unusable = || Error::Invalid("The maintenance key of the repository is not usable".into());
                let public = halves.public.ok_or_else(unusable)?;
                let wrapped =
                    hpke::wrap(public, &maintenance_info(repository, session), key.expose()).map_err(|_| unusable())?;
                section(&[&wrapped, &binding.seal(&key, &header, 2, b)]);
            }
            _ => section(&[]),
        }
        match (&c, self.snapshot) {
            (Some(c), Some((_, key))) => section(&[&binding.seal(key, &header, 3, c)]),
            _ => section(&[]),
        }
        Ok(envelope::finish(object))
    }
}

impl End {
    /// Reads the object and opens section A.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::NewerFormat`].
    pub fn from_object(repository: RepositoryId, session: SessionId, index: &Secret, object: &[u8]) -> Result<Self> {
        let name = end_name(session);
        let binding = Binding {
            repository,
            kind: Kind::End,
            name: &name,
        };
        let envelope = envelope::parse(&name, Kind::End, Access::Read, object)?;
        let parsed = split(envelope.body).ok_or_else(|| Error::damaged(&name, "its sections do not add up"))?;
        let (outcome, nonce, [a, b, c]) = parsed;
        let context = index_context(&binding, outcome, &nonce);
        let outcome = match outcome {
            1 => Outcome::Commit,
            2 => Outcome::Abort,
            3 => Outcome::Fenced,
            other => return Err(Error::damaged(&name, format!("it has the unknown outcome {other}"))),
        };
        let a = binding.open_in(index, envelope.header, &context, a)?;
        let StoredIndexPart::V1(index) = codec::decode(&name, &a)?;
        Ok(Self {
            outcome,
            nonce,
            index,
            header: envelope.header.to_vec(),
            maintenance: b.to_vec(),
            snapshot: c.to_vec(),
        })
    }

    /// Stands for an object that has been listed but not read; claims nothing.
    pub fn unread() -> Self {
        let index = IndexPart {
            open_hash: [0; 32],
            ended: Timestamp::default(),
            source: [0; 16],
            segments: 0,
            segment: None,
            packs: 0,
            kind: SessionKind::Read,
            external_references: false,
        };
        let (header, maintenance, snapshot) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            outcome: Outcome::Abort,
            nonce: [0; 16],
            index,
            header,
            maintenance,
            snapshot,
        }
    }

    /// Whether it holds a snapshot.
    pub fn is_snapshot(&self) -> bool {
        self.outcome == Outcome::Commit && !self.snapshot.is_empty()
    }

    /// Opens section B. What a repack moved counts only with the voucher of maintenance: a writer could send references astray with it.
    ///
    /// # Errors
    /// [`Error::Damaged`], also when there is none.
    pub fn maintenance(
        &self,
        repository: RepositoryId,
        session: SessionId,
        pair: &SecretPair,
    ) -> Result<MaintenancePart> {
        let name = end_name(session);
        let damaged = || Error::damaged(&name, "its maintenance section does not open");
        let (wrapped, sealed) = self.maintenance.split_at_checked(WRAPPED_KEY).ok_or_else(damaged)?;
        let key = pair
            .unwrap(&maintenance_info(repository, session), wrapped)
            .map_err(|_| damaged())?;
        let key = Secret::new(key.try_into().map_err(|_| damaged())?);
        let binding = Binding {
            repository,
            kind: Kind::End,
            name: &name,
        };
        let part = binding.open(&key, &self.header, 2, sealed)?;
        let StoredMaintenancePart::V1 {
            summary,
            references,
            mut moved,
            voucher,
        } = codec::decode(&name, &part)?;
        if !moved.is_empty() {
            let right = binding.voucher(&vouch_key(pair), &codec::encode(&moved)?);
            if voucher.map(Secret::new) != Some(right) {
                moved.clear();
            }
        }
        Ok(MaintenancePart {
            summary,
            references,
            moved,
        })
    }

    /// Opens section C with the session's tree key.
    ///
    /// # Errors
    /// [`Error::Damaged`], also when there is none.
    pub fn snapshot(&self, repository: RepositoryId, session: SessionId, tree_key: &Secret) -> Result<Snapshot> {
        let name = end_name(session);
        let record = Binding {
            repository,
            kind: Kind::End,
            name: &name,
        }
        .open(tree_key, &self.header, 3, &self.snapshot)?;
        Snapshot::decode(&name, &record)
    }
}

/// Section A answers for outcome and nonce, which stand beside it in the clear.
fn index_context(binding: &Binding<'_>, outcome: u8, nonce: &[u8; 16]) -> Vec<u8> {
    let mut context = binding.context(1);
    context.push(outcome);
    context.extend_from_slice(nonce);
    context
}

fn stored_maintenance(binding: &Binding<'_>, part: &MaintenancePart, halves: &Halves) -> Result<Vec<u8>> {
    let vouch = halves.pair.as_ref().filter(|_| !part.moved.is_empty()).map(vouch_key);
    let voucher = match vouch {
        Some(vouch) => Some(*binding.voucher(&vouch, &codec::encode(&part.moved)?).expose()),
        None => None,
    };
    codec::encode(&StoredMaintenancePart::V1 {
        summary: part.summary.clone(),
        references: part.references.clone(),
        moved: part.moved.clone(),
        voucher,
    })
}

type Sections<'a> = (u8, [u8; 16], [&'a [u8]; 3]);

fn split(body: &[u8]) -> Option<Sections<'_>> {
    let mut fields = Fields::new(body);
    let (outcome, nonce) = (fields.u8()?, fields.array()?);
    let mut sections = [&[][..]; 3];
    for section in &mut sections {
        let length = fields.u32()?;
        *section = fields.take(length as usize)?;
    }
    fields.rest().is_empty().then_some((outcome, nonce, sections))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn each_section_opens_for_its_holder_alone() {
        let (repository, session) = (RepositoryId([1; 16]), SessionId([2; 16]));
        let (index_key, tree_key) = (Secret::random(), Secret::random());
        let maintenance = SecretPair::random();
        let index = IndexPart {
            open_hash: [3; 32],
            ended: Timestamp(4),
            source: [5; 16],
            segments: 0,
            segment: Some(vec![6]),
            packs: 1,
            kind: SessionKind::Backup,
            external_references: false,
        };
        let part = MaintenancePart {
            summary: Summary::default(),
            references: Some(vec![7]),
            moved: vec![],
        };
        let snapshot = Snapshot {
            description: "mine".into(),
            ..Snapshot::default()
        };
        let public = Halves {
            public: Some(maintenance.public()),
            pair: None,
        };
        let new = NewEnd {
            outcome: Outcome::Commit,
            nonce: [8; 16],
            index: &index,
            maintenance: Some((&part, &public)),
            snapshot: Some((&snapshot, &tree_key)),
        };
        let object = new.to_object(repository, session, &index_key).unwrap();
        let end = End::from_object(repository, session, &index_key, &object).unwrap();
        assert_eq!(end.index, index);
        assert!(end.is_snapshot());
        assert_eq!(end.maintenance(repository, session, &maintenance).unwrap(), part);
        assert_eq!(end.snapshot(repository, session, &tree_key).unwrap(), snapshot);
        assert!(end.maintenance(repository, session, &SecretPair::random()).is_err());
        assert!(end.snapshot(repository, session, &index_key).is_err());
        assert!(End::from_object(repository, session, &tree_key, &object).is_err());
        assert!(End::from_object(repository, SessionId([9; 16]), &index_key, &object).is_err());

        // Whoever keeps the object can turn neither its outcome nor its nonce, and its hash does not help.
        for place in envelope::HEADER..envelope::HEADER + 17 {
            let mut changed = object[..object.len() - envelope::HASH].to_vec();
            changed[place] ^= 3;
            let changed = envelope::finish(changed);
            assert!(End::from_object(repository, session, &index_key, &changed).is_err());
        }
    }

    #[test]
    fn what_was_moved_counts_with_the_voucher_of_maintenance_alone() {
        let (repository, session, index_key) = (RepositoryId([1; 16]), SessionId([2; 16]), Secret::random());
        let (maintenance, other) = (SecretPair::random(), SecretPair::random());
        let part = MaintenancePart {
            summary: Summary::default(),
            references: None,
            moved: vec![Moved {
                session: SessionId([3; 16]),
                number: 4,
                to: vec![(5, 6, 7)],
            }],
        };
        let index = End::unread().index;
        let said_by = |pair: Option<&SecretPair>| {
            let halves = Halves {
                public: Some(maintenance.public()),
                pair: pair.cloned(),
            };
            let new = NewEnd {
                outcome: Outcome::Commit,
                nonce: [8; 16],
                index: &index,
                maintenance: Some((&part, &halves)),
                snapshot: None,
            };
            let object = new.to_object(repository, session, &index_key).unwrap();
            let end = End::from_object(repository, session, &index_key, &object).unwrap();
            end.maintenance(repository, session, &maintenance).unwrap().moved
        };
        assert_eq!(said_by(Some(&maintenance)), part.moved);
        assert_eq!(said_by(Some(&other)), []);
        assert_eq!(said_by(None), []);
    }
}
