//! Rules that would make known differences go away: proposed from samples, for people to judge. A place is proposed where
//! every sample that has it looks like the same kind of noise; what is missing on one side never is.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{MISSING, noise, secret};
use crate::wire::DifferenceSample;

/// Fewer samples of a place prove nothing.
const FEWEST: usize = 2;

/// A rule that is proposed.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Proposal {
    /// The capability.
    pub capability: String,
    /// The place, like `$.rows[*].at`.
    pub path: String,
    /// What would be written into `[gate.shadow]`.
    pub rule: Rule,
    /// Samples that it would explain at that place.
    pub samples: usize,
    /// Why.
    pub why: String,
}

/// What is proposed.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Leave the place out.
    Ignore,
    /// Tolerate a difference: a number, or a duration.
    Tolerate(String),
}

/// Proposes rules from samples, most telling first.
pub fn propose(samples: &[DifferenceSample]) -> Vec<Proposal> {
    let mut places: BTreeMap<(&str, String), Vec<(&str, &str)>> = BTreeMap::new();
    for sample in samples {
        for difference in &sample.differences {
            let place = (sample.capability.as_str(), noise::general(&difference.path));
            places.entry(place).or_default().push((&difference.legacy, &difference.modern));
        }
    }
    let mut proposals: Vec<Proposal> = places
        .into_iter()
        .filter(|((_, path), seen)| (path.starts_with('$') || path.starts_with("html:")) && seen.len() >= FEWEST)
        .filter_map(|((capability, path), seen)| {
            let (rule, why) = judged(&path, &seen)?;
            Some(Proposal { capability: capability.to_owned(), path, rule, samples: seen.len(), why })
        })
        .collect();
    proposals.sort_by(|a, b| a.capability.cmp(&b.capability).then(b.samples.cmp(&a.samples)));
    proposals
}

/// The proposals of one capability as TOML, to be copied into its file.
pub fn toml(proposals: &[Proposal]) -> String {
    let mut text = "[gate.shadow]\n".to_owned();
    let quoted = |path: &str| format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\""));
    let ignored: Vec<&Proposal> = proposals.iter().filter(|proposal| proposal.rule == Rule::Ignore).collect();
    if !ignored.is_empty() {
        text.push_str("ignore = [\n");
        for Proposal { path, samples, why, .. } in ignored {
            let _ = writeln!(text, "    {}, # {samples} samples: {why}", quoted(path));
        }
        text.push_str("]\n");
    }
    let tolerated = proposals.iter().filter_map(|proposal| match &proposal.rule {
        Rule::Tolerate(most) => Some((proposal, most)),
        Rule::Ignore => None,
    });
    let tolerated: Vec<(&Proposal, &String)> = tolerated.collect();
    if !tolerated.is_empty() {
        text.push_str("\n[gate.shadow.tolerate]\n");
        for (Proposal { path, samples, why, .. }, most) in tolerated {
            let _ = writeln!(text, "{} = {most} # {samples} samples: {why}", quoted(path));
        }
    }
    text
}

fn judged(path: &str, seen: &[(&str, &str)]) -> Option<(Rule, String)> {
    let all = |fits: &dyn Fn(&str) -> bool| seen.iter().all(|(legacy, modern)| fits(legacy) && fits(modern));
    if seen.iter().any(|(legacy, modern)| *legacy == MISSING || *modern == MISSING) {
        return None;
    }
    let numbers: Option<Vec<(f64, f64)>> = seen.iter().map(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?))).collect();
    if let Some(numbers) = numbers {
        let apart = numbers.iter().map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let size = numbers.iter().flat_map(|(a, b)| [a.abs(), b.abs()]).fold(0.0, f64::max);
        // A number that is another one is a difference; one that is rounded otherwise is not.
        return (apart > 0.0 && apart <= size / 1_000.0).then(|| {
            let most = format!("{:.9}", apart * 1.1);
            let most = most.trim_end_matches('0').trim_end_matches('.').to_owned();
            (Rule::Tolerate(most), "numbers that are rounded otherwise".to_owned())
        });
    }
    let unquoted = |text: &str| text.trim_matches('"').to_owned();
    let times: Option<Vec<_>> = seen.iter().map(|(a, b)| Some((time(&unquoted(a))?, time(&unquoted(b))?))).collect();
    if let Some(times) = times {
        let apart = times.iter().map(|(a, b)| a.duration_since(*b).unsigned_abs()).max().unwrap_or_default();
        return Some(match apart.as_secs() {
            0..=4 => (Rule::Tolerate(format!("\"{}s\"", apart.as_secs() + 1)), "times that are close".to_owned()),
            _ => (Rule::Ignore, "times that are far apart".to_owned()),
        });
    }
    if all(&|text| text == "\"(hidden)\"" || text == secret::HIDDEN) {
        return Some((Rule::Ignore, "secrets: is another one right each time?".to_owned()));
    }
    let differ = |at: usize| {
        let mut values: Vec<&str> = seen.iter().map(|pair| if at == 0 { pair.0 } else { pair.1 }).collect();
        values.sort_unstable();
        values.dedup();
        values.len() == seen.len()
    };
    if all(&|text| is_random(&unquoted(text))) && differ(0) && differ(1) {
        return Some((Rule::Ignore, format!("another random value each time{}", if path.contains("id") { ": is it an id?" } else { "" })));
    }
    None
}

