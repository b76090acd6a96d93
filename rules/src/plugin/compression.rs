//! `compression`: which coding an answer's body gets, if any. Decides by heads alone; packs nothing.

use crate::route::Request;

/// What is packed, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compression {
    /// Codings, best first.
    pub codings: Vec<Coding>,
    /// Smaller bodies are left alone, in bytes.
    pub min: u64,
    /// Media types, like `text/html`; `text/*` for all of a kind.
    pub types: Vec<String>,
}

/// A coding of bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// `br`
    Brotli,
    /// `zstd`
    Zstd,
    /// `gzip`
    Gzip,
}

impl Coding {
    /// All codings.
    pub const ALL: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

    /// Its name in headers and rule files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
            Coding::Gzip => "gzip",
        }
    }
}

/// What an answer's head says, as far as it matters.
#[derive(Debug, Clone, Copy, Default)]
pub struct AnswerHead<'a> {
    /// Its status.
    pub status: u16,
    /// `Content-Type`
    pub content_type: Option<&'a str>,
    /// `Content-Length`
    pub length: Option<u64>,
    /// It has a `Content-Encoding`.
    pub coded: bool,
    /// It has a `Content-Range`.
    pub ranged: bool,
    /// `Cache-Control`
    pub cache_control: Option<&'a str>,
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Nothing.
    Untouched,
    /// Nothing; somebody else could get it packed, and caches must know.
    Varies,
    /// It is packed.
    Packed(Coding),
}

impl Compression {
    /// What becomes of an answer to a request.
    pub fn of(&self, request: &dyn Request, answer: &AnswerHead<'_>) -> Packing {
        let bodiless = request.method() == "HEAD" || matches!(answer.status, 100..200 | 204 | 205 | 206 | 304);
        let no_transform = answer.cache_control.is_some_and(|said| said.to_ascii_lowercase().contains("no-transform"));
        let small = answer.length.is_some_and(|length| length < self.min);
        if bodiless || answer.coded || answer.ranged || no_transform || small || !self.is_packable(answer.content_type) {
            return Packing::Untouched;
        }
        let accepted = request.header("accept-encoding").unwrap_or_default();
        self.negotiate(accepted).map_or(Packing::Varies, Packing::Packed)
    }

    /// The coding that a client likes best, and of several our best (RFC 9110, 12.5.3). None for whoever does not ask:
    /// such programs often cannot unpack.
    fn negotiate(&self, accepted: &str) -> Option<Coding> {
        let weights: Vec<(&str, u32)> = accepted.split(',').filter_map(weighed).collect();
        let weight = |coding: Coding| {
            let named = |name: &str| weights.iter().find(|(token, _)| token.eq_ignore_ascii_case(name)).map(|(_, weight)| *weight);
            named(coding.as_str()).or_else(|| named("*")).unwrap_or(0)
        };
        let identity = weights.iter().find(|(token, _)| token.eq_ignore_ascii_case("identity")).map_or(1, |(_, weight)| *weight);
        let mut best: Option<(u32, Coding)> = None;
        for coding in self.codings.iter().copied() {
            let weight = weight(coding);
            if weight > 0 && weight >= identity && best.is_none_or(|(most, _)| weight > most) {
                best = Some((weight, coding));
            }
        }
        best.map(|(_, coding)| coding)
    }

    fn is_packable(&self, content_type: Option<&str>) -> bool {
        let Some(kind) = content_type.and_then(|full| full.split(';').next()) else { return false };
        let kind = kind.trim().to_ascii_lowercase();
        // Its pieces are waited for; a packer would keep them back.
        kind != "text/event-stream"
            && self.types.iter().any(|wanted| match wanted.strip_suffix("/*") {
                Some(family) => kind.split_once('/').is_some_and(|(of, _)| of == family),
                None => kind == *wanted,
            })
    }
}

/// `gzip;q=0.5` as a name and thousandths.
fn weighed(item: &str) -> Option<(&str, u32)> {
    let mut parts = item.split(';').map(str::trim);
    let token = parts.next().filter(|token| !token.is_empty())?;
    let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    let weight = match quality {
        None => 1.0,
        Some(text) => text.trim().parse::<f32>().ok().filter(|quality| (0.0..=1.0).contains(quality))?,
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1,000")]
    Some((token, (weight * 1000.0) as u32))
}
