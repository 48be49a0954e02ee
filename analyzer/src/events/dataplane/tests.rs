//! Replays of small streams and, where they are at hand, of the real captures.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use syncline_collector::bundle::{BundleOptions, bundle};
use syncline_schema::dataplane::{ChangeRow, RuleRow, SnapshotRow};

use super::{Presence, Services, presences, totals};
use crate::bundle::Bundle;

type Rows = (Vec<RuleRow<'static>>, Vec<ChangeRow<'static>>, Vec<SnapshotRow<'static>>);

fn services() -> Services {
    HashMap::from([(("10.96.100.100".to_owned(), 80, "TCP".to_owned()), "default/test".to_owned())])
}

/// Bundles files and reads the three tables back.
fn rows(inputs: &[PathBuf]) -> Rows {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("bundle");
    bundle(&BundleOptions { inputs: inputs.to_vec(), out: out.clone(), ..BundleOptions::default() }).unwrap();
    let bundle = Bundle::open(&out, crate::bundle::MEMORY).unwrap();
    (bundle.rows(None).unwrap(), bundle.rows(None).unwrap(), bundle.rows(None).unwrap())
}

/// Writes texts as files of one capture and reads the tables back.
fn captured(files: &[(&str, &str)]) -> Rows {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    rows(&[folder.path().to_owned()])
}

fn found(rows: &Rows) -> Vec<Presence> {
    presences(&rows.0, &rows.1, &rows.2, &services())
}

/// `address initially [+-before..after]…`, times in seconds.
fn story(presence: &Presence) -> String {
    let mut text = format!("{} {} {}", presence.service, presence.address, presence.initially);
    for change in &presence.changes {
        let sign = if change.present { '+' } else { '-' };
        let seconds = |time: i64| time as f64 / 1e9;
        text += &format!(" {sign}{}..{}", seconds(change.before.time), seconds(change.after.time));
    }
    text
}

fn stories(rows: &Rows) -> Vec<String> {
    found(rows).iter().map(story).collect()
}

const SERVICE: &str = "-A KUBE-SERVICES -d 10.96.100.100/32 -p tcp -m comment --comment \"default/test:http cluster IP\" -m tcp --dport 80 -j KUBE-SVC-T\n";

fn table(rules: &str) -> String {
    format!("*nat\n{rules}COMMIT\n")
}

fn endpoint(number: usize) -> String {
    format!(
        "-A KUBE-SVC-T -j KUBE-SEP-{number}\n-A KUBE-SEP-{number} -p tcp -m tcp -j DNAT --to-destination 10.0.0.{number}:8080\n"
    )
}

#[test]
fn an_endpoint_needs_the_whole_path() {
    let without_service = table(&(endpoint(1) + &endpoint(2)));
    let whole = table(&(SERVICE.to_owned() + &endpoint(1) + &endpoint(2)));
    let without_dnat = table(&(SERVICE.to_owned() + &endpoint(1) + "-A KUBE-SVC-T -j KUBE-SEP-2\n"));
    let without_jump = table(
        &(SERVICE.to_owned() + &endpoint(1) + "-A KUBE-SEP-2 -p tcp -m tcp -j DNAT --to-destination 10.0.0.2:8080\n"),
    );
    let text = format!(
        "# TIMESTAMP 1.5\n{without_service}# TIMESTAMP 2.5\n{whole}# TIMESTAMP 3.5\n{without_dnat}# TIMESTAMP 4.5\n{whole}# TIMESTAMP 5.5\n{without_jump}"
    );
    let rows = captured(&[("nat.stream", &text)]);
    assert_eq!(
        stories(&rows),
        [
            "default/test 10.0.0.1 false +1.5..2.5",
            "default/test 10.0.0.2 false +1.5..2.5 -2.5..3.5 +3.5..4.5 -4.5..5.5"
        ]
    );
    let presence = &found(&rows)[0];
    assert_eq!((presence.port, presence.protocol.as_str()), (8080, "TCP"));
    // A stamp of a tenth of a second was taken up to that much later.
    assert_eq!(presence.first_look.until, Some(2_600_000_000));
    assert_eq!(presence.last_look.until, None);
    let totals = totals(&rows.0, &rows.1, &rows.2);
    let counts: Vec<_> = totals
        .iter()
        .map(|total| (total.rules, total.services, total.endpoints, total.inserted, total.deleted))
        .collect();
    assert_eq!(counts, [(4, 0, 2, 0, 0), (5, 1, 2, 1, 0), (4, 1, 1, 0, 1), (5, 1, 2, 1, 0), (4, 1, 2, 0, 1)]);
}

#[test]
fn a_snapshot_that_broke_off_proves_no_absence() {
    let both = table(&(SERVICE.to_owned() + &endpoint(1) + &endpoint(2)));
    let three = table(&(SERVICE.to_owned() + &endpoint(1) + &endpoint(3)));
    let broken = format!("*nat\n{SERVICE}{}", endpoint(3));
    let text = format!(
        "# TIMESTAMP 1.5\n{both}# TIMESTAMP 2.5\n{broken}# TIMESTAMP 3.5\n{three}# TIMESTAMP 4.5\n*nat\n{SERVICE}"
    );
    assert_eq!(
        stories(&captured(&[("nat.stream", &text)])),
        ["default/test 10.0.0.1 true", "default/test 10.0.0.2 true -1.5..3.5", "default/test 10.0.0.3 false +1.5..2.5"]
    );
}

#[test]
fn a_listing_of_one_chain_learns_its_names_from_another_stream() {
    let save = format!("# TIMESTAMP 1.5\n{}", table(&(SERVICE.to_owned() + &endpoint(1) + &endpoint(2))));
    let header = "Chain KUBE-SVC-T (1 references)\ntarget     prot opt source               destination\n";
    let jump = |number: usize| format!("KUBE-SEP-{number}  all  --  0.0.0.0/0            0.0.0.0/0\n");
    let list = format!(
        "# TIMESTAMP 1.5\n{header}{}# TIMESTAMP 2.5\n{header}{}{}# TIMESTAMP 3.5\n{header}",
        jump(1),
        jump(2),
        jump(1)
    );
    let rows = captured(&[("nat.stream", &save), ("list.stream", &list)]);
    let listed: Vec<_> = found(&rows).iter().filter(|one| one.format == "iptables-list").map(story).collect();
    // The last look of a listing may have been cut off: it proves no absence.
    assert_eq!(listed, ["default/test 10.0.0.1 true", "default/test 10.0.0.2 false +1.5..2.5"]);
}

#[test]
fn slots_above_the_count_get_no_new_connections() {
    let line = |second: &str, count: u32, slots: &str| {
        format!(
            "{{\"ts\":\"{second}\",\"count\":{count},\"qcount\":0,\"slots\":[{slots}],\"samples_since_last_line\":1,\"read_ns\":1000}}\n"
        )
    };
    let (one, two) = ("[1,5,\"10.0.0.1:8080\",0]", "[2,6,\"10.0.0.2:8080\",0]");
    let text = line("1.5", 2, &format!("{one},{two}"))
        + &line("2.5", 1, &format!("{one},{two}"))
        + &line("3.5", 1, one)
        + &line("4.5", 2, &format!("{one},{two}"));
    let rows = captured(&[("lb4-default-test.jsonl", &text)]);
    assert_eq!(stories(&rows), ["default/test 10.0.0.1 true", "default/test 10.0.0.2 true -1.5..2.5 +3.5..4.5"]);
    assert_eq!(found(&rows)[1].changes[0].after.until, Some(2_500_001_000));
}

#[test]
fn the_map_listing_shows_what_is_leaving() {
    let entry = |slot: usize, backend: &str| {
        format!("  \"10.96.100.100:80/TCP ({slot})\": [\n    \"{backend} (2) ({slot})\"\n  ]")
    };
    let list = |entries: &[String]| format!("{{\n{}\n}}\n", entries.join(",\n"));
    let frontend = entry(0, "0.0.0.0:0");
    let text = format!(
        "# TIMESTAMP 1.5\n{}# TIMESTAMP 2.5\n{}",
        list(&[frontend.clone(), entry(1, "10.0.0.1:8080/TCP")]),
        list(&[frontend, entry(1, "10.0.0.2:8080/TCP"), entry(2, "10.0.0.1:8080/TCP")])
    );
    let rows = captured(&[("bpf-lb-list.json.stream", &text)]);
    assert_eq!(stories(&rows), ["default/test 10.0.0.1 true", "default/test 10.0.0.2 false +1.5..2.5"]);
    assert!(found(&rows).iter().all(|presence| presence.shows_leaving));
}

fn captures() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let found = ["../shared", "../../shared"]
        .iter()
        .map(|place| workspace.join(place).join("captures"))
        .find(|path| path.is_dir());
    if found.is_none() {
        eprintln!("skipped: no captures in ../shared beside the workspace");
    }
    found
}

