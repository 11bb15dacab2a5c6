#!/bin/sh
# Writes the man page adamoe.1 from the help texts of the program: manual.sh PROGRAM > adamoe.1
# There is no second text that could drift from what the program says.
set -eu

program=$1

# One line for each option and paragraph, however wide.
export ARGP_HELP_FMT=rmargin=20000,no-dup-args-note

verbs=$("$program" --help | sed -n '/^Examples/q; s/^  \([a-z][a-z]*\)  *[^ ].*/\1/p')

# Text for troff: backslashes, hyphens that are to be copied, and lines that would be requests.
escape='s/\\/\\e/g; s/-/\\-/g; s/^\([.'"'"']\)/\\\&\1/'

top() {
    "$program" --help | sed "$escape" | awk -v version="$("$program" --version)" '
        NR == 1 { printf ".TH ADAMOE 1 \"\" \"%s\" \"User Commands\"\n.SH NAME\n", version; next }
        NR == 2 { text = $0; sub(/\.$/, "", text); printf "adamoe \\- %s%s\n", tolower(substr(text, 1, 1)), substr(text, 2)
                  print ".SH SYNOPSIS\n.B adamoe\n.I VERB\n[\\fIOPTION\\fR...]\n.SH VERBS"; next }
        /^  [a-z]/ && !example { name = $1; sub(/^ *[a-z]+ */, ""); printf ".TP\n.B %s\n%s\n", name, $0; next }
        /^Exit codes: / { print ".SH EXIT STATUS"; status = 1; sub(/^Exit codes: /, "") }
        /^Examples?/ { print ".SH EXAMPLES\n.EX"; example = 1; next }
        example && /^$/ { print ".EE"; example = 0; next }
        { print $0 == "" && !example ? ".PP" : $0 }'
}

part() {
    "$program" "$1" --help | sed "$escape" | awk -v verb="$1" '
        NR == 1 { sub(/^Usage: /, ""); printf ".SH \"ADAMOE %s\"\n.B %s\n", toupper(verb), $0; next }
        NR == 2 { print ".PP" }
        /^ +\\-/ && !example {                      # an option, its argument, and what it does
            match($0, /[^ ]  +[^ ]/)
            name = RSTART ? substr($0, 1, RSTART) : $0
            text = RSTART ? substr($0, RSTART + RLENGTH - 1) : ""
            sub(/^ +/, "", name); printf ".TP\n.B %s\n%s\n", name, text; next }
        /^  [^ ].*  / && !example {                 # a kind of option that has no name of its own
            match($0, /[^ ]  +[^ ]/)
            printf ".TP\n.B %s\n%s\n", substr($0, 3, RSTART - 2), substr($0, RSTART + RLENGTH - 1); next }
        /^Example/ { printf ".PP\n%s\n.PP\n.EX\n", $0; example = 1; next }
        /^ [^ ]/ && !example { sub(/^ /, ""); printf ".PP\n%s\n", $0; next }
        $0 == "" { if (example) { print ".EE"; example = 0 } else print ".PP"; next }
        { print }
        END { if (example) print ".EE" }'
}

top
for verb in $verbs; do
    part "$verb"
done
