//! `manifest`: the YAML of the recorder's pods, their account and its rights.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::record::service;
use crate::record::manifest::{self, Action, IMAGE, Place, Wanted};

/// Arguments of `manifest`.
#[derive(Args, Debug)]
pub struct ManifestArguments {
    /// Node under test (default: a placeholder to fill in)
    #[arg(long, value_name = "N")]
    node: Option<String>,
    /// A recorder on every node
    #[arg(long, conflicts_with = "node")]
    all_nodes: bool,
    /// Namespace of the recorder
    #[arg(long, short, value_name = "NS", default_value = "default", value_parser = namespace)]
    namespace: String,
    /// Image with syncline-collector in it (collector/Dockerfile)
    #[arg(long, value_name = "I", default_value = IMAGE)]
    image: String,
    /// Service under test; its namespace is where actions are taken (default: that of the recorder)
    #[arg(long = "service", value_name = "NS/NAME", value_parser = service)]
    services: Vec<(String, String)>,
    /// Allow an action of `record`; without, nothing can be changed; repeatable
    #[arg(long = "action", value_enum, value_name = "ACTION")]
    actions: Vec<ActionName>,
    /// Capabilities instead of privileged, where no policy allows it
    #[arg(long)]
    capabilities: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ActionName {
    Scale,
    Restart,
    DeletePods,
}

/// Prints it.
///
/// # Errors
/// Standard output that cannot be written.
pub fn run(arguments: ManifestArguments) -> anyhow::Result<ExitCode> {
    let text = manifest::yaml(&wanted(arguments)?);
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn wanted(arguments: ManifestArguments) -> anyhow::Result<Wanted> {
    let mut under_test: Vec<String> = arguments.services.into_iter().map(|(namespace, _)| namespace).collect();
    if under_test.is_empty() {
        under_test.push(arguments.namespace.clone());
    }
    under_test.sort();
    under_test.dedup();
    let mut actions: Vec<Action> = arguments
        .actions
        .into_iter()
        .map(|one| match one {
            ActionName::Scale => Action::Scale,
            ActionName::Restart => Action::Restart,
            ActionName::DeletePods => Action::DeletePods,
        })
        .collect();
    actions.sort();
    actions.dedup();
    for (what, text) in [("--image", Some(&arguments.image)), ("--node", arguments.node.as_ref())] {
        // They stand in the YAML as they are.
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "./:@_-".contains(letter);
        if let Some(text) = text.filter(|text| text.is_empty() || !text.chars().all(plain)) {
            anyhow::bail!("{what} `{text}`: expected a plain name");
        }
    }
    let place = if arguments.all_nodes { Place::AllNodes } else { Place::Node(arguments.node) };
    Ok(Wanted {
        place,
        namespace: arguments.namespace,
        image: arguments.image,
        under_test,
        actions,
        capabilities: arguments.capabilities,
    })
}

fn namespace(text: &str) -> Result<String, String> {
    service(&format!("{text}/x")).map(|(namespace, _)| namespace)
}

#[cfg(test)]
mod tests {
    use super::{ManifestArguments, wanted};
    use crate::record::manifest::{Action, Place};
    use clap::Parser;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        arguments: ManifestArguments,
    }

    fn parsed(line: &str) -> anyhow::Result<super::Wanted> {
        wanted(Alone::try_parse_from(line.split_whitespace())?.arguments)
    }

    #[test]
    fn the_command_of_the_page_is_understood() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/RECORD.md");
        let page = std::fs::read_to_string(path).expect("RECORD.md");
        let line = page.lines().find_map(|line| line.strip_prefix("syncline-collector ")).expect("the command");
        let wanted = parsed(line.split(" > ").next().unwrap_or_default()).expect("its arguments");
        assert_eq!((wanted.place, wanted.actions), (Place::Node(Some("NODE".into())), vec![Action::Scale]));
        assert_eq!((wanted.under_test, wanted.namespace), (vec!["default".to_owned()], "default".to_owned()));
    }

    #[test]
    fn what_would_break_the_yaml_is_refused() {
        assert!(parsed("manifest --node a --all-nodes").is_err());
        assert!(parsed("manifest --image a:b{}").is_err());
        assert!(parsed("manifest --node a#b").is_err());
        assert!(parsed("manifest --namespace A/b").is_err());
        assert!(parsed("manifest --service shop/cart --service pay/till --action delete-pods").is_ok());
    }
}
