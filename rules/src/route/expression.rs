//! Regular expressions in path patterns: `{id:[0-9]+}`. Linear time only (crate `regex`), bounded in size, and always about
//! the whole segment or rest. Two of them are compared exactly, by walking their automata side by side.

use std::collections::{HashSet, VecDeque};

use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use regex_automata::dfa::dense::{Builder, Config, DFA};
use regex_automata::dfa::{Automaton as _, StartKind};
use regex_automata::util::primitives::StateID;
use regex_automata::util::{start, syntax};
use regex_automata::{Anchored, MatchKind, nfa::thompson};

/// Bytes that one expression may compile to.
const LARGEST: usize = 256 * 1024;
/// Bytes that all expressions at one place may compile to, together.
const ALL: usize = 32 * 1024 * 1024;
/// Pairs of states that are looked at to compare two of them.
const PAIRS: usize = 20_000;

/// An expression that takes whole texts. ASCII: normalised paths have nothing else.
#[derive(Debug, Clone)]
pub struct Expression {
    text: String,
    compiled: Regex,
}

/// What two expressions mean for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relation {
    /// Some text is taken by both.
    pub meet: bool,
    /// Every text that the other one takes, this one takes.
    pub covers: bool,
}

impl Relation {
    /// Of one to itself.
    pub const SAME: Relation = Relation { meet: true, covers: true };
    /// Nobody knows: they are too large to be compared.
    pub const UNKNOWN: Relation = Relation { meet: true, covers: false };
}

impl Expression {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, on one line.
    pub fn parse(text: &str) -> Result<Expression, String> {
        if text.is_empty() {
            return Err("the expression is empty".to_owned());
        }
        if !text.bytes().all(|byte| (b' '..0x7f).contains(&byte)) {
            return Err("an expression is ASCII: what else stands in a path arrives escaped, like %C3%BC".to_owned());
        }
        // By itself first: `a)(b` is no expression, and would be one between parentheses.
        compile(text)?;
        Ok(Expression { text: text.to_owned(), compiled: compile(&whole(text))? })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it takes all of a text.
    pub fn takes(&self, text: &str) -> bool {
        self.compiled.is_match(text.as_bytes())
    }

    /// What it means for another one; `None` stands for any text that is not empty. `slashes`: the texts may have some.
    pub fn relation(one: Option<&Expression>, other: Option<&Expression>, slashes: bool) -> Relation {
        let text = |expression: Option<&Expression>| expression.map_or(if slashes { ".*" } else { ".+" }, |one| &*one.text).to_owned();
        let (one, other) = (text(one), text(other));
        if one == other {
            return Relation::SAME;
        }
        let (Some(one), Some(other)) = (automaton(&one), automaton(&other)) else { return Relation::UNKNOWN };
        compared(&one, &other, slashes).unwrap_or(Relation::UNKNOWN)
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Expression) -> bool {
        self.text == other.text
    }
}

impl Eq for Expression {}

/// Many expressions as one automaton: a text is read once, however many there are.
///
/// # Errors
/// Together they are too large.
pub(super) fn set<'a>(expressions: impl Iterator<Item = &'a str>) -> Result<RegexSet, String> {
    let mut builder = RegexSetBuilder::new(expressions.map(whole));
    builder.unicode(false).size_limit(ALL).build().map_err(|error| first_line(&error))
}

fn whole(text: &str) -> String {
    format!(r"\A(?:{text})\z")
}

fn compile(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text).unicode(false).size_limit(LARGEST).build().map_err(|error| first_line(&error))
}

/// The last line of a parser's complaint says what is wrong; those before it draw the place.
fn first_line(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => "the expression is too large: it would take too much memory".to_owned(),
        error => error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    }
}

fn automaton(text: &str) -> Option<DFA<Vec<u32>>> {
    let config = Config::new()
        .match_kind(MatchKind::All)
        .start_kind(StartKind::Anchored)
        .dfa_size_limit(Some(4 * LARGEST))
        .determinize_size_limit(Some(4 * LARGEST));
    let mut builder = Builder::new();
    builder.configure(config).syntax(syntax::Config::new().unicode(false).utf8(false));
    builder.thompson(thompson::Config::new().utf8(false).nfa_size_limit(Some(LARGEST)));
    builder.build(&whole(text)).ok()
}

