//! `[cutover]`: what becomes of writers past the gateway once modern owns.

use super::document::CapabilityDocument;
use super::fields::Fields;
use super::returns::choice;
use super::shape::{Key, Kind, Literal, Section};
use super::source::{Place, Report};
use super::words::of_choices;
use crate::plan::StrayWrites;

pub(super) const CUTOVER: Section = Section::new(
    "[cutover]",
    &[Key::new(
        "stray_writes",
        Kind::Word(&of_choices(&STRAYS)),
        "What becomes of writes to legacy's database that come past the gateway while modern owns.",
    )
    .unset(Literal::Text("refuse"))],
);

const STRAYS: [(&str, StrayWrites); 3] =
    [("refuse", StrayWrites::Refuse), ("report", StrayWrites::Report), ("forward", StrayWrites::Forward)];

/// With where it stands, for [`lint`].
pub(super) type Wanted = (StrayWrites, Option<Place>);

pub(super) fn read(file: &mut Fields<'_>) -> Wanted {
    let Some(mut section) = file.table("cutover") else { return Wanted::default() };
    let strays = choice(&mut section, "stray_writes", STRAYS).unwrap_or_default();
    if strays == StrayWrites::Report {
        section.text.report.warn(
            &section.at,
            "once modern owns, legacy's database takes what is written past the gateway, and it is carried nowhere",
            "it is kept with who wrote; until somebody has decided about it (`ficus repair` puts modern's rows in its place) nothing is reverted or retired. With \"refuse\" nothing is kept, and the write fails",
        );
    }
    let at = section.at.clone();
    section.finish();
    (strays, Some(at))
}

/// What a stray row was and became is known by the columns that its table's pair reads. Where rows belong to a pair only by what
/// stands in them, or to several, this does not tell which rows modern is to have.
pub(super) fn lint(capability: &CapabilityDocument, report: &Report) {
    let (StrayWrites::Forward, Some(at)) = &capability.strays else { return };
    let maps = || capability.tables.iter().map(|table| &table.map);
    for map in maps() {
        let shared = maps().filter(|other| other.legacy == map.legacy).count() > 1;
        let buries = !map.rows.legacy_delete.is_empty() || !map.rows.modern_delete.is_empty();
        let why = match () {
            () if shared => "goes to several tables",
            () if !map.rows.filter.is_empty() => "has a `where`",
            () if buries => "marks rows instead of deleting them",
            () => continue,
        };
        let message = format!("`stray_writes = \"forward\"` cannot carry the rows of `{}`, which {why}", map.legacy);
        report.error(at, message, "write \"report\", and decide about stray rows by hand, or \"refuse\"");
    }
}
