//! What a manifest says of a source.

use serde_json::Value;

/// The source at a path.
pub fn source<'m>(manifest: &'m Value, path: &str) -> &'m Value {
    let sources = manifest["sources"].as_array().expect("sources");
    sources.iter().find(|source| source["path"] == path).unwrap_or_else(|| panic!("{path}: not among {sources:#?}"))
}

/// Names of its losses.
pub fn losses(manifest: &Value, path: &str) -> Vec<String> {
    let losses = manifest["losses"].as_array().expect("losses").iter();
    losses.filter(|loss| loss["source"] == path).filter_map(|loss| loss["name"].as_str().map(str::to_owned)).collect()
}
