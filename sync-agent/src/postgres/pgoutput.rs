//! The messages of the logical decoding plugin pgoutput, protocol 1 (manual, "Logical Replication Message Formats").
//! Pure: bytes in, a message or the reason why it is none out. Bounds are checked everywhere; no input makes it panic,
//! and none makes it reserve more memory than the input has bytes.

use std::fmt;

/// One message. Texts of tuples stay where they are: a [`Cell`] says where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    /// A transaction begins. Position of its commit, microseconds since 2000, its number.
    Begin { commit: u64, at: i64, xid: u32 },
    /// It ends. Where its commit stands, and where the log goes on.
    Commit { commit: u64, end: u64, at: i64 },
    /// It came from elsewhere.
    Origin,
    /// What a table looks like; sent before its first row and after every change of it.
    Relation(Relation),
    /// A type that is not built in.
    Type,
    /// A new row.
    Insert { relation: u32, new: Tuple },
    /// A changed row. `old` only when the identity asks for it.
    Update { relation: u32, old: Option<Old>, new: Tuple },
    /// A removed row.
    Delete { relation: u32, old: Old },
    /// Emptied tables.
    Truncate { relations: Vec<u32> },
    /// What `pg_logical_emit_message` wrote.
    Logical,
}

/// A table as the log knew it at the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) id: u32,
    pub(super) schema: String,
    pub(super) name: String,
    /// `d`, `n`, `f` or `i`, as in `pg_class.relreplident`.
    pub(super) identity: u8,
    pub(super) columns: Vec<Column>,
}

/// A column of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// Part of the replica identity.
    pub(super) key: bool,
    pub(super) type_id: u32,
}

/// What is known of a row before it changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Old {
    /// The columns of its identity; the others are NULL.
    Key(Tuple),
    /// All of it.
    Full(Tuple),
}

/// The cells of a row, in the order of the relation's columns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Tuple(pub(super) Vec<Cell>);

/// One value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    Null,
    /// Stored out of line and not written by this change: the log does not have it.
    Unchanged,
    /// Its text form stands in the message.
    Text {
        at: u32,
        len: u32,
    },
}

impl Tuple {
    /// The cell of a column; one that is not there is not known.
    pub(super) fn cell(&self, column: usize) -> Cell {
        self.0.get(column).copied().unwrap_or(Cell::Unchanged)
    }
}

impl Cell {
    /// The text in the message that it was decoded from.
    pub(super) fn text<'m>(&self, message: &'m [u8]) -> Option<&'m [u8]> {
        match self {
            Cell::Text { at, len } => message.get(*at as usize..)?.get(..*len as usize),
            Cell::Null | Cell::Unchanged => None,
        }
    }
}

/// Why bytes are no message. Never holds any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum DecodeError {
    #[error("the message ends too early, at byte {0}")]
    Short(usize),
    #[error("{0} bytes are left over after the message")]
    Long(usize),
    #[error("a {part} of the kind {tag} is not known", tag = Tag(*.1), part = .0)]
    Unknown(&'static str, u8),
    #[error("a name is not UTF-8")]
    Name,
}

struct Tag(u8);

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.0.escape_ascii())
    }
}

