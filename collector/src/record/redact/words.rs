//! Names that stay: those of Kubernetes' and the proxies' own parts, which tell nothing and which the analysis looks for, and words
//! that the formats themselves are made of.

/// Parts of the system; `kube-proxy-x7k2p` is one too.
const SYSTEM: [&str; 34] = [
    "default",
    "kube",
    "kube-system",
    "kube-public",
    "kube-node-lease",
    "kubernetes",
    "kube-dns",
    "kube-proxy",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "etcd",
    "coredns",
    "cilium",
    "cilium-agent",
    "cilium-operator",
    "cilium-envoy",
    "cilium-config",
    "hubble",
    "hubble-relay",
    "hubble-peer",
    "hubble-metrics",
    "hubble-ui",
    "aws-node",
    "node-exporter",
    "prometheus",
    "cadvisor",
    "syncline",
    "localhost",
    "metrics-server",
    "mirror",
    "endpointslice-controller",
    "kube-root-ca.crt",
];

/// Words of the formats: keys of lines, keywords of rules, values that are enumerated. A name that is one of them stays.
const FORMATS: &str = "
 a accept action active add added addr address addresses agent all allow always and any api apis apiserver app app-protocol apps append
 audit auto backend backends bad baseline batch bind bool bound bpf bpftrace bridge bucket bytes cgroup chain change changes check chrony
 class client clock clusterip cmd code comm command comment complete completed config connect connected connection connections connmark
 conntrack container containers controller core count counter counters cpu create created ct ctstate current daemon data date dead debug
 del delete deleted deny deployment deployments destination dev device direction dnat dns document done dport drop dropped
 dst duration edge eager egress elem element elements else empty end endpoint endpoints endpointslice endpointslices entry err error
 errors established event events exec exit expr external fail failed false fatal field fields file filter finished fib filtered firewall
 flags flow flows flush for forward forwarded found from full fullsync gauge generic get global go goto group handle handler hash head
 health healthz hook host hosts http https icmp id idle ifname image in inet info ingress input insert instance int interface internal ip
 ip6 ipip ipset iptables ipv4 ipv6 ipvs irq is item items job json jump keepalive kernel key keys kind kprobe label labels last latency
 leases legacy level limit line lines list listen load local log logs lost lru main map maps mark markers masq masquerade match max
 member members memory message messages meta method metric metrics min missing mode module monitor mount msg multiport name names
 namespace namespaces nat net network new nft nice nil no node nodeport nodes none normal not ns null numgen object objects of off ok
 on op open operation option options or order outcome output packet packets parse partial patch path percpu pid pods pod policy port
 ports postrouting prerouting prio priority process proc prog program programs protocol proto proxier proxy put quantile queue random
 range raw rc read ready reason received recent redirect refused register reject related remote removed replica replicas reply request
 requests reset resource response restart restore result return role root round rr rule rules run running save scale scaled scheduled
 scheduler scope sec second seconds security send sent server service services session set setting sets settle shared sh short show
 size slot snat socket softirq source sports src start started state stats status steal stdout stderr step stop stream string success
 sum summary svc sync syncing system table tables tail target targets tcp text time timeout timestamp to total trace tracepoint
 true type udp unit unknown unready up update updated uri url user username value values verb verdict version view vip vmap wait
 warning watch weight window with within workers write xt yes zone zero iowait rolling steady scaleup sctp
";

/// The names of the system's parts.
pub fn systems() -> impl Iterator<Item = &'static str> {
    SYSTEM.into_iter()
}

/// Whether a name is a part of the system, or one of its pods: behind it stand the letters that a controller gave, or a node.
pub fn is_systems(name: &str, is_known: impl Fn(&str) -> bool) -> bool {
    let given = |word: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    SYSTEM.iter().any(|part| {
        let Some(rest) = name.strip_prefix(part) else { return false };
        let Some(rest) = rest.strip_prefix('-') else { return rest.is_empty() };
        let replicas = rest.split_once('-').is_some_and(|(set, pod)| given(set, 6..=10) && given(pod, 5..=5));
        !matches!(*part, "default" | "kube") && (replicas || given(rest, 5..=5) || is_known(rest))
    })
}

/// Whether a name is a word of the formats, so that replacing it would break lines that do not mean it.
pub fn is_formats(name: &str) -> bool {
    name.len() == 1 || FORMATS.split_ascii_whitespace().any(|word| word == name)
}

#[cfg(test)]
mod tests {
    use super::{is_formats, is_systems};

    #[test]
    fn parts_of_the_system_are_known() {
        let known = |name: &str| name == "node-a";
        let parts = [
            "default",
            "kube-system",
            "kube-proxy",
            "kube-proxy-x7k2p",
            "kube-proxy-node-a",
            "coredns-5d78c9869d-abcde",
        ];
        for name in parts {
            assert!(is_systems(name, known), "{name}");
        }
        for name in ["shop", "default-shops", "ciliumx", "etcd-shop", "kubernetes-dashboard"] {
            assert!(!is_systems(name, known), "{name}");
        }
        assert!(is_formats("tcp") && is_formats("service") && !is_formats("shop") && !is_formats("test"));
    }
}
