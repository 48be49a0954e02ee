//! The audit log, where it is a file on this machine: copied as it grows, from the recording's start on, without secrets.
//!
//! Whole lines only. Rotation is followed both ways: the file is renamed and a new one begins (lumberjack, which the API server
//! uses), or it is copied and cut to nothing. Bodies of Secrets and tokens are taken out ahead of writing; a line that
//! is no JSON is left out and counted.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;
use syncline_schema::loss::RECORDER_GAP;

use super::folder::Out;
use super::plan::Plan;
use super::secrets;
use super::source::{Found, Lack, Source};
use super::stop::Stop;

/// The audit log.
pub const SOURCE: Source = Source {
    name: "audit-log",
    kinds: &["audit"],
    about: "the API server's audit log, where it is a file on this machine",
    cadence: Some(Duration::from_millis(500)),
    prepares: false,
    needs,
    run,
};

/// What to do where it is no file here.
pub const LATER: &str = "export it later and drop the file into the capture: EKS: aws logs filter-log-events --log-group-name \
/aws/eks/CLUSTER/cluster --log-stream-name-prefix kube-apiserver-audit --start-time MS --end-time MS; AKS: table AKSAudit (category \
kube-audit) of the Log Analytics workspace as JSON; GKE: gcloud logging read 'resource.type=\"k8s_cluster\" \
logName:\"cloudaudit.googleapis.com\"' --format json; beacons bound the commits without it";

/// Longest line: an audit event with its bodies has at most a few MB.
const LONGEST: usize = 32 << 20;

fn needs(plan: &Plan) -> Result<Found, Lack> {
    let Some(path) = &plan.audit_log else {
        return Err(Lack::new("no audit log: --audit-log was not given", LATER));
    };
    match File::open(path).and_then(|file| file.metadata()) {
        Ok(found) if found.is_file() => Ok(format!("{}, {} bytes so far", path.display(), found.len())),
        Ok(_) => Err(Lack::new(
            format!("{} is no file", path.display()),
            "name the file that --audit-log-path of the API server names",
        )),
        Err(error) => Err(Lack::new(format!("{}: {error}", path.display()), LATER)),
    }
}

fn run(plan: &Plan, out: &mut Out, stop: &Stop) -> anyhow::Result<()> {
    let path = plan.audit_log.as_ref().context("no --audit-log")?;
    let mut file = out.file("k8s/audit.jsonl")?;
    let mut tail = Tail::at_end(path).with_context(|| path.display().to_string())?;
    let mut next = Instant::now();
    loop {
        let goes_on = stop.beat(&mut next, plan.every(SOURCE.name));
        let mut damaged = 0;
        let seen = tail.read(|line| match clean(line) {
            Some(text) => file.write_line(&text),
            None => {
                damaged += 1;
                Ok(())
            }
        });
        if damaged > 0 {
            out.lost(
                RECORDER_GAP,
                damaged,
                "lines of the audit log that are no JSON, or too long: left out, since they may hold secrets",
            );
        }
        match seen.with_context(|| path.display().to_string())? {
            Seen::Grown => out.tick(),
            Seen::Nothing => {}
            Seen::Cut => {
                out.tick();
                out.lost(RECORDER_GAP, 1, "the audit log was cut: what it got between two looks may be missing");
            }
        }
        if !goes_on {
            return Ok(());
        }
    }
}

/// A line without secrets; null where it cannot be understood.
fn clean(line: &[u8]) -> Option<String> {
    let mut event: Value = serde_json::from_slice(line).ok()?;
    secrets::of_object(&mut event);
    Some(event.to_string())
}

/// What a look at the file found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Nothing,
    Grown,
    /// It became shorter.
    Cut,
}

/// The end of a file that grows.
struct Tail {
    path: PathBuf,
    reader: BufReader<File>,
    /// Device and inode.
    identity: (u64, u64),
    /// Bytes of the file that were read.
    read: u64,
    /// A line whose end has not come.
    part: Vec<u8>,
    /// The part is longer than a line may be: its rest is skipped.
    skipping: bool,
}

