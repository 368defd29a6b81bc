#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# --help, the completion and the manual pages tell of the same options.
. "$(dirname "$0")/lib/cli.bash"
man=$abs_top_srcdir/data/man

# page_of COMMAND: the manual page that has msb-COMMAND in its NAME line.
page_of() {
    grep -lE "^(msb-[a-z]+, )*msb-${1%% *}(,.*)? - " "$man"/*.pod
}

options_of_help() {
    "$MSB_PROGRAM" $1 --help | sed -n '/^Options of every command:/q; s/^ *\(-[a-zA-Z], \)\{0,1\}--\([a-z-]*\).*/\2/p' | sort -u
}

options_of_completion() {
    # shellcheck disable=SC2086
    set -- $1
    "$MSB_PROGRAM" __complete $(($# + 1)) -- msb "$@" -- | sed 's/^--//; s/=$//' |
        grep -vxE 'help|version|tree|error|warn|info|debug|trace' | sort -u
}

while read -r command; do
    page=$(page_of "$command")
    is "msb $command is told of in one manual page" "$(wc -w <<<"$page")" 1
    [ -n "$page" ] || continue
    options=$(options_of_help "$command")
    is "msb $command: --help and completion have the same options" "$(options_of_completion "$command")" "$options"
    missing=
    for option in $options; do
        grep -qE "^=item .*B<--$option>" "$page" || missing+=" --$option"
    done
    is "msb $command: every option is in $(basename "$page")" "$missing" ""
    if ! "$MSB_PROGRAM" $command --help | grep -q '^Commands:'; then
        grep -q "B<msb $command>" "$page"
        verdict $? "msb $command: it is in the synopsis"
    fi
done < <(list_commands)

# And nothing is in a page that no command has.
for page in "$man"/msb-*.pod; do
    case $page in */msb-vhost-*) continue ;; esac
    known=$(while read -r command; do
        [ "$(page_of "$command")" != "$page" ] || options_of_help "$command"
    done < <(list_commands) | sort -u)
    told=$(grep -E '^=item ' "$page" | grep -oE 'B<--[a-z-]+>' | sed 's/B<--//; s/>//' | sort -u)
    is "$(basename "$page") tells of no other options" "$(comm -13 <(echo "$known") <(echo "$told"))" ""
done
for option in help version tree error warn info debug trace; do
    grep -qE "^=item .*B<--$option>" "$man/msb.pod"
    verdict $? "msb.pod tells of --$option"
done
if command -v podchecker >/dev/null; then
    for page in "$man"/*.pod; do
        podchecker -warnings "$page" >"$work/pod" 2>&1 && ! grep -qi warning "$work/pod"
        verdict $? "podchecker is content with $(basename "$page")" "$(cat "$work/pod")"
    done
fi
for page in $("$MSB_PROGRAM" --tree | awk '/^    [a-z]/ { print $1 }'); do
    [ -s "$abs_top_builddir/data/man/msb-$page.1" ]
    verdict $? "man msb-$page is there"
done
done_testing