/// Walks both over every text that a path can have there; `None`: too many pairs of states.
fn compared(one: &DFA<Vec<u32>>, other: &DFA<Vec<u32>>, slashes: bool) -> Option<Relation> {
    let begin = |dfa: &DFA<Vec<u32>>| dfa.start_state(&start::Config::new().anchored(Anchored::Yes)).ok();
    let takes = |dfa: &DFA<Vec<u32>>, state: StateID| dfa.is_match_state(dfa.next_eoi_state(state));
    let first = (begin(one)?, begin(other)?);
    let mut relation = Relation { meet: false, covers: true };
    let (mut seen, mut queue) = (HashSet::from([first]), VecDeque::from([(first, !slashes)]));
    while let Some(((mine, others), empty)) = queue.pop_front() {
        // A segment is not empty.
        if !empty {
            let (mine, others) = (takes(one, mine), takes(other, others));
            relation.meet |= mine && others;
            relation.covers &= mine || !others;
        }
        for byte in (b'!'..0x7f).filter(|byte| slashes || *byte != b'/') {
            let next = (one.next_state(mine, byte), other.next_state(others, byte));
            // What the other one will not take says nothing.
            if !other.is_dead_state(next.1) && seen.insert(next) {
                queue.push_back((next, false));
            }
        }
        if seen.len() > PAIRS {
            return None;
        }
    }
    Some(relation)
}

#[cfg(test)]
mod tests {
    use super::{Expression, Relation};

    fn parsed(text: &str) -> Expression {
        Expression::parse(text).expect("an expression")
    }

    #[test]
    fn an_expression_takes_whole_texts() {
        assert!(parsed("[0-9]+").takes("42") && !parsed("[0-9]+").takes("42a") && !parsed("[0-9]+").takes("a42"));
        assert!(parsed("a|b").takes("b") && !parsed("a|b").takes("ab"));
        assert!(parsed("(?i)en").takes("EN") && !parsed("(?m)a$").takes("a\nb"));
    }

    #[test]
    fn what_is_no_expression_or_too_large_is_refused_with_a_reason() {
        for (text, why) in [
            ("", "empty"),
            ("(", "unclosed group"),
            ("a)(b", "unopened group"),
            (r"(a)\1", "backreferences"),
            ("(?=a)", "look-around"),
            ("ü", "ASCII"),
            ("(?x)a # a remark", "unclosed group"),
            ("[a-z]{1000}{1000}", "too large"),
        ] {
            let said = Expression::parse(text).expect_err(text);
            assert!(said.contains(why) && !said.contains('\n'), "{text}: {said}");
        }
    }

    #[test]
    fn two_expressions_are_compared_by_what_they_take() {
        let relation = |one: &str, other: &str| Expression::relation(Some(&parsed(one)), Some(&parsed(other)), false);
        let of = |meet, covers| Relation { meet, covers };
        assert_eq!(relation("[0-9]+", "[0-9]{4}"), of(true, true));
        assert_eq!(relation("[0-9]{4}", "[0-9]+"), of(true, false));
        assert_eq!(relation("[0-9]+", "[a-z]+"), of(false, false));
        assert_eq!(relation("[0-9a]+", "[0-9b]+"), of(true, false));
        assert_eq!(relation("a|b", "b|a"), of(true, true));
        assert_eq!(Expression::relation(Some(&parsed("[^x]*")), None, false), of(true, false));
        // A segment is neither empty nor has it slashes.
        assert_eq!(Expression::relation(Some(&parsed("[^/]*")), None, false), of(true, true));
        assert_eq!(Expression::relation(Some(&parsed("[^/]*")), None, true), of(true, false));
        assert_eq!(Expression::relation(None, Some(&parsed("a")), false), of(true, true));
    }

    #[test]
    fn what_is_too_large_to_be_compared_is_not_known() {
        let large = |last: char| parsed(&format!(".*a[a-z]{{16}}{last}"));
        assert_eq!(Expression::relation(Some(&large('x')), Some(&large('y')), false), Relation::UNKNOWN);
    }
}
