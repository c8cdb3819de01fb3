//! Where credentials come from, beside keys in the environment: each source that cli/STORES.md names and that can be had here opens a real server.

use std::process::Command;

use bytes::Bytes;
use engine::store::{Store, StoreOptions};
use engine::words::Error;

use crate::opening::{self, hasty};
use crate::servers::{AZURITE, GCS, Issuer, Server, VERSITYGW, VERSITYGW_TLS, authority, or_skip};

#[track_caller]
fn works(store: &Store) {
    store.put("config", Bytes::from_static(b"x")).unwrap();
    assert_eq!(store.get("config").unwrap(), "x");
    store.delete(&["config".to_owned()]).unwrap();
}

fn file(folder: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn keys_of_a_profile_open_the_store() {
    let Some(server) = or_skip(Server::start(&VERSITYGW)) else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".aws")).unwrap();
    let location = server.location("r");
    let text = format!(
        "[work]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        location.variable("AWS_ACCESS_KEY_ID"),
        location.variable("AWS_SECRET_ACCESS_KEY")
    );
    std::fs::write(home.path().join(".aws/credentials"), text).unwrap();
    let location = location.without("KEY").with("AWS_PROFILE", "work");
    let location = location.with("HOME", home.path().to_str().unwrap());
    works(&opening::cloud(&location, &hasty()));
}

#[test]
fn a_pod_gets_its_keys_from_its_agent() {
    let Some(server) = or_skip(Server::start(&VERSITYGW)) else {
        return;
    };
    let issuer = Issuer::start(None);
    let folder = tempfile::tempdir().unwrap();
    let agent = format!("http://{}/pod", issuer.address());
    let location = server.location("r").without("KEY");
    let location = location.with("AWS_CONTAINER_CREDENTIALS_FULL_URI", agent);
    let of = |token: &str| {
        let location = location.with("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file(&folder, token, token));
        opening::cloud(&location, &hasty())
    };
    works(&of("pod-token"));
    refused(&of("another-token"), "another-token");
}

#[test]
fn a_machine_gets_its_keys_from_its_metadata_server() {
    let Some(server) = or_skip(Server::start(&VERSITYGW)) else {
        return;
    };
    let issuer = Issuer::start(None);
    let location = server.location("r").without("KEY");
    let location = location.with("AWS_METADATA_ENDPOINT", format!("http://{}", issuer.address()));
    works(&opening::cloud(&location, &hasty()));
}

/// The token service answers over TLS alone.
#[test]
fn a_web_identity_is_exchanged_for_keys() {
    let Some(server) = or_skip(Server::start(&VERSITYGW_TLS)) else {
        return;
    };
    let issuer = Issuer::start(Some(&server));
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        ca_file: Some(authority(server.folder())),
        ..hasty()
    };
    let location = server.location("r").without("KEY");
    let location = location.with("AWS_ROLE_ARN", "arn:aws:iam::1:role/backup");
    let location = location.with("AWS_ENDPOINT_URL_STS", format!("https://{}", issuer.address()));
    let of = |token: &str| {
        let location = location.with("AWS_WEB_IDENTITY_TOKEN_FILE", file(&folder, token, token));
        opening::cloud(&location, &options)
    };
    works(&of("web-token"));
    refused(&of("another-token"), "another-token");
}

/// Nothing works, and the secret by which it was asked for is not said.
#[track_caller]
fn refused(store: &Store, secret: &str) {
    let error: Error = store.list("s/").unwrap_err();
    assert!(matches!(error, Error::Store { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains(secret), "{error:?}");
}

#[test]
fn azure_takes_a_connection_string_or_a_signature() {
    let Some(server) = or_skip(Server::start(&AZURITE)) else {
        return;
    };
    let location = server.location("r");
    let (account, key) = (
        location.variable("AZURE_STORAGE_ACCOUNT_NAME"),
        location.variable("AZURE_STORAGE_ACCOUNT_KEY"),
    );
    let endpoint = location.variable("AZURE_STORAGE_ENDPOINT");
    let text = format!("DefaultEndpointsProtocol=http;AccountName={account};AccountKey={key};BlobEndpoint={endpoint};");
    let by_text = location
        .without("AZURE_STORAGE")
        .with("AZURE_STORAGE_CONNECTION_STRING", text);
    works(&opening::cloud(&by_text, &hasty()));

    let signed = |permissions: &str| {
        let signature = signature(&account, &key, permissions);
        let location = location.without("_KEY").with("AZURE_STORAGE_SAS_TOKEN", signature);
        opening::cloud(&location, &hasty())
    };
    let store = signed("rwdlac");
    // Azurite answers 500 to a batch that is signed so, therefore nothing is deleted here.
    store.put("config", Bytes::from_static(b"x")).unwrap();
    assert_eq!(store.get("config").unwrap(), "x");
    assert!(!format!("{store:?}").contains("sig="));
    // One that may only read and list says so when it should write.
    let store = signed("rl");
    assert_eq!(store.list("s/").unwrap(), []);
    let error = store.put("other", Bytes::from_static(b"x")).unwrap_err();
    assert!(
        matches!(error, Error::Store { .. }) && !format!("{error:?}").contains("sig="),
        "{error:?}"
    );
}

/// A shared access signature for blobs with these permissions (as Microsoft's "Create an account SAS" describes it).
fn signature(account: &str, key: &str, permissions: &str) -> String {
    let script = r#"
import base64, hashlib, hmac, sys
from urllib.parse import urlencode
account, key, permissions = sys.argv[1:]
asked = {"sv": "2019-12-12", "ss": "b", "srt": "sco", "sp": permissions, "se": "2099-12-31T00:00:00Z"}
text = "\n".join([account, permissions, "b", "sco", "", asked["se"], "", "", asked["sv"], ""])
asked["sig"] = base64.b64encode(hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()).decode()
print(urlencode(asked), end="")
"#;
    let output = Command::new("python3")
        .args(["-c", script, account, key, permissions])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The signing itself: the stand-in for Google checks none, so what is shown is that a whole account's file is read and signs, and a broken one is named.
#[test]
fn a_service_account_signs_for_itself() {
    let Some(server) = or_skip(Server::start(&GCS)) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    let mut openssl = Command::new("openssl");
    openssl.args([
        "genpkey",
        "-algorithm",
        "RSA",
        "-pkeyopt",
        "rsa_keygen_bits:2048",
        "-out",
    ]);
    assert!(openssl.arg(&key).output().unwrap().status.success());
    let account = |private_key: &str| {
        let document = serde_json::json!({
            "type": "service_account",
            "client_email": "backup@example.iam.gserviceaccount.com",
            "private_key_id": "1",
            "private_key": private_key,
            "gcs_base_url": format!("http://{}", server.address()),
        });
        file(&folder, "account.json", &document.to_string())
    };
    for variable in ["GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT"] {
        let location = server.location("r").without("GOOGLE");
        let location = location.with(variable, account(&std::fs::read_to_string(&key).unwrap()));
        let location = location.with("GOOGLE_BASE_URL", format!("http://{}", server.address()));
        works(&opening::cloud(&location, &hasty()));
    }
    let broken = account("no key at all");
    let location = server
        .location("r")
        .without("GOOGLE")
        .with("GOOGLE_SERVICE_ACCOUNT", broken);
    let error = opening::try_cloud(&location, &hasty()).err().unwrap();
    assert!(!error.to_string().contains("no key at all"), "{error}");
}
