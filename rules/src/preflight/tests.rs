//! Findings off two catalogs, and what the statements say.

use super::{Asked, Elsewhere, tables};
use crate::Side;
use crate::catalog::{Catalog, Column, Limits, Quote, Reference, Table};
use crate::finding::{Finding, Severity};
use crate::mapping::{ColumnMap, ColumnSource, Kind, Rows, TableMap, Value, compile};

fn column(name: &str, kind: Kind) -> Column {
    Column { name: name.into(), kind, declared: "x".into(), default: true, generated: false, limits: Limits::default() }
}

fn table(name: &str, columns: Vec<Column>, unique: &[&[&str]]) -> Table {
    let unique: Vec<Vec<String>> = unique.iter().map(|columns| columns.iter().map(|column| (*column).to_owned()).collect()).collect();
    Table { name: name.into(), columns, primary: unique.first().cloned().unwrap_or_default(), unique, ..Table::default() }
}

fn reference(columns: &str, parent: &str, acts: Option<&str>) -> Reference {
    Reference {
        name: "fk".into(),
        columns: vec![columns.into()],
        parent: parent.into(),
        parent_columns: vec!["id".into()],
        acts: acts.map(Into::into),
    }
}

struct World {
    maps: Vec<TableMap>,
    legacy: Catalog,
    modern: Catalog,
    elsewhere: Elsewhere,
    depends_on: Vec<String>,
    ahead_of: Vec<String>,
}

impl World {
    fn new() -> World {
        let map = TableMap {
            events: Vec::new(),
            source: "users.toml:9".into(),
            legacy: "accounts_staff".into(),
            modern: "profiles".into(),
            legacy_key: "id".into(),
            modern_key: "legacy_id".into(),
            sequence: None,
            columns: vec![ColumnMap { modern: "kind".into(), from: ColumnSource::Constant(Value::Text("staff".into())) }],
            only: false,
            keep_legacy: Vec::new(),
            keep_modern: Vec::new(),
            zero_dates: crate::mapping::ZeroDates::default(),
            rows: Rows::default(),
        };
        let legacy = table("accounts_staff", vec![column("id", Kind::Int), column("name", Kind::Text)], &[&["id"]]);
        let columns = vec![column("legacy_id", Kind::Int), column("kind", Kind::Text), column("name", Kind::Text)];
        let modern = table("profiles", columns, &[&["kind", "legacy_id"]]);
        let catalog = |engine: &str, quote, table| Catalog {
            engine: engine.into(),
            quote,
            refuses_acts: false,
            acts_for_agent: false,
            tables: vec![table],
        };
        World {
            maps: vec![map],
            legacy: catalog("MariaDB 10.11", Quote::Back, legacy),
            modern: catalog("PostgreSQL 15", Quote::Double, modern),
            elsewhere: Elsewhere::default(),
            depends_on: Vec::new(),
            ahead_of: Vec::new(),
        }
    }

    fn found(&self) -> Vec<(Option<Side>, Finding)> {
        let errors = compile("users", &self.maps, &self.legacy.columns(), &self.modern.columns()).err().unwrap_or_default();
        let asked = Asked {
            capability: "users",
            depends_on: &self.depends_on,
            ahead_of: &self.ahead_of,
            maps: &self.maps,
            legacy: &self.legacy,
            modern: &self.modern,
            elsewhere: &self.elsewhere,
        };
        tables(&asked, &errors)
    }

    fn only(&self, code: &str) -> Finding {
        let found = self.found();
        let [(_, finding)] = found.as_slice() else { panic!("{found:#?}") };
        assert_eq!(finding.code, code, "{finding:?}");
        finding.clone()
    }
}

#[test]
fn tables_that_fit_have_nothing_to_tell() {
    assert_eq!(World::new().found(), []);
}

#[test]
fn a_key_that_is_missing_is_told_once_with_both_statements() {
    let mut world = World::new();
    world.modern.tables[0].columns.remove(0);
    let statements = [
        "ALTER TABLE \"profiles\" ADD COLUMN \"legacy_id\" bigint;",
        "CREATE UNIQUE INDEX \"profiles_legacy_id\" ON \"profiles\" (\"kind\", \"legacy_id\");",
    ];
    assert_eq!(world.only("key_column").statements, statements);
}

#[test]
fn an_index_that_is_unique_only_with_a_column_that_varies_is_not_enough() {
    let mut world = World::new();
    world.modern.tables[0].unique = vec![vec!["legacy_id".into(), "name".into()]];
    assert_eq!(world.only("key_unique").severity, Severity::Refused);
}

#[test]
fn what_the_rule_file_gets_wrong_is_told_with_its_line() {
    let mut world = World::new();
    world.legacy.tables[0].columns.push(column("forgotten", Kind::Text));
    let finding = world.only("mapping");
    assert!(finding.what.starts_with("users.toml:9: column forgotten"), "{finding:?}");
    world.maps[0].keep_legacy.push("forgotten".into());
    assert_eq!(world.only("stays_on_legacy").severity, Severity::Note);
}

