//! Tables of text, aligned.

use std::{
    fmt,
    io::{self, Write},
};

/// Which side a column's cells keep to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// Rows under a heading. Columns are as wide as their widest cell, two spaces apart.
pub struct Table {
    sides: Vec<Side>,
    /// The heading is the first, until it is written.
    rows: Vec<Vec<String>>,
    /// Of the blocks written before.
    widths: Vec<usize>,
}

impl Table {
    /// A heading; names that begin with `>` are columns of numbers, kept right.
    pub fn new(names: &[&str]) -> Self {
        let side = |name: &&str| {
            if name.starts_with('>') {
                Side::Right
            } else {
                Side::Left
            }
        };
        let heading = names
            .iter()
            .map(|name| name.trim_start_matches('>').to_owned())
            .collect();
        Self {
            sides: names.iter().map(side).collect(),
            rows: vec![heading],
            widths: vec![0; names.len()],
        }
    }

    /// Adds a row; missing cells are blank.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Rows that wait to be written, the heading among them.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is a heading only.
    pub fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }

    /// Writes the rows there are, and forgets them; those to come are aligned with them as far as they fit.
    pub fn write_block(&mut self, out: &mut impl Write) -> io::Result<()> {
        self.widths = self.widths();
        out.write_all(self.to_string().as_bytes())?;
        self.rows.clear();
        Ok(())
    }

    fn widths(&self) -> Vec<usize> {
        let widest = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        self.widths
            .iter()
            .enumerate()
            .map(|(column, before)| widest(column).max(*before))
            .collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (side, width)) in self.sides.iter().zip(&widths).enumerate() {
                let cell = row.get(column).map_or("", String::as_str);
                match side {
                    Side::Left => line.push_str(&format!("{cell:<width$}  ")),
                    Side::Right => line.push_str(&format!("{cell:>width$}  ")),
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
