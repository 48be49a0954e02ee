//! Texts that many results have in common, held once.

use std::collections::HashSet;

use arcstr::ArcStr;

use super::RunResult;
use crate::clock::Evidence;

/// Texts met so far. Names, methods, paths and what stands there are the same in most runs of an archive.
#[derive(Debug, Default)]
pub struct Interned {
    texts: HashSet<ArcStr>,
}

impl Interned {
    /// Makes a result hold the texts that others hold already.
    pub fn share(&mut self, result: &mut RunResult) {
        for one in &mut result.measurements {
            let texts = [&mut one.run, &mut one.name, &mut one.variant, &mut one.unit, &mut one.statistic];
            texts.into_iter().chain([&mut one.method, &mut one.window]).for_each(|text| self.text(text));
            one.evidence.iter_mut().for_each(|line| self.evidence(line));
        }
        let run = &mut result.run;
        run.facts.values_mut().for_each(|(_, line)| self.evidence(line));
        run.findings.iter_mut().flat_map(|one| &mut one.evidence).for_each(|line| self.evidence(line));
        let tight = run.clocks.edges.iter_mut().flat_map(|edge| &mut edge.tight);
        tight.for_each(|one| self.evidence(&mut one.evidence));
    }

    fn evidence(&mut self, line: &mut Evidence) {
        [&mut line.path, &mut line.what, &mut line.query].into_iter().for_each(|text| self.text(text));
    }

    fn text(&mut self, text: &mut ArcStr) {
        match self.texts.get(text.as_str()) {
            Some(known) => *text = known.clone(),
            None => drop(self.texts.insert(text.clone())),
        }
    }
}
