//! Bytes of values, and a hash over a set of rows that does not depend on their order: rows that were still in flight are
//! added when they have settled. Rows come here in canonical form ([`ficus_rules::mapping::Plan::canonical`]).

use ficus_rules::mapping::{Row, Value, canonical_integer};
use sha2::{Digest, Sha256};

/// The sum of the SHA-256 of all rows, in four lanes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Root([u64; 4]);

impl Root {
    /// One more row.
    pub(super) fn add(&mut self, row: &Row) {
        let mut hasher = Sha256::new();
        let mut bytes = Vec::new();
        for value in std::iter::once(&row.key).chain(&row.values) {
            bytes.clear();
            encode(value, &mut bytes);
            hasher.update(&bytes);
        }
        let digest = hasher.finalize();
        for (lane, part) in self.0.iter_mut().zip(digest.chunks_exact(8)) {
            *lane = lane.wrapping_add(part.iter().fold(0, |lane, byte| lane << 8 | u64::from(*byte)));
        }
    }
}

impl std::fmt::Display for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|lane| write!(f, "{lane:016x}"))
    }
}

/// A key, as bytes that are equal when the keys are.
pub(super) fn key(key: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(key, &mut bytes);
    bytes
}

/// A key for people.
pub(crate) fn show(key: &Value) -> String {
    match key {
        Value::Int(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        other => format!("{other:?}"),
    }
}

/// Equal where [`ficus_rules::mapping::same`] says so, and nowhere else. A tag, the length where it varies, and the bytes: no two rows share an encoding.
fn encode(value: &Value, bytes: &mut Vec<u8>) {
    if let Some(number) = canonical_integer(value) {
        bytes.push(1);
        bytes.extend(number.to_be_bytes());
        return;
    }
    match value {
        Value::Null | Value::Int(_) => bytes.push(0),
        Value::Real(number) => {
            bytes.push(2);
            bytes.extend(number.to_bits().to_be_bytes());
        }
        Value::Text(text) => tagged(3, text.as_bytes(), bytes),
        Value::Blob(blob) => tagged(4, blob, bytes),
    }
}

fn tagged(tag: u8, content: &[u8], bytes: &mut Vec<u8>) {
    bytes.push(tag);
    bytes.extend((content.len() as u64).to_be_bytes());
    bytes.extend(content);
}

#[cfg(test)]
mod tests {
    use super::{Root, key};
    use ficus_rules::mapping::{Row, Value, same};

    fn root(rows: &[Row]) -> Root {
        rows.iter().fold(Root::default(), |mut root, row| {
            root.add(row);
            root
        })
    }

    #[test]
    fn order_does_not_matter_and_one_bit_does() {
        let row = |key, text: &str| Row { key: Value::Int(key), values: vec![Value::Text(text.into())] };
        let (one, two) = (row(1, "a"), row(2, "b"));
        assert_eq!(root(&[one.clone(), two.clone()]), root(&[two.clone(), one]));
        assert_ne!(root(&[row(1, "a"), two.clone()]), root(&[row(1, "c"), two]));
    }

    #[test]
    fn hashes_and_comparison_agree_on_what_is_equal() {
        let text = |text: &str| Value::Text(text.into());
        let numbers = [0.0, -0.0, 1.0, 0.1, 0.1 + f64::EPSILON, f64::NAN, f64::INFINITY, 9_007_199_254_740_992.0].map(Value::Real);
        let values = [Value::Null, Value::Int(0), Value::Int(1), Value::Int(9_007_199_254_740_992), text(""), text("1"), text("0.1")];
        let blobs = [Value::Blob(Vec::new()), Value::Blob(vec![b'1'])];
        let all: Vec<Value> = numbers.into_iter().chain(values).chain(blobs).collect();
        for (one, other) in all.iter().flat_map(|one| all.iter().map(move |other| (one, other))) {
            assert_eq!(same(one, other), key(one) == key(other), "{one:?} {other:?}");
        }
    }

    #[test]
    fn neighbouring_values_do_not_run_into_each_other() {
        let row = |a: &str, b: &str| Row { key: Value::Null, values: vec![Value::Text(a.into()), Value::Text(b.into())] };
        assert_ne!(root(&[row("ab", "c")]), root(&[row("a", "bc")]));
    }
}
