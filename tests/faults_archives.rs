//! Archives that were made to do harm, or that hold more than files: every entry is a source or a named loss.

use std::fs;
use std::io::Write;

use syncline_collector::bundle::{BundleOptions, Summary, bundle};
use syncline_schema::manifest::Source;
use tar::{EntryType, Header};

const CAPTURE: &str = "# SCRAPE 1795407710.5\n# TYPE work_total counter\nwork_total 1\n";

/// What is made of a file.
fn made(name: &str, bytes: &[u8], options: BundleOptions) -> Summary {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join(name);
    fs::write(&file, bytes).expect("written");
    bundle(&BundleOptions { inputs: vec![file], out: folder.path().join("bundle"), threads: 1, ..options })
        .expect("bundled")
}

/// A capture that differs from others: equal ones are one source.
fn capture(number: usize) -> String {
    CAPTURE.replace("work_total 1", &format!("work_total{{part=\"{number}\"}} {number}"))
}

fn header(name: &str, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_mtime(1_795_408_958);
    header.set_size(size);
    header.set_cksum();
    header
}

/// A header and what stands behind it, to the end of a block.
fn entry(header: &Header, content: &[u8]) -> Vec<u8> {
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn file(name: &str, content: &str) -> Vec<u8> {
    entry(&header(name, EntryType::Regular, content.len() as u64), content.as_bytes())
}

fn tar_of(entries: &[Vec<u8>]) -> Vec<u8> {
    [entries.concat(), vec![0; 1024]].concat()
}

fn source<'s>(summary: &'s Summary, path: &str) -> &'s Source {
    let found = summary.manifest.sources.iter().find(|source| source.path == path);
    found.unwrap_or_else(|| panic!("{path}: {:#?}", summary.manifest.sources))
}

/// Losses of a source, with how often.
fn losses(summary: &Summary, path: &str) -> Vec<(String, u64)> {
    let of = summary.manifest.losses.iter().filter(|loss| loss.source.as_deref() == Some(path));
    of.map(|loss| (loss.name.clone(), loss.count)).collect()
}

fn one(name: &str) -> Vec<(String, u64)> {
    vec![(name.to_owned(), 1)]
}

#[test]
fn whatever_is_in_a_tar_is_a_source_or_a_named_loss() {
    let mut link = header("linked", EntryType::Symlink, 0);
    link.set_link_name("/etc/passwd").expect("a link");
    link.set_cksum();
    let mut within = header("folder/within", EntryType::Symlink, 0);
    within.set_link_name("../last").expect("a link");
    within.set_cksum();
    let mut hard = header("again", EntryType::Link, 0);
    hard.set_link_name("plain").expect("a link");
    hard.set_cksum();
    let mut foreign = header("foreign", EntryType::Link, 0);
    foreign.set_link_name("/etc/shadow").expect("a link");
    foreign.set_cksum();
    let archive = tar_of(&[
        file("plain", &capture(1)),
        entry(&header("folder/", EntryType::Directory, 0), b""),
        entry(&header("contiguous", EntryType::Continuous, capture(2).len() as u64), capture(2).as_bytes()),
        entry(&header("unknown", EntryType::new(b'Z'), capture(3).len() as u64), capture(3).as_bytes()),
        entry(&header("device", EntryType::Char, 0), b""),
        entry(&header("disk", EntryType::Block, 0), b""),
        entry(&header("pipe", EntryType::Fifo, 0), b""),
        entry(&link, b""),
        entry(&within, b""),
        entry(&hard, b""),
        entry(&foreign, b""),
        file("../../outside", &capture(4)),
        file("/absolute", &capture(5)),
        file("con\u{1b}trol", &capture(6)),
        file("plain", &capture(7)),
        file("last", &capture(8)),
    ]);
    let summary = made("a.tar", &archive, BundleOptions::default());
    for name in ["plain", "contiguous", "unknown", "../../outside", "/absolute", "con\u{1b}trol", "last"] {
        assert_eq!(source(&summary, &format!("a.tar/{name}")).kind, "scrape", "{name}");
    }
    for (name, loss) in [
        ("device", "skipped-file"),
        ("disk", "skipped-file"),
        ("pipe", "skipped-file"),
        ("linked", "link-not-followed"),
        ("foreign", "link-not-followed"),
    ] {
        assert_eq!(losses(&summary, &format!("a.tar/{name}")), one(loss), "{name}");
    }
    for (name, target) in [("again", "a.tar/plain"), ("folder/within", "a.tar/last")] {
        assert_eq!(source(&summary, &format!("a.tar/{name}")).same_as.as_deref(), Some(target));
    }
    let twice: Vec<&Source> = summary.manifest.sources.iter().filter(|one| one.path == "a.tar/plain").collect();
    assert_eq!(twice.iter().map(|one| one.records > 0).collect::<Vec<_>>(), [true, false]);
    assert_eq!(losses(&summary, "a.tar/plain"), one("repeated-entry"));
    assert_eq!(losses(&summary, "a.tar"), []);
    assert_eq!(summary.manifest.sources.len(), 16);
}

