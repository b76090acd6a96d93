//! What becomes of values of every type, on every way.

use super::*;

const TYPES: &str = "small smallint, large bigint, number numeric, money numeric(12, 3), single real, double double precision, yes boolean,
    words text, brief varchar(20), padded char(8), bytes bytea, day date, clock time, zoned timetz, local timestamp, moment timestamptz, length interval,
    uid uuid, doc json, docb jsonb, mood mood, short short, numbers int[], texts text[], span int4range, address inet, net cidr, bits bit(3), place point, letter \"char\"";

const VALUES: [&str; 7] = [
    "1, -32768, 9223372036854775807, 1234567890123456789012345678901234567890.123450, 12.500, 0.1, 0.1, true, 'it''s \"ok\" \\ tab\t nl
 cr\r ☃', 'a', 'ab', '\\x00ff5c0a', '2026-11-20', '18:30:05.120', '18:30:05+02', '2026-11-20 18:30:05.000001', '2026-11-20 18:30:05+05:45', '1 year 2 mons -3 days 04:05:06.7',
     '550e8400-e29b-41d4-a716-446655440000', '{\"a\": 1.0,  \"a\": 2}', '{\"b\": [1, null, \"x\\ny\"]}', 'so so', 'ten chars!', '{1,NULL,3}', '{\"a,b\",\"\",NULL,\"\\\\\"}', '[1,5)', '10.0.0.1', '10.0.0.0/8', '101', '(1.5,-2)', 'x'",
    "2, 0, 0, 'NaN', 0, 'NaN', '-Infinity', false, '', '', '', '', 'infinity', '24:00:00', '00:00:00-15:59', '-infinity', 'infinity', '0',
     NULL, 'null', 'null', 'sad', '', '{}', '{}', 'empty', '::1', '::/0', '000', '(0,0)', ' '",
    "3, 1, -1, 100, -0.001, 1e30, 5e-324, true, '\\N', '\\.', 'x ', '\\x', '0044-03-15 BC', '00:00', '00:00+00', '0044-03-15 12:00:00 BC', '0044-03-15 12:00:00+00 BC', '-00:00:00.000001',
     '00000000-0000-0000-0000-000000000000', '[]', '{}', 'glad', 'x', '{{1,2},{3,4}}', '{NULL}', '(,)', '1.2.3.4/24', '1.2.3.4/32', '111', '(NaN,Infinity)', ''",
    "4, 2, 2, 1e-20, 1, '-0', '-0', NULL, 'NULL', NULL, NULL, NULL, '9999-12-31', '23:59:59.999999', NULL, '294276-12-31 23:59:59.999999', '4713-01-01 00:00:00+00 BC', '30 hours',
     NULL, '\"\\u2603\"', '1e400', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL",
    "5, NULL, NULL, 'Infinity', NULL, 'Infinity', 'Infinity', NULL, E'\\b\\f\\v', NULL, NULL, NULL, '-infinity', NULL, NULL, 'infinity', '-infinity', '1 day',
     NULL, NULL, NULL, NULL, NULL, '[0:1]={1,2}', NULL, NULL, NULL, NULL, NULL, NULL, NULL",
    "6, NULL, NULL, '-Infinity', NULL, NULL, 1.7976931348623157e308, NULL, repeat('long ☃', 20000), NULL, NULL, decode(repeat('00ff', 50000), 'hex'), NULL, NULL, NULL, NULL, NULL, '100000 hours 0.5 seconds',
     NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL",
    "7, NULL, NULL, 0.00, NULL, NULL, 123456789.123456789, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '-1 mon',
     NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL",
];

/// Both tables as the server prints them, without what an equal number may be printed like.
async fn printed(connection: &mut PgConnection, table: &str, key: &str) -> String {
    let columns = "small, large, trim_scale(number), trim_scale(money), single, double, yes, words, brief, padded, bytes, day, clock, zoned, local, moment, length, uid, doc::text, docb, mood, short, numbers, texts, span, address, net, bits, place, letter";
    text(connection, &format!("SELECT string_agg(row({key}, {columns})::text, E'\\n' ORDER BY {key}) FROM {table}"))
        .await
        .unwrap_or_default()
}

