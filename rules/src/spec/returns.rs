//! `[return]`: what a failing gate leads to.

use super::fields::Fields;
use super::words::suggest;
use crate::plan::{RampReturn, Return, SoakReturn};

const RAMP: [(&str, RampReturn); 2] = [("legacy", RampReturn::Legacy), ("last_good", RampReturn::LastGood)];
const SOAK: [(&str, SoakReturn); 3] = [("revert", SoakReturn::Revert), ("hold", SoakReturn::Hold), ("page", SoakReturn::Page)];

pub(super) fn read(file: &mut Fields<'_>) -> Return {
    let default = Return::default();
    let Some(mut section) = file.table("return", "[return]") else { return default };
    let ramp = choice(&mut section, "ramp", RAMP).unwrap_or(default.ramp);
    let soak = choice(&mut section, "soak", SOAK).unwrap_or(default.soak);
    let tries = section.natural("tries").map_or(default.tries, |tries| u32::try_from(tries.value).unwrap_or(u32::MAX));
    let cool_down = section.duration("cool_down").map_or(default.cool_down, |time| time.value);
    section.finish();
    Return { ramp, soak, tries, cool_down }
}

/// The word of a key that knows only some.
pub(super) fn choice<T, const N: usize>(section: &mut Fields<'_>, key: &'static str, choices: [(&'static str, T); N]) -> Option<T> {
    let word = section.string(key)?;
    let known = choices.each_ref().map(|(name, _)| *name);
    let found = choices.into_iter().find(|(name, _)| *name == word.value);
    if found.is_none() {
        section.text.report.error(&word.at, format!("`{key}` cannot be `{}`", word.value), suggest(&word.value, known));
    }
    found.map(|(_, choice)| choice)
}