/// Endpoints of the Service under test after each of its changes: (seconds since the action, count).
fn counts(presences: &[&Presence], action: f64) -> Vec<(f64, usize)> {
    let mut count = presences.iter().filter(|presence| presence.initially).count();
    let mut steps: BTreeMap<i64, i64> = BTreeMap::new();
    for change in presences.iter().flat_map(|presence| &presence.changes) {
        *steps.entry(change.after.time).or_default() += if change.present { 1 } else { -1 };
    }
    let mut found = vec![(0.0, count)];
    for (time, step) in steps {
        count = count.saturating_add_signed(step as isize);
        // One address may take the place of another.
        if found.last().is_some_and(|(_, last)| *last != count) {
            found.push((time as f64 / 1e9 - action, count));
        }
    }
    found
}

/// Every kind of run against what an independent script counted.
#[test]
fn real_runs_count_as_the_facts_say() {
    let Some(captures) = captures() else { return };
    for (run, witness, files) in [
        ("iptables-scale-up-1", "iptables-list", vec!["iptables"]),
        ("iptables-rolling-restart-1", "iptables-list", vec!["iptables"]),
        ("iptables-scale-up-2000svc-1", "iptables-list", vec!["iptables"]),
        ("cilium-scale-up-1", "lb4-reader", vec!["bpf/lb4-default-test.jsonl.zst", "bpf/bpf-lb-list.json.stream.zst"]),
        ("cilium-rolling-restart-1", "lb4-reader", vec!["bpf/lb4-default-test.jsonl.zst"]),
    ] {
        let folder = captures.join(run);
        let rows = rows(&files.iter().map(|file| folder.join(file)).collect::<Vec<_>>());
        let begun = std::time::Instant::now();
        let all = found(&rows);
        eprintln!("{run}: {} presences in {:?}, {} changes", all.len(), begun.elapsed(), rows.1.len());
        let facts: serde_json::Value =
            serde_json::from_slice(&std::fs::read(folder.join("FACTS.json")).unwrap()).unwrap();
        let action = facts["markers"]["action_start"].as_f64().unwrap();
        let expected: Vec<(f64, usize)> = facts["dataplane_count_by_time"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| (pair[0].as_f64().unwrap(), pair[1].as_u64().unwrap() as usize))
            .collect();
        let of_test: Vec<&Presence> =
            all.iter().filter(|one| one.format == witness && one.service == "default/test").collect();
        let counted = counts(&of_test, action);
        assert_eq!(
            counted.iter().map(|(_, count)| *count).collect::<Vec<_>>(),
            expected.iter().map(|(_, count)| *count).collect::<Vec<_>>(),
            "{run}"
        );
        for (ours, theirs) in counted.iter().zip(&expected).skip(1) {
            assert!((ours.0 - theirs.0).abs() < 0.002, "{run}: {ours:?} against {theirs:?}");
        }
        // Every other witness of the Service ends with the same number.
        let mut by_stream: BTreeMap<(i32, &str), usize> = BTreeMap::new();
        for one in all.iter().filter(|one| one.service == "default/test" && one.time_from == "stamp") {
            let there = one.changes.last().map_or(one.initially, |change| change.present);
            *by_stream.entry((one.stream, &one.format)).or_default() += usize::from(there);
        }
        eprintln!("{run}: {by_stream:?}");
        if !run.contains("2000svc") {
            assert!(by_stream.values().all(|count| *count == 44), "{run}: {by_stream:?}");
        }
    }
}

