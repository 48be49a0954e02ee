//! Tests of sources: a fake machine, a recording of one source, and its bundle.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use syncline_schema::manifest::Manifest;
use tempfile::TempDir;

use crate::bundle::{BundleOptions, bundle};
use crate::record::folder::Folder;
use crate::record::host::Host;
use crate::record::plan::Plan;
use crate::record::source::Source;
use crate::record::stop::Stop;

/// A machine of folders and shell scripts.
pub struct Machine {
    pub folder: TempDir,
}

impl Machine {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["proc/net", "sys", "cgroup", "tools"] {
            std::fs::create_dir_all(folder.path().join(name)).expect("a folder");
        }
        Self { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file below its root.
    pub fn file(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        std::fs::write(path, text).expect("a file");
    }

    /// A tool: a script of the shell.
    pub fn tool(&self, name: &str, script: &str) {
        let path = self.path().join("tools").join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a tool");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a tool");
    }

    pub fn plan(&self) -> Plan {
        let root = self.path();
        let mut plan = Plan::of(Host {
            proc: root.join("proc"),
            sys: root.join("sys"),
            cgroup: root.join("cgroup"),
            netns: None,
            tools: Some(vec![root.join("tools")]),
        });
        for source in crate::record::sources::SOURCES {
            plan.cadences.insert(source.name.to_owned(), Duration::from_millis(5));
        }
        plan
    }
}

/// What a source did.
pub struct Recorded {
    pub folder: TempDir,
    /// How it ended.
    pub ended: anyhow::Result<()>,
    /// Losses that it named.
    pub losses: Vec<String>,
}

/// Runs a source until it has ticked so often, or has ended by itself.
pub fn record(source: &Source, plan: &Plan, ticks: u64) -> Recorded {
    let folder = tempfile::tempdir().expect("a folder");
    let to = Folder::begin(&folder.path().join("capture"), 1 << 30).expect("a recording");
    let stop = Stop::default();
    let mut out = to.out(source.name);
    let ended = std::thread::scope(|scope| {
        let running = scope.spawn(|| (source.run)(plan, &mut out, &stop));
        // Generous: nothing is said of how fast it is.
        let until = Instant::now() + Duration::from_secs(120);
        let enough = |to: &Arc<Folder>| to.tallies().iter().any(|(_, tally)| tally.ticks >= ticks);
        while !enough(&to) && !running.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        stop.set();
        running.join().expect("no panic")
    });
    to.finish();
    let losses = to.losses().into_iter().map(|lost| lost.what).collect();
    Recorded { folder, ended, losses }
}

impl Recorded {
    /// Bundles it; a test of every source: what it names is what is read, and nothing is refused.
    pub fn manifest(&self, source: &Source) -> Manifest {
        let options = BundleOptions {
            inputs: vec![self.folder.path().join("capture")],
            out: self.folder.path().join("bundle"),
            threads: 1,
            ..BundleOptions::default()
        };
        let summary = bundle(&options).expect("a bundle");
        assert_eq!(summary.rejected, 0, "{:?}", summary.manifest.losses);
        for one in summary.manifest.sources.iter().filter(|one| !one.path.ends_with("recording.jsonl")) {
            assert!(source.kinds.contains(&one.kind.as_str()), "{} is read as {}", one.path, one.kind);
        }
        summary.manifest
    }

    /// A file as it was recorded.
    pub fn text(&self, path: &str) -> String {
        let path = self.folder.path().join("capture").join(path);
        let file = std::fs::File::open(&path).unwrap_or_else(|_| panic!("{}", path.display()));
        let text = zstd::stream::decode_all(file).expect("a whole frame");
        String::from_utf8(text).expect("text")
    }
}
