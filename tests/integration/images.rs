//! Images of this host: pulled, listed, deleted, refused.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use insta::assert_snapshot;
use pvectl::backends::cloud_hypervisor::failpoint::ARE_HERE;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

use crate::harness::{Env, NOBODY, eventually};

fn env() -> Env {
    let env = Env::bare().with("PVECTL_CONTEXT", "local");
    env.write("disk.raw", &"x".repeat(1 << 20));
    env
}

#[test]
fn an_image_is_pulled_listed_and_deleted() {
    let env = env();
    assert_snapshot!(env.run("image pull disk.raw --name golden"), @"
    exit 0
    --- stdout
    NAME    FORMAT      DISK      SIZE  CREATED  SOURCE
    golden  raw     1.00 MiB  1.00 MiB  0s ago   ~/disk.raw
    --- stderr
    pulling image/golden
    ✓ image/golden pulled
    ");
    assert_snapshot!(env.run("image list"), @"
    exit 0
    --- stdout
    NAME    FORMAT      DISK      SIZE  CREATED  SOURCE
    golden  raw     1.00 MiB  1.00 MiB  0s ago   ~/disk.raw
    ");
    assert_snapshot!(env.run("get images -o name"), @"
    exit 0
    --- stdout
    image/golden
    ");
    let row = env.json("image get golden");
    let keys: Vec<&String> = row.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["name", "source", "sha256", "format", "virtual_size", "size", "created", "file", "context"]);
    assert_eq!((&row["format"], &row["virtual_size"]), (&"raw".into(), &(1 << 20).into()));
    assert_snapshot!(env.run("image pull disk.raw --name golden"), @"
    exit 6
    --- stderr
    error: image `golden` already exists
    hint: give another --name, or --overwrite to replace it
    ");
    let _ = env.run("image pull disk.raw --name golden --overwrite --quiet").ok();
    let _ = env.run("image pull disk.raw --quiet").ok();
    assert_snapshot!(env.run("image delete golden"), @"
    exit 2
    --- stderr
    error: this asks for confirmation, and there is no terminal to ask on
    hint: give --confirm to go ahead, or --dry-run to see what would be done
    ");
    assert_snapshot!(env.run("image delete golden --dry-run"), @"
    exit 0
    --- stderr
    image/golden  raw, 1.00 MiB, from ~/disk.raw
    nothing was deleted (--dry-run)
    ");
    assert_snapshot!(env.run("image delete image/golden disk --confirm"), @"
    exit 0
    --- stderr
    image/golden  raw, 1.00 MiB, from ~/disk.raw
    image/disk  raw, 1.00 MiB, from ~/disk.raw
    ✓ image/golden deleted
    ✓ image/disk deleted
    ");
    assert_eq!(env.json("image list"), serde_json::json!([]));
    let left: Vec<_> = fs::read_dir(env.path(".local/state/pvectl/local/images")).unwrap().collect();
    assert_eq!(left.len(), 2, "the index and its lock: {left:?}");
}

#[test]
fn what_cannot_be_is_said() {
    let env = env();
    fs::write(env.path("packed.xz"), b"\xfd7zXZ\0\0\0 and so on").unwrap();
    env.write("page.qcow2", "<!DOCTYPE html><html>");
    env.write("SUMS", &format!("{}  disk.raw\n", "0".repeat(64)));
    // Those of a cluster are in its storages.
    assert!(env.run("--context sandbox image list").ok().stdout.contains("local:iso/debian-12"));
    let _ = env.run("image list --storage local").exits(2).says(&["--storage is about storages of a cluster"]);
    assert_snapshot!(env.run("image pull packed.xz"), @"
    exit 2
    --- stderr
    pulling image/packed.xz
    error: `packed.xz` is compressed with xz, not a disk image
    hint: unpack it with `xz -d` first, and pull the file
    ");
    assert_snapshot!(env.run("image pull page.qcow2"), @"
    exit 2
    --- stderr
    pulling image/page
    error: `page.qcow2` is a web page, not a disk image
    hint: look at the address in a browser: it may have moved
    ");
    assert_snapshot!(env.run("image pull disk.raw --sha256 SUMS"), @"
    exit 1
    --- stderr
    pulling image/disk
    error: `disk.raw` has another checksum than it should: 8f990ba0b577b51cf009ea049368c16bbda1b21e1b93be07a824758bb253c39b, not 0000000000000000000000000000000000000000000000000000000000000000
    hint: nothing was kept; it may have been damaged on the way, or be another version
    ");
    assert_snapshot!(env.run("image pull disk.raw --sha256 beef"), @"
    exit 2
    --- stderr
    error: `beef` is no SHA-256: 64 hex digits are expected, or a file of sums
    ");
    assert_snapshot!(env.run("image pull disk.raw --format qcow2"), @"
    exit 2
    --- stderr
    pulling image/disk
    error: `disk.raw` is raw, not qcow2
    ");
    assert_snapshot!(env.run("image pull disk.raw --name 'a b'"), @"
    exit 2
    --- stderr
    error: `a b` cannot name an image
    hint: letters, digits, `.`, `_` and `-` are fine, beginning with a letter or digit, 64 at most
    ");
    assert_snapshot!(env.run("image pull disk.raw --no-wait"), @"
    exit 2
    --- stderr
    error: --no-wait: an image is fetched by this very command, and nobody else would go on
    hint: a pull that was broken off goes on when it is repeated
    ");
    assert_snapshot!(env.run("image pull ftp://a/b.raw"), @"
    exit 2
    --- stderr
    error: `ftp` is no way to fetch an image; http and https are
    ");
    assert_snapshot!(env.run("image pull none.raw"), @"
    exit 3
    --- stderr
    error: cannot open `none.raw`: No such file or directory (os error 2)
    ");
    assert_snapshot!(env.run("image delete none --confirm"), @"
    exit 3
    --- stderr
    error: no such image: `none`
    ");
    let _ =
        env.run(&format!("image pull {NOBODY}/disk.raw --name far")).exits(10).says(&["no connection to the server"]);
    assert_eq!(env.json("image list"), serde_json::json!([]));
    let left: Vec<_> = fs::read_dir(env.path(".local/state/pvectl/local/images")).into_iter().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn an_image_comes_from_a_server() {
    let server = MockServer::start().await;
    let body = vec![7; 1 << 20];
    Mock::given(any()).respond_with(ResponseTemplate::new(200).set_body_bytes(body)).mount(&server).await;
    let url = format!("{}/images/debian-12.raw?key=hunter2", server.uri());
    let pulled = tokio::task::spawn_blocking(move || {
        let env = env();
        let output = env.run(&format!("image pull {url} -o json")).ok();
        assert!(!output.stderr.contains("hunter2"), "{output}");
        output.json()
    });
    let row = pulled.await.unwrap();
    assert_eq!(row["name"], "debian-12");
    assert_eq!(row["source"], format!("{}/images/debian-12.raw", server.uri()));
}

/// Sends a mebibyte, or what is asked for of it; gives the `Range` that was asked for.
fn send(mut stream: &TcpStream, most: usize) -> Option<usize> {
    let lines = BufReader::new(stream).lines().map(Result::unwrap).take_while(|line| !line.is_empty());
    let range =
        lines.filter_map(|line| line.to_lowercase().strip_prefix("range: bytes=")?.strip_suffix('-')?.parse().ok());
    let from = range.collect::<Vec<usize>>().first().copied();
    let body = vec![7; (1 << 20) - from.unwrap_or(0)];
    let head = match from {
        None => "200 OK\r\n".to_owned(),
        Some(from) => format!("206 Partial Content\r\nContent-Range: bytes {from}-1048575/1048576\r\n"),
    };
    write!(stream, "HTTP/1.1 {head}ETag: \"1\"\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
    // Who is killed does not hear all of it.
    let _ = stream.write_all(&body[..most.min(body.len())]);
    from
}

#[test]
fn a_killed_pull_goes_on_where_it_was() {
    let env = env();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let line = format!("image pull http://{}/big.raw --name big", listener.local_addr().unwrap());
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        // The first one gets a part, and then silence.
        let first = listener.accept().unwrap().0;
        send(&first, 600_000);
        tell.send(send(&listener.accept().unwrap().0, usize::MAX)).unwrap();
    });
    let pull = env.spawn(&line);
    let partial = env.path(".local/state/pvectl/local/images/big.partial");
    let came = || fs::metadata(&partial).ok().filter(|file| file.len() >= 500_000).map(|_| ());
    eventually("most of the first part came", came);
    let second = env.run(&line).exits(6);
    assert!(second.stderr.contains("another command is writing"), "{second}");
    pull.kill();
    assert_eq!(env.json("image list"), serde_json::json!([]));
    let _ = env.run(&line).ok().says(&["going on after 5"]);
    assert!(told.recv().unwrap().is_some_and(|from| from >= 500_000));
    let file = env.json("image get big")["file"].as_str().unwrap().to_owned();
    let content = fs::read(partial.with_file_name(file)).unwrap();
    assert!(content.len() == 1 << 20 && content.iter().all(|byte| *byte == 7));
}

#[test]
fn a_pull_that_is_killed_before_its_image_has_a_name_leaves_nothing() {
    if !ARE_HERE {
        eprintln!("SKIPPED: a build without debug assertions has no points to be killed at");
        return;
    }
    let env = env();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let line = format!("image pull http://{}/big.raw --name big", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            send(&stream.unwrap(), usize::MAX);
        }
    });
    for point in ["piece-written", "image-placed"] {
        assert!(env.with("PVECTL_TEST_KILL_AT", point).run_unless_killed(&line).is_none(), "{point}");
        assert_eq!(env.json("image list"), serde_json::json!([]), "{point}");
        let _ = env.run(&line).ok();
        let store = env.path(".local/state/pvectl/local/images");
        let left: Vec<_> = fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 3, "the index, its lock and the image: {left:?}");
        let file = env.json("image get big")["file"].as_str().unwrap().to_owned();
        let content = fs::read(store.join(file)).unwrap();
        assert!(content.len() == 1 << 20 && content.iter().all(|byte| *byte == 7), "{point}");
        let _ = env.run("image delete big --confirm").ok();
    }
}
