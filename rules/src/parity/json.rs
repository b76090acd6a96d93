//! Two JSON values, side by side: members in any order, arrays in order unless a rule says otherwise, numbers and times within
//! what a rule tolerates.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::{Number, Value};

use super::place::{Pattern, Segment, path_of};
use super::{Difference, Leniency, MISSING, Noise, TOLD, Tolerance, difference, secret};

/// Pairs that are tried to match the members of two unordered arrays that are not exactly the same.
const PAIRS: usize = 2_500;

/// Where two values differ.
pub(super) fn compare(legacy: &Value, modern: &Value, lenient: &Leniency, noise: &Noise) -> Vec<Difference> {
    let parsed = |paths: &[String]| paths.iter().map(|path| Pattern::parse(path)).collect();
    let rules = Rules {
        ignore: parsed(&lenient.ignore),
        unordered: parsed(&lenient.unordered),
        redact: parsed(&lenient.redact),
        tolerate: lenient.tolerate.iter().map(|(path, tolerance)| (Pattern::parse(path), *tolerance)).collect(),
        noise,
    };
    let mut walk = Walk { rules: &rules, place: Vec::new(), found: Vec::new() };
    walk.values(legacy, modern);
    walk.found
}

struct Rules<'a> {
    ignore: Vec<Pattern>,
    unordered: Vec<Pattern>,
    redact: Vec<Pattern>,
    tolerate: Vec<(Pattern, Tolerance)>,
    noise: &'a Noise,
}

struct Walk<'a> {
    rules: &'a Rules<'a>,
    place: Vec<Segment>,
    found: Vec<Difference>,
}

