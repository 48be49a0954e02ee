//! The control group of a container: its CPU time and memory, in version 1 and 2.
//!
//! `/proc/PID/cgroup` says where it lies, as seen from the reader's own group:
//!
//! ```text
//! 0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod8c….slice/cri-containerd-7f….scope      version 2
//! 0::/../../kubepods.slice/…/cri-containerd-7f….scope                     from within a container: where `..` leads is not said
//! 5:cpu,cpuacct:/kubepods/burstable/pod8c…/7f…                            version 1, a tree for each controller
//! ```

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that a search looks at, at most: a node has a few hundred.
const MOST: usize = 20_000;

/// Where a group's figures lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its path below the tree.
    pub path: String,
    cpu: Figure,
    memory: Option<PathBuf>,
    is_v2: bool,
}

/// Which file tells the CPU time.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Figure {
    /// `cpu.stat`, µs behind `usage_usec`.
    Stat(PathBuf),
    /// `cpuacct.usage`, ns.
    Usage(PathBuf),
}

/// Memory of a group, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    pub usage: u64,
    /// Without file pages that have not been used for long, as kubelet counts.
    pub working_set: u64,
    /// Anonymous memory.
    pub rss: u64,
}

/// The group of a process, by its `/proc/PID/cgroup`; null for the root group, and where its folder is not to be seen.
pub fn of(root: &Path, text: &str) -> Option<Group> {
    let lines: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            Some((controllers, path))
        })
        .collect();
    let of_controller =
        |name: &str| lines.iter().find(|(list, _)| list.split(',').any(|one| one == name)).map(|(_, path)| *path);
    // Version 1 first: on a mixed machine it has the controllers.
    if let Some(path) = of_controller("cpuacct") {
        let trees = ["cpu,cpuacct", "cpuacct,cpu", "cpuacct"].map(|name| root.join(name));
        let (folder, path) = trees.iter().find_map(|tree| folder(tree, path))?;
        let usage = folder.join("cpuacct.usage");
        usage.is_file().then_some(())?;
        let memory = of_controller("memory").and_then(|path| self::folder(&root.join("memory"), path));
        return Some(Group { path, cpu: Figure::Usage(usage), memory: memory.map(|(folder, _)| folder), is_v2: false });
    }
    let (_, path) = lines.iter().find(|(controllers, _)| controllers.is_empty())?;
    let (folder, path) = [root.to_owned(), root.join("unified")].iter().find_map(|tree| folder(tree, path))?;
    let stat = folder.join("cpu.stat");
    stat.is_file().then_some(())?;
    Some(Group { path, cpu: Figure::Stat(stat), memory: Some(folder), is_v2: true })
}

/// The folder of a path below a tree.
fn folder(tree: &Path, path: &str) -> Option<(PathBuf, String)> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let inside: Vec<&str> = parts.iter().copied().skip_while(|part| *part == "..").collect();
    if inside.is_empty() || inside.contains(&"..") {
        return None;
    }
    let inside = inside.join("/");
    let direct = tree.join(&inside);
    if direct.is_dir() {
        return Some((direct, format!("/{inside}")));
    }
    // Seen from within a group: somewhere below the tree lies what ends so.
    let mut waiting = vec![tree.to_owned()];
    let mut seen = 0;
    while let Some(folder) = waiting.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            seen += 1;
            let path = entry.path();
            if path.ends_with(&inside) {
                let below = path.strip_prefix(tree).ok()?.display().to_string();
                return Some((path, format!("/{below}")));
            }
            waiting.push(path);
        }
        if seen > MOST {
            return None;
        }
    }
    None
}

impl Group {
    /// CPU time of all that ever ran in it, ns; null where it is gone.
    pub fn cpu(&self) -> Option<u64> {
        match &self.cpu {
            Figure::Usage(path) => fs::read_to_string(path).ok()?.trim().parse().ok(),
            Figure::Stat(path) => named(&fs::read_to_string(path).ok()?, "usage_usec")?.checked_mul(1000),
        }
    }

    /// Its memory; null where it is not counted.
    pub fn memory(&self) -> Option<Memory> {
        let folder = self.memory.as_ref()?;
        let (usage, inactive, anonymous) = match self.is_v2 {
            true => ("memory.current", "inactive_file", "anon"),
            false => ("memory.usage_in_bytes", "total_inactive_file", "total_rss"),
        };
        let usage = fs::read_to_string(folder.join(usage)).ok()?.trim().parse::<u64>().ok()?;
        let stat = fs::read_to_string(folder.join("memory.stat")).ok()?;
        let working_set = usage.saturating_sub(named(&stat, inactive).unwrap_or(0));
        Some(Memory { usage, working_set, rss: named(&stat, anonymous)? })
    }
}

/// The number behind a name, of lines `name number`.
fn named(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::{Memory, of};

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            std::fs::write(path, text).expect("a file");
        }
        folder
    }

    #[test]
    fn version_2_is_read_from_outside_and_from_within() {
        let root = tree(&[
            ("kubepods.slice/pod8c.slice/cri-7f.scope/cpu.stat", "usage_usec 1500\nuser_usec 1000\n"),
            ("kubepods.slice/pod8c.slice/cri-7f.scope/memory.current", "9000\n"),
            ("kubepods.slice/pod8c.slice/cri-7f.scope/memory.stat", "anon 4000\nfile 5000\ninactive_file 2000\n"),
            ("system.slice/cpu.stat", "usage_usec 7\n"),
        ]);
        for path in ["/kubepods.slice/pod8c.slice/cri-7f.scope", "/../../pod8c.slice/cri-7f.scope", "/../cri-7f.scope"]
        {
            let group = of(root.path(), &format!("0::{path}\n")).unwrap_or_else(|| panic!("{path}"));
            assert_eq!(group.path, "/kubepods.slice/pod8c.slice/cri-7f.scope");
            assert_eq!(group.cpu(), Some(1_500_000));
            assert_eq!(group.memory(), Some(Memory { usage: 9000, working_set: 7000, rss: 4000 }));
        }
        for path in ["/", "/..", "/../other.scope", "/kubepods.slice/../x"] {
            assert_eq!(of(root.path(), &format!("0::{path}\n")), None, "{path}");
        }
    }

    #[test]
    fn version_1_has_a_tree_for_each_controller() {
        let root = tree(&[
            ("cpu,cpuacct/box/kube-proxy/cpuacct.usage", "123456789\n"),
            ("memory/box/kube-proxy/memory.usage_in_bytes", "5000"),
            ("memory/box/kube-proxy/memory.stat", "rss 1\ntotal_rss 3000\ntotal_inactive_file 500\n"),
        ]);
        let text = "5:memory:/box/kube-proxy\n4:cpu,cpuacct:/box/kube-proxy\n0::/\n";
        let group = of(root.path(), text).expect("a group");
        assert_eq!(group.cpu(), Some(123_456_789));
        assert_eq!(group.memory(), Some(Memory { usage: 5000, working_set: 4500, rss: 3000 }));
        // Without its memory the CPU is read all the same.
        let group = of(root.path(), "4:cpu,cpuacct:/box/kube-proxy\n").expect("a group");
        assert_eq!((group.cpu(), group.memory()), (Some(123_456_789), None));
    }
}
