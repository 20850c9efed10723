//! What `docs/PYBITTORRENT.md` says is shown by tests: they must be there.

use std::fs;
use std::path::Path;

#[test]
fn every_test_that_the_checklist_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    read_all(&root.join("src"), &mut code);
    read_all(&root.join("tests"), &mut code);
    let list = fs::read_to_string(root.join("docs/PYBITTORRENT.md")).expect("it is there");
    let words = list.split('`').skip(1).step_by(2);
    // A test's name is a sentence; keys and options are shorter, or have other characters.
    let is_name = |word: &&str| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        word.bytes().all(plain) && word.matches('_').count() >= 4
    };
    let names: Vec<_> = words.filter(is_name).collect();
    assert!(names.len() > 60, "only {} tests are named", names.len());
    for name in names {
        assert!(
            code.contains(&format!("fn {name}()")),
            "there is no test {name}"
        );
    }
}

fn read_all(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).expect("it can be read").flatten() {
        let path = entry.path();
        if path.is_dir() {
            read_all(&path, text);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            text.push_str(&fs::read_to_string(&path).expect("it is UTF-8"));
        }
    }
}
