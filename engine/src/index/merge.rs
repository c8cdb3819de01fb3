//! Several sorted inputs as one: the packs of all runs, and runs merged into a larger one. Memory for a block of each input, and a number for each pack.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::run::{AllPacks, Run};
use super::write::Content;
use crate::format::segment::{PackInfo, SegmentEntry};
use crate::words::{PackName, Result};

/// Items of sorted inputs in order, each with the number of its input; equal ones in the order of inputs.
pub(super) struct Merge<I, T, K> {
    inputs: Vec<I>,
    heads: Vec<Option<T>>,
    order: BinaryHeap<Reverse<(K, usize)>>,
    key: fn(&T) -> K,
}

impl<I: Iterator<Item = Result<T>>, T, K: Ord> Merge<I, T, K> {
    /// Begins with the first item of each.
    pub(super) fn new(mut inputs: Vec<I>, key: fn(&T) -> K) -> Result<Self> {
        let mut heads = Vec::with_capacity(inputs.len());
        let mut order = BinaryHeap::with_capacity(inputs.len());
        for (number, input) in inputs.iter_mut().enumerate() {
            let head = input.next().transpose()?;
            order.extend(head.as_ref().map(|head| Reverse((key(head), number))));
            heads.push(head);
        }
        Ok(Self {
            inputs,
            heads,
            order,
            key,
        })
    }
}

impl<I: Iterator<Item = Result<T>>, T, K: Ord> Iterator for Merge<I, T, K> {
    type Item = Result<(usize, T)>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut first = self.order.peek_mut()?;
        let Reverse((_, number)) = *first;
        let next = match self.inputs[number].next().transpose() {
            Ok(next) => next,
            Err(error) => return Some(Err(error)),
        };
        match &next {
            Some(next) => *first = Reverse(((self.key)(next), number)),
            None => {
                std::collections::binary_heap::PeekMut::pop(first);
            }
        }
        let item = std::mem::replace(&mut self.heads[number], next)?;
        Some(Ok((number, item)))
    }
}

/// The packs of several runs by rising name; one that several have comes several times.
pub(super) fn all_packs<'a>(
    runs: impl IntoIterator<Item = &'a Run>,
) -> Result<Merge<AllPacks<'a>, PackInfo, PackName>> {
    Merge::new(runs.into_iter().map(Run::all_packs).collect(), |info| info.name)
}

/// Runs that are to become one.
pub(super) struct Merged<'a> {
    runs: &'a [Run],
    /// For each run the new numbers of its packs. They rise with the old ones, so entries keep their order.
    numbers: Vec<Vec<u32>>,
}

impl<'a> Merged<'a> {
    pub(super) fn new(runs: &'a [Run]) -> Result<Self> {
        let counts = runs.iter().map(|run| run.pack_count() as usize);
        let mut numbers: Vec<Vec<u32>> = counts.map(Vec::with_capacity).collect();
        let (mut count, mut last) = (0u32, None);
        for item in all_packs(runs)? {
            let (run, info) = item?;
            if last != Some(info.name) {
                count += 1;
                last = Some(info.name);
            }
            numbers[run].push(count - 1);
        }
        Ok(Self { runs, numbers })
    }
}

impl Content for Merged<'_> {
    fn names(&self) -> Vec<String> {
        self.runs.iter().flat_map(|run| run.names.iter().cloned()).collect()
    }

    fn packs(&self) -> Result<impl Iterator<Item = Result<PackInfo>>> {
        let mut last = None;
        Ok(all_packs(self.runs)?.filter_map(move |item| match item {
            Ok((_, info)) => {
                let again = last.replace(info.name) == Some(info.name);
                (!again).then_some(Ok(info))
            }
            Err(error) => Some(Err(error)),
        }))
    }

    fn entries(&self) -> Result<impl Iterator<Item = Result<SegmentEntry>>> {
        let inputs = self.runs.iter().zip(&self.numbers).map(|(run, numbers)| {
            run.all_entries().map(|entry| {
                entry.map(|entry| SegmentEntry {
                    pack: numbers[entry.pack as usize],
                    ..entry
                })
            })
        });
        let key = |entry: &SegmentEntry| (u128::from_be_bytes(entry.prefix), entry.pack, entry.ordinal);
        let mut last = None;
        Ok(Merge::new(inputs.collect(), key)?.filter_map(move |item| match item {
            Ok((_, entry)) => {
                let again = last.replace(key(&entry)) == Some(key(&entry));
                (!again).then_some(Ok(entry))
            }
            Err(error) => Some(Err(error)),
        }))
    }

    fn entries_max(&self) -> u64 {
        self.runs.iter().map(Run::entry_count).sum()
    }
}
