//! Path patterns: literals, `{name}` for one segment that is not empty, a trailing `{*name}` for the rest of the path
//! (also an empty rest: `/users/{*rest}` matches `/users/`, but not `/users`). Both may be limited by a regular expression,
//! `{id:[0-9]+}` and `{*file:.+\\.pdf}`, which the whole segment or rest must match.

use std::cmp::Ordering;

use super::expression::{Expression, Relation};
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
    /// Any one segment that the expression takes, by name.
    Matching(String, Expression),
    /// Any one segment, by name.
    One(String),
    /// All that follows, if the expression takes it, by name.
    RestMatching(String, Expression),
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
        // The expression of a rest may have slashes.
        let (before, rest) = match text.find("/{*") {
            Some(at) => (text[..at].strip_prefix('/'), Some(&text[at + 1..])),
            None => (Some(path), None),
        };
        if rest.is_some_and(|rest| rest.find('}').is_some_and(|end| !rest[..end].contains(':') && end + 1 < rest.len())) {
            return Err("`{*name}` takes the rest of the path, so nothing may follow it".to_owned());
        }
        let parts = before.into_iter().flat_map(|before| before.split('/')).chain(rest);
        let segments = parts.map(Segment::parse).collect::<Result<Vec<_>, _>>()?;
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
            Segment::One(name) | Segment::Rest(name) | Segment::Matching(name, _) | Segment::RestMatching(name, _) => Some(name.as_str()),
        })
    }

    /// How specific it is, from the left: of two that match a path the one whose kinds come first is tried first.
    pub fn kinds(&self) -> Vec<u8> {
        let kind = |segment: &Segment| match segment {
            Segment::Literal(_) => 0,
            Segment::Matching(..) => 1,
            Segment::One(_) => 2,
            Segment::RestMatching(..) => 3,
            Segment::Rest(_) => 4,
        };
        self.segments.iter().map(kind).collect()
    }

    /// What it means for another one whose literals stand at the same places, and which is as long.
    pub fn relation(&self, other: &Pattern) -> Relation {
        let mut relation = Relation::SAME;
        for (mine, others) in self.segments.iter().zip(&other.segments) {
            let slashes = matches!(mine, Segment::RestMatching(..) | Segment::Rest(_));
            let here = Expression::relation(mine.expression(), others.expression(), slashes);
            relation = Relation { meet: relation.meet && here.meet, covers: relation.covers && here.covers };
        }
        relation
    }

    /// The pattern without its names: two patterns of one shape match the same paths.
    pub fn shape(&self) -> String {
        let part = |segment: &Segment| match segment.expression() {
            Some(expression) => format!("{}{{:{}}}", segment.outline(), expression.text()),
            None => segment.outline(),
        };
        self.segments.iter().map(part).collect()
    }

    /// Its shape without expressions: only patterns of one outline can take each other's paths all.
    pub fn outline(&self) -> String {
        self.segments.iter().map(Segment::outline).collect()
    }

    /// Of the paths that both match, which pattern is tried first: `Less` is this one, `Equal` that they are of one shape.
    /// `None`: no path matches both. Between two expressions the order of the file decides, which is not known here: `Less`,
    /// since whoever asks wants to know whether this one may take the other's requests.
    pub fn precedes(&self, other: &Pattern) -> Option<Ordering> {
        let mut order = Ordering::Equal;
        let (mut mine, mut others) = (self.segments.iter(), other.segments.iter());
        loop {
            let here = match (mine.next(), others.next()) {
                (None, None) => return Some(order),
                (None, Some(_)) | (Some(_), None) => return None,
                (Some(a), Some(b)) if a.is_rest() || b.is_rest() => {
                    let here = match (a.is_rest(), b.is_rest()) {
                        (true, true) => a.before(b, true)?,
                        (_, true) => Ordering::Less,
                        _ => Ordering::Greater,
                    };
                    return Some(order.then(here));
                }
                (Some(Segment::Literal(a)), Some(Segment::Literal(b))) if a == b => Ordering::Equal,
                (Some(Segment::Literal(_)), Some(Segment::Literal(_))) => return None,
                (Some(Segment::Literal(text)), Some(other)) => other.takes(text).then_some(Ordering::Less)?,
                (Some(this), Some(Segment::Literal(text))) => this.takes(text).then_some(Ordering::Greater)?,
                (Some(a), Some(b)) => a.before(b, false)?,
            };
            order = order.then(here);
        }
    }

    /// Requests are matched by their normalised path: a literal that no normalised path contains can never match.
    fn as_requests_come(&self) -> Result<(), String> {
        let plain = |segment: &Segment| match segment {
            Segment::Literal(literal) => format!("/{literal}"),
            _ => "/x".to_owned(),
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
        let (rest, inner) = inner.strip_prefix('*').map_or((false, inner), |inner| (true, inner));
        let (name, expression) = inner.split_once(':').map_or((inner, None), |(name, expression)| (name, Some(expression)));
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(format!("`{text}`: a name is made of letters, digits and `_`"));
        }
        let name = name.to_owned();
        let expression = expression.map(Expression::parse).transpose().map_err(|why| format!("`{text}`: {why}"))?;
        Ok(match (rest, expression) {
            (false, None) => Segment::One(name),
            (false, Some(expression)) => Segment::Matching(name, expression),
            (true, None) => Segment::Rest(name),
            (true, Some(expression)) => Segment::RestMatching(name, expression),
        })
    }

    fn expression(&self) -> Option<&Expression> {
        match self {
            Segment::Matching(_, expression) | Segment::RestMatching(_, expression) => Some(expression),
            Segment::Literal(_) | Segment::One(_) | Segment::Rest(_) => None,
        }
    }

    fn is_rest(&self) -> bool {
        matches!(self, Segment::Rest(_) | Segment::RestMatching(..))
    }

    fn outline(&self) -> String {
        match self {
            Segment::Literal(literal) => format!("/{literal}"),
            other if other.is_rest() => "/{*}".to_owned(),
            _ => "/{}".to_owned(),
        }
    }

    /// Whether it takes a literal of another pattern, at the same place.
    fn takes(&self, literal: &str) -> bool {
        !literal.is_empty() && self.expression().is_none_or(|expression| expression.takes(literal))
    }

    /// Which of two is tried first, neither of them a literal; see [`Pattern::precedes`].
    fn before(&self, other: &Segment, slashes: bool) -> Option<Ordering> {
        match (self.expression(), other.expression()) {
            (None, None) => Some(Ordering::Equal),
            (Some(a), Some(b)) if a == b => Some(Ordering::Equal),
            (Some(_), None) => Some(Ordering::Less),
            (None, Some(_)) => Some(Ordering::Greater),
            (mine, others) => Expression::relation(mine, others, slashes).meet.then_some(Ordering::Less),
        }
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
            ("/users/{id:[0-9]+}", "/users/{id}", Some(Ordering::Less)),
            ("/users/7", "/users/{id:[0-9]+}", Some(Ordering::Less)),
            ("/users/me", "/users/{id:[0-9]+}", None),
            ("/users/{id:[0-9]+}", "/users/{name:[a-z]+}", None),
            ("/users/{id:[0-9]+}", "/users/{user:[0-9]+}", Some(Ordering::Equal)),
            ("/users/{*rest:.+}", "/users/{*rest}", Some(Ordering::Less)),
            ("/users/{id}", "/users/{*rest:.+}", Some(Ordering::Less)),
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
        assert_ne!(shape("/users/{id:[0-9]}"), shape("/users/{id:[1-9]}"));
    }

    #[test]
    fn an_expression_may_have_braces_and_that_of_a_rest_slashes() {
        let pattern = |text: &str| Pattern::parse(text).expect("a pattern");
        assert_eq!(pattern("/{year:[0-9]{4}}/{*file:(a|b)/.*\\.pdf}").kinds(), [1, 3]);
        assert_eq!(pattern("/a/{*file:x/y}").names().collect::<Vec<_>>(), ["file"]);
    }

    #[test]
    fn what_could_never_match_is_refused() {
        for text in [
            "",
            "users/",
            "/a//b",
            "/a/../b",
            "/a/%41",
            "/a b",
            "/a?b",
            "/{*rest}/x",
            "/{a}/{a}",
            "/{",
            "/x{a}",
            "/{}",
            "/{a-b}",
            "/ü",
            "/{a:}",
            "/{a:(}",
            "/{a:x/y}",
            "/{*a:x}y",
        ] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }
}