fn time(text: &str) -> Option<jiff::Timestamp> {
    text.parse().ok()
}

/// A UUID, or a long text without words: letters and digits mixed.
fn is_random(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_=+/.".contains(&byte));
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    plain && text.len() >= 16 && digits >= text.len() / 8
}

#[cfg(test)]
mod tests {
    use super::super::Difference;
    use super::{Rule, propose, toml};
    use crate::Timestamp;
    use crate::wire::DifferenceSample;

    fn samples(of: &[(&str, &str, &str)]) -> Vec<DifferenceSample> {
        let difference = |(path, legacy, modern): &(&str, &str, &str)| Difference {
            path: (*path).to_owned(),
            legacy: (*legacy).to_owned(),
            modern: (*modern).to_owned(),
        };
        let sample = |one: &(&str, &str, &str)| DifferenceSample {
            capability: "users".to_owned(),
            at: Timestamp(0),
            method: "GET".to_owned(),
            path: "/a".to_owned(),
            legacy_status: 200,
            modern_status: 200,
            differences: vec![difference(one)],
        };
        of.iter().map(sample).collect()
    }

    fn rules(of: &[(&str, &str, &str)]) -> Vec<(String, Rule)> {
        propose(&samples(of)).into_iter().map(|proposal| (proposal.path, proposal.rule)).collect()
    }

    #[test]
    fn noise_is_proposed_by_its_kind() {
        let times = [
            ("$.rows[0].at", "\"2026-11-28T13:00:00Z\"", "\"2026-11-28T13:00:01Z\""),
            ("$.rows[4].at", "\"2026-11-28T13:00:00Z\"", "\"2026-11-28T13:00:00.5Z\""),
        ];
        assert_eq!(rules(&times), [("$.rows[*].at".to_owned(), Rule::Tolerate("\"2s\"".to_owned()))]);
        assert_eq!(
            rules(&[times[0], ("$.rows[1].at", "\"2026-11-28T13:00:00Z\"", "\"2025-01-01T00:00:00Z\"")]),
            [("$.rows[*].at".to_owned(), Rule::Ignore)]
        );
        let (a, b) = ("\"0af7651916cd43dd8448eb211c80319c\"", "\"b7ad6b7169203331b7ad6b7169203331\"");
        let (c, d) = ("\"1af7651916cd43dd8448eb211c80319c\"", "\"c7ad6b7169203331b7ad6b7169203331\"");
        assert_eq!(rules(&[("$.nonce", a, b), ("$.nonce", c, d)]), [("$.nonce".to_owned(), Rule::Ignore)]);
        assert_eq!(rules(&[("$.score", "1.2345", "1.2346"), ("$.score", "9.1", "9.1001")])[0].1, Rule::Tolerate("0.00011".to_owned()));
    }

    #[test]
    fn what_may_be_a_fault_is_not_proposed() {
        let twice = |path, legacy, modern| rules(&[(path, legacy, modern), (path, legacy, modern)]);
        for (path, legacy, modern) in [
            ("$.email", "\"ada@school.test\"", "\"bob@school.test\""),
            ("$.at", "\"2026-11-28T13:00:00Z\"", "(missing)"),
            ("$.count", "10", "11"),
            ("$.id", "\"0af7651916cd43dd8448eb211c80319c\"", "\"b7ad6b7169203331b7ad6b7169203331\""),
            ("status", "200", "404"),
            ("header:location", "/a", "/b"),
        ] {
            assert_eq!(twice(path, legacy, modern), [], "{path}");
        }
        assert_eq!(rules(&[("$.at", "\"2026-11-28T13:00:00Z\"", "\"2026-11-28T13:00:01Z\"")]), [], "one sample proves nothing");
    }

    #[test]
    fn what_is_proposed_is_toml_that_the_parser_takes() {
        let time = |at: &'static str| ("$.rows[0].at", "\"2026-11-28T13:00:00Z\"", at);
        let proposed = propose(&samples(&[
            time("\"2026-11-28T13:00:01Z\""),
            time("\"2026-11-28T13:00:01Z\""),
            ("$.token", "\"(hidden)\"", "\"(hidden)\""),
            ("$.token", "\"(hidden)\"", "\"(hidden)\""),
        ]));
        let text = toml(&proposed);
        let head = "[capability]\nname = \"users\"\nlegacy = \"a\"\nmodern = \"b\"\n[[route]]\npath = \"/a\"\n";
        let file = crate::wire::RuleFile { name: "users.toml".to_owned(), text: format!("{head}{text}") };
        let checked = crate::spec::load(&[file], &crate::spec::Known::default()).expect("it may be served");
        let lenient = &checked.rules.capabilities["users"].leniency;
        assert_eq!((lenient.ignore.as_slice(), lenient.tolerate.len()), (&["$.token".to_owned()][..], 1), "{text}");
    }
}
