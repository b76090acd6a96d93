//! The way there and back is the identity, and what cannot come back is refused before the first row.

use proptest::prelude::*;

use crate::{Side, Timestamp};

use super::{
    ColumnInfo, ColumnMap, ColumnSource, Kind, Mark, Plan, Row, RowError, Rows, TableMap, Tables, Value, ZeroDates, compile, uuid_of,
};

fn columns(required: &[&str], optional: &[&str]) -> Vec<ColumnInfo> {
    let info = |required: bool| move |name: &&str| ColumnInfo { name: (*name).to_owned(), kind: Kind::Any, required, nullable: !required };
    required.iter().map(info(true)).chain(optional.iter().map(info(false))).collect()
}

fn column(modern: &str, from: ColumnSource) -> ColumnMap {
    ColumnMap { modern: modern.to_owned(), from }
}

fn uuid(column: &str, of: &str) -> ColumnSource {
    ColumnSource::Uuid5 { column: column.to_owned(), of: of.to_owned() }
}

fn table(legacy: &str, modern: &str, columns: Vec<ColumnMap>) -> TableMap {
    TableMap {
        events: Vec::new(),
        source: "users.toml:1".to_owned(),
        legacy: legacy.to_owned(),
        modern: modern.to_owned(),
        legacy_key: "id".to_owned(),
        modern_key: "legacy_id".to_owned(),
        sequence: None,
        columns,
        only: false,
        keep_legacy: Vec::new(),
        keep_modern: Vec::new(),
        zero_dates: super::ZeroDates::default(),
        rows: Rows::default(),
    }
}

fn maps() -> Vec<TableMap> {
    let roles = vec![(Value::Int(1), Value::Text("admin".into())), (Value::Int(2), Value::Text("staff".into()))];
    vec![
        table(
            "accounts_customuser",
            "users",
            vec![
                column("id", uuid("id", "accounts_customuser")),
                column("given_name", ColumnSource::Column("first_name".into())),
                column("role", ColumnSource::Map { column: "user_type".into(), values: roles }),
            ],
        ),
        table(
            "accounts_staff",
            "profiles",
            vec![
                column("id", uuid("id", "accounts_staff")),
                column("user_id", uuid("user_id", "accounts_customuser")),
                column("kind", ColumnSource::Constant(Value::Text("staff".into()))),
            ],
        ),
    ]
}

fn legacy() -> Tables {
    Tables::from([
        ("accounts_customuser".to_owned(), columns(&["id", "first_name", "user_type", "email"], &[])),
        ("accounts_staff".to_owned(), columns(&["id"], &["user_id", "address"])),
    ])
}

fn modern() -> Tables {
    Tables::from([
        ("users".to_owned(), columns(&["id", "legacy_id", "given_name", "role", "email"], &["nickname"])),
        ("profiles".to_owned(), columns(&["id", "kind"], &["legacy_id", "user_id", "address", "gender"])),
    ])
}

fn plans() -> Vec<Plan> {
    compile("users", &maps(), &legacy(), &modern()).expect("the pairs of the test map")
}

fn complaint(maps: &[TableMap], legacy: &Tables, modern: &Tables) -> String {
    let errors = compile("users", maps, legacy, modern).expect_err("must be refused");
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_map(Value::Real),
        ".*".prop_map(Value::Text),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(Value::Blob),
    ]
}

/// A legacy table of a strict engine, and one of every way to keep its columns on modern.
fn typed(pairs: &[(&str, Kind, Kind)]) -> (Vec<TableMap>, Tables, Tables) {
    let info = |name: &str, kind: Kind| ColumnInfo { name: name.to_owned(), kind, required: false, nullable: true };
    let column = |legacy: bool| move |(name, from, to): &(&str, Kind, Kind)| info(name, if legacy { from.clone() } else { to.clone() });
    let legacy = [info("id", Kind::Int)].into_iter().chain(pairs.iter().map(column(true))).collect();
    let modern = [info("legacy_id", Kind::Int)].into_iter().chain(pairs.iter().map(column(false))).collect();
    (vec![table("old", "new", Vec::new())], Tables::from([("old".into(), legacy)]), Tables::from([("new".into(), modern)]))
}

fn loose(kind: Kind) -> Kind {
    Kind::Loose(Box::new(kind))
}

