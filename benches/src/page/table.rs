//! A Markdown table that can be read in a terminal too.

use std::fmt;

pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(head: &[&str]) -> Self {
        let head = head.iter().map(|&cell| cell.to_owned()).collect();
        Self { rows: vec![head] }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

impl Table {
    fn cells(&self, column: usize) -> impl Iterator<Item = &str> {
        let cells = self.rows.iter().map(move |row| row.get(column));
        cells.map(|cell| cell.map_or("", String::as_str))
    }

    /// Figures are compared by their last digit, words by their first letter.
    fn is_figures(&self, column: usize) -> bool {
        let first = self.cells(column).skip(1).find(|cell| !cell.is_empty());
        column > 0 && first.is_some_and(|cell| cell.starts_with(|c: char| c.is_ascii_digit()))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column| self.cells(column).map(|cell| cell.chars().count()).max();
        let columns: Vec<(usize, bool)> = (0..self.rows[0].len())
            .map(|column| (width(column).unwrap_or(0), self.is_figures(column)))
            .collect();
        for (number, row) in self.rows.iter().enumerate() {
            for (column, &(width, figures)) in columns.iter().enumerate() {
                let cell = row.get(column).map_or("", String::as_str);
                match figures {
                    true => write!(f, "| {cell:>width$} ")?,
                    false => write!(f, "| {cell:<width$} ")?,
                }
            }
            writeln!(f, "|")?;
            if number == 0 {
                for &(width, figures) in &columns {
                    let dashes = "-".repeat(width - usize::from(figures));
                    write!(f, "| {dashes}{} ", if figures { ":" } else { "" })?;
                }
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["server", "lost", "lost as"]);
        table.row(["zdt", "0"].map(str::to_owned));
        table.row(["another one", "12", "eof 12"].map(str::to_owned));
        assert_eq!(
            table.to_string(),
            "\
| server      | lost | lost as |
| ----------- | ---: | ------- |
| zdt         |    0 |         |
| another one |   12 | eof 12  |
"
        );
    }
}
