//! Losses: every way in which a capture can say less than it seems to, as a named counter.

use crate::Text;

/// How much a loss matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Figures may be less precise or less complete.
    Warning,
    /// Figures may be wrong or absent.
    Error,
}

impl Severity {
    /// The word in manifests and reports.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// A kind of loss.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// Stable name, kebab-case.
    pub name: &'static str,
    pub severity: Severity,
    /// What it means for the figures.
    pub meaning: &'static str,
    /// What to do differently next time.
    pub remedy: &'static str,
}

macro_rules! losses {
    ($( $const:ident = $name:literal, $severity:ident, $meaning:literal, $remedy:literal; )+) => {
        $( #[doc = $meaning] pub const $const: Loss = Loss { name: $name, severity: Severity::$severity, meaning: $meaning, remedy: $remedy }; )+
        /// All losses that the collector counts.
        pub const ALL: &[Loss] = &[$($const),+];
    };
}

losses! {
    REJECTED_RECORDS = "rejected-records", Warning, "Records that could not be parsed; what is good around them was kept.", "Look at the table rejects; capture the file again, or report the format.";
    UNREAD_FILE = "unread-file", Info, "A file of no known format; nothing in it was used.", "Name its kind with --source KIND=GLOB if it is one that `formats` lists.";
    SKIPPED_FILE = "skipped-file", Info, "A hidden file or folder, or a pipe, socket or device in a capture directory or an archive: not read.", "Name it as an argument of its own if it is a capture.";
    LINK_NOT_FOLLOWED = "link-not-followed", Warning, "A link that leads out of what was given, or a link in an archive: what it leads to was not read there.", "Give --follow if that was meant, or what it leads to as an argument; in an archive it is read where it lies itself, if it does.";
    UNREADABLE_FOLDER = "unreadable-folder", Error, "A folder that could not be read, or not to its end: what is in it was not used.", "Permit it to be read, or copy it as a user who may.";
    TOO_MANY_FILES = "too-many-files", Error, "Files for which the memory limit had no room, whatever is in them: not read.", "Raise --memory, or bundle parts of the capture one by one.";
    TOO_MANY_SECTIONS = "too-many-sections", Error, "A session, recording or dump of more than 131,072 commands, screens or files: those behind were not read.", "Cut it in parts, and bundle them as files of one capture.";
    GROWING_FILE = "growing-file", Info, "A file grew while it was read: what it held when it was opened was used.", "Stop the capture ahead of bundling it.";
    EXPANDED_TOO_FAR = "expanded-too-far", Error, "A file that unpacks to more than 1,000 times its size (small ones to 256 MiB more in all), or is as sparse: what came first was used.", "Unpack it first if that is right, and give what is in it.";
    SCRATCH_FULL = "scratch-full", Error, "What must be read at many places and lies in an archive (a database, a zip) needs more scratch space than allowed: what came first was used.", "Raise --scratch, or unpack the archive and give the folder.";
    UNREADABLE_ENTRY = "unreadable-entry", Warning, "An entry of an archive that is damaged, encrypted or packed in a way that is not known: not read; the others were.", "Unpack the archive with the program that made it, and give the folder.";
    OVERLAPPING_ENTRIES = "overlapping-entries", Error, "Entries of a zip that claim the same bytes, as only an archive has that was made to do harm: none of them was read.", "Ask whoever made the archive for the files.";
    UNLISTED_BYTES = "unlisted-bytes", Warning, "Bytes of a zip that its table of contents does not list: of entries that were deleted or hidden, of what unpacks it, or of a signature. They were not read.", "If something is missing, unpack it with a program that reads archives from their beginning (bsdtar, jar), and give the folder.";
    REPEATED_ENTRY = "repeated-entry", Warning, "An entry of an archive with the name of one ahead of it: only the first was read.", "Unpack the archive (the last one stays) and give the folder.";
    STATEMENT_REFUSED = "statement-refused", Error, "Lines of capture.toml that could not be used, or a second one: the others count.", "Mend the lines that rejects lists; give one capture.toml, as a file beside those that it is about.";
    TRUNCATED_INPUT = "truncated-input", Warning, "A file ends in the middle of a record or of a compressed frame; what came before was kept.", "Stop the capture before copying its files.";
    EMPTY_FILE = "empty-file", Info, "A file without a byte.", "Check that the command which should have written it ran.";
    LOST_TRACE_EVENTS = "lost-trace-events", Error, "bpftrace dropped events: counts from this trace are lower bounds.", "Raise BPFTRACE_PERF_RB_PAGES, or trace fewer events.";
    LOST_FLOWS = "lost-flows", Warning, "Hubble dropped flows: counts from flows are lower bounds.", "Raise hubble-event-buffer-capacity, or filter the export.";
    SCRAPE_GAP = "scrape-gap", Info, "Scrapes are further apart than twice their median interval.", "Scrape from a machine that is not under the test's load.";
    SNAPSHOT_GAP = "snapshot-gap", Info, "Snapshots are further apart than five times their median interval: bounds are wider there.", "Snapshot one chain instead of the whole table.";
    TIME_FROM_MTIME = "time-from-mtime", Warning, "The only time of a file is its modification time, which copying may have changed.", "Print `date +%s.%N` ahead of each snapshot, or name the files after it.";
    NO_TIME = "no-time", Warning, "Records without a time of their own: they prove no order.", "Print a time stamp ahead of them.";
    NO_YEAR = "no-year", Warning, "Log lines without year or zone: their times were not used.", "Write year and timezone to capture.toml.";
    AUDIT_WITHOUT_BODIES = "audit-without-bodies", Warning, "Audit events of the level Metadata carry no bodies: changes of endpoints cannot be read from them.", "Set RequestResponse in the audit policy: rules: [{level: RequestResponse, resources: [{group: discovery.k8s.io, resources: [endpointslices]}, {group: \"\", resources: [endpoints, pods, pods/binding, services]}, {group: apps, resources: [deployments, deployments/scale]}, {group: coordination.k8s.io, resources: [leases]}]}].";
    CAPPED_EXPORT = "capped-export", Warning, "An export holds exactly as many rows as its service gives at most: there were more.", "Export in shorter spans of time, or from S3.";
    WHOLE_SECONDS = "whole-seconds", Info, "Times in whole seconds: each is known to a second only.", "Use `date +%s.%N`.";
    DELETED_SAMPLES = "deleted-samples", Info, "Samples that had been deleted in Prometheus (tombstones); they were left out.", "Take the snapshot ahead of deleting series.";
    STALE_OR_NAN = "stale-or-nan", Info, "A dump prints staleness markers as NaN; both were read as NaN.", "Give the database itself (a snapshot) instead of its dump.";
    START_TIMES = "start-times", Info, "Start times of samples that no clock can show, left out.", "Nothing: rates are computed without them.";
    BACKENDS_MAP_MISSING = "backends-map-missing", Warning, "Dumps of the map of services alone: it names backends by number, and no address can be told.", "Dump cilium_lb4_backends_v3 (and cilium_lb6_…) behind it in the same stream, or use cilium-dbg bpf lb list.";
    SERVICES_MAP_MISSING = "services-map-missing", Warning, "Dumps of load-balancer maps without that of services: which Service a backend belongs to cannot be told.", "Dump cilium_lb4_services_v2 (and cilium_lb6_…) in the same stream, or use cilium-dbg bpf lb list.";
    KIND_NOT_USED = "kind-not-used", Info, "Kubernetes objects of kinds, or ConfigMaps, that nothing is read from.", "Nothing: they do not tell of the dataplane.";
    SAME_CONTENT = "same-content", Info, "A file with the same content as another one of the capture: it is one source under two paths, and was read once.", "Nothing.";
    FOREIGN_LINES = "foreign-lines", Info, "Objects of no known format between the lines of a log: kept as messages, nothing else was read from them.", "Nothing, unless they are a capture: then give them a file of their own.";
    LOG_BEGINS_LATE = "log-begins-late", Warning, "A log begins in the middle (kubectl logs --tail, or rotated): what it does not show may have been written before.", "Take the whole log: kubectl logs --timestamps without --tail, from ahead of the action.";
    NOT_UNDERSTOOD = "not-understood", Warning, "Lines in a snapshot that are no part of its format: the snapshot is incomplete, since they may stand for what is missing.", "Keep standard error apart (2>errors.txt), and one command's output in one file.";
    CLEANED_LINES = "cleaned-lines", Info, "Warnings of standard error in the middle of a line of a snapshot: cut out, and the line joined again.", "Keep standard error apart: 2>errors.txt.";
    ROUNDED_COUNTERS = "rounded-counters", Info, "Counters that were printed rounded (271K is 271,000 ± 500): kept as text, without a value.", "Add -x to iptables -L.";
    NO_PROBE_ATTACHED = "no-probe-attached", Warning, "bpftrace found no probe of the script: it traced nothing.", "Name probes that exist (bpftrace -l 'kprobe:*'). BPF programs are no kernel functions: for their run time set sysctl kernel.bpf_stats_enabled=1 and take bpftool prog show -j before and after.";
    DIFF_OF_LISTINGS = "diff-of-listings", Warning, "A unified diff shows what changed and a few lines around it: what it does not show may be there.", "Give the two listings themselves.";
    CUT_LIST = "cut-list", Info, "Lists that kubectl cut (`+ 41 more...`): such a row proves only the addresses that it shows.", "Use kubectl get -o json, or -o wide for names.";
    WATCH_GAP = "watch-gap", Warning, "A watch broke off and could not be resumed where it ended (410 Gone, an error): of what changed meanwhile only the last state is known.", "Nothing where few were lost; else record again when the API server is at rest.";
    RECORDER_GAP = "recorder-gap", Warning, "A source of the recorder gave nothing for a while: what happened then was not seen by it.", "Look at what the recorder said of that source, and record again.";
    RECORDER_SLOWED = "recorder-slowed", Info, "The recorder looked less often than it was asked to, so that it cost less: bounds are wider.", "Raise --max-cpu, or name fewer Services.";
    RECORDER_FULL = "recorder-full", Error, "The disk, or what --max-size allows, was full: the recording ends early or lacks records.", "Make room, or raise --max-size.";
    SOURCE_NOT_RECORDED = "source-not-recorded", Info, "A source that the recorder did not find, or may not read: what it would have shown is not in the capture.", "Do what the recorder said of that source; `doctor` says it ahead of a recording.";
    IMPOSSIBLE_TIME = "impossible-time", Warning, "Times before 1938 or after 2100: rows that have no other time were left out, of others this time.", "Look at the clock of what was captured, or at the file: such a time is damage.";
    UNLISTED_REJECTS = "unlisted-rejects", Info, "Rejected records beyond the first 10,000 of a stretch of 4 MiB: counted in rejected-records, and not listed in the table rejects.", "Look at the first ones in the table rejects: the others are hardly of another kind.";
    TOO_MUCH_BUILT = "too-much-built", Warning, "Rows beyond 64 times the bytes that they are made of: a stretch that names a thing once and lists ever more of it. They were left out.", "Nothing, where the capture is a stranger's; else give the program's own output, or report the format.";
    MEMORY_USED_UP = "memory-used-up", Error, "Series, states or stamps beyond what --memory allows to keep at once; they were left out.", "Raise --memory, or bundle fewer files at once.";
    RECORD_TOO_LONG = "record-too-long", Warning, "A record that is longer, or makes more rows, than the memory limit allows; it was skipped.", "Raise --memory.";
}

table! {
    /// One counted loss.
    pub struct LossRow<'a> in "losses" {
        /// Index of the source; null where it concerns the whole bundle.
        source: Option<i32>,
        /// Stable name.
        name: Text<'a>,
        /// `info`, `warning` or `error`.
        severity: Text<'a>,
        /// How often.
        count: i64,
        /// What it means for the figures.
        meaning: Text<'a>,
        /// What to do differently next time.
        remedy: Text<'a>,
    }
}
