//! `[table.columns]`: where each modern column comes from.

use toml::de::DeValue;

use crate::mapping::{ColumnMap, ColumnSource, Value, is_zone};
use crate::spec::fields::{Fields, Item, integer};
use crate::spec::shape::{Bond, If, Key, Kind, Names, Section};
use crate::spec::source::Located;
use crate::spec::words::suggest;

const FORMS: &str = "a legacy column's name, { from = \"id\", as = \"uuid5\" }, { from = \"x\", map = { … } }, \
                     { from = \"x\", zone = \"Europe/Berlin\" }, { pack = [\"x\", \"y\"] }, { from = \"x\", unpack = \"y\" } or { constant = … }";

pub(super) const COLUMNS: Section = Section::map("[table.columns]", Names::Any, Kind::Either(&[Kind::Filled, Kind::Table(&COLUMN)]));

const COLUMN: Section = Section::new(
    "a column",
    &[
        Key::new("constant", Kind::Value, "The same in every row of this pair."),
        Key::new("null", Kind::True, "NULL in every row of this pair."),
        Key::new("pack", Kind::Set(&Kind::Text), "Legacy columns that become the keys of one JSON document."),
        Key::new("unpack", Kind::Text, "The key of `from`, a column of JSON documents, whose value it is."),
        Key::new("from", Kind::Text, "A legacy column; without more, as it is."),
        Key::new("as", Kind::Word(&["uuid5"]), "A UUID made of `from`, which holds an integer key."),
        Key::new("of", Kind::Identifier, "The legacy table whose key `from` is; for a reference."),
        Key::new("map", Kind::Table(&MAP), "Legacy value to modern value; no two to the same."),
        Key::new("zone", Kind::Text, "The zone whose clocks `from` shows, by its name in the IANA database."),
    ],
)
.about("Where a modern column comes from.")
.bound(&[
    Bond::One(&["from", "pack", "constant", "null"]),
    Bond::Apart(&["as", "map", "zone", "unpack"]),
    Bond::Needs(If::Given("unpack"), &[If::Given("from")]),
    Bond::Needs(If::Given("as"), &[If::Given("from")]),
    Bond::Needs(If::Given("of"), &[If::Given("as")]),
    Bond::Needs(If::Given("map"), &[If::Given("from")]),
    Bond::Needs(If::Given("zone"), &[If::Given("from")]),
]);

const MAP: Section = Section::map("map = { 1 = \"admin\" }", Names::Any, Kind::Value).least(1);

/// Reads the columns of a pair, in the order of the file. `own` is its legacy table, `key` that table's key.
pub(super) fn read(section: Fields<'_>, own: &str, key: &str) -> Vec<Located<ColumnMap>> {
    let mut columns = Vec::new();
    for (name, item) in section.entries() {
        if let Some(from) = source(&section, name.value, item, own, key) {
            columns.push(Located { value: ColumnMap { modern: name.value.to_owned(), from }, at: name.at });
        }
    }
    columns
}

fn source(section: &Fields<'_>, name: &str, item: &Item<'_>, own: &str, key: &str) -> Option<ColumnSource> {
    if let Some(column) = item.get_ref().as_str() {
        return Some(ColumnSource::Column(column.to_owned()));
    }
    let DeValue::Table(table) = item.get_ref() else {
        section.wrong(name, item, FORMS, "a number or boolean that is the same for every row is { constant = … }");
        return None;
    };
    let mut inner = Fields::new(section.text, section.named(), section.place(item), table);
    let constant = inner.item("constant").map(|item| value(&inner, "constant", item));
    let null = inner.boolean("null");
    let pack = inner.strings("pack");
    let pack = inner.has("pack").then_some(pack);
    let unpack = inner.string("unpack");
    let constant = constant.or(null.filter(|null| null.value).map(|_| Some(Value::Null)));
    let from = inner.string("from");
    let form = inner.string("as");
    let of = inner.string("of");
    let values = inner.table("map").map(|map| values(&map));
    let zone = inner.string("zone");
    let complain = |message: String, hint: &str| {
        inner.error(message, hint);
        None
    };
    let plain = constant.is_none() && form.is_none() && values.is_none() && of.is_none() && zone.is_none();
    let source = match (constant, from, form, values) {
        (_, from, ..) if pack.is_some() => match pack {
            Some(columns) if plain && from.is_none() && unpack.is_none() => packed(&inner, name, columns),
            _ => complain(format!("`{name}` has `pack`, and something else"), "a packed column stands alone"),
        },
        (_, Some(from), ..) if unpack.is_some() => match unpack {
            Some(field) if plain => Some(ColumnSource::Unpack { column: from.value, field: field.value }),
            _ => complain(format!("`{name}` has `unpack`, and something else"), "only `from` stands beside it"),
        },
        (Some(constant), None, None, None) if of.is_none() && zone.is_none() => constant.map(ColumnSource::Constant),
        (Some(_), ..) => complain(format!("`{name}` is a constant, and something else"), "a constant stands alone"),
        (None, None, ..) if inner.has("from") => None,
        (None, None, ..) => complain(format!("`{name}` does not say where it comes from"), "add `from = \"legacy_column\"`"),
        (_, _, Some(_), _) | (_, _, _, Some(_)) if zone.is_some() => {
            complain(format!("`{name}` has a `zone`, and is no time"), "remove `zone`, or what stands beside it")
        }
        (_, Some(_), Some(_), Some(_)) => complain(format!("`{name}` has both `as` and `map`"), "one of them each"),
        (_, Some(from), Some(form), None) => uuid5(&inner, name, from.value, &form, of, own, key),
        (_, Some(_), None, _) if of.is_some() => {
            complain(format!("`{name}` has `of` without `as`"), "add `as = \"uuid5\"`, or remove `of`")
        }
        (_, Some(_), None, None) if inner.has("map") => None,
        (_, Some(from), None, Some(values)) => Some(ColumnSource::Map { column: from.value, values }),
        (_, Some(from), None, None) if zone.is_some() => zone.and_then(|zone| local(&inner, from.value, zone)),
        (_, Some(_), None, None) if inner.has("zone") => None,
        (_, Some(from), None, None) => Some(ColumnSource::Column(from.value)),
    };
    inner.finish();
    source
}

