//! Writes the seeds of every target: a folder each, a file each.

use std::path::PathBuf;

use syncline_fuzz::{TARGETS, places};
use syncline_schema::printable::tell;

fn main() {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        tell(format_args!("expected the folder to write to"));
        std::process::exit(2);
    };
    for target in TARGETS {
        for (number, seed) in (target.seeds)().iter().enumerate() {
            places::write(&folder.join(target.name).join(format!("seed-{number:04}")), seed);
        }
    }
}
