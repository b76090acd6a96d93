//! Every pair of kinds that a cast connects: there and back is the identity, or the row is refused.

use jiff::tz::TimeZone;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::{Cast, Kind, Value, literal, same_key, zone};
use crate::Side;
use crate::mapping::same;

fn strict() -> Vec<Kind> {
    let labels = |names: &[&str]| Kind::Enum(names.iter().map(|name| (*name).to_owned()).collect());
    vec![
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
        labels(&["admin", "staff"]),
        labels(&["staff", "admin", "student"]),
        Kind::Native("inet".to_owned()),
        Kind::Native("int4[]".to_owned()),
    ]
}

fn all() -> Vec<Kind> {
    let loose = strict().into_iter().map(|kind| Kind::Loose(Box::new(kind)));
    strict().into_iter().chain(loose).chain([Kind::Any]).collect()
}

fn text(value: impl Into<String>) -> Value {
    Value::Text(value.into())
}

fn time() -> impl Strategy<Value = String> {
    let micros = prop_oneof![Just(String::new()), (1..1_000_000u32).prop_map(|n| format!(".{n:06}").trim_end_matches('0').to_owned())];
    (0..24u8, 0..60u8, 0..60u8, micros).prop_map(|(h, m, s, fraction)| format!("{h:02}:{m:02}:{s:02}{fraction}"))
}

fn date() -> impl Strategy<Value = String> {
    (1900..2100i16, 1..13u8, 1..29u8).prop_map(|(y, m, d)| format!("{y:04}-{m:02}-{d:02}"))
}

fn decimal() -> impl Strategy<Value = Value> {
    prop_oneof![any::<i32>().prop_map(|n| (i64::from(n), 0)), (any::<i64>(), 0..22u32), (-9999..9999i64, 0..4u32)]
        .prop_map(|(digits, scale)| text(super::decimal::canonical(&format!("{digits}e-{scale}")).expect("a number")))
}

/// Canonical values of a kind; what a column that promises nothing may hold, of the kind that it is used as.
fn values(kind: &Kind) -> BoxedStrategy<Value> {
    let stamp = || prop_oneof![1 => date().prop_map(|date| format!("{date} 00:00:00")), 3 => (date(), time()).prop_map(|(d, t)| format!("{d} {t}"))];
    let uuid = || any::<u128>().prop_map(|id| text(::uuid::Uuid::from_u128(id).to_string()));
    match kind {
        Kind::Bool => (0..2i64).prop_map(Value::Int).boxed(),
        Kind::Int => prop_oneof![0..3i64, any::<i64>()].prop_map(Value::Int).boxed(),
        Kind::Real => prop_oneof![any::<f64>().prop_map(Value::Real), any::<i32>().prop_map(|n| Value::Real(f64::from(n)))].boxed(),
        Kind::Single => any::<f32>().prop_map(|n| Value::Real(f64::from(n))).boxed(),
        Kind::Decimal => decimal().boxed(),
        Kind::Text => prop_oneof![
            ".{0,8}".prop_map(text),
            Just(text("staff")),
            any::<i64>().prop_map(|n| text(n.to_string())),
            any::<f64>().prop_map(|n| text(n.to_string())),
            date().prop_map(text),
            time().prop_map(|t| text(super::clock::padded(&t))),
            stamp().prop_map(|t| text(super::clock::padded(&t))),
            uuid(),
        ]
        .boxed(),
        Kind::Char32 => prop_oneof![
            any::<u128>().prop_map(|id| text(::uuid::Uuid::from_u128(id).simple().to_string())),
            Just(text("staff")),
            values(&Kind::Text),
        ]
        .boxed(),
        Kind::Bytes => prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..20),
            proptest::collection::vec(any::<u8>(), 16),
            ".{0,9}".prop_map(String::into_bytes)
        ]
        .prop_map(Value::Blob)
        .boxed(),
        Kind::Date => date().prop_map(text).boxed(),
        Kind::Time => time().prop_map(text).boxed(),
        Kind::Timestamp | Kind::Instant => stamp().prop_map(text).boxed(),
        Kind::Interval => prop_oneof![any::<i64>().prop_map(Value::Int), Just(text("P1M2DT3S"))].boxed(),
        Kind::Uuid => uuid().boxed(),
        Kind::Json => prop_oneof![Just(text("{\"a\": 1}")), any::<i64>().prop_map(|n| text(n.to_string()))].boxed(),
        Kind::Enum(labels) => proptest::sample::select(labels.clone()).prop_map(text).boxed(),
        Kind::Native(_) => "[{}0-9,.]{0,8}".prop_map(text).boxed(),
        Kind::Loose(kind) => values(kind),
        Kind::Any => Just(Value::Null).boxed(),
    }
}

