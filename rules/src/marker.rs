//! Read-your-writes markers: what a client carries after a write, so that its reads stay with the owner until the other
//! side has the write. Signed by the gateway; a forged, expired or garbled one is as good as none.
//!
//! Text form: `capability.epoch.milliseconds` joined by `~`, then `.` and the first 16 bytes of an HMAC-SHA256 over it
//! in unpadded base64url. It expires a fixed time after the write.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::Timestamp;
use crate::route::Request;

/// The cookie that carries markers.
pub const COOKIE: &str = "ficus_wrote";
/// The header that carries them for clients without cookies, both ways.
pub const HEADER: &str = "ficus-wrote";
/// How long after the write a marker is honoured. Longer than any lag that the lag gate lets through.
pub const LIFETIME: Duration = Duration::from_secs(60);

/// One write of a caller: its capability, the owner's epoch, and when the owner had answered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// The capability.
    pub capability: String,
    /// Its epoch.
    pub epoch: u64,
    /// When.
    pub at: Timestamp,
}

/// Signs markers; `key` is any secret of the gateways.
pub fn seal(markers: &[Marker], key: &[u8]) -> String {
    let parts: Vec<String> = markers.iter().map(|m| format!("{}.{}.{}", m.capability, m.epoch, m.at.0)).collect();
    let body = parts.join("~");
    let mac = signature(body.as_bytes(), key);
    format!("{body}.{mac}")
}

/// Reads markers back: those that are genuine and younger than [`LIFETIME`].
pub fn open(text: &str, key: &[u8], now: Timestamp) -> Vec<Marker> {
    let Some((body, mac)) = text.rsplit_once('.').filter(|_| text.len() <= 2048) else { return Vec::new() };
    if !bool::from(signature(body.as_bytes(), key).as_bytes().ct_eq(mac.as_bytes())) {
        return Vec::new();
    }
    body.split('~').filter_map(parse).filter(|m| now.since(m.at) < LIFETIME).collect()
}

/// The genuine markers that a request brings, by cookie or by header.
pub fn brought(request: &dyn Request, key: &[u8], now: Timestamp) -> Vec<Marker> {
    let mut markers = Vec::new();
    for text in [request.cookie(COOKIE), request.header(HEADER)].into_iter().flatten() {
        open(text, key, now).into_iter().for_each(|marker| add(&mut markers, marker));
    }
    markers
}

/// Adds a write to the markers of a caller, replacing an older one of the same capability.
pub fn add(markers: &mut Vec<Marker>, new: Marker) {
    let at = markers.iter().filter(|m| m.capability == new.capability && m.epoch == new.epoch).map(|m| m.at).max();
    markers.retain(|m| m.capability != new.capability);
    markers.push(Marker { at: at.map_or(new.at, |at| at.max(new.at)), ..new });
}

fn parse(part: &str) -> Option<Marker> {
    let (rest, at) = part.rsplit_once('.')?;
    let (capability, epoch) = rest.rsplit_once('.')?;
    Some(Marker { capability: capability.to_owned(), epoch: epoch.parse().ok()?, at: Timestamp(at.parse().ok()?) })
}

fn signature(body: &[u8], key: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("an HMAC takes a key of any length");
    mac.update(b"ficus-marker-v1:");
    mac.update(body);
    URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..16])
}

#[cfg(test)]
mod tests {
    use super::{LIFETIME, Marker, add, open, seal};
    use crate::Timestamp;

    const KEY: &[u8] = b"a key of the gateways";

    fn marker(at: u64) -> Marker {
        Marker { capability: "users".into(), epoch: 3, at: Timestamp(at) }
    }

    #[test]
    fn a_marker_comes_back_until_it_expires() {
        let text = seal(&[marker(5_000)], KEY);
        assert_eq!(open(&text, KEY, Timestamp(5_001)), vec![marker(5_000)]);
        assert_eq!(open(&text, KEY, Timestamp(5_000).plus(LIFETIME)), vec![]);
    }

    #[test]
    fn a_forged_or_garbled_marker_is_none() {
        let text = seal(&[marker(5_000)], KEY);
        assert_eq!(open(&text, b"another key", Timestamp(5_001)), vec![]);
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let garbled = String::from_utf8_lossy(&bytes).into_owned();
            assert_eq!(open(&garbled, KEY, Timestamp(5_001)), vec![], "byte {at}: {garbled}");
        }
    }

    #[test]
    fn the_latest_write_of_a_capability_stays() {
        let mut markers = vec![marker(9)];
        add(&mut markers, marker(5));
        assert_eq!(markers, vec![marker(9)]);
        add(&mut markers, Marker { epoch: 4, ..marker(6) });
        assert_eq!(markers, vec![Marker { epoch: 4, ..marker(6) }]);
    }
}
