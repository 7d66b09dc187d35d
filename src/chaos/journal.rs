//! The journal: what was decided about the last requests, and what of it was done.

use std::collections::VecDeque;
use std::sync::Arc;

use super::decision::{Drawn, Slot};
use super::draw::RequestDigest;

/// One fault of one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The name of the rule.
    pub rule: Arc<str>,
    /// What was drawn for it.
    pub drawn: Drawn,
    /// Whether it took effect; a client may have left before.
    pub done: bool,
}

/// One request that was decided about. Its key is there as a digest only.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Which decision of its engine it is, from 0.
    pub number: u64,
    /// When, in milliseconds since arming.
    pub elapsed_ms: u64,
    /// Its key, digested under the seed.
    pub request: RequestDigest,
    /// Which attempt of its key, from 0.
    pub attempt: u32,
    /// Its delay.
    pub latency: Option<Recorded>,
    /// Its error, or what was done to its connection or answer.
    pub fault: Option<Recorded>,
    /// The kill of a kernel.
    pub kill: Option<Recorded>,
}

impl Entry {
    /// The faults that it has.
    pub fn faults(&self) -> impl Iterator<Item = &Recorded> {
        [&self.latency, &self.fault, &self.kill].into_iter().flatten()
    }

    fn slot(&mut self, slot: Slot) -> &mut Option<Recorded> {
        match slot {
            Slot::Latency => &mut self.latency,
            Slot::Fault => &mut self.fault,
            Slot::Kill => &mut self.kill,
        }
    }
}

/// The last so many entries. What is older is dropped, and counted.
#[derive(Debug)]
pub struct Journal {
    entries: VecDeque<Entry>,
    capacity: usize,
    next: u64,
    dropped: u64,
}

impl Journal {
    /// Keeps up to `capacity` entries; none for 0.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { entries: VecDeque::new(), capacity, next: 0, dropped: 0 }
    }

    /// Adds what was decided about one more request, and returns its number; the entry is not even made where nothing
    /// is kept.
    pub fn push_with(&mut self, entry: impl FnOnce(u64) -> Entry) -> u64 {
        let number = self.next;
        self.next += 1;
        if self.entries.len() >= self.capacity {
            self.entries.pop_front();
            self.dropped += 1;
        }
        if self.capacity > 0 {
            self.entries.push_back(entry(number));
        }
        number
    }

    /// A fault of the entry with this number took effect. Nothing happens if that entry was dropped.
    pub fn done(&mut self, number: u64, slot: Slot) {
        let Some(first) = self.entries.front().map(|entry| entry.number) else { return };
        let place = number.checked_sub(first).and_then(|place| usize::try_from(place).ok());
        let entry = place.and_then(|place| self.entries.get_mut(place));
        if let Some(recorded) = entry.and_then(|entry| entry.slot(slot).as_mut()) {
            recorded.done = true;
        }
    }

    /// Keeps up to so many from now on.
    pub fn resize(&mut self, capacity: usize) {
        let over = self.entries.len().saturating_sub(capacity);
        self.entries.drain(..over);
        self.dropped += over as u64;
        self.capacity = capacity;
    }

    /// Forgets everything but the next number: what is still to be done is marked on no other entry.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.dropped = 0;
    }

    /// The entries that are kept, oldest first.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.entries.iter().cloned().collect()
    }

    /// How many are kept no more.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::Seed;

    fn entry(number: u64) -> Entry {
        let fault = Recorded { rule: "one".into(), drawn: Drawn::Status(503), done: false };
        Entry {
            number,
            elapsed_ms: 0,
            request: Seed::from_text("1").request(&number.to_string()),
            attempt: 0,
            latency: None,
            fault: Some(fault),
            kill: None,
        }
    }

    fn journal(capacity: usize, pushed: u64) -> Journal {
        let mut journal = Journal::new(capacity);
        (0..pushed).for_each(|number| assert_eq!(journal.push_with(entry), number));
        journal
    }

    #[test]
    fn it_keeps_the_last_and_counts_the_others() {
        for (capacity, pushed, first) in [(3, 2, 0), (3, 3, 0), (3, 10, 7), (1, 10, 9)] {
            let journal = journal(capacity, pushed);
            let numbers: Vec<u64> = journal.entries().iter().map(|entry| entry.number).collect();
            assert_eq!(numbers, (first..pushed).collect::<Vec<_>>());
            assert_eq!(journal.dropped(), first);
        }
        assert_eq!((journal(0, 5).entries().len(), journal(0, 5).dropped()), (0, 5));
    }

    #[test]
    fn what_was_done_is_marked_on_its_entry_and_on_no_other() {
        let mut journal = journal(3, 10);
        journal.done(6, Slot::Fault);
        journal.done(8, Slot::Fault);
        journal.done(8, Slot::Latency);
        journal.done(10, Slot::Fault);
        let done: Vec<bool> = journal
            .entries()
            .iter()
            .flat_map(|entry| entry.faults().map(|f| f.done).collect::<Vec<_>>())
            .collect();
        assert_eq!(done, [false, true, false]);
    }

    #[test]
    fn a_smaller_one_drops_the_oldest() {
        let mut journal = journal(5, 5);
        journal.resize(2);
        assert_eq!((journal.entries()[0].number, journal.dropped()), (3, 3));
        journal.clear();
        assert_eq!((journal.entries().len(), journal.dropped()), (0, 0));
        assert_eq!(journal.push_with(entry), 5);
    }
}