impl Walk<'_> {
    fn values(&mut self, legacy: &Value, modern: &Value) {
        if self.found.len() >= TOLD || self.is_ignored() {
            return;
        }
        match (legacy, modern) {
            (Value::Object(theirs), Value::Object(ours)) => {
                for (name, value) in theirs {
                    self.member(Segment::Name(name.clone()), Some(value), ours.get(name));
                }
                for (name, value) in ours.iter().filter(|(name, _)| !theirs.contains_key(*name)) {
                    self.member(Segment::Name(name.clone()), None, Some(value));
                }
            }
            (Value::Array(theirs), Value::Array(ours)) if self.rules.unordered.iter().any(|pattern| pattern.is(&self.place)) => {
                self.unordered(theirs, ours);
            }
            (Value::Array(theirs), Value::Array(ours)) => {
                for index in 0..theirs.len().max(ours.len()) {
                    self.member(Segment::Index(index), theirs.get(index), ours.get(index));
                }
            }
            (theirs, ours) if self.are_same(theirs, ours) => {}
            // What is of the same kind may be noise; what is missing, or of another kind, never is.
            (theirs, ours) if kind(theirs) == kind(ours) && self.rules.noise.has(&path_of(&self.place)) => {}
            (theirs, ours) => self.differ(Some(theirs), Some(ours)),
        }
    }

    fn member(&mut self, segment: Segment, legacy: Option<&Value>, modern: Option<&Value>) {
        self.place.push(segment);
        match (legacy, modern) {
            (Some(legacy), Some(modern)) => self.values(legacy, modern),
            _ if self.is_ignored() => {}
            (legacy, modern) => self.differ(legacy, modern),
        }
        self.place.pop();
    }

    /// Each member on one side has its like on the other, wherever it stands; what is left over is told in order.
    fn unordered(&mut self, theirs: &[Value], ours: &[Value]) {
        let mut by_text: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, value) in ours.iter().enumerate().rev() {
            by_text.entry(self.canonical(value)).or_default().push(index);
        }
        let mut alone: Vec<usize> = Vec::new();
        for (index, value) in theirs.iter().enumerate() {
            if by_text.get_mut(&self.canonical(value)).and_then(Vec::pop).is_none() {
                alone.push(index);
            }
        }
        let mut left: Vec<usize> = by_text.into_values().flatten().collect();
        left.sort_unstable();
        if alone.len() * left.len() <= PAIRS {
            alone.retain(|index| {
                let like = left.iter().position(|other| self.are_alike(*index, &theirs[*index], &ours[*other]));
                like.map(|at| left.remove(at)).is_none()
            });
        }
        for at in 0..alone.len().max(left.len()) {
            let (index, other) = (alone.get(at), left.get(at));
            let segment = Segment::Index(*index.or(other).expect("one of the two has so many"));
            self.member(segment, index.map(|index| &theirs[*index]), other.map(|other| &ours[*other]));
        }
    }

    fn are_alike(&self, index: usize, theirs: &Value, ours: &Value) -> bool {
        let mut inner = Walk { rules: self.rules, place: self.place.clone(), found: Vec::new() };
        inner.member(Segment::Index(index), Some(theirs), Some(ours));
        inner.found.is_empty()
    }

    /// A member of an array as text, the same for all that say the same; without what is ignored.
    fn canonical(&self, value: &Value) -> String {
        let mut text = String::new();
        let mut place = self.place.clone();
        place.push(Segment::Index(0));
        self.write(&mut place, value, &mut text);
        text
    }

    fn write(&self, place: &mut Vec<Segment>, value: &Value, text: &mut String) {
        if self.rules.ignore.iter().any(|pattern| pattern.covers(place)) {
            return;
        }
        match value {
            Value::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                members.sort_by_key(|(name, _)| name.as_str());
                text.push('{');
                for (name, value) in members {
                    place.push(Segment::Name(name.clone()));
                    if !self.rules.ignore.iter().any(|pattern| pattern.covers(place)) {
                        let _ = write!(text, "{name:?}:");
                        self.write(place, value, text);
                        text.push(',');
                    }
                    place.pop();
                }
                text.push('}');
            }
            Value::Array(items) => {
                text.push('[');
                for (index, value) in items.iter().enumerate() {
                    place.push(Segment::Index(index));
                    self.write(place, value, text);
                    text.push(',');
                    place.pop();
                }
                text.push(']');
            }
            Value::Number(number) if number.is_f64() => {
                let _ = write!(text, "{:?}", number.as_f64());
            }
            value => {
                let _ = write!(text, "{value}");
            }
        }
    }

    fn are_same(&self, theirs: &Value, ours: &Value) -> bool {
        if theirs == ours {
            return true;
        }
        let tolerated = self.rules.tolerate.iter().find(|(pattern, _)| pattern.covers(&self.place)).map(|(_, tolerance)| *tolerance);
        match (theirs, ours, tolerated) {
            (Value::Number(theirs), Value::Number(ours), Some(Tolerance::Number(most))) => {
                theirs.as_f64().zip(ours.as_f64()).is_some_and(|(theirs, ours)| (theirs - ours).abs() <= most)
            }
            (Value::Number(theirs), Value::Number(ours), _) => theirs.as_f64() == ours.as_f64() && !both_whole(theirs, ours),
            (Value::String(theirs), Value::String(ours), Some(Tolerance::Time(most))) => {
                let at = |text: &str| text.parse::<jiff::Timestamp>().ok();
                at(theirs).zip(at(ours)).is_some_and(|(theirs, ours)| theirs.duration_since(ours).unsigned_abs() <= most)
            }
            _ => false,
        }
    }

    fn is_ignored(&self) -> bool {
        self.rules.ignore.iter().any(|pattern| pattern.covers(&self.place))
    }

    fn differ(&mut self, legacy: Option<&Value>, modern: Option<&Value>) {
        if self.found.len() >= TOLD {
            return;
        }
        let mut say = |value: Option<&Value>| match value {
            Some(value) => secret::told(&mut self.place, value, &self.rules.redact),
            None => MISSING.to_owned(),
        };
        let (theirs, ours) = (say(legacy), say(modern));
        self.found.push(difference(&path_of(&self.place), &theirs, &ours));
    }
}

/// Whole numbers are compared exactly: beyond 2^53 two of them share a floating-point value.
fn both_whole(a: &Number, b: &Number) -> bool {
    !a.is_f64() && !b.is_f64()
}

