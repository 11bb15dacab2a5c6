#!/bin/sh
# What the latest run of ctest in a build folder skipped, and why what failed did: ci/show_tests.sh build/release.
# Nobody should have to look for it in a log of ten thousand lines.
set -eu
log=$1/Testing/Temporary/LastTest.log
[ -r "$log" ] || { echo "ci/show_tests.sh: $log: no run of ctest there" >&2; exit 2; }

skipped=$(sed -n 's/^\(skipped: .*\)$/\1/p' "$log" | sort | uniq -c)
[ -z "$skipped" ] || printf 'Skipped, how often and why:\n%s\n' "$skipped"

# Of a test: the lines of cmocka that say why, each with its place, and those of the harness; of one that says nothing of
# the kind, because it crashed or took too long, the last lines.
awk '
function end_test() {
    if (name == "" || verdict ~ /Passed/) return
    if (!failures++) print "Failed:"
    print "  " name ": " verdict "; alone: ctest --test-dir \x27" folder "\x27 -V -R \x27^" name "$\x27"
    if (reasons == "") reasons = tail
    printf "%s", reasons
}
/^[0-9]+\/[0-9]+ Testing: / { end_test(); name = $3; reasons = tail = verdict = before = last = ""; lines = 0; inside = 0; next }
/^Output:$/ { inside = 1; next }
/^<end of output>/ { inside = 0; next }
/^Test (Passed|Failed|Timeout|timed out|exited)/ || /^Test (Passed|Failed)\./ { verdict = $0; next }
/^(Exception|Unable to find executable)/ { verdict = $0; next }
inside && (/\[  ERROR   \]/ || /\[   LINE   \]/ || /^ERROR: / || /^FAILED / || /ERROR: [A-Za-z]*Sanitizer/ || /runtime error:/) {
    if (!lines) reasons = before # a test that says in words of its own what is wrong, and then fails
    if (lines++ < 12) reasons = reasons "    " $0 "\n"
}
inside && NF { before = last "    " $0 "\n"; last = "    " $0 "\n" }
inside && NF && !/^-+$/ { shown[++all] = $0; tail = ""; for (i = all - 4 > first ? all - 4 : first + 1; i <= all; ++i) tail = tail "    " shown[i] "\n" }
inside == 0 && /^-----/ { first = all }
END { end_test() }
' folder="$1" "$log"
