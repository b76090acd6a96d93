//! Events of the binary log, from their bytes (header and checksum taken off already). Pure: it knows no connection, no
//! table of ours, and never panics, whatever the bytes are. Decides nothing: what an event means is [`super::capture`]'s.
//!
//! Numbers: MySQL's `Log_event_type`; from 160 on MariaDB's. MariaDB compresses what `log_bin_compress` says into 165 to
//! 168: one byte `1AAA0LLL` (algorithm, length of the length), the length highest byte first, then zlib.

use std::io::Read;

use super::bytes::{Bits, Broken, Bytes, big};

/// No event is longer when it is unpacked: the server's own limit of a packet.
const LONGEST: u64 = 1 << 30;

/// What an event says.
#[derive(Debug)]
pub(super) enum Event<'a> {
    /// Nothing that concerns rows.
    Nothing,
    /// The log goes on in this file.
    Rotate(String),
    /// A transaction begins; `standalone`: one statement, without an end of its own.
    Gtid {
        /// A statement that is a transaction by itself (DDL).
        standalone: bool,
    },
    /// A statement as text: the beginning or end of a transaction, DDL, or a statement that was not logged by rows.
    Query(Query<'a>),
    /// The transaction is committed.
    Commit,
    /// What the following rows are rows of.
    TableMap(TableMap),
    /// Rows.
    Rows(Rows<'a>),
    /// Rows or statements in a form that is not followed: why, and what to do.
    Unfollowed(&'static str),
    /// A type that this program does not know.
    Unknown(u8),
}

/// A statement.
#[derive(Debug)]
pub(super) struct Query<'a> {
    /// The default database.
    pub(super) database: &'a [u8],
    /// Its text.
    pub(super) text: Vec<u8>,
}

/// A table, as the events after it number it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableMap {
    pub(super) id: u64,
    pub(super) database: String,
    pub(super) table: String,
    /// Type and its two bytes of detail, by column.
    pub(super) columns: Vec<(u8, [u8; 2])>,
    /// Empty unless `binlog_row_metadata=FULL`.
    pub(super) names: Vec<String>,
}

/// What happened to rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Insert,
    Update,
    Delete,
}

/// A rows event. The images are cut out with [`super::image::Images`].
#[derive(Debug)]
pub(super) struct Rows<'a> {
    pub(super) change: Change,
    pub(super) table: u64,
    pub(super) width: usize,
    /// Columns that the (first) image has.
    pub(super) present: Bits<'a>,
    /// Columns that the image after an update has.
    pub(super) after: Bits<'a>,
    pub(super) images: std::borrow::Cow<'a, [u8]>,
}

