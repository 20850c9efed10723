//! `--help`, made from the tables that the reader uses.

use std::fmt::Write as _;

use super::table::{COMMANDS, OPTIONS};

/// The whole text.
pub(super) fn text() -> String {
    let mut text = String::from(
        "minitorrent downloads, seeds and checks torrents on one thread.\n\n\
         usage: minitorrent [OPTIONS] TORRENT        download; TORRENT is a .torrent file, or - for standard input\n",
    );
    for (name, _, follows, help) in COMMANDS {
        let call = format!("{name} [OPTIONS] {follows}");
        let _ = writeln!(text, "       minitorrent {call:<25} {help}");
    }
    text.push_str("\noptions:\n");
    for option in OPTIONS {
        let short = option
            .short
            .map_or(String::from("    "), |s| format!("{s}, "));
        let value = option
            .value
            .map_or(String::new(), |value| format!(" {value}"));
        let left = format!("{short}{}{value}", option.long);
        let _ = writeln!(text, "  {left:<32} {}", option.help);
    }
    text.push_str(
        "\nexit status: 0 complete, 1 internal, 2 usage, 3 bad torrent, 4 disk, 5 gave up, 6 interrupted,\n\
         8 data incomplete (check, seed). Run again to resume.",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_option_is_in_the_text() {
        let text = text();
        assert!(OPTIONS.iter().all(|option| text.contains(option.long)));
        assert!(COMMANDS.iter().all(|command| text.contains(command.0)));
        assert!(text.lines().all(|line| line.len() <= 110), "{text}");
    }
}
