//! The manual page and the shells' completions, out of the tables that the reader uses.
//!
//! `minitorrent generate man|bash|zsh|fish` prints one. What the project ships in `docs/packaging` is this text; a
//! test below holds it current.

use std::ffi::OsStr;
use std::fmt::Write as _;

use super::config_file::{IDLE, KEYS};
use super::options::Command;
use super::table::{COMMANDS, OPTIONS, Opt, Values};

/// The text of that kind; `None` if there is none.
pub(super) fn text(kind: &OsStr) -> Option<String> {
    Some(match kind.to_str()? {
        "man" => man(),
        "bash" => bash(),
        "zsh" => zsh(),
        "fish" => fish(),
        _ => return None,
    })
}

fn man() -> String {
    let mut page = format!(
        ".TH MINITORRENT 1 \"\" \"minitorrent {}\" \"User Commands\"\n{MAN_HEAD}",
        env!("CARGO_PKG_VERSION")
    );
    page.push_str(".SH COMMANDS\nWithout a command the torrent is downloaded.\n");
    for word in COMMANDS {
        let (name, follows) = (word.word, roff(word.follows));
        let _ = writeln!(page, ".TP\n\\fB{name}\\fR {follows}\n{}", roff(word.about));
    }
    page.push_str(".SH OPTIONS\n");
    for option in OPTIONS {
        let mut names = format!("\\fB{}\\fR", roff(option.long));
        if let Some(short) = option.short {
            names = format!("\\fB{}\\fR, {names}", roff(short));
        }
        if let Some((value, _)) = option.value {
            let _ = write!(names, " \\fI{}\\fR", roff(value));
        }
        let _ = writeln!(page, ".TP\n{names}\n{}", roff(option.about));
    }
    page.push_str(MAN_TAIL);
    for key in KEYS {
        let names = key.names.join("\\fR, \\fB");
        let _ = writeln!(page, ".TP\n\\fB{names}\\fR\n{}", roff(key.about));
    }
    let idle = IDLE.join(", ");
    let _ = writeln!(
        page,
        ".PP\nThese mean nothing here and are reported: {idle}.\nUnknown keys are reported, and keys that begin with _ \
         are passed over."
    );
    page.push_str(MAN_END);
    page
}

/// Text that roff shows as it is: no command at the beginning of a line, real hyphens.
fn roff(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

fn bash() -> String {
    let mut by_kind = String::new();
    for option in OPTIONS {
        if let Some((_, values)) = option.value {
            let names = [option.short, Some(option.long)];
            let names: Vec<_> = names.into_iter().flatten().collect();
            let act = match values {
                Values::Text => "return".to_owned(),
                Values::File => "compopt -o filenames; words=$(compgen -f -- \"$current\")".into(),
                Values::Dir => "compopt -o filenames; words=$(compgen -d -- \"$current\")".into(),
                Values::Of(all) => {
                    format!("words=$(compgen -W '{}' -- \"$current\")", all.join(" "))
                }
            };
            let _ = writeln!(
                by_kind,
                "        {})\n            {act} ;;",
                names.join(" | ")
            );
        }
    }
    let mut by_command = String::new();
    for word in COMMANDS {
        let options = names(word.command).join(" ");
        let _ = writeln!(
            by_command,
            "                {}) options='{options}' ;;",
            word.word
        );
    }
    let words: Vec<_> = COMMANDS.iter().map(|word| word.word).collect();
    BASH.replace("@BY_KIND@\n", &by_kind)
        .replace("@BY_COMMAND@\n", &by_command)
        .replace("@DOWNLOAD@", &names(Command::Download).join(" "))
        .replace("@COMMANDS@", &words.join(" "))
}

fn names(command: Command) -> Vec<&'static str> {
    let taken = OPTIONS
        .iter()
        .filter(|option| option.commands.contains(&command));
    taken
        .flat_map(|option| [option.short, Some(option.long)])
        .flatten()
        .collect()
}

