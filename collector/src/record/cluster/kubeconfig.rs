//! Who the recorder is for the API server: the pod's own account, or what a kubeconfig says.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::record::host;

/// Where a pod's account is mounted.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Longest that an exec plugin may take: some of them open a browser.
const PLUGIN: Duration = Duration::from_secs(60);

/// The API server, and how to be let in.
#[derive(Clone, Default)]
pub struct Access {
    /// `https://172.30.0.1:6443`, without a slash at its end.
    pub server: String,
    /// PEM of the certificates that its own is checked against; null: those of the system.
    pub ca: Option<Vec<u8>>,
    /// Its certificate is not checked.
    pub insecure: bool,
    /// Proxy to go through, whatever the environment says.
    pub proxy: Option<String>,
    /// PEM of a client certificate and its key.
    pub certificate: Option<(Vec<u8>, Vec<u8>)>,
    pub credential: Credential,
    /// Namespace of the context or of the pod.
    pub namespace: Option<String>,
    /// Where it comes from, for people.
    pub from: String,
    /// It is the account of the pod that the recorder runs in.
    pub in_pod: bool,
}

/// What stands in the header `Authorization`.
#[derive(Clone, Default)]
pub enum Credential {
    #[default]
    None,
    Token(String),
    /// Read again and again: it is renewed where it lies.
    TokenFile(PathBuf),
    Basic(String, String),
    Plugin(Box<Plugin>),
}

/// A command that gives a credential (`client.authentication.k8s.io`).
#[derive(Clone)]
pub struct Plugin {
    exec: Exec,
    /// What it is told of the cluster.
    cluster: serde_json::Value,
    /// Relative paths are relative to this.
    folder: PathBuf,
}

/// What a plugin gave.
#[derive(Clone, Default)]
pub struct Given {
    pub token: Option<String>,
    /// PEM of a client certificate and its key.
    pub certificate: Option<(Vec<u8>, Vec<u8>)>,
    /// ns since the epoch; null: until the process ends.
    pub expires: Option<i64>,
}

#[derive(Clone, Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct Config {
    current_context: Option<String>,
    clusters: Vec<Named>,
    contexts: Vec<Named>,
    users: Vec<Named>,
}

/// One file may name what another one defines.
#[derive(Clone, Deserialize, Default)]
#[serde(default)]
struct Named {
    name: String,
    cluster: Option<Cluster>,
    context: Option<Pair>,
    user: Option<User>,
    #[serde(skip)]
    folder: PathBuf,
}

#[derive(Clone, Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct Cluster {
    server: String,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
    insecure_skip_tls_verify: bool,
    proxy_url: Option<String>,
    tls_server_name: Option<String>,
}

#[derive(Clone, Deserialize, Default)]
#[serde(default)]
struct Pair {
    cluster: String,
    user: String,
    namespace: Option<String>,
}

#[derive(Clone, Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct User {
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<String>,
    client_key: Option<PathBuf>,
    client_key_data: Option<String>,
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    username: Option<String>,
    password: Option<String>,
    exec: Option<Exec>,
    auth_provider: Option<Provider>,
}

#[derive(Clone, Deserialize, Default)]
#[serde(default)]
struct Provider {
    name: String,
}

#[derive(Clone, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Exec {
    api_version: String,
    command: String,
    args: Option<Vec<String>>,
    env: Option<Vec<Variable>>,
    provide_cluster_info: bool,
    install_hint: Option<String>,
}

#[derive(Clone, Deserialize, Default)]
#[serde(default)]
struct Variable {
    name: String,
    value: String,
}

