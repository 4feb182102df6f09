//! The bodies of the fuzz targets, over their seeds and over texts made up here. Searching longer is cargo-fuzz's work.

#[path = "../../fuzz/bodies.rs"]
mod bodies;

use std::{fs, path::Path};

use proptest::{prelude::*, test_runner::TestRunner};

/// Where the targets are.
const FUZZ: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz");

/// A target and pieces of its grammar, of which texts are made.
struct Target {
    name: &'static str,
    body: fn(&str),
    pieces: &'static [&'static str],
}

const TARGETS: &[Target] = &[
    Target {
        name: "request",
        body: bodies::request,
        pieces: &[
            "GET ",
            "POST ",
            "DELETE ",
            "/api2/json",
            "/nodes",
            "/pve1",
            "/qemu",
            "/100",
            "/config",
            "/access",
            "/users",
            "/..%2f",
            "%00",
            "?",
            "&",
            "=",
            "vmid",
            " HTTP/1.1\nHost: x\n",
            "Content-Length: 5\n",
            "Transfer-Encoding: chunked\n",
            "Content-Type: application/json\n",
            "Content-Type: multipart/form-data; boundary=x\n",
            "\n\n",
            "{",
            "[",
            "--x\n",
            "0",
            "ü",
        ],
    },
    Target {
        name: "property_string",
        body: bodies::property_string,
        pieces: &["a", "size", "32G", "local:x", "=", ",", " ", ";", "\"", "ü", "\n"],
    },
    Target {
        name: "upid",
        body: bodies::upid,
        pieces: &["UPID", ":", "pve1", "00051E7A", "1A2B3C4D5", "qmstart", "100", "root@pam", "!t", "%", "ü"],
    },
    Target {
        name: "label_selector",
        body: bodies::label_selector,
        pieces: &["app", "web", "in", "notin", "(", ")", ",", "=", "!", " ", ".", "-", "ü"],
    },
    Target {
        name: "field_selector",
        body: bodies::field_selector,
        pieces: &["a", "b", "items", "-", ".", "[", "]", "0", "'", "\"", "=", "!", "<", ">", ",", "\\", " ", "4G", "ü"],
    },
    Target {
        name: "jsonpath_template",
        body: bodies::jsonpath_template,
        pieces: &[
            "{",
            "}",
            "range ",
            "end",
            ".",
            "..",
            "$",
            "@",
            "a",
            "items",
            "*",
            "[",
            "]",
            "(",
            ")",
            "?",
            "0",
            ":",
            "-1",
            "'",
            "\"",
            "\\",
            ",",
            "==",
            "<",
            "&&",
            "||",
            "!",
            "length",
            "match",
            "{.items[*]}",
            "[?(@.a==1)]",
            " ",
            "ü",
        ],
    },
];

#[test]
fn seeds() {
    for target in TARGETS {
        let seeds = fs::read_dir(Path::new(FUZZ).join("seeds").join(target.name)).unwrap();
        let texts: Vec<String> = seeds.map(|seed| fs::read_to_string(seed.unwrap().path()).unwrap()).collect();
        assert!(texts.len() > 3, "{}", target.name);
        texts.iter().for_each(|text| (target.body)(text));
    }
}

#[test]
fn texts_of_the_grammars_pieces() {
    for target in TARGETS {
        let piece = prop::sample::select(target.pieces);
        let texts = prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat());
        let ran = TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1024) })
            .run(&texts, |text| {
                (target.body)(&text);
                Ok(())
            });
        ran.unwrap_or_else(|error| panic!("{}: {error}", target.name));
    }
}

#[test]
fn any_text() {
    for target in TARGETS {
        let ran = TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }).run(
            &any::<String>(),
            |text| {
                (target.body)(&text);
                Ok(())
            },
        );
        ran.unwrap_or_else(|error| panic!("{}: {error}", target.name));
    }
}

#[test]
fn every_target_is_here_and_there() {
    let manifest = fs::read_to_string(Path::new(FUZZ).join("Cargo.toml")).unwrap();
    let readme = fs::read_to_string(Path::new(FUZZ).join("README.md")).unwrap();
    assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
    for Target { name, .. } in TARGETS {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
        assert!(readme.contains(&format!("`{name}`")), "{name}");
        let file = fs::read_to_string(Path::new(FUZZ).join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(file.contains(&format!("bodies::{name}(text)")), "{name}");
    }
}

#[test]
fn deep_nesting_ends_soon() {
    // Every reading of what is not closed would be tried, and that many times at each level.
    for piece in ["[?(", "[?length(", "[?match(@,", "[?!(", "[", "[?@", "{range .a}", "[?(@.a==1||", "..", "(((("] {
        for depth in [7, 8, 9, 1000] {
            bodies::jsonpath_template(&format!("{{.a{}", piece.repeat(depth)));
            bodies::jsonpath_template(&piece.repeat(depth));
            bodies::jsonpath_template(&format!(".a[?{}@.a{}]", "length(".repeat(depth), ")".repeat(depth)));
            bodies::jsonpath_template(&format!(".a[?{}@.a{}]", "(".repeat(depth), ")".repeat(depth)));
        }
    }
}
