//! The way there and back is the identity, and what cannot come back is refused before the first row.

use proptest::prelude::*;

use super::{ColumnInfo, ColumnMap, ColumnSource, Kind, Plan, Row, RowError, TableMap, Tables, Value, compile, uuid_of};

fn columns(required: &[&str], optional: &[&str]) -> Vec<ColumnInfo> {
    let info = |required: bool| move |name: &&str| ColumnInfo { name: (*name).to_owned(), kind: Kind::Any, required };
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

proptest! {
    #[test]
    fn there_and_back_is_the_identity(id: i64, name in any_value(), email in any_value(), kind in 1..3i64) {
        let plan = &plans()[0];
        let row = Row { key: Value::Int(id), values: vec![name, Value::Int(kind), email] };
        prop_assert_eq!(&plan.legacy.columns, &["first_name", "user_type", "email"]);
        let there = plan.forward(&row).expect("every value is mapped");
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
