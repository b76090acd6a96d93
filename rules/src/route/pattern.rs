//! Path patterns: literals, `{name}` for one segment that is not empty, a trailing `{*name}` for the rest of the path
//! (also an empty rest: `/users/{*rest}` matches `/users/`, but not `/users`).

use std::cmp::Ordering;

use crate::path;

/// A path pattern, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    segments: Vec<Segment>,
}

/// What stands between two slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Just this; empty after a trailing slash.
    Literal(String),
    /// Any one segment, by name.
    One(String),
    /// All that follows, by name.
    Rest(String),
}

impl Pattern {
    /// Takes a pattern apart.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence without the pattern.
    pub fn parse(text: &str) -> Result<Pattern, String> {
        let Some(path) = text.strip_prefix('/') else { return Err("a path begins with `/`".to_owned()) };
        let segments = path.split('/').map(Segment::parse).collect::<Result<Vec<_>, _>>()?;
        if segments.iter().rev().skip(1).any(|segment| matches!(segment, Segment::Rest(_))) {
            return Err("`{*name}` takes the rest of the path, so nothing may follow it".to_owned());
        }
        let pattern = Pattern { segments };
        let names: Vec<&str> = pattern.names().collect();
        if let Some((_, twice)) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
            return Err(format!("`{{{twice}}}` stands in it twice"));
        }
        pattern.as_requests_come()?;
        Ok(pattern)
    }

    /// Its parts, from the left.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The names in it, from the left.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Literal(_) => None,
            Segment::One(name) | Segment::Rest(name) => Some(name.as_str()),
        })
    }

    /// The pattern without its names: two patterns of one shape match the same paths.
    pub fn shape(&self) -> String {
        let part = |segment: &Segment| match segment {
            Segment::Literal(literal) => format!("/{literal}"),
            Segment::One(_) => "/{}".to_owned(),
            Segment::Rest(_) => "/{*}".to_owned(),
        };
        self.segments.iter().map(part).collect()
    }

    /// Of the paths that both match, which pattern is tried first: `Less` is this one, `Equal` that they are of one shape.
    /// `None`: no path matches both.
    pub fn precedes(&self, other: &Pattern) -> Option<Ordering> {
        let mut order = Ordering::Equal;
        let (mut mine, mut others) = (self.segments.iter(), other.segments.iter());
        loop {
            let here = match (mine.next(), others.next()) {
                (None, None) => return Some(order),
                (None, Some(_)) | (Some(_), None) => return None,
                (Some(Segment::Rest(_)), Some(Segment::Rest(_))) => return Some(order),
                (Some(_), Some(Segment::Rest(_))) => return Some(order.then(Ordering::Less)),
                (Some(Segment::Rest(_)), Some(_)) => return Some(order.then(Ordering::Greater)),
                (Some(Segment::Literal(a)), Some(Segment::Literal(b))) if a == b => Ordering::Equal,
                (Some(Segment::Literal(_)), Some(Segment::Literal(_))) => return None,
                (Some(Segment::One(_)), Some(Segment::One(_))) => Ordering::Equal,
                (Some(Segment::Literal(text)), Some(_)) | (Some(_), Some(Segment::Literal(text))) if text.is_empty() => return None,
                (Some(Segment::Literal(_)), Some(Segment::One(_))) => Ordering::Less,
                (Some(Segment::One(_)), Some(Segment::Literal(_))) => Ordering::Greater,
            };
            order = order.then(here);
        }
    }

    /// Requests are matched by their normalised path: a literal that no normalised path contains can never match.
    fn as_requests_come(&self) -> Result<(), String> {
        let plain = |segment: &Segment| match segment {
            Segment::Literal(literal) => format!("/{literal}"),
            Segment::One(_) | Segment::Rest(_) => "/x".to_owned(),
        };
        let written: String = self.segments.iter().map(plain).collect();
        let comes = path::normalise(&written).map_err(str::to_owned)?;
        if comes == written {
            return Ok(());
        }
        Err("no request has such a path once it is normalised (slashes merged, dot segments resolved, escapes in their shortest form)"
            .to_owned())
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Segment, String> {
        let Some(inner) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) else {
            return match text.contains(['{', '}']) {
                true => Err(format!("`{text}`: a `{{name}}` stands for a whole segment, with its braces closed")),
                false => Ok(Segment::Literal(text.to_owned())),
            };
        };
        let (rest, name) = inner.strip_prefix('*').map_or((false, inner), |name| (true, name));
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(format!("`{text}`: a name is made of letters, digits and `_`"));
        }
        Ok(if rest { Segment::Rest(name.to_owned()) } else { Segment::One(name.to_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::Pattern;

    #[test]
    fn the_more_specific_of_two_patterns_precedes() {
        for (one, other, order) in [
            ("/users/{id}/photo/", "/users/{*rest}", Some(Ordering::Less)),
            ("/users/7/{part}", "/users/{id}/photo", Some(Ordering::Less)),
            ("/users/{id}", "/users/{user}", Some(Ordering::Equal)),
            ("/users/", "/users/{*rest}", Some(Ordering::Less)),
            ("/users/", "/users/{id}", None),
            ("/users", "/users/{*rest}", None),
            ("/users/a/{*rest}", "/users/b/{*rest}", None),
        ] {
            let parsed = |text| Pattern::parse(text).expect("a pattern");
            assert_eq!(parsed(one).precedes(&parsed(other)), order, "{one} {other}");
            assert_eq!(parsed(other).precedes(&parsed(one)), order.map(Ordering::reverse), "{other} {one}");
        }
    }

    #[test]
    fn patterns_of_one_shape_differ_in_names_alone() {
        let shape = |text: &str| Pattern::parse(text).expect("a pattern").shape();
        assert_eq!(shape("/users/{id}/photo/"), shape("/users/{user}/photo/"));
        assert_ne!(shape("/users/{id}"), shape("/users/{*id}"));
        assert_ne!(shape("/users"), shape("/users/"));
    }

    #[test]
    fn what_could_never_match_is_refused() {
        for text in
            ["", "users/", "/a//b", "/a/../b", "/a/%41", "/a b", "/a?b", "/{*rest}/x", "/{a}/{a}", "/{", "/x{a}", "/{}", "/{a-b}", "/ü"]
        {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }
}