fn zsh() -> String {
    let mut lines = String::new();
    for option in OPTIONS {
        let help = quoted(&summary(option), &[']', '[', ':', '\\']);
        let value = option.value.map_or(String::new(), |(value, values)| {
            let act = match values {
                Values::Text => " ".to_owned(),
                Values::File => "_files".into(),
                Values::Dir => "_files -/".into(),
                Values::Of(all) => format!("({})", all.join(" ")),
            };
            format!(":{}:{act}", quoted(value, &[':', '[', ']']))
        });
        let long = option.long;
        let _ = match option.short {
            Some(short) => writeln!(
                lines,
                "        '({short} {long})'{{{short},{long}}}'[{help}]{value}' \\"
            ),
            None => writeln!(lines, "        '{long}[{help}]{value}' \\"),
        };
    }
    let mut words = String::new();
    for word in COMMANDS {
        let help = quoted(word.help, &[':', '\\']);
        let _ = writeln!(words, "        '{}:{help}'", word.word);
    }
    ZSH.replace("@OPTIONS@\n", &lines)
        .replace("@COMMANDS@\n", &words)
}

/// `text` within single quotes, with a backslash before each of `special`.
fn quoted(text: &str, special: &[char]) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        if letter == '\'' {
            out.push_str("'\\''");
            continue;
        }
        if special.contains(&letter) {
            out.push('\\');
        }
        out.push(letter);
    }
    out
}

fn fish() -> String {
    let mut lines = String::from(FISH);
    for word in COMMANDS {
        let _ = writeln!(
            lines,
            "complete -c minitorrent -n __fish_use_subcommand -a {} -d '{}'",
            word.word,
            fish_quoted(word.help)
        );
    }
    for option in OPTIONS {
        let mut line = String::from("complete -c minitorrent");
        if let Some(short) = option.short {
            let _ = write!(line, " -s {}", short.trim_start_matches('-'));
        }
        let _ = write!(line, " -l {}", option.long.trim_start_matches('-'));
        match option.value.map(|(_, values)| values) {
            None => {}
            Some(Values::Text) => line.push_str(" -x"),
            Some(Values::File) => line.push_str(" -r -F"),
            Some(Values::Dir) => line.push_str(" -x -a '(__fish_complete_directories)'"),
            Some(Values::Of(all)) => {
                let _ = write!(line, " -x -a '{}'", all.join(" "));
            }
        }
        let _ = writeln!(lines, "{line} -d '{}'", fish_quoted(&summary(option)));
    }
    lines
}

fn fish_quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'")
}

/// The first sentence about an option, for a list.
fn summary(option: &Opt) -> String {
    let end = option.about.find(". ").unwrap_or(option.about.len());
    option.about[..end].trim_end_matches('.').to_owned()
}

const MAN_HEAD: &str = r".SH NAME
minitorrent \- download, seed and check torrents on one thread
.SH SYNOPSIS
.B minitorrent
[\fIoptions\fR] \fItorrent\fR...
.br
.B minitorrent
\fIcommand\fR [\fIoptions\fR] \fItorrent\fR...
.SH DESCRIPTION
.B minitorrent
downloads torrents, seeds them if asked to, and ends.
What is there already is checked first and only the rest is fetched: run it again to go on.
Several torrents share one port and all limits; what goes wrong with one does not stop the others.
.PP
A \fItorrent\fR is a .torrent file,
.B \-
for standard input, an http or https URL of a .torrent file, and for
.BR magnet ,
downloads and scrapes also a magnet link or an info-hash of 40 hexadecimal digits, or 32 in base 32.
Behind
.B \-\-
everything is a torrent.
";

const MAN_TAIL: &str = r#".SH EXIT STATUS
Of several torrents the highest.
.TP
0
complete; everything is verified
.TP
1
the program or the system failed
.TP
2
the command line or the configuration is wrong
.TP
3
the torrent can't be read or is none
.TP
4
the disk is full, unwritable or gone
.TP
5
gave up: no one can be asked, or \-\-stop\-timeout has passed
.TP
6
interrupted; run again to go on
.TP
7
the same torrent is already running there
.TP
8
check, seed: some of the data is not there
.SH SIGNALS
The first SIGINT or SIGTERM says goodbye to trackers and ends within three seconds, the second ends at once.
SIGHUP opens the log file anew, and ends nothing that downloads or seeds.
It ends check, create, show, magnet and scrape as SIGTERM does, with exit status 6, unless it is ignored, as below nohup.
.SH MESSAGES
An error is one line on standard error: what, where, and what happens next, as in
.PP
.RS
error[torrent.open]: a.torrent: No such file or directory, nothing was started
.RE
.SH FILES
A configuration file is a JSON object. It is read and never written; the command line beats it.
The keys are PyBitTorrent's, and some of this program's own:
"#;

