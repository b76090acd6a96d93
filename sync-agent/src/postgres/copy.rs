//! Lines of COPY in its text format (manual, "COPY", File Formats). Pure.

use std::borrow::Cow;

use crate::port::Lines;

/// What is escaped, and the letter that stands for it: what the server itself escapes.
const LETTERS: [(u8, u8); 7] = [(b'\\', b'\\'), (8, b'b'), (12, b'f'), (b'\n', b'n'), (b'\r', b'r'), (b'\t', b't'), (11, b'v')];

/// The letter of a byte that is escaped; else 0.
const ESCAPED: [u8; 256] = {
    let mut escaped = [0; 256];
    let mut at = 0;
    while at < LETTERS.len() {
        escaped[LETTERS[at].0 as usize] = LETTERS[at].1;
        at += 1;
    }
    escaped
};

/// Appends a value to a line.
pub(super) fn field(line: &mut Vec<u8>, value: Option<&str>) {
    let Some(value) = value else {
        line.extend_from_slice(b"\\N");
        return;
    };
    let mut rest = value.as_bytes();
    while let Some(at) = rest.iter().position(|byte| ESCAPED[usize::from(*byte)] != 0) {
        line.extend_from_slice(&rest[..at]);
        line.extend_from_slice(&[b'\\', ESCAPED[usize::from(rest[at])]]);
        rest = &rest[at + 1..];
    }
    line.extend_from_slice(rest);
}

/// The fields of a line without its end.
pub(super) fn fields(line: &[u8]) -> impl Iterator<Item = Option<Cow<'_, [u8]>>> {
    let escaped = memchr::memchr(b'\\', line).is_some();
    line.split(|byte| *byte == b'\t').map(move |field| match field {
        b"\\N" => None,
        _ if escaped => Some(plain(field)),
        _ => Some(Cow::Borrowed(field)),
    })
}

/// The server escapes a backslash and the control characters below, each with one letter.
fn plain(field: &[u8]) -> Cow<'_, [u8]> {
    if !field.contains(&b'\\') {
        return Cow::Borrowed(field);
    }
    let mut plain = Vec::with_capacity(field.len());
    let mut bytes = field.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'\\' {
            plain.push(*byte);
            continue;
        }
        plain.push(match bytes.next() {
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'v') => 11,
            Some(other) => *other,
            None => b'\\',
        });
    }
    Cow::Owned(plain)
}

/// Cuts a stream of chunks into lines.
#[derive(Default)]
pub(super) struct Cut(Vec<u8>);

impl Cut {
    /// Calls `each` with every line that is complete.
    pub(super) fn feed<E>(&mut self, chunk: &[u8], mut each: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut rest = chunk;
        while let Some(at) = memchr::memchr(b'\n', rest) {
            if self.0.is_empty() {
                each(&rest[..at])?;
            } else {
                self.0.extend_from_slice(&rest[..at]);
                each(&self.0)?;
                self.0.clear();
            }
            rest = &rest[at + 1..];
        }
        self.0.extend_from_slice(rest);
        Ok(())
    }
}

/// Gathers chunks into blocks of lines that are complete.
#[derive(Default)]
pub(super) struct Whole {
    text: Vec<u8>,
    /// Complete lines in it, and where they end.
    rows: usize,
    end: usize,
}

impl Whole {
    pub(super) fn feed(&mut self, chunk: &[u8]) {
        self.text.extend_from_slice(chunk);
        // The server puts one line into each chunk.
        if let Some(last) = memchr::memrchr(b'\n', chunk) {
            self.rows += memchr::memchr_iter(b'\n', &chunk[..=last]).count();
            self.end = self.text.len() - chunk.len() + last + 1;
        }
    }

    /// How many lines are complete.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes, those of an incomplete line too.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// The complete lines, unless there are none.
    pub(super) fn take(&mut self) -> Option<Lines> {
        let rest = self.text.split_off(self.end);
        let text = std::mem::replace(&mut self.text, rest);
        let rows = std::mem::take(&mut self.rows);
        self.end = 0;
        (rows > 0).then_some(Lines { text, rows: rows as u64 })
    }
}

/// Lines on their way to the server, in pieces of a size that a message may well have.
pub(super) struct Pieces(Vec<Vec<u8>>);

impl Default for Pieces {
    fn default() -> Pieces {
        Pieces(vec![Vec::with_capacity(PIECE * 2)])
    }
}

/// Bytes of such a piece, and its last line.
pub(super) const PIECE: usize = 1 << 16;

impl Pieces {
    /// What the next line is to be appended to.
    pub(super) fn last(&mut self) -> &mut Vec<u8> {
        let full = self.0.last().is_none_or(|piece| piece.len() >= PIECE);
        if full {
            self.0.push(Vec::with_capacity(PIECE * 2));
        }
        let last = self.0.len() - 1;
        &mut self.0[last]
    }

    pub(super) fn into_inner(self) -> Vec<Vec<u8>> {
        self.0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            rows in proptest::collection::vec(proptest::collection::vec(proptest::option::of(any::<String>()), 1..5), 1..5),
            size in 1..9_usize,
        ) {
            let mut bytes = Vec::new();
            for row in &rows {
                for (index, value) in row.iter().enumerate() {
                    if index > 0 {
                        bytes.push(b'\t');
                    }
                    field(&mut bytes, value.as_deref());
                }
                bytes.push(b'\n');
            }
            let (mut lines, mut found) = (Cut::default(), Vec::new());
            for chunk in bytes.chunks(size) {
                lines
                    .feed(chunk, |line| {
                        let row = fields(line).map(|field| field.map(|bytes| String::from_utf8(bytes.into_owned()).unwrap()));
                        found.push(row.collect::<Vec<_>>());
                        Ok::<(), ()>(())
                    })
                    .unwrap();
            }
            prop_assert_eq!(found, rows);
        }
    }
}
