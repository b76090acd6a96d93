//! `[return]`: what a failing gate leads to.

use std::time::Duration;

use super::fields::Fields;
use super::shape::{Key, Kind, Literal, NATURAL, Section};
use super::words::{of_choices, suggest};
use crate::plan::{OpenTransactions, RampReturn, Return, SetAsideRows, SoakReturn};

pub(super) const RETURN: Section = Section::new(
    "[return]",
    &[
        Key::new("ramp", Kind::Word(&of_choices(&RAMP)), "Where a ramp goes back to.").unset(Literal::Text("legacy")),
        Key::new("soak", Kind::Word(&of_choices(&SOAK)), "What a failing gate leads to while modern owns.").unset(Literal::Text("revert")),
        Key::new("tries", NATURAL, "How often it goes forward again by itself.").unset(Literal::Natural(0)),
        Key::new("cool_down", Kind::Duration, "For so long before that no gate must have failed.")
            .unset(Literal::Duration(Duration::from_mins(10))),
        Key::new(
            "open_transactions",
            Kind::Word(&of_choices(&TRANSACTIONS)),
            "What becomes of modern's sessions that keep the way back waiting in a transaction that has written to the capability's tables.",
        )
        .unset(Literal::Text("end")),
        Key::new("rows_set_aside", Kind::Word(&of_choices(&ASIDE)), "Whether it goes back by itself over rows that are set aside, and leaves them so.")
            .unset(Literal::Text("hold")),
    ],
);

const RAMP: [(&str, RampReturn); 2] = [("legacy", RampReturn::Legacy), ("last_good", RampReturn::LastGood)];
const SOAK: [(&str, SoakReturn); 3] = [("revert", SoakReturn::Revert), ("hold", SoakReturn::Hold), ("page", SoakReturn::Page)];
const TRANSACTIONS: [(&str, OpenTransactions); 2] = [("end", OpenTransactions::End), ("wait", OpenTransactions::Wait)];
const ASIDE: [(&str, SetAsideRows); 2] = [("hold", SetAsideRows::Hold), ("go_back", SetAsideRows::GoBack)];

pub(super) fn read(file: &mut Fields<'_>) -> Return {
    let default = Return::default();
    let Some(mut section) = file.table("return") else { return default };
    let ramp = choice(&mut section, "ramp", RAMP).unwrap_or(default.ramp);
    let soak = choice(&mut section, "soak", SOAK).unwrap_or(default.soak);
    let tries = section.natural("tries").map_or(default.tries, |tries| u32::try_from(tries.value).unwrap_or(u32::MAX));
    let cool_down = section.duration("cool_down").map_or(default.cool_down, |time| time.value);
    let transactions = choice(&mut section, "open_transactions", TRANSACTIONS).unwrap_or(default.transactions);
    let aside = choice(&mut section, "rows_set_aside", ASIDE).unwrap_or(default.aside);
    section.finish();
    Return { ramp, soak, tries, cool_down, transactions, aside }
}

/// The word of a key that knows only some.
pub(super) fn choice<T, const N: usize>(section: &mut Fields<'_>, key: &'static str, choices: [(&'static str, T); N]) -> Option<T> {
    let word = section.string(key)?;
    let known = of_choices(&choices);
    let found = choices.into_iter().find(|(name, _)| *name == word.value);
    if found.is_none() {
        section.text.report.error(&word.at, format!("`{key}` cannot be `{}`", word.value), suggest(&word.value, known));
    }
    found.map(|(_, choice)| choice)
}
