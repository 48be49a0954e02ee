//! Tests of the folder: what `kill -9`, a full disk and a bound leave behind.

use std::io::Read;

use super::{Folder, Packing, SAID};

/// What can be read of a file that has not ended.
fn readable(path: &std::path::Path) -> Vec<u8> {
    let mut text = Vec::new();
    let file = std::fs::File::open(path).expect("the file");
    // An unfinished frame ends in an error, behind all that was flushed.
    let _ = zstd::stream::read::Decoder::new(file).expect("a decoder").read_to_end(&mut text);
    text
}

#[test]
fn what_was_flushed_is_readable_though_nothing_was_ended() {
    let directory = tempfile::tempdir().expect("a folder");
    let folder = Folder::begin(directory.path(), 1 << 30).expect("a recording");
    let out = folder.out("x");
    for (packing, name) in [(Packing::Near, "near"), (Packing::Far, "far")] {
        let mut file = out.packed(name, packing).expect("a file");
        let text: String = (0..1000).map(|number| format!("record {number}\n")).collect();
        file.write_record(text.as_bytes()).expect("written");
        folder.flush();
        file.write_line("not flushed").expect("written");
        // As `kill -9` leaves it: the file is looked at while the frame is open.
        let path = directory.path().join(format!("{name}.zst"));
        assert!(readable(&path).starts_with(text.as_bytes()));
        drop(file);
        assert!(readable(&path).ends_with(b"not flushed\n"));
        // Begun again, it goes on.
        let mut file = out.packed(name, packing).expect("a file");
        assert!(!file.is_new());
        file.write_line("again").expect("written");
        drop(file);
        assert!(readable(&path).ends_with(b"not flushed\nagain\n"));
    }
}

#[test]
fn a_full_disk_ends_the_recording_and_is_named() {
    let directory = tempfile::tempdir().expect("a folder");
    // Every write to it says that the disk is full.
    if std::os::unix::fs::symlink("/dev/full", directory.path().join("a.txt.zst")).is_err()
        || !std::path::Path::new("/dev/full").exists()
    {
        eprintln!("skipped: this machine has no /dev/full");
        return;
    }
    let folder = Folder::begin(directory.path(), 1 << 30).expect("a recording");
    let out = folder.out("x");
    let mut file = out.file("a.txt").expect("opened");
    file.write_line("a").expect("kept until it is flushed");
    assert!(!folder.is_full());
    folder.flush();
    assert!(folder.is_full());
    assert!(file.write_line("b").is_err());
    let losses = folder.losses();
    assert_eq!((losses.len(), losses[0].loss), (1, "recorder-full"));
    folder.finish();
    let said = std::fs::read_to_string(directory.path().join(SAID)).expect("what was said");
    assert!(said.contains("recorder-full") && said.ends_with('\n'), "{said}");
}

#[test]
fn the_bound_on_disk_is_kept_and_what_is_there_ends_well() {
    let directory = tempfile::tempdir().expect("a folder");
    let folder = Folder::begin(directory.path(), 4096).expect("a recording");
    let mut file = folder.out("x").packed("a.txt", Packing::None).expect("a file");
    let line = "x".repeat(1000);
    let written = (0..100).take_while(|_| file.write_line(&line).is_ok()).count();
    assert_eq!(written, 5);
    assert!(folder.is_full() && folder.losses()[0].what.contains("--max-size"), "{:?}", folder.losses());
}

#[test]
fn no_path_leads_out_of_a_capture() {
    let directory = tempfile::tempdir().expect("a folder");
    let folder = Folder::begin(directory.path(), 1 << 30).expect("a recording");
    for path in ["", "../x", "/etc/x", "a/../../x", "."] {
        assert!(folder.out("x").file(path).is_err(), "{path}");
    }
}
