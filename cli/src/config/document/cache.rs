//! `[gateway.cache]`: how much is kept of answers, and for whom. What is left out keeps the gateway's own default.

use serde::Deserialize;
use toml::Spanned;

use super::header;
use super::upstream::Faults;
use crate::args;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Cache {
    size: Option<Spanned<String>>,
    answer: Option<Spanned<String>>,
    known_by: Option<Vec<Spanned<String>>>,
}

impl Cache {
    /// What the gateway is told.
    pub(in crate::config) fn resolve(&self, faults: &mut Faults) -> ficus_proxy::CacheLimits {
        let default = ficus_proxy::CacheLimits::default();
        let size = size(self.size.as_ref(), default.size, faults);
        let answer = size_of_one(self.answer.as_ref(), default.answer, faults);
        if let Some(text) = self.answer.as_ref().or(self.size.as_ref()).filter(|_| answer as u64 > size) {
            faults.push((text.span().start, "an answer cannot be larger than all of them together".into()));
        }
        let known_by = self.known_by.as_ref().map(|names| names.iter().filter_map(|name| header(name, faults)).collect());
        ficus_proxy::CacheLimits { size, answer, known_by: known_by.unwrap_or(default.known_by) }
    }
}

fn size(text: Option<&Spanned<String>>, default: u64, faults: &mut Faults) -> u64 {
    let Some(text) = text else { return default };
    args::size(text.get_ref()).unwrap_or_else(|why| {
        faults.push((text.span().start, why));
        default
    })
}

fn size_of_one(text: Option<&Spanned<String>>, default: usize, faults: &mut Faults) -> usize {
    usize::try_from(size(text, default as u64, faults)).unwrap_or(usize::MAX)
}
