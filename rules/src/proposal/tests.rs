//! The school's tables, other systems' conventions, and that a proposal always loads.

use proptest::prelude::*;

use super::{From, Names, Proposal, likeness, propose};
use crate::catalog::{Catalog, Column, Limits, Quote, Reference, Table};
use crate::mapping::Kind;
use crate::spec::{self, Known};
use crate::wire::RuleFile;

/// `name kind`, the first is the primary key; `name -> table` is a reference.
fn table(name: &str, columns: &[&str]) -> Table {
    let mut table = Table { name: name.into(), ..Table::default() };
    for column in columns {
        let mut words = column.split_whitespace();
        let (column, kind) = (words.next().unwrap_or_default(), words.next().unwrap_or("text"));
        let kind = match kind {
            "int" => Kind::Int,
            "uuid" => Kind::Uuid,
            "bool" => Kind::Bool,
            "naive" => Kind::Timestamp,
            "instant" => Kind::Instant,
            _ => Kind::Text,
        };
        if words.next() == Some("->") {
            table.references.push(Reference {
                name: format!("fk_{column}"),
                columns: vec![column.into()],
                parent: words.next().unwrap_or_default().into(),
                parent_columns: vec!["id".into()],
                acts: None,
            });
        }
        table.columns.push(Column {
            name: column.into(),
            kind,
            declared: String::new(),
            default: true,
            generated: false,
            limits: Limits::default(),
        });
    }
    table.primary = table.columns.first().map(|column| vec![column.name.clone()]).unwrap_or_default();
    table.unique = vec![table.primary.clone()];
    table
}

fn catalog(tables: Vec<Table>) -> Catalog {
    Catalog { engine: "PostgreSQL 15".into(), quote: Quote::Double, refuses_acts: false, acts_for_agent: false, tables }
}

fn school() -> (Catalog, Catalog) {
    let legacy = catalog(vec![
        table("accounts_usernote", &["id int", "text", "created_at naive", "user_id int -> accounts_customuser"]),
        table("accounts_staff", &["id int", "created_at naive", "updated_at naive", "address", "user_id int -> accounts_customuser"]),
        table(
            "accounts_student",
            &["id int", "created_at naive", "updated_at naive", "address", "gender", "user_id int -> accounts_customuser"],
        ),
        table(
            "accounts_customuser",
            &[
                "id int",
                "password",
                "last_login naive",
                "username",
                "first_name",
                "last_name",
                "email",
                "date_joined naive",
                "user_type int",
                "fax",
            ],
        ),
        table("accounts_photo", &["user_id int -> accounts_customuser", "sha256", "data"]),
        table("django_session", &["session_key", "session_data"]),
        table("attendance_report", &["id int", "student_id int -> accounts_student", "status bool"]),
    ]);
    let mut profiles = table(
        "profiles",
        &["id uuid", "kind", "legacy_id int", "user_id uuid -> users", "address", "gender", "created_at instant", "updated_at instant"],
    );
    profiles.unique.push(vec!["kind".into(), "legacy_id".into()]);
    let modern = catalog(vec![
        table(
            "users",
            &["id uuid", "legacy_id int", "username", "email", "password", "given_name", "family_name", "role", "joined_at instant"],
        ),
        profiles,
        table("notes", &["id uuid", "legacy_id int", "user_id uuid -> users", "text", "created_at instant"]),
        table("photos", &["user_id uuid -> users", "legacy_id int", "sha256", "data"]),
        table("seq_users", &["id int"]),
        table("seq_profiles_staff", &["id int"]),
    ]);
    (legacy, modern)
}

fn names() -> Names {
    Names { capability: "users".into(), legacy: "monolith".into(), modern: "users-service".into() }
}

fn load(text: &str) -> crate::plan::RuleSet {
    let file = RuleFile { name: "users.toml".into(), text: text.to_owned() };
    let checked = spec::load(&[file], &Known::default());
    checked.unwrap_or_else(|complaints| panic!("{complaints:#?}\n{text}")).rules
}

