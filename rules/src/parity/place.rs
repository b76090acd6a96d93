//! Places inside a JSON value, and the patterns that leave some of them out: `$.a.b`, `$.a[*].b`, `$.a[3]`.

/// One step into a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// Into an object.
    Name(String),
    /// Into an array.
    Index(usize),
    /// Into an array, at any place. Only in patterns.
    Every,
}

/// A path of the ignore list. What cannot be understood covers nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Option<Vec<Segment>>);

impl Pattern {
    pub(super) fn parse(path: &str) -> Pattern {
        Pattern(path.strip_prefix('$').and_then(segments))
    }

    /// Whether a place is this one, or below it.
    pub(super) fn covers(&self, place: &[Segment]) -> bool {
        let matches = |(pattern, at): (&Segment, &Segment)| match pattern {
            Segment::Every => matches!(at, Segment::Index(_)),
            exactly => exactly == at,
        };
        self.0.as_ref().is_some_and(|pattern| pattern.len() <= place.len() && pattern.iter().zip(place).all(matches))
    }

    /// Whether a place is this one.
    pub(super) fn is(&self, place: &[Segment]) -> bool {
        self.covers(place) && self.0.as_ref().is_some_and(|pattern| pattern.len() == place.len())
    }
}

/// A place as people read it.
pub(super) fn path_of(place: &[Segment]) -> String {
    place.iter().fold("$".to_owned(), |path, segment| match segment {
        Segment::Name(name) => format!("{path}.{name}"),
        Segment::Index(index) => format!("{path}[{index}]"),
        Segment::Every => format!("{path}[*]"),
    })
}

fn segments(mut rest: &str) -> Option<Vec<Segment>> {
    let mut segments = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('[') {
            let (index, tail) = after.split_once(']')?;
            segments.push(if index == "*" { Segment::Every } else { Segment::Index(index.parse().ok()?) });
            rest = tail;
        } else {
            let after = rest.strip_prefix('.')?;
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let (name, tail) = after.split_at(end);
            segments.push(Segment::Name(Some(name).filter(|name| !name.is_empty())?.to_owned()));
            rest = tail;
        }
    }
    Some(segments)
}

#[cfg(test)]
mod tests {
    use super::{Pattern, Segment, path_of};

    #[test]
    fn a_pattern_covers_its_place_and_what_is_below() {
        let name = |name: &str| Segment::Name(name.into());
        let place = [name("a"), Segment::Index(3), name("b")];
        assert_eq!(path_of(&place), "$.a[3].b");
        for covering in ["$", "$.a", "$.a[*]", "$.a[3]", "$.a[*].b", "$.a[3].b"] {
            assert!(Pattern::parse(covering).covers(&place), "{covering}");
        }
        for other in ["", "a", "$.b", "$.a[4]", "$.a[*].c", "$.a.b", "$.a[*].b.c", "$.a[", "$..a", "$.a[x]"] {
            assert!(!Pattern::parse(other).covers(&place), "{other}");
        }
    }
}
