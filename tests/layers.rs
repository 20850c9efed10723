//! The layer rule, held by reading every path in `src/`.
//!
//! A module names its own layer and those to its left only; a few outside crates have one door
//! each. The reader below knows just enough Rust for that: it skips comments and literals, follows
//! `use` trees over as many lines as they take, and resolves `super`.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn no_module_names_a_layer_to_its_right() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    rust_files(&root.join("src"), &mut files);
    files.sort();
    let mut faults = Vec::new();
    let mut paths = 0;
    for file in &files {
        let name = file.strip_prefix(root).expect("the walk began there");
        let name = name.to_str().expect("our file names are ASCII");
        let text = fs::read_to_string(file).expect("a file of ours can be read");
        paths += paths_of(&text).len();
        faults.extend(faults_of(name, &text));
    }
    assert!(
        files.len() > LAYERS.len(),
        "only {} files were found",
        files.len()
    );
    assert!(paths > 100, "only {paths} paths were found");
    assert!(
        faults.is_empty(),
        "the layer rule is broken:\n{}",
        faults.join("\n")
    );
}

/// What breaks the rules in one file, each as `file:line: what`.
fn faults_of(file: &str, text: &str) -> Vec<String> {
    let own = file
        .strip_prefix("src/")
        .expect("only files below src/ are read");
    let place = place_of(own);
    let paths = paths_of(text);
    let layer = match place.first() {
        Some(first) => LAYERS.iter().position(|layer| layer == first),
        None => Some(LAYERS.len()),
    };
    let Some(layer) = layer else {
        return vec![format!("{file}:1: `{}` is no layer", place[0])];
    };
    let mut faults = Vec::new();
    for path in &paths {
        let names = path.names.iter().map(String::as_str).collect::<Vec<_>>();
        if let Some(target) = from_the_root(&place, path, &names) {
            match target.map(|name| (name, LAYERS.iter().position(|layer| *layer == name))) {
                Some((name, Some(other))) if other > layer => faults.push(format!(
                    "{file}:{}: layer `{}` names `{name}`, which lies to its right",
                    path.line, LAYERS[layer]
                )),
                Some((_, Some(_))) => (),
                Some((name, None)) => {
                    faults.push(format!("{file}:{}: `{name}` is no layer", path.line));
                }
                None => faults.push(format!("{file}:{}: names the crate as a whole", path.line)),
            }
        }
        for (krate, doors, what) in DOORS {
            let named = names[0] == *krate && (path.used || names.len() > 1);
            let open = doors.iter().any(|door| own.starts_with(door));
            if named && !open && (path.absolute || !is_local(&paths, text, krate)) {
                faults.push(format!("{file}:{}: only {what} names `{krate}`", path.line));
            }
        }
    }
    faults.dedup();
    faults
}

/// The module path of a file below `src/`; empty for the two roots.
fn place_of(own: &str) -> Vec<&str> {
    let stem = own.strip_suffix(".rs").expect("only Rust files are read");
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    if matches!(stem, "lib" | "main") {
        Vec::new()
    } else {
        stem.split('/').collect()
    }
}

/// The name that follows the crate's root, if the path goes there: `Some(None)` if nothing follows.
fn from_the_root<'a>(place: &[&str], path: &Named, names: &[&'a str]) -> Option<Option<&'a str>> {
    if names[0] == "crate" {
        // A lone `crate` outside of `use` is the one of `pub(crate)`.
        return (path.used || names.len() > 1).then(|| names.get(1).copied());
    }
    let start = usize::from(names[0] == "self");
    let ups = names[start..]
        .iter()
        .take_while(|name| **name == "super")
        .count();
    let at_the_root = ups > 0 && ups == place.len() + path.depth;
    at_the_root.then(|| names.get(start + ups).copied())
}

/// Whether this file has a module or an import of that name, which hides the outside crate.
fn is_local(paths: &[Named], text: &str, name: &str) -> bool {
    let imported = |path: &Named| {
        path.used && path.names.len() > 1 && path.names.last().is_some_and(|last| last == name)
    };
    let tokens = tokens_of(text);
    paths.iter().any(imported)
        || tokens
            .windows(2)
            .any(|pair| pair[0].text == "mod" && pair[1].text == name)
}