/// Finds it: `--kubeconfig`, `KUBECONFIG`, the pod's account, `~/.kube/config`, in this order.
///
/// # Errors
/// In words: nothing was found, or what was found is damaged.
pub fn find(asked: Option<&Path>) -> Result<Access, String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(path) = asked {
        return from_files(&[path.to_owned()]);
    }
    if let Some(paths) = variable("KUBECONFIG") {
        let paths: Vec<PathBuf> = std::env::split_paths(&paths).filter(|path| path.exists()).collect();
        if !paths.is_empty() {
            return from_files(&paths);
        }
    }
    if let (Some(host), Some(port)) = (variable("KUBERNETES_SERVICE_HOST"), variable("KUBERNETES_SERVICE_PORT"))
        && Path::new(ACCOUNT).join("token").exists()
    {
        return in_cluster(Path::new(ACCOUNT), &host, &port);
    }
    let home = variable("HOME").map(|home| Path::new(&home).join(".kube/config")).filter(|path| path.exists());
    match home {
        Some(path) => from_files(&[path]),
        None => Err("no kubeconfig, and no account of a pod".to_owned()),
    }
}

/// The account of the pod that the recorder runs in.
fn in_cluster(folder: &Path, host: &str, port: &str) -> Result<Access, String> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let ca = folder.join("ca.crt");
    let ca = std::fs::read(&ca).map_err(|error| format!("{}: {error}", ca.display()))?;
    Ok(Access {
        server: format!("https://{host}:{port}"),
        ca: Some(ca),
        credential: Credential::TokenFile(folder.join("token")),
        namespace: std::fs::read_to_string(folder.join("namespace")).ok().map(|name| name.trim().to_owned()),
        from: "the pod's service account".to_owned(),
        in_pod: true,
        ..Access::default()
    })
}

/// The current context of kubeconfig files; of what several define, the first counts.
fn from_files(paths: &[PathBuf]) -> Result<Access, String> {
    let mut whole = Config::default();
    for path in paths {
        let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
        let mut one: Config = serde_saphyr::from_str(&text).map_err(|error| {
            // What stands there may be a secret: the parser's own words can quote it.
            let place = error.location().map(|at| format!(" (line {})", at.line())).unwrap_or_default();
            wrong(&format!("expected a kubeconfig as YAML{place}"))
        })?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        for named in one.clusters.iter_mut().chain(&mut one.contexts).chain(&mut one.users) {
            named.folder.clone_from(&folder);
        }
        whole.current_context = whole.current_context.or(one.current_context.filter(|name| !name.is_empty()));
        whole.clusters.append(&mut one.clusters);
        whole.contexts.append(&mut one.contexts);
        whole.users.append(&mut one.users);
    }
    let from = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(":");
    access(&whole).map(|access| Access { from: from.clone(), ..access }).map_err(|what| format!("{from}: {what}"))
}

fn access(config: &Config) -> Result<Access, String> {
    let find = |list: &[Named], what: &str, name: &str| {
        list.iter().find(|one| one.name == name).cloned().ok_or_else(|| format!("no {what} is called `{name}`"))
    };
    let current = config.current_context.as_deref().ok_or("no current-context; kubectl config use-context sets it")?;
    let context = find(&config.contexts, "context", current)?.context.unwrap_or_default();
    let place = find(&config.clusters, "cluster", &context.cluster)?;
    let cluster = place.cluster.unwrap_or_default();
    let who = if context.user.is_empty() { Named::default() } else { find(&config.users, "user", &context.user)? };
    let user = who.user.unwrap_or_default();
    if let Some(provider) = user.auth_provider {
        return Err(format!("auth-provider {} is no longer part of Kubernetes: use its exec plugin", provider.name));
    }
    if cluster.tls_server_name.is_some() {
        return Err("tls-server-name is not supported: name the server by a name of its certificate".to_owned());
    }
    if !(cluster.server.starts_with("https://") || cluster.server.starts_with("http://")) {
        return Err(format!("server: expected https://…, found `{}`", cluster.server));
    }
    let ca = data(
        "certificate-authority",
        cluster.certificate_authority_data.as_deref(),
        cluster.certificate_authority.as_deref(),
        &place.folder,
    )?;
    let certificate = data(
        "client-certificate",
        user.client_certificate_data.as_deref(),
        user.client_certificate.as_deref(),
        &who.folder,
    )?;
    let key = data("client-key", user.client_key_data.as_deref(), user.client_key.as_deref(), &who.folder)?;
    let certificate = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err("client-certificate and client-key are both needed".to_owned()),
    };
    let credential = match user {
        User { token_file: Some(path), .. } => Credential::TokenFile(who.folder.join(path)),
        User { token: Some(token), .. } if !token.is_empty() => Credential::Token(token),
        User { username: Some(name), password: Some(word), .. } => Credential::Basic(name, word),
        User { exec: Some(exec), .. } => Credential::Plugin(Box::new(Plugin {
            exec,
            cluster: serde_json::json!({
                "server": cluster.server,
                "certificate-authority-data": ca.as_ref().map(|ca| STANDARD.encode(ca)),
                "insecure-skip-tls-verify": cluster.insecure_skip_tls_verify,
            }),
            folder: who.folder.clone(),
        })),
        _ => Credential::None,
    };
    Ok(Access {
        server: cluster.server.trim_end_matches('/').to_owned(),
        ca,
        insecure: cluster.insecure_skip_tls_verify,
        proxy: cluster.proxy_url.filter(|url| !url.is_empty()),
        certificate,
        credential,
        namespace: context.namespace.filter(|name| !name.is_empty()),
        ..Access::default()
    })
}