fn pairs() -> Vec<(Kind, Kind, Cast)> {
    let pairs = all().into_iter().flat_map(|one| all().into_iter().map(move |other| (one.clone(), other)));
    pairs.filter_map(|(one, other)| Cast::between(&one, &other, None).ok().map(|cast| (one, other, cast))).collect()
}

/// Spelling aside, as far as the cast says that it is not kept.
fn alike(kind: &Kind, one: &Value, other: &Value) -> bool {
    let read = |value: &Value| super::loose::read(value, kind).unwrap_or_else(|_| value.clone());
    same(one, other) || same(&read(one), &read(other))
}

#[test]
fn there_and_back_is_the_identity_for_every_pair_of_kinds() {
    let mut runner = TestRunner::deterministic();
    let mut never = Vec::new();
    for (legacy, modern, cast) in pairs() {
        let used = if legacy == Kind::Any { &modern } else { &legacy };
        let source = values(used);
        let spelling_kept = !cast.losses().any(|(_, what)| what.contains("not kept") || what.contains("may not"));
        let mut fits = 0;
        for _ in 0..300 {
            let value = source.new_tree(&mut runner).expect("a value").current();
            let Ok(there) = cast.there(&value) else { continue };
            fits += 1;
            let back = cast.back(&there).unwrap_or_else(|why| panic!("{legacy} to {modern}: {value:?} became {there:?}, which is {why}"));
            if spelling_kept {
                assert!(alike(used, &back, &value), "{legacy} to {modern}: {value:?}, {there:?}, {back:?}");
            }
            // What has been there once is in the form that comes back for ever, and in which rows are compared.
            assert_eq!(cast.there(&back).as_ref(), Ok(&there), "{legacy} to {modern}: {value:?}");
            assert_eq!(cast.canonical(&cast.canonical(&there).unwrap_or(there.clone())).is_some(), cast.canonical(&there).is_some());
        }
        if fits == 0 {
            never.push(format!("{legacy} to {modern}"));
        }
    }
    assert!(never.is_empty(), "no value of these fits: {never:?}");
}

#[test]
fn null_is_null_everywhere() {
    for (_, _, cast) in pairs() {
        assert_eq!((cast.there(&Value::Null), cast.back(&Value::Null)), (Ok(Value::Null), Ok(Value::Null)));
    }
}

#[test]
fn what_nobody_enforces_passes_as_it_is() {
    let loose: Vec<Kind> = all().into_iter().filter(super::free).collect();
    for (one, other) in loose.iter().flat_map(|one| loose.iter().map(move |other| (one, other))) {
        assert_eq!(Cast::between(one, other, None), Ok(Cast::default()), "{one} {other}");
    }
    let cast = Cast::default();
    for value in [Value::Int(5), Value::Real(0.5), text("  "), Value::Blob(vec![0])] {
        assert_eq!((cast.there(&value), cast.back(&value), cast.canonical(&value)), (Ok(value.clone()), Ok(value), None));
    }
}

fn between(legacy: Kind, modern: Kind) -> Cast {
    Cast::between(&legacy, &modern, None).expect("a cast")
}

fn loose(kind: Kind) -> Kind {
    Kind::Loose(Box::new(kind))
}