/// A path as it is written, with its groups taken apart.
struct Named {
    names: Vec<String>,
    line: usize,
    /// It stands in a `use`.
    used: bool,
    /// It begins with `::`.
    absolute: bool,
    /// How many inline modules it stands in.
    depth: usize,
}

/// Every path of a file: those of `use` trees in full, the others as far as they are plain names.
fn paths_of(text: &str) -> Vec<Named> {
    let tokens = tokens_of(text);
    let word = |at: usize| {
        tokens
            .get(at)
            .map_or("", |token: &Token| token.text.as_str())
    };
    let mut paths = Vec::new();
    let mut modules = Vec::new();
    let mut braces = 0_usize;
    let mut at = 0;
    while at < tokens.len() {
        match word(at) {
            "{" => braces += 1,
            "}" => {
                braces = braces.saturating_sub(1);
                modules.retain(|opened| *opened < braces);
            }
            "mod" if word(at + 2) == "{" => modules.push(braces),
            "use" if word(at + 1) != "<" => {
                at = use_tree(&tokens, at + 1, &[], modules.len(), &mut paths);
                continue;
            }
            "extern" if word(at + 1) == "crate" => {
                at = use_tree(&tokens, at + 2, &[], modules.len(), &mut paths);
                continue;
            }
            _ if tokens[at].is_name() => {
                let before = at.checked_sub(1).map_or("", word);
                let absolute = before == "::" && !(at > 1 && ends_a_path(&tokens[at - 2]));
                let line = tokens[at].line;
                let mut names = vec![tokens[at].text.clone()];
                let inside = (before == "::" && !absolute) || before == ".";
                while word(at + 1) == "::" && tokens.get(at + 2).is_some_and(Token::is_name) {
                    names.push(tokens[at + 2].text.clone());
                    at += 2;
                }
                if !inside {
                    let depth = modules.len();
                    paths.push(Named {
                        names,
                        line,
                        used: false,
                        absolute,
                        depth,
                    });
                }
            }
            _ => (),
        }
        at += 1;
    }
    paths
}

/// Whether a `::` behind this token goes on with a path, instead of beginning one.
fn ends_a_path(token: &Token) -> bool {
    token.text == ">" || (token.is_name() && !KEYWORDS.contains(&token.text.as_str()))
}

/// Reads one branch of a `use` tree and gives the place behind it. Each turn takes a token or
/// returns.
fn use_tree(
    tokens: &[Token],
    mut at: usize,
    before: &[String],
    depth: usize,
    paths: &mut Vec<Named>,
) -> usize {
    let mut names = before.to_vec();
    let mut absolute = false;
    let mut grouped = false;
    let line = tokens.get(at).map_or(0, |token| token.line);
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "::" => absolute |= names.is_empty(),
            "{" => {
                grouped = true;
                at += 1;
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    at = use_tree(tokens, at, &names, depth, paths);
                    at += usize::from(tokens.get(at).is_some_and(|token| token.text == ","));
                }
            }
            "as" => at += 1,
            "," | "}" | ";" => break,
            name => names.push(name.to_owned()),
        }
        at += 1;
    }
    if !grouped && !names.is_empty() {
        paths.push(Named {
            names,
            line,
            used: true,
            absolute,
            depth,
        });
    }
    at
}

struct Token {
    text: String,
    line: usize,
}

