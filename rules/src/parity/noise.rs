//! Noise: places where a side does not agree with itself. Learnt by asking it twice; what differs there is left out, as long
//! as both sides have a value of the same kind.

use std::collections::BTreeSet;

use super::{Difference, MISSING};

/// Places that are remembered; a path with more is not comparable.
const MOST: usize = 64;

/// Where an answer changes from one asking to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Noise(BTreeSet<String>);

impl Noise {
    /// The places of differences between two answers of one side.
    pub fn between(differences: &[Difference]) -> Noise {
        let both = differences.iter().filter(|difference| difference.legacy != MISSING && difference.modern != MISSING);
        let valued = both.filter(|difference| !matches!(&*difference.path, "status" | "content-type" | "body"));
        Noise(valued.map(|difference| general(&difference.path)).collect())
    }

    /// The places that both have.
    #[must_use]
    pub fn and(&self, other: &Noise) -> Noise {
        Noise(self.0.intersection(&other.0).cloned().collect())
    }

    /// Adds places, as long as there is room.
    pub fn add(&mut self, other: &Noise) {
        for place in &other.0 {
            if self.0.len() < MOST {
                self.0.insert(place.clone());
            }
        }
    }

    /// Whether nothing is noisy.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a place is noisy.
    pub(super) fn has(&self, place: &str) -> bool {
        !self.0.is_empty() && self.0.contains(&general(place))
    }
}

/// A place, whichever member of an array it is in: `$.rows[*].at`.
pub(super) fn general(place: &str) -> String {
    let mut told = String::with_capacity(place.len());
    let mut rest = place;
    while let Some((before, after)) = rest.split_once('[') {
        told.push_str(before);
        match after.split_once(']') {
            Some((index, tail)) if !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit()) => {
                told.push_str("[*]");
                rest = tail;
            }
            _ => {
                told.push('[');
                rest = after;
            }
        }
    }
    told.push_str(rest);
    told
}

#[cfg(test)]
mod tests {
    use super::super::Difference;
    use super::{MOST, Noise, general};

    fn difference(path: &str, legacy: &str) -> Difference {
        Difference { path: path.to_owned(), legacy: legacy.to_owned(), modern: "1".to_owned() }
    }

    #[test]
    fn noise_is_where_both_answers_have_something_else() {
        let noise = Noise::between(&[difference("$.a[3].b", "2"), difference("$.c", "(missing)"), difference("status", "200")]);
        assert!(noise.has("$.a[7].b") && !noise.has("$.c") && !noise.has("status") && !noise.has("$.a[7]"));
        assert!(noise.and(&Noise::default()).is_empty() && !noise.and(&noise).is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let many: Vec<Difference> = (0..1000).map(|n| difference(&format!("$.k{n}"), "2")).collect();
        let mut noise = Noise::default();
        noise.add(&Noise::between(&many));
        assert_eq!(noise.0.len(), MOST);
    }

    #[test]
    fn a_place_in_an_array_stands_for_all() {
        assert_eq!(general("$.a[3].b[10]"), "$.a[*].b[*]");
        assert_eq!(general("$.a[x].b["), "$.a[x].b[");
    }
}
