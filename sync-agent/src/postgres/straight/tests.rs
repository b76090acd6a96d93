//! The straight way beside the one by the values, byte for byte, for whatever a server prints.

use std::collections::BTreeMap;

use ficus_rules::Side;
use ficus_rules::catalog::Limits;
use ficus_rules::mapping::{ColumnInfo, ColumnMap, ColumnSource, TableMap, ZeroDates, compile};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::postgres::copy::Whole;
use crate::postgres::schema::{Table, Unique};

/// A type, as far as its texts are concerned.
#[derive(Debug, Clone, PartialEq)]
struct Type {
    kind: Kind,
    padded: bool,
}

fn labels(labels: &[&str]) -> Kind {
    Kind::Enum(labels.iter().map(|label| (*label).to_owned()).collect())
}

fn types() -> Vec<Type> {
    let kinds = [
        Kind::Bool,
        Kind::Int,
        Kind::Real,
        Kind::Single,
        Kind::Decimal,
        Kind::Text,
        Kind::Char32,
        Kind::Bytes,
        Kind::Date,
        Kind::Time,
        Kind::Timestamp,
        Kind::Instant,
        Kind::Interval,
        Kind::Uuid,
        Kind::Json,
        labels(&["sad", "a\\b", "\\N"]),
        labels(&["sad", "glad"]),
        Kind::Native("text[]".into()),
        Kind::Native("inet".into()),
    ];
    let of = |kind: &Kind, padded| Type { kind: kind.clone(), padded };
    kinds.iter().map(|kind| of(kind, false)).chain([of(&Kind::Text, true), of(&Kind::Char32, true)]).collect()
}

