# Completion of adamoe for bash: verbs, options, and values of options that have few.
# Everything is asked from the program itself, so that nothing here can be out of date.

_adamoe_verbs() {
    "$1" --help 2>/dev/null | sed -n '/^Examples/q; s/^  \([a-z][a-z]*\)  *[^ ].*/\1/p'
}

_adamoe_options() {
    "$1" "$2" --help 2>/dev/null | sed -n 's/^ \{2,6\}\(-[^-], \)\{0,1\}\(--[a-z][a-z-]*\).*/\2/p'
}

# The values of `PROGRAM VERB --OPTION`, where they are few.
_adamoe_values() {
    case $3 in
    --kernel)
        "$1" info 2>/dev/null | sed -n 's/^kernel  *\([^ :]*\).*/\1/p' ;;
    --preset | --numa | --tier | --routing | --routers | --task | --rank-experts)
        # a name that does not exist is answered with those that do
        "$1" "$2" "$3" '?' 2>&1 >/dev/null | sed -n 's/.* is not one of: //p' | tr -d ',' ;;
    --command | --plugin) ;; # files, and what the shell knows
    *)
        "$1" "$2" --help 2>/dev/null | sed -n "s/^ *\(-[^-], \)\{0,1\}$3=\([^ ]*|[^ ]*\).*/\2/p" | tr '|' '\n' ;;
    esac
}

_adamoe() {
    local program=${COMP_WORDS[0]} verb=${COMP_WORDS[1]} word=${COMP_WORDS[COMP_CWORD]}
    local option=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W "$(_adamoe_verbs "$program") --help --version" -- "$word")
        return
    fi
    if [[ $word == = ]]; then # --option=, which bash takes for a word of its own
        word=
    elif [[ $option == = ]]; then
        option=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_adamoe_options "$program" "$verb")" -- "$word")
    elif [[ $option == --* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_adamoe_values "$program" "$verb" "$option")" -- "$word")
    fi
}

complete -o bashdefault -o default -F _adamoe adamoe