#[test]
fn what_django_writes_into_sqlite_arrives_in_a_strict_database() {
    for (kind, strict, stored, arrives) in [
        (Kind::Bool, Kind::Bool, Value::Int(1), Value::Int(1)),
        (Kind::Int, Kind::Int, Value::Real(7.0), Value::Int(7)),
        (Kind::Decimal, Kind::Decimal, Value::Real(12.5), text("12.5")),
        (Kind::Decimal, Kind::Decimal, Value::Int(100), text("100")),
        (Kind::Timestamp, Kind::Instant, text("2026-11-20 18:30:05.120000"), text("2026-11-20 18:30:05.12")),
        (Kind::Timestamp, Kind::Timestamp, text("2026-11-20 18:30:05"), text("2026-11-20 18:30:05")),
        (Kind::Time, Kind::Time, text("18:30:05.500000"), text("18:30:05.5")),
        (Kind::Char32, Kind::Uuid, text("0f14d0ab96054a62a9e45ed26688389b"), text("0f14d0ab-9605-4a62-a9e4-5ed26688389b")),
        (Kind::Int, Kind::Interval, Value::Int(1_500_000), Value::Int(1_500_000)),
        (Kind::Int, Kind::Bool, Value::Int(0), Value::Int(0)),
        (Kind::Text, Kind::Json, text("{\"a\": 1}"), text("{\"a\": 1}")),
    ] {
        let cast = between(loose(kind.clone()), strict.clone());
        assert_eq!(cast.there(&stored).as_ref(), Ok(&arrives), "{kind} to {strict}");
        assert!(same(&cast.back(&arrives).expect("comes back"), &stored), "{strict} to {kind}");
    }
}

#[test]
fn what_was_written_in_another_type_than_declared_is_refused_without_its_value() {
    for (kind, stored) in [
        (Kind::Bool, Value::Int(2)),
        (Kind::Int, text("secret")),
        (Kind::Text, Value::Blob(vec![0xff])),
        (Kind::Decimal, text("secret")),
        (Kind::Timestamp, Value::Real(2_460_000.5)),
        (Kind::Date, text("20.11.2026")),
        (Kind::Uuid, text("secret")),
    ] {
        let why = between(loose(kind.clone()), kind.clone()).there(&stored).expect_err("does not fit");
        assert!(!why.contains("secret"), "{kind}: {why}");
    }
}

#[test]
fn a_zone_moves_wall_clocks_whichever_side_has_them() {
    let berlin: TimeZone = zone("Europe/Berlin").expect("a zone");
    let summer = (text("2026-07-01 12:00:00"), text("2026-07-01 10:00:00"));
    let (wall, utc) = &summer;
    for (legacy, modern) in [
        (Kind::Timestamp, Kind::Instant),
        (Kind::Timestamp, Kind::Timestamp),
        (loose(Kind::Timestamp), Kind::Instant),
        (loose(Kind::Timestamp), loose(Kind::Timestamp)),
        (Kind::Timestamp, Kind::Text),
        (Kind::Text, Kind::Instant),
        (loose(Kind::Timestamp), loose(Kind::Text)),
    ] {
        let cast = Cast::between(&legacy, &modern, Some(&berlin)).expect("a cast");
        assert_eq!((cast.there(wall), cast.back(utc)), (Ok(utc.clone()), Ok(wall.clone())), "{legacy} to {modern}");
    }
    let turned = Cast::between(&Kind::Instant, &Kind::Timestamp, Some(&berlin)).expect("a cast");
    assert_eq!((turned.there(utc), turned.back(wall)), (Ok(wall.clone()), Ok(utc.clone())));
    for (legacy, modern) in [(Kind::Instant, Kind::Instant), (Kind::Int, Kind::Int), (Kind::Timestamp, Kind::Json)] {
        assert!(Cast::between(&legacy, &modern, Some(&berlin)).is_err(), "{legacy} to {modern}");
    }
    let lost: Vec<_> = Cast::between(&Kind::Timestamp, &Kind::Instant, Some(&berlin)).expect("a cast").losses().collect();
    assert!(
        matches!(&lost[..], [(Side::Modern, skip), (Side::Legacy, twice)] if skip.contains("skip") && twice.contains("twice")),
        "{lost:?}"
    );
}

