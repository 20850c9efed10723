//! `--help`, made from the tables that the reader uses.

use std::fmt::Write as _;

use super::table::{COMMANDS, OPTIONS, Opt};

/// The whole text: it fits a screen of 50 lines of 80 columns.
pub(super) fn text() -> String {
    let mut text =
        String::from("minitorrent downloads, seeds and checks torrents on one thread.\n\n");
    row(
        &mut text,
        "minitorrent TORRENT...",
        "fetch a .torrent, its URL, a magnet, a hash or -",
    );
    for word in COMMANDS {
        let call = format!("minitorrent {} {}", word.word, word.follows);
        row(&mut text, call.trim_end(), word.help);
    }
    text.push('\n');
    let mut options = OPTIONS.iter().peekable();
    while let Some(first) = options.next() {
        let mut left = name(first);
        while let Some(next) = options.next_if(|next| next.beside) {
            left.push_str(", ");
            left.push_str(&name(next));
        }
        row(&mut text, &left, first.help);
    }
    text.push_str(
        "\nexit status: 0 complete, 1 internal, 2 usage, 3 bad torrent, 4 disk, 5 gave up,\n\
         6 interrupted, 7 already running there, 8 check, seed: data incomplete",
    );
    text
}

fn row(text: &mut String, left: &str, right: &str) {
    let _ = writeln!(text, "{left:<30} {right}");
}

/// How an option is written: `-o, --output-directory DIR`.
pub(super) fn name(option: &Opt) -> String {
    let short = option
        .short
        .map_or(String::new(), |short| format!("{short}, "));
    let value = option
        .value
        .map_or(String::new(), |(value, _)| format!(" {value}"));
    format!("{short}{}{value}", option.long)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_option_is_in_a_text_that_fits_a_screen() {
        let text = text();
        assert!(OPTIONS.iter().all(|option| text.contains(option.long)));
        assert!(COMMANDS.iter().all(|word| text.contains(word.word)));
        assert!(text.lines().count() <= 50, "{text}");
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    }
}
