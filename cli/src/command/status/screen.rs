//! A page that is drawn over the last one, on a terminal: without flicker, no wider and no higher than it is.

use std::io::{Stdout, Write as _};

use anyhow::Result;
use crossterm::terminal::{Clear, ClearType};
use crossterm::{cursor, queue, terminal};

use super::table::{WIDTH, folded};

/// Draws it.
pub(super) fn draw(page: &str, out: &mut Stdout) -> Result<()> {
    let (columns, lines) = terminal::size().unwrap_or((80, 24));
    // What touches the last column makes some terminals go on in the next line.
    let page = folded(page, WIDTH.min(usize::from(columns).saturating_sub(1).max(20)));
    queue!(out, cursor::MoveTo(0, 0))?;
    for line in fitting(&page, usize::from(lines)) {
        write!(out, "{line}")?;
        queue!(out, Clear(ClearType::UntilNewLine))?;
        write!(out, "\r\n")?;
    }
    queue!(out, Clear(ClearType::FromCursorDown))?;
    Ok(out.flush()?)
}

/// So many lines that the last one still fits, and how many are left out.
fn fitting(page: &str, lines: usize) -> Vec<String> {
    let room = lines.saturating_sub(1).max(2);
    let all: Vec<&str> = page.lines().collect();
    if all.len() <= room {
        return all.into_iter().map(str::to_owned).collect();
    }
    let left = all.len() - (room - 1);
    let shown = all[..room - 1].iter().map(|line| (*line).to_owned());
    shown.chain(std::iter::once(format!("… {left} more lines: a higher terminal shows them, or `ficus status NAME`"))).collect()
}

#[cfg(test)]
mod tests {
    use super::fitting;

    #[test]
    fn what_is_higher_than_the_terminal_says_so() {
        let page = "1\n2\n3\n4\n5\n";
        assert_eq!(fitting(page, 6), ["1", "2", "3", "4", "5"]);
        let cut = fitting(page, 4);
        assert_eq!((cut.len(), &cut[..2]), (3, &["1".to_owned(), "2".to_owned()][..]));
        assert!(cut[2].starts_with("… 3 more lines"), "{cut:?}");
    }
}