const MAN_END: &str = r#".SH EXAMPLES
.nf
minitorrent file.torrent \-o dir
minitorrent seed file.torrent \-o dir
minitorrent check *.torrent \-o dir
curl \-s https://example.org/file.torrent | minitorrent \-
.fi
"#;

const BASH: &str = r#"# Completion of minitorrent's command line for bash.
_minitorrent() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local options words=
    COMPREPLY=()
    case $previous in
@BY_KIND@
        *)
            case ${COMP_WORDS[1]} in
@BY_COMMAND@
                *) options='@DOWNLOAD@' ;;
            esac
            if [[ $current == -* ]]; then
                words=$(compgen -W "$options" -- "$current")
            else
                compopt -o filenames
                words=$(compgen -f -- "$current")
                if [[ $COMP_CWORD == 1 ]]; then
                    words+=$'\n'$(compgen -W '@COMMANDS@' -- "$current")
                fi
            fi
            ;;
    esac
    local IFS=$'\n'
    COMPREPLY=($words)
}
complete -F _minitorrent minitorrent
"#;

const ZSH: &str = r#"#compdef minitorrent
# Completion of minitorrent's command line for zsh.
_minitorrent_first() {
    local -a commands=(
@COMMANDS@
    )
    _describe -t commands command commands
    _files
}
_minitorrent() {
    _arguments -S \
@OPTIONS@
        '1: :_minitorrent_first' \
        '*:torrent:_files'
}
_minitorrent "$@"
"#;

const FISH: &str = "# Completion of minitorrent's command line for fish.\n";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cli::config_file::ConfigFile;
    use crate::cli::help;

    #[test]
    fn the_files_that_are_shipped_are_current() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/packaging");
        for (kind, file) in [
            ("man", "minitorrent.1"),
            ("bash", "completions/minitorrent.bash"),
            ("zsh", "completions/_minitorrent"),
            ("fish", "completions/minitorrent.fish"),
        ] {
            let shipped = std::fs::read_to_string(dir.join(file)).expect(file);
            let current = text(OsStr::new(kind)).expect(kind);
            // `minitorrent generate KIND > docs/packaging/FILE` brings it up to date.
            assert!(shipped == current, "docs/packaging/{file} is out of date");
        }
    }

    #[test]
    fn every_option_is_everywhere() {
        for kind in ["man", "bash", "zsh", "fish"] {
            let text = text(OsStr::new(kind)).expect(kind).replace('\\', "");
            for option in OPTIONS {
                let long = option.long.trim_start_matches('-');
                assert!(text.contains(long), "{kind} lacks {long}");
            }
            assert!(
                COMMANDS.iter().all(|word| text.contains(word.word)),
                "{kind}"
            );
        }
    }

    #[test]
    fn the_manual_names_every_key_that_a_configuration_file_may_have() {
        let page = man();
        let (_, keys) = page.split_once(".SH FILES").expect("it has that section");
        let named = |name: &&str| keys.contains(*name);
        assert!(IDLE.iter().all(named));
        for key in KEYS {
            let lines = format!(".TP\n\\fB{}\\fR\n", key.names.join("\\fR, \\fB"));
            assert!(keys.contains(&lines), "{lines}");
            // A text that is no value at all is refused by whoever takes the key.
            let text = format!("{{\"{}\": []}}", key.names[0]);
            assert!(ConfigFile::parse(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_manual_names_options_as_help_does() {
        let plain = man()
            .replace("\\fB", "")
            .replace("\\fI", "")
            .replace("\\fR", "");
        let plain = plain.replace("\\-", "-");
        assert!(
            OPTIONS
                .iter()
                .all(|option| plain.contains(&help::name(option)))
        );
    }
}
