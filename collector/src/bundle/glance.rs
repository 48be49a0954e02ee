//! What a file is at first sight: whoever looks for captures in a tree of folders asks before anything is read.

use std::io::Read;
use std::path::Path;

use super::reader::{HEAD, archive_kind};
use super::recognise::recognise;
use super::rules::plain_path;
use crate::input::{self, Limits};
use crate::layers::Setting;

/// Memory for one glance, bytes: windows of compression that need more are no capture's.
const MEMORY: usize = 64 << 20;

/// What a file looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glance {
    /// A tar or a zip, compressed or not.
    Archive,
    /// A text that some format reads, whatever lies around it.
    Capture,
}

/// What a file looks like by its first 64 KiB; nothing where no format reads it, or where it cannot be opened.
pub fn glance(path: &Path) -> Option<Glance> {
    let (reader, _) = input::open(path, &Limits::new(MEMORY)).ok()?;
    let mut head = Vec::new();
    reader.take(HEAD as u64).read_to_end(&mut head).ok()?;
    if archive_kind(&head).is_some() {
        return Some(Glance::Archive);
    }
    let name = plain_path(&path.file_name()?.to_string_lossy());
    let mut setting = Setting { limit: HEAD, ..Setting::default() };
    let found = recognise(&name, &head, head.len() < HEAD, &mut setting, None, &|| None);
    found.format.map(|_| Glance::Capture)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_and_archives_are_told_from_the_rest() {
        let folder = tempfile::tempdir().expect("a folder");
        let of = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).expect("written");
            glance(&path)
        };
        let rules = b"*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n";
        assert_eq!(of("rules.txt", rules), Some(Glance::Capture));
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut packed, rules).expect("packed");
        assert_eq!(of("rules.txt.gz", &packed.finish().expect("packed")), Some(Glance::Capture));
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(rules.len() as u64);
        tar.append_data(&mut header, "rules.txt", &rules[..]).expect("packed");
        assert_eq!(of("run.tar", &tar.into_inner().expect("packed")), Some(Glance::Archive));
        assert_eq!(of("notes.txt", b"what we did on Tuesday\n"), None);
        assert_eq!(of("README.md", b"# Runs\n\nOne folder a run.\n"), None);
        assert_eq!(glance(&folder.path().join("absent")), None);
    }
}