/// What stands in the file itself as base64, or in another one.
fn data(what: &str, inline: Option<&str>, path: Option<&Path>, folder: &Path) -> Result<Option<Vec<u8>>, String> {
    if let Some(text) = inline.filter(|text| !text.is_empty()) {
        let packed: String = text.split_ascii_whitespace().collect();
        return STANDARD.decode(packed).map(Some).map_err(|_| format!("{what}-data: expected base64"));
    }
    let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) else { return Ok(None) };
    let path = folder.join(path);
    std::fs::read(&path).map(Some).map_err(|error| format!("{what}: {}: {error}", path.display()))
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ExecCredential {
    status: Status,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
    expiration_timestamp: Option<String>,
}

impl Plugin {
    /// Runs it.
    ///
    /// # Errors
    /// In words, without what it printed to standard output: that is the secret.
    pub fn ask(&self) -> Result<Given, String> {
        let name = &self.exec.command;
        let path = Path::new(name);
        let path = if path.components().count() > 1 { self.folder.join(path) } else { path.to_owned() };
        let mut command = Command::new(path);
        command.args(self.exec.args.iter().flatten());
        command.envs(self.exec.env.iter().flatten().map(|one| (&one.name, &one.value)));
        let mut told = serde_json::json!({
            "apiVersion": self.exec.api_version,
            "kind": "ExecCredential",
            "spec": {"interactive": false},
        });
        if self.exec.provide_cluster_info {
            told["spec"]["cluster"] = self.cluster.clone();
        }
        command.env("KUBERNETES_EXEC_INFO", told.to_string());
        let text = host::output(&mut command, PLUGIN).map_err(|error| {
            let hint = self.exec.install_hint.as_deref().unwrap_or_default();
            format!("{error:#} (exec plugin of the kubeconfig) {hint}").trim_end().to_owned()
        })?;
        let found: ExecCredential = serde_json::from_slice(&text)
            .map_err(|_| format!("{name}: expected an ExecCredential as JSON from the exec plugin"))?;
        let status = found.status;
        let certificate = status.client_certificate_data.zip(status.client_key_data);
        if status.token.is_none() && certificate.is_none() {
            return Err(format!("{name}: the exec plugin gave neither a token nor a certificate"));
        }
        Ok(Given {
            token: status.token,
            certificate: certificate.map(|(certificate, key)| (certificate.into_bytes(), key.into_bytes())),
            expires: status.expiration_timestamp.and_then(|text| crate::form::instant::rfc3339(text.as_bytes())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Credential, from_files, in_cluster};
    use std::path::PathBuf;

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config");
        std::fs::write(&path, text).expect("the file");
        (folder, path)
    }

    const WHOLE: &str = "apiVersion: v1\nkind: Config\ncurrent-context: here\nclusters:\n- name: box\n  cluster:\n    server: https://127.0.0.1:6443/\n    certificate-authority-data: aGVsbG8=\ncontexts:\n- name: here\n  context: {cluster: box, user: me, namespace: shop}\nusers:\n- name: me\n  user:\n    USER\n";

    #[test]
    fn the_current_context_is_taken() {
        let (_folder, path) = written(&WHOLE.replace("USER", "token: abc"));
        let access = from_files(&[path]).expect("valid");
        assert_eq!(access.server, "https://127.0.0.1:6443");
        assert_eq!(access.ca.as_deref(), Some(&b"hello"[..]));
        assert_eq!(access.namespace.as_deref(), Some("shop"));
        assert!(matches!(access.credential, Credential::Token(token) if token == "abc"));
    }

    #[test]
    fn files_beside_it_are_found_from_where_it_lies() {
        let (folder, path) = written(&WHOLE.replace("USER", "client-certificate: c.pem\n    client-key: k.pem"));
        let error = from_files(std::slice::from_ref(&path)).err().expect("no such files");
        assert!(error.contains("c.pem"), "{error}");
        std::fs::write(folder.path().join("c.pem"), "C").expect("written");
        let error = from_files(std::slice::from_ref(&path)).err().expect("one is missing");
        assert!(error.contains("k.pem"), "{error}");
        std::fs::write(folder.path().join("k.pem"), "K").expect("written");
        let access = from_files(&[path]).expect("valid");
        assert_eq!(access.certificate, Some((b"C".to_vec(), b"K".to_vec())));
    }

    #[test]
    fn damage_is_said_without_quoting_secrets() {
        for (text, said) in [
            (WHOLE.replace("USER", "token: [hunter2"), "expected a kubeconfig"),
            (
                WHOLE.replace("current-context: here", "current-context: there").replace("USER", "token: hunter2"),
                "no context is called `there`",
            ),
            (WHOLE.replace("aGVsbG8=", "'?'").replace("USER", "token: hunter2"), "expected base64"),
            (WHOLE.replace("https://127", "127").replace("USER", "token: hunter2"), "expected https://"),
            (WHOLE.replace("USER", "auth-provider: {name: gcp}"), "exec plugin"),
            (String::new(), "current-context"),
        ] {
            let (_folder, path) = written(&text);
            let error = from_files(&[path]).err().expect("damaged");
            assert!(error.contains(said) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_plugin_gives_a_token_and_its_failures_are_said() {
        let plugin = |script: &str| {
            let user = format!(
                "exec: {{apiVersion: client.authentication.k8s.io/v1, command: /bin/sh, args: ['-c', '{script}'], env: [{{name: WHO, value: me}}]}}"
            );
            let (folder, path) = written(&WHOLE.replace("USER", &user));
            let access = from_files(&[path]).expect("valid");
            let Credential::Plugin(plugin) = access.credential else { panic!("a plugin") };
            let given = plugin.ask();
            drop(folder);
            given
        };
        let good = r#"echo "{\"status\":{\"token\":\"of-$WHO\",\"expirationTimestamp\":\"2026-11-26T09:00:00Z\"}}""#;
        let given = plugin(good).expect("a token");
        assert_eq!((given.token.as_deref(), given.expires), (Some("of-me"), Some(1_795_683_600_000_000_000)));
        for (script, said) in [
            ("echo hunter2", "expected an ExecCredential"),
            ("echo not logged in >&2; exit 1", "not logged in"),
            ("echo \"{}\"", "neither a token nor a certificate"),
        ] {
            let error = plugin(script).err().expect("it fails");
            assert!(error.contains(said) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn the_account_of_a_pod_is_read_from_its_files() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(in_cluster(folder.path(), "10.96.0.1", "443").is_err());
        std::fs::write(folder.path().join("ca.crt"), "CA").expect("written");
        std::fs::write(folder.path().join("namespace"), "monitoring\n").expect("written");
        let access = in_cluster(folder.path(), "fd00::1", "443").expect("an account");
        assert_eq!(
            (access.server.as_str(), access.namespace.as_deref()),
            ("https://[fd00::1]:443", Some("monitoring"))
        );
    }
}
