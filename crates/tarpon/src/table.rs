//! Tables of text, aligned.

use std::fmt;

/// Which side a column's cells keep to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// Rows under a heading. Columns are as wide as their widest cell, two spaces apart.
pub struct Table {
    heading: Vec<(String, Side)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A heading; names that begin with `>` are columns of numbers, kept right.
    pub fn new(names: &[&str]) -> Self {
        let heading = names
            .iter()
            .map(|name| match name.strip_prefix('>') {
                Some(name) => (name.to_owned(), Side::Right),
                None => ((*name).to_owned(), Side::Left),
            })
            .collect();
        Self {
            heading,
            rows: Vec::new(),
        }
    }

    /// Adds a row; missing cells are blank.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.heading.iter().map(|(name, _)| name.clone()).collect();
        let all = || std::iter::once(&names).chain(&self.rows);
        let widths: Vec<usize> = (0..names.len())
            .map(|column| {
                all()
                    .filter_map(|row| row.get(column))
                    .map(|c| c.chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        for row in all() {
            let mut line = String::new();
            for (column, (_, side)) in self.heading.iter().enumerate() {
                let cell = row.get(column).map_or("", String::as_str);
                let width = widths.get(column).copied().unwrap_or(0);
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
