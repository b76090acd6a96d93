//! What is drawn while a wish is waited for: a bar while rows are copied, a line otherwise. On a terminal only; into a pipe
//! goes nothing.

use ficus_rules::api::CapabilityStatus;
use ficus_rules::migration::Phase;
use indicatif::{ProgressBar, ProgressStyle};

use super::status;

const LINE: &str = "{spinner} {elapsed} {msg}";
const BAR: &str = "{msg} {bar:32} {human_pos} of {human_len} rows, {per_sec}, {eta} left";

/// The drawing.
pub(super) struct Progress {
    drawn: ProgressBar,
    copying: bool,
}

impl Progress {
    /// A line, until a copy is seen.
    pub(super) fn new() -> Progress {
        Progress { drawn: ProgressBar::new_spinner().with_style(style(LINE)), copying: false }
    }

    /// Shows how things are.
    pub(super) fn show(&mut self, state: &CapabilityStatus) {
        let copied = rows(state);
        if copied.is_some() != self.copying {
            self.drawn.finish_and_clear();
            self.copying = copied.is_some();
            self.drawn = match copied {
                // The rate is of what is copied from here on, not of what was there before anybody looked.
                Some((done, total)) => {
                    let bar = ProgressBar::new(total).with_style(style(BAR)).with_position(done);
                    bar.reset_eta();
                    bar
                }
                None => ProgressBar::new_spinner().with_style(style(LINE)),
            };
        }
        match copied {
            Some((done, total)) => {
                // Rows that are added meanwhile are copied too.
                self.drawn.set_length(total.max(done));
                self.drawn.set_position(done);
                self.drawn.set_message("copying");
            }
            None => self.drawn.set_message(status::line(state)),
        }
        self.drawn.tick();
    }

    /// Takes it away.
    pub(super) fn end(&self) {
        self.drawn.finish_and_clear();
    }
}

/// Rows copied and to copy, while a copy is under way.
fn rows(state: &CapabilityStatus) -> Option<(u64, u64)> {
    let copy = state.backfill.as_ref().filter(|copy| state.phase == Phase::Backfilling && !copy.complete && copy.total > 0)?;
    Some((copy.done, copy.total))
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use indicatif::ProgressStyle;

    #[test]
    fn the_templates_are_sound() {
        assert!([super::LINE, super::BAR].iter().all(|template| ProgressStyle::with_template(template).is_ok()));
    }
}
