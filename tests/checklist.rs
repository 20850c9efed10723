//! What the documents say is shown by tests: they must be there.

use std::fs;
use std::path::Path;

#[test]
fn every_test_that_the_checklist_names_exists() {
    let list = document("docs/PYBITTORRENT.md");
    let names: Vec<_> = quoted(&list).filter(|word| is_test(word)).collect();
    assert!(names.len() > 60, "only {} tests are named", names.len());
    all_exist(&names);
}

/// A row names tests as `file::test`, files of tests, and fuzz targets.
#[test]
fn every_test_that_the_table_of_what_it_survives_names_exists() {
    let table = document("docs/RELIABILITY.md");
    let words: Vec<&str> = quoted(&table).collect();
    let tests: Vec<&str> = words
        .iter()
        .filter_map(|word| word.split_once("::"))
        .map(|(_, test)| test)
        .filter(|test| *test != "*")
        .collect();
    assert!(tests.len() > 120, "only {} tests are named", tests.len());
    all_exist(&tests);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let paths = words
        .iter()
        .filter(|word| word.contains('/') && !word.contains(' '));
    for path in paths.filter(|word| word.starts_with("src/") || word.starts_with("tests/")) {
        assert!(root.join(path).exists(), "there is no {path}");
    }
    for row in table.lines().filter(|line| line.contains("fuzz `")) {
        for target in row.split("fuzz `").skip(1) {
            let target = target.split('`').next().expect("it is quoted");
            let file = root.join(format!("fuzz/fuzz_targets/{target}.rs"));
            assert!(file.exists(), "there is no target {target}");
        }
    }
}

/// Every row has a test, or says what it waits for, or why it can't run.
#[test]
fn no_row_of_the_table_is_open() {
    let table = document("docs/RELIABILITY.md");
    for row in table.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, id, _, shown_by, result, _] = cells[..] else {
            panic!("not four columns: {row}");
        };
        let has_test = shown_by.contains('`') && result.starts_with("passes");
        let waits = result.starts_with("waits for");
        assert!(has_test || waits, "{id}: {result}");
    }
}

fn document(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join(name)).expect("it is there")
}

fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A test's name is a sentence; keys and options are shorter, or have other characters.
fn is_test(word: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    word.bytes().all(plain) && word.matches('_').count() >= 4
}

fn all_exist(names: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    read_all(&root.join("src"), &mut code);
    read_all(&root.join("tests"), &mut code);
    for name in names {
        // A trial may have its name in a table.
        let ways = [
            format!("fn {name}("),
            format!("mod {name};"),
            format!("\"{name}\""),
        ];
        let is_there = ways.iter().any(|way| code.contains(way));
        assert!(is_there, "there is no test {name}");
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
