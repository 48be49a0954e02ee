//! Captures as people have them: without `capture.toml`, or packed into one archive.

use std::io::Write;
use std::path::{Path, PathBuf};

use syncline::bundle::MEMORY;
use syncline::measure::Measurement;
use syncline::result::load::{load, nothing};

fn sample(run: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("in the workspace").join("sample-data").join(run)
}

fn propagation(capture: PathBuf) -> Measurement {
    let rows = load(&[capture], &nothing, None, MEMORY).expect("a capture that loads").results.remove(0).measurements;
    rows.into_iter().find(|row| row.name == "endpoint_propagation" && row.variant.is_empty()).expect("a row")
}

/// The files of a run with their paths, sorted.
fn files(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(one) = folders.pop() {
        for entry in std::fs::read_dir(one).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("below").to_string_lossy().replace('\\', "/");
                found.push((name, path));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn nobody_named_the_node_of_a_cluster_that_has_one() {
    for run in ["iptables-scale-up-1", "cilium-scale-up-1", "nftables-scale-up-1"] {
        let place = tempfile::tempdir().expect("a folder");
        for (name, path) in files(&sample(run)) {
            if name == "capture.toml" {
                continue;
            }
            let copy = place.path().join("capture").join(name);
            std::fs::create_dir_all(copy.parent().expect("a folder")).expect("made");
            std::fs::copy(path, copy).expect("copied");
        }
        let (whole, bare) = (propagation(sample(run)), propagation(place.path().join("capture")));
        assert_eq!(whole.n, bare.n, "{run}");
        // kube-proxy's log is dated by what lies beside it, and its lines relate the clocks; Cilium's side has no such log.
        let circular = bare.notes.iter().any(|note| note.starts_with("circular"));
        assert_eq!(circular, run.starts_with("cilium"), "{run}: {:?}", bare.notes);
        for (name, known) in &whole.quantiles {
            let found = bare.quantiles.get(name).unwrap_or_else(|| panic!("{run}: {name}"));
            let (low, high) = (found.low.expect("a lower end"), found.high.expect("an upper end"));
            let value = known.value.expect("a value");
            assert!(low <= value && value <= high, "{run}: {name} is {value}, without statements {found:?}");
            assert!(low >= -1e-9 && high - low < 0.6, "{run}: {name} without statements {found:?}");
        }
    }
}

#[test]
fn a_packed_run_says_what_its_folder_says() {
    let run = "cilium-scale-up-1";
    let place = tempfile::tempdir().expect("a folder");
    let packed = [place.path().join("run.tar.gz"), place.path().join("run.tar"), place.path().join("run.zip")];
    let mut plain = tar::Builder::new(Vec::new());
    let mut zipped = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, path) in files(&sample(run)) {
        let name = format!("{run}/{name}");
        plain.append_path_with_name(&path, &name).expect("appended");
        zipped.start_file(name, zip::write::SimpleFileOptions::default()).expect("begun");
        zipped.write_all(&std::fs::read(path).expect("a file")).expect("written");
    }
    let plain = plain.into_inner().expect("a tar");
    let mut gzipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzipped.write_all(&plain).expect("written");
    std::fs::write(&packed[0], gzipped.finish().expect("packed")).expect("written");
    std::fs::write(&packed[1], plain).expect("written");
    std::fs::write(&packed[2], zipped.finish().expect("packed").into_inner()).expect("written");
    let whole = propagation(sample(run));
    assert!(whole.missing.is_none());
    for archive in packed {
        let found = propagation(archive.clone());
        assert_eq!((found.n, &found.quantiles), (whole.n, &whole.quantiles), "{}", archive.display());
    }
}