#[test]
fn columns_of_different_kinds_are_cast_both_ways() {
    let (maps, legacy, modern) = typed(&[
        ("active", Kind::Int, Kind::Bool),
        ("price", loose(Kind::Decimal), Kind::Decimal),
        ("token", Kind::Char32, Kind::Uuid),
        ("at", loose(Kind::Timestamp), Kind::Instant),
    ]);
    let plan = &compile("users", &maps, &legacy, &modern).expect("compiles")[0];
    let text = |text: &str| Value::Text(text.to_owned());
    let row = |values: Vec<Value>| Row { key: Value::Int(1), values };
    let old = row(vec![Value::Int(1), Value::Real(9.5), text("0f14d0ab96054a62a9e45ed26688389b"), text("2026-11-20 18:30:05.500000")]);
    let new = row(vec![Value::Int(1), text("9.5"), text("0f14d0ab-9605-4a62-a9e4-5ed26688389b"), text("2026-11-20 18:30:05.5")]);
    assert_eq!(plan.forward(&old), Ok(new.clone()));
    assert_eq!(plan.back(&new), Ok(old.clone()));
    let other = Row { key: Value::Int(1), values: [vec![Value::Int(2)], old.values[1..].to_vec()].concat() };
    let refused = plan.forward(&other).expect_err("2 is neither true nor false");
    assert_eq!(refused.to_string(), "column active: a number that is neither 0 nor 1");
    let spelled = row(vec![Value::Int(1), text("9.50"), text("0F14D0AB96054A62A9E45ED26688389B"), text("2026-11-20T18:30:05.500Z")]);
    assert_eq!(plan.differing_column(&plan.canonical(spelled), &plan.canonical(new)), None);
}

#[test]
fn what_is_lost_is_known_before_the_first_row() {
    let (maps, legacy, modern) = typed(&[("note", Kind::Text, Kind::Json), ("n", Kind::Int, Kind::Int)]);
    let plan = &compile("users", &maps, &legacy, &modern).expect("compiles")[0];
    let losses: Vec<String> = plan.losses.iter().map(ToString::to_string).collect();
    let expected = "column note of new: to modern, text that is no JSON does not fit; white space and the order of keys may not be kept";
    assert_eq!(losses, [expected]);
}