#[test]
fn a_header_is_not_held_whatever_its_size() {
    let much = 8 << 20;
    let long = |kind: u8| {
        let header = header("x", EntryType::new(kind), much as u64);
        entry(&header, &vec![b'n'; much])
    };
    // A record of an extended header that says it is longer than the header.
    let lies = entry(&header("x", EntryType::XHeader, 20), b"999999 path=a/b/c.d\n");
    for (before, said) in
        [(long(b'L'), "expected at most"), (long(b'x'), "expected at most"), (lies, "records of an extended")]
    {
        let archive = tar_of(&[before, file("named", &capture(1)), file("next", &capture(2))]);
        let summary = made("a.tar", &archive, BundleOptions::default());
        assert_eq!(losses(&summary, "a.tar/named"), one("unreadable-entry"));
        assert!(summary.complaints.iter().any(|(_, what)| what.contains(said)), "{:?}", summary.complaints);
        assert_eq!(source(&summary, "a.tar/next").kind, "scrape");
    }
    // What is as long as a path may be is one.
    let name = format!("{}/named", "d".repeat(3000));
    let long = entry(&header("x", EntryType::GNULongName, name.len() as u64), name.as_bytes());
    let summary = made("a.tar", &tar_of(&[long, file("x", &capture(1))]), BundleOptions::default());
    assert_eq!(source(&summary, &format!("a.tar/{name}")).kind, "scrape");
}

#[test]
fn a_damaged_entry_costs_itself() {
    let mut damaged = file("damaged", &capture(1));
    damaged[10] ^= 1;
    let mut negative = header("negative", EntryType::Regular, 0);
    negative.as_old_mut().size = [0xff; 12];
    negative.set_cksum();
    let mut words = header("words", EntryType::Regular, 0);
    words.as_old_mut().size = *b"not a number";
    words.set_cksum();
    let archive = tar_of(&[
        file("first", &capture(2)),
        damaged,
        entry(&negative, capture(3).as_bytes()),
        entry(&words, capture(4).as_bytes()),
        file("last", &capture(5)),
    ]);
    let summary = made("a.tar", &archive, BundleOptions::default());
    assert_eq!(
        ["first", "last"].map(|name| source(&summary, &format!("a.tar/{name}")).kind.clone()),
        ["scrape", "scrape"]
    );
    assert_eq!(
        ["negative", "words"].map(|name| losses(&summary, &format!("a.tar/{name}"))),
        [one("unreadable-entry"), one("unreadable-entry")]
    );
    // The damaged header with its content, and the contents of the two that have no size.
    assert_eq!(losses(&summary, "a.tar"), [("unreadable-entry".to_owned(), 3)]);
    // A size that lies: what stands behind it is taken for its content, and the end is missed.
    let mut lies = header("lies", EntryType::Regular, 1 << 40);
    lies.set_cksum();
    let summary = made("a.tar", &tar_of(&[entry(&lies, capture(1).as_bytes())]), BundleOptions::default());
    assert_eq!(losses(&summary, "a.tar"), one("truncated-input"));
    let cut = tar_of(&[file("first", &capture(1)), file("second", &capture(2))]);
    let summary = made("a.tar", &cut[..1024], BundleOptions::default());
    assert_eq!(losses(&summary, "a.tar"), one("truncated-input"));
}

