# Completion of minitorrent's command line for bash.
_minitorrent() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local options words=
    COMPREPLY=()
    case $previous in
        -o | --output-directory)
            compopt -o filenames; words=$(compgen -d -- "$current") ;;
        --max-peers)
            return ;;
        --peers)
            compopt -o filenames; words=$(compgen -f -- "$current") ;;
        --stop-timeout)
            return ;;
        --select)
            return ;;
        --first)
            return ;;
        --max-download-rate)
            return ;;
        --max-upload-rate)
            return ;;
        --seed-ratio)
            return ;;
        --seed-time)
            return ;;
        --port)
            return ;;
        --ca-file)
            compopt -o filenames; words=$(compgen -f -- "$current") ;;
        --dht-entry-point)
            return ;;
        --save-torrent)
            compopt -o filenames; words=$(compgen -f -- "$current") ;;
        --allocate)
            words=$(compgen -W 'sparse full' -- "$current") ;;
        --max-torrent-size)
            return ;;
        --state-dir)
            compopt -o filenames; words=$(compgen -d -- "$current") ;;
        --config)
            compopt -o filenames; words=$(compgen -f -- "$current") ;;
        --user-agent)
            return ;;
        --peer-id-prefix)
            return ;;
        --mem-limit)
            return ;;
        --progress)
            words=$(compgen -W 'auto bar lines json none' -- "$current") ;;
        --log-level)
            words=$(compgen -W 'off error warn info debug trace' -- "$current") ;;
        --log-file)
            compopt -o filenames; words=$(compgen -f -- "$current") ;;
        --torrent)
            compopt -o filenames; words=$(compgen -f -- "$current") ;;
        --tracker)
            return ;;
        --web-seed)
            return ;;
        --piece-length)
            return ;;
        --name)
            return ;;
        --comment)
            return ;;
        --source)
            return ;;
        --creation-date)
            return ;;
        --size)
            return ;;
        *)
            case ${COMP_WORDS[1]} in
                seed) options='-o --output-directory --max-peers --peers --stop-timeout --select --max-download-rate --max-upload-rate --seed-ratio --seed-time --super-seed --verify-on-upload --port --ipv4 --ipv6 --tcp-only --ca-file --no-dht --no-lsd --no-pex --dht-entry-point --max-torrent-size --state-dir --recheck --config --user-agent --peer-id-prefix --mem-limit --progress --json --log-level --log-file -v --verbose -q --quiet --torrent --use-progress-bar -h --help -V --version' ;;
                check) options='-o --output-directory --select --max-torrent-size --json --log-level --log-file -v --verbose -q --quiet --torrent -h --help -V --version' ;;
                show) options='--max-torrent-size --json --log-level --log-file -v --verbose -q --quiet --torrent -h --help -V --version' ;;
                magnet) options='--max-torrent-size --log-level --log-file -v --verbose -q --quiet --torrent -h --help -V --version' ;;
                create) options='-o --output-directory --force --json --log-level --log-file -v --verbose -q --quiet --tracker --web-seed --piece-length --private --name --comment --source --creation-date -h --help -V --version' ;;
                scrape) options='--ipv4 --ipv6 --tcp-only --ca-file --max-torrent-size --config --user-agent --log-level --log-file -v --verbose -q --quiet --torrent -h --help -V --version' ;;
                demo) options='--progress --json --log-level --log-file -v --verbose -q --quiet --use-progress-bar --size -h --help -V --version' ;;
                *) options='-o --output-directory --max-peers --peers --seed --stop-timeout --select --first --sequential --max-download-rate --max-upload-rate --seed-ratio --seed-time --super-seed --verify-on-upload --port --ipv4 --ipv6 --tcp-only --ca-file --no-dht --no-lsd --no-pex --dht-entry-point --save-torrent --allocate --force --exit-on-full --max-torrent-size --state-dir --recheck --config --user-agent --peer-id-prefix --mem-limit --progress --json --log-level --log-file -v --verbose -q --quiet --torrent --use-progress-bar -h --help -V --version' ;;
            esac
            if [[ $current == -* ]]; then
                words=$(compgen -W "$options" -- "$current")
            else
                compopt -o filenames
                words=$(compgen -f -- "$current")
                if [[ $COMP_CWORD == 1 ]]; then
                    words+=$'\n'$(compgen -W 'seed check show magnet create scrape demo' -- "$current")
                fi
            fi
            ;;
    esac
    local IFS=$'\n'
    COMPREPLY=($words)
}
complete -F _minitorrent minitorrent