#[test]
fn a_reference_to_what_another_capability_maps_asks_for_the_dependency() {
    let mut world = World::new();
    world.legacy.tables[0].references.push(reference("name", "courses", None));
    assert_eq!(world.only("reference_leaves").severity, Severity::Note);
    world.elsewhere.legacy.insert("courses".into(), "academic".into());
    let finding = world.only("reference_leaves");
    assert_eq!(finding.severity, Severity::Warning);
    assert!(finding.then.contains("depends_on = [\"academic\"]"), "{finding:?}");
    world.depends_on.push("academic".into());
    assert_eq!(world.only("reference_leaves").severity, Severity::Note);
}

#[test]
fn a_reference_decides_who_moves_first() {
    let mut world = World::new();
    world.legacy.tables[0].references.push(reference("name", "courses", None));
    world.elsewhere.legacy.insert("courses".into(), "academic".into());
    world.depends_on.push("academic".into());
    let found = |world: &World, code: &str| world.found().into_iter().map(|(_, finding)| finding).find(|finding| finding.code == code);
    let declare = |world: &mut World, name: &str, on: &str| world.elsewhere.depends_on.insert(name.into(), [on.to_owned()].into());
    declare(&mut world, "users", "academic");
    assert_eq!(found(&world, "reference_order"), None);
    assert_eq!(found(&world, "reference_circle"), None);
    // WHEN the one that is referred to says that it comes later, be it through another
    declare(&mut world, "academic", "fines");
    declare(&mut world, "fines", "users");
    let refused = found(&world, "reference_order").expect("a finding");
    assert_eq!((refused.severity, refused.table.as_deref()), (Severity::Refused, Some("accounts_staff")));
    assert!(refused.what.contains("refers to courses of academic, and academic depends on users"), "{refused:?}");
    // WHEN the rules have it so on purpose
    world.depends_on.clear();
    world.ahead_of.push("academic".into());
    assert_eq!(found(&world, "reference_order"), None);
    let told = found(&world, "reference_leaves").expect("a finding");
    assert_eq!((told.severity, told.then.as_str()), (Severity::Note, ""), "nobody is asked for the dependency");
    assert!(told.means.contains("the monolith removes"), "{told:?}");
    world.ahead_of.clear();
    // WHEN references lead both ways
    declare(&mut world, "fines", "nobody");
    let mut courses = table("courses", vec![column("id", Kind::Int)], &[&["id"]]);
    courses.references.push(reference("teacher", "accounts_staff", None));
    world.legacy.tables.push(courses);
    assert_eq!(found(&world, "reference_circle").map(|finding| finding.severity), Some(Severity::Warning));
    assert_eq!(found(&world, "reference_order"), None);
}

#[test]
fn a_cascade_from_outside_is_taken_away_unless_the_engine_has_refused_it() {
    let mut world = World::new();
    world.legacy.tables[0].references.push(reference("name", "courses", Some("ON DELETE CASCADE")));
    assert_eq!(world.only("cascade_from_outside").statements, ["ALTER TABLE `accounts_staff` DROP CONSTRAINT `fk`;"]);
    world.legacy.refuses_acts = true;
    assert_eq!(world.found(), []);
}

/// On modern, and of another capability that moves: rows of this one would be gone, and nobody would have removed them.
#[test]
fn a_cascade_that_the_agent_would_set_off_is_refused() {
    let severity = |owned: bool, enforced: bool, of_modern: bool| {
        let mut world = World::new();
        let elsewhere = &mut world.elsewhere;
        let (side, elsewhere) =
            if of_modern { (&mut world.modern, &mut elsewhere.modern) } else { (&mut world.legacy, &mut elsewhere.legacy) };
        side.acts_for_agent = enforced;
        side.tables[0].references.push(reference("name", "courses", Some("ON DELETE CASCADE")));
        if owned {
            elsewhere.insert("courses".into(), "academic".into());
        }
        let finding = world.only("cascade_from_outside");
        assert_eq!(finding.statements.len(), 1, "{finding:?}");
        finding.severity
    };
    assert_eq!(severity(true, true, true), Severity::Refused);
    assert_eq!(severity(false, true, true), Severity::Warning, "nothing that the agent writes");
    assert_eq!(severity(true, false, true), Severity::Warning, "its role switches it off");
    assert_eq!(severity(true, true, false), Severity::Warning, "legacy's is fenced");
}

#[test]
fn who_refers_to_the_capability_from_outside_is_named() {
    let mut world = World::new();
    let mut badge = table("badge", vec![column("id", Kind::Int)], &[&["id"]]);
    badge.references.push(reference("id", "accounts_staff", Some("ON DELETE SET NULL")));
    world.legacy.tables.push(badge);
    let finding = world.only("cascade_outwards");
    assert!(finding.what.contains("badge") && finding.means.contains("SET NULL"), "{finding:?}");
}

#[test]
fn what_legacy_takes_less_of_is_told_as_a_loss_of_the_way_back() {
    let mut world = World::new();
    world.legacy.tables[0].columns[1].limits = Limits { chars: Some(30), not_null: true, ..Limits::default() };
    let finding = world.only("revert_narrower");
    assert_eq!(
        finding.statements,
        ["ALTER TABLE \"profiles\" ALTER COLUMN \"name\" TYPE varchar(30), ALTER COLUMN \"name\" SET NOT NULL;"]
    );
}
