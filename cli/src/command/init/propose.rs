//! From a project to capabilities: one for each app or blueprint that has routes, with its tables. Pure.

use std::collections::{BTreeMap, BTreeSet};

use ficus_rules::route::Pattern;

use super::found::{ForeignKey, Project, Table};

/// One proposed capability.
#[derive(Debug, Default)]
pub(super) struct Capability<'a> {
    pub(super) name: String,
    /// Patterns in the order of the project, each shape once.
    pub(super) routes: Vec<String>,
    /// Pages of Django's admin that write its tables.
    pub(super) admin: Vec<String>,
    /// Parents before children.
    pub(super) tables: Vec<&'a Table>,
    /// Keys to and from tables of others.
    pub(super) crossing: Vec<Crossing<'a>>,
    /// Other capabilities whose tables its own refer to.
    pub(super) depends_on: BTreeSet<String>,
}

/// A foreign key between two groups.
#[derive(Debug)]
pub(super) struct Crossing<'a> {
    pub(super) from: &'a Table,
    pub(super) key: &'a ForeignKey,
    /// It leads to this capability, from elsewhere.
    pub(super) inwards: bool,
}

/// What is proposed.
#[derive(Debug)]
pub(super) struct Proposal<'a> {
    pub(super) capabilities: Vec<Capability<'a>>,
    /// Routes of no capability, as they are written in the project, with `{*rest}` where anything may follow: the monolith goes on
    /// serving them.
    pub(super) staying: Vec<String>,
    /// Tables of models that belong to no capability, because nothing of theirs has a route.
    pub(super) homeless: Vec<&'a str>,
}

/// Proposes.
pub(super) fn propose(project: &Project) -> Proposal<'_> {
    let mut capabilities: BTreeMap<&str, Capability<'_>> = BTreeMap::new();
    let (mut staying, mut shapes) = (Vec::new(), BTreeSet::new());
    for route in &project.routes {
        let pattern = pattern(&route.path, route.whole);
        match (&route.group, pattern) {
            (Some(group), Some(pattern)) => {
                // The framework takes the first of two that match the same paths.
                if shapes.insert(pattern.shape()) {
                    capabilities.entry(group).or_default().routes.push(text(&pattern));
                }
            }
            _ => staying.push(format!("/{}{}", route.path, if route.whole { "" } else { "{*rest}" })),
        }
    }
    for part in &project.admin {
        if let Some(capability) = capabilities.get_mut(part.group.as_str()) {
            capability.admin.push(format!("{}{}/{{*rest}}", part.root, part.group));
        }
    }
    let names: BTreeMap<&str, String> = capabilities.keys().map(|group| (*group, named(group))).collect();
    for (group, capability) in &mut capabilities {
        capability.name = names[group].clone();
        capability.tables = parents_first(project.tables.iter().filter(|table| table.group == **group).collect());
        for table in &project.tables {
            let crossing = table.keys.iter().filter(|key| key.group != table.group);
            for key in crossing.filter(|key| table.group == **group || key.group == **group) {
                let inwards = table.group != **group;
                if let Some(other) = names.get(key.group.as_str()).filter(|_| !inwards) {
                    capability.depends_on.insert(other.clone());
                }
                capability.crossing.push(Crossing { from: table, key, inwards });
            }
        }
    }
    let homeless = project.tables.iter().filter(|table| !names.contains_key(table.group.as_str())).map(|table| table.name.as_str());
    let homeless = homeless.collect();
    Proposal { homeless, capabilities: without_circles(capabilities.into_values().collect()), staying }
}

/// A pattern of ours that matches what a route of Django or Flask does, or more; `None`: there is none.
pub(super) fn pattern(path: &str, whole: bool) -> Option<Pattern> {
    let mut segments = Vec::new();
    for (at, segment) in path.split('/').enumerate() {
        if segment.contains("<path:") {
            segments.push("{*rest}".to_owned());
            return Pattern::parse(&format!("/{}", segments.join("/"))).ok();
        }
        let varies = segment.contains(['<', '{']);
        segments.push(if varies { format!("{{{}}}", variable(segment, at)) } else { segment.to_owned() });
    }
    if !whole {
        let last = segments.last_mut()?;
        *last = "{*rest}".to_owned();
    }
    Pattern::parse(&format!("/{}", segments.join("/"))).ok()
}