/// A table of kube-proxy in nftables mode with a Service and these lines in its chain, and further chains.
fn nftables(lines: &str, chains: &str) -> String {
    format!(
        "table ip kube-proxy {{\n\tmap service-ips {{\n\t\telements = {{ 10.96.100.100 . tcp . 80 : goto service-JKB34KST-default/test/tcp/http }}\n\t}}\n\tchain service-JKB34KST-default/test/tcp/http {{\n{lines}\t}}\n{chains}}}\n"
    )
}

#[test]
fn nftables_addresses_in_the_chain_of_a_service() {
    let list = |addresses: &str| format!("\t\tmeta l4proto tcp dnat ip to numgen random mod 2 map {{ {addresses} }}\n");
    let (one, two) = (list("0 : 10.0.0.1 . 8080"), list("0 : 10.0.0.1 . 8080, 1 : 10.0.0.2 . 8080"));
    // The last reading has lost the map that leads to the chain, and the one before it broke off.
    let unreached = nftables(&two, "").replace("service-ips", "no-endpoint-services");
    let broken = nftables(&one, "").replace("\t}\n}\n", "");
    let text = format!(
        "# TIMESTAMP 1.5\n{}# TIMESTAMP 2.5\n{}# TIMESTAMP 3.5\n{broken}# TIMESTAMP 4.5\n{unreached}",
        nftables(&one, ""),
        nftables(&two, "")
    );
    let rows = captured(&[("nft/table.stream", &text)]);
    assert_eq!(
        stories(&rows),
        ["default/test 10.0.0.1 true -2.5..4.5", "default/test 10.0.0.2 false +1.5..2.5 -2.5..4.5"]
    );
    let totals = totals(&rows.0, &rows.1, &rows.2);
    let first: Vec<_> = totals.iter().map(|total| (total.services, total.endpoints, total.rules)).take(2).collect();
    assert_eq!(first, [(1, 1, 3), (1, 2, 4)]);
    let chain = format!("table ip kube-proxy {{\n\tchain service-JKB34KST-default/test/tcp/http {{\n{two}\t}}\n}}\n");
    let alone = captured(&[("nft/chain.stream", &format!("# TIMESTAMP 1.5\n{chain}# TIMESTAMP 2.5\n{chain}"))]);
    assert_eq!(stories(&alone), ["default/test 10.0.0.1 true", "default/test 10.0.0.2 true"], "no map, no doubt");
}

