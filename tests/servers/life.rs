//! Starting, using and stopping each server.

use object_store::Error;

use crate::servers::process::command;
use crate::servers::{AZURITE, BUCKET, GCS, Kind, MOTO, STORES, Server, VERSITYGW, or_skip, s3_request};
use crate::{client, create, read, wait};

#[test]
fn versitygw_takes_a_signed_put_and_goes() {
    takes_a_put_and_goes(&VERSITYGW);
}

#[test]
fn gcs_script_takes_a_put_and_goes() {
    takes_a_put_and_goes(&GCS);
}

#[test]
fn azurite_takes_a_signed_put_and_goes() {
    takes_a_put_and_goes(&AZURITE);
}

#[test]
fn moto_takes_a_put_and_goes() {
    takes_a_put_and_goes(&MOTO);
}

fn takes_a_put_and_goes(kind: &'static Kind) {
    let Some(server) = or_skip(Server::start(kind)) else {
        return;
    };
    let location = server.location("some/prefix");
    assert!(location.url.ends_with("/some/prefix"));
    let store = client(&location);
    wait(async {
        create(&*store, "some/prefix/a", b"first").await.unwrap();
        let second = create(&*store, "some/prefix/a", b"second").await.unwrap_err();
        assert!(matches!(second, Error::AlreadyExists { .. }), "{second:?}");
        assert_eq!(read(&*store, "some/prefix/a").await.unwrap(), b"first");
    });
    let (pid, folder) = (server.pid(), server.folder().to_path_buf());
    assert!(folder.exists());
    drop(server);
    assert!(
        !std::path::Path::new(&format!("/proc/{pid}")).exists(),
        "the process is left behind"
    );
    assert!(!folder.exists(), "the folder is left behind");
}

#[test]
fn every_cloud_has_a_store_with_a_location_of_its_scheme() {
    let started = STORES.map(|kind| or_skip(Server::start(kind)));
    let schemes = started
        .iter()
        .flatten()
        .map(|server| server.location("").url.split(':').next().unwrap().to_string());
    let schemes: Vec<String> = schemes.collect();
    assert!(
        schemes
            .iter()
            .all(|scheme| ["s3", "gs", "az"].contains(&scheme.as_str())),
        "{schemes:?}"
    );
}

#[test]
fn server_of_a_panicking_test_goes_too() {
    let Some(server) = or_skip(Server::start(&VERSITYGW)) else {
        return;
    };
    let pid = server.pid();
    let test = std::thread::spawn(move || {
        let _kept = server;
        panic!("as a failing test does (this message is expected)");
    });
    assert!(test.join().is_err());
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn server_dies_with_its_test_process() {
    // A shell plays the test process: it starts the child as we do and is killed without a chance to clean up.
    let setpriv = command("sleep").get_program() == "setpriv";
    if !setpriv {
        return;
    }
    let mut shell = std::process::Command::new("sh");
    shell
        .args(["-c", "setpriv --pdeathsig KILL -- sleep 1000 & echo $!; wait"])
        .stdout(std::process::Stdio::piped());
    let mut shell = shell.spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(shell.stdout.take().unwrap()), &mut line).unwrap();
    let child = format!("/proc/{}/status", line.trim());
    // Until setpriv has asked the kernel, the signal is not armed.
    while !std::fs::read_to_string(&child).unwrap().starts_with("Name:\tsleep") {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    shell.kill().unwrap();
    shell.wait().unwrap();
    let gone = || std::fs::read_to_string(&child).map_or(true, |status| status.contains("State:\tZ"));
    for _ in 0..1000 {
        if gone() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("the child outlives its parent");
}

#[test]
fn versitygw_keeps_acknowledged_objects_over_a_crash() {
    let Some(mut server) = or_skip(Server::start(&VERSITYGW)) else {
        return;
    };
    let store = client(&server.location(""));
    wait(create(&*store, "kept", b"data")).unwrap();
    server.crash_and_restart();
    let store = client(&server.location(""));
    assert_eq!(wait(read(&*store, "kept")).unwrap(), b"data");
}

#[test]
fn versitygw_has_a_user_who_writes_and_deletes_nothing() {
    let Some(server) = or_skip(Server::start(&VERSITYGW)) else {
        return;
    };
    let owner = server.location("prefix");
    let writer = server.without_delete(&owner);
    let store = client(&writer);
    wait(async {
        create(&*store, "prefix/a", b"data").await.unwrap();
        assert_eq!(read(&*store, "prefix/a").await.unwrap(), b"data");
    });
    let (status, answer) = s3_request(&writer, "DELETE", &format!("{BUCKET}/prefix/a"), "");
    assert!(status == 403 && answer.contains("AccessDenied"), "{status} {answer}");
    assert_eq!(wait(read(&*store, "prefix/a")).unwrap(), b"data");
    let (status, answer) = s3_request(&owner, "DELETE", &format!("{BUCKET}/prefix/a"), "");
    assert_eq!(status, 204, "{answer}");
}
