//! Tables that fit the terminal.
//!
//! Pure: text in, text out. Cells are made printable; where the whole is too wide, flexible columns are cut, the widest
//! first, down to their smallest width.

use common::speech::render::printable::{at_most, one_line};

/// Between two columns.
const GAP: usize = 2;

/// A table of text.
#[derive(Debug, Clone)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    /// Column, smallest width.
    flexible: Vec<(usize, usize)>,
    /// Columns whose cells are set to the right.
    numbers: Vec<usize>,
}

impl Table {
    /// A table with these headings.
    #[must_use]
    pub fn new(header: &[&str]) -> Self {
        let header = header.iter().map(|&text| text.to_owned()).collect();
        Self { header, rows: Vec::new(), flexible: Vec::new(), numbers: Vec::new() }
    }

    /// The same with a column that may be cut to `width_min`.
    #[must_use]
    pub fn flexible(mut self, column: usize, width_min: usize) -> Self {
        self.flexible.push((column, width_min));
        self
    }

    /// The same with a column of numbers.
    #[must_use]
    pub fn number(mut self, column: usize) -> Self {
        self.numbers.push(column);
        self
    }

    /// Adds a row of as many cells as there are headings.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.iter().map(|cell| one_line(cell)).collect());
    }

    /// The table in lines of at most `width` columns, as far as the flexible columns allow.
    #[must_use]
    pub fn render(&self, width: Option<usize>) -> String {
        let widths = self.widths(width.unwrap_or(usize::MAX));
        let mut out = String::new();
        for cells in std::iter::once(&self.header).chain(&self.rows) {
            let mut line = String::new();
            for (column, (cell, &width)) in cells.iter().zip(&widths).enumerate() {
                let cell = at_most(cell, width);
                let fill = " ".repeat(width - cell.chars().count());
                if column > 0 {
                    line.push_str(&" ".repeat(GAP));
                }
                if self.numbers.contains(&column) {
                    line.extend([fill, cell])
                } else {
                    line.extend([cell, fill])
                }
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }

    fn widths(&self, whole: usize) -> Vec<usize> {
        let lines = || std::iter::once(&self.header).chain(&self.rows);
        let widest = |column: usize| {
            lines().filter_map(|cells| cells.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let mut widths: Vec<_> = (0..self.header.len()).map(widest).collect();
        let gaps = GAP * widths.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > whole {
            let can_shrink = self.flexible.iter().filter(|(column, least)| widths[*column] > *least);
            let Some((column, _)) = can_shrink.max_by_key(|(column, _)| widths[*column]) else { break };
            widths[*column] -= 1;
        }
        widths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["job", "n", "audio"]).flexible(2, 5).number(1);
        table.row(["a1".to_owned(), "7".to_owned(), "a long name of a recording.wav".to_owned()]);
        table.row(["b2".to_owned(), "10".to_owned(), "x\u{1b}[2J\n.wav".to_owned()]);
        table
    }

    #[test]
    fn columns_line_up_and_nothing_is_cut_without_a_width() {
        assert_eq!(
            table().render(None),
            "job   n  audio\na1    7  a long name of a recording.wav\nb2   10  x·[2J .wav\n"
        );
    }

    #[test]
    fn flexible_columns_give_way_down_to_their_least() {
        for (width, widest) in [(80, 39), (39, 39), (38, 38), (20, 20), (14, 14), (3, 14)] {
            let text = table().render(Some(width));
            assert_eq!(text.lines().map(|line| line.chars().count()).max(), Some(widest), "{text}");
        }
        assert_eq!(table().render(Some(20)).lines().nth(1), Some("a1    7  a long nam…"));
    }
}