#[test]
fn nftables_with_a_chain_for_each_endpoint() {
    let name = |number: usize| format!("endpoint-5OJB2KTY-default/test/tcp/http__10.0.0.{number}/8080");
    let list = |numbers: &[usize]| {
        let jumps: Vec<String> =
            numbers.iter().enumerate().map(|(at, number)| format!("{at} : goto {}", name(*number))).collect();
        format!("\t\tnumgen random mod {} vmap {{ {} }}\n", numbers.len(), jumps.join(", "))
    };
    let chain = |number: usize| {
        format!("\tchain {} {{\n\t\tmeta l4proto tcp dnat to 10.0.0.{number}:8080\n\t}}\n", name(number))
    };
    let both = chain(1) + &chain(2);
    let text = format!(
        "# TIMESTAMP 1.5\n{}# TIMESTAMP 2.5\n{}# TIMESTAMP 3.5\n{}# TIMESTAMP 4.5\n{}",
        nftables(&list(&[1]), &both),
        nftables(&list(&[1, 2]), &both),
        nftables(&list(&[1, 2]), &chain(1)),
        nftables(&list(&[2]), &both),
    );
    assert_eq!(
        stories(&captured(&[("nft/table.stream", &text)])),
        ["default/test 10.0.0.1 true -3.5..4.5", "default/test 10.0.0.2 false +1.5..2.5 -2.5..3.5 +3.5..4.5"]
    );
    let alone =
        format!("table ip kube-proxy {{\n\tchain service-JKB34KST-default/test/tcp/http {{\n{}\t}}\n}}\n", list(&[2]));
    let alone = captured(&[("nft/chain.stream", &format!("# TIMESTAMP 1.5\n{alone}# TIMESTAMP 2.5\n{alone}"))]);
    assert_eq!(stories(&alone), ["default/test 10.0.0.2 true"], "the chain's name tells address and port");
}

#[test]
fn looks_of_one_second_keep_their_order_and_end_a_second_later() {
    let of = |numbers: &[usize]| {
        table(&(SERVICE.to_owned() + &numbers.iter().map(|one| endpoint(*one)).collect::<String>()))
    };
    let text: String = [(7, &[1][..]), (8, &[1]), (8, &[1, 2]), (9, &[1, 2])]
        .iter()
        .map(|(second, numbers)| format!("# TIMESTAMP 179568608{second}\n{}", of(numbers)))
        .collect();
    let mut rows = captured(&[("nat.stream", &text)]);
    for snapshot in &mut rows.2 {
        snapshot.resolution = Some(1_000_000_000);
    }
    let presence = found(&rows).remove(1);
    let change = presence.changes[0];
    let second = |time: i64| time / 1_000_000_000 - 1_795_686_080;
    assert_eq!((second(change.before.time), second(change.after.time)), (8, 8));
    assert_eq!(
        change.after.until.map(second),
        Some(10),
        "the next look was stamped in 9, up to a second later than it says"
    );
}