#[test]
fn sparse_files_are_read_with_their_holes() {
    let text = capture(1);
    let half = 512.min(text.len() as u64);
    assert_eq!(half, text.len() as u64, "one stretch is stored");
    // GNU's old format: empty lines are holes of zeros, so the capture stands at the end.
    let mut old = header("old", EntryType::GNUSparse, text.len() as u64);
    let gnu = old.as_gnu_mut().expect("a header of GNU");
    gnu.sparse[0].set_offset(0);
    gnu.sparse[0].set_length(text.len() as u64);
    gnu.set_real_size(text.len() as u64 + 700);
    old.set_cksum();
    let pax = |records: &[(&str, &str)], name: &str, content: &[u8]| {
        let mut text = String::new();
        for (key, value) in records {
            let bare = key.len() + value.len() + 3;
            let length = (bare..).find(|length| bare + length.to_string().len() == *length).expect("a length");
            text.push_str(&format!("{length} {key}={value}\n"));
        }
        [
            entry(&header("x", EntryType::XHeader, text.len() as u64), text.as_bytes()),
            entry(&header(name, EntryType::Regular, content.len() as u64), content),
        ]
        .concat()
    };
    let other = capture(2);
    let size = (other.len() + 300).to_string();
    let map = format!("0,{}", other.len());
    let pax01 = pax(
        &[("GNU.sparse.name", "pax01"), ("GNU.sparse.size", &size), ("GNU.sparse.map", &map)],
        "x",
        other.as_bytes(),
    );
    let third = capture(3);
    let mut ahead = format!("1\n0\n{}\n", third.len()).into_bytes();
    ahead.resize(512, 0);
    ahead.extend(third.as_bytes());
    let records = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "pax10"),
        ("GNU.sparse.realsize", size.as_str()),
    ];
    let pax10 = pax(&records, "x", &ahead);
    let wrong =
        pax(&[("GNU.sparse.name", "wrong"), ("GNU.sparse.size", "9"), ("GNU.sparse.map", "8,8")], "x", b"12345678");
    let archive = tar_of(&[entry(&old, text.as_bytes()), pax01, pax10, wrong, file("last", &capture(4))]);
    let summary = made("a.tar", &archive, BundleOptions::default());
    assert_eq!(source(&summary, "a.tar/old").bytes, text.len() as u64 + 700);
    for (name, capture) in [("pax01", &other), ("pax10", &third)] {
        assert_eq!(source(&summary, &format!("a.tar/{name}")).bytes, capture.len() as u64 + 300, "{name}");
    }
    for name in ["old", "pax01", "pax10", "last"] {
        assert_eq!(source(&summary, &format!("a.tar/{name}")).kind, "scrape", "{name}");
    }
    assert_eq!(losses(&summary, "a.tar/wrong"), one("unreadable-entry"));
}

#[test]
fn entries_beyond_the_room_for_them_are_counted() {
    let memory = 32 << 20;
    let entries: Vec<Vec<u8>> = (0..9000).map(|at| file(&at.to_string(), "")).collect();
    let tar = tar_of(&entries);
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for at in 0..9000 {
        zip.start_file(at.to_string(), zip::write::SimpleFileOptions::default()).expect("begun");
    }
    let zip = zip.finish().expect("closed").into_inner();
    for (name, bytes) in [("a.tar", &tar), ("a.zip", &zip)] {
        let summary = made(name, bytes, BundleOptions { memory, ..BundleOptions::default() });
        let listed = summary.manifest.sources.len() as u64 - 1;
        assert!((1000..8000).contains(&listed), "{name}: {listed}");
        assert_eq!(losses(&summary, name), [("too-many-files".to_owned(), 9000 - listed)]);
    }
}

fn zip_of(files: &[(&str, String)]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in files {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).expect("begun");
        archive.write_all(text.as_bytes()).expect("written");
    }
    archive.finish().expect("closed").into_inner()
}

/// Sets a byte of the header of a file of that name, and of its entry of the table.
fn altered(mut archive: Vec<u8>, name: &str, in_header: usize, in_table: usize, byte: u8) -> Vec<u8> {
    let mut places = memchr::memmem::find_iter(&archive, name).collect::<Vec<_>>().into_iter();
    let (header, table) = (places.next().expect("a header") - 30, places.next().expect("an entry") - 46);
    archive[header + in_header] = byte;
    archive[table + in_table] = byte;
    archive
}

