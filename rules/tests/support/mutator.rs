//! A fuzzer in the process of the tests: inputs are made of a corpus by a seeded chance, and one that comes to an end that none
//! came to before joins the corpus. The usual run is short and the same each time; `FICUS_FUZZ_SECONDS` makes it as long for each
//! target, from another seed (or from `FICUS_FUZZ_SEED`).

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant, SystemTime};

/// Inputs of a usual run.
const USUAL: u64 = 10_000;
/// No input grows beyond it.
const LONGEST: usize = 4096;
/// Inputs that are kept beside the corpus.
const KEPT: usize = 4096;

/// Feeds `target` with what becomes of `corpus`, and with words of `dictionary`. It panics at a fault, and answers with the kind of
/// end that the input came to: few kinds, or none is ever new.
///
/// # Panics
/// As the target does, after the input was printed.
pub(crate) fn fuzz<K: Hash>(name: &str, corpus: &[&[u8]], dictionary: &[&[u8]], target: impl Fn(&[u8]) -> K) {
    let seconds = std::env::var("FICUS_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse::<u64>().ok());
    let given = std::env::var("FICUS_FUZZ_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let clock = || SystemTime::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_nanos() as u64);
    let seed = given.unwrap_or_else(|| if seconds.is_some() { clock() } else { 7 });
    let mut chance = Chance(seed | 1);
    let mut known: Vec<Vec<u8>> = corpus.iter().map(|input| input.to_vec()).collect();
    let mut ends = HashSet::new();
    let mut run = |input: &[u8]| {
        let end = catch_unwind(AssertUnwindSafe(|| target(input))).unwrap_or_else(|panic| {
            eprintln!("{name}, seed {seed}: this input is not taken well:\n  b\"{}\"", input.escape_ascii());
            resume_unwind(panic)
        });
        let mut hasher = DefaultHasher::new();
        end.hash(&mut hasher);
        ends.insert(hasher.finish())
    };
    for input in corpus {
        run(input);
    }
    let (begun, mut inputs) = (Instant::now(), 0u64);
    while seconds.map_or(inputs < USUAL, |seconds| begun.elapsed() < Duration::from_secs(seconds)) {
        let mut input = known[chance.below(known.len())].clone();
        for _ in 0..=chance.below(4) {
            mutate(&mut input, &known, dictionary, &mut chance);
        }
        input.truncate(LONGEST);
        inputs += 1;
        if run(&input) && known.len() < corpus.len() + KEPT {
            known.push(input);
        }
    }
    if seconds.is_some() {
        eprintln!("{name}: {inputs} inputs, {} kinds of ends, seed {seed}", ends.len());
    }
}

fn mutate(input: &mut Vec<u8>, known: &[Vec<u8>], dictionary: &[&[u8]], chance: &mut Chance) {
    let at = chance.below(input.len() + 1);
    let to = at + chance.below((input.len() - at).min(32) + 1);
    match chance.below(8) {
        0 if at < input.len() => input[at] ^= 1 << chance.below(8),
        1 if at < input.len() => input[at] = chance.next() as u8,
        2 => input.insert(at, chance.next() as u8),
        3 => drop(input.drain(at..to)),
        4 => {
            let again = input[at..to].to_vec();
            drop(input.splice(at..at, again));
        }
        5 => input.truncate(at),
        6 => {
            let other = &known[chance.below(known.len())];
            let from = chance.below(other.len() + 1);
            drop(input.splice(at..to, other[from..].iter().copied()));
        }
        _ if !dictionary.is_empty() => drop(input.splice(at..to, dictionary[chance.below(dictionary.len())].iter().copied())),
        _ => {}
    }
}

/// xorshift64* (Vigna, 2016).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }

    /// From 0 to below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}