#[test]
fn rows_in_another_spelling_are_equal_and_one_bit_more_is_not() {
    for (legacy, modern, one, other, third) in [
        (Kind::Json, Kind::Json, text("{\"a\":1,\"b\":[]}"), text("{\"b\": [], \"a\": 1.0}"), text("{\"a\":1,\"b\":[0]}")),
        (Kind::Text, Kind::Json, text("[1]"), text("[ 1 ]"), text("[2]")),
        (Kind::Decimal, Kind::Decimal, text("1.5"), text("1.50"), text("1.51")),
        (Kind::Single, Kind::Real, Value::Real(f64::from(0.7_f32)), Value::Real(0.7), Value::Real(0.700_001)),
        (Kind::Single, loose(Kind::Real), Value::Real(f64::from(0.7_f32)), Value::Real(0.7), Value::Real(0.700_001)),
        (
            Kind::Uuid,
            Kind::Uuid,
            text("0f14d0ab-9605-4a62-a9e4-5ed26688389b"),
            text("0F14D0AB96054A62A9E45ED26688389B"),
            text("0f14d0ab-9605-4a62-a9e4-5ed26688389a"),
        ),
        (Kind::Timestamp, Kind::Text, text("2026-11-20 18:30:05"), text("2026-11-20T18:30:05Z"), text("2026-11-20 18:30:04")),
        (Kind::Int, loose(Kind::Decimal), Value::Int(7), Value::Real(7.0), Value::Int(6)),
        (Kind::Decimal, loose(Kind::Decimal), Value::Real(0.3), Value::Real(0.1 + 0.2), Value::Real(0.301)),
    ] {
        let cast = between(legacy, modern.clone());
        let canonical = |value: &Value| cast.canonical(value).unwrap_or_else(|| value.clone());
        assert!(same(&canonical(&one), &canonical(&other)), "{modern}: {one:?} {other:?}");
        assert!(!same(&canonical(&one), &canonical(&third)), "{modern}: {one:?} {third:?}");
    }
}

#[test]
fn what_no_cast_connects_comes_with_a_remedy() {
    for (legacy, modern, remedy) in [
        (Kind::Int, Kind::Uuid, "uuid5"),
        (Kind::Bool, Kind::Text, "map"),
        (Kind::Int, Kind::Instant, "type for times"),
        (Kind::Native("inet".into()), Kind::Int, "same type"),
        (Kind::Json, Kind::Int, "keep_legacy"),
    ] {
        let refused = Cast::between(&legacy, &modern, None).expect_err("no cast");
        assert!(refused.contains(remedy), "{legacy} to {modern}: {refused}");
    }
}

#[test]
fn literals_take_the_form_of_their_column() {
    for (value, kind, expected) in [
        (text("true"), Kind::Bool, Some(Value::Int(1))),
        (Value::Int(1), Kind::Text, Some(text("1"))),
        (Value::Int(3), Kind::Decimal, Some(text("3"))),
        (text("guest"), Kind::Enum(vec!["admin".into()]), None),
        (text("x"), Kind::Int, None),
        (text("x"), loose(Kind::Int), Some(text("x"))),
        (Value::Int(1), loose(Kind::Decimal), Some(Value::Int(1))),
        (Value::Int(1), loose(Kind::Text), Some(text("1"))),
        (Value::Null, Kind::Int, Some(Value::Null)),
    ] {
        assert_eq!(literal(&value, &kind), expected, "{value:?} as {kind}");
    }
}

#[test]
fn keys_are_the_same_value_on_both_sides() {
    for (one, other, fine) in [
        (Kind::Int, Kind::Int, true),
        (loose(Kind::Int), Kind::Int, true),
        (loose(Kind::Char32), Kind::Text, true),
        (Kind::Char32, Kind::Uuid, false),
        (Kind::Int, Kind::Text, false),
        (loose(Kind::Int), loose(Kind::Text), true),
        (Kind::Any, Kind::Uuid, true),
    ] {
        assert_eq!(same_key(&one, &other), fine, "{one} {other}");
    }
}
