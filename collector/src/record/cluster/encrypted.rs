//! The client against a server that speaks TLS with certificates of an authority of its own, and asks for one of the client.
//!
//! The keys are of these tests and open nothing.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::api::Api;

/// The authority.
const AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBnTCCAUOgAwIBAgIUNnrDwVLEiVn1pw5pDrJptbgzNF0wCgYIKoZIzj0EAwIw\n\
GzEZMBcGA1UEAwwQc3luY2xpbmUgdGVzdCBDQTAgFw0yNjExMjcwMDUxNDRaGA8y\n\
MTI2MTEwMzAwNTE0NFowGzEZMBcGA1UEAwwQc3luY2xpbmUgdGVzdCBDQTBZMBMG\n\
ByqGSM49AgEGCCqGSM49AwEHA0IABNQ2xJ0LlZ1NJQuyDxdNxBkvcqpMbApK6rjL\n\
rs3Zh/3sMHEKcgPzZB8uzxVYcUGkfz1U4uFIpXi10mAZcjgOBTqjYzBhMB0GA1Ud\n\
DgQWBBRnZYqMEDVKztRXFV05PF6abeUx1TAfBgNVHSMEGDAWgBRnZYqMEDVKztRX\n\
FV05PF6abeUx1TAPBgNVHRMBAf8EBTADAQH/MA4GA1UdDwEB/wQEAwICBDAKBggq\n\
hkjOPQQDAgNIADBFAiEA44HdVjes+Gup00fY0e0KA0S/FbkpEr55ixQBSZlzH10C\n\
IGcvj5+0TAVHfG8emKg1UZLKrWTwhAFuSwMOcHIAtTQN\n\
-----END CERTIFICATE-----
";
/// Of the server, at 127.0.0.1; valid for a hundred years.
const SERVER: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBozCCAUmgAwIBAgIUMx2Aw44s0OToYuSuX31Y1hJmsOwwCgYIKoZIzj0EAwIw\n\
GzEZMBcGA1UEAwwQc3luY2xpbmUgdGVzdCBDQTAgFw0yNjExMjcwMDUxNDVaGA8y\n\
MTI2MTEwMzAwNTE0NVowETEPMA0GA1UEAwwGc2VydmVyMFkwEwYHKoZIzj0CAQYI\n\
KoZIzj0DAQcDQgAEIENSHpWvnKmh4GHbQ/k7T2YTlD6elR/7ghHkF+ureTXNXYZq\n\
Up7hFaLeGloEjT7q5uCQjs2oUttskh89bEgMI6NzMHEwDwYDVR0RBAgwBocEfwAA\n\
ATATBgNVHSUEDDAKBggrBgEFBQcDATAJBgNVHRMEAjAAMB0GA1UdDgQWBBR5WRbL\n\
aj95tEDPLhF/oY82mhE/kjAfBgNVHSMEGDAWgBRnZYqMEDVKztRXFV05PF6abeUx\n\
1TAKBggqhkjOPQQDAgNIADBFAiEA8ytHEaJz1KzLJtKGqtinVHw3dcwuv7reyKf3\n\
3Qgxb2QCIB9AF03ZN9GgfQF9MqB2QV56stOmR7ytphBjqtXxvJqZ\n\
-----END CERTIFICATE-----
";
/// Its key.
const SERVER_KEY: &str = "\
-----BEGIN PRIVATE KEY-----\n\
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgeSqcwVO2PbLTfEZd\n\
QBHUVDTRVUAHCTtgvaNMGu2xN7ihRANCAAQgQ1Iela+cqaHgYdtD+TtPZhOUPp6V\n\
H/uCEeQX66t5Nc1dhmpSnuEVot4aWgSNPurm4JCOzahS22ySHz1sSAwj\n\
-----END PRIVATE KEY-----
";
/// Of the client.
const CLIENT: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBpTCCAUugAwIBAgIUMx2Aw44s0OToYuSuX31Y1hJmsO0wCgYIKoZIzj0EAwIw\n\
GzEZMBcGA1UEAwwQc3luY2xpbmUgdGVzdCBDQTAgFw0yNjExMjcwMDUxNDVaGA8y\n\
MTI2MTEwMzAwNTE0NVowETEPMA0GA1UEAwwGY2xpZW50MFkwEwYHKoZIzj0CAQYI\n\
KoZIzj0DAQcDQgAEF+WABE4DFOnWW/Iyy9HkiY5xOBxWL40F+dKeeUo75eoezJJO\n\
2Pw7pnzjzHaQmNuu+uwdFpkGZFhAEZdqAQrlMqN1MHMwEwYDVR0lBAwwCgYIKwYB\n\
BQUHAwIwCQYDVR0TBAIwADARBgNVHREECjAIggZjbGllbnQwHQYDVR0OBBYEFPZV\n\
I0BNUgIPon5Uvs0/jFlBfb89MB8GA1UdIwQYMBaAFGdliowQNUrO1FcVXTk8Xppt\n\
5THVMAoGCCqGSM49BAMCA0gAMEUCIFCN8B1hcgJXLW0lsy6Qik2lcSgVJr3e4B5E\n\
W6G2jv4IAiEA7sumu0nNYfFi9e4VyGmi+LqfNu20/PBd6jI/H/UxvSY=\n\
-----END CERTIFICATE-----
";
/// Its key.
const CLIENT_KEY: &str = "\
-----BEGIN PRIVATE KEY-----\n\
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgQvnYGRo8fzlFsdm4\n\
srKYrT31ZhC9V1a9X0T1bCpTd/2hRANCAAQX5YAETgMU6dZb8jLL0eSJjnE4HFYv\n\
jQX50p55Sjvl6h7Mkk7Y/DumfOPMdpCY26767B0WmQZkWEARl2oBCuUy\n\
-----END PRIVATE KEY-----
";

