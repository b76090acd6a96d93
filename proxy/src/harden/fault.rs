//! What is wrong with the bytes of a connection.

use http::StatusCode;

use crate::answer::Refusal;

/// Why the bytes of a connection go no further. It ends with the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    status: StatusCode,
    reason: &'static str,
    detail: &'static str,
}

impl Fault {
    /// 400: two servers could read it in two ways, or nobody can.
    pub(super) const fn unclear(detail: &'static str) -> Fault {
        Fault { status: StatusCode::BAD_REQUEST, reason: "bad_request", detail }
    }

    /// Another status; `reason` is one word for logs.
    pub(super) const fn other(status: StatusCode, reason: &'static str, detail: &'static str) -> Fault {
        Fault { status, reason, detail }
    }

    /// 413.
    pub(super) const fn large_body() -> Fault {
        Fault::other(StatusCode::PAYLOAD_TOO_LARGE, "large_body", "the body is larger than this gateway takes")
    }

    /// 414.
    pub(super) const fn long_target() -> Fault {
        Fault::other(StatusCode::URI_TOO_LONG, "long_target", "the target is longer than this gateway takes")
    }

    /// 431.
    pub(super) const fn large_head(detail: &'static str) -> Fault {
        Fault::other(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "large_head", detail)
    }

    /// 408.
    pub(super) const fn slow(detail: &'static str) -> Fault {
        Fault::other(StatusCode::REQUEST_TIMEOUT, "slow_client", detail)
    }

    /// The answer.
    pub(crate) fn refusal(self) -> Refusal {
        Refusal::new(self.status, self.reason, self.detail)
    }
}
