//! Trace context as the W3C has it (Trace Context, level 1 and 2): reading and writing `traceparent`. Draws no numbers: ids
//! come in.

/// Where a trace comes from: its id, the caller's span, and whether it is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// The trace's id, never 0.
    pub trace: u128,
    /// The caller's span, never 0.
    pub span: u64,
    /// The caller records it, and asks us to.
    pub sampled: bool,
}

impl Parent {
    /// Reads a header `traceparent`; `None`: it is malformed, and a new trace begins (section 2.2 and 4.3).
    pub fn parse(header: &str) -> Option<Parent> {
        let mut parts = header.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let known = hex(version, 2)?;
        // Version ff is invalid. Of version 00 we know that nothing follows; later ones may add something.
        if known == 0xff || (known == 0 && parts.next().is_some()) {
            return None;
        }
        let (trace, span, flags) = (hex(trace, 32)?, hex(span, 16)?, hex(flags, 2)?);
        let span = u64::try_from(span).ok()?;
        (trace != 0 && span != 0).then_some(Parent { trace, span, sampled: flags & 1 == 1 })
    }

    /// The header for whoever is called next; `span` is our own.
    pub fn header(trace: u128, span: u64, sampled: bool) -> String {
        // By hand: every request has one, and formatting costs ten times as much.
        let mut header = String::with_capacity(55);
        header.push_str("00-");
        push_hex(&mut header, &trace.to_be_bytes());
        header.push('-');
        push_hex(&mut header, &span.to_be_bytes());
        header.push_str(if sampled { "-01" } else { "-00" });
        header
    }
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// So many digits, lower case alone.
fn hex(digits: &str, length: usize) -> Option<u128> {
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (digits.len() == length && digits.bytes().all(lower)).then(|| u128::from_str_radix(digits, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::Parent;

    const TRACE: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;

    #[test]
    fn a_header_is_read_and_written() {
        let header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let parent = Parent { trace: TRACE, span: 0xb7ad_6b71_6920_3331, sampled: true };
        assert_eq!(Parent::parse(header), Some(parent));
        assert_eq!(Parent::header(parent.trace, parent.span, true), header);
        assert_eq!(Parent::parse(&header.replace("-01", "-00")).map(|parent| parent.sampled), Some(false));
        // The flag of level 2 that says that the id is random.
        assert_eq!(Parent::parse(&header.replace("-01", "-03")).map(|parent| parent.sampled), Some(true));
        // A version of the future, with more behind it.
        assert_eq!(Parent::parse(&format!("cc{}-what-ever", &header[2..])), Some(parent));
        assert_eq!(Parent::header(1, 1, false), "00-00000000000000000000000000000001-0000000000000001-00");
    }

    #[test]
    fn what_is_malformed_is_no_parent() {
        for header in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
            "0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(Parent::parse(header), None, "{header}");
        }
    }
}
