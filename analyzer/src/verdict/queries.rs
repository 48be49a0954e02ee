//! The catalogue's PromQL, as documented and in its sound form: what is to be asked of each run.

use super::Catalogue;
use super::catalogue::ClaimKind;
use crate::query::{Asker, Form, Question, is_query};

/// The PromQL of the rows that claim something of a dataplane (of kube-proxy's other modes: what is claimed of iptables
/// mode), each query once, in the order of the catalogue. Commands that a row documents are none, and are left out.
pub fn questions(catalogue: &Catalogue, dataplane: &str) -> Vec<Question> {
    let side = if dataplane.starts_with("kube-proxy") { "kube-proxy-iptables" } else { dataplane };
    let concerns = |row: &&super::Row| row.side(side).is_some_and(|side| side.kind != ClaimKind::None);
    let mut all: Vec<Question> = Vec::new();
    for row in catalogue.rows.iter().filter(concerns) {
        let forms = row.documented.query.iter().map(|text| (Form::Documented, text));
        for (form, text) in forms.chain(row.sound.query.iter().map(|text| (Form::Sound, text))) {
            let asker = Asker { id: row.id.clone(), form };
            if let Some(known) = all.iter_mut().find(|one| one.text == *text) {
                known.rows.push(asker);
            } else if is_query(text) {
                all.push(Question { rows: vec![asker], text: text.clone() });
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_asks_in_both_forms_and_every_sound_query_is_promql() {
        let catalogue = Catalogue::built_in().expect("the catalogue");
        for row in &catalogue.rows {
            for text in &row.sound.query {
                assert!(is_query(text), "{}: {text}: no PromQL, or it would load every series", row.id);
            }
        }
        let asked = ["cilium", "kube-proxy-nftables"].map(|dataplane| questions(&catalogue, dataplane));
        let all = || asked.iter().flatten().flat_map(|one| &one.rows);
        let count = |form| all().filter(|one| one.form == form).count();
        assert!(
            count(Form::Documented) >= 30 && count(Form::Sound) >= 20,
            "{} and {}",
            count(Form::Documented),
            count(Form::Sound)
        );
        assert!(questions(&catalogue, "unknown").is_empty());
    }
}
