//! A capture whose every string is hostile, and what no output may hold of it.

use std::fs;
use std::path::{Path, PathBuf};

use syncline_schema::printable::is_shown;

/// What a stranger puts into a name: ESC and CSI, overrides and isolates of direction, zero-width characters, tags, a line separator, markup,
/// links, columns, a formula.
pub const EVIL: &str = "\u{1b}[2J\u{9b}31m\u{7}\u{7f}\u{202e}gpj\u{2066}\u{2069}\u{200b}\u{200f}\u{61c}\u{feff}\u{ad}\u{e0041}\u{2028}\u{fffe}<img src=x onerror=alert(1)><script>alert(1)</script>[x](javascript:alert(1))![y](http://evil.example/p.gif)|`'\"@all";
/// The same where a name may have neither quotes nor blanks.
const WORD: &str = "\u{202e}\u{200b}\u{9b}\u{7f}\u{2067}<img/src=x/onerror=alert(1)>|`[x](javascript:alert(1))";
/// As a cell of a spreadsheet, and as an argument.
pub const FORMULA: &str = "=HYPERLINK(\"http://evil.example\",\"x\")";

/// Notes that try everything.
pub const NOTES: &str = "# Why \u{202e}\u{1b}[2J\n\n<script>alert(1)</script>\n\n[a](javascript:alert(1)) [b](data:text/html,x) [c](../up) [d][e] <javascript:alert(1)>\n\n![f](http://evil.example/f.gif) ![g][e] [fine](https://example.org/)\n\n[e]: javascript:alert(1)\n\n<img src=x onerror=alert(1)>\n\n```\nnever closed \u{200b}\n";

/// A string of JSON or TOML, which forbids DEL.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string").replace('\u{7f}', "\\u007F")
}

fn sample(run: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample-data").join(run);
    path.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A capture of a sample run with hostile names in whatever has names, in `folder`; answers its folder.
pub fn capture(folder: &Path, run: &str) -> PathBuf {
    let root = folder.join(format!("{run}\u{202e}\u{1b}[2J<img src=x>|\n"));
    copy(&sample(run), &root);
    let write = |name: &str, text: String| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    };
    let toml = fs::read_to_string(root.join("capture.toml")).expect("a capture.toml");
    let toml = toml.replacen("name = ", &format!("name = {}\nlabel = {}\n# ", quoted(EVIL), quoted(FORMULA)), 1);
    let toml = format!("{toml}\n{} = {}\n", quoted(&format!("build {WORD}")), quoted(EVIL));
    write("capture.toml", toml);
    let evil = |line: &str| format!("{line} {}\n", EVIL.replace('\n', " "));
    let markers = fs::read_to_string(root.join("markers.tsv")).expect("markers");
    write("markers.tsv", markers.lines().map(|line| line.to_owned() + WORD + "\n").collect());
    write("versions\u{202e}.txt", evil("Linux 6.18") + &evil("Kubernetes v1.36.2"));
    write(&format!("nothing {}", EVIL.replace(['/', '\0'], "")), "of any format\n".to_owned());
    write("config\u{200b}.txt", format!("kube-proxy-replacement: {EVIL}\nbpf-lb-algorithm: {FORMULA}\n"));
    write(
        "damaged.jsonl",
        format!("{{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"auditID\":{}\n", quoted(EVIL)),
    );
    write(
        "scrape\u{2066}.prom",
        format!(
            "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total{{job={0},instance={0}}} 1\nhostile{{a={1}}} -2\n",
            label(EVIL),
            label(FORMULA)
        ),
    );
    root
}

/// A value of a label as the exposition format has it.
fn label(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// Copies a capture, unpacked, with hostile names for its pods, nodes and labels.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry").path();
        let name = entry.file_name().and_then(|name| name.to_str()).expect("a name");
        if entry.is_dir() {
            copy(&entry, &to.join(format!("{name}\u{200b}")));
            continue;
        }
        // Rows of requests and traces are many, and have no names; of queries a few will do.
        let long =
            ["requests", "hubble", "cpu.txt", "ipt-sync.txt", "nat-save"].iter().any(|begin| name.starts_with(begin));
        let query =
            from.ends_with("query_range") && !name.starts_with("process_") && !name.starts_with("kubeproxy_sync");
        if long || query || name.ends_with(".md") {
            continue;
        }
        let bytes = fs::read(&entry).expect("read");
        let (name, bytes) = match name.strip_suffix(".zst") {
            Some(name) => (name, zstd::decode_all(&bytes[..]).expect("zstd")),
            None => (name, bytes),
        };
        let mut text = String::from_utf8(bytes).expect("text");
        let json = name.contains(".json");
        if json {
            let inside = quoted(EVIL);
            let inside = &inside[1..inside.len() - 1];
            for known in ["test-6b6bdbfbb8", "\"node-a", "cilium-agent", "127.0.0.1:"] {
                text = text.replace(known, &format!("{known}{inside}"));
            }
        } else if name.ends_with(".log") || name.ends_with(".bt") {
            text = text.lines().map(|line| format!("{line}{WORD}\n")).collect();
        } else {
            text = text.replace("/* default/test:http ", &format!("/* default/test:http {WORD} "));
        }
        fs::write(to.join(name), text).expect("written");
    }
}

/// What is wrong with an output: its name tells the format.
pub fn complaints(name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(c) = text.chars().find(|c| !is_shown(*c) && *c != '\n' && *c != '\t') {
        let at = text.find(c).unwrap_or(0);
        let around: String = text.get(..at).unwrap_or_default().chars().rev().take(60).collect();
        found.push(format!("{c:?} behind {:?}", around.chars().rev().collect::<String>()));
    }
    let lower = text.to_lowercase();
    let mut forbid = |word: &str| {
        if lower.contains(word) {
            found.push(format!("holds {word}"));
        }
    };
    let markup = |extension: &str| name.ends_with(extension);
    if markup(".html") || markup(".svg") || markup(".md") || markup(".xml") {
        ["<img", "<iframe", "<object", "<embed", "<a href=\"j"].into_iter().for_each(&mut forbid);
    }
    if markup(".svg") || markup(".md") || markup(".xml") {
        forbid("<script");
    }
    if markup(".html") {
        for to in text.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            if !["#", "https://example.org/", "runs&#x2f;", "../report.html", "data:,"]
                .iter()
                .any(|begin| to.starts_with(begin))
            {
                found.push(format!("a link to {to}"));
            }
        }
        if text.matches("<script").count() > 1 {
            found.push("a script that is not its own".to_owned());
        }
    }
    if markup(".json")
        && let Err(error) = serde_json::from_str::<serde_json::Value>(text)
    {
        found.push(format!("no JSON: {error}"));
    }
    if markup(".csv") {
        let formula =
            |cell: &String| cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && cell.parse::<f64>().is_err();
        found.extend(cells(text).into_iter().filter(formula).map(|cell| format!("a formula: {cell}")));
    }
    found.into_iter().map(|what| format!("{name}: {what}")).collect()
}

/// The cells of comma-separated values.
fn cells(text: &str) -> Vec<String> {
    let (mut all, mut cell, mut inside) = (Vec::new(), String::new(), false);
    for c in text.chars() {
        match c {
            '"' => inside = !inside,
            ',' | '\n' if !inside => all.push(std::mem::take(&mut cell)),
            c => cell.push(c),
        }
    }
    all
}