impl Token {
    fn is_name(&self) -> bool {
        self.text
            .starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// Names, `::` and single signs, without comments and literals.
fn tokens_of(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let taken = literal_or_comment(rest).unwrap_or_else(|| {
            let name = rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            let taken = match name {
                0 if rest.starts_with("::") => 2,
                0 => first.len_utf8(),
                more => more,
            };
            if !first.is_whitespace() && !first.is_ascii_digit() {
                tokens.push(Token {
                    text: rest[..taken].to_owned(),
                    line,
                });
            }
            taken
        });
        line += rest[..taken].matches('\n').count();
        rest = &rest[taken..];
    }
    tokens
}

/// How long the comment, string or character is that begins here, if one does.
fn literal_or_comment(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| {
        rest.strip_prefix(prefix).is_some_and(|body| {
            body.starts_with('"') || (prefix.ends_with('r') && raw_hashes(body).is_some())
        })
    });
    if let Some(prefix) = prefix {
        let body = &rest[prefix.len()..];
        let length = if prefix.ends_with('r') {
            let end = format!("\"{}", "#".repeat(raw_hashes(body)?));
            let open = end.len();
            body[open..]
                .find(&end)
                .map_or(body.len(), |at| open + at + end.len())
        } else {
            quoted(body, '"')
        };
        return Some(prefix.len() + length);
    }
    // A character ends with a quote one character later, or begins with a backslash; else it is a
    // lifetime.
    let body = rest.strip_prefix('b').unwrap_or(rest);
    let mut chars = body.strip_prefix('\'')?.chars();
    let is_char = chars.next()? == '\\' || chars.next() == Some('\'');
    is_char.then(|| rest.len() - body.len() + quoted(body, '\''))
}

/// The number of `#` of a raw string that opens here behind its `r`.
fn raw_hashes(body: &str) -> Option<usize> {
    let hashes = body.len() - body.trim_start_matches('#').len();
    body[hashes..].starts_with('"').then_some(hashes)
}

/// The length of a literal between two `quote`s.
fn quoted(body: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in body.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => (),
        }
    }
    body.len()
}

/// The length of a block comment with those inside it.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