#[test]
fn whatever_is_in_a_zip_is_a_source_or_a_named_loss() {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    archive.add_directory("folder", options).expect("a folder");
    archive.add_symlink("link", "/etc/passwd", options).expect("a link");
    for (at, name) in ["secret", "method", "pipe", "../up", "plain"].into_iter().enumerate() {
        archive.start_file(name, options.unix_permissions(0o644)).expect("begun");
        archive.write_all(capture(at).as_bytes()).expect("written");
    }
    let archive = archive.finish().expect("closed").into_inner();
    let archive = altered(archive, "secret", 6, 8, 1);
    let archive = altered(archive, "method", 8, 10, 12);
    // The mode of a FIFO, which stands in the table alone.
    let mut archive = archive;
    let at = memchr::memmem::rfind(&archive, b"pipe").expect("an entry") - 46;
    archive[at + 41] = 0x11;
    let summary = made("a.zip", &archive, BundleOptions::default());
    for (name, loss) in [
        ("link", "link-not-followed"),
        ("secret", "unreadable-entry"),
        ("method", "unreadable-entry"),
        ("pipe", "skipped-file"),
    ] {
        assert_eq!(losses(&summary, &format!("a.zip/{name}")), one(loss), "{name}");
    }
    assert_eq!(
        ["../up", "plain"].map(|name| source(&summary, &format!("a.zip/{name}")).kind.clone()),
        ["scrape", "scrape"]
    );
    assert_eq!(summary.manifest.sources.len(), 7);
}

#[test]
fn entries_that_claim_the_same_bytes_are_refused() {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    for (at, name) in ["first", "kernel", "last"].into_iter().enumerate() {
        archive.start_file(name, options).expect("begun");
        archive.write_all(capture(at).as_bytes()).expect("written");
    }
    for at in 0..3 {
        archive.shallow_copy_file("kernel", &format!("copy-{at}")).expect("copied");
    }
    let archive = archive.finish().expect("closed").into_inner();
    let summary = made("a.zip", &archive, BundleOptions::default());
    for name in ["kernel", "copy-0", "copy-1", "copy-2"] {
        assert_eq!(losses(&summary, &format!("a.zip/{name}")), one("overlapping-entries"), "{name}");
    }
    assert_eq!(
        ["first", "last"].map(|name| source(&summary, &format!("a.zip/{name}")).kind.clone()),
        ["scrape", "scrape"]
    );
}

#[test]
fn a_zip_is_found_where_its_end_says_and_nowhere_else() {
    let plain = zip_of(&[("a", capture(1)), ("b", capture(2))]);
    let kinds = |bytes: &[u8]| {
        let summary = made("x.zip", bytes, BundleOptions::default());
        summary.manifest.sources.iter().filter(|source| source.kind == "scrape").count()
    };
    assert_eq!(kinds(&plain), 2);
    let unlisted = |bytes: &[u8]| {
        let summary = made("x.zip", bytes, BundleOptions::default());
        let told = summary.complaints.iter().map(|(_, what)| what.clone()).collect::<String>();
        (losses(&summary, "x.zip"), told)
    };
    assert_eq!(unlisted(&plain), (Vec::new(), String::new()));
    // Something ahead of it, as of an archive that unpacks itself; the beginning still looks like a zip.
    let ahead = [b"PK\x03\x04 unpack me".as_slice(), &[b'#'; 3000], &plain].concat();
    assert_eq!(kinds(&ahead), 2);
    let (lost, told) = unlisted(&ahead);
    assert!(lost == one("unlisted-bytes") && told.contains("3014 bytes") && told.contains("at byte 0"), "{told}");
    // Something between the table and its end.
    let end = plain.len() - 22;
    let signed = [&plain[..end], b"signature", &plain[end..], b"more"].concat();
    assert_eq!(kinds(&signed), 2);
    let (lost, told) = unlisted(&signed);
    assert!(lost == [("unlisted-bytes".to_owned(), 2)] && told.contains(": 13 bytes"), "{lost:?} {told}");
    // An entry that the table does not list: what stands behind the first one is another archive's.
    let table = memchr::memmem::find(&plain, b"PK\x01\x02").expect("a table");
    let hidden = [&plain[..table], &zip_of(&[("c", capture(3))]), &plain[table..]].concat();
    let (lost, _) = unlisted(&hidden);
    assert_eq!(lost, one("unlisted-bytes"));
    // Whatever looks like an entry of a table is none.
    let noise = [b"PK\x03\x04".as_slice(), &b"PK\x01\x02".repeat(20_000), &plain[end..]].concat();
    let summary = made("x.zip", &noise, BundleOptions::default());
    assert_eq!(losses(&summary, "x.zip"), one("truncated-input"));
    // The end of a zip64 of which the end says that it is larger than all that there is.
    let mut far = plain[..end].to_vec();
    far.resize(end + (2 << 20), 0);
    far.extend(b"PK\x06\x07\0\0\0\0");
    far.extend(4u64.to_le_bytes());
    far.extend(1u32.to_le_bytes());
    far.extend(&plain[end..]);
    let summary = made("x.zip", &far, BundleOptions::default());
    assert_eq!(losses(&summary, "x.zip"), one("truncated-input"));
    assert!(summary.complaints.iter().any(|(_, what)| what.contains("zip64")), "{:?}", summary.complaints);
}

