//! Where the entries of a zip lie in it: which claim the same bytes, and which bytes none of them claims.
//!
//! ```text
//! ┌ header, name, extra ┬ content ┬ sizes ┐▒▒▒▒▒┌ header … ┐  …  ┌ table ┐┌ end, comment ┐▒▒▒
//!                                          └ nothing lists them                          └ nor these
//! ```
//!
//! The table says where an entry begins and how long its content is; how long its name and its extra fields are, only its own header
//! does. The sizes behind the content are there where a flag says so, in one of four lengths (APPNOTE.TXT 6.3.10, 4.3.7 and 4.3.9).

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Bytes of the header of an entry without its name.
const HEADER: u64 = 30;
/// Lengths of the sizes behind a content: with 4 or 8 bytes each, without and with a mark ahead of them.
const SIZES: [u64; 4] = [12, 16, 20, 24];

/// Bytes that are listed nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unlisted {
    /// In how many places.
    pub places: u64,
    /// How many there are.
    pub bytes: u64,
    /// The first of them.
    pub first: u64,
}

/// The places of the entries, in the order of the table.
#[derive(Debug, Default)]
pub struct Layout {
    /// Begin, the least that it may end at, number.
    places: Vec<(u64, u64, usize)>,
}

impl Layout {
    /// Adds the next entry: where its header begins, and the length of its content.
    pub fn add(&mut self, begin: u64, content: u64) {
        self.places.push((begin, begin.saturating_add(HEADER).saturating_add(content), self.places.len()));
    }

    /// Of each entry, whether its bytes belong to another one too.
    pub fn overlapping(&mut self) -> Vec<bool> {
        self.places.sort_unstable();
        let mut found = vec![false; self.places.len()];
        let (mut end, mut last) = (0, 0);
        for (begin, stop, number) in &self.places {
            if *begin < end {
                (found[*number], found[last]) = (true, true);
            }
            if *stop > end {
                (end, last) = (*stop, *number);
            }
        }
        found
    }

    /// The bytes of a file that neither belong to an entry nor to `others`.
    pub fn unlisted(&mut self, file: &File, length: u64, others: &[Range<u64>]) -> Unlisted {
        self.places.sort_unstable();
        let mut others: Vec<&Range<u64>> = others.iter().filter(|one| one.start < one.end).collect();
        others.sort_unstable_by_key(|one| one.start);
        let mut others = others.into_iter().peekable();
        let mut found = Unlisted::default();
        let mut at = 0;
        let mut cover = |begin: u64, end: &dyn Fn(u64) -> u64, found: &mut Unlisted| {
            // An entry may claim to begin behind the end.
            let begin = begin.min(length);
            if begin > at {
                let first = if found.places == 0 { at } else { found.first };
                *found = Unlisted { places: found.places + 1, bytes: found.bytes + (begin - at), first };
            }
            at = at.max(end(at));
        };
        for (number, (begin, stop, _)) in self.places.iter().enumerate() {
            while let Some(other) = others.next_if(|other| other.start <= *begin) {
                cover(other.start, &|_| other.end, &mut found);
            }
            let next = self.places.get(number + 1).map_or(length, |next| next.0);
            let next = others.peek().map_or(next, |other| next.min(other.start));
            cover(*begin, &|_| end_of(file, *begin, *stop, next), &mut found);
        }
        for other in others {
            cover(other.start, &|_| other.end, &mut found);
        }
        cover(length, &|_| length, &mut found);
        found
    }
}

/// Where an entry ends of which the next thing that is listed begins at `next`.
fn end_of(file: &File, begin: u64, stop: u64, next: u64) -> u64 {
    let mut header = [0; HEADER as usize];
    // One that is no header is named as a damaged entry.
    if file.read_exact_at(&mut header, begin).is_err() || !header.starts_with(b"PK\x03\x04") {
        return next.max(stop);
    }
    let number = |at: usize| u64::from(u16::from_le_bytes([header[at], header[at + 1]]));
    let end = stop.saturating_add(number(26)).saturating_add(number(28));
    let left = next.saturating_sub(end);
    let sizes = if number(6) & 8 == 0 {
        0
    } else if SIZES.contains(&left) {
        left
    } else {
        left.min(SIZES[1])
    };
    end.saturating_add(sizes)
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a list of one range is what is meant")]
mod tests {
    use std::io::Write;

    use super::*;

    /// The header of an entry without content, with a name and extra fields.
    fn header(flags: u8, name: u8, extra: u8) -> Vec<u8> {
        let mut bytes = b"PK\x03\x04".to_vec();
        bytes.resize(30 + usize::from(name) + usize::from(extra), 0);
        (bytes[6], bytes[26], bytes[28]) = (flags, name, extra);
        bytes
    }

    fn unlisted(parts: &[&[u8]], entries: &[(u64, u64)], others: &[Range<u64>]) -> Unlisted {
        let mut file = tempfile::tempfile().expect("a file");
        let all = parts.concat();
        file.write_all(&all).expect("written");
        let mut layout = Layout::default();
        entries.iter().for_each(|(begin, content)| layout.add(*begin, *content));
        layout.unlisted(&file, all.len() as u64, others)
    }

    #[test]
    fn what_is_between_the_entries_is_told() {
        let (plain, sized) = (header(0, 3, 5), header(8, 3, 0));
        let none = Unlisted::default();
        // An entry of 38 + 4 bytes, another of 33 + 2 and its sizes, the table, the end.
        for sizes in SIZES {
            let size = vec![0; sizes as usize];
            let parts: [&[u8]; 6] = [&plain, b"abcd", &sized, b"ab", &size, b"table+end"];
            let table = 77 + sizes..86 + sizes;
            assert_eq!(unlisted(&parts, &[(42, 2), (0, 4)], &[table]), none, "{sizes}");
        }
        let told = |places, bytes, first| Unlisted { places, bytes, first };
        assert_eq!(unlisted(&[b"stub", &plain, b"abcd", b"end"], &[(4, 4)], &[46..49]), told(1, 4, 0));
        assert_eq!(
            unlisted(&[&plain, b"abcd", b"x", &plain, b"end", b"yy"], &[(0, 4), (43, 0)], &[81..84]),
            told(2, 3, 42)
        );
        // Sizes that no flag announces, and more than sizes.
        assert_eq!(unlisted(&[&plain, &[0; 16], b"end"], &[(0, 0)], &[54..57]), told(1, 16, 38));
        assert_eq!(unlisted(&[&sized, &[0; 99], b"end"], &[(0, 0)], &[132..135]), told(1, 83, 49));
        // Where there is no header the entry is a loss of its own.
        assert_eq!(unlisted(&[&[0; 50], b"end"], &[(0, 0)], &[50..53]), none);
        assert_eq!(unlisted(&[b"end"], &[(u64::MAX, u64::MAX)], &[0..3]), none);
    }
}
