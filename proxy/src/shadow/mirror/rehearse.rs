//! Writes: modern carries one out and takes it back, while legacy carries it out for good. Asked once: a moment later the write
//! itself has come to modern's copy, and nothing could be said of a difference. Decides nothing about which writes are asked.

use std::time::SystemTime;

use bytes::Bytes;
use ficus_rules::parity::{Noise, compare};
use ficus_rules::{Side, Timestamp};
use http::StatusCode;
use tokio::sync::oneshot;

use super::{ANSWER_WITHIN, Failure, Job, Mirror, Verdict};
use crate::shadow::{Capture, Copied, Dropped};

/// By this header modern is asked to take a write back, and says that it has.
pub(super) const DRY_RUN: &str = "x-ficus-dry-run";

impl Mirror {
    pub(super) async fn rehearse(
        &self,
        job: &Job,
        body: Copied,
        legacy: oneshot::Receiver<(Capture, Timestamp)>,
    ) -> Result<Verdict, Failure> {
        let (headers, modern) = self.asked(job, Side::Modern, Bytes::copy_from_slice(&body.bytes)).await?;
        let rehearsed = Timestamp::from(SystemTime::now());
        drop(body);
        if !headers.contains_key(DRY_RUN) {
            // Of a failure it may be somebody on the way who answered.
            return Err(match modern.status {
                200..400 => self.distrust(job),
                _ => Failure::NoAnswer,
            });
        }
        let answered = tokio::time::timeout(ANSWER_WITHIN, legacy).await.ok().and_then(Result::ok);
        let (capture, answered) = answered.ok_or(Dropped::Unsettled)?;
        let legacy = capture.answer()?;
        if job.csrf && legacy.status == StatusCode::FORBIDDEN.as_u16() {
            return Err(Dropped::LegacyRefused.into());
        }
        let differences = compare(&job.asked.method, &legacy, &modern, &job.leniency, &Noise::default());
        match differences.is_empty() {
            true => Ok(Verdict::Same),
            // Modern may have been asked when the write was there already.
            false if rehearsed >= answered => Err(Dropped::Unsettled.into()),
            false => Ok(Verdict::Different(legacy.status, modern.status, differences)),
        }
    }

    /// Modern took a write and does not say that it took it back: it gets none any more.
    fn distrust(&self, job: &Job) -> Failure {
        let capability = &*job.counters.name;
        tracing::error!(
            capability,
            route = job.route,
            "modern does not say that it took a rehearsed write back: no write is mirrored any more"
        );
        self.gateway.shadow.distrust(capability);
        Dropped::NotRehearsed.into()
    }
}
