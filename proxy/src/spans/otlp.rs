//! Spans as OTLP has them: `ExportTraceServiceRequest` of opentelemetry-proto 1.x, in protobuf. Written by hand, since the
//! message has a dozen fields and the crates for it bring a second HTTP client, a gRPC server and a code generator.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{Span, Value};

/// What the spans are of, in `scope`.
const SCOPE: &str = "ficus";

/// The body of one export. `service` becomes the resource's `service.name`.
pub(super) fn encode(service: &str, spans: &[Span]) -> Vec<u8> {
    let mut request = Message::default();
    request.message(1, |resource_spans| {
        resource_spans.message(1, |resource| resource.attribute(1, "service.name", &Value::from(service)));
        resource_spans.message(2, |scope_spans| {
            scope_spans.message(1, |scope| {
                scope.text(1, SCOPE);
                scope.text(2, env!("CARGO_PKG_VERSION"));
            });
            spans.iter().for_each(|span| scope_spans.message(2, |message| message.span(span)));
        });
    });
    request.0
}

/// A protobuf message that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn span(&mut self, span: &Span) {
        self.bytes(1, &span.trace.to_be_bytes());
        self.bytes(2, &span.id.to_be_bytes());
        if let Some(parent) = span.parent {
            self.bytes(4, &parent.to_be_bytes());
        }
        self.text(5, &span.name);
        self.number(6, span.kind as u64);
        self.fixed64(7, nanos(span.began));
        self.fixed64(8, nanos(span.began + span.took));
        span.attributes.iter().for_each(|(name, value)| self.attribute(9, name, value));
        if span.failed {
            // STATUS_CODE_ERROR
            self.message(15, |status| status.number(3, 2));
        }
    }

    fn attribute(&mut self, field: u32, name: &str, value: &Value) {
        self.message(field, |pair| {
            pair.text(1, name);
            pair.message(2, |any| match value {
                Value::Text(text) => any.text(1, text),
                Value::Is(is) => any.number(2, u64::from(*is)),
                Value::Number(number) => any.number(3, u64::from_ne_bytes(number.to_ne_bytes())),
            });
        });
    }

    fn message(&mut self, field: u32, write: impl FnOnce(&mut Message)) {
        let mut inner = Message::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }

    fn text(&mut self, field: u32, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.tag(field, 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn number(&mut self, field: u32, number: u64) {
        self.tag(field, 0);
        self.varint(number);
    }

    fn fixed64(&mut self, field: u32, number: u64) {
        self.tag(field, 1);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn tag(&mut self, field: u32, wire_type: u32) {
        self.varint(u64::from(field << 3 | wire_type));
    }

    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }
}

fn nanos(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::time::{Duration, UNIX_EPOCH};

    use super::super::{Kind, Span, Value};
    use super::encode;

    /// The same two spans, written by the Python package `opentelemetry-proto`.
    const THEIRS: &str = "0aa2020a210a1f0a0c736572766963652e6e616d65120f0a0d66696375732d6761746577617912fc010a0e0a0566696375731205302e312e3012a5010a100af7651916cd43dd8448eb211c80319c1208b7ad6b7169203331220800f067aa0ba902b72a0f474554202f75736572732f7b69647d30023900002a36fe9c971741c0d47e3dfe9c97174a1c0a13687474702e726571756573742e6d6574686f6412050a034745544a200a19687474702e726573706f6e73652e7374617475735f636f6465120318f7034a140a0e66696375732e66616c6c6261636b120210017a02180212420a100af7651916cd43dd8448eb211c80319c1208b7ad6b71692033322208b7ad6b71692033312a066d6f6465726e3003390100000000000000410200000000000000";

    #[test]
    fn spans_are_written_as_others_write_them() {
        let trace = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;
        let of_gateway = Span {
            trace,
            id: 0xb7ad_6b71_6920_3331,
            parent: Some(0x00f0_67aa_0ba9_02b7),
            name: "GET /users/{id}".to_owned(),
            kind: Kind::Server,
            began: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            took: Duration::from_millis(123),
            failed: true,
            attributes: vec![
                ("http.request.method", "GET".into()),
                ("http.response.status_code", Value::Number(503)),
                ("ficus.fallback", Value::Is(true)),
            ],
        };
        let of_try = Span {
            trace,
            id: 0xb7ad_6b71_6920_3332,
            parent: Some(of_gateway.id),
            name: "modern".to_owned(),
            kind: Kind::Client,
            began: UNIX_EPOCH + Duration::from_nanos(1),
            took: Duration::from_nanos(1),
            failed: false,
            attributes: Vec::new(),
        };
        let ours = encode("ficus-gateway", &[of_gateway, of_try]).iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        assert_eq!(ours, THEIRS);
    }
}
