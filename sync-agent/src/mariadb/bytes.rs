//! Numbers and pieces out of bytes that somebody else has written: every read is checked against the end. Pure.

/// The bytes are not what they claim to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the binary log cannot be decoded: {0}")]
pub(super) struct Broken(pub(super) &'static str);

/// Bytes that are read from the front.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Broken> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Broken("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Broken> {
        Ok(self.take(1)?[0])
    }

    /// A number of up to eight bytes, lowest first.
    pub(super) fn little(&mut self, count: usize) -> Result<u64, Broken> {
        Ok(little(self.take(count)?))
    }

    /// A number of up to eight bytes, highest first.
    pub(super) fn big(&mut self, count: usize) -> Result<u64, Broken> {
        Ok(big(self.take(count)?))
    }

    /// A number in one, three, four or nine bytes (the protocol's length-encoded integer).
    pub(super) fn length(&mut self) -> Result<usize, Broken> {
        let number = match self.byte()? {
            0xfc => self.little(2)?,
            0xfd => self.little(3)?,
            0xfe => self.little(8)?,
            0xfb | 0xff => return Err(Broken("a length is none")),
            small => u64::from(small),
        };
        usize::try_from(number).map_err(|_| Broken("a length is too great"))
    }

    /// A bitmap for `count` columns.
    pub(super) fn bits(&mut self, count: usize) -> Result<Bits<'a>, Broken> {
        Ok(Bits(self.take(count.div_ceil(8))?))
    }
}

/// A bitmap, lowest bit first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bits<'a>(&'a [u8]);

impl Bits<'_> {
    pub(super) fn get(&self, index: usize) -> bool {
        self.0.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
    }
}

/// Up to eight bytes as a number, lowest first.
pub(super) fn little(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Up to eight bytes as a number, highest first.
pub(super) fn big(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}