fn kind(value: &Value) -> std::mem::Discriminant<Value> {
    std::mem::discriminant(value)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::super::{Leniency, Noise, Tolerance};
    use super::compare;

    fn paths(legacy: &Value, modern: &Value, lenient: &Leniency) -> Vec<String> {
        compare(legacy, modern, lenient, &Noise::default()).into_iter().map(|found| found.path).collect()
    }

    fn strings(paths: &[&str]) -> Vec<String> {
        paths.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn numbers_and_times_may_be_a_little_apart() {
        let tolerate =
            vec![("$.rows[*].score".to_owned(), Tolerance::Number(0.01)), ("$.at".to_owned(), Tolerance::Time(Duration::from_secs(2)))];
        let lenient = Leniency { tolerate, ..Leniency::default() };
        let value = |score: f64, at: &str| json!({"rows": [{"score": score, "other": score}], "at": at});
        let legacy = value(1.0, "2026-11-28T13:00:00Z");
        assert_eq!(paths(&legacy, &value(1.009, "2026-11-28T14:00:01.5+01:00"), &lenient), ["$.rows[0].other"]);
        assert_eq!(paths(&legacy, &value(1.02, "2026-11-28T13:00:03Z"), &lenient), ["$.at", "$.rows[0].other", "$.rows[0].score"]);
        assert_eq!(paths(&legacy, &value(1.0, "soon"), &lenient), ["$.at"]);
    }

    #[test]
    fn an_unordered_array_is_compared_by_its_members() {
        let lenient = Leniency { unordered: strings(&["$.tags"]), ignore: strings(&["$.tags[*].seen"]), ..Leniency::default() };
        let tags = |tags: Value| json!({"tags": tags, "list": [1, 2]});
        let legacy = tags(json!([{"id": 1, "seen": 5}, {"id": 2}, {"id": 2}]));
        assert_eq!(paths(&legacy, &tags(json!([{"id": 2}, {"id": 1, "seen": 6}, {"id": 2}])), &lenient), [""; 0]);
        // As often as on the other side.
        assert_eq!(paths(&legacy, &tags(json!([{"id": 2}, {"id": 1}, {"id": 1}])), &lenient), ["$.tags[2].id"]);
        assert_eq!(paths(&legacy, &tags(json!([{"id": 2}, {"id": 1}])), &lenient), ["$.tags[2]"]);
        let mut other = legacy.clone();
        other["list"] = json!([2, 1]);
        assert_eq!(paths(&legacy, &other, &lenient).len(), 2, "the others keep their order");
        let close = Leniency { tolerate: vec![("$.tags[*]".to_owned(), Tolerance::Number(0.1))], ..lenient };
        assert_eq!(paths(&tags(json!([1.0, 5.0])), &tags(json!([5.05, 1.05])), &close), [""; 0]);
    }

    #[test]
    fn noise_is_another_value_of_the_same_kind() {
        let legacy = json!({"rows": [{"nonce": "a"}, {"nonce": "b"}]});
        let noise =
            Noise::between(&compare(&legacy, &json!({"rows": [{"nonce": "c"}, {"nonce": "d"}]}), &Leniency::default(), &Noise::default()));
        let differing = |modern: Value| compare(&legacy, &modern, &Leniency::default(), &noise).len();
        assert_eq!(differing(json!({"rows": [{"nonce": "x"}, {"nonce": "y"}]})), 0);
        assert_eq!(differing(json!({"rows": [{"nonce": 1}, {}]})), 2);
    }

    #[test]
    fn large_unordered_arrays_are_compared_all_the_same() {
        let lenient = Leniency { unordered: strings(&["$"]), ..Leniency::default() };
        let there: Value = (0..20_000).collect();
        let back: Value = (0..20_000).rev().collect();
        assert_eq!(paths(&there, &back, &lenient), [""; 0]);
        let other: Value = (100..20_100).collect();
        assert!(!paths(&there, &other, &lenient).is_empty());
    }
}