impl Tail {
    /// From the beginning of the last line on.
    fn at_end(path: &Path) -> io::Result<Self> {
        let mut tail = Self::open(path)?;
        // The recording begins now: what stands there already is older. Of a line that is being written the rest would be no JSON.
        let end = tail.reader.seek(SeekFrom::End(0))?;
        let back = end.saturating_sub(1 << 20);
        tail.reader.seek(SeekFrom::Start(back))?;
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(&mut tail.reader, end - back), &mut bytes)?;
        let start = memchr::memrchr(b'\n', &bytes).map_or(0, |at| at as u64 + 1);
        tail.read = back + start;
        tail.reader.seek(SeekFrom::Start(tail.read))?;
        Ok(tail)
    }

    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let found = file.metadata()?;
        Ok(Self {
            path: path.to_owned(),
            reader: BufReader::with_capacity(1 << 16, file),
            identity: (found.dev(), found.ino()),
            read: 0,
            part: Vec::new(),
            skipping: false,
        })
    }

    /// Gives every line that became whole since the last look; one that is too long as an empty one.
    fn read(&mut self, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<Seen> {
        let mut seen = Seen::Nothing;
        if self.reader.get_ref().metadata()?.len() < self.read {
            self.reader.seek(SeekFrom::Start(0))?;
            (self.read, self.skipping) = (0, false);
            self.part.clear();
            seen = Seen::Cut;
        }
        if self.rest(&mut each)? && seen == Seen::Nothing {
            seen = Seen::Grown;
        }
        // Renamed: the old file was read to its end above, the new one from its beginning. Absent for a moment: it comes.
        let renamed = std::fs::metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) != self.identity);
        if renamed && let Ok(new) = Self::open(&self.path) {
            // What was written between that look and now.
            self.rest(&mut each)?;
            *self = new;
            self.rest(&mut each)?;
            seen = if seen == Seen::Cut { Seen::Cut } else { Seen::Grown };
        }
        Ok(seen)
    }

    fn rest(&mut self, each: &mut impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<bool> {
        let mut any = false;
        loop {
            let piece = self.reader.fill_buf()?;
            if piece.is_empty() {
                return Ok(any);
            }
            let end = memchr::memchr(b'\n', piece).map(|at| at + 1);
            let used = end.unwrap_or(piece.len());
            if !self.skipping {
                self.part.extend_from_slice(&piece[..used]);
            }
            self.reader.consume(used);
            self.read += used as u64;
            if self.part.len() > LONGEST {
                self.part.clear();
                self.skipping = true;
            }
            if end.is_some() {
                let line = std::mem::take(&mut self.part);
                if !line.trim_ascii().is_empty() || self.skipping {
                    each(line.trim_ascii())?;
                    any = true;
                }
                self.skipping = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Seen, Tail, clean};
    use std::io::Write as _;

    fn lines(tail: &mut Tail) -> (Vec<String>, Seen) {
        let mut found = Vec::new();
        let seen = tail
            .read(|line| {
                found.push(String::from_utf8_lossy(line).into_owned());
                Ok(())
            })
            .unwrap();
        (found, seen)
    }

    #[test]
    fn a_log_is_followed_through_rotation_and_cuts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let append = |text: &str| {
            std::fs::File::options().create(true).append(true).open(&path).unwrap().write_all(text.as_bytes()).unwrap();
        };
        append("old\nhalf");
        let mut tail = Tail::at_end(&path).unwrap();
        assert_eq!(lines(&mut tail), (vec![], Seen::Nothing));
        append(" way\nnew");
        assert_eq!(lines(&mut tail), (vec!["half way".to_owned()], Seen::Grown));
        append("er\n");
        // Renamed: what came last to the old file and first to the new one.
        append("last\n");
        std::fs::rename(&path, folder.path().join("audit-1.log")).unwrap();
        append("first\n");
        assert_eq!(lines(&mut tail).0, ["newer", "last", "first"]);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(lines(&mut tail), (vec![], Seen::Nothing));
        append("again\n");
        assert_eq!(lines(&mut tail).0, ["again"]);
        // Copied and cut.
        std::fs::write(&path, "x\n").unwrap();
        assert_eq!(lines(&mut tail), (vec!["x".to_owned()], Seen::Cut));
    }

    #[test]
    fn secrets_do_not_come_along() {
        let line = br#"{"kind":"Event","objectRef":{"resource":"secrets"},"responseObject":{"data":{"a":"SECRET"}},"requestURI":"/x"}"#;
        let text = clean(line).unwrap();
        assert!(text.contains("requestURI") && !text.contains("SECRET"));
        assert_eq!(clean(b"not json SECRET"), None);
    }
}
