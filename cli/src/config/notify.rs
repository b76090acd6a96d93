//! Resolves who is told of transitions, and where they are.

use std::collections::BTreeMap;

use ficus_orchestrator::{Format, Notifier};
use ficus_rules::migration::advance::KINDS;
use toml::Spanned;

use super::{Resolving, document};

impl Resolving<'_> {
    pub(super) fn notifiers(&mut self, named: &BTreeMap<Spanned<String>, document::Notify>) -> Vec<Notifier> {
        named.iter().filter_map(|(name, notify)| self.notifier(name, notify)).collect()
    }

    fn notifier(&mut self, name: &Spanned<String>, notify: &document::Notify) -> Option<Notifier> {
        let url = match (&notify.url, &notify.url_file, &notify.url_env) {
            (Some(url), None, None) => Some(url.get_ref().clone()),
            (None, Some(file), None) => self.secret(file),
            (None, None, Some(variable)) => self.variable(variable),
            _ => {
                let what = format!("notifier `{}` needs one address: a `url`, a `url_file` or a `url_env`", name.get_ref());
                self.fault(name.span().start, what);
                None
            }
        };
        // Never the address itself: it may be a secret.
        if url.as_ref().is_some_and(|url| url.parse::<http::Uri>().is_err() || !(url.starts_with("http://") || url.starts_with("https://")))
        {
            self.fault(
                name.span().start,
                format!("the address of notifier `{}` is none: it begins with `http://` or `https://`", name.get_ref()),
            );
        }
        let word = &notify.format;
        let format = Format::parse(word.get_ref());
        if format.is_none() {
            let formats = Format::ALL.map(Format::as_str).join(", ");
            self.fault(word.span().start, format!("`{}` is no format (there are: {formats})", word.get_ref()));
        }
        for kind in notify.kinds.iter().flatten().filter(|kind| kind.get_ref() != "*" && !KINDS.contains(&kind.get_ref().as_str())) {
            let what = format!("the journal has no entries of kind `{}` (there are: {}; or \"*\")", kind.get_ref(), KINDS.join(", "));
            self.fault(kind.span().start, what);
        }
        Some(Notifier {
            name: name.get_ref().clone(),
            url: url?,
            format: format?,
            kinds: notify.kinds.as_ref().map(|kinds| kinds.iter().map(|kind| kind.get_ref().clone()).collect()),
            give_up: self.duration(&notify.give_up),
        })
    }
}