fn packed(section: &Fields<'_>, name: &str, columns: Vec<Located<String>>) -> Option<ColumnSource> {
    let mut packed: Vec<String> = Vec::new();
    for Located { value: column, at } in columns {
        if packed.contains(&column) {
            section.text.report.error(&at, format!("`{name}` packs `{column}` twice"), "remove one of them");
        }
        packed.push(column);
    }
    if packed.is_empty() {
        section.error(format!("`{name}` packs nothing"), "write it like { pack = [\"bio\", \"avatar\"] }");
        return None;
    }
    Some(ColumnSource::Pack { columns: packed })
}

fn local(section: &Fields<'_>, column: String, zone: Located<String>) -> Option<ColumnSource> {
    if !is_zone(&zone.value) {
        let hint = "name it as the IANA database does, like \"Europe/Berlin\"";
        section.text.report.error(&zone.at, format!("there is no time zone \"{}\"", zone.value), hint);
        return None;
    }
    Some(ColumnSource::Local { column, zone: zone.value })
}

fn uuid5(
    section: &Fields<'_>,
    name: &str,
    column: String,
    form: &Located<String>,
    of: Option<Located<String>>,
    own: &str,
    key: &str,
) -> Option<ColumnSource> {
    if form.value != "uuid5" {
        section.text.report.error(&form.at, format!("`as` is \"{}\"", form.value), suggest(&form.value, ["uuid5"]));
        return None;
    }
    match of {
        Some(of) => Some(ColumnSource::Uuid5 { column, of: of.value }),
        None if column == key => Some(ColumnSource::Uuid5 { column, of: own.to_owned() }),
        None => {
            let hint = format!("add `of = \"…\"`, the legacy table that `{column}` refers to");
            section.error(format!("`{name}` does not say which table's key `{column}` is"), hint);
            None
        }
    }
}

/// Pairs of legacy and modern value. Keys of TOML are strings: one that is written like an integer is one.
fn values(map: &Fields<'_>) -> Vec<(Value, Value)> {
    let mut pairs: Vec<(Value, Value)> = Vec::new();
    for (key, item) in map.entries() {
        let Some(modern) = value(map, key.value, item) else { continue };
        let whole = key.value.parse::<i64>().ok().filter(|whole| whole.to_string() == key.value);
        let legacy = whole.map_or_else(|| Value::Text(key.value.to_owned()), Value::Int);
        if pairs.iter().any(|(_, other)| *other == modern) {
            let message = format!("two legacy values become {}: there is no way back", shown(&modern));
            map.text.report.error(&key.at, message, "every legacy value needs a modern value of its own");
        }
        pairs.push((legacy, modern));
    }
    if pairs.is_empty() {
        map.error("the map has no values", "write it like map = { 1 = \"admin\", 2 = \"staff\" }");
    }
    pairs
}

pub(super) fn value(section: &Fields<'_>, key: &str, item: &Item<'_>) -> Option<Value> {
    let value = match item.get_ref() {
        DeValue::String(text) => Some(Value::Text(text.to_string())),
        DeValue::Integer(_) => integer(item.get_ref()).map(Value::Int),
        DeValue::Float(float) => float.as_str().parse().ok().map(Value::Real),
        DeValue::Boolean(boolean) => Some(Value::Int(i64::from(*boolean))),
        _ => None,
    };
    if value.is_none() {
        section.wrong(key, item, "a value of a column", "a string, an integer, a number or a boolean");
    }
    value
}

fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("\"{text}\""),
        Value::Int(whole) => whole.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Null | Value::Blob(_) => "the same value".to_owned(),
    }
}
