//! A map that forgets what was not used for long: two generations, of which the older is dropped when the younger is full.

use std::hash::Hash;

use super::hash::Map;

/// A map of at most twice its limit.
#[derive(Debug)]
pub struct Recent<K, V> {
    young: Map<K, V>,
    old: Map<K, V>,
    limit: usize,
}

impl<K: Hash + Eq, V> Recent<K, V> {
    /// The last `limit` entries are never forgotten.
    pub fn new(limit: usize) -> Recent<K, V> {
        Recent { young: Map::default(), old: Map::default(), limit }
    }

    /// The value of `key`, if it is not forgotten.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// The value of `key`, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        match self.young.get_mut(key) {
            Some(value) => Some(value),
            None => self.old.get_mut(key),
        }
    }

    /// Sets the value of `key`.
    pub fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.limit && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    /// Takes `key` out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let old = self.old.remove(key);
        self.young.remove(key).or(old)
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.young.is_empty() && self.old.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_there_and_never_more_than_twice_as_many() {
        let mut map = Recent::new(10);
        for number in 0..1000 {
            map.insert(number, number);
            assert!((number - number.min(9)..=number).all(|recent| map.get(&recent) == Some(&recent)));
            assert!(map.young.len() + map.old.len() <= 20);
        }
        assert_eq!(map.get(&900), None);
        assert_eq!((map.remove(&999), map.get(&999)), (Some(999), None));
    }
}