/// What a server prints of a value of the type.
fn printed(of: &Type) -> BoxedStrategy<String> {
    let one_of = |texts: &[&'static str]| select(texts.to_vec()).prop_map(str::to_owned).boxed();
    match &of.kind {
        Kind::Bool => one_of(&["t", "f"]),
        Kind::Int => prop_oneof![any::<i64>(), -2..3_i64].prop_map(|number| number.to_string()).boxed(),
        Kind::Real | Kind::Single => one_of(&["0.1", "-0", "1", "0", "NaN", "Infinity", "-Infinity", "1e+20", "5e-324", "-12.25", "1e-05"]),
        Kind::Decimal => prop_oneof![
            "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,12})?",
            "(0|1)(\\.0{1,3})?",
            select(vec!["NaN", "Infinity"]).prop_map(str::to_owned)
        ]
        .boxed(),
        Kind::Bytes => "(\\\\x)([0-9a-f]{2}){0,20}|\\\\x(00|61){16}".boxed(),
        Kind::Date => one_of(&["2026-11-20", "infinity", "-infinity", "0044-03-15 BC", "10000-01-01", "0000-00-00", "0001-01-01"]),
        Kind::Time => one_of(&["18:30:05", "18:30:05.12", "24:00:00", "00:00:00"]),
        Kind::Timestamp => one_of(&[
            "2026-11-20 18:30:05",
            "2026-11-20 00:00:00",
            "2026-11-20 18:30:05.000001",
            "infinity",
            "-infinity",
            "0044-03-15 12:00:00 BC",
            "294276-12-31 23:59:59.999999",
            "0000-00-00 00:00:00",
        ]),
        Kind::Instant => one_of(&[
            "2026-11-20 18:30:05+00",
            "2026-11-20 18:30:05.12+00",
            "2026-11-20 00:00:00+00",
            "infinity",
            "-infinity",
            "0044-03-15 12:00:00+00 BC",
            "0000-00-00 00:00:00+00",
        ]),
        Kind::Interval => one_of(&["PT0S", "PT1H2M3.5S", "PT-0.000001S", "P1DT1H", "P-1M", "-P1D"]),
        Kind::Uuid => one_of(&["550e8400-e29b-41d4-a716-446655440000", "00000000-0000-0000-0000-000000000000"]),
        Kind::Json => one_of(&["null", "{\"a\": \"x\\\\ny\"}", "[1, 1e400]", "\"☃\"", "{\"a\":\n1}"]),
        Kind::Enum(labels) => select(labels.clone()).boxed(),
        Kind::Native(_) => one_of(&["{}", "{1,NULL}", "{\"a,b\",\"\\\\\"}", "10.0.0.1"]),
        _ => {
            let padded = of.padded;
            let words = select(vec![
                "1",
                "0",
                "2",
                "-7",
                "007",
                "1.50",
                "x",
                "sad",
                "a\\b",
                "\\N",
                "\\.",
                "",
                "2026-11-20",
                "0000-00-00",
                "true",
                "{}",
                "now",
            ]);
            let text = prop_oneof![
                words.prop_map(str::to_owned),
                any::<String>().prop_map(|text| text.replace('\0', "")),
                "[\\x01-\\x1f\\\\ ]{0,9}",
                "[a☃\t]{0,3}".prop_map(|text| text.repeat(700)),
                "[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}",
            ];
            text.prop_map(move |text| if padded { format!("{text:<8}") } else { text }).boxed()
        }
    }
}

/// A column of both sides.
#[derive(Debug, Clone)]
struct Pairing {
    from: Type,
    to: Kind,
    rule: Rule,
}

#[derive(Debug, Clone)]
enum Rule {
    Copy,
    Map,
    Uuid,
    Constant,
    Zone,
}

fn map(pairings: &[Pairing]) -> TableMap {
    let columns = pairings.iter().enumerate().map(|(at, pairing)| {
        let (column, zone) = (format!("a{at}"), "Europe/Berlin".to_owned());
        let from = match pairing.rule {
            Rule::Copy => ColumnSource::Column(column),
            Rule::Zone => ColumnSource::Local { column, zone },
            Rule::Uuid => ColumnSource::Uuid5 { column, of: "item".into() },
            Rule::Constant => ColumnSource::Constant(Value::Int(1)),
            Rule::Map => {
                let legacy =
                    |number: i64| if pairing.from.kind == Kind::Int { Value::Int(number) } else { Value::Text(number.to_string()) };
                let modern = |text: &str| if pairing.to == Kind::Int { Value::Int(text.len() as i64) } else { Value::Text(text.into()) };
                ColumnSource::Map { column, values: vec![(legacy(1), modern("one\t")), (legacy(2), modern("a pair"))] }
            }
        };
        ColumnMap { modern: format!("b{at}"), from }
    });
    let id = ColumnMap { modern: "uid".into(), from: ColumnSource::Uuid5 { column: "id".into(), of: "item".into() } };
    TableMap {
        events: Vec::new(),
        source: "test.toml:1".into(),
        legacy: "item".into(),
        modern: "thing".into(),
        legacy_key: "id".into(),
        modern_key: "legacy_id".into(),
        sequence: None,
        columns: columns.chain([id]).collect(),
        only: true,
        keep_legacy: Vec::new(),
        keep_modern: Vec::new(),
        zero_dates: ZeroDates::Null,
        rows: ficus_rules::mapping::Rows::default(),
    }
}

fn table(name: &str, key: &str, columns: Vec<(String, Kind, bool)>) -> Table {
    let column = |(name, kind, padded): (String, Kind, bool)| Column {
        own_text: false,
        loose: false,
        single: kind == Kind::Single,
        padded,
        info: ColumnInfo { name, kind, required: false, nullable: true },
        number: 1,
        nullable: true,
        cast: "text".into(),
        most: None,
        always: false,
        limits: Limits::default(),
    };
    Table {
        oid: 1,
        qualified: name.to_owned(),
        class: "r".into(),
        permanent: true,
        identity: "d".into(),
        columns: columns.into_iter().map(column).collect(),
        unique: vec![Unique { columns: vec![key.to_owned()], plain: true, referenced: false, primary: true }],
    }
}

/// The plan of these columns and both its pairs, if there is such a plan.
fn planned(pairings: &[Pairing]) -> Option<(Plan, Arc<Pair>, Arc<Pair>)> {
    let old = pairings.iter().enumerate().map(|(at, pairing)| (format!("a{at}"), pairing.from.kind.clone(), pairing.from.padded));
    let new = pairings.iter().enumerate().map(|(at, pairing)| (format!("b{at}"), pairing.to.clone(), false));
    let legacy = table("item", "id", [("id".into(), Kind::Int, false)].into_iter().chain(old).collect());
    let uid = ("uid".into(), Kind::Uuid, false);
    let modern = table("thing", "legacy_id", [("legacy_id".into(), Kind::Int, false), uid].into_iter().chain(new).collect());
    let infos = |table: &Table| table.columns.iter().map(|column| column.info.clone()).collect::<Vec<_>>();
    let tables = |name: &str, table: &Table| BTreeMap::from([(name.to_owned(), infos(table))]);
    let plan = compile("test", &[map(pairings)], &tables("item", &legacy), &tables("thing", &modern)).ok()?.remove(0);
    let pair = |side, shape: &ficus_rules::mapping::Shape, table| Pair::new(0, &plan, side, shape.clone(), table, Vec::new()).unwrap();
    let (old, new) = (pair(Side::Legacy, &plan.legacy, &legacy), pair(Side::Modern, &plan.modern, &modern));
    Some((plan, Arc::new(old), Arc::new(new)))
}

/// Every way in which a column can become another.
fn pairings() -> Vec<Pairing> {
    let rules = [Rule::Copy, Rule::Map, Rule::Uuid, Rule::Constant, Rule::Zone];
    let all = types().into_iter().flat_map(|from| types().into_iter().map(move |to| (from.clone(), to.kind)));
    let all = all.flat_map(|(from, to)| rules.clone().map(|rule| Pairing { from: from.clone(), to: to.clone(), rule }));
    all.filter(|pairing| planned(std::slice::from_ref(pairing)).is_some()).collect()
}

/// A value as the server escapes it (manual, "COPY", File Formats).
fn escaped(value: Option<&str>) -> String {
    let Some(value) = value else { return "\\N".into() };
    let letters = [("\\", "\\\\"), ("\u{8}", "\\b"), ("\u{c}", "\\f"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t"), ("\u{b}", "\\v")];
    letters.iter().fold(value.to_owned(), |text, (byte, letter)| text.replace(byte, letter))
}

#[derive(Debug, PartialEq)]
struct Came {
    wire: Option<Vec<u8>>,
    aside: Vec<String>,
    last: Value,
    rows: Vec<Row>,
}

fn told(rejected: &[Rejected]) -> Vec<String> {
    rejected.iter().map(|rejected| format!("{rejected:?}")).collect()
}

/// By the values of each row, as between any two engines.
fn by_values(plan: &Plan, legacy: &Pair, modern: &Pair, text: &[u8]) -> Result<Came, ()> {
    let (mut wire, mut whole, mut aside, mut last, mut rows) = (Vec::new(), true, Vec::new(), Value::Null, Vec::new());
    for line in text.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n') {
        let row = row(legacy, line).map_err(drop)?;
        last = row.key.clone();
        match plan.into_forward(row) {
            Ok(row) => {
                whole &= modern.line(&row, &mut wire).is_ok();
                rows.push(row);
            }
            Err((row, error)) => aside.push(rejected(plan, Direction::Forward, 0, &row, &error)),
        }
    }
    Ok(Came { wire: whole.then_some(wire), aside: told(&aside), last, rows })
}

fn straight(way: Arc<Way>, text: &[u8]) -> Result<Came, ()> {
    let rows = text.iter().filter(|byte| **byte == b'\n').count() as u64;
    let mapped = Arc::clone(&way).map(Lines { text: text.to_vec(), rows }).map_err(drop)?;
    assert_eq!(mapped.read, rows);
    let wire = mapped.load.wire.map(|pieces| pieces.concat());
    // Whoever was let pass is read as well.
    Ok(Came { wire, aside: told(&mapped.aside), last: mapped.last, rows: mapped.load.rows.into_rows().unwrap() })
}

fn block() -> impl Strategy<Value = (Vec<Pairing>, Vec<Vec<Option<String>>>)> {
    let all = pairings();
    proptest::collection::vec(select(all), 1..7).prop_flat_map(|pairings| {
        let row: Vec<_> = pairings.iter().map(|pairing| proptest::option::weighted(0.9, printed(&pairing.from))).collect();
        (Just(pairings), proptest::collection::vec(row, 1..12))
    })
}

fn text(pairings: &[Pairing], rows: &[Vec<Option<String>>]) -> String {
    let line = |(id, row): (usize, &Vec<Option<String>>)| {
        // Of a column that nothing is made of, there is no field.
        let read = row.iter().zip(pairings).filter(|(_, pairing)| !matches!(pairing.rule, Rule::Constant));
        let fields = read.map(|(value, _)| escaped(value.as_deref()));
        std::iter::once((id + 1).to_string()).chain(fields).collect::<Vec<_>>().join("\t") + "\n"
    };
    rows.iter().enumerate().map(line).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn what_comes_straight_is_what_comes_by_the_values(block in block(), broken in proptest::option::weighted(0.1, any::<(Index, u8)>())) {
        let (pairings, rows) = block;
        let Some((plan, legacy, modern)) = planned(&pairings) else { return Ok(()) };
        let mut text = text(&pairings, &rows).into_bytes();
        if let Some((at, byte)) = broken {
            // A database that says nothing of its encoding prints whatever bytes it has; none of those ends a field.
            let at = at.index(text.len());
            if text[at] >= b'a' {
                text[at] = byte | 0x80;
            }
        }
        let printed = Printed { label: "test".into(), pair: Arc::clone(&legacy) };
        let way = Way::new(0, &plan, printed, Arc::clone(&modern)).unwrap();
        prop_assert_eq!(straight(Arc::new(way), &text), by_values(&plan, &legacy, &modern, &text));
    }

    #[test]
    fn blocks_are_the_lines_wherever_they_are_cut(
        lines in proptest::collection::vec("[a\\\\☃]{0,9}\n", 1..9),
        cuts in proptest::collection::vec((1..9_usize, any::<bool>()), 1..60),
    ) {
        let text = lines.concat();
        let (mut whole, mut rest, mut cuts) = (Whole::default(), text.as_bytes(), cuts.into_iter().cycle());
        let (mut found, mut count) = (Vec::new(), 0);
        while !rest.is_empty() {
            let (size, take) = cuts.next().unwrap();
            let (chunk, after) = rest.split_at(size.min(rest.len()));
            whole.feed(chunk);
            rest = after;
            let Some(lines) = (take || rest.is_empty()).then(|| whole.take()).flatten() else { continue };
            prop_assert!(lines.text.ends_with(b"\n"));
            prop_assert_eq!(lines.rows, lines.text.iter().filter(|byte| **byte == b'\n').count() as u64);
            count += lines.rows;
            found.extend(lines.text);
        }
        prop_assert_eq!((found, count), (text.into_bytes(), lines.len() as u64));
    }
}

/// Nothing but what is known to differ is taken apart: a way that took everything by its values would be as right, and slow.
#[test]
fn what_is_printed_alike_is_handed_on() {
    let form = |from: Kind, to: &Kind| form(&table("t", "k", vec![("k".into(), from, false)]).columns[0], to);
    assert_eq!(form(Kind::Text, &Kind::Text), Some(Form::Same));
    assert_eq!(form(Kind::Json, &Kind::Json), Some(Form::Same));
    assert_eq!(form(Kind::Decimal, &Kind::Text), Some(Form::Decimal));
    assert_eq!(form(Kind::Instant, &Kind::Timestamp), Some(Form::Instant));
    let pairing = |from: Kind, to| Pairing { from: Type { kind: from, padded: false }, to, rule: Rule::Copy };
    let (plan, legacy, modern) = planned(&[pairing(Kind::Int, Kind::Text), pairing(Kind::Instant, Kind::Timestamp)]).unwrap();
    let way = Way::new(0, &plan, Printed { label: "test".into(), pair: legacy }, modern).unwrap();
    let taken_apart = way.fields.iter().filter(|field| matches!(field, Field::Made { .. })).count();
    assert_eq!((taken_apart, way.fields.len()), (0, 4));
}
