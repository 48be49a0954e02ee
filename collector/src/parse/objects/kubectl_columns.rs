//! Where the columns of a table of kubectl stand.
//!
//! ```text
//! LAST SEEN   TYPE     REASON              OBJECT            SUBOBJECT   SOURCE                  MESSAGE
//! 58m         Normal   ScalingReplicaSet   deployment/cart               deployment-controller   Scaled up cart-5 to 3
//! │           │        │                   │                 │(empty)    │                       │(blanks within)
//! ```
//!
//! kubectl aligns a table that it prints at once, so a cell stands where its name does. What `-w` prints later may be wider
//! than the names were: such a row is read by its gaps, if it has a cell for every name.

/// Columns of a table at most: each row is looked at below all of them.
const MOST: usize = 200;

/// Column names and where they begin, in characters.
pub struct Columns {
    columns: Vec<(usize, String)>,
}

/// The cells of a row.
pub struct Cells<'t> {
    columns: &'t Columns,
    cells: Vec<&'t str>,
}

impl Cells<'_> {
    /// A cell by its column's name; null where it is empty or there is no such column.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.columns.names().position(|known| known == name)?;
        self.cells.get(at).copied().filter(|cell| !cell.is_empty())
    }
}

impl Columns {
    /// Of a line of names: two blanks or more stand between them.
    pub fn of(line: &str) -> Self {
        let letters: Vec<char> = line.chars().collect();
        let mut columns = Vec::new();
        let mut at = 0;
        while at < letters.len() && columns.len() < MOST {
            if letters[at].is_whitespace() {
                at += 1;
                continue;
            }
            let apart = |end: usize| {
                letters[end].is_whitespace()
                    && (letters[end] == '\t' || letters.get(end + 1).is_none_or(|next| next.is_whitespace()))
            };
            let end = (at..letters.len()).find(|end| apart(*end)).unwrap_or(letters.len());
            columns.push((at, letters[at..end].iter().collect::<String>()));
            at = end;
        }
        Self { columns }
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(_, name)| name.as_str())
    }

    /// The cells of a row; null for a line that does not fit.
    pub fn cells<'t>(&'t self, line: &'t str) -> Option<Cells<'t>> {
        let cells = self.below(line).or_else(|| self.between_gaps(line))?;
        self.names().zip(&cells).all(|(name, cell)| may_be(name, cell)).then_some(Cells { columns: self, cells })
    }

    /// Cells below their names: ahead of each begins at least one blank more than stands within a cell.
    fn below<'t>(&self, line: &'t str) -> Option<Vec<&'t str>> {
        // Offsets of characters, where these are not the bytes.
        let offsets: Option<Vec<usize>> =
            (!line.is_ascii()).then(|| line.char_indices().map(|(at, _)| at).chain([line.len()]).collect());
        let count = offsets.as_ref().map_or(line.len(), |offsets| offsets.len() - 1);
        let offset = |at: usize| offsets.as_ref().map_or(at, |offsets| offsets[at]);
        let blank = |at: usize| line[offset(at)..].starts_with([' ', '\t']);
        let mut found = Vec::with_capacity(self.columns.len());
        for (number, (start, _)) in self.columns.iter().enumerate() {
            let ahead = start.saturating_sub(2)..(*start).min(count);
            if number > 0 && *start <= count && !ahead.clone().all(blank) {
                return None;
            }
            let end = self.columns.get(number + 1).map_or(count, |(next, _)| (*next).min(count));
            let cell = if *start < end { line[offset(*start)..offset(end)].trim() } else { "" };
            found.push(cell);
        }
        let filled = found.iter().filter(|cell| !cell.is_empty()).count();
        (filled >= 2 && !found.first().is_none_or(|first| first.is_empty() || line.starts_with(' '))).then_some(found)
    }

    /// Cells between gaps of two blanks or more, where there is one for each name. The last may hold gaps.
    fn between_gaps<'t>(&self, line: &'t str) -> Option<Vec<&'t str>> {
        let mut found = Vec::new();
        let mut rest = line.trim_end();
        while let Some((cell, behind)) = rest.split_once("  ").filter(|_| found.len() + 1 < self.columns.len()) {
            found.push(cell.trim());
            rest = behind.trim_start();
        }
        found.push(rest);
        (found.len() == self.columns.len() && found.iter().all(|cell| !cell.is_empty())).then_some(found)
    }
}

