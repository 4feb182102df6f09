//! `api --dry-run`: the call as it would be sent, and as a line for a shell.

use insta::assert_snapshot;
use serde_json::json;

use crate::{api::nowhere, harness::Env};

#[test]
fn a_dry_run_shows_the_call_and_a_line_for_a_shell() {
    let server = Env::new().serve("");
    assert_snapshot!(server.run("api put /nodes/pve1/qemu/100/config -p 'description=it is 1 & $HOME' --dry-run"), @r#"
    exit 0
    --- stdout
    PUT /nodes/pve1/qemu/100/config description="it is 1 & $HOME"
    curl -sS -X PUT -H "Authorization: PVEAPIToken=$PVE_TOKEN" --data-urlencode 'description=it is 1 & $HOME' http://127.0.0.1:PORT/api2/json/nodes/pve1/qemu/100/config
    --- stderr
    nothing was sent (--dry-run)
    "#);
    let _ = server.run("api delete /nodes/pve1/qemu/100 --dry-run").ok();
    assert_eq!(server.requests(), [""; 0]);
    assert!(!server.journal().exists());
}

#[test]
fn an_upload_names_its_file() {
    let env = nowhere();
    let upload = "api post /nodes/pve1/storage/local/upload -p content=iso";
    let _ = env.run(upload).exits(2).says(&["filename"]);
    let _ = env.run(&format!("{upload} -p filename=x.iso")).exits(2).says(&["-p filename=@FILE"]);
    let plan = env.run(&format!("{upload} -p filename=@sub/x.iso --dry-run -o json")).ok().json();
    assert_eq!(plan["params"], json!({"content": "iso", "filename": "x.iso"}));
    assert_eq!(plan["file"], "sub/x.iso");
    let line = plan["curl"].as_str().unwrap();
    assert!(line.contains("--form-string 'content=iso' -F 'filename=@sub/x.iso;filename=x.iso'"), "{line}");
}

#[test]
fn the_line_for_a_shell_works() {
    let server = Env::new().serve("");
    let value = "tom's & $HOME; \"1\"";
    server.write("value.txt", value);
    let line = "api put /nodes/pve1/qemu/100/config -p description=@value.txt --dry-run";
    let curl = server.json(line)["curl"].as_str().unwrap().to_owned();
    let mut shell = std::process::Command::new("sh");
    match shell
        .args(["-c", &format!("command -v curl >/dev/null || exit 77; {curl}")])
        .env("PVE_TOKEN", &server.token)
        .output()
    {
        Ok(output) if output.status.code() == Some(77) => eprintln!("SKIPPED: there is no curl"),
        Ok(output) => {
            assert!(output.status.success(), "{curl}\n{}", String::from_utf8_lossy(&output.stderr));
            let config = server.json("api get /nodes/pve1/qemu/100/config");
            assert_eq!(config["description"].as_str().unwrap().trim(), value);
        }
        Err(error) => eprintln!("SKIPPED: there is no shell ({error})"),
    }
}