#[test]
fn a_second_capture_toml_is_named() {
    let stated = |node: &str| ("capture.toml", format!("node = \"{node}\"\n"));
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let inner = zip_of(&[stated("inner"), ("b", capture(2))]);
    for (name, content) in
        [("a", capture(1).into_bytes()), ("inner.zip", inner), ("capture.toml", stated("outer").1.into())]
    {
        archive.start_file(name, zip::write::SimpleFileOptions::default()).expect("begun");
        archive.write_all(&content).expect("written");
    }
    let summary = made("a.zip", &archive.finish().expect("closed").into_inner(), BundleOptions::default());
    assert!(summary.manifest.nodes.contains(&"outer".to_owned()), "{:?}", summary.manifest.nodes);
    assert_eq!(losses(&summary, "a.zip/capture.toml"), []);
    assert_eq!(losses(&summary, "a.zip/inner.zip/capture.toml"), one("statement-refused"));
    let told = &summary.complaints[0].1;
    assert!(told.contains("not used: a.zip/capture.toml is the one of this run"), "{told}");
    // One that is not looked for, since it lies in an archive within another.
    let lone = zip_of(&[stated("lone"), ("a", capture(1))]);
    let nested = tar_of(&[entry(&header("b.zip", EntryType::Regular, lone.len() as u64), &lone)]);
    let summary = made("a.tar", &nested, BundleOptions::default());
    assert_eq!(losses(&summary, "a.tar/b.zip/capture.toml"), one("statement-refused"));
}

#[test]
fn what_is_put_aside_has_a_size_at_most() {
    let zip = zip_of(&[("a", capture(1))]);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&zip).expect("packed");
    let packed = packed.finish().expect("packed");
    let summary = made("a.zip.gz", &packed, BundleOptions { scratch: 20, ..BundleOptions::default() });
    let found = losses(&summary, "a.zip.gz");
    assert!(found.contains(&("scratch-full".to_owned(), 1)), "{found:?}");
    let summary = made("a.zip.gz", &packed, BundleOptions { scratch: 2000, ..BundleOptions::default() });
    assert_eq!(source(&summary, "a.zip.gz/a").kind, "scrape");
}

#[test]
fn archives_in_archives_are_read_to_a_depth() {
    let mut inner = tar_of(&[file("a", &capture(1))]);
    for depth in 0..6 {
        let content = inner;
        inner = tar_of(&[entry(&header(&format!("{depth}.tar"), EntryType::Regular, content.len() as u64), &content)]);
    }
    let summary = made("a.tar", &inner, BundleOptions::default());
    let last = summary.manifest.sources.last().expect("a source");
    assert_eq!((last.path.as_str(), last.kind.as_str()), ("a.tar/5.tar/4.tar/3.tar/2.tar", "unread"));
    assert_eq!(losses(&summary, &last.path), one("unread-file"));
    assert!(last.nearest.as_deref().is_some_and(|what| what.contains("too many other archives")), "{last:?}");
}