/// Whether a cell may stand below a name: what a log or a sentence happens to have there seldom does.
fn may_be(name: &str, cell: &str) -> bool {
    let age = |cell: &str| {
        cell.starts_with('<')
            || cell.split(' ').next().is_some_and(|word| {
                word.starts_with(|first: char| first.is_ascii_digit())
                    && word.ends_with(['s', 'm', 'h', 'd', 'y'])
                    && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
            })
    };
    match name {
        _ if cell.is_empty() => name != "NAME",
        "AGE" | "LAST SEEN" | "FIRST SEEN" | "LASTSEEN" => age(cell),
        "NAME" | "NAMESPACE" => !cell.contains(['"', '=', ' ']),
        "RESTARTS" | "COUNT" => cell.starts_with(|first: char| first.is_ascii_digit()),
        "READY" => {
            cell.starts_with(|first: char| first.is_ascii_digit()) || matches!(cell, "True" | "False" | "Unknown")
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::Columns;

    #[test]
    fn cells_may_be_empty_and_hold_blanks() {
        let columns = Columns::of("LAST SEEN   OBJECT            SUBOBJECT   MESSAGE                 COUNT");
        let cells =
            columns.cells("58m         deployment/cart               Scaled up cart-5 to 3   1").expect("a row");
        assert_eq!((cells.get("SUBOBJECT"), cells.get("MESSAGE")), (None, Some("Scaled up cart-5 to 3")));
        assert_eq!(cells.get("COUNT"), Some("1"));
        assert!(columns.cells("58m (x2 over 1h)   words of a sentence that stand across all columns here").is_none());
    }

    #[test]
    fn a_row_that_is_wider_than_the_names_is_read_by_its_gaps() {
        let columns = Columns::of("NAME   READY   STATUS    RESTARTS      AGE");
        let cells = columns.cells("test-a-long-name-5x   1/1   Running   1 (2s ago)   17s").expect("a row");
        assert_eq!((cells.get("READY"), cells.get("RESTARTS")), (Some("1/1"), Some("1 (2s ago)")));
        assert!(columns.cells("test-a-long-name-5x   1/1   Running   17s").is_none());
    }

    #[test]
    fn columns_that_stand_anywhere_cut_no_character_and_are_so_many_at_most() {
        let far = format!("NAME   READY{}STATUS   AGE", " ".repeat(70_000));
        let columns = Columns::of(&far);
        assert_eq!(columns.names().count(), 4);
        for row in
            ["a", "é", "ééééééé   é   é   é", "a      1/1", &format!("a      1/1{}é   1s", " ".repeat(70_000)), ""]
        {
            let _ = columns.cells(row);
        }
        let row = format!("a      1/1  {}Running  1s", " ".repeat(70_000));
        let cells = columns.cells(&row).expect("a row");
        assert_eq!((cells.get("STATUS"), cells.get("AGE")), (Some("Running"), Some("1s")));
        // Names within characters of several bytes, and rows that end within a column.
        let columns = Columns::of("NAME   ÉÉ   AGE");
        for row in ["é", "éé\u{301}éééé   éé", "a      éé   1s", "\u{10ffff}      \u{10ffff}\u{10ffff}   1s"]
        {
            let _ = columns.cells(row);
        }
        assert_eq!(
            columns.cells("a      éé   1s").and_then(|cells| cells.get("AGE").map(str::to_owned)).as_deref(),
            Some("1s")
        );
        let many = Columns::of(&"NAME  ".repeat(100_000));
        assert_eq!(many.names().count(), super::MOST);
        let _ = many.cells(&"a  ".repeat(100_000));
    }
}