impl<'a> Event<'a> {
    /// Reads an event of this type. `ignorable`: its header says that whoever does not know it may skip it.
    pub(super) fn read(kind: u8, ignorable: bool, data: &'a [u8]) -> Result<Event<'a>, Broken> {
        let bytes = Bytes(data);
        Ok(match kind {
            2 => Event::Query(query(bytes, false)?),
            165 => Event::Query(query(bytes, true)?),
            4 => rotate(bytes)?,
            16 => Event::Commit,
            19 => Event::TableMap(table_map(bytes)?),
            23..=25 => Event::Rows(rows(bytes, change(kind - 23), 1, false)?),
            30..=32 => Event::Rows(rows(bytes, change(kind - 30), 2, false)?),
            166..=168 => Event::Rows(rows(bytes, change(kind - 166), 1, true)?),
            33 | 34 | 42 => Event::Gtid { standalone: false },
            162 => gtid(bytes)?,
            // Stop, the variables of a statement, the description of the format, a heartbeat, what may be ignored,
            // a statement's text beside its rows, sets of GTIDs, group replication; MariaDB's: annotation, checkpoint,
            // list of GTIDs, beginning of encryption.
            3 | 5 | 13..=15 | 27..=29 | 35..=37 | 160 | 161 | 163 | 164 => Event::Nothing,
            17 | 18 => Event::Unfollowed("LOAD DATA was logged as a statement; set binlog_format=ROW for every session"),
            26 => Event::Unfollowed("the server says that events are missing from its binary log"),
            38 => Event::Unfollowed("a prepared XA transaction; let the application commit in one phase"),
            39 => Event::Unfollowed("rows with parts of documents; SET GLOBAL binlog_row_value_options = ''"),
            40 => Event::Unfollowed("a compressed transaction; SET GLOBAL binlog_transaction_compression = OFF"),
            _ if ignorable => Event::Nothing,
            other => Event::Unknown(other),
        })
    }
}

fn change(number: u8) -> Change {
    match number {
        0 => Change::Insert,
        1 => Change::Update,
        _ => Change::Delete,
    }
}

/// Eight bytes of position, then the name.
fn rotate(mut bytes: Bytes<'_>) -> Result<Event<'_>, Broken> {
    bytes.take(8)?;
    Ok(Event::Rotate(text(bytes.0)?))
}

/// MariaDB: sequence (8), domain (4), flags (1).
fn gtid(mut bytes: Bytes<'_>) -> Result<Event<'_>, Broken> {
    bytes.take(12)?;
    Ok(Event::Gtid { standalone: bytes.byte()? & 1 == 1 })
}

/// Thread (4), duration (4), length of the database's name (1), error (2), length of variables (2); variables, name, NUL,
/// text.
fn query(mut bytes: Bytes<'_>, packed: bool) -> Result<Query<'_>, Broken> {
    bytes.take(8)?;
    let name = usize::from(bytes.byte()?);
    bytes.take(2)?;
    let variables = usize::try_from(bytes.little(2)?).map_err(|_| Broken("a length is too great"))?;
    bytes.take(variables)?;
    let database = bytes.take(name)?;
    bytes.take(1)?;
    let text = if packed { unpack(bytes.0)? } else { bytes.0.to_vec() };
    Ok(Query { database, text })
}

fn table_map(mut bytes: Bytes<'_>) -> Result<TableMap, Broken> {
    let id = bytes.little(6)?;
    bytes.take(2)?;
    let mut named = || -> Result<String, Broken> {
        let length = usize::from(bytes.byte()?);
        let name = text(bytes.take(length)?)?;
        bytes.take(1)?;
        Ok(name)
    };
    let (database, table) = (named()?, named()?);
    let count = bytes.length()?;
    let types = bytes.take(count)?;
    let length = bytes.length()?;
    let mut details = Bytes(bytes.take(length)?);
    let mut columns = Vec::with_capacity(types.len());
    for kind in types {
        let detail = details.take(details_of(*kind)?)?;
        columns.push((*kind, [detail.first().copied().unwrap_or(0), detail.get(1).copied().unwrap_or(0)]));
    }
    bytes.bits(count)?;
    let mut names = Vec::new();
    while !bytes.is_empty() {
        let field = bytes.byte()?;
        let length = bytes.length()?;
        let mut value = Bytes(bytes.take(length)?);
        // 4: the names of the columns.
        while field == 4 && !value.is_empty() {
            let length = value.length()?;
            names.push(text(value.take(length)?)?);
        }
    }
    if !names.is_empty() && names.len() != columns.len() {
        return Err(Broken("it does not name every column"));
    }
    Ok(TableMap { id, database, table, columns, names })
}

/// How many bytes of detail a type has in a table map.
fn details_of(kind: u8) -> Result<usize, Broken> {
    Ok(match kind {
        // float, double, the temporal ones with a fraction, JSON, blobs, geometry, compressed blobs
        4 | 5 | 17..=19 | 140 | 245 | 249..=252 | 255 => 1,
        // varchar, bit, decimal, enum, set, strings, compressed varchar
        15 | 16 | 141 | 246..=248 | 253 | 254 => 2,
        // the integers, year, date, and the temporal ones of old
        0..=3 | 6..=14 => 0,
        _ => return Err(Broken("a column has a type that is not known")),
    })
}

fn rows(mut bytes: Bytes<'_>, change: Change, version: u8, packed: bool) -> Result<Rows<'_>, Broken> {
    let table = bytes.little(6)?;
    bytes.take(2)?;
    if version == 2 {
        let extra = usize::try_from(bytes.little(2)?).map_err(|_| Broken("a length is too great"))?;
        bytes.take(extra.checked_sub(2).ok_or(Broken("a length is too small"))?)?;
    }
    let width = bytes.length()?;
    let present = bytes.bits(width)?;
    let after = if change == Change::Update { bytes.bits(width)? } else { present };
    let images = if packed { unpack(bytes.0)?.into() } else { bytes.0.into() };
    Ok(Rows { change, table, width, present, after, images })
}

/// What MariaDB has compressed.
fn unpack(bytes: &[u8]) -> Result<Vec<u8>, Broken> {
    let mut bytes = Bytes(bytes);
    let head = bytes.byte()?;
    if head & 0xf8 != 0x80 {
        return Err(Broken("it is compressed in a way that is not known"));
    }
    let count = usize::from(head & 0x07);
    if !(1..=4).contains(&count) {
        return Err(Broken("a length is none"));
    }
    let length = big(bytes.take(count)?);
    if length > LONGEST {
        return Err(Broken("it would be too long unpacked"));
    }
    let mut unpacked = Vec::new();
    let mut decoder = flate2::read::ZlibDecoder::new(bytes.0).take(length + 1);
    decoder.read_to_end(&mut unpacked).map_err(|_| Broken("what is compressed cannot be unpacked"))?;
    if unpacked.len() as u64 == length { Ok(unpacked) } else { Err(Broken("what was compressed has another length")) }
}

fn text(bytes: &[u8]) -> Result<String, Broken> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Broken("a name is not UTF-8"))
}
