//! `[cutover]`: what becomes of writers past the gateway once modern owns.

use super::fields::Fields;
use super::returns::choice;
use crate::plan::StrayWrites;

const STRAYS: [(&str, StrayWrites); 2] = [("refuse", StrayWrites::Refuse), ("report", StrayWrites::Report)];

pub(super) fn read(file: &mut Fields<'_>) -> StrayWrites {
    let Some(mut section) = file.table("cutover", "[cutover]") else { return StrayWrites::default() };
    let strays = choice(&mut section, "stray_writes", STRAYS).unwrap_or_default();
    if strays == StrayWrites::Report {
        section.text.report.warn(
            &section.at,
            "once modern owns, legacy's database takes what is written past the gateway, and it is carried nowhere",
            "it is kept with who wrote; until somebody has decided about it (`ficus repair` puts modern's rows in its place) nothing is reverted or retired. With \"refuse\" nothing is kept, and the write fails",
        );
    }
    section.finish();
    strays
}