#[test]
fn kinds_that_nothing_connects_are_refused_with_a_remedy() {
    let (mut maps, legacy, mut modern) =
        typed(&[("kind", Kind::Int, Kind::Uuid), ("at", Kind::Bytes, Kind::Date), ("x", Kind::Text, Kind::Int)]);
    maps[0].columns.push(column("x", uuid("x", "old")));
    modern.get_mut("new").expect("a table")[0].kind = Kind::Text;
    let text = complaint(&maps, &legacy, &modern);
    for part in [
        "column kind of old is integer, and kind of new is uuid; make the uuid",
        "column at of old is bytes, and at of new is date",
        "x, which is text; only integers become a uuid",
        "the key id of old is integer, and legacy_id of new, which keeps it, is text",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn values_of_the_rule_file_take_the_form_of_their_columns() {
    let (mut maps, legacy, modern) = typed(&[("role", Kind::Text, Kind::Enum(vec!["admin".into()])), ("on", Kind::Int, Kind::Bool)]);
    let admin = Value::Text("admin".into());
    maps[0].columns.push(column("role", ColumnSource::Map { column: "role".into(), values: vec![(Value::Int(1), admin.clone())] }));
    maps[0].columns.push(column("on", ColumnSource::Constant(Value::Text("true".into()))));
    maps[0].keep_legacy.push("on".into());
    let plan = &compile("users", &maps, &legacy, &modern).expect("compiles")[0];
    let row = Row { key: Value::Int(1), values: vec![Value::Text("1".into())] };
    assert_eq!(plan.forward(&row).expect("maps").values, [admin, Value::Int(1)]);
    assert_eq!(plan.modern.filter, [("on".to_owned(), Value::Int(1))]);
    maps[0].columns[0] =
        column("role", ColumnSource::Map { column: "role".into(), values: vec![(Value::Int(1), Value::Text("boss".into()))] });
    assert!(complaint(&maps, &legacy, &modern).contains("column role of new: a value of the rule file is not enum"));
}

#[test]
fn a_uuid_is_kept_as_its_column_keeps_uuids() {
    let expected = uuid_of("users", "old", 7);
    for (kind, kept) in [
        (Kind::Uuid, Value::Text(expected.to_string())),
        (loose(Kind::Text), Value::Text(expected.to_string())),
        (loose(Kind::Char32), Value::Text(expected.simple().to_string())),
        (Kind::Bytes, Value::Blob(expected.as_bytes().to_vec())),
    ] {
        let (mut maps, legacy, mut modern) = typed(&[]);
        modern.get_mut("new").expect("a table").push(ColumnInfo { name: "id".into(), kind, required: true, nullable: false });
        maps[0].columns.push(column("id", uuid("id", "old")));
        let plan = &compile("users", &maps, &legacy, &modern).expect("compiles")[0];
        let row = Row { key: Value::Int(7), values: Vec::new() };
        let there = plan.forward(&row).expect("maps");
        assert_eq!(there.values, [kept]);
        assert_eq!(plan.back(&there), Ok(row));
    }
}

/// Rows that are marked as deleted on legacy are none of the pair, and a deletion on modern marks them.
fn soft() -> (Vec<TableMap>, Tables, Tables) {
    let (mut maps, mut legacy, modern) = typed(&[("name", Kind::Text, Kind::Text)]);
    let info = |name: &str, kind: Kind| ColumnInfo { name: name.to_owned(), kind, required: true, nullable: false };
    legacy.get_mut("old").expect("a table").extend([info("deleted", Kind::Bool), info("deleted_at", loose(Kind::Timestamp))]);
    maps[0].rows = Rows {
        filter: vec![("deleted".into(), Value::Text("false".into())), ("deleted_at".into(), Value::Null)],
        legacy_delete: vec![("deleted".into(), Mark::Value(Value::Int(1))), ("deleted_at".into(), Mark::Now)],
        modern_delete: Vec::new(),
    };
    (maps, legacy, modern)
}

#[test]
fn a_tested_column_has_one_value_on_the_way_back() {
    let (maps, legacy, modern) = soft();
    let plan = &compile("users", &maps, &legacy, &modern).expect("compiles")[0];
    let tests = vec![("deleted".to_owned(), Value::Int(0)), ("deleted_at".to_owned(), Value::Null)];
    assert_eq!((&plan.legacy.filter, &plan.modern.filter), (&tests, &Vec::new()));
    assert_eq!(plan.legacy.columns, ["deleted", "deleted_at", "name"]);
    let row = Row { key: Value::Int(1), values: vec![Value::Int(0), Value::Null, Value::Text("Ada".into())] };
    let there = plan.forward(&row).expect("maps");
    assert_eq!(there.values, [Value::Text("Ada".into())]);
    assert_eq!(plan.back(&there), Ok(row));
}

#[test]
fn a_buried_row_is_outside_its_filter_and_otherwise_as_it_was() {
    let (maps, legacy, modern) = soft();
    let plan = &compile("users", &maps, &legacy, &modern).expect("compiles")[0];
    assert!(plan.buries(Side::Legacy) && !plan.buries(Side::Modern));
    let row = Row { key: Value::Int(1), values: vec![Value::Int(0), Value::Null, Value::Text("Ada".into())] };
    let values = vec![Value::Int(1), Value::Text("2026-11-20 18:30:05".into()), Value::Text("Ada".into())];
    assert_eq!(plan.bury(Side::Legacy, row, Timestamp(1_795_199_405_999)), Row { key: Value::Int(1), values });
}

#[test]
fn a_deletion_that_would_leave_the_row_in_the_pair_is_refused() {
    let (maps, legacy, modern) = soft();
    for (marks, part) in [
        (vec![("name", Mark::Now)], "writes column name of old, which no where tells"),
        (vec![("deleted", Mark::Now)], "writes the time into column deleted of old, which is boolean"),
        (vec![("deleted", Mark::Value(Value::Int(0)))], "leaves a row of old as it is"),
        (vec![("deleted", Mark::Value(Value::Text("maybe".into())))], "column deleted of old: a value of the rule file is not boolean"),
    ] {
        let mut maps = maps.clone();
        maps[0].rows.legacy_delete = marks.into_iter().map(|(name, mark)| (name.to_owned(), mark)).collect();
        let text = complaint(&maps, &legacy, &modern);
        assert!(text.contains(part), "{part}: {text}");
    }
    let mut maps = maps.clone();
    maps[0].rows.filter.push(("vanished".into(), Value::Int(1)));
    assert!(complaint(&maps, &legacy, &modern).contains("legacy table old has no column vanished"));
}

#[test]
fn one_table_becomes_two_and_each_row_knows_its_own() {
    let (mut maps, mut legacy, mut modern) = typed(&[("name", Kind::Text, Kind::Text)]);
    legacy.get_mut("old").expect("a table").push(ColumnInfo { name: "kind".into(), kind: Kind::Int, required: true, nullable: false });
    modern.insert("other".into(), modern["new"].clone());
    maps.push(table("old", "other", Vec::new()));
    for (map, kind) in maps.iter_mut().zip(1..) {
        map.rows.filter.push(("kind".into(), Value::Int(kind)));
    }
    let plans = compile("users", &maps, &legacy, &modern).expect("compiles");
    assert_eq!(plans.iter().map(|plan| plan.pair.as_str()).collect::<Vec<_>>(), ["old/new", "old/other"]);
    for (plan, kind) in plans.iter().zip(1..) {
        let row = Row { key: Value::Int(5), values: vec![Value::Int(kind), Value::Text("Ada".into())] };
        assert_eq!(plan.back(&plan.forward(&row).expect("maps")), Ok(row));
    }
    modern.get_mut("new").expect("a table").push(ColumnInfo { name: "parent".into(), kind: Kind::Uuid, required: false, nullable: true });
    legacy.get_mut("old").expect("a table").push(ColumnInfo { name: "parent".into(), kind: Kind::Int, required: false, nullable: true });
    maps[1].keep_legacy.push("parent".into());
    maps[0].columns.push(column("parent", uuid("parent", "old")));
    assert!(complaint(&maps, &legacy, &modern).contains("whose rows are in several tables"));
}

#[test]
fn a_zero_date_is_nothing_that_is_moved() {
    let (mut maps, legacy, modern) = typed(&[("at", Kind::Timestamp, Kind::Timestamp)]);
    let row = Row { key: Value::Int(1), values: vec![Value::Text("0000-00-00 00:00:00".into())] };
    let dates = [ZeroDates::Quarantine, ZeroDates::Null, ZeroDates::Sentinel("1000-01-01".into())];
    for (policy, becomes) in dates.into_iter().zip([None, Some(Value::Null), Some(Value::Text("1000-01-01 00:00:00".into()))]) {
        maps[0].zero_dates = policy;
        let plan = &compile("users", &maps, &legacy, &modern).expect("compiles")[0];
        let forward = plan.forward(&row);
        assert_eq!(forward.as_ref().ok().map(|row| &row.values[0]), becomes.as_ref());
        match plan.into_forward(row.clone()) {
            Ok(moved) => assert_eq!(Ok(moved), forward),
            Err((back, why)) => assert_eq!((back, Err(why)), (row.clone(), forward)),
        }
    }
}

#[test]
fn a_local_time_is_in_utc_on_modern() {
    let (mut maps, legacy, modern) = typed(&[("at", Kind::Timestamp, Kind::Instant)]);
    let local = |zone: &str| column("at", ColumnSource::Local { column: "at".into(), zone: zone.into() });
    maps[0].columns.push(local("Europe/Berlin"));
    let plan = &compile("users", &maps, &legacy, &modern).expect("compiles")[0];
    let row = |time: &str| Row { key: Value::Int(1), values: vec![Value::Text(time.into())] };
    assert_eq!(plan.forward(&row("2026-07-01 12:00:00")), Ok(row("2026-07-01 10:00:00")));
    assert_eq!(plan.back(&row("2026-07-01 10:00:00")), Ok(row("2026-07-01 12:00:00")));
    let skipped = plan.forward(&row("2026-03-29 02:30:00")).expect_err("never shown");
    assert!(skipped.to_string().starts_with("column at: the clocks"), "{skipped}");
    let lost: Vec<String> = plan.losses.iter().map(ToString::to_string).collect();
    assert!(lost[1].starts_with("column at of new: to legacy, the hour that the clocks of Europe/Berlin show twice"), "{lost:?}");
    maps[0].columns[0] = local("Nowhere");
    assert!(complaint(&maps, &legacy, &modern).contains("no time zone Nowhere"));
}

fn packed() -> Plan {
    let (mut maps, mut legacy, mut modern) = typed(&[]);
    let info = |name: &str, kind: Kind| ColumnInfo { name: name.to_owned(), kind, required: false, nullable: true };
    legacy.get_mut("old").expect("a table").extend([info("bio", Kind::Text), info("rank", Kind::Int), info("extra", loose(Kind::Json))]);
    modern.get_mut("new").expect("a table").extend([info("profile", Kind::Json), info("colour", Kind::Text), info("size", Kind::Real)]);
    let unpack = |field: &str| ColumnSource::Unpack { column: "extra".into(), field: field.into() };
    maps[0].columns = vec![
        column("profile", ColumnSource::Pack { columns: vec!["bio".into(), "rank".into()] }),
        column("colour", unpack("colour")),
        column("size", unpack("width")),
    ];
    compile("users", &maps, &legacy, &modern).expect("compiles").remove(0)
}

#[test]
fn documents_are_the_same_in_any_spelling_and_foreign_keys_are_refused() {
    let plan = packed();
    let row = |profile: &str| Row { key: Value::Int(1), values: vec![Value::Text(profile.into()), Value::Null, Value::Real(1.0)] };
    let (whole, sparse) = (row("{\"bio\": null, \"rank\": 1}"), row("{\"rank\":1}"));
    assert_eq!(plan.differing_column(&plan.canonical(whole.clone()), &plan.canonical(sparse.clone())), None);
    assert_eq!(plan.differing_column(&plan.canonical(whole), &plan.canonical(row("{\"rank\":2}"))), Some("profile"));
    assert_eq!(plan.back(&sparse).expect("maps").values, [Value::Null, Value::Int(1), Value::Text("{\"width\": 1.0}".into())]);
    let refused = plan.back(&row("{\"rank\": 1, \"secret\": 2}")).expect_err("a key too many");
    assert_eq!(refused.to_string(), "column profile: a JSON object with a key that no column takes");
    let other = Row { key: Value::Int(1), values: vec![Value::Null, Value::Int(1), Value::Text("{\"height\": 1}".into())] };
    assert_eq!(
        plan.forward(&other),
        Err(RowError::Unfit { column: "colour".into(), why: "a JSON object with a key that no column takes" })
    );
    let lost: Vec<String> = plan.losses.iter().map(ToString::to_string).collect();
    assert!(lost.iter().any(|loss| loss.contains("other keys")) && lost.iter().any(|loss| loss.contains("missing")), "{lost:?}");
}

proptest! {
    #[test]
    fn documents_there_and_back_are_the_identity(bio in proptest::option::of(".*"), rank: i64, colour in ".*", size in -1e9..1e9f64) {
        let plan = packed();
        let document = format!("{{\"colour\": {}, \"width\": {size:?}}}", serde_json::Value::from(colour));
        let row = Row { key: Value::Int(1), values: vec![bio.map_or(Value::Null, Value::Text), Value::Int(rank), Value::Text(document)] };
        prop_assert_eq!(plan.into_forward(row.clone()).expect("maps"), plan.forward(&row).expect("maps"));
        prop_assert_eq!(plan.back(&plan.forward(&row).expect("maps")), Ok(row));
    }

    #[test]
    fn there_and_back_is_the_identity(id: i64, name in any_value(), email in any_value(), kind in 1..3i64) {
        let plan = &plans()[0];
        let row = Row { key: Value::Int(id), values: vec![name, Value::Int(kind), email] };
        prop_assert_eq!(&plan.legacy.columns, &["first_name", "user_type", "email"]);
        let there = plan.forward(&row).expect("every value is mapped");
        prop_assert_eq!(&plan.into_forward(row.clone()).expect("every value is mapped"), &there);
        prop_assert_eq!(plan.back(&there), Ok(row));
    }

    #[test]
    fn references_come_back_through_the_kept_key(id: i64, user in proptest::option::of(any::<i64>()), address in any_value()) {
        let plan = &plans()[1];
        let user = user.map_or(Value::Null, Value::Int);
        let row = Row { key: Value::Int(id), values: vec![user.clone(), address] };
        let mut there = plan.forward(&row).expect("every value is mapped");
        there.values.push(user);
        prop_assert_eq!(plan.back(&there), Ok(row));
    }
}

#[test]
fn a_uuid_is_the_one_of_the_contract() {
    let plan = &plans()[0];
    let row = Row { key: Value::Int(42), values: vec![Value::Null, Value::Int(1), Value::Null] };
    let expected = uuid_of("users", "accounts_customuser", 42).to_string();
    assert_eq!(plan.forward(&row).expect("maps").values[0], Value::Text(expected));
}

#[test]
fn a_reference_to_nothing_and_a_foreign_uuid_do_not_come_back() {
    let plan = &plans()[1];
    let row = Row { key: Value::Int(1), values: vec![Value::Int(7), Value::Null] };
    let there = plan.forward(&row).expect("maps");
    let with = |integer| {
        let mut row = there.clone();
        row.values.push(integer);
        plan.back(&row)
    };
    assert_eq!(with(Value::Null), Err(RowError::Dangling { column: "user_id".into() }));
    assert_eq!(with(Value::Int(8)), Err(RowError::ForeignUuid { column: "user_id".into() }));
}

#[test]
fn an_unlisted_value_is_refused() {
    let row = Row { key: Value::Int(1), values: vec![Value::Null, Value::Int(9), Value::Null] };
    assert_eq!(plans()[0].forward(&row), Err(RowError::Unmapped { column: "role".into() }));
}

#[test]
fn constants_are_a_filter_on_the_way_back() {
    assert_eq!(plans()[1].modern.filter, [("kind".to_owned(), Value::Text("staff".into()))]);
}

#[test]
fn a_required_modern_column_without_a_source_is_refused() {
    let mut modern = modern();
    modern.insert("users".into(), columns(&["id", "legacy_id", "given_name", "role", "email", "tenant"], &[]));
    let text = complaint(&maps(), &legacy(), &modern);
    assert!(text.contains("column tenant of modern table users") && text.contains("constant"), "{text}");
}

#[test]
fn a_legacy_column_that_goes_nowhere_is_refused_unless_kept() {
    let mut legacy = legacy();
    legacy.insert("accounts_customuser".into(), columns(&["id", "first_name", "user_type", "email"], &["last_login"]));
    let text = complaint(&maps(), &legacy, &modern());
    assert!(text.contains("column last_login of legacy table accounts_customuser") && text.contains("keep_legacy"), "{text}");
    let mut kept = maps();
    kept[0].keep_legacy.push("last_login".into());
    assert!(compile("users", &kept, &legacy, &modern()).is_ok());
}

#[test]
fn what_to_write_for_a_column_that_came_or_went_is_spelled_out() {
    let map = TableMap {
        keep_legacy: vec!["last_login".into()],
        columns: vec![column("title", ColumnSource::Column("name".into()))],
        ..maps().remove(0)
    };
    let tables = |table: &str, names: &[&str]| Tables::from([(table.to_owned(), columns(&[], names))]);
    let modern = tables(&map.modern, &["legacy_id", "title"]);
    let complaint = |names: &[&str]| complaint(std::slice::from_ref(&map), &tables(&map.legacy, names), &modern);
    assert!(complaint(&["id", "last_login", "name", "age"]).contains("keep_legacy = [\"last_login\", \"age\"]"));
    assert!(complaint(&["id", "last_login", "label"]).contains("if it is called label now, write title = \"label\" in [table.columns]"));
    let two = complaint(&["id", "last_login", "label", "age"]);
    assert!(two.contains("has no column name; name an existing column") && !two.contains("if it is called"), "{two}");
}

#[test]
fn all_errors_come_at_once() {
    let mut maps = maps();
    maps[0].columns.push(column("nowhere", ColumnSource::Column("missing".into())));
    maps[1].columns[1] = column("user_id", uuid("user_id", "elsewhere"));
    let text = complaint(&maps, &legacy(), &modern());
    for part in ["has no column missing", "has no column nowhere", "uuid of elsewhere"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_map_that_is_not_one_to_one_is_refused() {
    let mut maps = maps();
    let same = Value::Text("staff".into());
    let values = vec![(Value::Int(1), same.clone()), (Value::Int(2), same)];
    maps[0].columns[2] = column("role", ColumnSource::Map { column: "user_type".into(), values });
    assert!(complaint(&maps, &legacy(), &modern()).contains("one to one"));
}
