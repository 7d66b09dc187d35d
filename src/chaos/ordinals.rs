//! Which attempt a request is: how often its key was seen before.

use std::collections::HashMap;

use super::draw::RequestDigest;

/// Counts the requests of each key, for a bounded number of keys.
///
/// Two generations of `capacity / 2` keys each: a key that is seen moves to the young one, and when that is full the
/// old one is dropped whole. So a key is remembered at least until `capacity / 2` other keys were seen after it. A
/// key that was forgotten counts from zero again: it meets the decisions of its first attempts once more.
#[derive(Debug)]
pub struct Ordinals {
    young: HashMap<RequestDigest, u32>,
    old: HashMap<RequestDigest, u32>,
    generation: usize,
}

impl Ordinals {
    /// Remembers up to `capacity` keys, at least two.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), generation: (capacity / 2).max(1) }
    }

    /// How many requests with this key came before, and one more from now on.
    pub fn next(&mut self, request: RequestDigest) -> u32 {
        if let Some(count) = self.young.get_mut(&request) {
            let ordinal = *count;
            *count = count.saturating_add(1);
            return ordinal;
        }
        if self.young.len() >= self.generation {
            std::mem::swap(&mut self.young, &mut self.old);
            // Keeps its memory, which the next generation fills again.
            self.young.clear();
        }
        let ordinal = self.old.remove(&request).unwrap_or(0);
        self.young.insert(request, ordinal.saturating_add(1));
        ordinal
    }

    /// How many requests with this key came before.
    #[must_use]
    pub fn seen(&self, request: RequestDigest) -> u32 {
        self.young.get(&request).or_else(|| self.old.get(&request)).copied().unwrap_or(0)
    }

    /// How many keys are remembered now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether no key is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::Seed;

    fn digest(n: usize) -> RequestDigest {
        Seed::from_text("ordinals").request(&n.to_string())
    }

    #[test]
    fn each_key_counts_by_itself() {
        let mut ordinals = Ordinals::new(100);
        assert_eq!([0, 1, 0, 0, 1].map(|key| ordinals.next(digest(key))), [0, 0, 1, 2, 1]);
    }

    #[test]
    fn a_million_keys_do_not_grow_it() {
        let mut ordinals = Ordinals::new(1_000);
        for key in 0..1_000_000 {
            ordinals.next(digest(key));
            assert!(ordinals.len() <= 1_000);
        }
    }

    #[test]
    fn a_key_is_remembered_while_fewer_than_half_the_capacity_of_others_came() {
        for before in 0..20 {
            let mut ordinals = Ordinals::new(20);
            for key in 1_000..1_000 + before {
                ordinals.next(digest(key));
            }
            assert_eq!(ordinals.next(digest(0)), 0);
            for round in 1..10 {
                for other in 1..10 {
                    ordinals.next(digest(other * 100 + usize::try_from(round).unwrap()));
                }
                assert_eq!(ordinals.next(digest(0)), round, "{before} keys before");
            }
        }
    }

    #[test]
    fn a_forgotten_key_counts_from_zero_again() {
        let mut ordinals = Ordinals::new(20);
        assert_eq!([0, 0].map(|key| ordinals.next(digest(key))), [0, 1]);
        for other in 1..=20 {
            ordinals.next(digest(other));
        }
        assert_eq!(ordinals.next(digest(0)), 0);
    }
}
