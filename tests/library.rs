//! The library as another crate sees it: the README's example in a crate of its own downloads.

mod program;

use std::fs;
use std::path::Path;
use std::process::Command;

use program::{PIECE, Running, Scene, torrent, tracker_answer, web_server};

#[test]
fn the_example_in_the_readme_compiles_in_a_new_crate_and_downloads() {
    let scene = Scene::new("library-crate", 9 * PIECE);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    let url = web_server("announce", vec![("200 OK", tracker_answer(&address))]);
    let bytes = torrent(&scene.payload, Some(&url));
    scene.write("big-buck-bunny.torrent", &bytes);

    let ours = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(ours.join("README.md")).expect("it is there");
    let example = readme.split("```rust,no_run\n").nth(1);
    let example = example.and_then(|rest| rest.split("```").next());
    fs::create_dir(scene.path("src")).expect("a new directory");
    let example = example.expect("the README has an example");
    scene.write("src/main.rs", example.as_bytes());
    let manifest = format!(
        "[package]\nname = \"guest\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
         [dependencies]\nminitorrent = {{ path = {ours:?} }}\n\
         [profile.dev]\nopt-level = 1\n[workspace]\n"
    );
    scene.write("Cargo.toml", manifest.as_bytes());
    // The same versions, so that what is compiled already is used again.
    let lock = fs::read_to_string(ours.join("Cargo.lock")).expect("it is there");
    scene.write("Cargo.lock", lock.as_bytes());
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    let built = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--offline", "--target-dir"])
        .arg(target.expect("it lies in the target directory"))
        .current_dir(scene.path("."))
        .output()
        .expect("cargo runs this test");
    let stderr = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{stderr}");
    assert!(scene.is_complete("downloads/x.bin"));
}
