#!/bin/sh
# A connector in shell: a badge for each student, in a file of JSON lines that BADGES names.
# Sésame gives the verb, and a line for each student on standard input. It wants jq.
set -eu
exec 9>>"$BADGES.lock" && flock 9
[ -e "$BADGES" ] || : > "$BADGES"

keep() { # the badges that jq's answer has, and what it says of each student
    jq -c '.badges[]' "$BADGES.new" > "$BADGES.kept"
    jq -c '.said[]' "$BADGES.new"
    mv "$BADGES.kept" "$BADGES" && rm "$BADGES.new"
}

case $1 in
probe) [ -w "$BADGES" ] || exit 69 ;; # EX_UNAVAILABLE: the target is away
objects) cat "$BADGES" ;;
read)
    jq -c --slurpfile badges "$BADGES" '. as $asked | {student_number, objects: [$badges[] | select(
        .student_number == $asked.student_number or any(.names[]; .[1] == $asked.account.login[0]))]}' ;;
apply | close)
    jq -cn --slurpfile badges "$BADGES" '
        def long: any(.fields.display_name[]?; length > 60);
        def names: [["login", .account.login[0]], ["mail", .account.mail[0]]];
        [inputs] as $changes
        | { badges: (reduce ($changes[] | select(long | not)) as $change ($badges;
                if $change.ref == null
                then . + [{ref: $change.student_number, student_number: $change.student_number,
                           fields: $change.fields, open: ($change.open != false), names: ($change | names)}]
                else map(if .ref == $change.ref
                         then .fields += $change.fields
                              | if $change.open == null then . else .open = $change.open end
                         else . end)
                end)),
            said: [$changes[] | select(long)
                   | {student_number, refused: {message: "the name is longer than the badge", lasting: true}}] }
    ' > "$BADGES.new" && keep ;;
erase)
    jq -cn --slurpfile badges "$BADGES" '[inputs.ref] as $gone
        | {badges: [$badges[] | select(.ref | IN($gone[]) | not)], said: []}' > "$BADGES.new" && keep ;;
*) exit 64 ;; # EX_USAGE
esac
