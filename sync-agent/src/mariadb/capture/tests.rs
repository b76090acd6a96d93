use proptest::prelude::*;

use super::super::bytes::Bytes;
use super::super::event::{Change as Kind, Event};
use super::super::image;
use super::{Capture, Header, Step, bare, is_ddl, mentions, number};
use crate::port::Position;

/// `INSERT INTO t VALUES (7, 'x')` of `CREATE TABLE d.t (id int, name varchar(10))`, as MariaDB 10.11 logged it.
fn table_map() -> Vec<u8> {
    let mut bytes = vec![18, 0, 0, 0, 0, 0, 1, 0, 1, b'd', 0, 1, b't', 0, 2, 3, 15, 2, 40, 0, 3];
    bytes.extend([1, 1, 0, 2, 1, 45, 4, 8, 2, b'i', b'd', 4, b'n', b'a', b'm', b'e']);
    bytes
}

fn rows() -> Vec<u8> {
    vec![18, 0, 0, 0, 0, 0, 1, 0, 2, 3, 0xfc, 7, 0, 0, 0, 1, b'x']
}

fn packed(kind: u8, bytes: &[u8], head: usize) -> (u8, Vec<u8>) {
    use std::io::Write;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&bytes[head..]).expect("memory");
    let mut packed = bytes[..head].to_vec();
    packed.extend([0x81, u8::try_from(bytes.len() - head).expect("short")]);
    packed.extend(encoder.finish().expect("memory"));
    (kind, packed)
}

#[test]
fn compressed_rows_are_the_same_rows() {
    let (kind, packed) = packed(166, &rows(), 10);
    let of = |kind: u8, data: &[u8]| match Event::read(kind, false, data).expect("reads") {
        Event::Rows(rows) => (rows.change, rows.table, rows.width, rows.images.into_owned()),
        other => panic!("{other:?}"),
    };
    assert_eq!(of(23, &rows()), of(kind, &packed));
    assert_eq!(of(23, &rows()).0, Kind::Insert);
}

#[test]
fn what_is_not_known_is_not_skipped() {
    assert!(matches!(Event::read(169, false, &[]).expect("reads"), Event::Unknown(169)));
    assert!(matches!(Event::read(250, true, &[]).expect("reads"), Event::Nothing));
    assert!(matches!(Event::read(40, false, &[]).expect("reads"), Event::Unfollowed(_)));
    let mut capture = Capture::new("d", "c/legacy", "c/reverse", std::sync::Arc::default(), Position(1 << 32 | 4));
    let header = Header { kind: 169, next: 500, at: 0, flags: 0 };
    assert!(capture.event(header, &[]).expect_err("refused").contains("type 169"));
}

#[test]
fn a_wrapped_offset_is_refused() {
    let mut capture = Capture::new("d", "c/legacy", "c/reverse", std::sync::Arc::default(), Position(1 << 32 | 4));
    let at = |next| Header { kind: 29, next, at: 0, flags: 0 };
    assert!(capture.event(at(4_000_000_000), &[]).is_ok());
    assert!(capture.event(at(300), &[]).expect_err("refused").contains("4 GiB"));
}

#[test]
fn an_incident_is_told_at_once() {
    let mut capture = Capture::new("d", "c/legacy", "c/reverse", std::sync::Arc::default(), Position(1 << 32 | 4));
    let events: [(u8, u32, &[u8]); 4] =
        [(26, 300, &[1, 0, 0]), (4, 350, b"\x04\0\0\0\0\0\0\0binlog.000002"), (162, 400, &[0; 13]), (16, 450, &[0; 8])];
    let mut ended = Vec::new();
    for (kind, next, data) in events {
        let step = capture.event(Header { kind, next, at: 0, flags: 0 }, data).expect("reads");
        if let Some(Step::Ended(transaction)) = step {
            ended.push((transaction.end, transaction.unfollowed.and_then(|unfollowed| unfollowed.why)));
        }
    }
    assert!(matches!(ended.as_slice(), [(Position(4_294_967_596), Some(why))] if why.contains("missing")), "{ended:?}");
}

#[test]
fn names_are_found_as_words() {
    assert!(mentions("alter table `users` add x int", "users"));
    assert!(mentions("truncate school.users", "users"));
    assert!(!mentions("create table users_old (id int)", "users"));
    assert_eq!(bare("set statement a=1, b = 'x for y' for truncate t"), "truncate t");
    assert_eq!(bare("set statement a='it\\'s for ' for set statement b=(1)for alter table t"), "alter table t");
    assert_eq!(
        (bare("set statement a=1"), bare("set password for x = 1"), bare("truncate t")),
        ("", "set password for x = 1", "truncate t")
    );
    assert!(is_ddl("truncate") && !is_ddl("insert"));
    assert_eq!((number("binlog.000012"), number("binlog")), (Some(12), None));
}

/// Cuts everything that can be cut.
fn exhaust(kind: u8, data: &[u8], map: &[u8]) {
    let Ok(event) = Event::read(kind, false, data) else { return };
    let (Event::Rows(rows), Ok(Event::TableMap(map))) = (event, Event::read(19, false, map)) else { return };
    let mut bytes = Bytes(&rows.images);
    for _ in 0..1_000 {
        let left = bytes.0.len();
        let cut = image::cut(&mut bytes, &map.columns, &rows.present);
        if let Ok(cells) = &cut {
            for cell in cells.iter().flatten() {
                if let image::Cell::Decimal { digits, precision, scale } = cell {
                    let _ = image::decimal(digits, *precision, *scale);
                }
            }
        }
        if cut.is_err() || bytes.0.len() == left {
            return;
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(kind: u8, data: Vec<u8>, map: Vec<u8>) {
        exhaust(kind, &data, &map);
    }

    #[test]
    fn any_types_are_cut_without_panic(columns in prop::collection::vec((any::<u8>(), any::<[u8; 2]>()), 0..20), data in prop::collection::vec(any::<u8>(), 0..200)) {
        let bits = vec![0xff; 3];
        let present = Bytes(&bits).bits(20).expect("long enough");
        let mut bytes = Bytes(&data);
        while !bytes.is_empty() {
            let left = bytes.0.len();
            let Ok(cells) = image::cut(&mut bytes, &columns, &present) else { break };
            for cell in cells.into_iter().flatten() {
                if let image::Cell::Decimal { digits, precision, scale } = cell {
                    let _ = image::decimal(digits, precision, scale);
                }
            }
            if bytes.0.len() == left { break }
        }
    }

    #[test]
    fn changed_events_are_read_without_panic(at in 0_usize..40, with: u8, cut in 0_usize..40, which in 0_usize..4) {
        let (map, rows) = (table_map(), rows());
        let (packed_kind, packed_rows) = packed(166, &rows, 10);
        let (kind, mut data) = [(19, map.clone()), (23, rows), (packed_kind, packed_rows), (2, vec![0; 30])][which].clone();
        let length = data.len();
        data[at % length] = with;
        data.truncate(length - cut % length);
        exhaust(kind, &data, if kind == 19 { &data } else { &map });
    }
}