#[test]
fn the_schools_tables_are_found_with_their_keys_names_and_references() {
    let (legacy, modern) = school();
    let proposal = propose(&legacy, &modern, &[]);
    let pairs: Vec<(&str, &str)> = proposal.pairs.iter().map(|pair| (pair.legacy.as_str(), pair.modern.as_str())).collect();
    let expected = [
        ("accounts_customuser", "users"),
        ("accounts_photo", "photos"),
        ("accounts_staff", "profiles"),
        ("accounts_student", "profiles"),
        ("accounts_usernote", "notes"),
    ];
    assert_eq!(pairs, expected);
    let text = proposal.rule_file(&names());
    for line in [
        "id = { from = \"id\", as = \"uuid5\" }",
        "given_name = \"first_name\"",
        "family_name = \"last_name\"",
        "joined_at = \"date_joined\"",
        "sequence = \"seq_users\"",
        "sequence = \"seq_profiles_staff\"",
        "keep_legacy = [\"last_login\"]",
        "kind = { constant = \"staff\" }",
        "kind = { constant = \"student\" }",
        "key = \"user_id\"",
        "user_id = { from = \"user_id\", as = \"uuid5\", of = \"accounts_customuser\" }",
    ] {
        assert!(text.lines().any(|written| written.starts_with(line)), "{line} is not in\n{text}");
    }
    // What cannot be known is asked, and is no line of the rules.
    for question in [
        "role looks like the legacy user_type",
        "legacy column fax has no counterpart",
        "date_joined is taken to be in UTC",
        "attendance_report",
    ] {
        assert!(text.lines().any(|line| line.starts_with('#') && line.contains(question)), "{question} is not asked in\n{text}");
    }
    assert!(!text.lines().any(|line| line.starts_with("role =")), "{text}");
    assert_eq!(proposal.left, ["django_session"]);
    assert_eq!(load(&text).capabilities["users"].tables.len(), 5);
}

#[test]
fn tables_that_keep_their_integers_need_no_uuid() {
    let legacy =
        catalog(vec![table("course", &["id int", "title", "owner_id int -> user"]), table("user", &["id int", "username", "email"])]);
    let modern =
        catalog(vec![table("courses", &["id int", "title", "owner_id int -> users"]), table("users", &["id int", "username", "email"])]);
    let proposal = propose(&legacy, &modern, &[]);
    assert_eq!(proposal.pairs.iter().map(|pair| pair.legacy.as_str()).collect::<Vec<_>>(), ["user", "course"]);
    assert!(
        proposal.pairs.iter().all(|pair| pair.modern_key == "id" && pair.columns.is_empty() && pair.questions.is_empty()),
        "{proposal:#?}"
    );
    load(&proposal.rule_file(&names()));
}

#[test]
fn a_table_without_a_key_and_one_without_a_kept_key_are_asked_about() {
    let mut legacy = catalog(vec![table("note", &["id int", "text", "author"]), table("tag", &["id int", "word", "colour"])]);
    legacy.tables[0].primary.clear();
    let modern = catalog(vec![table("notes", &["id uuid", "text", "author"]), table("tags", &["id uuid", "word", "colour"])]);
    let text = propose(&legacy, &modern, &[]).rule_file(&names());
    assert!(text.contains("# ? note has no primary key of one column"), "{text}");
    assert!(text.contains("# ? tags has no column that keeps the key of tag"), "{text}");
    load(&text);
}

#[test]
fn only_the_tables_that_are_wished_for_are_looked_at() {
    let (legacy, modern) = school();
    let proposal = propose(&legacy, &modern, &["accounts_c".to_owned()]);
    assert_eq!((proposal.pairs.len(), proposal.unpaired.len()), (1, 0));
}

#[test]
fn names_are_alike_whatever_people_make_of_them() {
    for (legacy, modern) in [
        ("accounts_customuser", "users"),
        ("student_management_app_courses", "course"),
        ("UserProfile", "user_profiles"),
        ("directory_academicyear", "academic_years"),
        ("school_class", "classes"),
        ("quiz_category", "categories"),
    ] {
        assert!(likeness::tables(legacy, modern) >= 0.85, "{legacy} and {modern}: {}", likeness::tables(legacy, modern));
    }
    for (legacy, modern) in [("accounts_customuser", "courses"), ("attendance", "assignments"), ("fee", "feedback_staff")] {
        assert!(likeness::tables(legacy, modern) < 0.7, "{legacy} and {modern}: {}", likeness::tables(legacy, modern));
    }
    assert!(likeness::columns("firstName", "given_name") >= likeness::SURE);
    assert!(likeness::columns("address", "gender") < likeness::SURE);
}