/// The name between `<…:name>`; with its place, so that none stands in a path twice.
fn variable(segment: &str, at: usize) -> String {
    let inner = segment.split(['<', '>', '{', '}']).nth(1).unwrap_or_default();
    let name = inner.rsplit(':').next().unwrap_or_default();
    let fine = !name.is_empty() && name != "rest" && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if fine { format!("{name}_{at}") } else { format!("part_{at}") }
}

fn text(pattern: &Pattern) -> String {
    use ficus_rules::route::pattern::Segment;
    // A number is only needed where a name stands in the path twice.
    let names: Vec<&str> = pattern.names().collect();
    let short = |name: &str| {
        let plain = name.rsplit_once('_').map_or(name, |(plain, _)| plain).to_owned();
        let twice = names.iter().filter(|other| other.rsplit_once('_').is_some_and(|(other, _)| other == plain)).count() > 1;
        if twice || plain == "part" { name.to_owned() } else { plain }
    };
    let part = |segment: &Segment| match segment {
        Segment::Literal(literal) => format!("/{literal}"),
        Segment::One(name) | Segment::Matching(name, _) => format!("/{{{}}}", short(name)),
        Segment::Rest(name) | Segment::RestMatching(name, _) => format!("/{{*{name}}}"),
    };
    pattern.segments().iter().map(part).collect()
}

/// A name that a capability may have.
fn named(group: &str) -> String {
    let name: String = group.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    name.trim_matches('-').to_owned()
}

/// Tables after those that they refer to; in a circle, in the project's order.
fn parents_first(mut left: Vec<&Table>) -> Vec<&Table> {
    let mut sorted: Vec<&Table> = Vec::new();
    while !left.is_empty() {
        let waits =
            |table: &&Table| table.keys.iter().any(|key| key.table != table.name && left.iter().any(|other| other.name == key.table));
        let at = left.iter().position(|table| !waits(table)).unwrap_or(0);
        sorted.push(left.remove(at));
    }
    sorted
}

/// Two capabilities must not wait for each other to retire: a dependency that closes a circle stays a comment.
fn without_circles(mut capabilities: Vec<Capability<'_>>) -> Vec<Capability<'_>> {
    let mut kept: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for capability in &mut capabilities {
        let wanted = std::mem::take(&mut capability.depends_on);
        for other in wanted {
            if !reaches(&kept, &other, &capability.name) {
                kept.entry(capability.name.clone()).or_default().insert(other.clone());
                capability.depends_on.insert(other);
            }
        }
    }
    capabilities
}

fn reaches(edges: &BTreeMap<String, BTreeSet<String>>, from: &str, to: &str) -> bool {
    from == to || edges.get(from).is_some_and(|next| next.iter().any(|next| reaches(edges, next, to)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn ours(path: &str, whole: bool) -> String {
        pattern(path, whole).map_or_else(|| "none".to_owned(), |pattern| text(&pattern))
    }

    #[test]
    fn routes_become_patterns_that_match_at_least_as_much() {
        for (theirs, whole, expected) in [
            ("", true, "/"),
            ("api/v1/users/<int:pk>/", true, "/api/v1/users/{pk}/"),
            ("<kind>/<str:kind>/x", true, "/{kind_0}/{kind_1}/x"),
            ("files/report-<int:year>.pdf", true, "/files/{year}"),
            ("media/<path:file>", true, "/media/{*rest}"),
            ("media/<path:file>/edit", true, "/media/{*rest}"),
            ("manage/leave/", false, "/manage/leave/{*rest}"),
            ("", false, "/{*rest}"),
            ("{language}/news/", true, "/{language}/news/"),
            ("a//b", true, "none"),
        ] {
            assert_eq!(ours(theirs, whole), expected, "{theirs}");
        }
    }

    #[test]
    fn a_circle_of_dependencies_is_opened() {
        let capability =
            |name: &str, on: &str| Capability { name: name.into(), depends_on: [on.to_owned()].into(), ..Capability::default() };
        let opened = without_circles(vec![capability("a", "b"), capability("b", "c"), capability("c", "a")]);
        let edges: Vec<usize> = opened.iter().map(|one| one.depends_on.len()).collect();
        assert_eq!(edges, [1, 1, 0]);
    }
}