fn rust_files(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory of ours can be read") {
        let path = entry.expect("its entries too").path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// From left to right: a layer names itself and those before it.
const LAYERS: [&str; 8] = [
    "base", "wire", "net", "engine", "disk", "reactor", "client", "cli",
];

/// Outside crates, where they may be named, and that place in words.
const DOORS: &[(&str, &[&str], &str)] = &[
    ("mio", &["reactor/"], "the reactor"),
    ("signal_hook", &["reactor/"], "the reactor"),
    ("signal_hook_mio", &["reactor/"], "the reactor"),
    ("ureq_proto", &["net/http_"], "net/http_*"),
    ("ureq", &["client/fetch"], "client/fetch"),
    ("http", &["net/http_"], "net/http_*"),
];

/// Words that may stand before a path that begins with `::`.
const KEYWORDS: [&str; 10] = [
    "as", "dyn", "else", "for", "if", "impl", "in", "match", "mut", "return",
];

mod the_reader_itself {
    use super::faults_of;

    #[track_caller]
    fn breaks(file: &str, text: &str, fault: &str) {
        assert_eq!(faults_of(file, text), [format!("{file}:{fault}")], "{text}");
    }

    #[track_caller]
    fn keeps(file: &str, text: &str) {
        assert_eq!(faults_of(file, text), [""; 0], "{text}");
    }

    #[test]
    fn a_use_to_the_right_is_found_with_its_line() {
        breaks(
            "src/wire/message.rs",
            "\nuse crate::base::ids::Piece;\nuse crate::engine::io::Input;\n",
            "3: layer `wire` names `engine`, which lies to its right",
        );
        keeps(
            "src/engine/session.rs",
            "use crate::base::ids::Piece; use crate::engine::io::Input;",
        );
    }

    #[test]
    fn an_inline_path_to_the_right_is_found() {
        breaks(
            "src/disk/store.rs",
            "fn f() -> u32 {\n    1 + crate::reactor::turn::<u8>()\n}",
            "2: layer `disk` names `reactor`, which lies to its right",
        );
        breaks(
            "src/base/a.rs",
            "impl crate::wire::T for Vec<crate::base::B> {}",
            "1: layer `base` names `wire`, which lies to its right",
        );
    }

    #[test]
    fn a_group_over_several_lines_is_taken_apart() {
        breaks(
            "src/net/stream.rs",
            "use crate::{\n    base::{ids::Piece, time},\n    // engine::io\n    client::{self, Event},\n};",
            "4: layer `net` names `client`, which lies to its right",
        );
        breaks(
            "src/net/stream.rs",
            "pub(crate) use crate\n    ::\n    cli\n    ::run as walk;",
            "1: layer `net` names `cli`, which lies to its right",
        );
    }

    #[test]
    fn super_is_followed_to_the_root_and_out_of_inline_modules() {
        let fault = "1: layer `engine` names `disk`, which lies to its right";
        breaks(
            "src/engine/torrent/picker.rs",
            "use super::super::super::disk::Store;",
            fault,
        );
        breaks(
            "src/engine/mod.rs",
            "mod tests { use super::super::disk::Store; }",
            fault,
        );
        breaks(
            "src/engine/mod.rs",
            "mod a { mod b {} } fn f() { self::super::disk::g() }",
            fault,
        );
        keeps(
            "src/engine/torrent/picker.rs",
            "use super::super::disk::Order;",
        );
        keeps("src/engine/mod.rs", "mod tests { use super::disk::Store; }");
    }

    #[test]
    fn the_root_itself_and_what_is_no_layer_are_refused() {
        breaks(
            "src/base/a.rs",
            "use crate as all;",
            "1: names the crate as a whole",
        );
        breaks("src/base/a.rs", "use crate::*;", "1: `*` is no layer");
        breaks(
            "src/base/a.rs",
            "use crate::{Piece};",
            "1: `Piece` is no layer",
        );
        breaks("src/extra/mod.rs", "", "1: `extra` is no layer");
        keeps(
            "src/base/a.rs",
            "pub(crate) struct A { pub(in crate::base) b: u8 }",
        );
    }

    #[test]
    fn comments_strings_and_characters_are_no_code() {
        keeps(
            "src/base/a.rs",
            "/// See [`crate::engine`].\n// crate::cli\n/* /* crate::cli */ */",
        );
        keeps(
            "src/base/a.rs",
            r###"const A: &str = "\" crate::cli"; const B: &[u8] = br#"" mio::Poll"#;"###,
        );
        breaks(
            "src/base/a.rs",
            "fn f<'a>(a: &'a str) { g('\"', b'\\'', '\\u{22}'); crate::cli::h('\"') }",
            "1: layer `base` names `cli`, which lies to its right",
        );
    }

    #[test]
    fn only_the_reactor_names_mio() {
        breaks(
            "src/disk/a.rs",
            "\nuse mio::Token;",
            "2: only the reactor names `mio`",
        );
        breaks(
            "src/cli/a.rs",
            "use {std::io, mio};",
            "1: only the reactor names `mio`",
        );
        breaks(
            "src/client/a.rs",
            "fn f(_: ::mio::Token) {}",
            "1: only the reactor names `mio`",
        );
        breaks(
            "src/client/a.rs",
            "extern crate mio as m;",
            "1: only the reactor names `mio`",
        );
        breaks(
            "src/cli/a.rs",
            "use signal_hook_mio::v1_0::Signals;",
            "1: only the reactor names `signal_hook_mio`",
        );
        keeps(
            "src/reactor/turn.rs",
            "use mio::{Poll, Token}; use signal_hook_mio::v1_0::Signals;",
        );
    }

    #[test]
    fn only_http_machines_name_the_http_crates() {
        breaks(
            "src/engine/a.rs",
            "use http::Uri;",
            "1: only net/http_* names `http`",
        );
        breaks(
            "src/net/stream.rs",
            "fn f(_: ureq_proto::Error) {}",
            "1: only net/http_* names `ureq_proto`",
        );
        keeps(
            "src/net/http_call.rs",
            "use http::Uri; use ureq_proto::client::Call;",
        );
    }

    #[test]
    fn a_module_of_ours_may_bear_a_crate_s_name() {
        keeps(
            "src/engine/tracker/mod.rs",
            "mod http; pub use http::Announce;",
        );
        keeps(
            "src/engine/a.rs",
            "use super::tracker::{http, udp}; fn f() { http::f() }",
        );
        keeps(
            "src/engine/a.rs",
            "fn f() { self.http.f(); super::http::f(); let http = 1; }",
        );
        breaks(
            "src/engine/a.rs",
            "mod http; use ::http::Uri;",
            "1: only net/http_* names `http`",
        );
    }
}