/// Catalogs of odd names, keys and references.
fn some_catalog() -> impl Strategy<Value = Catalog> {
    let name = prop_oneof![
        "[a-z]{1,6}(_[a-z]{1,5}){0,2}",
        Just("users".to_owned()),
        Just("accounts_user".to_owned()),
        Just("profiles".to_owned()),
        Just("we\"ird\nname".to_owned()),
        Just("id".to_owned()),
    ];
    let column = (name.clone(), 0..7_usize, any::<bool>(), any::<bool>(), prop::option::of(0..6_usize));
    let some_table = (name, prop::collection::vec(column, 1..7), any::<bool>(), any::<bool>());
    prop::collection::vec(some_table, 0..6).prop_map(|drawn| {
        let names: Vec<String> = drawn.iter().map(|(name, ..)| name.clone()).collect();
        let mut tables: Vec<Table> = Vec::new();
        for (name, columns, kept, both) in drawn {
            if tables.iter().any(|table| table.name == name) {
                continue;
            }
            let mut table = Table { name, ..Table::default() };
            for (name, kind, generated, default, parent) in columns {
                if table.column(&name).is_some() {
                    continue;
                }
                let kind = [Kind::Int, Kind::Uuid, Kind::Text, Kind::Timestamp, Kind::Instant, Kind::Bool, Kind::Enum(vec!["a".into()])]
                    [kind]
                    .clone();
                if let Some(parent) = parent.and_then(|parent| names.get(parent)) {
                    let columns = vec![name.clone()];
                    let parent_columns = vec!["id".into()];
                    table.references.push(Reference { name: "k".into(), columns, parent: parent.clone(), parent_columns, acts: None });
                }
                let generated = generated && !table.columns.is_empty() && default;
                table.columns.push(Column { name, kind, declared: String::new(), default, generated, limits: Limits::default() });
            }
            if kept && table.column("legacy_id").is_none() {
                table.columns.push(Column {
                    name: "legacy_id".into(),
                    kind: Kind::Int,
                    declared: String::new(),
                    default: true,
                    generated: false,
                    limits: Limits::default(),
                });
            }
            table.primary = vec![table.columns[0].name.clone()];
            table.unique = vec![table.primary.clone()];
            if both {
                table.unique.push(vec![table.columns[table.columns.len() / 2].name.clone(), "legacy_id".into()]);
            }
            tables.push(table);
        }
        catalog(tables)
    })
}

/// Every name that is proposed is one of the catalogs', nothing is fed twice, parents stand before children.
fn is_sound(proposal: &Proposal, legacy: &Catalog, modern: &Catalog) {
    for (index, pair) in proposal.pairs.iter().enumerate() {
        let (old, new) = (legacy.table(&pair.legacy).unwrap_or_else(|| panic!("{pair:?}")), modern.table(&pair.modern));
        let new = new.unwrap_or_else(|| panic!("{pair:?}"));
        assert!(!proposal.pairs[..index].iter().any(|other| other.legacy == pair.legacy), "{} is mapped twice", pair.legacy);
        let mut fed: Vec<&str> = Vec::new();
        for decision in &pair.columns {
            assert!(
                new.column(&decision.modern).is_some_and(|column| !column.generated) && !fed.contains(&decision.modern.as_str()),
                "{decision:?}"
            );
            fed.push(&decision.modern);
            match &decision.from {
                From::Column(column) | From::Uuid5 { column, .. } => assert!(old.column(column).is_some(), "{decision:?}"),
                From::Constant(word) => assert!(!word.is_empty()),
            }
            if let From::Uuid5 { of: Some(of), .. } = &decision.from {
                assert!(proposal.pairs[..=index].iter().any(|other| other.legacy == *of), "{decision:?} is of a table further down");
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_the_tables_are_the_proposal_loads(legacy in some_catalog(), modern in some_catalog()) {
        let proposal = propose(&legacy, &modern, &[]);
        is_sound(&proposal, &legacy, &modern);
        load(&proposal.rule_file(&names()));
        prop_assert_eq!(proposal, propose(&legacy, &modern, &[]));
    }
}
