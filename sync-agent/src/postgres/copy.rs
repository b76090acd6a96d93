//! Lines of COPY in its text format (manual, "COPY", File Formats). Pure.

use std::borrow::Cow;

const ESCAPED: [bool; 256] = {
    let mut escaped = [false; 256];
    let mut at = 0;
    while at < 4 {
        escaped[b"\\\n\r\t"[at] as usize] = true;
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
    while let Some(at) = rest.iter().position(|byte| ESCAPED[usize::from(*byte)]) {
        line.extend_from_slice(&rest[..at]);
        line.extend_from_slice(match rest[at] {
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            _ => b"\\t",
        });
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
pub(super) struct Lines(Vec<u8>);

impl Lines {
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
            let (mut lines, mut found) = (Lines::default(), Vec::new());
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