#[tokio::test]
async fn every_type_keeps_its_value_on_every_way() {
    let bed = Bed::new(TYPES, &[]).await;
    let (mut legacy, mut modern) = (bed.app(Side::Legacy).await, bed.app(Side::Modern).await);
    let start = bed.legacy.end_position().await.unwrap();
    for values in VALUES {
        exec(&mut legacy, &format!("INSERT INTO item VALUES ({values})")).await;
    }
    let (_, copied) = bed.snapshot().await;
    let selected = bed.legacy.chunk(0, &KeyRange::default(), 100).await.unwrap();
    let streamed = bed.read(start).await.rows.remove(0);
    assert_eq!(copied.len(), VALUES.len());
    assert_eq!(copied, selected);
    assert_eq!(copied, streamed);
    let column = |name: &str| bed.plans[0].legacy.columns.iter().position(|column| column == name).unwrap();
    assert_eq!(copied[0].values[column("moment")], Value::Text("2026-11-20 12:45:05".into()));
    assert_eq!(copied[0].values[column("padded")], Value::Text("ab".into()));
    assert_eq!(copied[2].values[column("length")], Value::Int(-1));
    assert_eq!(copied[3].values[column("length")], Value::Int(108_000_000_000));
    assert_eq!(copied[1].values[column("yes")], Value::Int(0));
    assert_eq!(copied[0].values[column("single")], Value::Real(f64::from(0.1_f32)));

    let there = printed(&mut legacy, "item", "id").await;
    bed.apply(&copied).await;
    assert_eq!(printed(&mut modern, "\"the new\".\"Item\"", "legacy_id").await, there, "as arrays");
    exec(&mut modern, "DELETE FROM \"the new\".\"Item\"").await;
    let mapped: Vec<Row> = copied.iter().map(|row| bed.plans[0].forward(row).unwrap()).collect();
    assert!(bed.modern.load(bed.modern.ready(0, mapped)).await.unwrap().is_empty());
    assert_eq!(printed(&mut modern, "\"the new\".\"Item\"", "legacy_id").await, there, "by COPY");
    exec(&mut modern, "DELETE FROM \"the new\".\"Item\"").await;
    let mapped = bed.straight(&bed.snapshot_lines(2).await).await;
    assert_eq!(mapped.iter().map(|refused| refused.row.key.clone()).collect::<Vec<_>>(), []);
    assert_eq!(printed(&mut modern, "\"the new\".\"Item\"", "legacy_id").await, there, "straight");
}

#[tokio::test]
async fn values_that_nobody_thought_of_keep_as_well() {
    let bed = Bed::new(TYPES, &[]).await;
    let (mut legacy, mut modern) = (bed.app(Side::Legacy).await, bed.app(Side::Modern).await);
    let start = bed.legacy.end_position().await.unwrap();
    // Twice as many as a batch of arrays takes: these go by COPY.
    exec(
        &mut legacy,
        "INSERT INTO item (id, large, number, money, single, double, words, bytes, day, clock, local, moment, length, uid, docb, numbers, texts, span)
         SELECT i, (random() * 9e18)::int8 - 4500000000000000000, (random() * 10 ^ (random() * 40 - 20))::numeric, (random() * 1e8)::numeric(12, 3) * sign(random() - 0.5)::int,
           (random() * 10 ^ (random() * 60 - 30))::real, random() * 10 ^ (random() * 600 - 300), translate(md5(random()::text), 'abcdef012', E'\\t\\n\\r\\\\\"'',{}'),
           decode(md5(random()::text), 'hex'), date '4000-01-01 BC' + (random() * 4e6)::int, time '0:00' + random() * interval '1 day', timestamp '1900-01-01' + random() * interval '300 years',
           timestamptz '1900-01-01' + random() * interval '300 years', (random() * 1e6 - 5e5) * interval '1 second' + (random() * 3)::int * interval '1 mon', md5(random()::text)::uuid,
           jsonb_build_object(md5(random()::text), random()), ARRAY[(random() * 1e9)::int, NULL], ARRAY[translate(md5(random()::text), 'abc012', E'\\t,\"\\\\{}'), ''], int4range(0, (random() * 100)::int)
         FROM generate_series(1, 1500) AS i",
    )
    .await;
    let batch = bed.read(start).await;
    assert_eq!((batch.rows[0].len(), batch.entries, batch.upto), (1500, 1500, batch.end));
    let mut streamed = batch.rows[0].clone();
    streamed.sort_by_key(|row| format!("{:>30}", format!("{:?}", row.key)));
    assert_eq!(streamed, bed.snapshot().await.1);
    bed.apply(&streamed).await;
    let there = printed(&mut legacy, "item", "id").await;
    assert_eq!(printed(&mut modern, "\"the new\".\"Item\"", "legacy_id").await, there);
    exec(&mut modern, "DELETE FROM \"the new\".\"Item\"").await;
    assert!(bed.straight(&bed.snapshot_lines(100).await).await.is_empty());
    assert_eq!(printed(&mut modern, "\"the new\".\"Item\"", "legacy_id").await, there, "straight");
}

#[tokio::test]
async fn a_value_that_is_too_long_is_refused_and_never_cut() {
    let bed = Bed::new("brief varchar(3), short short, padded char(2)", &[]).await;
    let row = |key, cells: [&str; 3]| Row { key: Value::Int(key), values: cells.map(|cell| Value::Text(cell.into())).to_vec() };
    let rows = vec![
        row(1, ["long", "x", "a"]),
        row(2, ["abc", "eleven char", "a"]),
        row(3, ["abc", "bad", "a"]),
        row(4, ["abc", "x", "abc"]),
        row(5, ["abc", "x", "ab"]),
    ];
    let changes = [Changes { upserts: rows, ..Changes::default() }];
    assert!(matches!(bed.modern.apply(&changes, Position(1), Effort::Plain, &[]).await, Ok(Applied::Refused { .. })));
    let Ok(Applied::Done { rejected, quarantined: 4 }) = bed.modern.apply(&changes, Position(1), Effort::Isolated, &[]).await else {
        panic!("set aside")
    };
    assert!(rejected.iter().all(|rejected| !rejected.reason.contains("eleven")), "{rejected:?}");
    assert_eq!(number(&mut bed.app(Side::Modern).await, "SELECT sum(legacy_id) FROM \"the new\".\"Item\"").await, 5);
}

