//! The kubeconfig of the administrator.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::Pki;

impl Pki {
    /// Returns a kubeconfig with the certificates embedded. `server` is the URL (`https://127.0.0.1:6445`); `context` names
    /// cluster, user and context.
    pub fn kubeconfig(&self, server: &str, context: &str) -> String {
        let ca = STANDARD.encode(&self.ca_pem);
        let cert = STANDARD.encode(&self.admin.cert_pem);
        let key = STANDARD.encode(&self.admin.key_pem);
        // A JSON string is a YAML string, so this quotes every value correctly.
        let server = serde_json::Value::from(server);
        let context = serde_json::Value::from(context);
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: {context}\n  cluster:\n    server: {server}\n    \
             certificate-authority-data: {ca}\nusers:\n- name: {context}\n  user:\n    \
             client-certificate-data: {cert}\n    client-key-data: {key}\ncontexts:\n- name: {context}\n  \
             context:\n    cluster: {context}\n    namespace: default\n    user: {context}\n\
             current-context: {context}\npreferences: {{}}\n"
        )
    }
}
