# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Completion of the weft command for bash; installed as completions/weft.

# Words that complete a weft: path: the entries of its folder, asked from the cluster.
_weft_remote_paths()
{
    local word=$1 folder name
    folder=${word%/*}/
    [[ $folder == weft:* ]] || folder=weft:/
    while IFS= read -r name; do
        [[ $name ]] && printf '%s%s\n' "$folder" "$name"
    done < <(timeout 2 weft ls "$folder" 2>/dev/null)
}

# The hints that there are, as "name=" or with each of their values.
_weft_hints()
{
    local name values value
    while IFS='=' read -r name values; do
        printf '%s=\n' "$name"
        [[ $values == *'|'* ]] || continue
        while IFS= read -r value; do printf '%s=%s\n' "$name" "$value"; done <<<"${values//|/$'\n'}"
    done < <(weft hints --list 2>/dev/null | grep -E '^[a-z_]+=')
}

_weft()
{
    local IFS=$'\n' word command='' i
    # A colon parts words in bash; put the parts of weft:/path together again.
    word=${COMP_LINE:0:COMP_POINT}
    word=${word##*[[:space:]]}
    for ((i = 1; i < COMP_CWORD; i++)); do
        [[ ${COMP_WORDS[i]} != -* ]] && { command=${COMP_WORDS[i]}; break; }
    done

    if [[ -z $command ]]; then
        local commands
        commands=$(weft --list-commands 2>/dev/null)
        mapfile -t COMPREPLY < <(compgen -W "$commands"$'\n--help\n--version' -- "$word")
        return
    fi
    case ${COMP_WORDS[COMP_CWORD - 1]} in
    --dir) mapfile -t COMPREPLY < <(compgen -d -- "$word"); return ;;
    --svg | --topology | --conf)
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        compopt -o filenames
        return
        ;;
    -t)
        if [[ $command == plan ]]; then
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            compopt -o filenames
            return
        fi
        ;;
    --level | -l)
        if [[ $command == plan ]]; then
            mapfile -t COMPREPLY < <(compgen -W $'target\nhost\nchassis\nrack' -- "$word")
            return
        fi
        ;;
    --user | -u) mapfile -t COMPREPLY < <(compgen -u -- "$word"); return ;;
    --group | -g) mapfile -t COMPREPLY < <(compgen -g -- "$word"); return ;;
    --transport) mapfile -t COMPREPLY < <(compgen -W "auto ucx ofi ucx+ofi" -- "$word"); return ;;
    esac
    if [[ $word == -* ]]; then
        local options
        options=$(weft "$command" --list-options 2>/dev/null | sed 's/=$//')
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
        return
    fi
    if [[ $command == hints && $COMP_LINE == *' weft:'*' '* && $word != weft:* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_weft_hints)" -- "$word")
        # What stands in front of the = is on the line already; without one, names alone.
        if [[ $word == *=* ]]; then
            mapfile -t COMPREPLY < <(printf '%s\n' "${COMPREPLY[@]}" | grep -v '=$')
            [[ $COMP_WORDBREAKS == *=* ]] && COMPREPLY=("${COMPREPLY[@]#*=}")
        else
            mapfile -t COMPREPLY < <(printf '%s\n' "${COMPREPLY[@]}" | grep '=$')
            compopt -o nospace
        fi
        return
    fi
    case $command in
    up | down | env | status | topo | df | plan | net) ;;
    mount | umount) mapfile -t COMPREPLY < <(compgen -d -- "$word") ;;
    *)
        if [[ $word == weft:* ]]; then
            mapfile -t COMPREPLY < <(compgen -W "$(_weft_remote_paths "$word")" -- "$word")
            # What stands in front of the last colon is on the line already.
            [[ $COMP_WORDBREAKS == *:* ]] && COMPREPLY=("${COMPREPLY[@]#weft:}")
            compopt -o nospace
        else
            mapfile -t COMPREPLY < <(compgen -W weft:/ -- "$word")
            if [[ ${#COMPREPLY[@]} -gt 0 ]]; then
                compopt -o nospace
            elif [[ $command == cp || $command == ln ]]; then
                mapfile -t COMPREPLY < <(compgen -f -- "$word")
                compopt -o filenames
            fi
        fi
        ;;
    esac
}

complete -F _weft weft