#[tokio::test]
async fn values_out_of_line_survive_changes_that_do_not_write_them() {
    for kept in [&[][..], &["kept"][..]] {
        let mut bed = Bed::new("big text, name text, kept text", kept).await;
        let mut legacy = bed.app(Side::Legacy).await;
        exec(&mut legacy, "ALTER TABLE item ALTER big SET STORAGE EXTERNAL").await;
        bed.again().await;
        let start = bed.legacy.end_position().await.unwrap();
        exec(&mut legacy, "INSERT INTO item VALUES (1, repeat('b', 9000), 'one', 'k'), (2, repeat('c', 9000), 'two', 'k')").await;
        exec(&mut legacy, "UPDATE item SET name = 'uno' WHERE id = 1").await;
        exec(&mut legacy, "UPDATE item SET name = 'un' WHERE id = 1").await;
        let batch = bed.read(start).await;
        let find = |rows: &[Row], key: i64| rows.iter().rfind(|row| row.key == Value::Int(key)).cloned().unwrap();
        assert_eq!(find(&batch.rows[0], 1).values[..2], [Value::Text("b".repeat(9000)), Value::Text("un".into())]);
        // The insert is not in this batch any more.
        exec(&mut legacy, "UPDATE item SET name = 'deux' WHERE id = 2").await;
        let batch = bed.read(batch.upto).await;
        assert_eq!(find(&batch.rows[0], 2).values[..2], [Value::Text("c".repeat(9000)), Value::Text("deux".into())]);
    }
}

#[tokio::test]
async fn rows_that_cannot_be_told_apart_and_keys_with_zero_bytes_are_set_aside() {
    let bed = Bed::new("name text", &[]).await;
    let row = |key: Value, name: &str| Row { key, values: vec![Value::Text(name.into())] };
    let twice = [Changes { upserts: vec![row(Value::Int(1), "a"), row(Value::Text("1".into()), "b")], ..Changes::default() }];
    let refused = bed.modern.apply(&twice, Position(1), Effort::Plain, &[]).await.unwrap();
    assert!(matches!(refused, Applied::Refused { .. }), "{refused:?}");
    let zero =
        [Changes { upserts: vec![row(Value::Text("a\0b".into()), "a")], deletes: vec![Value::Text("c\0d".into())], ..Changes::default() }];
    for _ in 0..2 {
        let Applied::Done { quarantined, .. } = bed.modern.apply(&zero, Position(2), Effort::Isolated, &[]).await.unwrap() else {
            panic!("applied")
        };
        assert_eq!(quarantined, 1);
    }
    bed.legacy.touch(&[crate::port::Touched { pair: 0, key: Value::Text("a\0b".into()) }]).await.unwrap();
}

#[tokio::test]
async fn what_is_refused_on_the_straight_way_is_set_aside_alone() {
    let bed = Bed::new("name text, mood mood", &[]).await;
    let (mut legacy, mut modern) = (bed.app(Side::Legacy).await, bed.app(Side::Modern).await);
    exec(&mut legacy, "ALTER TYPE mood ADD VALUE 'angry'").await;
    exec(&mut legacy, "INSERT INTO item SELECT i, E'a\\tb\\\\' || i, 'glad' FROM generate_series(1, 2500) i").await;
    exec(&mut legacy, "UPDATE item SET mood = 'angry' WHERE id = 700; UPDATE item SET name = 'bad' WHERE id = 2400").await;
    exec(&mut modern, "ALTER TABLE \"the new\".\"Item\" ADD CHECK (name <> 'bad')").await;
    let rejected = bed.straight(&bed.snapshot_lines(1_000).await).await;
    let found: Vec<_> = rejected.iter().map(|rejected| (rejected.row.key.clone(), rejected.image.clone().unwrap())).collect();
    let image = |id: i64, name: &str, mood: &str| (Value::Int(id), serde_json::json!({"legacy_id": id, "name": name, "mood": mood}));
    assert_eq!(found, [image(700, "a\tb\\700", "angry"), image(2400, "bad", "glad")]);
    let query = "SELECT count(*) FROM \"the new\".\"Item\" WHERE name = E'a\\tb\\\\' || legacy_id AND mood = 'glad'";
    assert_eq!(number(&mut modern, query).await, 2498);
    assert_eq!(number(&mut modern, "SELECT count(*) FROM _ficus.quarantine").await, 2);
}