/// Starts a server that lets in whom the authority knows; gives its URL.
fn server() -> String {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(certificate(AUTHORITY)).expect("an authority");
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(
            vec![certificate(SERVER)],
            PrivateKeyDer::from_pem_slice(SERVER_KEY.as_bytes()).expect("a key"),
        )
        .expect("a server");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("https://{}", listener.local_addr().expect("its address"));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
            std::thread::spawn(move || {
                let mut stream = StreamOwned::new(connection, stream);
                let mut request = [0; 4096];
                // A client that is refused is gone.
                if stream.read(&mut request).is_ok() {
                    let _ = stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nConnection: close\r\n\r\n{\"well\":1}\n");
                }
            });
        }
    });
    url
}

fn kubeconfig(folder: &Path, server: &str, cluster: &str, user: &str) -> PathBuf {
    let path = folder.join("config");
    let text = format!(
        "current-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nclusters: [{{name: c, cluster: {{server: '{server}'{cluster}}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n"
    );
    std::fs::write(&path, text).expect("a kubeconfig");
    path
}

fn asked(kubeconfig: &Path) -> Result<serde_json::Value, String> {
    Api::find(Some(kubeconfig))?.json("/api").map_err(|error| error.to_string())
}

#[test]
fn certificates_of_a_kubeconfig_and_of_a_plugin_let_it_in_and_nothing_else_does() {
    let (folder, url) = (tempfile::tempdir().expect("a folder"), server());
    let authority = format!(", certificate-authority-data: {}", STANDARD.encode(AUTHORITY));
    let pair = |key: &str| {
        format!("client-certificate-data: {}, client-key-data: {}", STANDARD.encode(CLIENT), STANDARD.encode(key))
    };
    let ask = |cluster: &str, user: &str| asked(&kubeconfig(folder.path(), &url, cluster, user));
    assert_eq!(ask(&authority, &pair(CLIENT_KEY)).expect("an answer")["well"], 1);

    // An authority that the system does not know, a client without a certificate, a key of another one.
    assert!(ask("", &pair(CLIENT_KEY)).expect_err("not trusted").contains("certificate"));
    assert!(ask(&authority, "token: abc").is_err());
    let error = ask(&authority, &pair(SERVER_KEY)).expect_err("another key");
    assert!(error.contains("client-certificate and client-key") && !error.contains("PRIVATE"), "{error}");

    let answer = serde_json::json!({
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
        "status": {"clientCertificateData": CLIENT, "clientKeyData": CLIENT_KEY},
    });
    std::fs::write(folder.path().join("answer.json"), answer.to_string()).expect("an answer");
    let plugin = format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, command: cat, args: ['{}']}}",
        folder.path().join("answer.json").display()
    );
    assert_eq!(ask(&authority, &plugin).expect("an answer")["well"], 1);
}