/// Decodes one message.
pub(super) fn decode(bytes: &[u8]) -> Result<Message, DecodeError> {
    let mut reader = Reader { bytes, at: 0 };
    let message = match reader.u8()? {
        b'B' => Message::Begin { commit: reader.u64()?, at: reader.i64()?, xid: reader.u32()? },
        b'C' => {
            reader.u8()?;
            Message::Commit { commit: reader.u64()?, end: reader.u64()?, at: reader.i64()? }
        }
        b'O' => {
            reader.u64()?;
            reader.name()?;
            Message::Origin
        }
        b'R' => Message::Relation(reader.relation()?),
        b'Y' => {
            reader.u32()?;
            reader.name()?;
            reader.name()?;
            Message::Type
        }
        b'I' => {
            let relation = reader.u32()?;
            match reader.u8()? {
                b'N' => Message::Insert { relation, new: reader.tuple()? },
                tag => return Err(DecodeError::Unknown("tuple", tag)),
            }
        }
        b'U' => {
            let relation = reader.u32()?;
            let (old, tag) = match reader.u8()? {
                b'K' => (Some(Old::Key(reader.tuple()?)), reader.u8()?),
                b'O' => (Some(Old::Full(reader.tuple()?)), reader.u8()?),
                tag => (None, tag),
            };
            match tag {
                b'N' => Message::Update { relation, old, new: reader.tuple()? },
                tag => return Err(DecodeError::Unknown("tuple", tag)),
            }
        }
        b'D' => {
            let relation = reader.u32()?;
            match reader.u8()? {
                b'K' => Message::Delete { relation, old: Old::Key(reader.tuple()?) },
                b'O' => Message::Delete { relation, old: Old::Full(reader.tuple()?) },
                tag => return Err(DecodeError::Unknown("tuple", tag)),
            }
        }
        b'T' => {
            let count = reader.u32()?;
            reader.u8()?;
            Message::Truncate { relations: (0..count).map(|_| reader.u32()).collect::<Result<_, _>>()? }
        }
        b'M' => {
            reader.u8()?;
            reader.u64()?;
            reader.name()?;
            let length = reader.u32()?;
            reader.take(length as usize)?;
            Message::Logical
        }
        tag => return Err(DecodeError::Unknown("message", tag)),
    };
    match bytes.len() - reader.at {
        0 => Ok(message),
        left => Err(DecodeError::Long(left)),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let taken = self.bytes.get(self.at..).and_then(|rest| rest.get(..count)).ok_or(DecodeError::Short(self.bytes.len()))?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let end = self.bytes.len();
        self.take(N)?.try_into().map_err(|_| DecodeError::Short(end))
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_be_bytes)
    }

    /// A text that ends with a zero byte.
    fn name(&mut self) -> Result<String, DecodeError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte == 0).ok_or(DecodeError::Short(self.bytes.len()))?;
        let name = self.take(length)?;
        self.u8()?;
        String::from_utf8(name.to_vec()).map_err(|_| DecodeError::Name)
    }

    fn relation(&mut self) -> Result<Relation, DecodeError> {
        let (id, schema, name, identity, count) = (self.u32()?, self.name()?, self.name()?, self.u8()?, self.u16()?);
        let mut columns = Vec::new();
        for _ in 0..count {
            let key = self.u8()? & 1 == 1;
            columns.push(Column { key, name: self.name()?, type_id: self.u32()? });
            self.u32()?;
        }
        // Empty stands for pg_catalog.
        let schema = if schema.is_empty() { "pg_catalog".to_owned() } else { schema };
        Ok(Relation { id, schema, name, identity, columns })
    }

    fn tuple(&mut self) -> Result<Tuple, DecodeError> {
        let count = usize::from(self.u16()?);
        // Every cell has at least its tag.
        let mut cells = Vec::with_capacity(count.min(self.bytes.len() - self.at));
        for _ in 0..count {
            cells.push(match self.u8()? {
                b'n' => Cell::Null,
                b'u' => Cell::Unchanged,
                b't' => {
                    let len = self.u32()?;
                    let at = u32::try_from(self.at).map_err(|_| DecodeError::Short(self.bytes.len()))?;
                    self.take(len as usize)?;
                    Cell::Text { at, len }
                }
                tag => return Err(DecodeError::Unknown("value", tag)),
            });
        }
        Ok(Tuple(cells))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a server sent, in hexadecimal: `item (id int, name text, kept text)` with full identity.
    fn real() -> Vec<Vec<u8>> {
        let hex = |text: &str| (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect();
        [
            "420000000001529758000303ba8040d795000002d8",
            "52000040007075626c6963006974656d006600030169640000000017ffffffff016e616d650000000019ffffffff016b6570740000000019ffffffff",
            "49000040004e000374000000013174000000036f6e6574000000016b",
            "55000040004f000374000000013174000000036f6e6574000000016b4e000374000000013174000000037477 6f75",
            "44000040004b00037400000001316e6e",
            "54000000010000004000",
            "4d01000000000152c3687000000000026869",
            "430000000000015297580000000001529788000303ba8040d795",
        ]
        .iter()
        .map(|text| hex(&text.replace(' ', "")))
        .collect()
    }

    #[test]
    fn real_messages_are_read() {
        let messages = real();
        assert_eq!(decode(&messages[0]), Ok(Message::Begin { commit: 0x152_9758, at: 0x3_03ba_8040_d795, xid: 728 }));
        let Ok(Message::Relation(relation)) = decode(&messages[1]) else { panic!("a relation") };
        assert_eq!((relation.id, relation.schema.as_str(), relation.name.as_str(), relation.identity), (16384, "public", "item", b'f'));
        assert_eq!(relation.columns[1], Column { name: "name".into(), key: true, type_id: 25 });
        assert!(matches!(decode(&messages[2]), Ok(Message::Insert { relation: 16384, .. })));

        let bytes = &messages[3];
        let Ok(Message::Update { relation: 16384, old: Some(Old::Full(old)), new }) = decode(bytes) else { panic!("an update") };
        assert_eq!((old.cell(1).text(bytes), old.cell(2).text(bytes)), (Some(&b"one"[..]), Some(&b"k"[..])));
        assert_eq!((new.cell(1).text(bytes), new.cell(2)), (Some(&b"two"[..]), Cell::Unchanged));
        assert_eq!(new.cell(9), Cell::Unchanged, "a column that is not there is not known");

        let Ok(Message::Delete { old: Old::Key(old), .. }) = decode(&messages[4]) else { panic!("a delete") };
        assert_eq!(old.0[1..], [Cell::Null, Cell::Null]);
        assert_eq!(decode(&messages[5]), Ok(Message::Truncate { relations: vec![16384] }));
        assert_eq!(decode(&messages[6]), Ok(Message::Logical));
        assert_eq!(decode(&messages[7]), Ok(Message::Commit { commit: 0x152_9758, end: 0x152_9788, at: 0x3_03ba_8040_d795 }));
    }

    #[test]
    fn what_is_cut_or_longer_is_no_message() {
        let whole = &real()[3];
        for length in 0..whole.len() {
            assert!(decode(&whole[..length]).is_err(), "{length}");
        }
        let mut longer = whole.clone();
        longer.push(0);
        assert_eq!(decode(&longer), Err(DecodeError::Long(1)));
        assert_eq!(decode(b"X"), Err(DecodeError::Unknown("message", b'X')));
        assert_eq!(decode(b""), Err(DecodeError::Short(0)));
    }

    #[test]
    fn a_count_reserves_nothing_that_is_not_there() {
        assert!(decode(b"T\xff\xff\xff\xff\0").is_err());
        assert!(decode(b"I\0\0\0\x01N\xff\xffn").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn no_mutation_of_a_message_makes_it_panic(
            which in 0..8_usize,
            mutations in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in proptest::option::of(any::<prop::sample::Index>()),
        ) {
            let mut bytes = real()[which].clone();
            for (at, byte) in mutations {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            if let Ok(Message::Insert { new, .. } | Message::Update { new, .. }) = decode(&bytes) {
                for cell in &new.0 {
                    prop_assert_eq!(cell.text(&bytes).is_some(), matches!(cell, Cell::Text { .. }));
                }
            }
        }
    }
}
